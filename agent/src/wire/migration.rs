//! What the two supervisors of a migrated process tell each other over the migration channel.
//!
//! ```text
//!   home (deputy supervisor)                     remote (guest supervisor)
//!   Prepare  ------------------------------->    builds namespaces and an empty guest
//!            <-------------------------------    Prepared | Refused
//!   Draft, ObjectPages*, PagesEnd ---------->    makes the mappings, fills memory files
//!            <-------------------------------    Drafted | Failed
//!   (freezes)
//!   Depart, Pages*, PagesEnd --------------->    fills the guest, but for what comes later
//!            <-------------------------------    Restored | Failed
//!   Commit   ------------------------------->    from here on only the guest may run
//!
//!            <-------------------------------    Call, Mask, Action, Fork, Exit ...
//!   Return, Signal, ... -------------------->
//!
//!   Recall   ------------------------------->
//!            <-------------------------------    Digests*, EarlyPages*, while the guest runs on
//!   Compared* ------------------------------>
//!                                                stops the guest (or it stops by itself: a cause)
//!            <-------------------------------    Homecoming
//!   Renewed  ------------------------------->
//!            <-------------------------------    Kept*, Pages*, PagesEnd
//!   (restores the original)
//!   Arrived  ------------------------------->    kills the guest
//! ```
//!
//! One channel serves a family: the process that left, and those that it and its children fork while they
//! are away. `Fork` adds a member. Each member comes home, ends or is lost by itself; a message names the
//! thread that it is about, or the process.
//!
//! Contract of a move out: until `Commit` is sent the source can resume the original, and does when
//! anything fails; after it only the target may run the process. Of a move home: the guest is stopped
//! when `Homecoming` is sent and is never run again.
//!
//! Most of a process's memory comes when its guest runs already, over a connection of its own
//! ([`crate::wire::pages`]). Until all of it has come the guest neither forks nor goes home.
//!
//! A message is a CBOR header and, for some, raw bytes: pages, or the buffers of a call.

mod to_deputy;
mod to_guest;

pub use to_deputy::{MappedLine, Remapped, ToDeputy};
pub use to_guest::{Ahead, Prepare, ToGuest};
