//! The derivation of vectors of buffers (`readv`) and of messages made of them (`sendmsg`, `recvmmsg`).

use super::derive::{Counter, Extent, Planner, Relocation, Side, Stop, When, int_count, number_at};
use super::portions;
use super::shape::Shorten;

/// Most buffers in a vector, and messages in one call: `UIO_MAXIOV` (linux/uio.h). The kernel looks at the count
/// first and refuses more, or (messages) takes no more.
const VECTOR_ENTRIES_MAX: u64 = 1024;

/// `sizeof(struct iovec)`.
const VECTOR_ENTRY_BYTES: u64 = 16;

impl Planner<'_> {
    /// An array of iovecs and its buffers. `counted` tells, for buffers that the kernel fills, what counts
    /// the bytes and when they are valid.
    pub(super) fn vector(
        &mut self,
        address: u64,
        count: u64,
        counted: Option<(Counter, When)>,
    ) -> Result<usize, Stop> {
        let count = if count > VECTOR_ENTRIES_MAX { 0 } else { count };
        let array = self.read_segment(address, count * VECTOR_ENTRY_BYTES)?;
        let Some(input) = self.derivation.segments[array].input else {
            return Ok(array);
        };
        let is_transfer = self.forward.facts.shortens == Some(Shorten::Vector);
        let portion = self.side != Side::Home && is_transfer;
        if let Side::Guest { done: done @ 1.. } = self.side
            && is_transfer
        {
            portions::rest_of_vector(&mut self.source.payload()[input..], done);
        }
        let mut before = 0;
        for entry in 0..count as usize {
            let at = input + entry * VECTOR_ENTRY_BYTES as usize;
            let base = number_at(self.source.payload(), at, 8);
            let mut length = number_at(self.source.payload(), at + 8, 8);
            if i64::try_from(length).is_err() {
                return Err(Stop::TooLarge);
            }
            let room = self.limits.portion_bytes.saturating_sub(before);
            if portion && length > room {
                length = room;
                self.source.payload()[at + 8..at + 16].copy_from_slice(&length.to_le_bytes());
                self.derivation.shortened = true;
            }
            if length == 0 || base == 0 {
                continue;
            }
            let segment = match counted {
                None => self.read_segment(base, length)?,
                Some((counter, when)) => {
                    let segment = self.segment(base, length, None)?;
                    let extent = Extent::Counted {
                        counter,
                        times: 1,
                        plus: 0,
                        before,
                    };
                    self.returned(segment, 0, length, extent, when);
                    segment
                }
            };
            self.derivation.relocations.push(Relocation { at, segment });
            before += length;
        }
        if is_transfer {
            self.derivation.transfer_bytes = before;
        }
        Ok(array)
    }

    pub(super) fn message_alone(&mut self, address: u64, receive: bool) -> Result<usize, Stop> {
        let segment = self.read_segment(address, message::BYTES)?;
        self.message(
            segment,
            0,
            receive.then_some((Counter::Result, When::AtLeast(0))),
        )?;
        Ok(segment)
    }

    pub(super) fn messages(
        &mut self,
        address: u64,
        count: u64,
        receive: bool,
    ) -> Result<usize, Stop> {
        let count = u64::from(count as u32).min(VECTOR_ENTRIES_MAX);
        let segment = self.read_segment(address, count * message::ENTRY_BYTES)?;
        for entry in 0..count {
            let offset = entry * message::ENTRY_BYTES;
            let when = When::AtLeast(entry as i64 + 1);
            let sent = offset + message::TRANSFERRED;
            let word = self.returned(segment, sent, 4, Extent::Whole, when);
            self.message(
                segment,
                offset,
                receive.then_some((Counter::Word(word), when)),
            )?;
        }
        Ok(segment)
    }

    /// The parts of the `struct msghdr` at `offset` of a segment.
    fn message(
        &mut self,
        segment: usize,
        offset: u64,
        received: Option<(Counter, When)>,
    ) -> Result<(), Stop> {
        let name = self.number(segment, offset + message::NAME, 8);
        let name_length = int_count(self.number(segment, offset + message::NAME_LENGTH, 4));
        let vector = self.number(segment, offset + message::VECTOR, 8);
        let vector_count = self.number(segment, offset + message::VECTOR_COUNT, 8);
        let control = self.number(segment, offset + message::CONTROL, 8);
        let control_length = self.number(segment, offset + message::CONTROL_LENGTH, 8);
        // The kernel takes longer addresses as of this length (net/socket.c, __copy_msghdr).
        let name_length = name_length.min(message::NAME_BYTES_MAX);
        let when = received.map(|(_, when)| when);
        self.message_part(
            segment,
            offset,
            (message::NAME, name, name_length),
            when,
            (message::NAME_LENGTH, 4),
        )?;
        if vector != 0 {
            let array = self.vector(vector, vector_count, received)?;
            self.relocate(segment, offset + message::VECTOR, array);
        }
        let parts = (message::CONTROL, control, control_length);
        self.message_part(segment, offset, parts, when, (message::CONTROL_LENGTH, 8))?;
        if let Some(when) = when {
            if control == 0 {
                let at = offset + message::CONTROL_LENGTH;
                self.returned(segment, at, 8, Extent::Whole, when);
            }
            self.returned(segment, offset + message::FLAGS, 4, Extent::Whole, when);
        }
        Ok(())
    }

    /// The name or the control data of a message: (offset of the pointer, pointer, length), and where
    /// the kernel leaves the true length.
    fn message_part(
        &mut self,
        within: usize,
        offset: u64,
        (pointer, address, length): (u64, u64, u64),
        received: Option<When>,
        (length_field, width): (u64, u64),
    ) -> Result<(), Stop> {
        if address == 0 {
            return Ok(());
        }
        let segment = match received {
            None => self.read_segment(address, length)?,
            Some(when) => {
                let segment = if pointer == message::CONTROL {
                    // Between control messages there is padding that the kernel leaves as it is.
                    self.read_segment(address, length)?
                } else {
                    self.segment(address, length, None)?
                };
                let word = self.returned(within, offset + length_field, width, Extent::Whole, when);
                let counter = Counter::Word(word);
                let extent = Extent::Counted {
                    counter,
                    times: 1,
                    plus: 0,
                    before: 0,
                };
                self.returned(segment, 0, length, extent, when);
                segment
            }
        };
        self.relocate(within, offset + pointer, segment);
        Ok(())
    }
}

/// `struct msghdr` and `struct mmsghdr` (linux/socket.h): offsets and sizes in bytes.
mod message {
    pub(super) const BYTES: u64 = 56;
    pub(super) const ENTRY_BYTES: u64 = 64;
    pub(super) const NAME: u64 = 0;
    pub(super) const NAME_LENGTH: u64 = 8;
    pub(super) const VECTOR: u64 = 16;
    pub(super) const VECTOR_COUNT: u64 = 24;
    pub(super) const CONTROL: u64 = 32;
    pub(super) const CONTROL_LENGTH: u64 = 40;
    pub(super) const FLAGS: u64 = 48;
    pub(super) const TRANSFERRED: u64 = 56;
    /// `sizeof(struct sockaddr_storage)`.
    pub(super) const NAME_BYTES_MAX: u64 = 128;
}
