//! What the kernel command line asks of this node: the `limosa.*` words, parsed (pure).
//!
//! The same words may stand in `/etc/limosa/parameters` (put there when the image is built) and, on a
//! virtual machine, in the fw_cfg item `opt/limosa/parameters`. They are read in that order and the kernel
//! command line last, so that the person at the boot menu has the last word.

/// Longest text of parameters that is read, in bytes (the kernel's own COMMAND_LINE_SIZE is 2,048).
pub(crate) const PARAMETERS_BYTES_MAX: usize = 16 * 1024;

/// The wishes of whoever booted this node.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Parameters {
    /// `limosa.key=`: a cluster key that takes the place of the image's.
    pub(crate) key: Option<String>,
    /// `limosa.seed=`, may be repeated or separated by commas: where to look for the cluster.
    pub(crate) seeds: Vec<String>,
    /// `limosa.name=`: the node's name.
    pub(crate) name: Option<String>,
    /// `limosa.name-prefix=`: what the name begins with when it is not given.
    pub(crate) name_prefix: Option<String>,
    /// `limosa.iface=`, may be repeated or separated by commas: the only interfaces to use.
    pub(crate) interfaces: Vec<String>,
    /// `limosa.shell`: a root shell on tty2 and on the second serial line.
    pub(crate) shell: bool,
    /// `limosa.console=`, may be repeated or separated by commas: where the node shows itself, in place of
    /// the kernel's consoles.
    pub(crate) consoles: Vec<String>,
    /// `limosa.block`: take no guests.
    pub(crate) block: bool,
    /// `limosa.netboot`, `limosa.netboot=dhcp,hand-out-key`: boot other PCs over the network.
    pub(crate) netboot: Option<Netboot>,
    /// `limosa.open`: run without a cluster key; whoever can reach this node may use it.
    pub(crate) open: bool,
    /// `limosa.lab`: obey the host's end of the lab port.
    pub(crate) lab: bool,
    /// `limosa.log=`: how much the agent logs (`info`, `debug`, or any filter that RUST_LOG takes).
    pub(crate) log: Option<String>,
    /// `limosa.` words that mean nothing, to be told rather than ignored: a misspelt key is no key.
    pub(crate) unknown: Vec<String>,
}

/// How other PCs are booted.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Netboot {
    /// `dhcp`: give addresses, too.
    pub(crate) dhcp: bool,
    /// `hand-out-key`: give the cluster key to whoever boots.
    pub(crate) hand_out_key: bool,
}

impl Parameters {
    /// Reads the words of `text` over what earlier texts said.
    pub(crate) fn read(&mut self, text: &str) {
        for word in words(text) {
            let Some(name_and_value) = word.strip_prefix("limosa.") else {
                continue;
            };
            let (name, value) = match name_and_value.split_once('=') {
                Some((name, value)) => (name, Some(value)),
                None => (name_and_value, None),
            };
            match (name, value) {
                ("key", Some(value)) => self.key = Some(value.to_owned()),
                ("seed", Some(value)) => self.seeds.extend(list(value)),
                ("name", Some(value)) => {
                    self.name = (!value.is_empty()).then(|| value.to_owned());
                }
                ("name-prefix", Some(value)) => self.name_prefix = Some(value.to_owned()),
                ("console", Some(value)) => self.consoles.extend(list(value)),
                ("block", value) => self.block = is_on(value),
                ("netboot", value) => self.set_netboot(value),
                ("log", Some(value)) => self.log = Some(value.to_owned()),
                ("iface", Some(value)) => self.interfaces.extend(list(value)),
                ("shell", value) => self.shell = is_on(value),
                ("open", value) => self.open = is_on(value),
                ("lab", value) => self.lab = is_on(value),
                // The value may be a secret in the wrong place: only the name is repeated.
                _ => self.unknown.push(format!("limosa.{name}")),
            }
        }
    }

    fn set_netboot(&mut self, value: Option<&str>) {
        if !is_on(value) {
            self.netboot = None;
            return;
        }
        // The word alone, as in the boot menu, leaves the choices of earlier texts as they are.
        let netboot = self.netboot.get_or_insert_default();
        for word in list(value.unwrap_or_default()) {
            match word.as_str() {
                "dhcp" => netboot.dhcp = true,
                "hand-out-key" => netboot.hand_out_key = true,
                "1" | "on" | "yes" => {}
                _ => self.unknown.push(format!("limosa.netboot={word}")),
            }
        }
    }

    /// Whether this node uses the interface `name`.
    pub(crate) fn uses_interface(&self, name: &str) -> bool {
        self.interfaces.is_empty() || self.interfaces.iter().any(|wanted| wanted == name)
    }
}

fn is_on(value: Option<&str>) -> bool {
    !matches!(value, Some("0" | "off" | "no"))
}

fn list(value: &str) -> impl Iterator<Item = String> + '_ {
    value
        .split(',')
        .filter(|item| !item.is_empty())
        .map(str::to_owned)
}

/// Splits at white space outside double quotes and drops the quotes, as the kernel does
/// (lib/cmdline.c, next_arg).
fn words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut in_quotes = false;
    for character in text.chars() {
        if character == '"' {
            in_quotes = !in_quotes;
        } else if character.is_ascii_whitespace() && !in_quotes {
            if !word.is_empty() {
                words.push(std::mem::take(&mut word));
            }
        } else {
            word.push(character);
        }
    }
    if !word.is_empty() {
        words.push(word);
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Parameters {
        let mut parameters = Parameters::default();
        parameters.read(text);
        parameters
    }

    #[test]
    fn words_of_others_are_left_alone() {
        assert_eq!(
            parsed("BOOT_IMAGE=/vmlinuz quiet console=ttyS0"),
            Parameters::default()
        );
    }

    #[test]
    fn every_parameter_is_understood() {
        let parameters = parsed(
            "limosa.key=limosa1-a-b-c limosa.seed=10.0.0.1,[fe80::1%eth0]:7 limosa.seed=10.0.0.2 \
             limosa.name=n1 limosa.name-prefix=attic limosa.iface=eth0 limosa.log=debug limosa.shell \
             limosa.console=tty1,ttyS0 limosa.block limosa.netboot limosa.open limosa.lab\n",
        );
        assert_eq!(parameters.key.as_deref(), Some("limosa1-a-b-c"));
        assert_eq!(
            parameters.seeds,
            ["10.0.0.1", "[fe80::1%eth0]:7", "10.0.0.2"]
        );
        assert_eq!(parameters.name.as_deref(), Some("n1"));
        assert_eq!(parameters.name_prefix.as_deref(), Some("attic"));
        assert_eq!(parameters.consoles, ["tty1", "ttyS0"]);
        assert_eq!(parameters.netboot, Some(Netboot::default()));
        assert_eq!(parameters.interfaces, ["eth0"]);
        assert_eq!(parameters.log.as_deref(), Some("debug"));
        assert!(parameters.shell && parameters.open && parameters.lab && parameters.block);
        assert!(parameters.unknown.is_empty());
    }

    #[test]
    fn the_text_read_last_wins_and_can_switch_off() {
        let mut parameters = parsed("limosa.open limosa.name=image limosa.seed=a");
        parameters.read("limosa.open=0 limosa.name=person limosa.seed=b");
        assert!(!parameters.open);
        assert_eq!(parameters.name.as_deref(), Some("person"));
        assert_eq!(parameters.seeds, ["a", "b"]);
        parameters.read("limosa.name=");
        assert_eq!(parameters.name, None);
    }

    #[test]
    fn an_unknown_word_is_reported_without_its_value() {
        assert_eq!(parsed("limosa.kye=secret").unknown, ["limosa.kye"]);
        assert_eq!(parsed("limosa.key").unknown, ["limosa.key"]);
    }

    #[test]
    fn a_node_boots_others_as_far_as_it_is_told() {
        let both = parsed("limosa.netboot=dhcp,hand-out-key").netboot.unwrap();
        assert!(both.dhcp && both.hand_out_key);
        assert_eq!(parsed("limosa.netboot limosa.netboot=0").netboot, None);
        let kept = parsed("limosa.netboot=dhcp limosa.netboot")
            .netboot
            .unwrap();
        assert!(kept.dhcp && !kept.hand_out_key);
        let misspelt = parsed("limosa.netboot=dchp");
        assert_eq!(misspelt.netboot, Some(Netboot::default()));
        assert_eq!(misspelt.unknown, ["limosa.netboot=dchp"]);
    }

    #[test]
    fn quotes_hold_a_value_together() {
        assert_eq!(parsed("limosa.name=\"a b\" x").name.as_deref(), Some("a b"));
    }

    #[test]
    fn only_the_named_interfaces_are_used_when_some_are_named() {
        assert!(parsed("").uses_interface("eth7"));
        assert!(parsed("limosa.iface=eth0,eth1").uses_interface("eth1"));
        assert!(!parsed("limosa.iface=eth0").uses_interface("eth1"));
    }
}
