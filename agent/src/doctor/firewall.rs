//! Firewalls that may drop what other nodes send: nftables' base chains, parsed (pure) and asked for.
//!
//! What single rules let through is not looked at: a chain that drops by default is reported, and whether it
//! has an exception is for the person to see. The tools of iptables write nftables' chains, too; those of
//! its old kind are known by `/proc/net/ip_tables_names`.

use std::io;

use rustix::net::netlink::{NETFILTER, SocketAddrNetlink};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};

/// The kernel fills at most this much per read of a dump.
const READ_BYTES: usize = 32 << 10;
/// Reads after which a dump is taken for endless.
const READS_MAX: usize = 64;

// linux/netlink.h, linux/netfilter/nfnetlink.h, linux/netfilter/nf_tables.h, linux/netfilter.h.
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const NLM_F_REQUEST: u16 = 0x1;
const NLM_F_DUMP: u16 = 0x300;
const NFT_MSG_NEWCHAIN: u16 = 10 << 8 | 3;
const NFT_MSG_GETCHAIN: u16 = 10 << 8 | 4;
const NFTA_CHAIN_TABLE: u16 = 1;
const NFTA_CHAIN_NAME: u16 = 3;
const NFTA_CHAIN_HOOK: u16 = 4;
const NFTA_CHAIN_POLICY: u16 = 5;
const NFTA_HOOK_HOOKNUM: u16 = 1;
/// The upper bits of an attribute's kind are flags.
const NLA_TYPE_MASK: u16 = 0x3fff;
const NF_INET_LOCAL_IN: u32 = 1;
const NF_DROP: u32 = 0;
/// inet, ip and ip6.
const INTERNET_FAMILIES: [u8; 3] = [1, 2, 10];

const HEADER_BYTES: usize = 16;
/// struct nfgenmsg: family, version, resource.
const GENERIC_BYTES: usize = 4;

/// The firewalls that were found, in words.
///
/// # Errors
/// When the kernel does not answer; one without nftables refuses, and has none.
pub fn find() -> io::Result<Vec<String>> {
    let mut found = Vec::new();
    let legacy = std::fs::read_to_string("/proc/net/ip_tables_names").unwrap_or_default();
    if legacy.lines().any(|table| table == "filter") {
        found.push("iptables (see `iptables -S INPUT`)".to_owned());
    }
    let socket = rustix::net::socket_with(
        AddressFamily::NETLINK,
        SocketType::RAW,
        SocketFlags::CLOEXEC,
        Some(NETFILTER),
    );
    let socket = match socket {
        Ok(socket) => socket,
        Err(rustix::io::Errno::PROTONOSUPPORT) => return Ok(found),
        Err(error) => return Err(error.into()),
    };
    rustix::net::bind(&socket, &SocketAddrNetlink::new(0, 0))?;
    rustix::net::send(&socket, &request(), SendFlags::empty())?;
    let mut buffer = vec![0; READ_BYTES];
    for _ in 0..READS_MAX {
        let (_, length) = rustix::net::recv(&socket, &mut buffer[..], RecvFlags::empty())?;
        let (chains, is_last) = dropping_chains(&buffer[..length.min(READ_BYTES)]);
        found.extend(chains);
        if is_last {
            break;
        }
    }
    Ok(found)
}

fn request() -> [u8; HEADER_BYTES + GENERIC_BYTES] {
    let mut bytes = [0; HEADER_BYTES + GENERIC_BYTES];
    bytes[..4].copy_from_slice(&((HEADER_BYTES + GENERIC_BYTES) as u32).to_ne_bytes());
    bytes[4..6].copy_from_slice(&NFT_MSG_GETCHAIN.to_ne_bytes());
    bytes[6..8].copy_from_slice(&(NLM_F_REQUEST | NLM_F_DUMP).to_ne_bytes());
    bytes
}

/// The chains in one read that drop what comes in, in words; and whether the dump ends with it.
fn dropping_chains(mut bytes: &[u8]) -> (Vec<String>, bool) {
    let mut chains = Vec::new();
    while let Some(header) = bytes.get(..HEADER_BYTES) {
        let length = u32::from_ne_bytes([header[0], header[1], header[2], header[3]]) as usize;
        let Some(body) = bytes.get(HEADER_BYTES..length) else {
            return (chains, true);
        };
        match u16::from_ne_bytes([header[4], header[5]]) {
            NLMSG_DONE | NLMSG_ERROR => return (chains, true),
            NFT_MSG_NEWCHAIN => chains.extend(dropping_chain(body)),
            _ => {}
        }
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    (chains, false)
}

fn dropping_chain(body: &[u8]) -> Option<String> {
    let (generic, rest) = body.split_at_checked(GENERIC_BYTES)?;
    let (mut table, mut name, mut hook, mut policy) = ("", "", None, None);
    for (kind, value) in attributes(rest) {
        match kind {
            NFTA_CHAIN_TABLE => table = text(value),
            NFTA_CHAIN_NAME => name = text(value),
            NFTA_CHAIN_HOOK => {
                let number = attributes(value).find(|(kind, _)| *kind == NFTA_HOOK_HOOKNUM);
                hook = number.and_then(|(_, value)| big_endian(value));
            }
            NFTA_CHAIN_POLICY => policy = big_endian(value),
            _ => {}
        }
    }
    let is_input = hook == Some(NF_INET_LOCAL_IN) && INTERNET_FAMILIES.contains(&generic[0]);
    // firewalld accepts by policy and rejects by its last rule.
    let drops = policy == Some(NF_DROP) || table == "firewalld";
    (is_input && drops)
        .then(|| format!("the firewall (nftables table {table}, chain {name}, drops by default)"))
}

fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let header = bytes.get(..4)?;
        let length = usize::from(u16::from_ne_bytes([header[0], header[1]]));
        let value = bytes.get(4..length)?;
        let kind = u16::from_ne_bytes([header[2], header[3]]) & NLA_TYPE_MASK;
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, value))
    })
}

fn text(value: &[u8]) -> &str {
    let value = value.split(|&byte| byte == 0).next().unwrap_or_default();
    std::str::from_utf8(value).unwrap_or("?")
}

fn big_endian(value: &[u8]) -> Option<u32> {
    value.try_into().ok().map(u32::from_be_bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
        let mut bytes = (value.len() as u16 + 4).to_ne_bytes().to_vec();
        bytes.extend(kind.to_ne_bytes());
        bytes.extend_from_slice(value);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    fn chain(family: u8, table: &str, hook: u32, policy: u32) -> Vec<u8> {
        let hook = attribute(NFTA_HOOK_HOOKNUM, &hook.to_be_bytes());
        let body = [
            vec![family, 0, 0, 0],
            attribute(NFTA_CHAIN_TABLE, format!("{table}\0").as_bytes()),
            attribute(NFTA_CHAIN_NAME, b"INPUT\0"),
            attribute(0x8000 | NFTA_CHAIN_HOOK, &hook),
            attribute(NFTA_CHAIN_POLICY, &policy.to_be_bytes()),
        ]
        .concat();
        let mut bytes = ((HEADER_BYTES + body.len()) as u32).to_ne_bytes().to_vec();
        bytes.extend(NFT_MSG_NEWCHAIN.to_ne_bytes());
        bytes.resize(HEADER_BYTES, 0);
        bytes.extend(body);
        bytes
    }

    #[test]
    fn only_chains_that_drop_what_comes_in_are_told() {
        let dump = [
            chain(2, "filter", NF_INET_LOCAL_IN, NF_DROP),
            chain(2, "filter", 3, NF_DROP),
            chain(1, "mine", NF_INET_LOCAL_IN, 1),
            chain(1, "firewalld", NF_INET_LOCAL_IN, 1),
            chain(7, "bridge", NF_INET_LOCAL_IN, NF_DROP),
        ]
        .concat();
        let (chains, is_last) = dropping_chains(&dump);
        assert_eq!(chains.len(), 2, "{chains:?}");
        assert!(
            chains[0].contains("table filter, chain INPUT"),
            "{chains:?}"
        );
        assert!(chains[1].contains("firewalld"), "{chains:?}");
        assert!(!is_last);
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic_or_go_on_for_ever(bytes: Vec<u8>) {
            let _ = dropping_chains(&bytes);
        }
    }
}
