//! The home side: lays a request of the peer out in the deputy's scratch area, and collects the outcome.
//!
//! The peer is not trusted. Nothing of a request is believed but its bytes: the table says what call it
//! is, the planner derives its pieces again, and what does not fit exactly is refused.

use std::fmt;
use std::ops::Range;

use super::derive::{Derivation, Side, Source, Stop, derive};
use super::plan::{Fault, Limits, Memory, Request};
use super::settle::{Returned, settle};
use super::shape::{Class, Forward, SpecialCall};
use super::{lookup, resolve};

/// Bytes that stay unused between two pieces, so that an overrun in one shows instead of changing the next.
const GAP_BYTES: u64 = 16;

/// Why a request is refused. Nothing was executed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rejection {
    /// No such call is known.
    UnknownCall(u64),
    /// The call, with these arguments, is none that is forwarded.
    NotForwarded(&'static str),
    /// The payload ends before the call's arguments do, or goes on after them.
    PayloadMismatch(&'static str),
    /// The call would move more than the limits allow.
    TooLarge(&'static str),
    /// The scratch area is too small.
    ScratchTooSmall {
        /// Bytes that the call needs there.
        needed_bytes: u64,
        /// Bytes that there are.
        available_bytes: u64,
    },
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Rejection::UnknownCall(number) => {
                write!(
                    f,
                    "the remote node asked for system call {number}, which is not in the table"
                )
            }
            Rejection::NotForwarded(name) => {
                write!(
                    f,
                    "the remote node asked for {name} in a form that is never forwarded"
                )
            }
            Rejection::PayloadMismatch(name) => {
                write!(
                    f,
                    "the remote node sent {name} with memory that does not fit its arguments"
                )
            }
            Rejection::TooLarge(name) => {
                write!(
                    f,
                    "the remote node sent {name} with more memory than a call may move"
                )
            }
            Rejection::ScratchTooSmall {
                needed_bytes,
                available_bytes,
            } => write!(
                f,
                "a forwarded call needs {needed_bytes} bytes of scratch memory, there are {available_bytes}"
            ),
        }
    }
}

impl std::error::Error for Rejection {}

/// Bytes to write: `bytes` of the payload at `address`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    /// Where to.
    pub address: u64,
    /// Which bytes of the payload (home side) or the reply (guest side).
    pub bytes: Range<usize>,
}

/// A call ready for execution by the deputy.
#[derive(Clone, Debug)]
pub struct Layout {
    /// The call.
    pub number: u64,
    /// The registers' values.
    pub args: [u64; 6],
    /// What to write into the deputy's memory first.
    pub writes: Vec<Write>,
    /// How the call is forwarded.
    pub forward: Forward,
    /// If it succeeds, the process is another program.
    pub executes: bool,
    pub(super) derivation: Derivation,
    /// Where each segment lies in the scratch area.
    addresses: Vec<u64>,
}

/// Lays out a request; pointers within `payload` are changed to where they lead in the scratch area.
///
/// # Errors
/// [`Rejection`], if the request is not exactly a forwarded call of the table.
pub fn layout(
    request: &Request,
    payload: &mut [u8],
    scratch: Range<u64>,
) -> Result<Layout, Rejection> {
    let call = lookup(request.number).ok_or(Rejection::UnknownCall(request.number))?;
    let class = resolve(call, &request.args);
    let forward = match class {
        Class::Forward(forward) | Class::Special(_, Some(forward)) => *forward,
        _ => return Err(Rejection::NotForwarded(call.name)),
    };
    let length = payload.len();
    let mut source = Received { payload, used: 0 };
    let derivation = derive(
        &request.args,
        &forward,
        &mut source,
        Limits::default(),
        Side::Home,
    )
    .map_err(|stop| match stop {
        Stop::Fault => Rejection::PayloadMismatch(call.name),
        Stop::TooLarge => Rejection::TooLarge(call.name),
    })?;
    if source.used != length {
        return Err(Rejection::PayloadMismatch(call.name));
    }
    let addresses = place(&derivation, &scratch)?;
    for relocation in &derivation.relocations {
        let target = addresses[relocation.segment].to_le_bytes();
        payload[relocation.at..relocation.at + target.len()].copy_from_slice(&target);
    }
    let mut args = derivation.args;
    for (arg, pointer) in args.iter_mut().zip(derivation.pointers) {
        if let Some(segment) = pointer {
            *arg = addresses[segment];
        }
    }
    let writes = derivation
        .segments
        .iter()
        .zip(&addresses)
        .filter_map(|(segment, &address)| {
            let input = segment.input.filter(|_| segment.length > 0)?;
            Some(Write {
                address,
                bytes: input..input + segment.length as usize,
            })
        });
    Ok(Layout {
        number: request.number,
        args,
        writes: writes.collect(),
        forward,
        executes: matches!(class, Class::Special(SpecialCall::Exec, _)),
        addresses,
        derivation,
    })
}

/// Gives every segment its place in the scratch area.
fn place(derivation: &Derivation, scratch: &Range<u64>) -> Result<Vec<u64>, Rejection> {
    let mut next = scratch.start;
    let mut addresses = Vec::with_capacity(derivation.segments.len());
    for segment in &derivation.segments {
        // Direct I/O asks for aligned buffers: large ones keep their offset within a page or sector, so
        // that the kernel says yes or no as it would have natively.
        let alignment = match segment.length {
            4096.. => 4096,
            512.. => 512,
            _ => 16,
        };
        let wanted = if alignment > 16 {
            segment.address % alignment
        } else {
            0
        };
        let address = next.saturating_add((wanted.wrapping_sub(next)) % alignment);
        next = address
            .saturating_add(segment.length)
            .saturating_add(GAP_BYTES);
        addresses.push(address);
    }
    if next > scratch.end {
        let needed_bytes = next - scratch.start;
        let available_bytes = scratch.end.saturating_sub(scratch.start);
        return Err(Rejection::ScratchTooSmall {
            needed_bytes,
            available_bytes,
        });
    }
    Ok(addresses)
}

impl Layout {
    /// Whether a call that is made in portions has transferred all that it asked for.
    #[must_use]
    pub fn is_whole_portion(&self, result: i64) -> bool {
        self.forward.facts.portions.is_some()
            && u64::try_from(result).is_ok_and(|bytes| bytes == self.derivation.transfer_bytes)
    }

    /// The signal mask with which the call waits, if it has one of its own.
    #[must_use]
    pub fn signal_mask(&self) -> Option<u64> {
        self.derivation.signal_mask.map(|(_, mask)| mask)
    }

    /// Where that mask is in the scratch area.
    #[must_use]
    pub fn signal_mask_address(&self) -> Option<u64> {
        let (segment, _) = self.derivation.signal_mask?;
        self.addresses.get(segment).copied()
    }

    /// Collects what the call has left behind, given its raw result: the payload of the reply.
    ///
    /// # Errors
    /// [`Fault`] if the deputy's scratch area cannot be read.
    pub fn collect(&self, result: i64, memory: &mut dyn Memory) -> Result<Vec<u8>, Fault> {
        let mut collecting = Collecting {
            addresses: &self.addresses,
            memory,
            reply: Vec::new(),
        };
        settle(&self.derivation, result, &mut collecting)?;
        Ok(collecting.reply)
    }
}

/// The home side's source: the payload that the peer sent.
struct Received<'a> {
    payload: &'a mut [u8],
    used: usize,
}

impl Source for Received<'_> {
    fn take(&mut self, _address: u64, length: u64) -> Result<usize, Stop> {
        let offset = self.used;
        if length > (self.payload.len() - offset) as u64 {
            return Err(Stop::Fault);
        }
        self.used += length as usize;
        Ok(offset)
    }

    fn take_text(&mut self, address: u64, maximum: u64) -> Result<(usize, u64), Stop> {
        let rest = &self.payload[self.used..];
        let most = rest.len().min(maximum as usize);
        let length = match rest[..most].iter().position(|&byte| byte == 0) {
            Some(end) => end as u64 + 1,
            None => maximum,
        };
        Ok((self.take(address, length)?, length))
    }

    fn payload(&mut self) -> &mut [u8] {
        self.payload
    }
}

/// Reads returned bytes from the scratch area into the reply.
struct Collecting<'a> {
    addresses: &'a [u64],
    memory: &'a mut dyn Memory,
    reply: Vec<u8>,
}

impl Returned for Collecting<'_> {
    type Error = Fault;

    fn take(&mut self, segment: usize, offset: u64, length: u64) -> Result<Range<usize>, Fault> {
        let start = self.reply.len();
        self.reply.resize(start + length as usize, 0);
        self.memory
            .read(self.addresses[segment] + offset, &mut self.reply[start..])?;
        Ok(start..self.reply.len())
    }

    fn take_strided(
        &mut self,
        segment: usize,
        offset: u64,
        length: u64,
        (width, stride): (u64, u64),
    ) -> Result<(), Fault> {
        let mut all = vec![0; length as usize];
        self.memory
            .read(self.addresses[segment] + offset, &mut all)?;
        for stretch in all.chunks(stride as usize) {
            self.reply
                .extend_from_slice(&stretch[..stretch.len().min(width as usize)]);
        }
        Ok(())
    }

    fn bytes(&self) -> &[u8] {
        &self.reply
    }
}
