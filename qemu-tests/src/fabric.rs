//! The switch at work: reads frames from ports, lets [`crate::switch`] decide, holds back what is
//! delayed, and hands the rest on.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::epoll::{self, EventData, EventFlags};

use crate::error::LabError;
use crate::faults::Faults;
use crate::ports::{Progress, StreamPort, TapPort};
use crate::stream::FRAME_BYTES_MAX;
use crate::switch::{Delivery, PortId, Switch};

/// Frames taken from one port before the others get their turn.
const FRAMES_PER_TURN: usize = 64;

/// Most bytes that are held back by a delay; beyond it frames are dropped, as in a real queue.
const HELD_BYTES_MAX: usize = 64 << 20;

/// What an event of the daemon's epoll descriptor is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The control socket.
    Control,
    /// A connection to the control socket.
    Client(u32),
    /// A node's agent or virtual machine ended.
    NodeProcess(u32),
    /// The lab's owner ended.
    Owner,
    /// A virtual machine connects.
    Listener(PortId),
    /// A TAP device or a virtual machine's connection.
    Port(PortId),
    /// A virtual machine's lab port is connected.
    MachineListener(u32),
    /// A virtual machine says something on its lab port.
    Machine(u32),
    /// Somebody wants to use a virtual machine's lab port.
    RelayListener(u32),
    /// Somebody who uses a virtual machine's lab port says something.
    RelayClient(u32),
}

impl Source {
    /// As the kernel keeps it for us.
    pub fn token(self) -> EventData {
        let (kind, number) = match self {
            Self::Control => (0, 0),
            Self::Client(number) => (1, number),
            Self::NodeProcess(number) => (2, number),
            Self::Owner => (3, 0),
            Self::Listener(port) => (4, port.0),
            Self::Port(port) => (5, port.0),
            Self::MachineListener(node) => (6, node),
            Self::Machine(node) => (7, node),
            Self::RelayListener(node) => (8, node),
            Self::RelayClient(number) => (9, number),
        };
        EventData::new_u64(kind << 32 | u64::from(number))
    }

    /// The reverse of [`Source::token`].
    pub fn from_token(token: EventData) -> Option<Self> {
        let number = token.u64() as u32;
        match token.u64() >> 32 {
            0 => Some(Self::Control),
            1 => Some(Self::Client(number)),
            2 => Some(Self::NodeProcess(number)),
            3 => Some(Self::Owner),
            4 => Some(Self::Listener(PortId(number))),
            5 => Some(Self::Port(PortId(number))),
            6 => Some(Self::MachineListener(number)),
            7 => Some(Self::Machine(number)),
            8 => Some(Self::RelayListener(number)),
            9 => Some(Self::RelayClient(number)),
            _ => None,
        }
    }
}

/// A port of either kind.
#[derive(Debug)]
pub enum Port {
    /// Of a namespace node.
    Tap(TapPort),
    /// Of a virtual machine.
    Stream(StreamPort),
    /// Of a namespace node of a fast lab: the kernel's bridge carries its frames, not this switch.
    Veth,
}

/// A frame that is held back; the order is that of `due`, then of arrival.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Held {
    due: Instant,
    sequence: u64,
    port: u32,
    frame: Vec<u8>,
}

/// The switch with its ports.
#[derive(Debug)]
pub struct Fabric {
    /// The decisions.
    pub switch: Switch,
    ports: BTreeMap<PortId, Port>,
    held: BinaryHeap<Reverse<Held>>,
    held_bytes: usize,
    sequence: u64,
    buffer: Vec<u8>,
    deliveries: Vec<Delivery>,
}

impl Fabric {
    /// A perfect switch without ports whose later chances follow from `seed`.
    pub fn new(seed: u64) -> Self {
        Self {
            switch: Switch::new(Faults::none(seed)),
            ports: BTreeMap::new(),
            held: BinaryHeap::new(),
            held_bytes: 0,
            sequence: 0,
            buffer: vec![0; FRAME_BYTES_MAX],
            deliveries: Vec::new(),
        }
    }

    /// Adds a port and listens for its events.
    pub fn plug(&mut self, epoll: &OwnedFd, id: PortId, port: Port) -> Result<(), LabError> {
        let watched = match &port {
            Port::Tap(tap) => watch(epoll, tap, Source::Port(id)),
            Port::Stream(stream) => watch(epoll, stream.listener(), Source::Listener(id)),
            Port::Veth => Ok(()),
        };
        watched.map_err(LabError::doing("listen for a port's events"))?;
        self.ports.insert(id, port);
        self.switch.plug(id);
        Ok(())
    }

    /// Removes a port; frames that are still held back for it will not arrive.
    pub fn unplug(&mut self, id: PortId) {
        // Closing the last descriptor of a file removes it from the epoll set (epoll(7)).
        self.ports.remove(&id);
        self.switch.unplug(id);
    }

    /// Whether a port is plugged in.
    pub fn is_plugged(&self, id: PortId) -> bool {
        self.ports.contains_key(&id)
    }

    /// A virtual machine connects.
    pub fn accept(&mut self, epoll: &OwnedFd, id: PortId) -> io::Result<()> {
        if let Some(Port::Stream(port)) = self.ports.get_mut(&id)
            && let Some(stream) = port.accept()?
        {
            watch(epoll, stream, Source::Port(id))?;
        }
        Ok(())
    }

    /// A port has frames, or takes them again. One that fails is unplugged.
    pub fn serve(&mut self, epoll: &OwnedFd, id: PortId, flags: EventFlags) {
        // Both are taken out so that this port can be read while the others are written.
        let Some(mut port) = self.ports.remove(&id) else {
            return;
        };
        let mut buffer = std::mem::take(&mut self.buffer);
        let served = match &mut port {
            Port::Tap(tap) => self.serve_tap(epoll, id, tap, &mut buffer),
            Port::Stream(stream) => self.serve_stream(epoll, id, stream, flags, &mut buffer),
            Port::Veth => Ok(()),
        };
        self.buffer = buffer;
        match served {
            Ok(()) => {
                self.ports.insert(id, port);
            }
            Err(error) => {
                eprintln!("port {}: {error}; unplugged", id.0);
                self.switch.unplug(id);
            }
        }
    }

    fn serve_tap(
        &mut self,
        epoll: &OwnedFd,
        id: PortId,
        tap: &mut TapPort,
        buffer: &mut [u8],
    ) -> io::Result<()> {
        for _ in 0..FRAMES_PER_TURN {
            let Some(length) = tap.read_frame(buffer)? else {
                break;
            };
            self.forward(epoll, id, &buffer[..length])?;
        }
        Ok(())
    }

    fn serve_stream(
        &mut self,
        epoll: &OwnedFd,
        id: PortId,
        stream: &mut StreamPort,
        flags: EventFlags,
        buffer: &mut [u8],
    ) -> io::Result<()> {
        if flags.contains(EventFlags::OUT) {
            stream.send_waiting();
        }
        let mut forwarded = Ok(());
        stream.read_frames(buffer, |frame| {
            if forwarded.is_ok() {
                forwarded = self.forward(epoll, id, frame);
            }
        });
        forwarded.and_then(|()| interest(epoll, id, stream))
    }

    fn forward(&mut self, epoll: &OwnedFd, from: PortId, frame: &[u8]) -> io::Result<()> {
        let mut deliveries = std::mem::take(&mut self.deliveries);
        self.switch.forward(from, frame, &mut deliveries);
        for Delivery { port, delay } in deliveries.drain(..) {
            if delay.is_zero() {
                self.send(epoll, port, frame)?;
            } else {
                self.hold(port, delay, frame);
            }
        }
        self.deliveries = deliveries;
        Ok(())
    }

    fn hold(&mut self, port: PortId, delay: Duration, frame: &[u8]) {
        if self.held_bytes + frame.len() > HELD_BYTES_MAX {
            return;
        }
        self.held_bytes += frame.len();
        self.sequence += 1;
        let due = Instant::now() + delay;
        let (sequence, port, frame) = (self.sequence, port.0, frame.to_vec());
        self.held.push(Reverse(Held {
            due,
            sequence,
            port,
            frame,
        }));
    }

    fn send(&mut self, epoll: &OwnedFd, port: PortId, frame: &[u8]) -> io::Result<()> {
        match self.ports.get_mut(&port) {
            Some(Port::Tap(tap)) => tap.send(frame),
            Some(Port::Stream(stream)) => {
                let waited = stream.is_waiting();
                if stream.send(frame) == Progress::Open && stream.is_waiting() != waited {
                    interest(epoll, port, stream)?;
                }
            }
            // Unplugged while the frame was on its way.
            Some(Port::Veth) | None => {}
        }
        Ok(())
    }

    /// How long until the next frame that is held back is due.
    pub fn next_due(&self, now: Instant) -> Option<Duration> {
        self.held
            .peek()
            .map(|Reverse(held)| held.due.saturating_duration_since(now))
    }

    /// Sends what is due.
    pub fn send_due(&mut self, epoll: &OwnedFd, now: Instant) -> io::Result<()> {
        while self
            .held
            .peek()
            .is_some_and(|Reverse(held)| held.due <= now)
        {
            if let Some(Reverse(held)) = self.held.pop() {
                self.held_bytes -= held.frame.len();
                self.send(epoll, PortId(held.port), &held.frame)?;
            }
        }
        Ok(())
    }
}

/// Listens for input on a descriptor.
pub fn watch(epoll: &OwnedFd, descriptor: impl AsFd, source: Source) -> io::Result<()> {
    Ok(epoll::add(
        epoll,
        descriptor,
        source.token(),
        EventFlags::IN,
    )?)
}

/// Listens for room in a virtual machine's socket as long as something waits for it.
fn interest(epoll: &OwnedFd, id: PortId, port: &StreamPort) -> io::Result<()> {
    let Some(stream) = port.stream() else {
        return Ok(());
    };
    let room = if port.is_waiting() {
        EventFlags::OUT
    } else {
        EventFlags::empty()
    };
    Ok(epoll::modify(
        epoll,
        stream,
        Source::Port(id).token(),
        EventFlags::IN | room,
    )?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_leads_back_to_its_source() {
        let sources = [
            Source::Control,
            Source::Client(u32::MAX),
            Source::NodeProcess(3),
            Source::Owner,
            Source::Listener(PortId(7)),
            Source::Port(PortId(u32::MAX)),
            Source::MachineListener(1),
            Source::Machine(2),
            Source::RelayListener(3),
            Source::RelayClient(u32::MAX),
        ];
        for source in sources {
            assert_eq!(Source::from_token(source.token()), Some(source));
        }
    }

    #[test]
    fn frames_that_are_held_back_leave_in_the_order_of_their_time_and_then_of_arrival() {
        let mut fabric = Fabric::new(1);
        fabric.hold(PortId(1), Duration::from_secs(60), b"late");
        fabric.hold(PortId(1), Duration::from_secs(10), b"early");
        fabric.hold(PortId(1), Duration::from_secs(60), b"later");
        let mut order = Vec::new();
        while let Some(Reverse(held)) = fabric.held.pop() {
            order.push(held.frame);
        }
        assert_eq!(order, [&b"early"[..], b"late", b"later"]);
    }
}
