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
    /// By `limosa run`, at home; what it executes while it is away runs at home.
    AtHome,
    /// By `limosa run --follow`, at home; what it executes while it is away is sent after it.
    Following,
    /// By `limosa run --node`.
    On(&'a str),
}

/// A program that runs, with its client if it has one.
#[derive(Debug)]
pub struct Run {
    leader: ProcessIdentity,
    end: JoinHandle<Result<Outcome, LabError>>,
    client: Option<Client>,
}

/// The client of a server.
#[derive(Debug)]
struct Client {
    process: ProcessIdentity,
    end: JoinHandle<Result<Outcome, LabError>>,
}

impl Run {
    /// Starts the program of `stage` in its prepared directory. `chance` is the typist's.
    pub fn start(
        stage: &Stage,
        home: &NodeHandle<'_>,
        start: Start<'_>,
        chance: Chance,
    ) -> Result<Self, LabError> {
        let mut command = home.command(in_directory(stage, program_words(stage, start)))?;
        command.envs(stage.environment());
        let (leader, end) = if stage.program.dialogue.is_empty() {
            with_pipes(stage, &command)?
        } else {
            at_terminal(stage, &command, chance)?
        };
        let client = match stage.program.client {
            "" => None,
            words => {
                let words = ["bash", "-c", words].map(String::from).to_vec();
                let command = home.command(in_directory(stage, words))?;
                let (process, end) = with_pipes(stage, &command)?;
                Some(Client { process, end })
            }
        };
        Ok(Self {
            leader,
            end,
            client,
        })
    }

    /// The program's first process: whoever starts it becomes it.
    pub fn leader(&self) -> ProcessIdentity {
        self.leader
    }

    /// Whether it and its client have ended and all of their output was read.
    fn is_over(&self) -> bool {
        let ended = |client: &Client| client.end.is_finished();
        self.end.is_finished() && self.client.as_ref().is_none_or(ended)
    }

    /// Waits for its end. A program that takes longer is left as it is, for whoever wants to look at it.
    pub fn finish(self, timeout: Duration) -> Result<Outcome, LabError> {
        let over = wait_until(timeout, format!("process {} ends", self.leader.pid), || {
            self.is_over().then_some(()).ok_or("it runs")
        });
        if let (Err(_), Some(client)) = (&over, &self.client) {
            client.process.signal(Signal::KILL);
        }
        over?;
        let mut outcome = outcome_of(self.end)?;
        if let Some(client) = self.client {
            let client = outcome_of(client.end)?;
            outcome.client = format!("{}{}{}\n", client.out, client.err, client.status);
        }
        Ok(outcome)
    }

    /// Kills its first process.
    pub fn kill(&self) {
        self.leader.signal(Signal::KILL);
    }
}

fn outcome_of(end: JoinHandle<Result<Outcome, LabError>>) -> Result<Outcome, LabError> {
    end.join()
        .unwrap_or_else(|_| Err(LabError::Protocol("a reader of output panicked".into())))
}

/// A program that has started, and its end to come.
type Started = (ProcessIdentity, JoinHandle<Result<Outcome, LabError>>);

/// Runs a command without a terminal, not even that of whoever started this: a shell's job control
/// would take it.
fn with_pipes(stage: &Stage, command: &Command) -> Result<Started, LabError> {
    let started = Instant::now();
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
    let process = identify(&mut child)?;
    let end = std::thread::spawn(move || await_end(child, started));
    Ok((process, end))
}

/// Runs a command at a terminal of its own, and types.
fn at_terminal(stage: &Stage, command: &Command, mut chance: Chance) -> Result<Started, LabError> {
    let started = Instant::now();
    let mut terminal = Terminal::run(command)?;
    let process = identify(terminal.child())?;
    let steps = stage.program.dialogue;
    let end = std::thread::spawn(move || {
        let out = dialogue::hold(&mut terminal, steps, &mut chance, END_TIMEOUT)?;
        let status = terminal.child().wait();
        Ok(Outcome {
            status: status.map_err(LabError::doing("wait for a program"))?,
            out,
            err: String::new(),
            client: String::new(),
            took: started.elapsed(),
        })
    });
    Ok((process, end))
}

/// The longest that any run may take: beyond it a terminal is given up.
const END_TIMEOUT: Duration = Duration::from_secs(600);

/// `limosa run` or the program itself, each in place of the other.
fn program_words(stage: &Stage, start: Start<'_>) -> Vec<String> {
    let limosa: &[&str] = match start {
        Start::Natively => &[],
        Start::AtHome => &["limosa", "run", "--"],
        Start::Following => &["limosa", "run", "--follow", "--"],
        Start::On(node) => &["limosa", "run", "--node", node, "--"],
    };
    let mut words: Vec<_> = limosa.iter().map(|word| (*word).to_owned()).collect();
    words.extend(stage.words());
    words
}

/// What runs on the home node: env(1), which enters the directory and becomes the rest.
fn in_directory(stage: &Stage, words: Vec<String>) -> Vec<String> {
    let directory = stage.run_directory().display().to_string();
    let mut line = vec!["env".to_owned(), "-C".into(), directory];
    line.extend(words);
    line
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
        client: String::new(),
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
