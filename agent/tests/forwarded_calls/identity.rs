//! Who the process is, its limits, its times, its signals, and the machine.

use std::process::Command;

use crate::harness::Expect::{Error, Same, Success, Whatever};
use crate::harness::verify;
use crate::sys;

#[test]
fn ids_and_capabilities_come_back() {
    for name in ["getresuid", "getresgid"] {
        verify(name, Same, |guest| {
            [guest.room(4), guest.room(4), guest.room(4), 0, 0, 0]
        });
    }
    verify("getgroups", Same, |guest| [64, guest.room(256), 0, 0, 0, 0]);
    verify("getgroups", Same, |_| [0; 6]);
    // The three versions of capabilities, the first with half the data; and an unknown one.
    for version in [0x1998_0330, 0x2007_1026, 0x2008_0522] {
        verify("capget", Same, |guest| {
            [guest.numbers(&[version]), guest.room(24), 0, 0, 0, 0]
        });
    }
    verify("capget", Error(libc::EINVAL), |guest| {
        [guest.numbers(&[1]), guest.room(24), 0, 0, 0, 0]
    });
}

#[test]
fn limits_and_usage_come_back_whole() {
    for resource in [0, 3, 7] {
        verify("getrlimit", Same, |guest| {
            [resource, guest.room(16), 0, 0, 0, 0]
        });
        verify("prlimit64", Same, |guest| {
            [0, resource, 0, guest.room(16), 0, 0]
        });
    }
    for who in [0, u64::MAX] {
        verify("getrusage", Success, |guest| {
            [who, guest.room(144), 0, 0, 0, 0]
        });
    }
    verify("times", Success, |guest| [guest.room(32), 0, 0, 0, 0, 0]);
    verify("sysinfo", Success, |guest| [guest.room(200), 0, 0, 0, 0, 0]);
    verify("uname", Same, |guest| [guest.room(400), 0, 0, 0, 0, 0]);
    verify("sched_getparam", Same, |guest| {
        [0, guest.room(16), 0, 0, 0, 0]
    });
    verify("sched_rr_get_interval", Same, |guest| {
        [0, guest.room(16), 0, 0, 0, 0]
    });
    verify("sched_getattr", Same, |guest| {
        [0, guest.room(100), 100, 0, 0, 0]
    });
    verify("sched_getattr", Same, |guest| {
        [0, guest.room(48), 48, 0, 0, 0]
    });
    let me = u64::from(std::process::id());
    verify("sched_getaffinity", Same, |guest| {
        [me, 128, guest.room(128), 0, 0, 0]
    });
    let any_cpu = [u64::MAX; 2];
    verify("sched_setaffinity", Same, |guest| {
        [0, 16, guest.numbers(&any_cpu), 0, 0, 0]
    });
    verify("sched_setparam", Same, |guest| {
        [0, guest.numbers(&[0]), 0, 0, 0, 0]
    });
    verify("sched_setscheduler", Same, |guest| {
        [0, 0, guest.numbers(&[0]), 0, 0, 0]
    });
    // The oldest size of struct sched_attr, all else as it is by default; and one that no kernel knows.
    verify("sched_setattr", Same, |guest| {
        [0, guest.numbers(&[48, 0, 0, 0, 0, 0]), 0, 0, 0, 0]
    });
    verify("sched_setattr", Error(libc::E2BIG), |guest| {
        [0, guest.numbers(&[5, 0, 0, 0, 0, 0]), 0, 0, 0, 0]
    });
    verify("get_mempolicy", Whatever, |guest| {
        [guest.room(4), guest.room(128), 1024, 0, 0, 0]
    });
    verify("lsm_list_modules", Whatever, |guest| {
        [
            guest.room(256),
            guest.put(&256_u32.to_le_bytes()),
            0,
            0,
            0,
            0,
        ]
    });
    verify("lsm_get_self_attr", Whatever, |guest| {
        [
            100,
            guest.room(512),
            guest.put(&512_u32.to_le_bytes()),
            0,
            0,
            0,
        ]
    });
}

#[test]
fn settings_of_the_process_come_back() {
    verify("prctl", Same, |guest| [16, guest.room(16), 0, 0, 0, 0]);
    verify("prctl", Same, |guest| {
        [15, guest.text("a name longer than 16 bytes"), 0, 0, 0, 0]
    });
    // PR_GET_PDEATHSIG, PR_GET_CHILD_SUBREAPER, PR_GET_TSC.
    for option in [2, 37, 25] {
        verify("prctl", Same, |guest| [option, guest.room(4), 0, 0, 0, 0]);
    }
    verify("prctl", Whatever, |guest| {
        [0x4155_5856, guest.room(512), 512, 0, 0, 0]
    });
    verify("prctl", Whatever, |guest| {
        [0x4155_5856, guest.room(512), 40, 0, 0, 0]
    });
}

#[test]
fn signals_tell_their_disposition_and_what_is_pending() {
    verify("rt_sigaction", Same, |guest| {
        let action = guest.numbers(&[1, 0, 0, 0]);
        [10, action, 0, 8, 0, 0]
    });
    verify("rt_sigaction", Same, |guest| {
        let same_action = guest.numbers(&[1, 0, 0, 0]);
        [10, same_action, guest.room(32), 8, 0, 0]
    });
    verify("rt_sigpending", Same, |guest| {
        [guest.room(8), 8, 0, 0, 0, 0]
    });
    verify("rt_sigtimedwait", Error(libc::EAGAIN), |guest| {
        let set = guest.numbers(&[1 << 33]);
        [set, guest.room(128), guest.numbers(&[0, 0]), 8, 0, 0]
    });
}

#[test]
fn sleeps_and_timers_tell_what_they_must() {
    verify("nanosleep", Same, |guest| {
        [guest.numbers(&[0, 1]), guest.room(16), 0, 0, 0, 0]
    });
    verify("clock_nanosleep", Same, |guest| {
        [1, 0, guest.numbers(&[0, 1]), guest.room(16), 0, 0]
    });
    verify("getitimer", Same, |guest| [0, guest.room(32), 0, 0, 0, 0]);
    verify("setitimer", Success, |guest| {
        [0, guest.numbers(&[0, 0, 1000, 0]), guest.room(32), 0, 0, 0]
    });
    verify("setitimer", Success, |guest| {
        [0, guest.numbers(&[0, 0, 0, 0]), guest.room(32), 0, 0, 0]
    });
    verify("timer_create", Success, |guest| {
        // SIGEV_NONE.
        let mut event = [0; 64];
        event[12] = 1;
        [1, guest.put(&event), guest.room(4), 0, 0, 0]
    });
    verify("timer_settime", Success, |guest| {
        [0, 0, guest.numbers(&[0, 0, 1000, 0]), guest.room(32), 0, 0]
    });
    verify("timer_gettime", Success, |guest| {
        [0, guest.room(32), 0, 0, 0, 0]
    });
    verify("adjtimex", Success, |guest| {
        [guest.put(&[0; 208]), 0, 0, 0, 0, 0]
    });
    verify("clock_adjtime", Success, |guest| {
        [0, guest.put(&[0; 208]), 0, 0, 0, 0]
    });
}

#[test]
fn children_are_waited_for_with_status_and_usage() {
    #[expect(clippy::zombie_processes, reason = "the forwarded call waits for it")]
    let child = |code: u32| {
        let child = Command::new("/bin/sh")
            .arg("-c")
            .arg(format!("exit {code}"))
            .spawn()
            .unwrap();
        u64::from(child.id())
    };
    verify("wait4", Success, |guest| {
        [child(3), guest.room(4), 0, guest.room(144), 0, 0]
    });
    verify("waitid", Success, |guest| {
        [1, child(4), guest.room(128), 4, guest.room(144), 0]
    });
    // No such child: the information is cleared all the same.
    verify("waitid", Error(libc::ECHILD), |guest| {
        [1, 1, guest.room(128), 4, guest.room(144), 0]
    });
    verify("wait4", Error(libc::ECHILD), |guest| {
        [1, guest.room(4), 0, guest.room(144), 0, 0]
    });
    // WNOHANG (1): still running.
    let mut running = Command::new("/bin/sleep").arg("1000").spawn().unwrap();
    let pid = u64::from(running.id());
    verify("wait4", Same, |guest| {
        [pid, guest.room(4), 1, guest.room(144), 0, 0]
    });
    verify("waitid", Same, |guest| {
        [1, pid, guest.room(128), 5, guest.room(144), 0]
    });
    running.kill().unwrap();
    running.wait().unwrap();
}

#[test]
fn pidfds_are_opened_and_signalled() {
    let own = u64::from(std::process::id());
    let descriptor = u64::try_from(sys::call(434, &[own, 0, 0, 0, 0, 0])).unwrap();
    verify("pidfd_send_signal", Same, |_| [descriptor, 0, 0, 0, 0, 0]);
    // PIDFD_GET_INFO with its first 64 bytes.
    verify("ioctl", Whatever, |guest| {
        [descriptor, 0xc040_ff0b, guest.put(&[0xff; 64]), 0, 0, 0]
    });
    assert_eq!(sys::call(3, &[descriptor, 0, 0, 0, 0, 0]), 0);
}
