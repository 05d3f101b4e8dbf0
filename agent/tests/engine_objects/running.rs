//! A program under test while it runs, and what can be seen of it when it has ended.
//!
//! It runs in a folder of its own, which is removed afterwards. It repeats what it does until its gate, a
//! file, appears: so it always runs while it moves, however slow the machine is, and a native run is short.

use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::fs::{CWD, Mode, mkfifoat};
use rustix::process::{Pid, Signal, kill_process_group};

use crate::programs::{Program, temporary, unique_number};
use crate::two_supervisors::{log_of, status_field, wait_until};

/// How long a program may take from its gate's opening to its end.
pub(crate) const END_TIMEOUT: Duration = Duration::from_secs(60);

/// Where the engine begins to look for room for its own memory.
const SCRATCH_PREFIX: &str = "1000000";

/// What can be seen of a program that has ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    pub(crate) status: ExitStatus,
}

/// A program that runs, or waits before its exec.
pub(crate) struct Running {
    pub(crate) child: Child,
    pub(crate) pid: u32,
    files: PathBuf,
}

impl Running {
    /// Starts a program; it execs when [`Self::let_exec`] says so.
    pub(crate) fn start(program: &Program) -> Running {
        let files = temporary(&format!("run-{}", unique_number()));
        let place = files.join("place");
        fs::create_dir_all(&place).unwrap();
        let fifo = files.join("exec");
        mkfifoat(CWD, &fifo, Mode::RUSR | Mode::WUSR).unwrap();
        let child = Command::new("/bin/sh")
            .args(["-c", "read -r go < \"$0\"; exec \"$@\""])
            .arg(&fifo)
            .arg(&program.name)
            .args(&program.arguments)
            .env("GATE", files.join("gate"))
            .env("READY", files.join("ready"))
            .env("FREE", files.join("free"))
            .env("HOLD", files.join("hold"))
            .env("LC_ALL", "C.UTF-8")
            .current_dir(place)
            .stdin(Stdio::null())
            .stdout(File::create(files.join("stdout")).unwrap())
            .stderr(File::create(files.join("stderr")).unwrap())
            .process_group(0)
            .spawn()
            .unwrap();
        let pid = child.id();
        Running { child, pid, files }
    }

    /// Starts a program and waits until it has run its exec.
    pub(crate) fn start_natively(program: &Program) -> Running {
        let running = Running::start(program);
        running.let_exec();
        let wanted = fs::canonicalize(program.file()).unwrap();
        // One that executes another program at once says when it is ready.
        wait_until("the exec", || {
            let program = fs::read_link(format!("/proc/{}/exe", running.pid));
            running.is_ready() || program.is_ok_and(|seen| seen == wanted)
        });
        running
    }

    pub(crate) fn let_exec(&self) {
        fs::write(self.files.join("exec"), "go\n").unwrap();
    }

    /// Lets the program end its rounds.
    pub(crate) fn open_gate(&self) {
        File::create(self.files.join("gate")).unwrap();
    }

    /// Has the program go on when the state is over that kept it at home; before the gate opens.
    pub(crate) fn hold(&self) {
        File::create(self.files.join("hold")).unwrap();
    }

    /// Whether the program has said that this state is over.
    pub(crate) fn is_free(&self) -> bool {
        self.files.join("free").exists()
    }

    /// Lets a program end that was held.
    pub(crate) fn release(&self) {
        fs::remove_file(self.files.join("hold")).unwrap();
    }

    /// Waits until it has ended.
    pub(crate) fn outcome(&mut self) -> Outcome {
        let deadline = Instant::now() + END_TIMEOUT;
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(
                Instant::now() < deadline,
                "the program does not end: {}",
                self.describe()
            );
            std::thread::sleep(Duration::from_millis(2));
        };
        Outcome {
            stdout: self.output("stdout"),
            stderr: self.output("stderr"),
            status,
        }
    }

    pub(crate) fn output(&self, name: &str) -> String {
        let bytes = fs::read(self.files.join(name)).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Whether the program has said so, by making the file that READY names.
    pub(crate) fn is_ready(&self) -> bool {
        self.files.join("ready").exists()
    }

    /// Whether it has neither ended nor been killed.
    pub(crate) fn lives(&self) -> bool {
        fs::read_link(format!("/proc/{}/exe", self.pid)).is_ok()
    }

    /// Everything that helps to find out why it did not do what it should.
    pub(crate) fn describe(&self) -> String {
        const FIELDS: [&str; 7] = [
            "State",
            "Pid",
            "TracerPid",
            "SigQ",
            "SigPnd",
            "ShdPnd",
            "SigBlk",
        ];
        let mut text = String::new();
        let tasks = fs::read_dir(format!("/proc/{}/task", self.pid));
        for task in tasks.into_iter().flatten().flatten() {
            let read = |name| fs::read_to_string(task.path().join(name)).unwrap_or_default();
            let status = read("status");
            let lines = status
                .lines()
                .filter(|line| FIELDS.iter().any(|field| line.starts_with(field)));
            text.push_str(&lines.collect::<Vec<_>>().join(" "));
            let (call, place) = (read("syscall"), read("wchan"));
            text.push_str(&format!(" syscall {call} wchan {place}\n"));
        }
        let log = fs::read_to_string(log_of(self.pid)).unwrap_or_default();
        let (stdout, stderr) = (self.output("stdout"), self.output("stderr"));
        format!("{text}stdout: {stdout}\nstderr: {stderr}\nsupervisors: {log}")
    }

    /// Nothing of the engine is left in a process that is at home.
    pub(crate) fn assert_untouched(&self) {
        let Ok(maps) = fs::read_to_string(format!("/proc/{}/maps", self.pid)) else {
            return;
        };
        if maps.is_empty() {
            // It has ended; its outcome tells.
            return;
        }
        let scratch = maps.lines().find(|line| line.starts_with(SCRATCH_PREFIX));
        assert_eq!(scratch, None, "the engine's memory is left");
        assert_eq!(status_field(self.pid, "TracerPid"), "0");
        assert_eq!(status_field(self.pid, "Seccomp"), "0");
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // A program of a group of its own that still runs would outlive its test.
        let _ = kill_process_group(Pid::from_child(&self.child), Signal::KILL);
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.files);
        let _ = fs::remove_file(log_of(self.pid));
    }
}
