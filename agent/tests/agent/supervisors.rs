//! The supervisor link, with the test in the place of a supervisor: it connects as one that has lost its
//! agent, as every supervisor does after the agent was restarted.

use std::os::unix::net::UnixStream;
use std::process::{Child, Output, Stdio};

use limosa::wire::control::ControlRequest;
use limosa::wire::local;
use limosa::wire::supervisor::{
    Destination, FromSupervisor, MoveError, MoveReport, NodeId, NodeName, ProcessState, Reason,
    Role, SupervisorStatus, ToSupervisor,
};

use crate::harness::{Agent, DEADLINE, Directory, Job, assert_refused, text, wait_until};

/// The link of a supervisor that the test plays.
struct Link {
    stream: UnixStream,
    pid: u32,
}

impl Link {
    /// Connects for a job whose process is away on a node called n2.
    fn open(agent: &Agent, job: &Job) -> Self {
        let stream = UnixStream::connect(agent.run_dir.join("control.sock")).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        let pid = job.0.id();
        let link = Self { stream, pid };
        local::send(&link.stream, &ControlRequest::Adopt, None).unwrap();
        link.say(&FromSupervisor::Hello {
            role: Role::Deputy,
            supervisor_pid: std::process::id(),
            processes: vec![(pid, status(ProcessState::Away, 1.5))],
        });
        wait_until("the supervisor is known", || {
            let supervisors = &agent.json(&["status", "--json"])["supervisors"];
            (supervisors.as_array()?.len() == 1).then_some(())
        });
        link
    }

    fn say(&self, message: &FromSupervisor) {
        local::send(&self.stream, message, None).unwrap();
    }

    /// The next message, which is the order to move home; its request.
    fn ordered_home(&self) -> u64 {
        let received = local::receive::<ToSupervisor>(&self.stream)
            .unwrap()
            .unwrap();
        match received.message {
            ToSupervisor::Move {
                pid,
                request,
                destination: Destination::Home,
            } if pid == self.pid => request,
            _ => panic!("it was not ordered home"),
        }
    }

    fn is_at_home(&self, away_cpu_seconds: f64) {
        self.say(&FromSupervisor::Status {
            pid: self.pid,
            status: status(ProcessState::Home, away_cpu_seconds),
        });
    }

    fn done(&self, request: u64, result: Result<MoveReport, MoveError>) {
        let destination = Destination::Home;
        self.say(&FromSupervisor::MoveDone {
            pid: self.pid,
            request,
            destination,
            result,
            cause: None,
        });
    }
}

fn status(state: ProcessState, away_cpu_seconds: f64) -> SupervisorStatus {
    let node = match state {
        // The agent names this node itself.
        ProcessState::Home => NodeName {
            id: NodeId([0; 16]),
            name: "n1".into(),
        },
        _ => NodeName {
            id: NodeId([0x77; 16]),
            name: "n2".into(),
        },
    };
    SupervisorStatus {
        state,
        node,
        away_cpu_seconds,
        calls_forwarded: 7,
    }
}

fn migrate_home(agent: &Agent, job: &Job) -> Child {
    let words = ["migrate", &job.pid(), "home", "--json"];
    agent
        .command(&words)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

fn finish(child: Child) -> Output {
    child.wait_with_output().unwrap()
}

#[test]
fn a_process_of_a_supervisor_that_came_back_is_shown_where_it_is_and_moves_home() {
    let directory = Directory::new("link-home");
    let agent = Agent::start(&directory.0);
    let job = agent.job(&[]);
    let link = Link::open(&agent, &job);
    let row = agent.json(&["ps", "--json"])[0].clone();
    assert_eq!(
        (&row["node"], &row["state"]),
        (&"n2".into(), &"away".into())
    );
    assert_eq!(row["away_cpu_seconds"], 1.5);

    let command = migrate_home(&agent, &job);
    let request = link.ordered_home();
    link.is_at_home(2.5);
    link.done(
        request,
        Ok(MoveReport {
            freeze_ms: 4.5,
            total_ms: 20.0,
            bytes_sent: 4096,
        }),
    );
    let output = finish(command);
    assert!(output.status.success(), "{output:?}");
    let row: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        row,
        serde_json::json!({
            "pid": job.0.id(), "from": "n2", "to": "n1",
            "freeze_ms": 4.5, "total_ms": 20.0, "bytes_sent": 4096
        })
    );
    let row = agent.json(&["ps", "--json"])[0].clone();
    assert_eq!(
        (&row["migrations"], &row["freeze_ms_last"]),
        (&1.into(), &4.5.into())
    );
    assert_eq!(
        (&row["state"], &row["away_cpu_seconds"]),
        (&"home".into(), &2.5.into())
    );
}

#[test]
fn a_move_that_the_supervisor_refuses_or_fails_is_told_in_words_and_remembered() {
    let directory = Directory::new("link-fail");
    let agent = Agent::start(&directory.0);
    let job = agent.job(&[]);
    let link = Link::open(&agent, &job);

    let command = migrate_home(&agent, &job);
    let reason = Reason {
        code: "odd".into(),
        text: "it is odd".into(),
    };
    link.done(
        link.ordered_home(),
        Err(MoveError::CannotMove(vec![reason])),
    );
    assert_refused(&finish(command), "it is odd");

    let command = migrate_home(&agent, &job);
    link.done(
        link.ordered_home(),
        Err(MoveError::Failed("the wire broke".into())),
    );
    let output = finish(command);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let error: serde_json::Value = serde_json::from_slice(&output.stderr).unwrap();
    assert!(
        error["error"]["text"]
            .as_str()
            .unwrap()
            .contains("the wire broke"),
        "{error}"
    );
    let row = agent.json(&["ps", "--json"])[0].clone();
    assert!(
        row["last_failure"]
            .as_str()
            .unwrap()
            .contains("the wire broke"),
        "{row}"
    );
    assert_eq!(row["migrations"], 0);
    link.is_at_home(0.0);
}

#[test]
fn a_move_that_the_supervisor_made_by_itself_counts() {
    let directory = Directory::new("link-self");
    let agent = Agent::start(&directory.0);
    let job = agent.job(&[]);
    let link = Link::open(&agent, &job);
    link.is_at_home(0.0);
    link.say(&FromSupervisor::MoveDone {
        pid: link.pid,
        request: 0,
        destination: Destination::Home,
        result: Ok(MoveReport {
            freeze_ms: 1.0,
            ..MoveReport::default()
        }),
        cause: Some("it called fork".into()),
    });
    let line = agent.wait_for_line("moved to n1");
    assert!(line.contains("it called fork"), "{line}");
    assert_eq!(agent.json(&["ps", "--json"])[0]["migrations"], 1);
}

#[test]
fn an_agent_that_is_stopped_calls_its_processes_home_first() {
    let directory = Directory::new("link-stop");
    let mut agent = Agent::start(&directory.0);
    let job = agent.job(&[]);
    let link = Link::open(&agent, &job);
    agent.signal(libc::SIGTERM);
    let request = link.ordered_home();
    assert!(
        agent.process.try_wait().unwrap().is_none(),
        "the agent did not wait"
    );
    let refused = agent.limosa(&["run", "true"]);
    assert!(text(&refused.stderr).contains("stopping"), "{refused:?}");
    link.is_at_home(0.0);
    link.done(request, Ok(MoveReport::default()));
    // A supervisor that has nothing to do any more is dismissed, and not taken back.
    assert!(
        local::receive::<ToSupervisor>(&link.stream)
            .unwrap()
            .is_none()
    );
    assert_eq!(agent.process.wait().unwrap().code(), Some(0));
    drop(job);
    drop(Agent::start(&directory.0));
}

#[test]
fn a_supervisor_that_talks_nonsense_hurts_nobody_else() {
    use std::io::Write;
    let directory = Directory::new("link-nonsense");
    let agent = Agent::start(&directory.0);
    let job = agent.job(&[]);
    let mut link = Link::open(&agent, &job);
    link.stream
        .write_all(&[3, 0, 0, 0, 0xff, 0xff, 0xff])
        .unwrap();
    agent.wait_for_line("is not understood");
    assert!(agent.limosa(&["run", "true"]).status.success());
    // It comes back, and the agent takes it again.
    let link = Link::open(&agent, &job);
    link.is_at_home(0.0);
}
