//! What home has sent of a file before the guest asked for it, and the calls that it answers. How that stays exact
//! is told in `deputy/ahead.rs`.

use std::time::{Duration, Instant};

use crate::migrate::channel::ChannelError;
use crate::sys::call_numbers as number;
use crate::wire::migration::{Ahead, ToDeputy};

use super::stay::Stay;
use super::trap::Trap;
use super::trouble::Trouble;

/// How old an answer may be where no message tells of anything newer: as long as a busy network is late.
const FRESH: Duration = Duration::from_millis(50);

/// Size of `struct stat`.
const ATTRIBUTES_BYTES: usize = 144;

/// What was sent of a file.
pub struct Received {
    descriptor: i32,
    attributes: Option<Vec<u8>>,
    contents: Vec<u8>,
    /// How much of it the guest has read.
    consumed: usize,
    ends: bool,
    since: Instant,
}

impl Received {
    /// Takes it from the end of an answer's payload, of which the front is left.
    ///
    /// # Errors
    /// If there is less than home says.
    pub(super) fn split(ahead: &Ahead, payload: &mut Vec<u8>) -> Result<Received, Trouble> {
        let attributes_bytes = if ahead.has_attributes {
            ATTRIBUTES_BYTES
        } else {
            0
        };
        let front = payload
            .len()
            .checked_sub(ahead.bytes as usize + attributes_bytes);
        let Some(front) = front else {
            return Err(Trouble::Protocol(
                "what home sent ahead is incomplete".to_owned(),
            ));
        };
        let contents = payload.split_off(front + attributes_bytes);
        let attributes = payload.split_off(front);
        Ok(Received {
            descriptor: ahead.descriptor,
            attributes: ahead.has_attributes.then_some(attributes),
            contents,
            consumed: 0,
            ends: ahead.ends,
            since: Instant::now(),
        })
    }

    /// What a call would write, where, and its result; none if home has to be asked.
    fn answer(&self, number: u64, arguments: &[u64; 6]) -> Option<(u64, &[u8], i64)> {
        const EMPTY_PATH: u64 = 0x1000;
        let [descriptor, second, third, fourth, ..] = *arguments;
        if descriptor as i32 != self.descriptor || self.since.elapsed() > FRESH {
            return None;
        }
        match number.cast_signed() {
            number::SYS_read => {
                let left = &self.contents[self.consumed..];
                let wanted = usize::try_from(third).ok().filter(|&wanted| wanted > 0)?;
                let is_enough = wanted <= left.len() || self.ends;
                let bytes = &left[..wanted.min(left.len())];
                is_enough.then_some((second, bytes, bytes.len() as i64))
            }
            // After a read the time of the last one may be another.
            number::SYS_fstat if self.consumed == 0 => Some((second, self.attributes.as_ref()?, 0)),
            number::SYS_newfstatat if self.consumed == 0 && fourth == EMPTY_PATH => {
                Some((third, self.attributes.as_ref()?, 0))
            }
            _ => None,
        }
    }
}

impl Stay<'_> {
    /// The result of a call that what was sent ahead answers.
    pub(super) fn answer_ahead(&mut self, trap: &Trap) -> Option<i64> {
        let ahead = self.guest.ahead.as_mut()?;
        let (address, bytes, result) = ahead.answer(trap.number, &trap.arguments)?;
        if trap.number.cast_signed() == number::SYS_newfstatat {
            let mut path = [0];
            self.guest
                .memory
                .read_as_program(trap.arguments[1], &mut path)
                .ok()?;
            if path != [0] {
                return None;
            }
        }
        // Where the program cannot write, home's kernel says what becomes of it.
        self.guest.memory.write_as_program(address, bytes).ok()?;
        if trap.number.cast_signed() == number::SYS_read {
            ahead.consumed += bytes.len();
        }
        Some(result)
    }

    /// What was sent ahead counts no more; home learns what has been read of it.
    pub(super) fn end_ahead(&mut self) -> Result<(), ChannelError> {
        let Some(ahead) = self.guest.ahead.take().filter(|ahead| ahead.consumed > 0) else {
            return Ok(());
        };
        let header = ToDeputy::Consumed {
            pid: self.guest.pid,
            descriptor: ahead.descriptor,
            bytes: ahead.consumed as u32,
        };
        self.channel.send(&header, &[])
    }

    /// Says something to home, which has to know first what has been read.
    pub(super) fn tell(&mut self, header: &ToDeputy, payload: &[u8]) -> Result<(), ChannelError> {
        self.end_ahead()?;
        self.channel.send(header, payload)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const READ: u64 = number::SYS_read as u64;
    const FSTAT: u64 = number::SYS_fstat as u64;

    fn received(contents: &[u8], ends: bool) -> Received {
        let ahead = Ahead {
            descriptor: 3,
            bytes: contents.len() as u32,
            ends,
            has_attributes: true,
        };
        let mut payload = [b"reply".as_slice(), &[7; ATTRIBUTES_BYTES], contents].concat();
        let received = Received::split(&ahead, &mut payload).unwrap();
        assert_eq!(payload, b"reply");
        received
    }

    #[test]
    fn a_read_is_answered_if_all_of_it_is_there_or_the_file_ends() {
        let ahead = received(b"0123456789", false);
        let whole = ahead.answer(READ, &[3, 0x1000, 10, 0, 0, 0]);
        assert_eq!(whole, Some((0x1000, b"0123456789".as_slice(), 10)));
        assert_eq!(ahead.answer(READ, &[3, 0x1000, 11, 0, 0, 0]), None);
        assert_eq!(ahead.answer(READ, &[4, 0x1000, 10, 0, 0, 0]), None);
        assert_eq!(ahead.answer(READ, &[3, 0x1000, 0, 0, 0, 0]), None);
        let mut ahead = received(b"01", true);
        let short = ahead.answer(READ, &[3, 0x1000, 4096, 0, 0, 0]);
        assert_eq!(short, Some((0x1000, b"01".as_slice(), 2)));
        ahead.consumed = 2;
        let end = ahead.answer(READ, &[3, 0x1000, 4096, 0, 0, 0]);
        assert_eq!(end, Some((0x1000, b"".as_slice(), 0)));
    }

    #[test]
    fn attributes_are_known_until_something_is_read_and_for_a_moment() {
        let mut ahead = received(b"01", true);
        let asked = [3, 0x2000, 0, 0, 0, 0];
        assert_eq!(ahead.answer(FSTAT, &asked).map(|answer| answer.2), Some(0));
        ahead.consumed = 1;
        assert_eq!(ahead.answer(FSTAT, &asked), None);
        ahead.consumed = 0;
        ahead.since = Instant::now().checked_sub(2 * FRESH).unwrap();
        assert_eq!(ahead.answer(FSTAT, &asked), None);
        assert_eq!(ahead.answer(READ, &[3, 0, 1, 0, 0, 0]), None);
    }

    #[test]
    fn an_answer_with_less_than_it_says_is_refused() {
        let ahead = Ahead {
            descriptor: 3,
            bytes: 8,
            ends: false,
            has_attributes: false,
        };
        assert!(Received::split(&ahead, &mut vec![0; 7]).is_err());
        let huge = Ahead {
            bytes: u32::MAX,
            ..ahead
        };
        assert!(Received::split(&huge, &mut vec![0; 8]).is_err());
    }
}
