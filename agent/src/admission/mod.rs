//! How a node that has no cluster key gets it: it shows a code, and an operator types that on a node of the
//! cluster: `limosa admit CODE`.
//!
//! The network between them is not trusted: somebody in the middle may hear, change, invent and hold back
//! everything. He must neither get the key nor give the newcomer one of his own.
//!
//! ```text
//! newcomer (`limosa key ask`)                            node of the cluster (`limosa admit CODE`)
//!   shows 48-291507
//!                <--- question: who asks? (multicast) ---
//!                ---- answer: request, mark 48, name --->    chooses those with the mark of the code
//!                <--- opening: request, share ----------
//!                ---- share ---------------------------->
//!                <--- confirmation: knows the code ------
//!   takes another code, whatever it was
//!                ---- confirmation: knows it, too ------>
//!                <--- the cluster key, encrypted --------
//!   keeps it     ---- has it --------------------------->
//! ```
//!
//! **Why a code that is typed, and not one that is compared.** When two screens show a code that comes of both
//! sides' public keys, as with ZRTP, it is the person who compares that makes it safe, and on both sides: the
//! newcomer must be told, too, that its code was right, or somebody in the middle gives it his own key
//! meanwhile. With a code that the newcomer draws and a person carries to the other side, one act
//! proves each side to the other, and there is nothing to wave through: a wrong code admits nobody. Nor is
//! there anything to list on the operator's screen that would spare him the walk, as no node of the cluster
//! knows the code.
//!
//! **Why the code may be short.** It is never sent, and nothing sent can be tried against a list of all codes:
//! that is what [`crate::secure::pake`] is for. Somebody has to take part to guess, and gets one guess each time:
//!
//! - the newcomer takes another code after each try and then rests, ever longer ([`request`]);
//! - the node of the cluster tries only after an operator's order, and for that at most
//!   [`crate::limits::ASKERS_TRIED_MAX`] that claim the code's mark.
//!
//! The first two digits, the mark, are no secret: they tell which of those that ask is meant, so that the
//! others do not lose their codes. The other six are: a guess is right once in a million.
//!
//! The newcomer is silent until it is asked, and a node of the cluster takes nothing from strangers but while an
//! operator's order lasts. An answer is no longer than its question, so neither can be used against others.
//!
//! Pure: [`code`], [`exchange`] (both sides' messages), [`request`] (the newcomer's codes, tries and rests),
//! [`search`] (who asks). Glue: [`asker`] (the newcomer's sockets), [`operator`] (the other side's connection).

pub mod asker;
pub mod code;
pub mod exchange;
pub mod operator;
pub mod request;
pub mod search;
