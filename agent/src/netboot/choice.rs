//! What is said to whom: which client gets which file, with or without an address (pure).
//!
//! ```text
//!              on port 67                          on port 4011
//!              Discover       Request              Request
//! proxy        Offer: file    (the DHCP server's)  Acknowledge: file
//! DHCP server  Offer: both    Acknowledge: both    Acknowledge: file
//! ```
//!
//! A proxy speaks only to clients that want to boot; the network's own DHCP server, which knows nothing of
//! it, gives them their addresses.

use std::net::{Ipv4Addr, SocketAddrV4};

use super::catalog;
use super::dhcp::{Answer, Class, Kind, Message};
use super::leases::Leases;

/// Where DHCP clients listen.
const CLIENT_PORT: u16 = 68;

/// Architectures of RFC 4578, 2.1, and of IANA's registry behind it.
const BIOS: u16 = 0;
const UEFI: [u16; 2] = [7, 9];
const UEFI_HTTP: u16 = 16;

/// On which port a message came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Port {
    /// 67: DHCP's own.
    Dhcp,
    /// 4011: where firmware asks a boot server alone.
    Boot,
}

/// The address and the port of the HTTP server on a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Site {
    /// This server's address there.
    pub address: Ipv4Addr,
    /// Where it serves files by HTTP.
    pub http_port: u16,
}

/// An answer as bytes, where it goes, and what to tell the operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The message.
    pub bytes: Vec<u8>,
    /// To whom; the broadcast address for clients that have none yet.
    pub to: SocketAddrV4,
    /// What the client is to boot.
    pub boot_file: Option<String>,
    /// What it gets as address.
    pub granted: Option<Ipv4Addr>,
    /// Whether this is the last word to this client.
    pub is_final: bool,
}

/// Decides about a message that came from `source`; `leases` are those of a DHCP server, a proxy has none.
pub fn reply(
    message: &Message,
    port: Port,
    source: SocketAddrV4,
    site: Site,
    leases: Option<&mut Leases>,
) -> Option<Reply> {
    let boot_file = boot_file(message, site);
    let (kind, grant) = match (port, message.kind, leases) {
        (Port::Boot, Kind::Request, _) if boot_file.is_some() => (Kind::Acknowledge, None),
        (Port::Dhcp, Kind::Discover, None) if boot_file.is_some() => (Kind::Offer, None),
        (Port::Dhcp, Kind::Discover, Some(leases)) => {
            (Kind::Offer, Some(leases.give(message.hardware)))
        }
        (Port::Dhcp, Kind::Request, Some(leases)) => {
            if message.server.is_some_and(|server| server != site.address) {
                // It has taken the offer of another server.
                return None;
            }
            let grant = leases.give(message.hardware);
            let wanted = message.requested.unwrap_or(message.client);
            if wanted == grant.address {
                (Kind::Acknowledge, Some(grant))
            } else {
                (Kind::Refuse, None)
            }
        }
        _ => return None,
    };
    let boot_file = boot_file.filter(|_| kind != Kind::Refuse);
    let answer = Answer {
        kind,
        server: site.address,
        grant,
        boot_file: boot_file.as_deref(),
    };
    let to = match port {
        Port::Boot => source,
        Port::Dhcp if message.client.is_unspecified() || kind == Kind::Refuse => {
            SocketAddrV4::new(Ipv4Addr::BROADCAST, CLIENT_PORT)
        }
        Port::Dhcp => SocketAddrV4::new(message.client, CLIENT_PORT),
    };
    Some(Reply {
        bytes: answer.to_bytes(message),
        to,
        granted: grant.map(|grant| grant.address),
        is_final: kind == Kind::Acknowledge,
        boot_file,
    })
}

/// What a client boots: iPXE its script, firmware the program that it can start; nothing for others.
fn boot_file(message: &Message, site: Site) -> Option<String> {
    let url = |name| format!("http://{}:{}/{name}", site.address, site.http_port);
    match (message.class, message.architecture?) {
        // iPXE itself must not be told to load iPXE again.
        (Class::Pxe, architecture)
            if message.is_ipxe && (architecture == BIOS || UEFI.contains(&architecture)) =>
        {
            Some(url(catalog::SCRIPT))
        }
        (Class::Pxe, BIOS) => Some(catalog::BIOS_LOADER.to_owned()),
        (Class::Pxe, architecture) if UEFI.contains(&architecture) => {
            Some(catalog::EFI_PROGRAM.to_owned())
        }
        (Class::Http, UEFI_HTTP) => Some(url(catalog::EFI_PROGRAM)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::dhcp::parse;
    use super::super::dhcp::tests::client_message;
    use super::*;

    const SITE: Site = Site {
        address: Ipv4Addr::new(10, 76, 1, 1),
        http_port: 4461,
    };
    const NOBODY: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, CLIENT_PORT);

    fn message(kind: u8, class: &[u8], architecture: u8, more: &[(u8, &[u8])]) -> Message {
        let (kind, architecture) = ([kind], [0, architecture]);
        let mut options: Vec<(u8, &[u8])> = vec![(53, &kind), (60, class), (93, &architecture)];
        options.extend(more);
        parse(&client_message(&options)).unwrap()
    }

    fn file(class: &[u8], architecture: u8, more: &[(u8, &[u8])]) -> Option<String> {
        boot_file(&message(1, class, architecture, more), SITE)
    }

    #[test]
    fn each_firmware_is_told_what_it_can_start() {
        assert_eq!(file(b"PXEClient", 0, &[]).as_deref(), Some("undionly.kpxe"));
        assert_eq!(file(b"PXEClient", 7, &[]).as_deref(), Some("limosa.efi"));
        assert_eq!(file(b"PXEClient", 9, &[]).as_deref(), Some("limosa.efi"));
        let script = "http://10.76.1.1:4461/boot.ipxe";
        assert_eq!(
            file(b"PXEClient", 0, &[(77, b"iPXE")]).as_deref(),
            Some(script)
        );
        assert_eq!(
            file(b"PXEClient", 7, &[(77, b"iPXE")]).as_deref(),
            Some(script)
        );
        let program = "http://10.76.1.1:4461/limosa.efi";
        assert_eq!(file(b"HTTPClient", 16, &[]).as_deref(), Some(program));
        // 32-bit UEFI, ARM, and who does not want to boot.
        assert_eq!(file(b"PXEClient", 6, &[]), None);
        assert_eq!(file(b"PXEClient", 11, &[(77, b"iPXE")]), None);
        assert_eq!(file(b"MSFT 5.0", 0, &[]), None);
    }

    #[test]
    fn a_proxy_leaves_addresses_to_the_dhcp_server() {
        let discover = message(1, b"PXEClient", 0, &[]);
        let offer = reply(&discover, Port::Dhcp, NOBODY, SITE, None).unwrap();
        assert_eq!((offer.granted, offer.is_final), (None, false));
        assert_eq!(*offer.to.ip(), Ipv4Addr::BROADCAST);
        let request = message(3, b"PXEClient", 0, &[]);
        assert_eq!(reply(&request, Port::Dhcp, NOBODY, SITE, None), None);
        let source = "10.0.0.9:4011".parse().unwrap();
        let answer = reply(&request, Port::Boot, source, SITE, None).unwrap();
        assert_eq!((answer.to, answer.is_final), (source, true));
        let other = message(1, b"udhcp 1.35.0", 0, &[]);
        assert_eq!(reply(&other, Port::Dhcp, NOBODY, SITE, None), None);
    }

    #[test]
    fn a_dhcp_server_gives_everybody_an_address_and_keeps_its_word() {
        let mut leases = Leases::new(1);
        let discover = message(1, b"udhcp 1.35.0", 0, &[]);
        let offer = reply(&discover, Port::Dhcp, NOBODY, SITE, Some(&mut leases)).unwrap();
        let address = offer.granted.unwrap();
        assert_eq!(offer.boot_file, None);

        let wanted = address.octets();
        let ours = SITE.address.octets();
        let request = message(3, b"PXEClient", 7, &[(50, &wanted), (54, &ours)]);
        let confirmed = reply(&request, Port::Dhcp, NOBODY, SITE, Some(&mut leases)).unwrap();
        assert_eq!(confirmed.granted, Some(address));
        assert_eq!(confirmed.boot_file.as_deref(), Some("limosa.efi"));

        let elsewhere = message(3, b"PXEClient", 7, &[(50, &wanted), (54, &[10, 0, 0, 1])]);
        assert_eq!(
            reply(&elsewhere, Port::Dhcp, NOBODY, SITE, Some(&mut leases)),
            None
        );
        let strange = message(3, b"x", 7, &[(50, &[192, 168, 0, 7])]);
        let refused = reply(&strange, Port::Dhcp, NOBODY, SITE, Some(&mut leases)).unwrap();
        assert_eq!((refused.granted, refused.is_final), (None, false));
    }
}
