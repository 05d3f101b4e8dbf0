//! DHCP as far as a boot server needs it: a client's message read, an answer written (pure).
//!
//! RFC 2131 (the message), RFC 2132 (options), RFC 4578 (options 93 and 97), and Intel's PXE 2.1 for
//! options 43 and 60. Whatever is odd about a message makes it no message: strangers send these.

use std::net::Ipv4Addr;

use heapless::Vec as BoundedVec;

/// Longest message that is read, in bytes: what fits an Ethernet frame.
pub const MESSAGE_BYTES_MAX: usize = 1500;

/// Bytes of the fixed part with the magic cookie (RFC 2131, figure 1).
const FIXED_BYTES: usize = 240;
/// Shortest message that all clients take: BOOTP's fixed size (RFC 1542, 2.1).
const MESSAGE_BYTES_MIN: usize = 300;
const MAGIC_COOKIE: [u8; 4] = [99, 130, 83, 99];
const REQUEST: u8 = 1;
const REPLY: u8 = 2;
const ETHERNET: u8 = 1;
const HARDWARE_BYTES: u8 = 6;
const FILE_OFFSET: usize = 108;
const FILE_BYTES: usize = 128;

const OPTION_PAD: u8 = 0;
const OPTION_SUBNET_MASK: u8 = 1;
const OPTION_VENDOR: u8 = 43;
const OPTION_REQUESTED_ADDRESS: u8 = 50;
const OPTION_LEASE_SECONDS: u8 = 51;
const OPTION_KIND: u8 = 53;
const OPTION_SERVER: u8 = 54;
const OPTION_CLASS: u8 = 60;
const OPTION_TFTP_SERVER: u8 = 66;
const OPTION_BOOT_FILE: u8 = 67;
const OPTION_USER_CLASS: u8 = 77;
const OPTION_ARCHITECTURE: u8 = 93;
const OPTION_MACHINE: u8 = 97;
const OPTION_END: u8 = 255;

/// PXE_DISCOVERY_CONTROL 8: no discovery of further servers, load the file that is named here.
const VENDOR_USE_BOOT_FILE: [u8; 3] = [6, 1, 8];

/// What a message is about (RFC 2132, 9.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A client looks for servers.
    Discover,
    /// A server offers something.
    Offer,
    /// A client takes an offer, or keeps what it has.
    Request,
    /// A server confirms.
    Acknowledge,
    /// A server says that what a client wants is not to be had.
    Refuse,
}

/// What kind of boot firmware asks (option 60).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// `PXEClient...`: wants a file by TFTP.
    Pxe,
    /// `HTTPClient...`: wants a URL.
    Http,
    /// Somebody who only wants an address.
    Other,
}

/// What a client sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Discover or Request.
    pub kind: Kind,
    /// Echoed in the answer.
    pub transaction: [u8; 4],
    /// The client's hardware address.
    pub hardware: [u8; 6],
    /// The address that the client has and answers for, unspecified if none.
    pub client: Ipv4Addr,
    /// Option 50: the address that it wants.
    pub requested: Option<Ipv4Addr>,
    /// Option 54: the server whose offer it takes.
    pub server: Option<Ipv4Addr>,
    /// Option 60.
    pub class: Class,
    /// Option 93: the client system's architecture.
    pub architecture: Option<u16>,
    /// Option 77 names iPXE, which can do more than firmware.
    pub is_ipxe: bool,
    /// Option 97, echoed in the answer.
    pub machine: BoundedVec<u8, 17>,
}

/// Reads what a client sent; `None` if it is no sound message of an Ethernet client of this link.
#[must_use]
pub fn parse(bytes: &[u8]) -> Option<Message> {
    let fixed = bytes.get(..FIXED_BYTES)?;
    // Relayed messages (giaddr, at 24) come from other links, which are not served.
    let is_ours = fixed[..3] == [REQUEST, ETHERNET, HARDWARE_BYTES]
        && fixed[24..28] == [0; 4]
        && fixed[236..240] == MAGIC_COOKIE;
    if !is_ours || bytes.len() > MESSAGE_BYTES_MAX {
        return None;
    }
    let mut kind = None;
    let mut message = Message {
        kind: Kind::Discover,
        transaction: array(fixed.get(4..8)?)?,
        hardware: array(fixed.get(28..34)?)?,
        client: address(fixed.get(12..16)?)?,
        requested: None,
        server: None,
        class: Class::Other,
        architecture: None,
        is_ipxe: false,
        machine: BoundedVec::new(),
    };
    for (code, value) in options(&bytes[FIXED_BYTES..]) {
        match code {
            OPTION_KIND => kind = client_kind(value),
            OPTION_REQUESTED_ADDRESS => message.requested = address(value),
            OPTION_SERVER => message.server = address(value),
            OPTION_CLASS => message.class = class(value),
            OPTION_USER_CLASS => {
                message.is_ipxe = value.windows(4).any(|window| window == b"iPXE");
            }
            OPTION_ARCHITECTURE => {
                // A list, of which the first counts (RFC 4578, 2.1).
                message.architecture = value.get(..2).and_then(array).map(u16::from_be_bytes);
            }
            // A longer one than RFC 4578 has is not echoed.
            OPTION_MACHINE => message.machine = BoundedVec::from_slice(value).unwrap_or_default(),
            _ => {}
        }
    }
    message.kind = kind?;
    Some(message)
}

fn client_kind(value: &[u8]) -> Option<Kind> {
    match value {
        [1] => Some(Kind::Discover),
        [3] => Some(Kind::Request),
        _ => None,
    }
}

fn class(value: &[u8]) -> Class {
    if value.starts_with(b"PXEClient") {
        Class::Pxe
    } else if value.starts_with(b"HTTPClient") {
        Class::Http
    } else {
        Class::Other
    }
}

fn array<const BYTES: usize>(value: &[u8]) -> Option<[u8; BYTES]> {
    value.try_into().ok()
}

fn address(value: &[u8]) -> Option<Ipv4Addr> {
    array::<4>(value).map(Ipv4Addr::from)
}

/// The options, up to the end mark or the first that does not fit.
fn options(mut bytes: &[u8]) -> impl Iterator<Item = (u8, &[u8])> {
    std::iter::from_fn(move || {
        loop {
            let (&code, rest) = bytes.split_first()?;
            match code {
                OPTION_PAD => bytes = rest,
                OPTION_END => return None,
                _ => {
                    let (&length, rest) = rest.split_first()?;
                    let value = rest.get(..usize::from(length))?;
                    bytes = &rest[usize::from(length)..];
                    return Some((code, value));
                }
            }
        }
    })
}

/// An address for a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grant {
    /// The address.
    pub address: Ipv4Addr,
    /// The subnet's mask.
    pub mask: Ipv4Addr,
    /// How long it is the client's, in seconds.
    pub lease_seconds: u32,
}

/// What a server says to a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer<'a> {
    /// Offer, Acknowledge or Refuse.
    pub kind: Kind,
    /// This server.
    pub server: Ipv4Addr,
    /// An address, from a server that gives addresses.
    pub grant: Option<Grant>,
    /// The file or URL to boot, at most 127 bytes.
    pub boot_file: Option<&'a str>,
}

impl Answer<'_> {
    /// The answer to `message` as it goes over the wire.
    #[must_use]
    pub fn to_bytes(&self, message: &Message) -> Vec<u8> {
        let mut bytes = vec![0; FIXED_BYTES];
        bytes[..3].copy_from_slice(&[REPLY, ETHERNET, HARDWARE_BYTES]);
        bytes[4..8].copy_from_slice(&message.transaction);
        // The broadcast flag: the client may have no address yet.
        bytes[10] = 0x80;
        if self.kind != Kind::Refuse {
            bytes[12..16].copy_from_slice(&message.client.octets());
        }
        bytes[28..34].copy_from_slice(&message.hardware);
        bytes[236..240].copy_from_slice(&MAGIC_COOKIE);
        let kind = match self.kind {
            Kind::Discover => 1,
            Kind::Offer => 2,
            Kind::Request => 3,
            Kind::Acknowledge => 5,
            Kind::Refuse => 6,
        };
        add(&mut bytes, OPTION_KIND, &[kind]);
        add(&mut bytes, OPTION_SERVER, &self.server.octets());
        if let Some(grant) = self.grant {
            bytes[16..20].copy_from_slice(&grant.address.octets());
            add(&mut bytes, OPTION_SUBNET_MASK, &grant.mask.octets());
            add(
                &mut bytes,
                OPTION_LEASE_SECONDS,
                &grant.lease_seconds.to_be_bytes(),
            );
        }
        if let Some(file) = self.boot_file.filter(|file| file.len() < FILE_BYTES) {
            self.add_boot(&mut bytes, message, file);
        }
        bytes.push(OPTION_END);
        bytes.resize(bytes.len().max(MESSAGE_BYTES_MIN), 0);
        bytes
    }

    fn add_boot(&self, bytes: &mut Vec<u8>, message: &Message, file: &str) {
        bytes[20..24].copy_from_slice(&self.server.octets());
        bytes[FILE_OFFSET..FILE_OFFSET + file.len()].copy_from_slice(file.as_bytes());
        add(
            bytes,
            OPTION_TFTP_SERVER,
            self.server.to_string().as_bytes(),
        );
        add(bytes, OPTION_BOOT_FILE, file.as_bytes());
        match message.class {
            Class::Http => add(bytes, OPTION_CLASS, b"HTTPClient"),
            // A server that gives the address, too, is one offer of which firmware makes no more ado.
            Class::Pxe if self.grant.is_none() => {
                add(bytes, OPTION_CLASS, b"PXEClient");
                let mut vendor = VENDOR_USE_BOOT_FILE.to_vec();
                vendor.push(OPTION_END);
                add(bytes, OPTION_VENDOR, &vendor);
            }
            Class::Pxe | Class::Other => {}
        }
        if !message.machine.is_empty() {
            add(bytes, OPTION_MACHINE, &message.machine);
        }
    }
}

/// Adds an option; values here are at most 127 bytes long.
fn add(bytes: &mut Vec<u8>, code: u8, value: &[u8]) {
    bytes.extend([code, value.len() as u8]);
    bytes.extend_from_slice(value);
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A client's message with these options.
    pub(in crate::netboot) fn client_message(options: &[(u8, &[u8])]) -> Vec<u8> {
        let mut bytes = vec![0; FIXED_BYTES];
        bytes[..8].copy_from_slice(&[1, 1, 6, 0, 0xde, 0xad, 0xbe, 0xef]);
        bytes[28..34].copy_from_slice(&[0x52, 0x54, 0, 0x12, 0x34, 0x56]);
        bytes[236..].copy_from_slice(&MAGIC_COOKIE);
        for (code, value) in options {
            add(&mut bytes, *code, value);
        }
        bytes.push(OPTION_END);
        bytes
    }

    fn pxe_discover() -> Vec<u8> {
        client_message(&[
            (OPTION_KIND, &[1]),
            (OPTION_CLASS, b"PXEClient:Arch:00007:UNDI:003001"),
            (OPTION_ARCHITECTURE, &[0, 7]),
            (OPTION_MACHINE, &[0; 17]),
        ])
    }

    fn option(bytes: &[u8], wanted: u8) -> Option<Vec<u8>> {
        options(&bytes[FIXED_BYTES..])
            .find(|(code, _)| *code == wanted)
            .map(|(_, value)| value.to_vec())
    }

    #[test]
    fn a_network_cards_question_is_understood() {
        let message = parse(&pxe_discover()).unwrap();
        assert_eq!(message.kind, Kind::Discover);
        assert_eq!(message.transaction, [0xde, 0xad, 0xbe, 0xef]);
        assert_eq!(message.hardware[5], 0x56);
        assert_eq!(message.class, Class::Pxe);
        assert_eq!(message.architecture, Some(7));
        assert_eq!(message.machine.len(), 17);
        assert!(!message.is_ipxe);
    }

    #[test]
    fn ipxe_is_known_by_its_user_class() {
        let bytes = client_message(&[(OPTION_KIND, &[3]), (OPTION_USER_CLASS, b"\x04iPXE")]);
        let message = parse(&bytes).unwrap();
        assert!(message.is_ipxe);
        assert_eq!((message.kind, message.class), (Kind::Request, Class::Other));
    }

    #[test]
    fn messages_of_servers_relays_and_other_media_are_none() {
        let sound = pxe_discover();
        for (offset, value) in [(0, 2), (1, 6), (2, 16), (24, 10), (236, 0)] {
            let mut bytes = sound.clone();
            bytes[offset] = value;
            assert_eq!(parse(&bytes), None, "byte {offset} = {value}");
        }
        assert_eq!(parse(&client_message(&[])), None, "no kind");
        assert_eq!(parse(&client_message(&[(OPTION_KIND, &[5])])), None);
        let mut long = sound;
        long.resize(MESSAGE_BYTES_MAX + 1, 0);
        assert_eq!(parse(&long), None);
    }

    #[test]
    fn a_proxy_offer_names_the_file_and_gives_no_address() {
        let message = parse(&pxe_discover()).unwrap();
        let server = Ipv4Addr::new(10, 0, 0, 1);
        let answer = Answer {
            kind: Kind::Offer,
            server,
            grant: None,
            boot_file: Some("limosa.efi"),
        };
        let bytes = answer.to_bytes(&message);
        assert!(bytes.len() >= MESSAGE_BYTES_MIN);
        assert_eq!(bytes[0], REPLY);
        assert_eq!(bytes[4..8], message.transaction);
        assert_eq!(bytes[16..20], [0; 4], "yiaddr");
        assert_eq!(bytes[20..24], server.octets(), "siaddr");
        assert_eq!(&bytes[FILE_OFFSET..FILE_OFFSET + 11], b"limosa.efi\0");
        assert_eq!(option(&bytes, OPTION_CLASS).unwrap(), b"PXEClient");
        assert_eq!(option(&bytes, OPTION_VENDOR).unwrap(), [6, 1, 8, 255]);
        assert_eq!(option(&bytes, OPTION_MACHINE).unwrap(), [0; 17]);
        assert_eq!(option(&bytes, OPTION_LEASE_SECONDS), None);
    }

    #[test]
    fn a_grant_gives_the_address_and_a_refusal_gives_nothing() {
        let mut message = parse(&pxe_discover()).unwrap();
        message.client = Ipv4Addr::new(10, 0, 0, 9);
        let grant = Grant {
            address: Ipv4Addr::new(10, 76, 1, 20),
            mask: Ipv4Addr::new(255, 255, 255, 0),
            lease_seconds: 3600,
        };
        let mut answer = Answer {
            kind: Kind::Acknowledge,
            server: Ipv4Addr::new(10, 76, 1, 1),
            grant: Some(grant),
            boot_file: Some("undionly.kpxe"),
        };
        let bytes = answer.to_bytes(&message);
        assert_eq!(bytes[16..20], grant.address.octets());
        assert_eq!(
            option(&bytes, OPTION_LEASE_SECONDS).unwrap(),
            [0, 0, 14, 16]
        );
        assert_eq!(option(&bytes, OPTION_VENDOR), None);
        answer = Answer {
            kind: Kind::Refuse,
            grant: None,
            boot_file: None,
            ..answer
        };
        let bytes = answer.to_bytes(&message);
        assert_eq!(bytes[12..24], [0; 12]);
        assert_eq!(option(&bytes, OPTION_KIND).unwrap(), [6]);
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>) {
            let _ = parse(&bytes);
        }

        #[test]
        fn no_options_behind_a_sound_beginning_make_it_panic(tail: Vec<u8>, start in 0_usize..240) {
            let mut bytes = pxe_discover();
            let _ = parse(&bytes[..start]);
            bytes.truncate(FIXED_BYTES);
            bytes.extend(tail);
            if let Some(message) = parse(&bytes) {
                let answer = Answer {
                    kind: Kind::Offer,
                    server: Ipv4Addr::LOCALHOST,
                    grant: None,
                    boot_file: Some("x"),
                };
                prop_assert!(answer.to_bytes(&message).len() <= MESSAGE_BYTES_MAX);
            }
        }
    }
}
