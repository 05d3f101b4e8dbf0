//! From what a person typed to a node: a name, a number or an address; and what he may have meant.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use crate::wire::supervisor::{NodeId, NodeName};

/// Most names that a suggestion has.
const SUGGESTIONS_MAX: usize = 3;

/// What a node can be called by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    /// Its number; 0 if it has none.
    pub number: u16,
    /// Its name.
    pub name: String,
    /// Its id.
    pub id: NodeId,
    /// Where it can be reached.
    pub addresses: Vec<SocketAddr>,
}

/// No node, or more than one, is called so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownNode {
    /// What was asked for.
    pub wanted: String,
    /// The nearest names, best first; empty when nothing is near.
    pub nearest: Vec<String>,
    /// The numbers of the nodes that are called so, if there are several.
    pub several: Vec<u16>,
}

impl fmt::Display for UnknownNode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.several.is_empty() {
            let numbers: Vec<String> = self.several.iter().map(u16::to_string).collect();
            return write!(
                f,
                "several nodes are called {:?}; say which by number: {}",
                self.wanted,
                numbers.join(", ")
            );
        }
        write!(f, "no node is called {:?}", self.wanted)?;
        match self.nearest.as_slice() {
            [] => write!(f, "; `limosa nodes` lists them"),
            names => write!(f, "; did you mean {}?", names.join(" or ")),
        }
    }
}

impl std::error::Error for UnknownNode {}

/// The node that a person calls `wanted`. A name goes before a number, and a number before an address.
pub fn resolve(wanted: &str, nodes: &[Known]) -> Result<NodeName, UnknownNode> {
    let by_name = |node: &&Known| node.name == wanted;
    let number: Option<u16> = wanted.parse().ok().filter(|number| *number != 0);
    let by_number = |node: &&Known| Some(node.number) == number;
    let address = address(wanted);
    let by_address = |node: &&Known| {
        address.is_some_and(|(ip, port)| {
            let same =
                |known: &SocketAddr| known.ip() == ip && port.is_none_or(|p| p == known.port());
            node.addresses.iter().any(same)
        })
    };
    let mut several = Vec::new();
    for called in [
        nodes.iter().filter(by_name).collect::<Vec<_>>(),
        nodes.iter().filter(by_number).collect(),
        nodes.iter().filter(by_address).collect(),
    ] {
        match called.as_slice() {
            [] => {}
            [one] => {
                return Ok(NodeName {
                    id: one.id,
                    name: one.name.clone(),
                });
            }
            more => {
                several = more.iter().map(|node| node.number).collect();
                break;
            }
        }
    }
    let nearest = if several.is_empty() {
        nearest(wanted, nodes)
    } else {
        Vec::new()
    };
    Err(UnknownNode {
        wanted: wanted.into(),
        nearest,
        several,
    })
}

/// An address with or without port; the scope of a link-local one does not matter.
fn address(text: &str) -> Option<(IpAddr, Option<u16>)> {
    let without_scope = text.split('%').next().unwrap_or(text);
    let ip = without_scope.parse().ok().map(|ip| (ip, None));
    ip.or_else(|| {
        text.parse()
            .ok()
            .map(|a: SocketAddr| (a.ip(), Some(a.port())))
    })
}

fn nearest(wanted: &str, nodes: &[Known]) -> Vec<String> {
    let wanted = wanted.to_lowercase();
    let farthest = (wanted.chars().count() / 2).max(1);
    let mut near: Vec<(usize, &str)> = nodes
        .iter()
        .map(|node| {
            (
                distance(&wanted, &node.name.to_lowercase()),
                node.name.as_str(),
            )
        })
        .filter(|(distance, _)| *distance <= farthest)
        .collect();
    near.sort_unstable();
    near.dedup();
    near.into_iter()
        .take(SUGGESTIONS_MAX)
        .map(|(_, name)| name.to_owned())
        .collect()
}

/// How many characters must be changed, added, taken away or swapped with their neighbour.
fn distance(one: &str, other: &str) -> usize {
    let (one, other): (Vec<char>, Vec<char>) = (one.chars().collect(), other.chars().collect());
    let mut before = vec![0; other.len() + 1];
    let mut last: Vec<usize> = (0..=other.len()).collect();
    for i in 1..=one.len() {
        let mut row = vec![i; other.len() + 1];
        for j in 1..=other.len() {
            let change = last[j - 1] + usize::from(one[i - 1] != other[j - 1]);
            row[j] = change.min(last[j] + 1).min(row[j - 1] + 1);
            let swapped =
                i > 1 && j > 1 && one[i - 1] == other[j - 2] && one[i - 2] == other[j - 1];
            if swapped {
                row[j] = row[j].min(before[j - 2] + 1);
            }
        }
        before = std::mem::replace(&mut last, row);
    }
    last[other.len()]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn nodes() -> Vec<Known> {
        let node = |number: u16, name: &str, address: &str| Known {
            number,
            name: name.into(),
            id: NodeId([number as u8; 16]),
            addresses: vec![address.parse().unwrap()],
        };
        vec![
            node(1, "kitchen", "10.0.0.1:4460"),
            node(2, "attic", "[fe80::2%3]:4460"),
            node(3, "spare", "10.0.0.3:4460"),
            node(4, "spare", "10.0.0.4:4460"),
            node(5, "7", "10.0.0.5:4460"),
            node(7, "lucky", "10.0.0.7:4460"),
        ]
    }

    fn number_of(wanted: &str) -> Option<u8> {
        resolve(wanted, &nodes()).ok().map(|node| node.id.0[0])
    }

    #[test]
    fn nodes_are_called_by_name_number_and_address() {
        assert_eq!(number_of("kitchen"), Some(1));
        assert_eq!(number_of("2"), Some(2));
        assert_eq!(number_of("10.0.0.3"), Some(3));
        assert_eq!(number_of("10.0.0.3:4460"), Some(3));
        assert_eq!(number_of("10.0.0.3:1"), None);
        assert_eq!(number_of("fe80::2"), Some(2));
        assert_eq!(number_of("fe80::2%3"), Some(2));
        assert_eq!(number_of("7"), Some(5), "a name goes before a number");
    }

    #[test]
    fn a_name_that_two_nodes_have_asks_for_a_number() {
        let error = resolve("spare", &nodes()).unwrap_err();
        assert_eq!(
            error.to_string(),
            "several nodes are called \"spare\"; say which by number: 3, 4"
        );
    }

    #[test]
    fn a_mistyped_name_brings_the_nearest_ones() {
        for mistyped in ["kichen", "ktichen", "Kitchen", "kitchenn"] {
            assert_eq!(
                resolve(mistyped, &nodes()).unwrap_err().nearest,
                ["kitchen"]
            );
        }
        assert_eq!(
            resolve("cellar-1", &nodes()).unwrap_err().to_string(),
            "no node is called \"cellar-1\"; `limosa nodes` lists them"
        );
    }

    #[test]
    fn number_zero_is_nobody() {
        let mut nodes = nodes();
        nodes[0].number = 0;
        assert!(resolve("0", &nodes).is_err());
    }

    proptest! {
        #[test]
        fn distance_is_symmetric_and_zero_only_for_equals(one in "[abc]{0,6}", other in "[abc]{0,6}") {
            prop_assert_eq!(distance(&one, &other), distance(&other, &one));
            prop_assert_eq!(distance(&one, &other) == 0, one == other);
        }

        #[test]
        fn no_text_makes_it_fail_otherwise_than_by_an_error(wanted in "\\PC{0,80}") {
            let _ = resolve(&wanted, &nodes());
        }
    }
}
