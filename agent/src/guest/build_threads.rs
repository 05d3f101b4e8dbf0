//! The threads of a guest that is built: making them, and giving each what it had at home.
//!
//! Each step is taken by many of them at the same time: the guest's program stands still meanwhile, and to wait for one
//! thread costs as much as to wait for all.

use std::time::{Duration, Instant};

use crate::migrate::attributes::Attribute;
use crate::migrate::image::ThreadImage;
use crate::migrate::inject::{Made, TOGETHER_MAX, Task};
use crate::migrate::{extended_state, freeze};
use crate::sys::blob::Call;
use crate::sys::call_numbers as number;
use crate::sys::ptrace::{self, ThreadId};
use crate::sys::registers::USER_CODE_SEGMENT;
use crate::sys::signal::SignalSet;

use super::build::{BuildError, Builder, BuiltThread, expect};

/// `struct clone_args` (clone3(2)), and the id behind it.
const CLONE_ARGUMENTS_BYTES: usize = 88;
const CLONE_PLACE_BYTES: usize = 96;

/// How long a new thread may take to be there.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);

/// What the calls of [`registrations`] point to: name, `stack_t`, and header and data of capset(2).
const NAME_BYTES: usize = 16;
const STACK_BYTES: usize = 24;
const CAPABILITIES_BYTES: usize = 32;
const SETTLE_PLACE_BYTES: usize = NAME_BYTES + STACK_BYTES + CAPABILITIES_BYTES;

impl Builder {
    /// Makes all threads but the first, which is there.
    pub(super) fn start_threads(&mut self) -> Result<Vec<BuiltThread>, BuildError> {
        let images = std::mem::take(&mut self.image.threads);
        let others: Vec<i32> = images.iter().skip(1).map(|image| image.tid).collect();
        let mut threads = vec![self.guest];
        for tids in others.chunks(TOGETHER_MAX) {
            threads.extend(self.start_some(tids)?);
        }
        let built = threads.into_iter().zip(images);
        Ok(built
            .map(|(thread, image)| BuiltThread { thread, image })
            .collect())
    }

    fn start_some(&self, tids: &[i32]) -> Result<Vec<ThreadId>, BuildError> {
        // CLONE_VM | FS | FILES | SIGHAND | THREAD | SYSVSEM, as pthread_create(3) without what the
        // image restores by itself.
        const FLAGS: u64 = 0x100 | 0x200 | 0x400 | 0x800 | 0x10000 | 0x40000;
        let places = (self.scratch.data..).step_by(CLONE_PLACE_BYTES);
        let (mut calls, mut contents) = (Vec::new(), Vec::new());
        for (tid, place) in tids.iter().zip(places) {
            let mut arguments = [0u64; CLONE_ARGUMENTS_BYTES / 8];
            arguments[0] = FLAGS;
            arguments[8] = place + CLONE_ARGUMENTS_BYTES as u64;
            arguments[9] = 1;
            contents.extend(arguments.map(u64::to_le_bytes).concat());
            contents.extend(i64::from(*tid).to_le_bytes());
            let arguments = [place, CLONE_ARGUMENTS_BYTES as u64, 0, 0, 0, 0];
            calls.push(Call::new(number::SYS_clone3, arguments));
        }
        self.write(self.scratch.data, &contents)?;
        let Made { threads, stopped } =
            self.scratch
                .run_making_threads(self.guest, &self.memory, &mut calls)?;
        for (call, &tid) in calls.iter().zip(tids) {
            expect(call.result, i64::from(tid), "making a thread with its id")?;
        }
        if threads.len() != tids.len() {
            let text = "threads of the guest were made without being reported";
            return Err(BuildError::Impossible(text.to_owned()));
        }
        for &thread in &threads {
            if !stopped.contains(&thread) {
                freeze::wait_for_stop(thread, Instant::now() + STOP_TIMEOUT)
                    .map_err(|error| BuildError::Impossible(error.to_string()))?;
            }
            ptrace::set_signal_mask(thread, SignalSet::ALL)
                .map_err(|error| BuildError::Io("the signal mask", error))?;
        }
        Ok(threads)
    }

    /// Gives the threads what they have registered at home, how they are scheduled and what they were forbidden, and
    /// takes their capabilities.
    pub(super) fn settle_threads(&self, threads: &[BuiltThread]) -> Result<(), BuildError> {
        for threads in threads.chunks(TOGETHER_MAX) {
            let contents: Vec<u8> = threads
                .iter()
                .flat_map(|built| settle_place(&built.image))
                .collect();
            self.write(self.scratch.data, &contents)?;
            let places = (self.scratch.data..).step_by(SETTLE_PLACE_BYTES);
            let tasks = threads.iter().zip(places).map(|(built, place)| Task {
                thread: built.thread,
                calls: registrations(&built.image, place),
            });
            let mut tasks: Vec<Task> = tasks.collect();
            self.scratch.run_on_each(&self.memory, &mut tasks)?;
            // The last returns the thread's id, not zero.
            let results = tasks.iter().filter_map(|task| task.calls.split_last());
            for call in results.flat_map(|(_, calls)| calls) {
                expect(call.result, 0, "restoring a thread's registrations")?;
            }
        }
        for BuiltThread { thread, image } in threads {
            self.set_attributes(*thread, &image.attributes)?;
            image
                .scheduling
                .impose(*thread, self.possible_cpus)
                .map_err(|error| BuildError::Io("scheduling a thread", error))?;
        }
        Ok(())
    }

    fn set_attributes(&self, thread: ThreadId, attributes: &[Attribute]) -> Result<(), BuildError> {
        let mut calls: Vec<Call> = attributes.iter().map(|known| known.call()).collect();
        self.scratch.run(thread, &self.memory, &mut calls)?;
        for (attribute, call) in attributes.iter().zip(&calls) {
            if call.result < 0 && attribute.is_required() {
                return Err(BuildError::Attribute(*attribute));
            }
        }
        Ok(())
    }
}

/// What [`registrations`] of a thread point to.
fn settle_place(image: &ThreadImage) -> [u8; SETTLE_PLACE_BYTES] {
    const CAPABILITY_VERSION_3: u32 = 0x2008_0522;
    let mut place = [0; SETTLE_PLACE_BYTES];
    let (name, rest) = place.split_at_mut(NAME_BYTES);
    let (stack, capabilities) = rest.split_at_mut(STACK_BYTES);
    for (to, from) in name[..NAME_BYTES - 1].iter_mut().zip(image.name.bytes()) {
        *to = from;
    }
    let (address, flags, size) = image.alternate_stack;
    // SS_ONSTACK tells a state, it cannot be set.
    let words = [address, u64::from(flags & !1), size];
    stack.copy_from_slice(&words.map(u64::to_le_bytes).concat());
    // Header (version, this thread), then no capability in any set.
    capabilities[..4].copy_from_slice(&CAPABILITY_VERSION_3.to_le_bytes());
    place
}

/// The calls by which a thread gets its name, alternate stack, robust list and rseq area, loses its capabilities and,
/// last, says what is to be cleared at its end. `place` is that of [`settle_place`].
fn registrations(image: &ThreadImage, place: u64) -> Vec<Call> {
    const PR_SET_NAME: u64 = 15;
    let stack_at = place + NAME_BYTES as u64;
    let capabilities_at = stack_at + STACK_BYTES as u64;
    let (robust_head, robust_bytes) = image.robust_list;
    let mut calls = vec![
        Call::new(number::SYS_prctl, [PR_SET_NAME, place, 0, 0, 0, 0]),
        Call::new(number::SYS_sigaltstack, [stack_at, 0, 0, 0, 0, 0]),
        Call::new(
            number::SYS_capset,
            [capabilities_at, capabilities_at + 8, 0, 0, 0, 0],
        ),
    ];
    if robust_head != 0 {
        let arguments = [robust_head, robust_bytes, 0, 0, 0, 0];
        calls.push(Call::new(number::SYS_set_robust_list, arguments));
    }
    if let Some(rseq) = image.rseq {
        let (size, signature) = (u64::from(rseq.size_bytes), u64::from(rseq.signature));
        let arguments = [rseq.address, size, 0, signature, 0, 0];
        calls.push(Call::new(number::SYS_rseq, arguments));
    }
    let arguments = [image.clear_tid_address, 0, 0, 0, 0, 0];
    calls.push(Call::new(number::SYS_set_tid_address, arguments));
    calls
}

impl BuiltThread {
    /// Gives the thread the registers, the extended state and the signal mask that it had.
    pub(super) fn restore_registers(&self) -> Result<(), BuildError> {
        let BuiltThread { thread, image } = self;
        if image.registers.cs != USER_CODE_SEGMENT {
            return Err(BuildError::Impossible("the program is not 64-bit".into()));
        }
        let fail = |error| BuildError::Io("restoring a thread's registers", error);
        extended_state::take_over(*thread, &image.extended_state).map_err(fail)?;
        ptrace::set_signal_mask(*thread, image.signal_mask).map_err(fail)?;
        ptrace::set_registers(*thread, &image.registers).map_err(fail)
    }
}
