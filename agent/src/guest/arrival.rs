//! The target's part of a move out: from `Prepare` to `Commit`.
//!
//! A sandbox with an empty guest is made before home stops the process; then the guest is built from what
//! home sends. Until `Commit` home can let the original go on, and does if anything here fails.

use std::time::Duration;

use crate::migrate::cantmove;
use crate::migrate::channel::{Channel, Message};
use crate::migrate::image::Waiting;
use crate::migrate::inject::Scratch;
use crate::sys::probe::Capabilities;
use crate::wire::migration::{Prepare, ToDeputy, ToGuest};
use crate::wire::supervisor::NodeName;

use super::build::{Builder, Built};
use super::clocks;
use super::sandbox::Sandbox;
use super::threads::{
    Completion, FINISHING_CALL, Guest, GuestThread, Journey, PendingCall, ThreadState,
};
use super::trouble::Trouble;

/// How long home may take to stop the process and send it, from `Prepared` to the image.
pub(super) const DEPARTURE_TIMEOUT: Duration = Duration::from_secs(30);

/// Everything from `Prepare` to `Commit`. Whatever fails is told home, which lets the process go on.
pub(super) fn receive_guest(
    channel: &mut Channel,
    prepare: &Prepare,
    capabilities: &Capabilities,
    remote: &NodeName,
) -> Result<(Sandbox, Guest), Trouble> {
    let mut reasons = cantmove::compare_nodes(&prepare.capabilities, capabilities);
    reasons.extend(cantmove::compare_pids(&[prepare.highest_tid], capabilities));
    if !reasons.is_empty() {
        channel.send(&ToDeputy::Refused(reasons), &[])?;
        return Err(Trouble::Protocol(
            "the guest cannot live on this node".to_owned(),
        ));
    }
    match build_guest(channel, prepare) {
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

fn build_guest(channel: &mut Channel, prepare: &Prepare) -> Result<(Sandbox, Guest), Trouble> {
    let sandbox = Sandbox::new(clocks::measure(channel)?)?;
    let leader = sandbox.spawn_guest(prepare.pid)?;
    channel.send(&ToDeputy::Prepared, &[])?;
    let message: Message<ToGuest> = channel.receive(DEPARTURE_TIMEOUT)?;
    let ToGuest::Depart { image, scratch } = message.header else {
        return Err(Trouble::Protocol(
            "home did not send the process".to_owned(),
        ));
    };
    let mut builder = Builder::start(leader, image, scratch, prepare.possible_cpus)?;
    loop {
        let message: Message<ToGuest> = channel.receive(DEPARTURE_TIMEOUT)?;
        match message.header {
            ToGuest::Pages { address, .. } => builder.write_pages(address, &message.payload)?,
            ToGuest::ObjectPages { object, offset, .. } => {
                builder.write_object(object, offset, &message.payload)?;
            }
            ToGuest::PagesEnd { count } if count == builder.pages() => break,
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
    let built = builder.finish()?;
    Ok((sandbox, guest_of(built, scratch)))
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
            thread: built.thread,
            tid: image.tid,
            state,
            signals: std::collections::VecDeque::new(),
            interrupted: None,
            mask_at_home: image.signal_mask,
            knows_all_signals: false,
            is_exiting: false,
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
        signal_actions: built.image.signal_actions,
        vdso: code,
        kernel_ranges,
        is_held: false,
        calls_made: FINISHING_CALL,
        signals_received: 0,
        journey: Journey::None,
    }
}
