//! The guest's way home: it is stopped for good, and everything of it is sent.
//!
//! 1. All threads stop, outside the vDSO; those on their way through exit(2) are awaited.
//! 2. The image is captured; a thread that awaits a call's return stays inside that call.
//! 3. Image, undelivered signals, all pages with contents of the guest's own, and shared objects are sent.

use std::time::{Duration, Instant};

use crate::migrate::asleep::{self, Asleep};
use crate::migrate::capture::{self, Known, ThreadToCapture, restart};
use crate::migrate::freeze;
use crate::migrate::image::{PAGE_BYTES, UndeliveredSignal};
use crate::migrate::objects::{Parts, Sources};
use crate::migrate::pages::{self, PageMap, Region};
use crate::migrate::runs::Runs;
use crate::process::smaps;
use crate::sys::ptrace::{self, ThreadId};
use crate::sys::wait::{self, Report, Stop};
use crate::wire::migration::{ToDeputy, ToGuest};

use super::returning::Returning;
use super::stay::Stay;
use super::threads::{Completion, ThreadState};
use super::trouble::Trouble;

/// Most runs told of in one message.
const RUNS_A_MESSAGE: usize = 4096;

/// How long home may take to stop its threads and to adapt its mappings.
const RENEWED_TIMEOUT: Duration = Duration::from_secs(10);

/// What the stopped guest has mapped: what it had when its memory began to go home, and has still, is known.
fn known(leader: ThreadId, returning: Option<&Returning>) -> Result<Known, Trouble> {
    let Some(returning) = returning else {
        return Ok(Known::of(leader)?);
    };
    let details = smaps::read_again(leader.cast_unsigned(), returning.details())
        .map_err(|error| Trouble::Protocol(error.to_string()))?;
    let guards = PageMap::open(leader)?.guards_of(&details)?;
    Ok(Known { details, guards })
}

/// How long the threads may take to stop.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);

impl Stay<'_> {
    /// Steps 1 to 3. Afterwards the guest is only waited for to be killed.
    pub(super) fn send_home(&mut self, cause: Option<String>) -> Result<(), Trouble> {
        let stop_start = Instant::now();
        let asleep = self.stop_all()?;
        let ahead_ns = self.sandbox.offsets.monotonic_ns;
        let monotonic_ns = asleep::monotonic_ns().saturating_add_signed(ahead_ns);
        let threads: Vec<ThreadToCapture> = self
            .guest
            .threads
            .iter()
            .map(|thread| ThreadToCapture {
                thread: thread.thread,
                tid: thread.tid,
                asleep: asleep
                    .iter()
                    .find(|(known, _)| *known == thread.thread)
                    .map(|&(_, asleep)| asleep),
                forwarded_call: match &thread.state {
                    ThreadState::AwaitingReturn(pending)
                        if pending.completion != Completion::None =>
                    {
                        Some((pending.call, pending.done))
                    }
                    _ => None,
                },
            })
            .collect();
        let (memory, scratch) = (&self.guest.memory, &self.guest.scratch);
        let images = capture::capture_threads(&threads, memory)?;
        let mut returning = self.guest.returning.take();
        let known = known(self.guest.leader, returning.as_ref())?;
        let files = &mut self.guest.files;
        let mut image = capture::capture_process(&threads, images, memory, scratch, &known, files)?;
        image.objects = self.guest.files.images();
        image.advice_unknown = self.guest.advice_refused;
        image.mappings.retain(|mapping| {
            !self
                .guest
                .kernel_ranges
                .iter()
                .any(|range| range.contains(&mapping.start))
        });
        let undelivered = self
            .guest
            .threads
            .iter()
            .flat_map(|thread| {
                let tid = thread.tid;
                thread
                    .signals
                    .iter()
                    .map(move |&info| UndeliveredSignal { tid, info })
            })
            .collect();
        let regions = pages::regions(&image.mappings, &known.details);
        let sources = Sources::open(self.guest.leader, &image.mappings, &known.details)?;
        let mappings = image.mappings.clone();
        let signals_received = self.guest.signals_received;
        let image = Box::new(image);
        let header = ToDeputy::Homecoming {
            image,
            undelivered,
            signals_received,
            cpu_seconds: self.cpu_seconds(),
            stopped_us: u64::try_from(stop_start.elapsed().as_micros()).unwrap_or(u64::MAX),
            cause,
            monotonic_ns,
            awaits_renewed: returning.is_some(),
        };
        self.tell(&header, &[])?;
        let kept = match &mut returning {
            Some(returning) => returning.kept(&self.await_renewed()?)?,
            None => Runs::default(),
        };
        let mut count = self.send_pages(&regions, &kept)?;
        sources.send_all(
            &mappings,
            &self.guest.memory,
            true,
            &Parts::default(),
            |object, offset, bytes| {
                count += bytes.len() as u64 / PAGE_BYTES;
                self.channel
                    .send_with_next(&ToDeputy::ObjectPages { object, offset }, bytes)
                    .map_err(Trouble::from)
            },
        )?;
        self.channel.send(&ToDeputy::PagesEnd { count }, &[])?;
        self.guest.returning = returning;
        Ok(())
    }

    /// Waits until home is ready; what it has mapped anew.
    fn await_renewed(&mut self) -> Result<Vec<(u64, u64)>, Trouble> {
        loop {
            match self.channel.receive::<ToGuest>(RENEWED_TIMEOUT)?.header {
                ToGuest::Renewed { ranges, .. } => return Ok(ranges),
                ToGuest::Arrived { .. } => return Err(Trouble::GuestGone),
                // On its way before home had heard that the guest is.
                _ => {}
            }
        }
    }

    /// Tells home of what is `kept`, and sends all other pages of `regions`; returns their number.
    fn send_pages(&mut self, regions: &[Region], kept: &Runs) -> Result<u64, Trouble> {
        let runs: Vec<(u64, u64)> = kept.iter().map(|run| (run.start, run.end)).collect();
        for runs in runs.chunks(RUNS_A_MESSAGE) {
            let runs = runs.to_vec();
            self.channel.send_with_next(&ToDeputy::Kept { runs }, &[])?;
        }
        let regions: Vec<Region> = regions
            .iter()
            .flat_map(|Region { range, origin }| {
                let origin = *origin;
                let parts = kept.outside(range.clone()).into_iter();
                parts.map(move |range| Region { range, origin })
            })
            .collect();
        let page_map = PageMap::open(self.guest.leader)?;
        let (memory, channel) = (&self.guest.memory, &mut *self.channel);
        pages::for_each_run(&regions, memory, &page_map, |address, contents| {
            channel
                .send_with_next(&ToDeputy::Pages { address }, contents)
                .map_err(Trouble::from)
        })
    }

    /// Stops the guest, and tells what its threads slept in here.
    fn stop_all(&mut self) -> Result<Vec<(ThreadId, Asleep)>, Trouble> {
        let deadline = Instant::now() + STOP_TIMEOUT;
        let exiting: Vec<ThreadId> = self.threads_that(|thread| thread.is_exiting);
        for thread in exiting {
            self.await_exit(thread)?;
        }
        let running = self.threads_that(|thread| matches!(thread.state, ThreadState::Running));
        let looked: Vec<Option<Asleep>> =
            running.iter().map(|&thread| Asleep::look(thread)).collect();
        for &thread in &running {
            // One that has just stopped by itself refuses, and is found stopped below.
            let _ = ptrace::interrupt(thread);
        }
        let ahead_ns = self.sandbox.offsets.monotonic_ns;
        let mut asleep = Vec::new();
        for (thread, looked) in running.into_iter().zip(looked) {
            self.await_stop(thread, deadline)?;
            let registers = ptrace::registers(thread)?;
            let still = looked.filter(|looked| looked.is_still(thread, &registers));
            let found = still.or_else(|| Asleep::in_futex(&registers));
            let known = self.guest.by_thread(thread);
            let since_ns = known.and_then(|known| known.waits_since_ns);
            let found = found.map(|found| found.on_clock(ahead_ns).continued_since(since_ns));
            asleep.extend(found.map(|found| (thread, found)));
        }
        Ok(asleep)
    }

    fn threads_that(&self, wanted: impl Fn(&super::threads::GuestThread) -> bool) -> Vec<ThreadId> {
        let threads = self.guest.threads.iter();
        threads
            .filter(|thread| wanted(thread))
            .map(|thread| thread.thread)
            .collect()
    }

    fn await_exit(&mut self, thread: ThreadId) -> Result<(), Trouble> {
        loop {
            match wait::wait_for(thread)? {
                Report::Exited(_) | Report::Killed(_) => {
                    self.guest.threads.retain(|known| known.thread != thread);
                    return Ok(());
                }
                Report::Stopped(_) => ptrace::resume(thread, 0)?,
            }
        }
    }

    /// Waits until a running thread stands still outside the vDSO, its trapped call (if it makes one on
    /// the way) rewound.
    fn await_stop(&mut self, thread: ThreadId, deadline: Instant) -> Result<(), Trouble> {
        let mut pause = Duration::from_micros(10);
        loop {
            match wait::poll_for(thread)? {
                None if Instant::now() >= deadline => {
                    return Err(Trouble::Protocol(format!(
                        "thread {thread} of the guest does not stop"
                    )));
                }
                None => {
                    // Nothing tells of one thread's stop but asking; at most a millisecond apart.
                    std::thread::sleep(pause);
                    pause = (pause * 2).min(Duration::from_millis(1));
                }
                Some(Report::Exited(_) | Report::Killed(_)) => return Err(Trouble::GuestGone),
                Some(Report::Stopped(Stop::Seccomp)) => {
                    let mut registers = ptrace::registers(thread)?;
                    registers.rewind_to_call(registers.orig_rax);
                    ptrace::set_registers(thread, &registers)?;
                    break;
                }
                Some(Report::Stopped(Stop::Signal(signal))) => {
                    self.on_delivery(thread, signal)?;
                    if self.is_stopped(thread) {
                        break;
                    }
                    // The stop made the kernel forget our request.
                    ptrace::interrupt(thread)?;
                }
                Some(Report::Stopped(Stop::Interrupted)) if freeze::has_pending_fault(thread)? => {
                    ptrace::resume(thread, 0)?;
                }
                Some(Report::Stopped(Stop::Interrupted)) => {
                    let registers = ptrace::registers(thread)?;
                    if !self.guest.vdso.contains(&registers.rip) {
                        break;
                    }
                    ptrace::resume(thread, 0)?;
                    std::thread::sleep(pause);
                    pause = (pause * 7 / 4).min(Duration::from_micros(300));
                    let _ = ptrace::interrupt(thread);
                }
                Some(Report::Stopped(_)) => {
                    ptrace::resume(thread, 0)?;
                    ptrace::interrupt(thread)?;
                }
            }
        }
        self.decide_interrupted_call(thread)?;
        if let Some(known) = self.guest.by_thread(thread) {
            known.state = ThreadState::Stopped;
        }
        Ok(())
    }

    /// A call that a signal has interrupted, and whose signal will only be heard at home: decides here
    /// what the kernel decides at delivery (SA_RESTART, sigaction(2)), because the call is not known there.
    pub(super) fn decide_interrupted_call(&mut self, thread: ThreadId) -> Result<(), Trouble> {
        const SA_RESTART: u64 = 0x1000_0000;
        let Some(known) = self.guest.by_thread(thread) else {
            return Ok(());
        };
        let Some((number, code)) = known.interrupted.take() else {
            return Ok(());
        };
        let signal = known.signals.back().map_or(0, |info| info.signal());
        // A signal that the thread's own mask blocks was let through by the call's: it will be again.
        let is_masked_wait = ptrace::signal_mask(thread)?.contains(signal);
        let is_restarted = match code {
            _ if is_masked_wait => true,
            restart::ERESTARTNOINTR => true,
            restart::ERESTARTSYS => self.guest.action(signal).flags & SA_RESTART != 0,
            _ => false,
        };
        if is_restarted {
            let mut registers = ptrace::registers(thread)?;
            registers.rewind_to_call(number);
            ptrace::set_registers(thread, &registers)?;
        }
        Ok(())
    }

    fn is_stopped(&mut self, thread: ThreadId) -> bool {
        let known = self.guest.by_thread(thread);
        known.is_some_and(|known| matches!(known.state, ThreadState::Stopped))
    }
}

impl From<freeze::FreezeError> for Trouble {
    fn from(error: freeze::FreezeError) -> Self {
        Trouble::Protocol(error.to_string())
    }
}
