//! The planner: from a call's arguments and the memory they point to, to pieces of memory to move.
//!
//! Both sides run the same derivation, which is what makes the home side's check of an untrusted peer
//! complete: a request on the wire is only the number, the six arguments and one run of bytes.
//!
//! 1. The guest side derives from the guest's memory and notes every byte it reads, in order: the payload.
//! 2. The home side derives again, taking the same bytes from the payload instead. Whatever a peer sends,
//!    only what the table says can come out; too few or too many bytes are refused.
//! 3. After the call both sides walk the same list of returns (`settle`): home collects the bytes
//!    from the deputy's scratch area, the guest side finds in the reply where each of them belongs.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::shape::{Argument, Filled, Forward, Length, Shorten, Structure};
use crate::limits::{
    FORWARD_BYTES_MAX, FORWARD_PORTION_BYTES, FORWARD_SEGMENTS_MAX, FORWARD_TEXT_BYTES_MAX,
};

/// Most buffers in a vector, and messages in one call: `UIO_MAXIOV` (linux/uio.h). The kernel looks at the count
/// first and refuses more, or (messages) takes no more.
const VECTOR_ENTRIES_MAX: u64 = 1024;

/// `sizeof(struct iovec)`.
const VECTOR_ENTRY_BYTES: u64 = 16;

/// Memory of a traced process.
pub trait Memory {
    /// Fills `into` from the process's memory at `address`.
    ///
    /// # Errors
    /// [`Fault`] if any of it cannot be read.
    fn read(&mut self, address: u64, into: &mut [u8]) -> Result<(), Fault>;
}

/// Some address could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault;

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the program passed an address that it cannot read itself")
    }
}

impl std::error::Error for Fault {}

/// A forwarded call as it travels, together with its payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// The call's number.
    pub number: u64,
    /// Its arguments, pointers being addresses in the guest.
    pub args: [u64; 6],
}

/// Why a call is not forwarded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PlanError {
    /// The guest gets `-EFAULT`, as natively.
    Fault,
    /// The process must come home for it; the text says why.
    ComesHome(&'static str),
}

impl fmt::Display for PlanError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PlanError::Fault => Fault.fmt(f),
            PlanError::ComesHome(reason) => f.write_str(reason),
        }
    }
}

impl std::error::Error for PlanError {}

/// Why a derivation ended early.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// A byte that it needs cannot be had.
    Fault,
    /// It would move more than the limits allow.
    TooLarge,
}

/// How much one call may move.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Calls that may be made in portions are cut to this many bytes.
    pub portion_bytes: u64,
    /// A call that would move more comes home.
    pub total_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            portion_bytes: FORWARD_PORTION_BYTES,
            total_bytes: FORWARD_BYTES_MAX,
        }
    }
}

/// A piece of memory that the call uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Segment {
    /// Where it is in the guest.
    pub(super) address: u64,
    /// Its length in bytes.
    pub(super) length: u64,
    /// Where its contents begin in the payload, if the kernel reads it.
    pub(super) input: Option<usize>,
}

/// A pointer within the payload that must lead to a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Relocation {
    /// Offset of the pointer in the payload.
    pub(super) at: usize,
    /// The segment.
    pub(super) segment: usize,
}

/// Bytes that come back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Return {
    /// The segment that they are in.
    pub(super) segment: usize,
    /// Where in it.
    pub(super) offset: u64,
    /// At most how many.
    pub(super) length: u64,
    /// How many of them.
    pub(super) extent: Extent,
    /// On which results.
    pub(super) when: When,
}

/// How many of a return's bytes are valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Extent {
    /// All.
    Whole,
    /// `counter * times + plus - before`, at least 0, at most all.
    Counted {
        counter: Counter,
        times: u64,
        plus: u64,
        before: u64,
    },
    /// A field of `width` bytes in each stretch of `stride` bytes, from the return's offset on.
    Strided { width: u64, stride: u64 },
}

/// What counts a return's valid bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Counter {
    /// The call's result.
    Result,
    /// The number in an earlier return.
    Word(usize),
}

/// On which results bytes come back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum When {
    /// Always.
    Always,
    /// The result is at least this.
    AtLeast(i64),
    /// A signal interrupted the call.
    Interrupted,
}

/// What the table makes of one call: the same on both sides.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Derivation {
    /// The arguments (cut, if the call was made smaller).
    pub(super) args: [u64; 6],
    /// Which arguments lead to which segment.
    pub(super) pointers: [Option<usize>; 6],
    pub(super) segments: Vec<Segment>,
    pub(super) relocations: Vec<Relocation>,
    pub(super) returns: Vec<Return>,
    /// The guest asked for more.
    pub(super) shortened: bool,
    total_bytes: u64,
}

/// A call ready to be sent home; afterwards it knows where the reply's bytes belong.
#[derive(Clone, Debug)]
pub struct Plan {
    number: u64,
    payload: Vec<u8>,
    pub(super) derivation: Derivation,
}

impl Plan {
    /// What is sent, together with the payload.
    #[must_use]
    pub fn request(&self) -> Request {
        Request {
            number: self.number,
            args: self.derivation.args,
        }
    }

    /// All bytes that the call reads from the guest's memory, in the planner's order.
    #[must_use]
    pub fn payload(&self) -> &[u8] {
        &self.payload
    }

    /// Takes the payload out, to send it without a copy.
    #[must_use]
    pub fn take_payload(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.payload)
    }

    /// Whether less was asked for than the guest wanted, see [`Shorten`].
    #[must_use]
    pub fn shortened(&self) -> bool {
        self.derivation.shortened
    }
}

/// Plans a call of the guest: reads what it points to.
///
/// # Errors
/// [`PlanError::Fault`] if the guest's memory cannot be read; [`PlanError::ComesHome`] if the call is too large.
pub fn plan(
    number: u64,
    args: &[u64; 6],
    forward: &Forward,
    memory: &mut dyn Memory,
    limits: Limits,
) -> Result<Plan, PlanError> {
    let mut source = Reading {
        memory,
        payload: Vec::new(),
    };
    let derivation =
        derive(args, forward, &mut source, limits, true).map_err(|stop| match stop {
            Stop::Fault => PlanError::Fault,
            Stop::TooLarge => {
                PlanError::ComesHome("one call moves more memory than is sent at once")
            }
        })?;
    Ok(Plan {
        number,
        payload: source.payload,
        derivation,
    })
}

/// Where a derivation takes the bytes from that the kernel would read.
pub(super) trait Source {
    /// Takes `length` bytes at `address`; returns their offset in the payload. Successive pieces lie one
    /// behind the other there.
    fn take(&mut self, address: u64, length: u64) -> Result<usize, Stop>;

    /// Takes a C string with its end, or `maximum` bytes of it; returns its offset and length.
    fn take_text(&mut self, address: u64, maximum: u64) -> Result<(usize, u64), Stop>;

    /// The payload so far.
    fn payload(&mut self) -> &mut [u8];
}

/// The guest side's source: its memory; the payload grows.
struct Reading<'a> {
    memory: &'a mut dyn Memory,
    payload: Vec<u8>,
}

impl Source for Reading<'_> {
    fn take(&mut self, address: u64, length: u64) -> Result<usize, Stop> {
        let offset = self.payload.len();
        let length = usize::try_from(length).map_err(|_| Stop::TooLarge)?;
        self.payload.resize(offset + length, 0);
        self.memory
            .read(address, &mut self.payload[offset..])
            .map_err(|Fault| Stop::Fault)?;
        Ok(offset)
    }

    fn take_text(&mut self, address: u64, maximum: u64) -> Result<(usize, u64), Stop> {
        /// Most paths are shorter; and no page is touched that the string does not reach.
        const CHUNK: u64 = 256;
        let start = self.payload.len();
        let mut length = 0;
        while length < maximum {
            let at = address.checked_add(length).ok_or(Stop::Fault)?;
            let chunk = (CHUNK - at % CHUNK).min(maximum - length);
            let offset = self.take(at, chunk)?;
            if let Some(end) = self.payload[offset..].iter().position(|&byte| byte == 0) {
                self.payload.truncate(offset + end + 1);
                return Ok((start, length + end as u64 + 1));
            }
            length += chunk;
        }
        Ok((start, length))
    }

    fn payload(&mut self) -> &mut [u8] {
        &mut self.payload
    }
}

/// Derives the pieces of memory of a call.
pub(super) fn derive(
    args: &[u64; 6],
    forward: &Forward,
    source: &mut dyn Source,
    limits: Limits,
    may_shorten: bool,
) -> Result<Derivation, Stop> {
    let mut planner = Planner {
        derivation: Derivation {
            args: *args,
            ..Derivation::default()
        },
        forward,
        source,
        limits,
        may_shorten,
        word_returns: [None; 6],
    };
    planner.shorten();
    for index in 0..forward.arguments.len().min(args.len()) {
        planner.argument(index)?;
    }
    Ok(planner.derivation)
}

struct Planner<'a> {
    derivation: Derivation,
    forward: &'a Forward,
    source: &'a mut dyn Source,
    limits: Limits,
    may_shorten: bool,
    /// The return that carries the length word to which the argument points.
    word_returns: [Option<usize>; 6],
}

impl Planner<'_> {
    fn arg(&self, index: u8) -> u64 {
        self.derivation
            .args
            .get(usize::from(index))
            .copied()
            .unwrap_or(0)
    }

    /// Cuts a count that is larger than a portion. Counts that the kernel refuses stay as they are.
    fn shorten(&mut self) {
        let Some(Shorten::Argument { argument, unit }) = self.forward.facts.shortens else {
            return;
        };
        let most = self.limits.portion_bytes / u64::from(unit);
        let wanted = self.arg(argument);
        if self.may_shorten && wanted > most && i64::try_from(wanted).is_ok() {
            self.derivation.args[usize::from(argument)] = most;
            self.derivation.shortened = true;
        }
    }

    fn argument(&mut self, index: usize) -> Result<(), Stop> {
        let Some(&shape) = self.forward.arguments.get(index) else {
            return Ok(());
        };
        let address = self.derivation.args[index];
        if address == 0 || self.derivation.pointers[index].is_some() {
            return Ok(());
        }
        let segment = match shape {
            Argument::Value | Argument::Descriptor => return Ok(()),
            Argument::Text => self.text(address)?,
            Argument::In(length) => self.read_buffer(address, length)?,
            Argument::Out(length, filled) => {
                let bytes = self.length(length)?;
                let segment = self.segment(address, bytes, None)?;
                self.filled(segment, bytes, length, filled);
                segment
            }
            Argument::InOut(length, filled) => {
                let segment = self.read_buffer(address, length)?;
                let bytes = self.derivation.segments[segment].length;
                self.word_returns[index] = Some(self.derivation.returns.len());
                self.filled(segment, bytes, length, filled);
                segment
            }
            Argument::Gather(count) => self.vector(address, self.arg(count), None)?,
            Argument::Scatter(count) => self.vector(
                address,
                self.arg(count),
                Some((Counter::Result, When::AtLeast(1))),
            )?,
            Argument::SendMessage => self.message_alone(address, false)?,
            Argument::ReceiveMessage => self.message_alone(address, true)?,
            Argument::SendMessages(count) => self.messages(address, self.arg(count), false)?,
            Argument::ReceiveMessages(count) => self.messages(address, self.arg(count), true)?,
            Argument::PollDescriptors(count) => self.poll_descriptors(address, count)?,
            Argument::Structure(structure) => self.structure(address, structure)?,
        };
        self.derivation.pointers[index] = Some(segment);
        Ok(())
    }

    /// Adds a segment, within the limits.
    fn segment(&mut self, address: u64, length: u64, input: Option<usize>) -> Result<usize, Stop> {
        self.derivation.total_bytes = self.derivation.total_bytes.saturating_add(length);
        if self.derivation.total_bytes > self.limits.total_bytes
            || self.derivation.segments.len() >= FORWARD_SEGMENTS_MAX
        {
            return Err(Stop::TooLarge);
        }
        self.derivation.segments.push(Segment {
            address,
            length,
            input,
        });
        Ok(self.derivation.segments.len() - 1)
    }

    /// Adds a segment that the kernel reads, with its contents.
    fn read_segment(&mut self, address: u64, length: u64) -> Result<usize, Stop> {
        let segment = self.segment(address, length, None)?;
        let input = self.source.take(address, length)?;
        self.derivation.segments[segment].input = Some(input);
        Ok(segment)
    }

    fn text(&mut self, address: u64) -> Result<usize, Stop> {
        let (input, length) = self.source.take_text(address, FORWARD_TEXT_BYTES_MAX)?;
        self.segment(address, length, Some(input))
    }

    fn read_buffer(&mut self, address: u64, length: Length) -> Result<usize, Stop> {
        if let Length::Own { prefix, plus } = length {
            return self.read_self_sized(address, u64::from(prefix), u64::from(plus));
        }
        let bytes = self.length(length)?;
        self.read_segment(address, bytes)
    }

    fn read_self_sized(&mut self, address: u64, prefix: u64, plus: u64) -> Result<usize, Stop> {
        let segment = self.read_segment(address, prefix)?;
        let rest = (self.number(segment, 0, 4) + plus).saturating_sub(prefix);
        self.derivation.total_bytes += rest;
        if self.derivation.total_bytes > self.limits.total_bytes {
            return Err(Stop::TooLarge);
        }
        self.source
            .take(address.checked_add(prefix).ok_or(Stop::Fault)?, rest)?;
        self.derivation.segments[segment].length += rest;
        Ok(segment)
    }

    /// The length in bytes; what no kernel accepts becomes 0 (the kernel refuses before it touches memory)
    /// or is too large.
    fn length(&mut self, length: Length) -> Result<u64, Stop> {
        let bytes = match length {
            Length::Bytes(bytes) => u64::from(bytes),
            Length::Counted {
                argument,
                wide,
                times,
                plus,
            } => {
                let value = self.arg(argument);
                let count = if wide { value } else { int_count(value) };
                count
                    .checked_mul(u64::from(times))
                    .and_then(|bytes| bytes.checked_add(u64::from(plus)))
                    .ok_or(Stop::TooLarge)?
            }
            Length::Pointed(argument) => {
                self.argument(usize::from(argument))?;
                match self.derivation.pointers[usize::from(argument)] {
                    Some(segment) => int_count(self.number(segment, 0, 4)),
                    None => 0,
                }
            }
            Length::Bits(argument) => int_count(self.arg(argument)).div_ceil(64) * 8,
            Length::LongBits(argument) => self.arg(argument).saturating_sub(1).div_ceil(64) * 8,
            Length::Own { prefix, .. } => u64::from(prefix),
            Length::Encoded(argument) => (self.arg(argument) >> 16) & 0x3fff,
        };
        Ok(bytes)
    }

    /// A little-endian number of `width` bytes at `offset` of a segment that was read.
    fn number(&mut self, segment: usize, offset: u64, width: usize) -> u64 {
        let Some(input) = self.derivation.segments[segment].input else {
            return 0;
        };
        number_at(self.source.payload(), input + offset as usize, width)
    }

    fn returned(
        &mut self,
        segment: usize,
        offset: u64,
        length: u64,
        extent: Extent,
        when: When,
    ) -> usize {
        self.derivation.returns.push(Return {
            segment,
            offset,
            length,
            extent,
            when,
        });
        self.derivation.returns.len() - 1
    }

    fn filled(&mut self, segment: usize, bytes: u64, length: Length, filled: Filled) {
        let counted = |counter, times: u32, plus: u32| Extent::Counted {
            counter,
            times: u64::from(times),
            plus: u64::from(plus),
            before: 0,
        };
        let (extent, when) = match filled {
            Filled::Whole => (Extent::Whole, When::AtLeast(0)),
            Filled::WholeIfPositive => (Extent::Whole, When::AtLeast(1)),
            Filled::Always => (Extent::Whole, When::Always),
            Filled::Interrupted => (Extent::Whole, When::Interrupted),
            Filled::Result => (counted(Counter::Result, 1, 0), When::AtLeast(1)),
            Filled::ResultTimes { times, plus } => {
                (counted(Counter::Result, times, plus), When::AtLeast(0))
            }
            Filled::Pointed => {
                let word = match length {
                    Length::Pointed(argument) => self.word_returns[usize::from(argument)],
                    _ => None,
                };
                match word {
                    Some(word) => (counted(Counter::Word(word), 1, 0), When::AtLeast(0)),
                    None => return,
                }
            }
        };
        self.returned(segment, 0, bytes, extent, when);
    }

    fn poll_descriptors(&mut self, address: u64, count: u8) -> Result<usize, Stop> {
        /// `struct pollfd`: fd (4 bytes), events (2), revents (2).
        const ENTRY_BYTES: u64 = 8;
        let bytes = u64::from(self.arg(count) as u32) * ENTRY_BYTES;
        let segment = self.read_segment(address, bytes)?;
        if bytes > 0 {
            let extent = Extent::Strided {
                width: 2,
                stride: ENTRY_BYTES,
            };
            self.returned(segment, 6, bytes - 6, extent, When::AtLeast(0));
        }
        Ok(segment)
    }

    /// An array of iovecs and its buffers. `counted` tells, for buffers that the kernel fills, what counts
    /// the bytes and when they are valid.
    fn vector(
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
        let portion = self.may_shorten && self.forward.facts.shortens == Some(Shorten::Vector);
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
        Ok(array)
    }

    fn message_alone(&mut self, address: u64, receive: bool) -> Result<usize, Stop> {
        let segment = self.read_segment(address, message::BYTES)?;
        self.message(
            segment,
            0,
            receive.then_some((Counter::Result, When::AtLeast(0))),
        )?;
        Ok(segment)
    }

    fn messages(&mut self, address: u64, count: u64, receive: bool) -> Result<usize, Stop> {
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
        message: usize,
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
                let segment = self.segment(address, length, None)?;
                let word =
                    self.returned(message, offset + length_field, width, Extent::Whole, when);
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
        self.relocate(message, offset + pointer, segment);
        Ok(())
    }

    /// The pointer at `offset` of segment `within` must lead to `segment`.
    fn relocate(&mut self, within: usize, offset: u64, segment: usize) {
        if let Some(input) = self.derivation.segments[within].input {
            let at = input + offset as usize;
            self.derivation.relocations.push(Relocation { at, segment });
        }
    }

    fn structure(&mut self, address: u64, structure: &Structure) -> Result<usize, Stop> {
        let whole = self.read_segment(address, u64::from(structure.length_bytes))?;
        let word = structure.returns.map(|(offset, length)| {
            let (offset, length) = (u64::from(offset), u64::from(length));
            self.returned(whole, offset, length, Extent::Whole, When::AtLeast(0))
        });
        for pointer in structure.pointers {
            let target = self.number(whole, u64::from(pointer.offset), 8);
            let width = pointer.length_width as usize;
            let count = self.number(whole, u64::from(pointer.length_offset), width);
            let count = if width == 4 { int_count(count) } else { count };
            let length = count
                .checked_mul(u64::from(pointer.unit))
                .ok_or(Stop::TooLarge)?;
            if target == 0 {
                continue;
            }
            let segment = if pointer.out {
                let segment = self.segment(target, length, None)?;
                let counter = word.map_or(Counter::Result, Counter::Word);
                let extent = Extent::Counted {
                    counter,
                    times: 1,
                    plus: 0,
                    before: 0,
                };
                self.returned(segment, 0, length, extent, When::AtLeast(0));
                segment
            } else {
                self.read_segment(target, length)?
            };
            self.relocate(whole, u64::from(pointer.offset), segment);
        }
        Ok(whole)
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

/// A count that the kernel takes as an `int`: the upper half of the register means nothing, and a negative one
/// is refused before any memory is touched.
fn int_count(value: u64) -> u64 {
    u64::try_from(value as u32 as i32).unwrap_or(0)
}

/// A little-endian number of up to 8 bytes; 0 where the bytes do not reach.
pub(super) fn number_at(bytes: &[u8], at: usize, width: usize) -> u64 {
    let mut buffer = [0; 8];
    if let Some(found) = bytes.get(at..at + width.min(8)) {
        buffer[..found.len()].copy_from_slice(found);
    }
    u64::from_le_bytes(buffer)
}
