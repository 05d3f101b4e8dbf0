//! Who asks to be admitted: a question by multicast, and answers to whoever asked it.
//!
//! ```text
//! question   magic "limosaQ1" | nonce, 8 bytes | zeros
//! answer     magic "limosaR1" | nonce of the question | request, 16 bytes | mark, 1 byte
//!            | TCP port, u16 little endian | length of the name, 1 byte | name | zeros
//! ```
//!
//! Both have [`DATAGRAM_BYTES`]: who sends a question in another's name makes no more traffic than he has sent.
//! Nothing in an answer is authentic; the exchange that follows proves what matters.

use std::net::SocketAddr;
use std::time::Duration;

use super::code::is_mark;
use super::exchange::{NAME_BYTES, RequestId, name_from, part, put_name};
use crate::limits::{ASKERS_MAX, ASKERS_TRIED_MAX};

/// Bytes of each datagram.
pub const DATAGRAM_BYTES: usize = 27 + NAME_BYTES;

/// Tells answers to one question from those to another.
pub type Nonce = [u8; 8];

const QUESTION: [u8; 8] = *b"limosaQ1";
const ANSWER: [u8; 8] = *b"limosaR1";

/// Answers that a newcomer gives in a second, and all at once after a pause.
const ANSWERS_PER_SECOND_MAX: u32 = 20;

/// What a newcomer says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// What it asks for now.
    pub request: RequestId,
    /// The mark of its code.
    pub mark: u8,
    /// Where it listens.
    pub port: u16,
    /// Its name.
    pub name: String,
}

/// The question.
#[must_use]
pub fn question(nonce: Nonce) -> [u8; DATAGRAM_BYTES] {
    let mut bytes = [0; DATAGRAM_BYTES];
    bytes[..8].copy_from_slice(&QUESTION);
    bytes[8..16].copy_from_slice(&nonce);
    bytes
}

/// The nonce, if this is a question.
#[must_use]
pub fn read_question(datagram: &[u8]) -> Option<Nonce> {
    let bytes: &[u8; DATAGRAM_BYTES] = datagram.try_into().ok()?;
    (bytes[..8] == QUESTION).then(|| part(bytes, 8))
}

impl Answer {
    /// As sent to who asked with this nonce.
    #[must_use]
    pub fn to_bytes(&self, nonce: Nonce) -> [u8; DATAGRAM_BYTES] {
        let mut bytes = [0; DATAGRAM_BYTES];
        bytes[..8].copy_from_slice(&ANSWER);
        bytes[8..16].copy_from_slice(&nonce);
        bytes[16..32].copy_from_slice(&self.request);
        bytes[32] = self.mark;
        bytes[33..35].copy_from_slice(&self.port.to_le_bytes());
        put_name(&mut bytes[35..], &self.name);
        bytes
    }

    /// What was sent in answer to a question of this nonce.
    #[must_use]
    pub fn read(datagram: &[u8], nonce: Nonce) -> Option<Answer> {
        let bytes: &[u8; DATAGRAM_BYTES] = datagram.try_into().ok()?;
        let answer = Answer {
            request: part(bytes, 16),
            mark: bytes[32],
            port: u16::from_le_bytes(part(bytes, 33)),
            name: name_from(&bytes[35..])?,
        };
        let sound = bytes[..8] == ANSWER && part::<8>(bytes, 8) == nonce;
        (sound && is_mark(answer.mark) && answer.port != 0).then_some(answer)
    }
}

/// How often a newcomer answers.
#[derive(Clone, Copy, Debug, Default)]
pub struct Pace {
    /// When all answers that were given would have been due, had they come evenly.
    even: Duration,
}

impl Pace {
    /// Whether to answer now.
    pub fn allows(&mut self, now: Duration) -> bool {
        let second = Duration::from_secs(1);
        let next = self.even.max(now) + second / ANSWERS_PER_SECOND_MAX;
        let allows = next <= now + second;
        if allows {
            self.even = next;
        }
        allows
    }
}

/// Somebody who asks to be admitted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asker {
    /// What it says of itself.
    pub answer: Answer,
    /// Where it was heard, with the port where it listens.
    pub address: SocketAddr,
}

/// Those heard in answer to one question, as many as there is room for.
pub struct Askers {
    nonce: Nonce,
    heard: Vec<Asker>,
    /// Answers for which there was no room.
    pub beyond: usize,
}

/// Why an operator's code is tried on nobody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoChoice {
    /// Nobody asks with its mark.
    Nobody,
    /// So many do that somebody may be pretending to.
    TooMany(usize),
}

impl Askers {
    /// Nobody yet.
    #[must_use]
    pub fn new(nonce: Nonce) -> Askers {
        Askers {
            nonce,
            heard: Vec::new(),
            beyond: 0,
        }
    }

    /// Takes a datagram if it is an answer; returns whether it is.
    pub fn hear(&mut self, datagram: &[u8], from: SocketAddr) -> bool {
        let Some(answer) = Answer::read(datagram, self.nonce) else {
            return false;
        };
        let mut address = from;
        address.set_port(answer.port);
        let asker = Asker { answer, address };
        if self.heard.contains(&asker) {
            return true;
        }
        if self.heard.len() < ASKERS_MAX {
            self.heard.push(asker);
        } else {
            self.beyond += 1;
        }
        true
    }

    /// One for each request, by name; a newcomer that was heard at several addresses is there once.
    #[must_use]
    pub fn listed(mut self) -> Vec<Asker> {
        let order = |asker: &Asker| (asker.answer.name.clone(), asker.answer.request);
        // IPv6 addresses first, as they work without DHCP.
        let key = |asker: &Asker| (order(asker), asker.address.is_ipv4());
        self.heard.sort_by_key(key);
        self.heard
            .dedup_by_key(|asker| (asker.answer.name.clone(), asker.answer.request));
        self.heard
    }

    /// Those on whom a code with this mark is to be tried; a newcomer that was heard at several addresses is
    /// there with each.
    pub fn chosen(self, mark: u8) -> Result<Vec<Asker>, NoChoice> {
        let mut chosen = self.heard;
        chosen.retain(|asker| asker.answer.mark == mark);
        let mut requests: Vec<RequestId> = chosen.iter().map(|it| it.answer.request).collect();
        requests.sort_unstable();
        requests.dedup();
        match requests.len() {
            0 => Err(NoChoice::Nobody),
            1..=ASKERS_TRIED_MAX => Ok(chosen),
            many => Err(NoChoice::TooMany(many)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NONCE: Nonce = [5; 8];

    fn answer(request: u16, mark: u8) -> Answer {
        let mut id = [0; 16];
        id[..2].copy_from_slice(&request.to_le_bytes());
        Answer {
            request: id,
            mark,
            port: 4460,
            name: format!("limosa-{request:04x}"),
        }
    }

    fn address(host: u16) -> SocketAddr {
        format!("10.0.{}.{}:999", host / 256, host % 256)
            .parse()
            .unwrap()
    }

    #[test]
    fn question_and_answer_read_back_and_are_equally_long() {
        let sent = question(NONCE);
        assert_eq!(read_question(&sent), Some(NONCE));
        let answer = answer(7, 48);
        let bytes = answer.to_bytes(NONCE);
        assert_eq!(Answer::read(&bytes, NONCE), Some(answer));
        assert_eq!(sent.len(), bytes.len());
        assert_eq!(read_question(&bytes), None);
    }

    #[test]
    fn an_answer_to_another_question_or_with_what_cannot_be_is_none() {
        let sound = answer(7, 48);
        assert_eq!(Answer::read(&sound.to_bytes([6; 8]), NONCE), None);
        let unsound = [
            Answer {
                mark: 100,
                ..sound.clone()
            },
            Answer {
                port: 0,
                ..sound.clone()
            },
            Answer {
                name: "a\x1b[2J".into(),
                ..sound.clone()
            },
            Answer {
                name: String::new(),
                ..sound
            },
        ];
        for answer in unsound {
            assert_eq!(Answer::read(&answer.to_bytes(NONCE), NONCE), None);
        }
    }

    #[test]
    fn a_flood_of_answers_takes_bounded_room_and_of_questions_gets_few_answers() {
        let mut askers = Askers::new(NONCE);
        for n in 0..1_000 {
            assert!(askers.hear(&answer(n, 48).to_bytes(NONCE), address(n)));
        }
        assert_eq!(askers.beyond, 1_000 - ASKERS_MAX);
        assert_eq!(askers.listed().len(), ASKERS_MAX);

        let mut pace = Pace::default();
        let answered = (0..10_000)
            .filter(|ms| pace.allows(Duration::from_millis(*ms)))
            .count();
        assert!((200..=220).contains(&answered), "{answered} in ten seconds");
    }

    #[test]
    fn a_newcomer_is_listed_once_and_tried_at_each_of_its_addresses() {
        let mut askers = Askers::new(NONCE);
        let bytes = answer(7, 48).to_bytes(NONCE);
        let ipv6: SocketAddr = "[fe80::7%2]:4460".parse().unwrap();
        for from in [address(1), address(1), ipv6] {
            askers.hear(&bytes, from);
        }
        askers.hear(&answer(8, 11).to_bytes(NONCE), address(2));
        let again = Askers {
            heard: askers.heard.clone(),
            ..Askers::new(NONCE)
        };
        let listed = again.listed();
        assert_eq!(listed.len(), 2);
        assert_eq!(listed[0].address, ipv6);
        let chosen = askers.chosen(48).unwrap();
        assert_eq!(chosen.len(), 2);
        assert_eq!(chosen[0].address.port(), 4460);
    }

    #[test]
    fn a_code_is_not_tried_on_nobody_nor_on_many_that_claim_its_mark() {
        let mut askers = Askers::new(NONCE);
        askers.hear(&answer(1, 11).to_bytes(NONCE), address(1));
        assert_eq!(askers.chosen(48), Err(NoChoice::Nobody));
        let mut askers = Askers::new(NONCE);
        for n in 0..=ASKERS_TRIED_MAX as u16 {
            askers.hear(&answer(n, 48).to_bytes(NONCE), address(n));
        }
        let many = NoChoice::TooMany(ASKERS_TRIED_MAX + 1);
        assert_eq!(askers.chosen(48), Err(many));
    }

    proptest! {
        #[test]
        fn random_bytes_are_nothing_or_what_they_say(
            mut bytes in prop::collection::vec(any::<u8>(), 0..2 * DATAGRAM_BYTES),
            begins_right: bool,
        ) {
            if begins_right && bytes.len() >= 16 {
                bytes[..8].copy_from_slice(&ANSWER);
                bytes[8..16].copy_from_slice(&NONCE);
            }
            prop_assert_eq!(read_question(&bytes), None);
            let mut askers = Askers::new(NONCE);
            if askers.hear(&bytes, address(1)) {
                prop_assert_eq!(bytes.len(), DATAGRAM_BYTES);
                prop_assert_eq!(askers.listed().len(), 1);
            }
        }
    }
}
