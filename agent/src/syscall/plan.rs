//! The guest side: from a call's arguments and the memory they point to, to what is sent home.
//!
//! A request on the wire is only the number, the six arguments and one run of bytes, the payload: every byte
//! that the derivation (`derive`) reads from the guest's memory, in its order.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::derive::{Derivation, Side, Source, Stop, derive};
use super::shape::Forward;
use crate::limits::{FORWARD_BYTES_MAX, FORWARD_PORTION_BYTES};

/// Memory of a traced process.
pub trait Memory {
    /// Fills `into` from the process's memory at `address`.
    ///
    /// # Errors
    /// [`Fault`] if any of it cannot be read.
    fn read(&mut self, address: u64, into: &mut [u8]) -> Result<(), Fault>;

    /// Whether the process itself could write to these bytes, as far as that can be told.
    fn is_writable(&mut self, address: u64, length: u64) -> bool {
        length == 0 || self.read(address, &mut [0]).is_ok()
    }
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
    /// The guest passed an address that it cannot use itself. Home's kernel knows what becomes of that:
    /// which error the call has depends on what is looked at first.
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

    /// The signal mask with which the call waits, if it has one of its own.
    #[must_use]
    pub fn signal_mask(&self) -> Option<u64> {
        self.derivation.signal_mask.map(|(_, mask)| mask)
    }

    /// How many bytes this portion of a transfer asks for.
    #[must_use]
    pub fn transfer_bytes(&self) -> u64 {
        self.derivation.transfer_bytes
    }

    /// Whether less was asked for than the guest wanted, see [`super::Shorten`].
    #[must_use]
    pub fn shortened(&self) -> bool {
        self.derivation.shortened
    }
}

/// Plans a call of the guest: reads what it points to.
///
/// # Errors
/// [`PlanError::Fault`] if the guest's memory is not where the call wants it; [`PlanError::ComesHome`] if the call is too large.
pub fn plan(
    number: u64,
    args: &[u64; 6],
    forward: &Forward,
    memory: &mut dyn Memory,
    limits: Limits,
) -> Result<Plan, PlanError> {
    plan_rest(number, args, forward, memory, limits, 0)
}

/// As [`plan`], for what is left of a transfer when earlier portions have transferred `done` bytes.
///
/// # Errors
/// As [`plan`].
pub fn plan_rest(
    number: u64,
    args: &[u64; 6],
    forward: &Forward,
    memory: &mut dyn Memory,
    limits: Limits,
    done: u64,
) -> Result<Plan, PlanError> {
    let mut source = Reading {
        memory,
        payload: Vec::new(),
    };
    let derivation = derive(args, forward, &mut source, limits, Side::Guest { done }).map_err(
        |stop| match stop {
            Stop::Fault => PlanError::Fault,
            Stop::TooLarge => {
                PlanError::ComesHome("one call moves more memory than is sent at once")
            }
        },
    )?;
    // What the call takes out of a pipe, say, must not be lost for want of a place to put it.
    let mut returned: Vec<usize> = derivation.returns.iter().map(|it| it.segment).collect();
    returned.dedup();
    let mut written = returned.iter().map(|&index| derivation.segments[index]);
    if written.any(|segment| !source.memory.is_writable(segment.address, segment.length)) {
        return Err(PlanError::Fault);
    }
    Ok(Plan {
        number,
        payload: source.payload,
        derivation,
    })
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
