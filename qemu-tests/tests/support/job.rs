//! A program under `limosa run` whose journey a test directs.

use std::io::{Read, Write};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use lab::{NodeHandle, wait_until};
use serde_json::Value;

use super::SOON;

/// How long one move or one leg may take: seconds natively, minutes never.
const MOVE_TIMEOUT: Duration = Duration::from_secs(30);

/// How long a program may take to its end: 200 MB are read in small pieces over the network.
const END_TIMEOUT: Duration = Duration::from_secs(180);

/// What a program did, seen from outside.
#[derive(Debug, PartialEq, Eq)]
pub struct Outcome {
    /// How it ended.
    pub status: ExitStatus,
    /// What it wrote to its standard output.
    pub out: String,
    /// What it wrote to its standard error.
    pub err: String,
}

/// Runs a command natively with `input`.
pub fn run_natively(words: &[String], input: &[u8]) -> Outcome {
    let mut child = piped(Command::new(&words[0]).args(&words[1..]))
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input).unwrap();
    let output = child.wait_with_output().unwrap();
    Outcome {
        status: output.status,
        out: String::from_utf8_lossy(&output.stdout).into(),
        err: String::from_utf8_lossy(&output.stderr).into(),
    }
}

fn piped(command: &mut Command) -> &mut Command {
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
}

/// Output of a running program, collected as it comes.
struct Collected {
    text: Arc<Mutex<String>>,
    reader: JoinHandle<()>,
}

impl Collected {
    fn from(mut pipe: impl Read + Send + 'static) -> Self {
        let text = Arc::new(Mutex::new(String::new()));
        let shared = Arc::clone(&text);
        let reader = std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(length @ 1..) = pipe.read(&mut bytes) {
                shared
                    .lock()
                    .unwrap()
                    .push_str(&String::from_utf8_lossy(&bytes[..length]));
            }
        });
        Self { text, reader }
    }

    fn so_far(&self) -> String {
        self.text.lock().unwrap().clone()
    }

    fn all(self) -> String {
        self.reader.join().unwrap();
        self.text.lock().unwrap().clone()
    }
}

/// A program under `limosa run`.
pub struct Job<'lab> {
    home: NodeHandle<'lab>,
    child: Child,
    input: Option<ChildStdin>,
    out: Collected,
    err: Collected,
}

impl<'lab> Job<'lab> {
    /// Starts a program at home.
    pub fn start(home: NodeHandle<'lab>, words: &[String]) -> Self {
        Self::start_with(home, &[], words)
    }

    /// Starts a program at home with these options of `limosa run`.
    pub fn start_with(home: NodeHandle<'lab>, options: &[&str], words: &[String]) -> Self {
        let run = [&["limosa", "run"], options, &["--"]].concat();
        let run = run.into_iter().map(String::from);
        let mut command = home.command(run.chain(words.iter().cloned())).unwrap();
        let mut child = piped(&mut command).spawn().unwrap();
        let input = child.stdin.take();
        let out = Collected::from(child.stdout.take().unwrap());
        let err = Collected::from(child.stderr.take().unwrap());
        Self {
            home,
            child,
            input,
            out,
            err,
        }
    }

    /// Its pid: `lab exec` and `limosa run` become the program.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits until it has written `text`.
    pub fn wait_for_output(&mut self, text: &str) {
        let waited = wait_until(
            MOVE_TIMEOUT,
            format!("the program writes \"{text}\""),
            || {
                let out = self.out.so_far();
                if out.contains(text) {
                    return Ok(());
                }
                let err = self.err.so_far();
                Err(format!("out {:?}, err {err:?}", out.lines().last()))
            },
        );
        waited.unwrap_or_else(|error| panic!("{error}"));
    }

    /// Waits until it has written `text` and a whole word behind it; that word.
    pub fn wait_for_word_after(&mut self, text: &str) -> String {
        let waited = wait_until(
            MOVE_TIMEOUT,
            format!("the program writes \"{text}\""),
            || {
                let out = self.out.so_far();
                let behind = out.split_once(text).map(|(_, behind)| behind);
                let word = behind
                    .and_then(|behind| behind.split_once(char::is_whitespace))
                    .map(|(word, _)| word.to_owned());
                word.ok_or_else(|| format!("out {out:?}, err {:?}", self.err.so_far()))
            },
        );
        waited.unwrap_or_else(|error| panic!("{error}"))
    }

    /// Gives it input.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.input.as_mut().unwrap().write_all(bytes).unwrap();
    }

    /// Moves it, waits until that is done and checks that it is where it should be.
    pub fn migrate(&self, destination: &str) -> Value {
        let pid = self.pid().to_string();
        let seconds = MOVE_TIMEOUT.as_secs().to_string();
        let command = [
            "timeout",
            &seconds,
            "limosa",
            "migrate",
            &pid,
            destination,
            "--json",
        ];
        let output = self.home.exec(command).unwrap();
        assert!(
            output.status.success(),
            "the move to {destination} ended with {} (124: it hung): {output:?}; now {}; the program wrote {:?} {:?}",
            output.status,
            self.row(),
            self.out.so_far(),
            self.err.so_far()
        );
        let moved: Value = serde_json::from_slice(&output.stdout).unwrap();
        let place = if destination == "home" {
            self.home.name()
        } else {
            destination
        };
        assert_eq!(self.row()["node"], place, "after {moved}");
        moved
    }

    /// Its row of `limosa ps --json`; null when there is none.
    pub fn row(&self) -> Value {
        let rows = self
            .home
            .limosa(&["ps"])
            .unwrap_or_else(|error| panic!("{error}"));
        let rows = rows.as_array().map(Vec::as_slice).unwrap_or_default();
        rows.iter()
            .find(|row| row["pid"] == self.pid())
            .cloned()
            .unwrap_or(Value::Null)
    }

    /// Whether it has ended.
    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Ends its input and waits for its end.
    pub fn finish(mut self) -> Outcome {
        drop(self.input.take());
        self.await_end()
    }

    /// Waits for its end with its input open.
    pub fn await_end(mut self) -> Outcome {
        let waited = wait_until(
            END_TIMEOUT,
            format!("process {} ends", self.pid()),
            || match self.child.try_wait().unwrap() {
                Some(status) => Ok(status),
                None => Err(format!(
                    "out {:?} err {:?}",
                    self.out.so_far(),
                    self.err.so_far()
                )),
            },
        );
        let status = waited.unwrap_or_else(|error| panic!("{error}"));
        Outcome {
            status,
            out: self.out.all(),
            err: self.err.all(),
        }
    }

    /// Kills what is left of it, whatever its state.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
    }

    /// Fails unless nothing of the engine is left on it: no tracer, no filter.
    pub fn assert_untouched(&self) {
        let path = format!("/proc/{}/status", self.pid());
        let status = std::fs::read_to_string(&path).unwrap();
        for line in ["TracerPid:\t0", "Seccomp:\t0"] {
            assert!(
                status.lines().any(|found| found == line),
                "no \"{line}\" in {path}:\n{status}"
            );
        }
    }

    /// Its memory map, without what says how much of it is resident.
    pub fn maps(&self) -> String {
        std::fs::read_to_string(format!("/proc/{}/maps", self.pid())).unwrap()
    }
}

/// Waits until a node has no guests.
pub fn wait_for_no_guests(node: &NodeHandle<'_>) {
    wait_until(SOON, format!("no guest is left on {}", node.name()), || {
        let members = node.limosa(&["nodes"]).map_err(|error| error.to_string())?;
        let guests = super::member(&members, node.name())["guests"].clone();
        if guests == 0 {
            Ok(())
        } else {
            Err(format!("{guests} guests"))
        }
    })
    .unwrap_or_else(|error| panic!("{error}"));
}
