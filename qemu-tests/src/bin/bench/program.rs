//! A program that runs while others take their turn: it does what a line asks for, and answers.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Stdio};
use std::time::Duration;

use lab::NodeHandle;
use lab::error::LabError;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// How long one answer may take.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(300);

/// Who starts it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Start {
    /// Nobody in particular.
    Natively,
    /// `limosa run`.
    ByLimosa,
}

/// A running program. It is killed at the end of this value.
pub(crate) struct Program {
    name: String,
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    greeting: String,
}

impl Program {
    /// Starts it on a node and waits until it is ready.
    pub(crate) fn start(
        node: &NodeHandle<'_>,
        start: Start,
        words: &[&str],
    ) -> Result<Self, LabError> {
        let mut child = spawn(node, start, words)?;
        let name = words.join(" ");
        let (Some(input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(LabError::Protocol(format!("{name} has no pipes")));
        };
        let mut program = Self {
            name,
            child,
            input,
            output: BufReader::new(output),
            greeting: String::new(),
        };
        program.greeting = program.answer()?;
        Ok(program)
    }

    /// Its pid: whoever starts it becomes it.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The numbers with which it said that it is ready.
    pub(crate) fn greeting(&self) -> Vec<u64> {
        let words = self.greeting.split_whitespace().skip(1);
        words.filter_map(|word| word.parse().ok()).collect()
    }

    /// Lets it do something; how many seconds it says that it took.
    pub(crate) fn ask(&mut self, line: &str) -> Result<f64, LabError> {
        self.begin(line)?;
        self.end()
    }

    /// Lets it begin with something.
    pub(crate) fn begin(&mut self, line: &str) -> Result<(), LabError> {
        let asking = LabError::doing(format!("ask {}", self.name));
        writeln!(self.input, "{line}").map_err(asking)
    }

    /// Waits for the end of what it has begun with; the seconds.
    pub(crate) fn end(&mut self) -> Result<f64, LabError> {
        self.seconds().map(|seconds| seconds[0])
    }

    /// Lets it do something; how many seconds it says that it took, and how many of CPU time.
    pub(crate) fn ask_for_both(&mut self, line: &str) -> Result<(f64, f64), LabError> {
        self.begin(line)?;
        match self.seconds()?.as_slice() {
            [took, cpu, ..] => Ok((*took, *cpu)),
            _ => Err(LabError::Protocol(format!(
                "{} tells no CPU time",
                self.name
            ))),
        }
    }

    /// The next answer: at least one number.
    fn seconds(&mut self) -> Result<Vec<f64>, LabError> {
        let answer = self.answer()?;
        let words = answer.split_whitespace();
        let seconds: Result<Vec<f64>, _> = words
            .map(|word| word.parse().map(|ns: f64| ns / 1e9))
            .collect();
        match seconds {
            Ok(seconds) if !seconds.is_empty() => Ok(seconds),
            _ => Err(LabError::Protocol(format!("{} says {answer:?}", self.name))),
        }
    }

    fn answer(&mut self) -> Result<String, LabError> {
        let hearing = format!("hear from {}", self.name);
        if self.output.buffer().is_empty() {
            let mut descriptors = [PollFd::new(self.output.get_ref(), PollFlags::IN)];
            let timeout = Timespec {
                tv_sec: ANSWER_TIMEOUT.as_secs() as i64,
                tv_nsec: 0,
            };
            if poll(&mut descriptors, Some(&timeout)).map_err(LabError::doing(hearing.clone()))?
                == 0
            {
                return Err(LabError::TimedOut {
                    what: format!("{} answers", self.name),
                    after: ANSWER_TIMEOUT,
                    seen: "nothing".into(),
                });
            }
        }
        let mut line = String::new();
        self.output
            .read_line(&mut line)
            .map_err(LabError::doing(hearing))?;
        if line.is_empty() {
            return Err(LabError::Protocol(format!("{} has ended", self.name)));
        }
        Ok(line)
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // One that has ended needs no killing.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Starts words on a node, at both ends of pipes; the child becomes the program.
pub(crate) fn spawn(
    node: &NodeHandle<'_>,
    start: Start,
    words: &[&str],
) -> Result<Child, LabError> {
    let run: &[&str] = match start {
        Start::Natively => &[],
        Start::ByLimosa => &["limosa", "run", "--"],
    };
    node.command(run.iter().chain(words))?
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(LabError::doing(format!("run {}", words.join(" "))))
}
