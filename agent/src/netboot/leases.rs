//! Addresses for a link where nobody else gives any: a small pool, remembered by hardware address (pure).
//!
//! There is no clock: an address stays with the card that had it, and when all are taken, the one that was
//! given or confirmed longest ago makes room. A room of PCs has fewer cards than the pool has addresses.

use std::net::Ipv4Addr;

use super::dhcp::Grant;

/// How long a client may use an address before it asks again, in seconds.
const LEASE_SECONDS: u32 = 3600;

/// The subnets are 10.76.N.0/24 ("L").
const NETWORK: [u8; 2] = [10, 76];
const MASK: Ipv4Addr = Ipv4Addr::new(255, 255, 255, 0);
/// Length of the subnets' prefix, in bits.
pub const PREFIX_BITS: u8 = 24;

/// Host parts that are given.
const HOST_FIRST: u8 = 20;
const HOST_LAST: u8 = 250;

/// Who has which address of one link.
#[derive(Debug)]
pub struct Leases {
    link: u8,
    /// Hardware address and host part, the one given longest ago first.
    given: Vec<([u8; 6], u8)>,
}

impl Leases {
    /// The pool of the link with this number, which is part of the addresses.
    #[must_use]
    pub fn new(link: u8) -> Leases {
        Leases {
            link,
            given: Vec::new(),
        }
    }

    /// The server's own address there.
    #[must_use]
    pub fn server(&self) -> Ipv4Addr {
        self.address(1)
    }

    fn address(&self, host: u8) -> Ipv4Addr {
        Ipv4Addr::new(NETWORK[0], NETWORK[1], self.link, host)
    }

    /// The address of the card: the one it had, else a free one, else that of another card.
    pub fn give(&mut self, hardware: [u8; 6]) -> Grant {
        let known = self.given.iter().position(|(owner, _)| *owner == hardware);
        let host = match known {
            Some(index) => self.given.remove(index).1,
            None => self.free().unwrap_or_else(|| self.given.remove(0).1),
        };
        self.given.push((hardware, host));
        Grant {
            address: self.address(host),
            mask: MASK,
            lease_seconds: LEASE_SECONDS,
        }
    }

    fn free(&self) -> Option<u8> {
        (HOST_FIRST..=HOST_LAST).find(|host| self.given.iter().all(|(_, taken)| taken != host))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_card_keeps_its_address() {
        let mut leases = Leases::new(3);
        let first = leases.give([1; 6]);
        assert_eq!(first.address, Ipv4Addr::new(10, 76, 3, 20));
        assert_ne!(leases.give([2; 6]).address, first.address);
        assert_eq!(leases.give([1; 6]), first);
        assert_eq!(leases.server(), Ipv4Addr::new(10, 76, 3, 1));
    }

    #[test]
    fn more_cards_than_addresses_take_the_one_unused_longest_and_nothing_grows() {
        let mut leases = Leases::new(0);
        let card = |number: u16| {
            let [high, low] = number.to_be_bytes();
            [2, 0, 0, 0, high, low]
        };
        let pool = u16::from(HOST_LAST - HOST_FIRST) + 1;
        let first = leases.give(card(0)).address;
        for number in 1..pool {
            assert_ne!(leases.give(card(number)).address, first);
        }
        leases.give(card(0));
        // Card 1 is now the one not heard of for longest.
        let second = Ipv4Addr::new(10, 76, 0, 21);
        assert_eq!(leases.give(card(pool)).address, second);
        assert_eq!(leases.give(card(0)).address, first);
        assert_eq!(leases.given.len(), usize::from(pool));
    }
}
