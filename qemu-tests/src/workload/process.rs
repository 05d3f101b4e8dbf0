//! One run of a program, natively or under `limosa run`, through pipes or at a terminal.

use std::io::Read;
use std::process::{Child, Command, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::dialogue;
use super::outcome::Outcome;
use super::stage::Stage;
use crate::error::LabError;
use crate::faults::Chance;
use crate::node_handle::NodeHandle;
use crate::process::ProcessIdentity;
use crate::terminal::Terminal;
use crate::wait::wait_until;

/// How a program is started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start<'a> {
    /// Without Limosa, on the same node.
    Natively,
    /// By `limosa run`, at home.
    AtHome,
    /// By `limosa run --node`.
    On(&'a str),
}

/// A program that runs.
#[derive(Debug)]
pub struct Run {
    leader: ProcessIdentity,
    end: JoinHandle<Result<Outcome, LabError>>,
}

impl Run {
    /// Starts the program of `stage` in its prepared directory. `chance` is the typist's.
    pub fn start(
        stage: &Stage,
        home: &NodeHandle<'_>,
        start: Start<'_>,
        mut chance: Chance,
    ) -> Result<Self, LabError> {
        let mut command = home.command(command_line(stage, start))?;
        command.envs(stage.environment());
        let started = Instant::now();
        let limit = END_TIMEOUT;
        if stage.program.dialogue.is_empty() {
            // No terminal, not even that of whoever started this: a shell's job control would take it.
            let mut in_session = Command::new("setsid");
            in_session
                .arg(command.get_program())
                .args(command.get_args());
            in_session.envs(stage.environment());
            let mut child = in_session
                .stdin(Stdio::null())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .map_err(LabError::doing("run setsid (util-linux)"))?;
            let leader = identify(&mut child)?;
            let end = std::thread::spawn(move || await_end(child, started));
            return Ok(Self { leader, end });
        }
        let mut terminal = Terminal::run(&command)?;
        let leader = identify(terminal.child())?;
        let steps = stage.program.dialogue;
        let end = std::thread::spawn(move || {
            let out = dialogue::hold(&mut terminal, steps, &mut chance, limit)?;
            let status = terminal.child().wait();
            Ok(Outcome {
                status: status.map_err(LabError::doing("wait for a program"))?,
                out,
                err: String::new(),
                took: started.elapsed(),
            })
        });
        Ok(Self { leader, end })
    }

    /// The program's first process: whoever starts it becomes it.
    pub fn leader(&self) -> ProcessIdentity {
        self.leader
    }

    /// Whether it has ended and all of its output was read.
    pub fn is_over(&self) -> bool {
        self.end.is_finished()
    }

    /// Waits for its end. One that takes longer is left as it is, for whoever wants to look at it.
    pub fn finish(self, timeout: Duration) -> Result<Outcome, LabError> {
        wait_until(timeout, format!("process {} ends", self.leader.pid), || {
            self.is_over().then_some(()).ok_or("it runs")
        })?;
        self.end
            .join()
            .unwrap_or_else(|_| Err(LabError::Protocol("a reader of output panicked".into())))
    }

    /// Kills its first process.
    pub fn kill(&self) {
        self.leader.signal(Signal::KILL);
    }
}

/// The longest that any run may take: beyond it a terminal is given up.
const END_TIMEOUT: Duration = Duration::from_secs(600);

/// What runs on the home node: env(1), then `limosa run` or the program itself, each in place of the other.
fn command_line(stage: &Stage, start: Start<'_>) -> Vec<String> {
    let mut words = vec![
        "env".to_owned(),
        "-C".into(),
        stage.run_directory().display().to_string(),
    ];
    let limosa: &[&str] = match start {
        Start::Natively => &[],
        Start::AtHome => &["limosa", "run", "--"],
        Start::On(node) => &["limosa", "run", "--node", node, "--"],
    };
    words.extend(limosa.iter().map(|word| (*word).to_owned()));
    words.extend(stage.words());
    words
}

fn identify(child: &mut Child) -> Result<ProcessIdentity, LabError> {
    // It cannot be reaped before it is waited for, so its pid is its own.
    ProcessIdentity::of(child.id()).map_err(LabError::doing("find a program just started"))
}

fn await_end(mut child: Child, started: Instant) -> Result<Outcome, LabError> {
    let err = child.stderr.take();
    let err = std::thread::spawn(move || all_of(err));
    let out = all_of(child.stdout.take());
    let status = child
        .wait()
        .map_err(LabError::doing("wait for a program"))?;
    let panicked = |_| LabError::Protocol("a reader of output panicked".into());
    Ok(Outcome {
        status,
        out: out?,
        err: err.join().map_err(panicked)??,
        took: started.elapsed(),
    })
}

fn all_of(stream: Option<impl Read>) -> Result<String, LabError> {
    let mut bytes = Vec::new();
    if let Some(mut stream) = stream {
        stream
            .read_to_end(&mut bytes)
            .map_err(LabError::doing("read a program's output"))?;
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
