//! Runs a call three times: twice forwarded, through scratch areas with different stale bytes in them, and once
//! natively; and compares.

use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt;

use limosa::syscall::{Class, Fault, Limits, Memory, calls, layout, lookup, plan, resolve};

use crate::sys;

const GUEST_BYTES: usize = 32 << 10;
const SCRATCH_BYTES: usize = 96 << 10;

/// This process's own memory, of which the kernel says what exists.
struct Own(File);

impl Own {
    fn open() -> Own {
        Own(File::options()
            .read(true)
            .write(true)
            .open("/proc/self/mem")
            .unwrap())
    }

    fn write(&self, address: u64, bytes: &[u8]) {
        self.0.write_all_at(bytes, address).unwrap();
    }
}

impl Memory for Own {
    fn read(&mut self, address: u64, into: &mut [u8]) -> Result<(), Fault> {
        self.0.read_exact_at(into, address).map_err(|_| Fault)
    }
}

/// The same, noting what is read.
struct Noting {
    own: Own,
    read: Vec<Range<u64>>,
}

impl Memory for Noting {
    fn read(&mut self, address: u64, into: &mut [u8]) -> Result<(), Fault> {
        self.read.push(address..address + into.len() as u64);
        self.own.read(address, into)
    }
}

/// A guest's memory, from which a test takes buffers.
pub(crate) struct Guest {
    bytes: Vec<u8>,
    used: usize,
}

impl Guest {
    fn new() -> Guest {
        Guest {
            bytes: vec![0x11; GUEST_BYTES],
            used: 64,
        }
    }

    fn base(&mut self) -> u64 {
        self.bytes.as_mut_ptr() as u64
    }

    /// A buffer with these contents; returns its address.
    pub(crate) fn put(&mut self, contents: &[u8]) -> u64 {
        let address = self.room(contents.len());
        let start = (address - self.base()) as usize;
        self.bytes[start..start + contents.len()].copy_from_slice(contents);
        address
    }

    /// A buffer of numbers.
    pub(crate) fn numbers(&mut self, numbers: &[u64]) -> u64 {
        let bytes: Vec<u8> = numbers
            .iter()
            .flat_map(|number| number.to_le_bytes())
            .collect();
        self.put(&bytes)
    }

    /// A C string.
    pub(crate) fn text(&mut self, text: &str) -> u64 {
        self.put(&[text.as_bytes(), &[0]].concat())
    }

    /// A buffer for the kernel to fill.
    pub(crate) fn room(&mut self, length: usize) -> u64 {
        let address = self.base() + self.used as u64;
        self.used += (length + 64).next_multiple_of(16);
        assert!(self.used <= self.bytes.len());
        address
    }
}

/// The number of a call.
pub(crate) fn number(name: &str) -> u64 {
    u64::from(
        calls()
            .find(|call| call.name == name)
            .expect("the name is in the table")
            .number,
    )
}

/// What a test expects of a call's result.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Expect {
    /// It succeeds, and the guest's memory is the same as after the native call.
    Same,
    /// It succeeds; what it tells differs from time to time.
    Success,
    /// It succeeds; between its records there is padding that nobody writes.
    Padded,
    /// It fails with this error, and the guest's memory is the same as after the native call.
    Error(i32),
    /// Kernels and file systems differ in whether they have it.
    Whatever,
}

/// Runs one call in all three ways. `prepare` makes its arguments afresh for each.
pub(crate) fn verify(name: &str, expect: Expect, mut prepare: impl FnMut(&mut Guest) -> [u64; 6]) {
    let mut runs = Vec::new();
    for poison in [0x5a, 0xa5] {
        let mut guest = Guest::new();
        let args = prepare(&mut guest);
        runs.push(forwarded(name, &args, poison, expect));
        if expect == Expect::Same || matches!(expect, Expect::Error(_)) {
            let mut native = Guest::new();
            let args = prepare(&mut native);
            let result = sys::call(number(name), &args);
            check_result(name, result, expect);
            let (native_base, base) = (native.base(), guest.base());
            assert!(
                without_pointers(&native.bytes, native_base)
                    == without_pointers(&guest.bytes, base),
                "{name}: forwarded, the guest's memory differs from what the native call leaves"
            );
        }
    }
    if expect == Expect::Padded {
        return;
    }
    // A byte that still has its stale value in both runs was handed out without the kernel having set it.
    let [first, second] = &runs[..] else {
        unreachable!()
    };
    if first.len() == second.len() {
        let stale = first
            .iter()
            .zip(second)
            .filter(|pair| *pair == (&Some(0x5a), &Some(0xa5)));
        assert_eq!(
            stale.count(),
            0,
            "{name}: bytes come back that the kernel never wrote"
        );
    }
}

/// Pointers into a guest's own memory, relative to it.
fn without_pointers(bytes: &[u8], base: u64) -> Vec<u64> {
    let relative = |word: &[u8]| {
        let word = u64::from_le_bytes(word.try_into().unwrap());
        let offset = word.wrapping_sub(base);
        if offset < bytes.len() as u64 {
            offset
        } else {
            word
        }
    };
    // Buffers are aligned to 16 bytes relative to the base, so pointers are too.
    bytes.chunks_exact(8).map(relative).collect()
}

fn check_result(name: &str, result: i64, expect: Expect) {
    match expect {
        Expect::Same | Expect::Success | Expect::Padded => {
            assert!(result >= 0, "{name} fails with {result}");
        }
        Expect::Error(error) => assert_eq!(result, -i64::from(error), "{name}"),
        Expect::Whatever => {}
    }
}

/// Forwards one call within this process. Returns the bytes of the reply, those that were no input.
fn forwarded(name: &str, args: &[u64; 6], poison: u8, expect: Expect) -> Vec<Option<u8>> {
    let call = lookup(number(name)).unwrap();
    let forward = match resolve(call, args) {
        Class::Forward(forward) | Class::Special(_, Some(forward)) => forward,
        other => panic!("{name} is not forwarded: {other:?}"),
    };
    let mut own = Own::open();
    let planned = plan(number(name), args, forward, &mut own, Limits::default()).unwrap();
    let mut scratch = vec![poison; SCRATCH_BYTES];
    let base = scratch.as_mut_ptr() as u64;
    let range = base..base + scratch.len() as u64;
    let mut payload = planned.payload().to_vec();
    let layout = layout(&planned.request(), &mut payload, range).unwrap();
    for write in &layout.writes {
        own.write(write.address, &payload[write.bytes.clone()]);
    }
    let before = scratch.clone();
    let result = sys::call(number(name), &layout.args);
    check_result(name, result, expect);
    let mut noting = Noting {
        own: Own::open(),
        read: Vec::new(),
    };
    let reply = layout.collect(result, &mut noting).unwrap();
    for (address, (old, new)) in (base..).zip(before.iter().zip(&scratch)) {
        let collected = || noting.read.iter().any(|read| read.contains(&address));
        assert!(
            old == new || collected(),
            "{name}: a byte that the kernel wrote is lost"
        );
    }
    for write in planned.scatter(result, &reply).unwrap() {
        own.write(write.address, &reply[write.bytes]);
    }
    let was_input = |address: u64| {
        layout.writes.iter().any(|write| {
            (write.address..write.address + write.bytes.len() as u64).contains(&address)
        })
    };
    let collected = noting.read.iter().cloned().flatten();
    collected
        .map(|address| (!was_input(address)).then(|| scratch[(address - base) as usize]))
        .collect()
}
