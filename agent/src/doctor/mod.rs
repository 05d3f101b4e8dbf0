//! What keeps a machine from being a good node, and what to do about it: `limosa doctor`.
//!
//! [`facts`] looks at the machine, [`rules`] judges what it saw; rules are pure. Each finding has a code that
//! scripts may rely on, says what is the matter, and names the remedy.

pub mod facts;
pub mod firewall;
pub mod rules;

use serde::Serialize;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// As it should be.
    Ok,
    /// Works, and could be better, or may be wrong.
    Warning,
    /// Does not work.
    Problem,
}

/// What was found about one thing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What it is about.
    pub code: String,
    /// How bad it is.
    pub state: State,
    /// What was seen.
    pub text: String,
    /// What to do about it, unless all is well.
    pub remedy: Option<String>,
}
