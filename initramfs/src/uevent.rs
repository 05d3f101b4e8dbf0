//! The kernel's announcements of devices (netlink uevents), parsed (pure).
//!
//! A message is `ACTION@DEVPATH` and then `KEY=VALUE` pairs, each ended by a zero byte
//! (lib/kobject_uevent.c).

/// Longest uevent that is read, in bytes: the kernel's UEVENT_BUFFER_SIZE is 2,048.
pub(crate) const UEVENT_BYTES_MAX: usize = 8 * 1024;

/// What happened to a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Uevent {
    /// `add`, `remove`, `change`, `move`, `bind` ...
    pub(crate) action: String,
    /// `net`, `pci`, `input` ...
    pub(crate) subsystem: Option<String>,
    /// What names the driver that the device wants.
    pub(crate) modalias: Option<String>,
    /// The network interface's name.
    pub(crate) interface: Option<String>,
    /// The device's file under `/dev`.
    pub(crate) device_name: Option<String>,
}

/// Parses one message; `None` if it is not the kernel's format (udevd's own starts with `libudev`).
pub(crate) fn parse(message: &[u8]) -> Option<Uevent> {
    let mut fields = message.split(|&byte| byte == 0).map(std::str::from_utf8);
    let (action, _path) = fields.next()?.ok()?.split_once('@')?;
    let mut event = Uevent {
        action: action.to_owned(),
        subsystem: None,
        modalias: None,
        interface: None,
        device_name: None,
    };
    for field in fields.flatten() {
        let Some((key, value)) = field.split_once('=') else {
            continue;
        };
        let value = Some(value.to_owned());
        match key {
            "SUBSYSTEM" => event.subsystem = value,
            "MODALIAS" => event.modalias = value,
            "INTERFACE" => event.interface = value,
            "DEVNAME" => event.device_name = value,
            _ => {}
        }
    }
    Some(event)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_device_says_which_driver_it_wants() {
        let event = parse(
            b"add@/devices/pci0000:00/0000:00:03.0\0ACTION=add\0DEVPATH=/devices/pci0000:00\0\
              SUBSYSTEM=pci\0MODALIAS=pci:v00001AF4d00001000sv00001AF4\0SEQNUM=7\0",
        );
        let event = event.expect("the kernel's format");
        assert_eq!(event.action, "add");
        assert_eq!(event.subsystem.as_deref(), Some("pci"));
        assert_eq!(
            event.modalias.as_deref(),
            Some("pci:v00001AF4d00001000sv00001AF4")
        );
    }

    #[test]
    fn a_new_interface_says_its_name() {
        let event =
            parse(b"add@/devices/virtual/net/eth0\0SUBSYSTEM=net\0INTERFACE=eth0\0IFINDEX=2\0");
        assert_eq!(
            event.and_then(|event| event.interface).as_deref(),
            Some("eth0")
        );
    }

    #[test]
    fn what_is_not_the_kernels_is_refused() {
        for message in [&b""[..], b"libudev\0\xfe\xed", b"\0\0\0", b"\xff\xff@x\0"] {
            assert_eq!(parse(message), None);
        }
    }

    #[test]
    fn broken_fields_are_passed_over() {
        let event = parse(b"remove@/x\0\xff\xfe=\0NOVALUE\0SUBSYSTEM=usb");
        assert_eq!(
            event.and_then(|event| event.subsystem).as_deref(),
            Some("usb")
        );
    }
}
