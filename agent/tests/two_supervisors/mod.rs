//! Both supervisors of a process on one machine, connected over loopback, with the test in place of the
//! two agents: the engine without cluster, jobs or commands.

// Every test that has this module compiles it for itself and uses its own part of it.
#![allow(dead_code)]

use std::fs::{self, File};
use std::io;
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use limosa::sys::probe::Capabilities;
use limosa::wire::local::{self, LocalError};
use limosa::wire::supervisor::{
    ChannelKeys, ConnectionUse, Destination, FromSupervisor, MoveError, MoveReport, NodeId,
    NodeName, PiecePlace, ProcessState, SupervisorStatus, ToSupervisor,
};

/// How long anything may take.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

/// The supervisors of one process.
pub(crate) struct Supervisors {
    /// The process that they began with.
    pid: u32,
    /// The deputy supervisor.
    pub(crate) deputy: Child,
    /// The guest supervisors started so far.
    pub(crate) guests: Vec<Child>,
    link: UnixStream,
    log: File,
    guest_links: Vec<UnixStream>,
    requests: u64,
    /// What the deputy supervisor reported last.
    pub(crate) status: Option<SupervisorStatus>,
    /// Lines for the agent's log.
    pub(crate) notices: Vec<String>,
    /// Moves that the supervisor made by itself, and why.
    pub(crate) own_moves: Vec<String>,
    /// The process that they began with is not theirs any more; they serve others that it has forked.
    pub(crate) has_left: bool,
    /// Guest supervisors are killed after this time.
    pub(crate) guest_lifetime: Option<Duration>,
}

fn node(name: &str) -> NodeName {
    let mut id = [0; 16];
    id[..name.len()].copy_from_slice(name.as_bytes());
    NodeName {
        id: NodeId(id),
        name: name.to_owned(),
    }
}

/// Where the supervisors of this process log.
pub(crate) fn log_of(pid: u32) -> PathBuf {
    PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("supervisors-{pid}.log"))
}

/// Where guests' supervisors find what others, also in former runs, have left of the files that they were sent.
fn piece_directory() -> String {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("pieces");
    fs::create_dir_all(&path).unwrap();
    path.to_str().unwrap().to_owned()
}

/// Starts a supervisor with one end of a link; returns the other end.
fn start(command: &str, log: &File) -> io::Result<(Child, UnixStream)> {
    let (ours, theirs) = UnixStream::pair()?;
    ours.set_read_timeout(Some(DEADLINE))?;
    let child = Command::new("sh")
        .args(["-c", "exec \"$0\" \"$1\" 3<&0 </dev/null"])
        .arg(env!("CARGO_BIN_EXE_limosa"))
        .arg(command)
        .env("LIMOSA_LOG", "debug")
        .stdin(Stdio::from(OwnedFd::from(theirs)))
        .stderr(log.try_clone()?)
        .spawn()?;
    Ok((child, ours))
}

impl Supervisors {
    /// Starts a deputy supervisor for a running process.
    pub(crate) fn of(pid: u32) -> Supervisors {
        Supervisors::start(pid, false)
    }

    /// Starts a deputy supervisor for a process that is yet to exec.
    pub(crate) fn before_exec(pid: u32) -> Supervisors {
        let mut supervisors = Supervisors::start(pid, true);
        match supervisors.receive() {
            FromSupervisor::Seized => supervisors,
            _ => panic!("the process was not seized"),
        }
    }

    fn start(pid: u32, wait_exec: bool) -> Supervisors {
        let log = File::options().create(true).append(true).open(log_of(pid));
        let log = log.unwrap();
        let (deputy, link) = start("deputy-supervisor", &log).unwrap();
        let control_socket = "/nonexistent/control.sock".to_owned();
        let message = ToSupervisor::StartDeputy {
            pid,
            wait_exec,
            control_socket,
            home: node("home"),
            follow: false,
            capabilities: capabilities(),
            piece_key: [7; 32],
        };
        local::send(&link, &message, None).unwrap();
        Supervisors {
            pid,
            deputy,
            guests: Vec::new(),
            link,
            log,
            guest_links: Vec::new(),
            requests: 0,
            status: None,
            notices: Vec::new(),
            own_moves: Vec::new(),
            has_left: false,
            guest_lifetime: None,
        }
    }

    /// Asks for a move; [`Self::finish_move`] awaits it.
    pub(crate) fn ask(&mut self, destination: &str) -> u64 {
        self.requests += 1;
        let destination = match destination {
            "home" => Destination::Home,
            name => Destination::Node(node(name)),
        };
        let message = ToSupervisor::Move {
            pid: self.pid,
            request: self.requests,
            destination,
        };
        // If the supervisor has ended, [`Self::finish_move`] says so.
        let _ = local::send(&self.link, &message, None);
        self.requests
    }

    /// Moves the process.
    pub(crate) fn migrate(&mut self, destination: &str) -> Result<MoveReport, MoveError> {
        let request = self.ask(destination);
        self.finish_move(request)
    }

    /// Plays the agents until the move with this number is over, or the supervisor has ended or left the
    /// process to another.
    pub(crate) fn finish_move(&mut self, wanted: u64) -> Result<MoveReport, MoveError> {
        loop {
            match self.try_receive() {
                Some(FromSupervisor::MoveDone {
                    request, result, ..
                }) if request == wanted => return result,
                Some(FromSupervisor::Left { pid }) if pid == self.pid => {
                    return Err(MoveError::Gone);
                }
                Some(_) => {}
                None => return Err(MoveError::Gone),
            }
        }
    }

    /// Plays the agents until the supervisor has moved the process home by itself; returns the cause.
    pub(crate) fn await_own_move(&mut self) -> String {
        while self.own_moves.is_empty() {
            self.receive();
        }
        self.own_moves.remove(0)
    }

    /// Plays the agents until the deputy supervisor ends.
    pub(crate) fn finish(&mut self) {
        while let Ok(Some(received)) = local::receive::<FromSupervisor>(&self.link) {
            self.handle(&received.message);
        }
        self.deputy.wait().unwrap();
    }

    /// Whether the deputy supervisor ends in time; takes what it says meanwhile.
    pub(crate) fn ends_within(&mut self, limit: Duration) -> bool {
        let deadline = Instant::now() + limit;
        loop {
            if self.deputy.try_wait().unwrap().is_some() {
                return true;
            }
            if Instant::now() >= deadline {
                return false;
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    fn receive(&mut self) -> FromSupervisor {
        self.try_receive().expect("the deputy supervisor ended")
    }

    /// The next message; none if the supervisor has ended.
    fn try_receive(&mut self) -> Option<FromSupervisor> {
        let received = match local::receive::<FromSupervisor>(&self.link) {
            Ok(received) => received?,
            Err(LocalError::Io(error)) if error.kind() == io::ErrorKind::ConnectionReset => {
                return None;
            }
            Err(error) => panic!("nothing heard of the deputy supervisor: {error:?}"),
        };
        self.handle(&received.message);
        Some(received.message)
    }

    fn handle(&mut self, message: &FromSupervisor) {
        match message {
            FromSupervisor::OpenChannel {
                request,
                node,
                wanted,
            } => self.connect(*request, *node, *wanted),
            FromSupervisor::Status { pid, status } if *pid == self.pid => {
                self.status = Some(status.clone());
            }
            FromSupervisor::Left { pid } if *pid == self.pid => self.has_left = true,
            FromSupervisor::Notice(text) => self.notices.push(text.clone()),
            FromSupervisor::MoveDone {
                request: 0,
                cause: Some(cause),
                ..
            } => {
                self.own_moves.push(cause.clone());
            }
            _ => {}
        }
    }

    /// Gives both sides their end of a connection; for a migration, starts a guest supervisor first.
    fn connect(&mut self, request: u64, id: NodeId, wanted: ConnectionUse) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let at_home = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (at_remote, _) = listener.accept().unwrap();
        let keys = |send, receive| ChannelKeys {
            send_key: [send; 32],
            receive_key: [receive; 32],
            send_nonce: 0,
            receive_nonce: 0,
        };
        match wanted {
            ConnectionUse::Migration(_) => self.start_guest(id, keys(2, 1), &at_remote),
            ConnectionUse::Pages(_) => {
                let (request, result) = (0, Ok(keys(2, 1)));
                let message = ToSupervisor::Channel { request, result };
                let link = self.guest_links.last().unwrap();
                // As below.
                let _ = local::send(link, &message, Some(at_remote.as_fd()));
            }
        }
        let answer = ToSupervisor::Channel {
            request,
            result: Ok(keys(1, 2)),
        };
        // A deputy supervisor that was killed meanwhile is found out when it is listened to.
        let _ = local::send(&self.link, &answer, Some(at_home.as_fd()));
    }

    fn start_guest(&mut self, id: NodeId, keys: ChannelKeys, connection: &TcpStream) {
        let (guest, link) = start("guest-supervisor", &self.log).unwrap();
        let remote = NodeName {
            id,
            name: "remote".to_owned(),
        };
        let message = ToSupervisor::StartGuest {
            keys,
            home: node("home"),
            remote,
            control_socket: "/nonexistent/control.sock".to_owned(),
            capabilities: capabilities(),
            pieces: PiecePlace {
                directory: piece_directory(),
                bytes_max: 8 << 20,
            },
        };
        local::send(&link, &message, Some(connection.as_fd())).unwrap();
        if let Some(lifetime) = self.guest_lifetime {
            let pid = rustix::process::Pid::from_child(&guest);
            std::thread::spawn(move || {
                std::thread::sleep(lifetime);
                let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
            });
        }
        self.guests.push(guest);
        self.guest_links.push(link);
    }

    /// Whether the process was away when it was last heard of.
    pub(crate) fn is_away(&self) -> bool {
        self.status
            .as_ref()
            .is_some_and(|status| status.state == ProcessState::Away)
    }
}

/// What an agent would tell both: they share this kernel.
fn capabilities() -> Capabilities {
    static FOUND: OnceLock<Capabilities> = OnceLock::new();
    FOUND.get_or_init(Capabilities::probe).clone()
}

impl Drop for Supervisors {
    fn drop(&mut self) {
        for child in self.guests.iter_mut().chain([&mut self.deputy]) {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Waits until `condition` holds.
pub(crate) fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !condition() {
        assert!(
            Instant::now() < deadline,
            "{what} did not happen in {DEADLINE:?}"
        );
        // Looks again soon, and lets what it waits for have the CPU.
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// A field of /proc/PID/status.
pub(crate) fn status_field(pid: u32, field: &str) -> String {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix(field))
        .unwrap();
    line.trim_start_matches(':').trim().to_owned()
}
