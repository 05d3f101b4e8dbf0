//! After the call: which bytes come back, and where they belong in the guest.
//!
//! One walk over the derivation's returns serves both sides: at home it collects (`Layout::collect`), on the
//! remote it splits the reply into writes ([`Plan::scatter`]). Lengths that the kernel left in memory (the
//! true length of an address, of control data) precede, in that walk, the bytes that they count.

use std::fmt;
use std::ops::Range;

use super::derive::{Counter, Derivation, Extent, Return, When, number_at};
use super::layout::{Layout, Write};
use super::plan::Plan;

/// The reply does not fit the call that was sent; the guest's memory is untouched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReplyMismatch;

impl fmt::Display for ReplyMismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the home node's reply does not fit the call that was sent to it")
    }
}

impl std::error::Error for ReplyMismatch {}

/// Where returned bytes are taken from.
pub(super) trait Returned {
    /// Why they could not be had.
    type Error;

    /// Takes `length` bytes at `offset` of a segment; returns where they are in the reply.
    fn take(
        &mut self,
        segment: usize,
        offset: u64,
        length: u64,
    ) -> Result<Range<usize>, Self::Error>;

    /// Takes the first `width` bytes of each stretch of `stride` bytes.
    fn take_strided(
        &mut self,
        segment: usize,
        offset: u64,
        length: u64,
        field: (u64, u64),
    ) -> Result<(), Self::Error>;

    /// The reply.
    fn bytes(&self) -> &[u8];
}

/// Walks over all returns of a call with this raw result.
pub(super) fn settle<R: Returned>(
    derivation: &Derivation,
    result: i64,
    source: &mut R,
) -> Result<(), R::Error> {
    // Where each return's bytes are in the reply: later returns may be counted by them.
    let mut taken: Vec<Range<usize>> = Vec::with_capacity(derivation.returns.len());
    for returned in &derivation.returns {
        let mut place = 0..0;
        if returned.when.holds(result) {
            if let Extent::Strided { width, stride } = returned.extent {
                let Return {
                    segment,
                    offset,
                    length,
                    ..
                } = *returned;
                source.take_strided(segment, offset, length, (width, stride))?;
            } else {
                let length = valid_bytes(returned, result, &taken, source.bytes());
                if length > 0 {
                    place = source.take(returned.segment, returned.offset, length)?;
                }
            }
        }
        taken.push(place);
    }
    Ok(())
}

/// How many bytes of a return are valid.
fn valid_bytes(returned: &Return, result: i64, taken: &[Range<usize>], reply: &[u8]) -> u64 {
    match returned.extent {
        Extent::Whole | Extent::Strided { .. } => returned.length,
        Extent::Counted {
            counter,
            times,
            plus,
            before,
        } => {
            let count = match counter {
                Counter::Result => u64::try_from(result).unwrap_or(0),
                Counter::Word(index) => taken
                    .get(index)
                    .map_or(0, |place| number_at(reply, place.start, place.len())),
            };
            let bytes = count.saturating_mul(times).saturating_add(plus);
            bytes.saturating_sub(before).min(returned.length)
        }
    }
}

const EINTR: i64 = -4;

/// A signal has interrupted a call that goes on where it was (linux/errno.h).
const ERESTART_RESTARTBLOCK: i64 = -516;

impl When {
    fn holds(self, result: i64) -> bool {
        match self {
            When::Always => true,
            When::AtLeast(least) => result >= least,
            // Of the codes that a tracer sees before they become EINTR or a restart only this one says that
            // the kernel has told what remains: a sleep until a given time ends with ERESTARTNOHAND, and a
            // call that a signal has kept from beginning with ERESTARTNOINTR.
            When::Interrupted => [EINTR, ERESTART_RESTARTBLOCK].contains(&result),
        }
    }
}

impl Plan {
    /// Says where the bytes of the reply to this call belong in the guest's memory.
    ///
    /// # Errors
    /// [`ReplyMismatch`] if the reply has too few or too many bytes for this result.
    pub fn scatter(&self, result: i64, reply: &[u8]) -> Result<Vec<Write>, ReplyMismatch> {
        scatter(&self.derivation, result, reply)
    }
}

impl Layout {
    /// As [`Plan::scatter`], at home: for a guest that comes home before the reply has reached it.
    ///
    /// # Errors
    /// [`ReplyMismatch`] if the reply has too few or too many bytes for this result.
    pub fn scatter(&self, result: i64, reply: &[u8]) -> Result<Vec<Write>, ReplyMismatch> {
        scatter(&self.derivation, result, reply)
    }
}

fn scatter(
    derivation: &Derivation,
    result: i64,
    reply: &[u8],
) -> Result<Vec<Write>, ReplyMismatch> {
    let mut scattering = Scattering {
        derivation,
        reply,
        used: 0,
        writes: Vec::new(),
    };
    settle(derivation, result, &mut scattering)?;
    if scattering.used == reply.len() {
        Ok(scattering.writes)
    } else {
        Err(ReplyMismatch)
    }
}

/// Splits a reply into writes.
struct Scattering<'a> {
    derivation: &'a Derivation,
    reply: &'a [u8],
    used: usize,
    writes: Vec<Write>,
}

impl Returned for Scattering<'_> {
    type Error = ReplyMismatch;

    fn take(
        &mut self,
        segment: usize,
        offset: u64,
        length: u64,
    ) -> Result<Range<usize>, ReplyMismatch> {
        let start = self.used;
        if length > (self.reply.len() - start) as u64 {
            return Err(ReplyMismatch);
        }
        self.used += length as usize;
        let address = self.derivation.segments[segment]
            .address
            .wrapping_add(offset);
        self.writes.push(Write {
            address,
            bytes: start..self.used,
        });
        Ok(start..self.used)
    }

    fn take_strided(
        &mut self,
        segment: usize,
        offset: u64,
        length: u64,
        (width, stride): (u64, u64),
    ) -> Result<(), ReplyMismatch> {
        let mut at = 0;
        while at < length {
            self.take(segment, offset + at, width.min(length - at))?;
            at += stride;
        }
        Ok(())
    }

    fn bytes(&self) -> &[u8] {
        self.reply
    }
}
