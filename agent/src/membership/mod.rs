//! Who is in the cluster, alive or lost.
//!
//! All pure: functions of (now, input, seeded random numbers), without sockets or clocks.
//!
//! - [`swim`]: failure detection and dissemination, by the foca crate; [`codec`] is its bytes on the wire;
//! - [`roster`]: the table of nodes that beacons and SWIM fill;
//! - [`numbers`]: the small numbers by which people call nodes;
//! - [`names`]: from what a person typed to a node.
//!
//! ```text
//!            beacon            SWIM              no answer           no refutation
//!  (unknown) ------> joined -------> alive <----------------> suspect ------> lost
//!                                      ^        refutation                     |
//!                                      +---------------------------------------+  it is back
//!  any state but lost --- "I go" ---> left
//! ```

pub mod codec;
pub mod names;
pub mod numbers;
pub mod roster;
pub mod swim;

/// What is known of a member's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemberState {
    /// Heard of, not yet confirmed.
    Joined,
    /// Answers.
    Alive,
    /// Has not answered lately.
    Suspect,
    /// Did not answer for so long that it is taken for dead.
    Lost,
    /// Said that it goes.
    Left,
}

impl MemberState {
    /// In lower case, as commands print it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            MemberState::Joined => "joined",
            MemberState::Alive => "alive",
            MemberState::Suspect => "suspect",
            MemberState::Lost => "lost",
            MemberState::Left => "left",
        }
    }

    /// Whether it is there, as far as is known.
    #[must_use]
    pub fn is_present(self) -> bool {
        matches!(
            self,
            MemberState::Joined | MemberState::Alive | MemberState::Suspect
        )
    }
}
