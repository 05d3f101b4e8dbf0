//! Which nodes the processes of a job may use: `limosa run --only NODES` and `--not NODES`.
//!
//! Nodes are remembered by their names, so that one that starts anew is meant again, and that a job's choice can be kept
//! with its cgroup ([`super::cgroup`]). Home is not chosen: whoever has to can always go there.

use std::fmt;

use crate::wire::supervisor::Reason;

/// Some of the nodes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeChoice {
    /// These and no others; else all but these.
    pub only: bool,
    /// Their names, which have no blanks in them ([`crate::wire::hello::is_node_name`]).
    pub names: Vec<String>,
}

impl NodeChoice {
    /// Whether a node of this name may be used.
    #[must_use]
    pub fn allows(&self, name: &str) -> bool {
        self.only == self.names.iter().any(|chosen| chosen == name)
    }

    /// Why a process does not go to a node that is not allowed.
    #[must_use]
    pub fn reason_against(&self, name: &str) -> Reason {
        Reason {
            code: "node-not-chosen".into(),
            text: format!("it was started with `limosa run {self}`, so it does not go to {name}"),
        }
    }

    /// As it is kept: `only` or `not` and the names, with blanks between them.
    #[must_use]
    pub fn to_text(&self) -> String {
        let word = if self.only { "only" } else { "not" };
        format!("{word} {}", self.names.join(" "))
    }

    /// From what is kept.
    #[must_use]
    pub fn parse(text: &str) -> Option<NodeChoice> {
        let (word, names) = text.split_once(' ')?;
        let only = word == "only";
        let names: Vec<String> = names.split(' ').map(String::from).collect();
        (only || word == "not").then_some(NodeChoice { only, names })
    }
}

/// As a person writes it behind `limosa run`.
impl fmt::Display for NodeChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = if self.only { "only" } else { "not" };
        write!(f, "--{word} {}", self.names.join(","))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn choice(only: bool, names: &[&str]) -> NodeChoice {
        NodeChoice {
            only,
            names: names.iter().map(|name| (*name).to_owned()).collect(),
        }
    }

    #[test]
    fn only_means_these_and_not_means_the_others() {
        let only = choice(true, &["n2", "n3"]);
        assert!(only.allows("n2") && only.allows("n3") && !only.allows("n4"));
        let not = choice(false, &["n2", "n3"]);
        assert!(!not.allows("n2") && !not.allows("n3") && not.allows("n4"));
        assert_eq!(
            (only.to_string(), not.to_string()),
            ("--only n2,n3".into(), "--not n2,n3".into())
        );
    }

    #[test]
    fn what_is_no_choice_is_none() {
        for text in ["", "only", "not", "all n2", "-- n2"] {
            assert_eq!(NodeChoice::parse(text), None, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn a_choice_reads_back_as_it_was_kept(only: bool, names in prop::collection::vec("[^ ]{1,9}", 1..4)) {
            let choice = NodeChoice { only, names };
            prop_assert_eq!(NodeChoice::parse(&choice.to_text()), Some(choice));
        }
    }
}
