//! The lab port: a host program watches a virtual node and runs commands on it.
//!
//! A virtual machine that has a virtio-serial port named `limosa.control` is told there what `/init`
//! does (events); when `limosa.lab` is on the kernel command line it may also send requests. **Whoever
//! holds the host's end of the port is then root on the node.** It is for labs; without `limosa.lab`
//! every request is answered `refused`, and a real PC has no such port.
//!
//! # Protocol, version 1
//!
//! Both directions: one JSON object a line, ended by `\n`, at most [`LINE_BYTES_MAX`] bytes with it.
//! Bytes of files and of commands' output travel as lower-case hexadecimal in `hex`. A reader ignores
//! keys and events that it does not know. A field that is absent has its default. Empty lines are passed over: a
//! host may begin with one, to end what an earlier host left unfinished.
//!
//! ## Node to host: events of the node
//!
//! | line | when |
//! |---|---|
//! | `{"event":"booted","protocol":1,"name":"limosa-3fa2","kernel":"6.12.95+deb12-amd64","lab":true,"uptime_ms":900}` | first line; mounts done, modules loaded, links told to go up. Told again, with the node's present `link`s and `agent-started`, each time the host connects |
//! | `{"event":"agent-started","pid":210,"uptime_ms":950}` | each start of the agent |
//! | `{"event":"agent-ended","pid":210,"exit":1,"restart_in_ms":500,"uptime_ms":9000}` | `signal` in place of `exit` when a signal killed it |
//! | `{"event":"link","interface":"eth0","uptime_ms":940}` | an interface was found and told to go up |
//! | `{"event":"stopping","how":"poweroff","uptime_ms":9999}` | last line; `how` is `poweroff`, `reboot` or `halt` |
//!
//! `uptime_ms` counts from the kernel's start (CLOCK_BOOTTIME).
//!
//! ## Host to node: requests
//!
//! `id` is chosen by the host, unique among what is in progress; all answers carry it. Many commands
//! may run at the same time (at most [`COMMANDS_MAX`]).
//!
//! | line | meaning |
//! |---|---|
//! | `{"id":1,"argv":["limosa","nodes","--json"],"env":{"LANG":"C"},"directory":"/tmp"}` | run a program as root: `argv[0]` is looked up in PATH; `env` is added to the node's own; standard input is `/dev/null`; it leads its own session and process group |
//! | `{"id":1,"signal":2}` | signal number 2 to the process group of the running command 1; itself unanswered unless refused |
//! | `{"id":2,"write":"/tmp/prog","mode":493,"append":false,"hex":"7f454c46"}` | write a file (created with `mode`, default 420 = 0644; `append` continues it: send big files in pieces) |
//! | `{"id":3,"stop":"poweroff"}` | clean `poweroff`, `reboot` or `halt`, the agent first |
//!
//! ## Node to host: answers
//!
//! | line | when |
//! |---|---|
//! | `{"id":1,"event":"started","pid":231}` | the command runs |
//! | `{"id":1,"event":"stdout","hex":"6869"}` | as soon as it wrote, in pieces; `stderr` alike |
//! | `{"id":1,"event":"ended","exit":0}` | it ended, after all that it wrote; `"signal":9` in place of `exit` when a signal killed it |
//! | `{"id":2,"event":"done"}` | a `write` is complete |
//! | `{"id":1,"event":"refused","reason":"..."}` | nothing was done; `id` is absent when the line could not be read |
//!
//! What happens while no host is connected is not stored. A command's process that outlives it (`prog &`) is not killed, but its output is no longer read:
//! redirect it. When the host closes its end, running commands go on and their output waits in the pipe;
//! a host that does not read stops the command that writes, nothing else.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use crate::lab_message::{self, Event, Request};

/// Longest line in either direction, in bytes with its newline. A piece of 256 KiB is 512 KiB of hex.
pub(crate) const LINE_BYTES_MAX: usize = 1 << 20;

/// Most commands that run at the same time.
pub(crate) const COMMANDS_MAX: usize = 64;

/// Commands' output is no longer read while this much waits for the host.
const OUTBOX_BYTES_MAX: usize = 4 << 20;

const PORT_NAME: &str = "limosa.control";

/// How often an absent host is looked for: the driver hangs up instead of reporting when one connects.
const ABSENT_INTERVAL: Duration = Duration::from_millis(100);

/// What came through the port.
pub(crate) enum Incoming {
    /// A host connected and is to be told the node's state.
    Connected,
    /// A request.
    Request(u64, Request),
}

enum Host {
    Absent { look_again: Instant },
    Connected,
}

/// The node's end of the port.
pub(crate) struct LabPort {
    device: File,
    host: Host,
    inbox: Vec<u8>,
    /// The rest of an overlong line is still to come and to be thrown away.
    discarding: bool,
    outbox: VecDeque<Vec<u8>>,
    outbox_bytes: usize,
    /// How much of the first line of the outbox was sent.
    sent_bytes: usize,
}

impl LabPort {
    /// Opens the port if this machine has it.
    pub(crate) fn open(now: Instant) -> Option<LabPort> {
        let ports = fs::read_dir("/sys/class/virtio-ports").ok()?;
        let port = ports.flatten().find(|port| {
            fs::read_to_string(port.path().join("name")).is_ok_and(|name| name.trim() == PORT_NAME)
        })?;
        let path = std::path::Path::new("/dev").join(port.file_name());
        let flags = i32::try_from(rustix::fs::OFlags::NONBLOCK.bits()).ok()?;
        let device = File::options()
            .read(true)
            .write(true)
            .custom_flags(flags)
            .open(path)
            .ok()?;
        Some(LabPort {
            device,
            host: Host::Absent { look_again: now },
            inbox: Vec::new(),
            discarding: false,
            outbox: VecDeque::new(),
            outbox_bytes: 0,
            sent_bytes: 0,
        })
    }

    /// What to wait for, unless the host is absent.
    pub(crate) fn interest(&self) -> Option<(BorrowedFd<'_>, PollFlags)> {
        match self.host {
            Host::Absent { .. } => None,
            Host::Connected if self.outbox.is_empty() => Some((self.device.as_fd(), PollFlags::IN)),
            Host::Connected => Some((self.device.as_fd(), PollFlags::IN | PollFlags::OUT)),
        }
    }

    /// When [`Self::turn`] must be called even if nothing is ready.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        match self.host {
            Host::Absent { look_again } => Some(look_again),
            Host::Connected => None,
        }
    }

    /// Whether there is room for more output of commands.
    pub(crate) fn has_room(&self) -> bool {
        matches!(self.host, Host::Connected) && self.outbox_bytes < OUTBOX_BYTES_MAX
    }

    /// Queues an event; without a host it is dropped.
    pub(crate) fn tell(&mut self, event: &Event<'_>) {
        if let Host::Connected = self.host {
            let line = event.line();
            self.outbox_bytes += line.len();
            self.outbox.push_back(line);
            self.send();
        }
    }

    /// Reads and writes what can be read and written now.
    pub(crate) fn turn(&mut self, now: Instant) -> Vec<Incoming> {
        let mut incoming = Vec::new();
        let hung_up = self.poll_now().contains(PollFlags::HUP);
        match (&self.host, hung_up) {
            (Host::Absent { look_again }, true) => {
                if *look_again <= now {
                    self.host = Host::Absent {
                        look_again: now + ABSENT_INTERVAL,
                    };
                }
                return incoming;
            }
            (Host::Connected, true) => {
                self.host = Host::Absent {
                    look_again: now + ABSENT_INTERVAL,
                };
                self.forget_host();
                return incoming;
            }
            (Host::Absent { .. }, false) => {
                self.host = Host::Connected;
                incoming.push(Incoming::Connected);
            }
            (Host::Connected, false) => {}
        }
        self.receive(&mut incoming);
        self.send();
        incoming
    }

    /// Sends what is queued, for at most `limit`.
    pub(crate) fn flush(&mut self, limit: Duration) {
        let end = Instant::now() + limit;
        self.send();
        while !self.outbox.is_empty() && matches!(self.host, Host::Connected) {
            let Some(left) = end.checked_duration_since(Instant::now()) else {
                return;
            };
            let timeout = Timespec::try_from(left).ok();
            let mut wanted = [PollFd::new(&self.device, PollFlags::OUT)];
            if !matches!(poll(&mut wanted, timeout.as_ref()), Ok(1..))
                || wanted[0].revents().contains(PollFlags::HUP)
            {
                return;
            }
            self.send();
        }
    }

    /// The next host starts at the start of a line, in both directions.
    fn forget_host(&mut self) {
        let mut rest = vec![0; 64 * 1024];
        while matches!(rustix::io::read(&self.device, rest.as_mut_slice()), Ok(1..)) {}
        self.inbox.clear();
        self.discarding = false;
        self.sent_bytes = 0;
    }

    fn poll_now(&self) -> PollFlags {
        let mut wanted = [PollFd::new(&self.device, PollFlags::IN | PollFlags::OUT)];
        let at_once = Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        match poll(&mut wanted, Some(&at_once)) {
            Ok(_) => wanted[0].revents(),
            Err(_) => PollFlags::HUP,
        }
    }

    fn receive(&mut self, incoming: &mut Vec<Incoming>) {
        let mut piece = vec![0; 64 * 1024];
        // Bounded, so that a host that never stops sending cannot hold up the rest of /init.
        for _ in 0..64 {
            match rustix::io::read(&self.device, piece.as_mut_slice()) {
                Ok(length @ 1..) => self.inbox.extend_from_slice(&piece[..length]),
                Err(Errno::INTR) => {}
                Ok(0) | Err(_) => break,
            }
            while let Some(end) = self.inbox.iter().position(|&byte| byte == b'\n') {
                let line: Vec<u8> = self.inbox.drain(..=end).collect();
                if std::mem::take(&mut self.discarding) || line == b"\n" {
                    continue;
                }
                match lab_message::parse(&line) {
                    Ok((id, request)) => incoming.push(Incoming::Request(id, request)),
                    Err((id, reason)) => self.tell(&Event::Refused { id, reason }),
                }
            }
            if self.inbox.len() >= LINE_BYTES_MAX {
                self.inbox.clear();
                if !std::mem::replace(&mut self.discarding, true) {
                    let reason = format!("a line is longer than {LINE_BYTES_MAX} bytes");
                    self.tell(&Event::Refused { id: None, reason });
                }
            }
        }
    }

    /// Writes until the port is full; a write is cut at 32 KiB by the driver.
    fn send(&mut self) {
        while let Some(line) = self.outbox.front() {
            match rustix::io::write(&self.device, &line[self.sent_bytes..]) {
                Ok(length) => self.sent_bytes += length,
                Err(Errno::INTR) => continue,
                Err(_) => return,
            }
            if self.sent_bytes >= line.len() {
                self.outbox_bytes -= line.len();
                self.sent_bytes = 0;
                self.outbox.pop_front();
            }
        }
    }
}
