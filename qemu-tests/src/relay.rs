//! The relay: many clients share the one connection that a virtual machine's lab port has.
//!
//! QEMU connects to the daemon when it starts, and each client (a `lab exec`, a test) connects to the
//! daemon as well. Requests get numbers of the relay's own on their way to the machine, and answers
//! their client's number back. What a client still runs when it goes away is hung up (SIGHUP), as a
//! terminal would do. The protocol is that of [`crate::lab_port`].

use std::collections::BTreeMap;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use rustix::event::epoll::{self, EventFlags};
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::error::LabError;
use crate::fabric::{Source, watch};
use crate::lines::LineLink;

/// Longest line of the protocol.
const LINE_BYTES_MAX: usize = 1 << 20;

/// Bytes that wait for a client or a machine before the conversation is ended.
const WAITING_BYTES_MAX: usize = 64 << 20;

/// Whose a request is.
#[derive(Clone, Debug, PartialEq)]
struct Pending {
    client: u32,
    id: Value,
    is_command: bool,
}

/// Which answer goes to whom.
#[derive(Debug, Default)]
struct Routes {
    pending: BTreeMap<u64, Pending>,
    next_id: u64,
}

impl Routes {
    /// A client's request as it goes to the machine; `None` when it is none.
    fn outward(&mut self, client: u32, line: &[u8]) -> Option<Value> {
        let mut request: Value = serde_json::from_slice(line).ok().filter(Value::is_object)?;
        let id = request["id"].take();
        let about = |pending: &Pending| pending.client == client && pending.id == id;
        if request.get("signal").is_some() {
            let (number, _) = self.pending.iter().find(|(_, pending)| about(pending))?;
            request["id"] = (*number).into();
            return Some(request);
        }
        self.next_id += 1;
        let is_command = request.get("argv").is_some();
        self.pending.insert(
            self.next_id,
            Pending {
                client,
                id,
                is_command,
            },
        );
        request["id"] = self.next_id.into();
        Some(request)
    }

    /// A machine's answer as it goes to a client; `None` when it is nobody's.
    fn homeward(&mut self, line: &[u8]) -> Option<(u32, Value)> {
        let mut answer: Value = serde_json::from_slice(line).ok()?;
        let number = answer["id"].as_u64()?;
        let Pending { client, id, .. } = self.pending.get(&number)?.clone();
        if matches!(answer["event"].as_str(), Some("ended" | "done" | "refused")) {
            self.pending.remove(&number);
        }
        answer["id"] = id;
        Some((client, answer))
    }

    /// Forgets a client; what it still runs.
    fn forget(&mut self, client: u32) -> Vec<u64> {
        let running = self.pending.iter();
        let running = running.filter(|(_, one)| one.client == client && one.is_command);
        let running = running.map(|(number, _)| *number).collect();
        self.pending.retain(|_, pending| pending.client != client);
        running
    }
}

/// The relay of one virtual machine.
#[derive(Debug)]
pub struct Relay {
    node: u32,
    for_machine: UnixListener,
    for_clients: UnixListener,
    machine: Option<LineLink>,
    /// Requests from before the machine's start.
    early: Vec<Value>,
    clients: BTreeMap<u32, LineLink>,
    routes: Routes,
}

/// The sockets of a relay.
#[derive(Clone, Debug)]
pub struct RelaySockets {
    /// Where QEMU connects.
    pub for_machine: PathBuf,
    /// Where clients connect.
    pub for_clients: PathBuf,
}

impl Relay {
    /// Listens at both sockets, for the node with this index.
    pub fn make(epoll: &OwnedFd, node: u32, sockets: &RelaySockets) -> Result<Self, LabError> {
        let for_machine = listen(epoll, &sockets.for_machine, Source::MachineListener(node))?;
        let for_clients = listen(epoll, &sockets.for_clients, Source::RelayListener(node))?;
        let (machine, early, clients) = (None, Vec::new(), BTreeMap::new());
        let routes = Routes::default();
        Ok(Self {
            node,
            for_machine,
            for_clients,
            machine,
            early,
            clients,
            routes,
        })
    }

    /// Whether this client is one of its own.
    pub fn has_client(&self, client: u32) -> bool {
        self.clients.contains_key(&client)
    }

    /// The machine starts: takes it and tells it what was asked before.
    pub fn accept_machine(&mut self, epoll: &OwnedFd) -> io::Result<()> {
        let (stream, _) = self.for_machine.accept()?;
        watch(epoll, &stream, Source::Machine(self.node))?;
        self.machine = Some(LineLink::new(stream, LINE_BYTES_MAX, WAITING_BYTES_MAX)?);
        for request in std::mem::take(&mut self.early) {
            self.ask_machine(epoll, request);
        }
        Ok(())
    }

    /// A client comes, and is called by this number from now on.
    pub fn accept_client(&mut self, epoll: &OwnedFd, client: u32) -> io::Result<()> {
        let (stream, _) = self.for_clients.accept()?;
        watch(epoll, &stream, Source::RelayClient(client))?;
        self.clients.insert(
            client,
            LineLink::new(stream, LINE_BYTES_MAX, WAITING_BYTES_MAX)?,
        );
        Ok(())
    }

    /// The machine said something, or takes more.
    pub fn serve_machine(&mut self, epoll: &OwnedFd, flags: EventFlags) {
        let Some(machine) = &mut self.machine else {
            return;
        };
        let token = Source::Machine(self.node);
        let lines = match serve(machine, epoll, token, flags) {
            Ok(lines) => lines,
            Err(_) => {
                // It is off: nobody will be answered.
                self.machine = None;
                self.clients.clear();
                self.routes.pending.clear();
                return;
            }
        };
        for line in lines {
            let Some((client, answer)) = self.routes.homeward(&line) else {
                continue;
            };
            let Some(link) = self.clients.get_mut(&client) else {
                continue;
            };
            if send(link, epoll, Source::RelayClient(client), &answer).is_err() {
                self.drop_client(epoll, client);
            }
        }
    }

    /// A client said something, or takes more.
    pub fn serve_client(&mut self, epoll: &OwnedFd, client: u32, flags: EventFlags) {
        let Some(link) = self.clients.get_mut(&client) else {
            return;
        };
        let Ok(lines) = serve(link, epoll, Source::RelayClient(client), flags) else {
            return self.drop_client(epoll, client);
        };
        for line in lines {
            match self.routes.outward(client, &line) {
                Some(request) => self.ask_machine(epoll, request),
                None => return self.drop_client(epoll, client),
            }
        }
    }

    fn drop_client(&mut self, epoll: &OwnedFd, client: u32) {
        self.clients.remove(&client);
        for number in self.routes.forget(client) {
            self.ask_machine(
                epoll,
                json!({ "id": number, "signal": Signal::HUP.as_raw() }),
            );
        }
    }

    fn ask_machine(&mut self, epoll: &OwnedFd, request: Value) {
        match &mut self.machine {
            // Should this fail, the machine is off, which its own event will tell.
            Some(machine) => {
                let _ = send(machine, epoll, Source::Machine(self.node), &request);
            }
            None => self.early.push(request),
        }
    }
}

fn listen(epoll: &OwnedFd, path: &Path, source: Source) -> Result<UnixListener, LabError> {
    let bind = || {
        // Left from before the machine was killed.
        let _ = std::fs::remove_file(path);
        let listener = UnixListener::bind(path)?;
        watch(epoll, &listener, source)?;
        Ok::<_, io::Error>(listener)
    };
    bind().map_err(LabError::doing(format!("listen at {}", path.display())))
}

fn serve(
    link: &mut LineLink,
    epoll: &OwnedFd,
    source: Source,
    flags: EventFlags,
) -> io::Result<Vec<Vec<u8>>> {
    if flags.contains(EventFlags::OUT) {
        link.send_waiting()?;
        listen_for_room(link, epoll, source)?;
    }
    link.read_lines()
}

fn send(link: &mut LineLink, epoll: &OwnedFd, source: Source, message: &Value) -> io::Result<()> {
    link.send_line(message.to_string().as_bytes())?;
    listen_for_room(link, epoll, source)
}

fn listen_for_room(link: &LineLink, epoll: &OwnedFd, source: Source) -> io::Result<()> {
    let room = if link.is_waiting() {
        EventFlags::OUT
    } else {
        EventFlags::empty()
    };
    Ok(epoll::modify(
        epoll,
        link.stream(),
        source.token(),
        EventFlags::IN | room,
    )?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_clients_with_the_same_number_get_their_own_answers() {
        let mut routes = Routes::default();
        let one = routes.outward(1, br#"{"id":7,"argv":["a"]}"#).unwrap();
        let other = routes.outward(2, br#"{"id":7,"argv":["b"]}"#).unwrap();
        assert_ne!(one["id"], other["id"]);
        let line = json!({ "id": other["id"], "event": "ended", "exit": 0 }).to_string();
        let (client, answer) = routes.homeward(line.as_bytes()).unwrap();
        assert_eq!((client, &answer["id"]), (2, &7.into()));
        assert_eq!(routes.homeward(line.as_bytes()), None, "it has ended");
    }

    #[test]
    fn a_signal_goes_to_the_command_of_its_client() {
        let mut routes = Routes::default();
        routes.outward(1, br#"{"id":7,"argv":["a"]}"#).unwrap();
        let command = routes.outward(2, br#"{"id":7,"argv":["b"]}"#).unwrap();
        let signal = routes.outward(2, br#"{"id":7,"signal":2}"#).unwrap();
        assert_eq!(signal, json!({ "id": command["id"], "signal": 2 }));
        assert_eq!(routes.outward(2, br#"{"id":8,"signal":2}"#), None);
    }

    #[test]
    fn what_a_client_still_runs_is_known_when_it_goes() {
        let mut routes = Routes::default();
        let command = routes.outward(1, br#"{"id":1,"argv":["a"]}"#).unwrap();
        routes
            .outward(1, br#"{"id":2,"write":"/x","hex":""}"#)
            .unwrap();
        routes.outward(2, br#"{"id":1,"argv":["a"]}"#).unwrap();
        assert_eq!(routes.forget(1), [command["id"].as_u64().unwrap()]);
        assert_eq!(routes.pending.len(), 1);
    }

    #[test]
    fn what_is_no_request_or_nobody_s_answer_is_not_passed_on() {
        let mut routes = Routes::default();
        assert_eq!(routes.outward(1, b"[]"), None);
        assert_eq!(routes.outward(1, b"\xff"), None);
        assert_eq!(routes.homeward(br#"{"event":"booted"}"#), None);
        assert_eq!(routes.homeward(br#"{"id":3,"event":"ended"}"#), None);
        assert_eq!(routes.homeward(b"est of a line"), None);
    }
}
