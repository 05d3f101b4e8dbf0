//! Which kernel modules a device wants: `modules.alias` and its shell patterns (pure).

use crate::module_dependencies::normal_name;

/// The lines `alias PATTERN MODULE` of `modules.alias`, in their order.
#[derive(Debug, Default)]
pub(crate) struct AliasTable {
    aliases: Vec<(String, String)>,
}

impl AliasTable {
    /// Parses `modules.alias` as depmod(8) writes it; comments and other lines are passed over.
    pub(crate) fn parse(text: &str) -> AliasTable {
        let aliases = text
            .lines()
            .filter_map(|line| {
                let mut words = line.split_ascii_whitespace();
                match (words.next(), words.next(), words.next()) {
                    (Some("alias"), Some(pattern), Some(module)) => {
                        Some((pattern.to_owned(), normal_name(module)))
                    }
                    _ => None,
                }
            })
            .collect();
        AliasTable { aliases }
    }

    /// All modules whose pattern matches `modalias`, each once.
    pub(crate) fn modules_for(&self, modalias: &str) -> Vec<&str> {
        let mut modules: Vec<&str> = Vec::new();
        for (pattern, module) in &self.aliases {
            if !modules.contains(&module.as_str())
                && matches(pattern.as_bytes(), modalias.as_bytes())
            {
                modules.push(module);
            }
        }
        modules
    }
}

/// Whether the shell pattern (`*`, `?`, `[a-z]`) matches all of `text`.
///
/// Works without recursion: on a mismatch it goes back to the last `*` only, which is enough because a
/// later `*` can take over whatever an earlier one could.
fn matches(pattern: &[u8], text: &[u8]) -> bool {
    let (mut at, mut position) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while position < text.len() {
        let step = match pattern.get(at) {
            Some(b'*') => {
                star = Some((at + 1, position));
                at += 1;
                continue;
            }
            Some(b'?') => Some(1),
            Some(b'[') => class_matches(&pattern[at..], text[position]),
            Some(&byte) if byte == text[position] => Some(1),
            _ => None,
        };
        match (step, star) {
            (Some(length), _) => {
                at += length;
                position += 1;
            }
            (None, Some((after_star, taken))) => {
                star = Some((after_star, taken + 1));
                at = after_star;
                position = taken + 1;
            }
            (None, None) => return false,
        }
    }
    pattern[at..].iter().all(|&byte| byte == b'*')
}

/// The length of the class `[...]` that starts `pattern` if it holds `byte`.
fn class_matches(pattern: &[u8], byte: u8) -> Option<usize> {
    let end = pattern.iter().position(|&byte| byte == b']')?;
    let mut members = &pattern[1..end];
    while let Some(&first) = members.first() {
        if members.len() >= 3 && members[1] == b'-' {
            if (first..=members[2]).contains(&byte) {
                return Some(end + 1);
            }
            members = &members[3..];
        } else {
            if first == byte {
                return Some(end + 1);
            }
            members = &members[1..];
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "# Aliases extracted from modules themselves.\n\
        alias pci:v00008086d00001533sv*sd*bc*sc*i* igb\n\
        alias pci:v00008086d0000100Esv*sd*bc*sc*i* e1000\n\
        alias usb:v0BDAp8152d*dc*dsc*dp*icFFiscFFip00in* r8152\n\
        alias usb:v*p*d*dc*dsc*dp*ic02isc06ip00in* cdc-ether\n\
        alias virtio:d00000001v* virtio_net\n\
        alias mdio:0000000000011100110010010001???? realtek\n\
        broken line\n";

    #[test]
    fn a_device_finds_its_driver() {
        let table = AliasTable::parse(TABLE);
        let modalias = "pci:v00008086d00001533sv00008086sd00000001bc02sc00i00";
        assert_eq!(table.modules_for(modalias), ["igb"]);
        assert_eq!(
            table.modules_for("virtio:d00000001v00001AF4"),
            ["virtio_net"]
        );
        assert_eq!(
            table.modules_for("mdio:00000000000111001100100100010110"),
            ["realtek"]
        );
    }

    #[test]
    fn a_class_driver_is_found_by_the_interface_class_and_its_name_is_normalised() {
        let table = AliasTable::parse(TABLE);
        let modalias = "usb:v1234p5678d0100dc00dsc00dp00ic02isc06ip00in00";
        assert_eq!(table.modules_for(modalias), ["cdc_ether"]);
    }

    #[test]
    fn an_unknown_device_finds_nothing() {
        let table = AliasTable::parse(TABLE);
        assert!(
            table
                .modules_for("pci:v0000FFFFd00001533sv00008086sd00000001bc02sc00i00")
                .is_empty()
        );
        assert!(table.modules_for("").is_empty());
    }

    #[test]
    fn patterns_follow_the_shell() {
        for (pattern, text, expected) in [
            ("", "", true),
            ("*", "", true),
            ("a*b*c", "axxbyybzc", true),
            ("a*b*c", "axxbyybz", false),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("[0-9a]x", "7x", true),
            ("[0-9a]x", "ax", true),
            ("[0-9a]x", "bx", false),
            ("[0-9", "7", false),
            ("*[0-3]", "xx5x3", true),
            ("abc", "abcd", false),
        ] {
            assert_eq!(
                matches(pattern.as_bytes(), text.as_bytes()),
                expected,
                "{pattern} {text}"
            );
        }
    }

    #[test]
    fn many_stars_do_not_explode() {
        let text = "a".repeat(2000);
        assert!(!matches(
            format!("{}b", "a*".repeat(200)).as_bytes(),
            text.as_bytes()
        ));
    }
}
