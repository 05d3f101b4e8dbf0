//! /proc/PID/stat: one line of numbers behind a name in parentheses.
//!
//! The name may itself contain blanks and parentheses; nothing behind it does, so it ends at the last
//! closing one. Addresses are 0 (or 1) for a reader who may not trace the process.

use super::status::State;
use super::{ParseError, ReadError, field, read_file};
use crate::limits::PROC_FILE_BYTES_MAX;

const FILE: &str = "stat";

/// What of stat matters to a migration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stat {
    /// The process or thread.
    pub pid: u32,
    /// Its name (comm), safe to show.
    pub name: String,
    /// What it is doing.
    pub state: State,
    /// Its parent.
    pub parent: u32,
    /// Its process group.
    pub process_group: u32,
    /// Its session.
    pub session: u32,
    /// PF_* of include/linux/sched.h.
    pub flags: u32,
    /// CPU time in the program, in clock ticks.
    pub user_time_ticks: u64,
    /// CPU time in the kernel, in clock ticks.
    pub system_time_ticks: u64,
    /// Nice value.
    pub nice: i32,
    /// Threads of the process.
    pub threads: u32,
    /// When it started, in clock ticks since boot.
    pub start_time_ticks: u64,
    /// The signal that its parent gets at its end; -1 for a thread that is not the first.
    pub exit_signal: i32,
    /// The CPU on which it ran last.
    pub cpu: u32,
    /// 1 to 99 under a real-time policy, else 0.
    pub realtime_priority: u32,
    /// SCHED_* of sched(7).
    pub scheduling_policy: u32,
    /// Where its parts are in memory.
    pub layout: Layout,
}

/// Where the kernel believes the parts of a process are: what `PR_SET_MM_MAP` sets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Layout {
    /// First address of the program's code.
    pub start_code: u64,
    /// First address behind it.
    pub end_code: u64,
    /// First address of the program's data.
    pub start_data: u64,
    /// First address behind it.
    pub end_data: u64,
    /// Where brk(2) memory begins. Where it ends no file tells, but `[heap]` of maps ends there.
    pub start_brk: u64,
    /// Where the stack began.
    pub start_stack: u64,
    /// First address of the command line.
    pub arg_start: u64,
    /// First address behind it.
    pub arg_end: u64,
    /// First address of the environment.
    pub env_start: u64,
    /// First address behind it.
    pub env_end: u64,
}

/// PF_KTHREAD of include/linux/sched.h: a thread of the kernel's own.
const FLAG_KERNEL_THREAD: u32 = 0x0020_0000;

impl Stat {
    /// Whether it is a thread of the kernel's own.
    #[must_use]
    pub fn is_kernel_thread(&self) -> bool {
        self.flags & FLAG_KERNEL_THREAD != 0
    }
}

/// The columns behind the name, by their numbers in proc_pid_stat(5).
struct Columns<'a>(Vec<&'a [u8]>);

impl Columns<'_> {
    fn number<T: std::str::FromStr>(
        &self,
        column: usize,
        expected: &'static str,
    ) -> Result<T, ParseError> {
        // The first column behind the name is number 3.
        let text = self.0.get(column - 3).copied().unwrap_or_default();
        field::decimal(text).ok_or(ParseError {
            file: FILE,
            line: 1,
            expected,
        })
    }
}

/// The contents of a stat file.
///
/// # Errors
/// When it has fewer columns than Linux 3.5 writes, or one is not a number.
pub fn parse(contents: &[u8]) -> Result<Stat, ParseError> {
    let error = |expected| ParseError {
        file: FILE,
        line: 1,
        expected,
    };
    let open = contents
        .iter()
        .position(|byte| *byte == b'(')
        .ok_or(error("a name in parentheses"))?;
    let close = contents
        .iter()
        .rposition(|byte| *byte == b')')
        .ok_or(error("the name's end"))?;
    let name = contents
        .get(open + 1..close)
        .ok_or(error("a name in parentheses"))?;
    let pid = field::decimal(contents[..open].trim_ascii()).ok_or(error("a pid"))?;
    let behind = contents[close + 1..].trim_ascii();
    let columns = Columns(field::words(behind).collect());
    let state = match columns.0.first() {
        Some([letter]) => State::from_letter(*letter),
        _ => None,
    };

    Ok(Stat {
        pid,
        name: field::process_name(name),
        state: state.ok_or(error("a state"))?,
        parent: columns.number(4, "a parent")?,
        process_group: columns.number(5, "a process group")?,
        session: columns.number(6, "a session")?,
        flags: columns.number(9, "flags")?,
        user_time_ticks: columns.number(14, "a user time")?,
        system_time_ticks: columns.number(15, "a system time")?,
        nice: columns.number(19, "a nice value")?,
        threads: columns.number(20, "a number of threads")?,
        start_time_ticks: columns.number(22, "a start time")?,
        exit_signal: columns.number(38, "an exit signal")?,
        cpu: columns.number(39, "a CPU")?,
        realtime_priority: columns.number(40, "a real-time priority")?,
        scheduling_policy: columns.number(41, "a scheduling policy")?,
        layout: Layout {
            start_code: columns.number(26, "the start of code")?,
            end_code: columns.number(27, "the end of code")?,
            start_stack: columns.number(28, "the start of the stack")?,
            start_data: columns.number(45, "the start of data")?,
            end_data: columns.number(46, "the end of data")?,
            start_brk: columns.number(47, "the start of brk memory")?,
            arg_start: columns.number(48, "the start of arguments")?,
            arg_end: columns.number(49, "the end of arguments")?,
            env_start: columns.number(50, "the start of the environment")?,
            env_end: columns.number(51, "the end of the environment")?,
        },
    })
}

/// The stat of a process: times are those of all its threads, the rest is its first thread's.
///
/// # Errors
/// When the process is gone, or its file cannot be read or understood.
pub fn read(pid: u32) -> Result<Stat, ReadError> {
    let contents = read_file(pid, FILE, PROC_FILE_BYTES_MAX)?;
    parse(&contents).map_err(|cause| ReadError::Malformed { pid, cause })
}

/// The stat of one thread of a process.
///
/// # Errors
/// When the thread is gone, or its file cannot be read or understood.
pub fn read_thread(pid: u32, tid: u32) -> Result<Stat, ReadError> {
    let contents = read_file(pid, &format!("task/{tid}/{FILE}"), PROC_FILE_BYTES_MAX)?;
    parse(&contents).map_err(|cause| ReadError::Malformed { pid, cause })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SLEEP: &[u8] = include_bytes!("fixtures/stat-sleep");

    #[test]
    fn an_ordinary_process_is_read_in_full() {
        let stat = parse(SLEEP).unwrap();
        assert_eq!(
            (stat.pid, stat.name.as_str(), stat.state),
            (20255, "sleep", State::Sleeping)
        );
        assert_eq!(
            (stat.parent, stat.process_group, stat.session),
            (20206, 20206, 6277)
        );
        assert_eq!((stat.start_time_ticks, stat.threads), (125_724, 1));
        assert_eq!(
            (
                stat.exit_signal,
                stat.scheduling_policy,
                stat.realtime_priority
            ),
            (17, 0, 0)
        );
        assert!(!stat.is_kernel_thread());
        assert_eq!(stat.layout.start_code, 94_478_739_345_408);
        assert_eq!(stat.layout.start_stack, 140_727_438_712_256);
        assert_eq!(stat.layout.start_brk, 94_479_444_168_704);
        assert_eq!(stat.layout.env_end, 140_727_438_716_905);
        assert!(stat.layout.arg_end <= stat.layout.env_start);
    }

    #[test]
    fn a_name_with_blanks_and_parentheses_shifts_nothing() {
        let columns = &SLEEP[SLEEP.iter().position(|b| *b == b')').unwrap() + 1..];
        for (name, shown) in [
            ("", ""),
            (")", ")"),
            (") R 1 1", ") R 1 1"),
            ("a b (c) d", "a b (c) d"),
            ("((", "(("),
            ("x\\ny", "x\\ny"),
        ] {
            let contents = [b"9 (", name.as_bytes(), b")", columns].concat();
            let stat = parse(&contents).unwrap();
            assert_eq!((stat.name.as_str(), stat.parent), (shown, 20206), "{name}");
        }
    }

    #[test]
    fn a_kernel_thread_is_told_by_its_flag() {
        let text = String::from_utf8(SLEEP.to_vec())
            .unwrap()
            .replace(" 4194304 ", " 69238880 ");
        assert!(parse(text.as_bytes()).unwrap().is_kernel_thread());
    }

    #[test]
    fn what_is_not_such_a_line_is_refused() {
        for bad in [
            "",
            "1",
            "1 (",
            "1 )",
            "1 )(",
            ")1(",
            "x (a) R 1",
            "1 (a) Q 1",
            "1 (a) R 1 1",
        ] {
            assert!(parse(bad.as_bytes()).is_err(), "{bad}");
        }
    }

    #[test]
    fn our_own_stat_is_read() {
        let pid = std::process::id();
        assert_eq!(read(pid).unwrap().pid, pid);
        assert_eq!(
            read_thread(pid, pid).unwrap().start_time_ticks,
            read(pid).unwrap().start_time_ticks
        );
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(contents in prop::collection::vec(any::<u8>(), 0..400)) {
            let _ = parse(&contents);
        }

        #[test]
        fn a_file_with_one_byte_changed_is_survived(at in 0..SLEEP.len(), byte in any::<u8>()) {
            let mut contents = SLEEP.to_vec();
            contents[at] = byte;
            let _ = parse(&contents);
            let _ = parse(&contents[..at]);
        }
    }
}
