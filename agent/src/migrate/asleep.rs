//! Threads that sleep in the kernel, looked at before they are stopped: a stop makes the kernel forget
//! what only their sleep knew.
//!
//! - A call that restart_syscall(2) has continued is no longer known by its number; where the thread
//!   sleeps tells which it is.
//! - Calls with a relative timeout that the kernel does not continue by itself would begin it anew: they
//!   go on for the time that remains. When a thread fell asleep is the time at which the scheduler last saw it
//!   running (`se.exec_start` in /proc/PID/sched), on the clock of its CPU. That clock stands while a
//!   hypervisor has taken the CPU away, so a timeout can end late, but never early.

use std::fs;
use std::time::Duration;

use rustix::process::Pid;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity, sched_yield};
use rustix::time::{ClockId, clock_gettime};

use crate::process::stat;
use crate::sys::call_numbers as number;
use crate::sys::ptrace::ThreadId;
use crate::sys::registers::Registers;
use crate::syscall::{self, Class};

use super::capture::restart;
use super::inject::{self, InjectError, Scratch};
use super::process_memory::ProcessMemory;

/// What a thread sleeps in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asleep {
    /// The call.
    pub number: u64,
    /// When it began to wait, on this machine's CLOCK_MONOTONIC, if its timeout would be forgotten.
    pub began_ns: Option<u64>,
    /// The call as its registers have it, and its arguments.
    seen: (u64, [u64; 6]),
    /// How often the thread had given up its CPU.
    switches: u64,
}

impl Asleep {
    /// What `thread`, which nobody has stopped yet, sleeps in, if that is worth knowing.
    pub fn look(thread: ThreadId) -> Option<Asleep> {
        let seen = waiting_call(&read(thread, "syscall")?)?;
        let (called, arguments) = seen;
        let number = match called.cast_signed() {
            number::SYS_restart_syscall => continued_call(&read(thread, "wchan")?, arguments)?,
            _ if forgets_timeout(called, arguments) => called,
            _ => return None,
        };
        let before = Schedule::of(thread)?;
        let began_ns = forgets_timeout(number, arguments)
            .then(|| before.asleep_since_ns(thread))
            .flatten();
        Some(Asleep {
            number,
            began_ns,
            seen,
            switches: before.switches,
        })
    }

    /// What a stopped guest goes on with by restart_syscall(2), if its sleep was not looked at: of the calls that
    /// it makes by itself futex(2) alone does.
    pub fn in_futex(registers: &Registers) -> Option<Asleep> {
        let seen = (registers.orig_rax, registers.arguments());
        let is_continued = seen.0 == number::SYS_restart_syscall.cast_unsigned();
        is_continued.then_some(Asleep {
            number: number::SYS_futex.cast_unsigned(),
            began_ns: None,
            seen,
            switches: 0,
        })
    }

    /// If it goes on with a call that began before: since then.
    pub fn continued_since(self, began_ns: Option<u64>) -> Asleep {
        let is_continued = self.seen.0 == number::SYS_restart_syscall.cast_unsigned();
        match began_ns.filter(|_| is_continued) {
            Some(_) => Asleep { began_ns, ..self },
            None => self,
        }
    }

    /// On a clock that is ahead of this machine's.
    pub fn on_clock(self, ahead_ns: i64) -> Asleep {
        let began_ns = self.began_ns;
        Asleep {
            began_ns: began_ns.and_then(|began_ns| began_ns.checked_add_signed(ahead_ns)),
            ..self
        }
    }

    /// Whether the thread, which has been stopped since, has slept up to then.
    pub fn is_still(&self, thread: ThreadId, registers: &Registers) -> bool {
        // Being stopped is the one time more.
        let now = Schedule::of(thread).map(|schedule| schedule.switches);
        now == Some(self.switches + 1) && (registers.orig_rax, registers.arguments()) == self.seen
    }
}

fn read(thread: ThreadId, file: &str) -> Option<String> {
    fs::read_to_string(format!("/proc/{thread}/{file}")).ok()
}

/// Of /proc/PID/syscall: number and arguments, unless the thread runs or waits elsewhere.
fn waiting_call(line: &str) -> Option<(u64, [u64; 6])> {
    let mut words = line.split_whitespace();
    let number = words.next()?.parse().ok()?;
    let mut arguments = [0; 6];
    for argument in &mut arguments {
        let digits = words.next()?.strip_prefix("0x")?;
        *argument = u64::from_str_radix(digits, 16).ok()?;
    }
    Some((number, arguments))
}

/// The call that restart_syscall(2) continues, by the kernel's function in which the thread sleeps.
fn continued_call(function: &str, arguments: [u64; 6]) -> Option<u64> {
    /// Clock ids are below, addresses are not.
    const LOWEST_ADDRESS: u64 = 4096;
    let call = if function.contains("futex") {
        number::SYS_futex
    } else if function.contains("poll") {
        number::SYS_poll
    } else if function.contains("sleep") && arguments[0] < LOWEST_ADDRESS {
        number::SYS_clock_nanosleep
    } else if function.contains("sleep") {
        number::SYS_nanosleep
    } else {
        return None;
    };
    Some(call.cast_unsigned())
}

/// Whether the call has a relative timeout that begins anew when the call is made again.
fn forgets_timeout(number: u64, arguments: [u64; 6]) -> bool {
    if number == number::SYS_futex.cast_unsigned() {
        return is_relative_futex(arguments);
    }
    let class = syscall::lookup(number).map(|call| syscall::resolve(call, &arguments));
    matches!(class, Some(Class::Forward(forward)) if forward.facts.timeout.is_some())
}

/// FUTEX_WAIT alone has a relative timeout (futex(2)).
pub fn is_relative_futex(arguments: [u64; 6]) -> bool {
    const FUTEX_CMD_MASK: u64 = 0x7f;
    const FUTEX_WAIT: u64 = 0;
    let [_, operation, _, timeout, ..] = arguments;
    operation & FUTEX_CMD_MASK == FUTEX_WAIT && timeout != 0
}

/// Has a stopped thread, which shall make a futex(2) again, go on with that for what remains of its timeout.
/// The call is made once with the time that remains, and interrupted at once: from then on the kernel
/// remembers when it shall end. `registers` become those with which the thread goes on.
///
/// # Errors
/// As [`inject::call_interrupted`].
pub fn continue_futex(
    thread: ThreadId,
    scratch: &Scratch,
    memory: &ProcessMemory,
    registers: &mut Registers,
    elapsed: Duration,
) -> Result<(), InjectError> {
    const INSTRUCTION_BYTES: u64 = 2;
    let futex = number::SYS_futex;
    let mut arguments = registers.arguments();
    if registers.rax != futex.cast_unsigned() || !is_relative_futex(arguments) {
        return Ok(());
    }
    let Some(timeout) = read_timespec(memory, arguments[3]) else {
        // The kernel finds out by itself what is wrong with it.
        return Ok(());
    };
    let remaining = timeout.saturating_sub(elapsed);
    let words = [remaining.as_secs(), u64::from(remaining.subsec_nanos())];
    memory
        .write(scratch.data, &words.map(u64::to_le_bytes).concat())
        .map_err(|error| InjectError::Kernel(thread, error))?;
    arguments[3] = scratch.data;
    match inject::call_interrupted(thread, scratch.instruction(), futex, arguments)? {
        restart::ERESTART_RESTARTBLOCK => {
            registers.rax = number::SYS_restart_syscall.cast_unsigned();
        }
        result if restart::is_restart(result) => {}
        result => {
            registers.rip += INSTRUCTION_BYTES;
            registers.rax = result.cast_unsigned();
        }
    }
    Ok(())
}

/// A valid `struct timespec` of a program; none if it is not one.
pub fn read_timespec(memory: &ProcessMemory, at: u64) -> Option<Duration> {
    let word = |at| memory.word(at).ok();
    let (seconds, nanoseconds) = (word(at)?, word(at.checked_add(8)?)?);
    let is_valid = i64::try_from(seconds).is_ok() && nanoseconds < 1_000_000_000;
    is_valid.then(|| Duration::new(seconds, nanoseconds as u32))
}

/// CLOCK_MONOTONIC now.
pub fn monotonic_ns() -> u64 {
    nanoseconds(ClockId::Monotonic)
}

/// CLOCK_MONOTONIC_COARSE now, which lags behind by up to a tick.
pub fn coarse_monotonic_ns() -> u64 {
    nanoseconds(ClockId::MonotonicCoarse)
}

fn nanoseconds(clock: ClockId) -> u64 {
    let now = clock_gettime(clock);
    now.tv_sec.cast_unsigned() * 1_000_000_000 + now.tv_nsec.cast_unsigned()
}

/// How long ago a moment on CLOCK_MONOTONIC was.
pub fn since(began_ns: u64) -> Duration {
    Duration::from_nanos(monotonic_ns().saturating_sub(began_ns))
}

/// What /proc/PID/sched tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Schedule {
    /// When the thread was last seen running, on its CPU's clock.
    ran_ns: u64,
    /// How often it has given up its CPU by itself.
    switches: u64,
}

impl Schedule {
    fn of(thread: ThreadId) -> Option<Schedule> {
        Schedule::parse(&read(thread, "sched")?)
    }

    fn parse(text: &str) -> Option<Schedule> {
        let value = |name: &str| {
            text.lines().find_map(|line| {
                let (key, value) = line.split_once(':')?;
                (key.trim_end() == name).then_some(value.trim())
            })
        };
        // In milliseconds, with six digits behind the point.
        let (milliseconds, rest) = value("se.exec_start")?.split_once('.')?;
        let rest_ns: u64 = rest.parse().ok().filter(|_| rest.len() == 6)?;
        let milliseconds: u64 = milliseconds.parse().ok()?;
        Some(Schedule {
            ran_ns: milliseconds.checked_mul(1_000_000)?.checked_add(rest_ns)?,
            switches: value("nr_voluntary_switches")?.parse().ok()?,
        })
    }

    /// When the thread fell asleep, on CLOCK_MONOTONIC. This thread goes to the same CPU for a moment, to read
    /// that one's clock.
    fn asleep_since_ns(self, thread: ThreadId) -> Option<u64> {
        let id = thread.cast_unsigned();
        let cpu = stat::read_thread(id, id).ok()?.cpu;
        let usual = sched_getaffinity(None).ok()?;
        let mut only = CpuSet::new();
        only.set(
            usize::try_from(cpu)
                .ok()
                .filter(|&cpu| cpu < CpuSet::MAX_CPU)?,
        );
        sched_setaffinity(None, &only).ok()?;
        sched_yield();
        let (own, now_ns) = (Schedule::of(own_thread()), monotonic_ns());
        if let Err(error) = sched_setaffinity(None, &usual) {
            log::warn!("this supervisor stays on one CPU: {error}");
        }
        let slept_ns = own?.ran_ns.checked_sub(self.ran_ns)?;
        now_ns.checked_sub(slept_ns)
    }
}

fn own_thread() -> ThreadId {
    Pid::as_raw(Some(rustix::thread::gettid()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    #[test]
    fn a_blocked_threads_call_is_read() {
        let line = "232 0x3 0x562c 0x3ff 0x7530 0x0 0x0 0x7ffd 0x7f33";
        let expected = (232, [3, 0x562c, 0x3ff, 0x7530, 0, 0]);
        assert_eq!(waiting_call(line), Some(expected));
        assert_eq!(waiting_call("running"), None);
        assert_eq!(waiting_call("-1 0x7ffd 0x7f33"), None);
    }

    #[test]
    fn a_continued_call_is_known_by_where_it_sleeps() {
        let call = |function, first| {
            let call = continued_call(function, [first, 0, 0, 0, 0, 0]);
            call.map(u64::cast_signed)
        };
        assert_eq!(call("futex_do_wait", 0x7000), Some(number::SYS_futex));
        assert_eq!(call("do_sys_poll", 0x7000), Some(number::SYS_poll));
        assert_eq!(
            call("hrtimer_nanosleep", 0x7000),
            Some(number::SYS_nanosleep)
        );
        assert_eq!(
            call("hrtimer_nanosleep", 1),
            Some(number::SYS_clock_nanosleep)
        );
        assert_eq!(call("0", 0x7000), None);
    }

    #[test]
    fn a_sleeping_threads_sleep_is_as_old_as_it_is() {
        let before_ns = monotonic_ns();
        let (tell, told) = mpsc::channel();
        let thread = std::thread::spawn(move || {
            tell.send(own_thread()).unwrap();
            let ten_seconds = Some(&rustix::time::Timespec {
                tv_sec: 10,
                tv_nsec: 0,
            });
            let epoll = rustix::event::epoll::create(rustix::event::epoll::CreateFlags::CLOEXEC);
            let mut events = Vec::with_capacity(1);
            let buffer = rustix::buffer::spare_capacity(&mut events);
            let _ = rustix::event::epoll::wait(epoll.unwrap(), buffer, ten_seconds);
        });
        let id = told.recv().unwrap();
        let asleep = std::iter::repeat_with(|| Asleep::look(id)).find_map(|asleep| asleep);
        let began_ns = asleep.unwrap().began_ns.unwrap();
        assert!(began_ns + 5_000_000_000 > before_ns && began_ns < monotonic_ns() + 5_000_000_000);
        drop(thread);
    }
}
