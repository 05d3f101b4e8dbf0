//! What this node is called when nobody named it: a prefix and the end of a hardware address (pure).

/// What names begin with unless the image or its user says otherwise.
pub(crate) const PREFIX_DEFAULT: &str = "limosa";

/// Longest name that is taken from the kernel command line, in bytes: Linux's own limit for a host name
/// is 64.
pub(crate) const NAME_BYTES_MAX: usize = 64;

/// The name for a node whose first interface has the hardware address `mac` (`52:54:00:12:34:56`), the
/// same at every boot.
pub(crate) fn from_mac(prefix: &str, mac: &str) -> Option<String> {
    let bytes: Vec<u8> = mac
        .trim()
        .split(':')
        .map(|part| {
            u8::from_str_radix(part, 16)
                .ok()
                .filter(|_| part.len() == 2 && !part.starts_with('+'))
        })
        .collect::<Option<_>>()?;
    if bytes.len() != 6 || bytes.iter().all(|&byte| byte == 0) {
        return None;
    }
    Some(format!("{prefix}-{:02x}{:02x}", bytes[4], bytes[5]))
}

/// The name for a node without any interface, from the kernel's random id of this boot.
pub(crate) fn from_boot_id(prefix: &str, boot_id: &str) -> String {
    let digits: String = boot_id
        .chars()
        .filter(char::is_ascii_hexdigit)
        .take(4)
        .collect();
    format!("{prefix}-{digits}")
}

/// Whether `name` can be a node's name: what a host name may hold, and not too long.
pub(crate) fn is_valid(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= NAME_BYTES_MAX
        && !name.starts_with('-')
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_ends_in_the_last_two_bytes_of_the_hardware_address() {
        assert_eq!(
            from_mac("attic", "52:54:00:12:3f:a2\n").as_deref(),
            Some("attic-3fa2")
        );
    }

    #[test]
    fn what_is_no_hardware_address_gives_no_name() {
        for mac in [
            "",
            "00:00:00:00:00:00",
            "52:54:00:12:3f",
            "52:54:00:12:3f:+2",
            "zz:54:00:12:3f:a2",
        ] {
            assert_eq!(from_mac("x", mac), None, "{mac}");
        }
    }

    #[test]
    fn a_node_without_interfaces_is_named_by_its_boot() {
        assert_eq!(from_boot_id(PREFIX_DEFAULT, "9b1c-77aa\n"), "limosa-9b1c");
    }

    #[test]
    fn names_are_host_names() {
        assert!(is_valid("spare-pc.attic_2"));
        for name in ["", "-x", "a b", "a/b", &"x".repeat(65)] {
            assert!(!is_valid(name), "{name}");
        }
    }
}
