//! The derivation: from a call's arguments and the memory they point to, to pieces of memory to move.
//!
//! Both sides run the same derivation, which is what makes the home side's check of an untrusted peer
//! complete: a request on the wire is only the number, the six arguments and one run of bytes.
//!
//! 1. The guest side derives from the guest's memory and notes every byte it reads, in order: the payload.
//! 2. The home side derives again, taking the same bytes from the payload instead. Whatever a peer sends,
//!    only what the table says can come out; too few or too many bytes are refused.
//! 3. After the call both sides walk the same list of returns (`settle`): home collects the bytes
//!    from the deputy's scratch area, the guest side finds in the reply where each of them belongs.

use super::plan::Limits;
use super::portions;
use super::shape::{Argument, Filled, Forward, Length, Shorten, SignalMask, Structure};
use crate::limits::{FORWARD_SEGMENTS_MAX, FORWARD_TEXT_BYTES_MAX};

/// Why a derivation ended early.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// A byte that it needs cannot be had.
    Fault,
    /// It would move more than the limits allow.
    TooLarge,
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
    /// How many bytes a transfer that may be shortened asks for.
    pub(super) transfer_bytes: u64,
    /// The guest asked for more.
    pub(super) shortened: bool,
    /// The signal mask with which the call waits, if it has one of its own: its segment, and what it is.
    pub(super) signal_mask: Option<(usize, u64)>,
    total_bytes: u64,
}

/// On which side a call is derived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    /// The guest's: a large transfer may be cut, and begins behind the `done` bytes of earlier portions.
    Guest { done: u64 },
    /// Home's: as the guest's side has sent it.
    Home,
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

/// Derives the pieces of memory of a call.
pub(super) fn derive(
    args: &[u64; 6],
    forward: &Forward,
    source: &mut dyn Source,
    limits: Limits,
    side: Side,
) -> Result<Derivation, Stop> {
    let mut planner = Planner {
        derivation: Derivation {
            args: *args,
            ..Derivation::default()
        },
        forward,
        source,
        limits,
        side,
        word_returns: [None; 6],
    };
    planner.skip_done();
    planner.shorten();
    for index in 0..forward.arguments.len().min(args.len()) {
        planner.argument(index)?;
    }
    planner.derivation.signal_mask = planner.signal_mask();
    Ok(planner.derivation)
}

/// A derivation in progress.
pub(super) struct Planner<'a> {
    pub(super) derivation: Derivation,
    pub(super) forward: &'a Forward,
    pub(super) source: &'a mut dyn Source,
    pub(super) limits: Limits,
    pub(super) side: Side,
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

    /// Passes over what earlier portions have transferred.
    fn skip_done(&mut self) {
        if let Side::Guest { done: done @ 1.. } = self.side {
            self.derivation.args = portions::rest(&self.derivation.args, self.forward, done);
        }
    }

    /// Cuts a count that is larger than a portion. Counts that the kernel refuses stay as they are.
    fn shorten(&mut self) {
        let Some(Shorten::Argument {
            argument,
            unit,
            most,
        }) = self.forward.facts.shortens
        else {
            return;
        };
        let portion = self.limits.portion_bytes / u64::from(unit);
        let is_narrow = most <= u64::from(u32::MAX);
        let mask = if is_narrow { u32::MAX.into() } else { u64::MAX };
        let wanted = self.arg(argument) & mask;
        self.derivation.transfer_bytes = wanted;
        if self.side != Side::Home && wanted > portion && wanted <= most {
            self.derivation.args[usize::from(argument)] = portion;
            self.derivation.transfer_bytes = portion;
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
            Argument::Texts => self.texts(address)?,
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
    pub(super) fn segment(
        &mut self,
        address: u64,
        length: u64,
        input: Option<usize>,
    ) -> Result<usize, Stop> {
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
    pub(super) fn read_segment(&mut self, address: u64, length: u64) -> Result<usize, Stop> {
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

    /// The mask with which the call waits; none as well if its size is not the kernel's: that is an error.
    fn signal_mask(&mut self) -> Option<(usize, u64)> {
        const SET_BYTES: u64 = 8;
        let segment = match self.forward.facts.signal_mask? {
            SignalMask::Argument(index) => self.derivation.pointers[usize::from(index)]?,
            SignalMask::Pack(index) => {
                let pack = self.derivation.pointers[usize::from(index)]?;
                let at = self.derivation.segments[pack].input?;
                let mut relocations = self.derivation.relocations.iter();
                relocations.find(|pointer| pointer.at == at)?.segment
            }
        };
        let is_set = self.derivation.segments[segment].length == SET_BYTES;
        is_set.then(|| (segment, self.number(segment, 0, SET_BYTES as usize)))
    }

    /// A little-endian number of `width` bytes at `offset` of a segment that was read.
    pub(super) fn number(&mut self, segment: usize, offset: u64, width: usize) -> u64 {
        let Some(input) = self.derivation.segments[segment].input else {
            return 0;
        };
        number_at(self.source.payload(), input + offset as usize, width)
    }

    pub(super) fn returned(
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

    /// The pointer at `offset` of segment `within` must lead to `segment`.
    pub(super) fn relocate(&mut self, within: usize, offset: u64, segment: usize) {
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

/// A count that the kernel takes as an `int`: the upper half of the register means nothing, and a negative one
/// is refused before any memory is touched.
pub(super) fn int_count(value: u64) -> u64 {
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
