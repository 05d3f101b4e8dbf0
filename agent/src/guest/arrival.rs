//! The target's part of a move out: from `Prepare` to `Commit`.
//!
//! A sandbox with an empty guest is made before home stops the process; then the guest is built from what
//! home sends. Until `Commit` home can let the original go on, and does if anything here fails.

use std::ops::Range;
use std::time::Duration;

use crate::migrate::asleep;
use crate::migrate::cantmove;
use crate::migrate::channel::{Channel, Message};
use crate::migrate::image::Waiting;
use crate::migrate::inject::Scratch;
use crate::migrate::link::AgentLink;
use crate::migrate::piece_store::PieceStore;
use crate::sys::probe::Capabilities;
use crate::sys::ptrace::{self, ThreadId};
use crate::wire::migration::{Prepare, ToDeputy, ToGuest};
use crate::wire::supervisor::NodeName;

use super::build::{Builder, Built, BuiltThread};
use super::clocks::{self, ClockOffsets};
use super::lasting::LastingAnswers;
use super::later::Later;
use super::pager::Pager;
use super::sandbox::{EmptyGuest, Sandbox};
use super::threads::{
    Completion, FINISHING_CALL, Guest, GuestThread, Journey, PendingCall, ThreadState,
};
use super::trouble::Trouble;

/// How long home may take to stop the process and send it, from `Prepared` to the image.
pub(super) const DEPARTURE_TIMEOUT: Duration = Duration::from_secs(30);

/// Everything from `Prepare` to `Commit`. Whatever fails is told home, which lets the process go on.
pub(super) fn receive_guest(
    channel: &mut Channel,
    link: &mut AgentLink,
    prepare: &Prepare,
    capabilities: &Capabilities,
    remote: &NodeName,
    pieces: PieceStore,
) -> Result<Arrived, Trouble> {
    let mut reasons = cantmove::compare_nodes(&prepare.capabilities, capabilities);
    reasons.extend(cantmove::compare_pids(&[prepare.highest_tid], capabilities));
    if !reasons.is_empty() {
        channel.send(&ToDeputy::Refused(reasons), &[])?;
        return Err(Trouble::Protocol(
            "the guest cannot live on this node".to_owned(),
        ));
    }
    match build_guest(channel, link, prepare, pieces) {
        Ok(built) => {
            channel.send(&ToDeputy::Restored, &[])?;
            match channel.receive::<ToGuest>(DEPARTURE_TIMEOUT)?.header {
                ToGuest::Commit => Ok(built),
                other => Err(Trouble::Protocol(format!(
                    "home sent {other:?} in place of Commit"
                ))),
            }
        }
        Err(trouble) => {
            let text = format!("{}: {trouble}", remote.name);
            // If home cannot be told it will find out by itself: the channel closes.
            let _ = channel.send(&ToDeputy::Failed(text), &[]);
            Err(trouble)
        }
    }
}

/// A complete guest that has not begun to run.
pub(super) struct Arrived {
    pub(super) sandbox: Sandbox,
    pub(super) guest: Guest,
    /// What fills its memory while it runs.
    pub(super) pager: Option<Pager>,
}

fn build_guest(
    channel: &mut Channel,
    link: &mut AgentLink,
    prepare: &Prepare,
    pieces: PieceStore,
) -> Result<Arrived, Trouble> {
    // Before the sandbox: a child made later would be in its pid namespace.
    let pager = Pager::start()?;
    let sandbox = Sandbox::new(clocks::measure(channel)?)?;
    let EmptyGuest {
        leader,
        missing,
        written,
    } = sandbox.spawn_guest(prepare.pid)?;
    let later = missing.map(|userfaultfd| Later { pager, userfaultfd });
    let takes_pages_later = later.is_some();
    let digests = pieces.digests();
    channel.store_pieces(pieces);
    channel.send(&ToDeputy::Prepared { takes_pages_later }, &digests)?;
    let (draft, message) = receive_draft(channel, leader, prepare)?;
    let ToGuest::Depart {
        image,
        scratch,
        later: ranges,
    } = message
    else {
        return Err(Trouble::Protocol(
            "home did not send the process".to_owned(),
        ));
    };
    let image_ranges: Vec<Range<u64>> = image
        .mappings
        .iter()
        .map(|mapping| mapping.start..mapping.end)
        .collect();
    let mut builder = match draft {
        Some(mut builder) => {
            builder.revise(image, scratch)?;
            builder
        }
        None => Builder::start(leader, image, scratch, prepare.possible_cpus)?,
    };
    receive_contents(channel, &mut builder)?;
    if !are_in_memory(&image_ranges, &ranges) {
        return Err(Trouble::Protocol(
            "home sends memory later that the process does not have".to_owned(),
        ));
    }
    let mut built = builder.finish()?;
    if ranges.is_empty() {
        // Else they begin anew: what they wait for may be in memory that is not here yet.
        continue_waits(&mut built, &scratch, sandbox.offsets)?;
    }
    let sent = std::mem::take(&mut built.sent);
    let mut guest = guest_of(built, scratch);
    let to_come: Vec<Range<u64>> = ranges.iter().map(|&(start, end)| start..end).collect();
    let pager = match later {
        _ if ranges.is_empty() => None,
        Some(later) => Some(later.begin(link, &guest, &sent, &to_come)?),
        None => {
            return Err(Trouble::Protocol(
                "home sends memory later than this node can take it".to_owned(),
            ));
        }
    };
    guest.memory_follows = pager.is_some();
    guest.written = written;
    Ok(Arrived {
        sandbox,
        guest,
        pager,
    })
}

/// Takes the draft if home sends one; the guest so far, and what home has sent then.
fn receive_draft(
    channel: &mut Channel,
    leader: ThreadId,
    prepare: &Prepare,
) -> Result<(Option<Builder>, ToGuest), Trouble> {
    let message = channel.receive::<ToGuest>(DEPARTURE_TIMEOUT)?.header;
    let ToGuest::Draft { image, scratch } = message else {
        return Ok((None, message));
    };
    let mut builder = Builder::start(leader, image, scratch, prepare.possible_cpus)?;
    receive_contents(channel, &mut builder)?;
    channel.send(&ToDeputy::Drafted, &[])?;
    let message = channel.receive(DEPARTURE_TIMEOUT)?;
    Ok((Some(builder), message.header))
}

/// Puts pages and contents of objects in place, up to `PagesEnd`.
fn receive_contents(channel: &mut Channel, builder: &mut Builder) -> Result<(), Trouble> {
    loop {
        let message: Message<ToGuest> = channel.receive(DEPARTURE_TIMEOUT)?;
        match message.header {
            ToGuest::Pages { address, .. } => builder.write_pages(address, &message.payload)?,
            ToGuest::ObjectPages { object, offset, .. } => {
                builder.write_object(object, offset, &message.payload)?;
            }
            ToGuest::PagesEnd { count } if count == builder.pages() => return Ok(()),
            ToGuest::PagesEnd { .. } => {
                return Err(Trouble::Protocol("pages were lost on their way".to_owned()));
            }
            other => {
                return Err(Trouble::Protocol(format!(
                    "home sent {other:?} in place of pages"
                )));
            }
        }
    }
}

/// Whether every one of `ranges` lies in one of the ascending `mappings`.
fn are_in_memory(mappings: &[Range<u64>], ranges: &[(u64, u64)]) -> bool {
    ranges.iter().all(|&(start, end)| {
        let index = mappings.partition_point(|mapping| mapping.end <= start);
        mappings
            .get(index)
            .is_some_and(|mapping| mapping.start <= start && start < end && end <= mapping.end)
    })
}

/// What a thread waits for in this node's own kernel goes on for the time that remains.
fn continue_waits(
    built: &mut Built,
    scratch: &Scratch,
    offsets: ClockOffsets,
) -> Result<(), Trouble> {
    for BuiltThread { thread, image } in &mut built.threads {
        if let Waiting::Since { began_ns } = image.waiting {
            let began_here_ns = began_ns.saturating_add_signed(-offsets.monotonic_ns);
            let elapsed = asleep::since(began_here_ns);
            let (memory, registers) = (&built.memory, &mut image.registers);
            asleep::continue_futex(*thread, scratch, memory, registers, elapsed)?;
            ptrace::set_registers(*thread, registers)?;
        }
    }
    Ok(())
}

fn guest_of(built: Built, scratch: Scratch) -> Guest {
    let vdso = built.image.vdso;
    let code = vdso.start..vdso.start + vdso.code.len() as u64;
    let mut kernel_ranges: Vec<_> = vdso.data.iter().map(|&(start, end)| start..end).collect();
    kernel_ranges.push(code.start..code.end);
    let threads = built.threads.into_iter().map(|built| {
        let image = built.image;
        let state = match image.waiting {
            Waiting::ForHome => ThreadState::AwaitingReturn(Box::new(PendingCall {
                call: FINISHING_CALL,
                number: image.registers.orig_rax,
                plan: None,
                completion: Completion::Result,
                done: 0,
            })),
            _ => ThreadState::Held,
        };
        GuestThread {
            state,
            waits_since_ns: match image.waiting {
                Waiting::Since { began_ns } => Some(began_ns),
                _ => None,
            },
            ..GuestThread::new(built.thread, image.tid, image.signal_mask)
        }
    });
    let threads: Vec<GuestThread> = threads.collect();
    Guest {
        pid: built.image.pid,
        leader: threads[0].thread,
        threads,
        memory: built.memory,
        files: built.files,
        advice_refused: built.advice_refused,
        scratch,
        used_cpu_seconds: built.image.used_cpu_seconds,
        possible_cpus: built.possible_cpus,
        signal_actions: built.image.signal_actions,
        vdso: code,
        kernel_ranges,
        is_held: false,
        calls_made: FINISHING_CALL,
        lasting: LastingAnswers::default(),
        ahead: None,
        signals_received: 0,
        journey: Journey::None,
        memory_follows: false,
        written: None,
        returning: None,
        goes_after: None,
    }
}
