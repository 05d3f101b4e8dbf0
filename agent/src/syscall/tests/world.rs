//! A guest and a deputy made of byte arrays, and a kernel that a test supplies.

use crate::limits::FORWARD_SCRATCH_BYTES;
use crate::syscall::{
    Class, Fault, Forward, Layout, Limits, Memory, Plan, PlanError, layout, lookup, plan, resolve,
};

/// Where guests of these tests have their memory.
pub(super) const GUEST: u64 = 0x10_0000;

/// Where deputies of these tests have their scratch area.
pub(super) const SCRATCH: u64 = 0x7f00_0000_0000;

/// One stretch of memory; everything else faults.
pub(super) struct Space {
    pub(super) base: u64,
    pub(super) bytes: Vec<u8>,
}

impl Space {
    pub(super) fn guest(length: usize) -> Space {
        Space {
            base: GUEST,
            bytes: vec![0; length],
        }
    }

    fn at(&mut self, address: u64, length: usize) -> Option<&mut [u8]> {
        let start = usize::try_from(address.checked_sub(self.base)?).ok()?;
        self.bytes.get_mut(start..start.checked_add(length)?)
    }

    /// The bytes at an address, which must exist.
    pub(super) fn slice(&mut self, address: u64, length: usize) -> &mut [u8] {
        self.at(address, length)
            .expect("the test's address lies in its memory")
    }

    pub(super) fn put(&mut self, address: u64, bytes: &[u8]) {
        self.slice(address, bytes.len()).copy_from_slice(bytes);
    }

    pub(super) fn put_numbers(&mut self, address: u64, numbers: &[u64]) {
        for (index, number) in (0..).zip(numbers) {
            self.put(address + index * 8, &number.to_le_bytes());
        }
    }

    pub(super) fn u64(&mut self, address: u64) -> u64 {
        u64::from_le_bytes(self.slice(address, 8).try_into().unwrap())
    }

    pub(super) fn u32(&mut self, address: u64) -> u32 {
        u32::from_le_bytes(self.slice(address, 4).try_into().unwrap())
    }
}

impl Memory for Space {
    fn read(&mut self, address: u64, into: &mut [u8]) -> Result<(), Fault> {
        into.copy_from_slice(self.at(address, into.len()).ok_or(Fault)?);
        Ok(())
    }
}

/// How the table forwards this call; it must.
pub(super) fn forward_of(number: u64, args: &[u64; 6]) -> &'static Forward {
    match resolve(lookup(number).unwrap(), args) {
        Class::Forward(forward) | Class::Special(_, Some(forward)) => forward,
        other => panic!("call {number} is not forwarded: {other:?}"),
    }
}

/// Plans a call with the ordinary limits.
pub(super) fn planned(number: u64, args: &[u64; 6], guest: &mut Space) -> Result<Plan, PlanError> {
    plan(
        number,
        args,
        forward_of(number, args),
        guest,
        Limits::default(),
    )
}

/// A deputy's scratch area.
pub(super) fn scratch() -> Space {
    Space {
        base: SCRATCH,
        bytes: vec![0; FORWARD_SCRATCH_BYTES as usize],
    }
}

/// Lays a planned call out in a scratch area.
pub(super) fn laid_out(plan: &Plan, home: &mut Space) -> Layout {
    let mut payload = plan.payload().to_vec();
    let end = home.base + home.bytes.len() as u64;
    let layout = layout(&plan.request(), &mut payload, home.base..end).unwrap();
    for write in &layout.writes {
        home.put(write.address, &payload[write.bytes.clone()]);
    }
    layout
}

/// The whole way of a call: planned, laid out, executed by `kernel`, collected, scattered.
pub(super) fn forwarded(
    number: u64,
    args: &[u64; 6],
    guest: &mut Space,
    kernel: impl FnOnce(&[u64; 6], &mut Space) -> i64,
) -> i64 {
    let plan = planned(number, args, guest).unwrap();
    let mut home = scratch();
    let layout = laid_out(&plan, &mut home);
    let result = kernel(&layout.args, &mut home);
    let reply = layout.collect(result, &mut home).unwrap();
    for write in plan.scatter(result, &reply).unwrap() {
        guest.put(write.address, &reply[write.bytes]);
    }
    result
}
