//! One program, run in every way that Limosa can run it; each run must look like the native one.
//!
//! - *started away*: it leaves home at its exec, as by `limosa run --node`;
//! - *left behind*: it leaves home while it runs, and ends there;
//! - *travelling*: it leaves and comes home several times, at moments drawn from the program's name.
//!
//! A program repeats what it does until its gate, a file, appears: so it always runs while it moves,
//! however slow the machine is, and a native run is short.

use std::fs::{self, File};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use limosa::wire::supervisor::MoveError;

use crate::two_supervisors::{Supervisors, log_of, status_field};

/// How long a program may take from its gate's opening to its end.
const END_TIMEOUT: Duration = Duration::from_secs(20);

/// Where the engine begins to look for room for its own memory.
const SCRATCH_PREFIX: &str = "1000000";

/// How often a travelling program leaves home.
const TRIPS: u32 = 3;

/// A program and its arguments.
#[derive(Clone)]
pub(crate) struct Program {
    pub(crate) name: String,
    arguments: Vec<String>,
}

impl Program {
    /// A command of this machine.
    pub(crate) fn command(name: &str, arguments: &[&str]) -> Program {
        let owned = arguments.iter().map(|&argument| argument.to_owned());
        Program {
            name: name.to_owned(),
            arguments: owned.collect(),
        }
    }

    /// A dynamically linked program of `programs/`.
    pub(crate) fn dynamic(name: &str) -> Program {
        Program::compiled(name, "dynamic", &[])
    }

    /// A statically linked program of `programs/`.
    pub(crate) fn statically_linked(name: &str) -> Program {
        Program::compiled(name, "static", &["-static"])
    }

    fn compiled(name: &str, linkage: &str, options: &[&str]) -> Program {
        let source = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("tests/engine_objects/programs")
            .join(format!("{name}.c"));
        let unique = unique_number();
        let target = temporary(&format!("{name}-{linkage}-{unique}"));
        let compiled = Command::new("gcc")
            .args(["-O1", "-Wall", "-Wextra", "-Werror", "-pthread"])
            .args(options)
            .arg("-o")
            .arg(&target)
            .arg(source)
            .status();
        assert!(
            compiled.expect("gcc is needed").success(),
            "{name}.c does not compile"
        );
        Program {
            name: target.to_string_lossy().into_owned(),
            arguments: Vec::new(),
        }
    }

    /// The same program with these arguments.
    pub(crate) fn with(&self, arguments: &[&str]) -> Program {
        Program::command(&self.name, arguments)
    }
}

fn unique_number() -> u32 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

pub(crate) fn temporary(name: &str) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{}-{name}", std::process::id()))
}

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
        fs::create_dir_all(&files).unwrap();
        let fifo = files.join("exec");
        assert!(
            Command::new("mkfifo")
                .arg(&fifo)
                .status()
                .unwrap()
                .success()
        );
        let child = Command::new("/bin/sh")
            .args(["-c", "read -r go < \"$0\"; exec \"$@\""])
            .arg(&fifo)
            .arg(&program.name)
            .args(&program.arguments)
            .env("GATE", files.join("gate"))
            .env("READY", files.join("ready"))
            .env("LC_ALL", "C.UTF-8")
            .stdin(Stdio::null())
            .stdout(File::create(files.join("stdout")).unwrap())
            .stderr(File::create(files.join("stderr")).unwrap())
            .process_group(0)
            .spawn()
            .unwrap();
        let pid = child.id();
        Running { child, pid, files }
    }

    pub(crate) fn let_exec(&self) {
        fs::write(self.files.join("exec"), "go\n").unwrap();
    }

    /// Lets the program end its rounds.
    pub(crate) fn open_gate(&self) {
        File::create(self.files.join("gate")).unwrap();
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

    /// Whether the program has run its exec.
    pub(crate) fn is_itself(&self, program: &Program) -> bool {
        let wanted = fs::canonicalize(which(&program.name)).unwrap();
        fs::read_link(format!("/proc/{}/exe", self.pid)).is_ok_and(|seen| seen == wanted)
    }

    pub(crate) fn is_ready(&self) -> bool {
        self.files.join("ready").exists()
    }

    /// Everything that helps to find out why it did not do what it should.
    pub(crate) fn describe(&self) -> String {
        let mut text = String::new();
        let tasks = fs::read_dir(format!("/proc/{}/task", self.pid));
        for task in tasks.into_iter().flatten().flatten() {
            let read = |name| fs::read_to_string(task.path().join(name)).unwrap_or_default();
            let state = read("status");
            let lines = state.lines().filter(|line| {
                [
                    "State",
                    "Pid",
                    "TracerPid",
                    "SigQ",
                    "SigPnd",
                    "ShdPnd",
                    "SigBlk",
                ]
                .iter()
                .any(|field| line.starts_with(field))
            });
            text.push_str(&lines.collect::<Vec<_>>().join(" "));
            text.push_str(&format!(
                " syscall {} wchan {}\n",
                read("syscall"),
                read("wchan")
            ));
        }
        let log = fs::read_to_string(log_of(self.pid)).unwrap_or_default();
        format!(
            "{text}stdout: {}\nstderr: {}\nsupervisors: {log}",
            self.output("stdout"),
            self.output("stderr")
        )
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let group = rustix::process::Pid::from_child(&self.child);
        let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.files);
        let _ = fs::remove_file(log_of(self.pid));
    }
}

fn which(name: &str) -> PathBuf {
    if name.contains('/') {
        return PathBuf::from(name);
    }
    let path = std::env::var("PATH").unwrap();
    let mut places = path.split(':').map(|place| Path::new(place).join(name));
    places.find(|place| place.exists()).unwrap()
}

/// Small random numbers from a seed.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn from_name(name: &str) -> Random {
        let mut hasher = DefaultHasher::new();
        name.hash(&mut hasher);
        Random(hasher.finish() | 1)
    }

    /// Waits for up to `most_ms`: the moment of a move is what is tried, nothing depends on it.
    pub(crate) fn pause(&mut self, most_ms: u64) {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        std::thread::sleep(Duration::from_micros(self.0 % (most_ms * 1000)));
    }
}

/// Runs the program in every way and compares.
pub(crate) fn conforms(program: &Program) {
    conforms_if_it(program, &Travel::default());
}

/// What may happen while the program is away.
#[derive(Default)]
pub(crate) struct Travel {
    /// It may refuse to leave for this part of a reason, at some moments.
    pub(crate) may_refuse: Option<&'static str>,
}

pub(crate) fn conforms_if_it(program: &Program, travel: &Travel) {
    let native = native(program);
    assert_ne!(native.status.code(), Some(99), "fails natively: {native:?}");
    assert_eq!(
        started_away(program, travel),
        native,
        "{} started away",
        program.name
    );
    assert_eq!(
        left_behind(program, travel),
        native,
        "{} left behind",
        program.name
    );
    assert_eq!(
        travelled(program, travel),
        native,
        "{} travelling",
        program.name
    );
}

pub(crate) fn native(program: &Program) -> Outcome {
    let mut running = Running::start(program);
    running.open_gate();
    running.let_exec();
    running.outcome()
}

fn is_excused(travel: &Travel, error: &MoveError) -> bool {
    let text = format!("{error:?}");
    travel
        .may_refuse
        .is_some_and(|excuse| text.contains(excuse))
}

fn started_away(program: &Program, travel: &Travel) -> Outcome {
    let running = Running::start(program);
    let mut supervisors = Supervisors::before_exec(running.pid);
    let request = supervisors.ask("n2");
    running.let_exec();
    match supervisors.finish_move(request) {
        Ok(_) => {}
        Err(error) if is_excused(travel, &error) => {}
        Err(error) => panic!(
            "{} cannot start away: {error:?}\n{}",
            program.name,
            running.describe()
        ),
    }
    Random::from_name(&program.name).pause(60);
    finish(running, supervisors)
}

fn left_behind(program: &Program, travel: &Travel) -> Outcome {
    let running = start_natively(program);
    let mut random = Random::from_name(&program.name);
    random.pause(40);
    let mut supervisors = Supervisors::of(running.pid);
    leave(&mut supervisors, &running, program, travel);
    random.pause(60);
    finish(running, supervisors)
}

fn travelled(program: &Program, travel: &Travel) -> Outcome {
    let running = start_natively(program);
    let mut random = Random::from_name(&program.name);
    let mut supervisors = Supervisors::of(running.pid);
    for _ in 0..TRIPS {
        random.pause(30);
        leave(&mut supervisors, &running, program, travel);
        random.pause(60);
        let request = supervisors.ask("home");
        match supervisors.finish_move(request) {
            // It has come home by itself, and its supervisor is gone.
            Ok(_) | Err(MoveError::Gone) => {}
            Err(error) => {
                panic!(
                    "{} does not come home: {error:?}\n{}",
                    program.name,
                    running.describe()
                )
            }
        }
        assert_untouched(&running);
        // The supervisor ends when it is not needed.
        if supervisors.ends_within(Duration::ZERO) {
            supervisors = Supervisors::of(running.pid);
        }
    }
    finish(running, supervisors)
}

pub(crate) fn start_natively(program: &Program) -> Running {
    let running = Running::start(program);
    running.let_exec();
    crate::two_supervisors::wait_until("the exec", || running.is_itself(program));
    running
}

fn leave(supervisors: &mut Supervisors, running: &Running, program: &Program, travel: &Travel) {
    for _ in 0..3 {
        match supervisors.migrate("n2") {
            Ok(_) => return,
            // The supervisor has ended just now, because it was not needed.
            Err(MoveError::Gone) if Path::new(&format!("/proc/{}/exe", running.pid)).exists() => {
                *supervisors = Supervisors::of(running.pid);
            }
            Err(error) if is_excused(travel, &error) => return,
            Err(error) => {
                panic!(
                    "{} cannot leave: {error:?}\n{}",
                    program.name,
                    running.describe()
                )
            }
        }
    }
    panic!(
        "{} cannot leave: its supervisor ends\n{}",
        program.name,
        running.describe()
    );
}

/// Opens the gate and awaits the end of program and supervisors.
pub(crate) fn finish(mut running: Running, mut supervisors: Supervisors) -> Outcome {
    running.open_gate();
    let outcome = running.outcome();
    assert!(
        supervisors.ends_within(END_TIMEOUT),
        "the supervisors do not end: {}",
        running.describe()
    );
    if outcome.status.code() == Some(99) || outcome.status.signal().is_some() {
        println!("{}", running.describe());
    }
    outcome
}

/// Nothing of the engine is left in a process that is at home.
pub(crate) fn assert_untouched(running: &Running) {
    let Ok(maps) = fs::read_to_string(format!("/proc/{}/maps", running.pid)) else {
        return;
    };
    if maps.is_empty() {
        // It has ended; its outcome tells.
        return;
    }
    let scratch = maps.lines().find(|line| line.starts_with(SCRATCH_PREFIX));
    assert_eq!(scratch, None, "the engine's memory is left");
    assert_eq!(status_field(running.pid, "TracerPid"), "0");
    assert_eq!(status_field(running.pid, "Seccomp"), "0");
}
