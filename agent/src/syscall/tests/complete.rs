//! No call is missing, none is listed twice, and what the filter lets pass is what we mean it to.

use std::collections::{BTreeMap, BTreeSet};

use crate::syscall::table::FAMILIES;
use crate::syscall::{Call, Class, FilterRule, calls, lookup};

/// Numbers and names of Linux 6.18 (arch/x86/entry/syscalls/syscall_64.tbl, without x32).
const NUMBERS: &str = include_str!("numbers.txt");

/// The headers of the kernel on this machine, where they are installed.
const HEADER: &str = "/usr/include/x86_64-linux-gnu/asm/unistd_64.h";

fn listed() -> BTreeMap<u64, &'static str> {
    let entry = |line: &'static str| {
        let (number, name) = line.split_once(' ').unwrap();
        (number.parse().unwrap(), name)
    };
    NUMBERS.lines().map(entry).collect()
}

#[test]
fn every_call_of_linux_6_18_is_in_the_table_and_no_other() {
    let table: BTreeMap<u64, &str> = calls()
        .map(|call| (u64::from(call.number), call.name))
        .collect();
    assert_eq!(table, listed());
}

#[test]
fn every_call_of_the_installed_kernel_headers_is_in_the_table() {
    let Ok(header) = std::fs::read_to_string(HEADER) else {
        // Without linux-libc-dev the checked-in list alone is what we test against.
        assert!(listed().len() > 380);
        return;
    };
    let mut checked = 0;
    for line in header.lines() {
        let Some(definition) = line.strip_prefix("#define __NR_") else {
            continue;
        };
        let (name, number) = definition.split_once(' ').unwrap();
        let number: u64 = number.trim().parse().unwrap();
        assert_eq!(lookup(number).map(|call| call.name), Some(name));
        checked += 1;
    }
    assert!(checked > 350, "the header lists {checked} calls only");
}

#[test]
fn no_number_is_listed_twice() {
    let mut seen = BTreeSet::new();
    for call in FAMILIES.iter().copied().flatten() {
        assert!(
            seen.insert(call.number),
            "{} has the number of another call",
            call.name
        );
    }
}

#[test]
fn numbers_outside_the_table_are_unknown() {
    for number in [337, 423, 470, 511, 512, 0x4000_0000, u64::MAX] {
        assert!(lookup(number).is_none(), "{number}");
    }
}

fn names(passes: impl Fn(&Call) -> bool) -> Vec<&'static str> {
    calls()
        .filter(|call| passes(call))
        .map(|call| call.name)
        .collect()
}

#[test]
fn the_filter_lets_exactly_the_calls_pass_that_reach_nothing_of_the_remote_node() {
    let allowed = names(|call| call.filter_rule() == FilterRule::Allow);
    let expected = [
        "mprotect",
        "munmap",
        "brk",
        "rt_sigreturn",
        "sched_yield",
        "msync",
        "madvise",
        "getpid",
        "gettimeofday",
        "sigaltstack",
        "munlock",
        "gettid",
        "time",
        "futex",
        "set_tid_address",
        "restart_syscall",
        "set_robust_list",
        "get_robust_list",
        "getcpu",
        "getrandom",
        "rseq",
        "futex_waitv",
        "futex_wake",
        "futex_wait",
        "futex_requeue",
    ];
    assert_eq!(allowed, expected);
    let sometimes = names(|call| matches!(call.filter_rule(), FilterRule::AllowIf(_)));
    assert_eq!(
        sometimes,
        [
            "mmap",
            "rt_sigaction",
            "prctl",
            "arch_prctl",
            "sched_getaffinity",
            "clock_gettime",
            "clock_getres",
            "membarrier"
        ]
    );
}

#[test]
fn conditions_of_the_filter_agree_with_the_classes() {
    let call = lookup(9).unwrap();
    let FilterRule::AllowIf(conditions) = call.filter_rule() else {
        panic!("mmap")
    };
    for (flags, local) in [
        (0x22, true),
        (0x4022, true),
        (0x10_0022, true),
        (0x32, true),
        (0x28, false),
        (0x21, false),
        (0x02, false),
        (0x4_0022, false),
        (0x2022, false),
    ] {
        let args = [0, 4096, 3, flags, u64::MAX, 0];
        assert_eq!(
            conditions.iter().any(|condition| condition.holds(&args)),
            local
        );
        let class = crate::syscall::resolve(call, &args);
        assert_eq!(
            matches!(class, Class::Local),
            local,
            "mmap with flags {flags:#x}"
        );
    }
}

#[test]
fn arguments_of_shapes_exist() {
    // An array's count or a length word must be one of six arguments, and no call has more.
    fn check(name: &str, class: &Class) {
        match class {
            Class::Forward(forward) | Class::Special(_, Some(forward)) => {
                assert!(forward.arguments.len() <= 6, "{name}");
            }
            Class::If {
                then, otherwise, ..
            } => {
                check(name, then);
                check(name, otherwise);
            }
            Class::ByCommand {
                commands,
                otherwise,
                ..
            } => {
                commands
                    .iter()
                    .for_each(|command| check(name, &command.class));
                check(name, otherwise);
            }
            _ => {}
        }
    }
    calls().for_each(|call| check(call.name, &call.class));
}

#[test]
fn reasons_for_coming_home_are_sentences_for_a_person() {
    for call in calls() {
        if let Class::ComesHome(reason) = call.class {
            assert!(reason.split(' ').count() > 3, "{}: {reason}", call.name);
            assert!(!reason.ends_with('.'), "{}: {reason}", call.name);
        }
    }
}
