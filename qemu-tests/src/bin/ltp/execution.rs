//! One run of one test, at home or away, with a bound on its time and nothing left of it afterwards.

use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use lab::error::LabError;
use lab::process::ProcessIdentity;
use lab::{NodeHandle, wait_until};
use rustix::process::Signal;

use crate::journey::Journey;
use crate::loop_devices;
use crate::outcome::{Checks, Ending, Outcome};
use crate::suite::{Suite, Test};

/// The variable by which all processes of a run are known, however they leave their session.
const MARK: &str = "LIMOSA_LTP_RUN";

/// How long killed processes may take to end.
const KILL_TIMEOUT: Duration = Duration::from_secs(20);

/// How much of a test's output is looked at: some write without end.
const OUTPUT_BYTES_MAX: u64 = 4 << 20;

/// How much of the agent's log of one run is looked at.
const LOG_BYTES_MAX: u64 = 4 << 20;

/// The words before those of the test: the suite's programs are found after the node's, by the
/// programs and scripts that tests start, and a test leads its own session.
const BEGINNING: [&str; 4] = [
    "/bin/sh",
    "-c",
    "PATH=$PATH:$LTPROOT/testcases/bin exec setsid \"$@\"",
    "ltp",
];

/// Where a test is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// On the home node, without Limosa.
    Home,
    /// By `limosa run --node`.
    Away,
}

impl Place {
    fn word(self) -> &'static str {
        match self {
            Self::Home => "home",
            Self::Away => "away",
        }
    }
}

/// One run, as seen from outside.
#[derive(Clone, Debug)]
pub(crate) struct Run {
    /// How it ended.
    pub(crate) outcome: Outcome,
    /// Where it was; of a run at home nothing.
    pub(crate) journey: Journey,
}

/// What all runs have in common.
pub(crate) struct Executor<'a> {
    /// The suite.
    pub(crate) suite: &'a Suite,
    /// The node on which all tests start.
    pub(crate) home: NodeHandle<'a>,
    /// The node to which they are sent.
    pub(crate) destination: &'a str,
    /// The file to which the agent of the home node writes.
    pub(crate) agent_log: PathBuf,
    /// Where tests have their temporary directories.
    pub(crate) scratch: &'a Path,
    /// Where the output of each run is kept.
    pub(crate) logs: &'a Path,
    /// A library that is loaded into each test.
    pub(crate) preload: Option<&'a Path>,
    /// How long a run at home may take.
    pub(crate) timeout_home: Duration,
    /// How long a run away may take.
    pub(crate) timeout_away: Duration,
}

impl Executor<'_> {
    /// Runs a test: 1. its directory, 2. the process, 3. its end, or the end of its time, 4. whatever
    /// it left.
    pub(crate) fn run(&self, test: &Test, words: &[String], place: Place) -> Result<Run, LabError> {
        static COUNT: AtomicU32 = AtomicU32::new(1);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let mark = format!("{}-{number}", std::process::id());
        let directory = self.scratch.join(number.to_string());
        make_directory(&directory)?;
        let log = self.log_path(test, place);
        let logged_before = fs::metadata(&self.agent_log).map_or(0, |metadata| metadata.len());

        let mut child = self.spawn(words, place, &directory, &log, &mark)?;
        let pid = child.id();
        let timeout = match place {
            Place::Home => self.timeout_home,
            Place::Away => self.timeout_away,
        };
        let ended = wait_until(timeout, "the test ends", || match child.try_wait() {
            Ok(Some(status)) => Ok(status),
            Ok(None) => Err("it runs".to_owned()),
            Err(error) => Err(error.to_string()),
        });
        kill_marked(&mark)?;
        let ending = match ended {
            Ok(status) => Ending::from(status),
            Err(_) => {
                reap(&mut child, &test.name);
                Ending::TimedOut
            }
        };
        remove_directory(&directory);

        let output = read_from(&log, 0, OUTPUT_BYTES_MAX)
            .map_err(LabError::doing(format!("read {}", log.display())))?;
        let checks = Checks::in_output(&output);
        let journey = match place {
            Place::Home => Journey::default(),
            Place::Away => {
                let text = read_from(&self.agent_log, logged_before, LOG_BYTES_MAX);
                let text = text.map_err(LabError::doing("read the agent's log"))?;
                Journey::of(pid, self.home.name(), &text)
            }
        };
        Ok(Run {
            outcome: Outcome { ending, checks },
            journey,
        })
    }

    fn spawn(
        &self,
        words: &[String],
        place: Place,
        directory: &Path,
        log: &Path,
        mark: &str,
    ) -> Result<Child, LabError> {
        let output =
            File::create(log).map_err(LabError::doing(format!("make {}", log.display())))?;
        let errors = output
            .try_clone()
            .map_err(LabError::doing("share the file for a test's output"))?;
        let limosa = ["limosa", "run", "--node", self.destination, "--"];
        let limosa: &[&str] = match place {
            Place::Home => &[],
            Place::Away => &limosa,
        };
        // By env(1), so that the node's own programs do not load it; `limosa` is static.
        let preload = self
            .preload
            .map(|path| format!("LD_PRELOAD={}", path.display()));
        let preload = preload
            .iter()
            .flat_map(|variable| ["env", variable.as_str()]);
        let beginning = BEGINNING.into_iter().chain(preload);
        let beginning = beginning.chain(limosa.iter().copied());
        self.home
            .command(beginning.chain(words.iter().map(String::as_str)))?
            .envs(self.suite.environment(directory))
            .env(MARK, mark)
            .current_dir(directory)
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(errors)
            .spawn()
            .map_err(LabError::doing(format!("run {}", words.join(" "))))
    }

    /// A file of its own for each run of a test.
    fn log_path(&self, test: &Test, place: Place) -> PathBuf {
        let path = |number| {
            self.logs
                .join(format!("{}.{}-{number}", test.name, place.word()))
        };
        let free = (1..).map(path).find(|path| !path.exists());
        free.unwrap_or_else(|| path(1))
    }
}

/// Waits for the end of a killed test. One that does not come is told, and the other tests go on: what
/// holds it shows among what is left at the end.
fn reap(child: &mut Child, test: &str) {
    let ended = wait_until(
        KILL_TIMEOUT,
        format!("{test} ends when killed"),
        || match child.try_wait() {
            Ok(Some(_)) => Ok(()),
            Ok(None) => Err("it does not".to_owned()),
            Err(error) => Err(error.to_string()),
        },
    );
    if let Err(error) = ended {
        eprintln!("ltp: {error}");
    }
}

/// Tests that give up their privileges have to write there.
fn make_directory(path: &Path) -> Result<(), LabError> {
    fs::create_dir_all(path)
        .and_then(|()| fs::set_permissions(path, fs::Permissions::from_mode(0o777)))
        .map_err(LabError::doing(format!("make {}", path.display())))
}

/// What a killed test has mounted or made immutable stays until the lab ends; the next run has a
/// directory of its own.
fn remove_directory(path: &Path) {
    loop_devices::detach_from(path);
    if let Err(error) = fs::remove_dir_all(path) {
        eprintln!("ltp: {} stays: {error}", path.display());
    }
}

fn read_from(path: &Path, start: u64, bytes_max: u64) -> std::io::Result<String> {
    use std::io::{Seek, SeekFrom};
    let mut file = File::open(path)?;
    file.seek(SeekFrom::Start(start))?;
    let mut bytes = Vec::new();
    file.take(bytes_max).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Kills all processes with this mark in the environment with which they were executed.
fn kill_marked(mark: &str) -> Result<(), LabError> {
    let entry = format!("{MARK}={mark}");
    let what = format!("all processes marked {entry} end");
    wait_until(KILL_TIMEOUT, what, || {
        let marked = marked(&entry);
        for process in &marked {
            process.signal(Signal::KILL);
        }
        if marked.is_empty() {
            Ok(())
        } else {
            let pids: Vec<_> = marked.iter().map(|process| process.pid).collect();
            Err(format!("{pids:?} live"))
        }
    })
}

fn marked(entry: &str) -> Vec<ProcessIdentity> {
    let Ok(listing) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    let pids = listing
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter_map(|pid: u32| {
        let identity = ProcessIdentity::of(pid).ok()?;
        // Empty of a zombie and of a thread of the kernel.
        let environment = fs::read(format!("/proc/{pid}/environ")).ok()?;
        let mut variables = environment.split(|byte| *byte == 0);
        variables
            .any(|variable| variable == entry.as_bytes())
            .then_some(identity)
    })
    .collect()
}
