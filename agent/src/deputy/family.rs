//! The processes of one supervisor that are away: the one that left home, and those that were forked
//! there. They share a node and a channel to it, and each comes home, ends or is lost by itself.

use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::migrate::channel::Channel;
use crate::sys::ptrace::{self, ThreadId};
use crate::sys::signal;
use crate::sys::wait::{self, Report};
use crate::wire::migration::{ToDeputy, ToGuest};
use crate::wire::supervisor::NodeName;

use super::away::{Away, Fate, Member, Step, Trouble};
use super::departure::MEMORY_CHANGED;
use super::lasting::LastingAnswers;
use super::memory_at_home::PAGES_TIMEOUT;
use super::push::Pusher;
use super::supervisor::TICK;
use super::threads::REST;

/// After this much silence of the remote node home falls silent too, so that the guests' lease
/// ([`crate::guest::supervisor::LEASE`]) runs out while home waits for [`LOST_AFTER`].
const MUTE_AFTER: Duration = Duration::from_secs(3);

/// After this much silence the remote node is lost: longer than [`MUTE_AFTER`] and the lease together.
pub const LOST_AFTER: Duration = Duration::from_secs(10);

/// What has happened to a member.
pub enum Happening {
    /// It was forked by another one.
    Joined(ThreadId),
    /// Its journey is over; it is no member any more.
    Left(Box<Member>, Fate),
}

/// A family.
pub struct Family {
    /// To the remote node.
    pub channel: Channel,
    /// The remote node.
    pub node: NodeName,
    /// Its members.
    pub members: Vec<Member>,
    /// Memory of a member that follows it.
    pub pusher: Option<Pusher>,
    lasting: LastingAnswers,
    /// More may have been received than has been handled.
    has_more: bool,
    happenings: Vec<Happening>,
}

impl Family {
    /// Of one process that has just left.
    pub fn new(channel: Channel, node: NodeName, first: Member) -> Family {
        Family {
            channel,
            node,
            members: vec![first],
            pusher: None,
            lasting: LastingAnswers::default(),
            has_more: false,
            happenings: Vec::new(),
        }
    }

    /// One member, with what all of them share.
    pub fn view(&mut self, index: usize) -> Away<'_> {
        let Member { deputy, progress } = &mut self.members[index];
        Away {
            channel: &mut self.channel,
            node: &self.node,
            deputy,
            progress,
            lasting: &mut self.lasting,
        }
    }

    /// The member with this process or thread id.
    pub fn position(&self, id: ThreadId) -> Option<usize> {
        self.members.iter().position(|member| {
            member.deputy.pid == id || member.deputy.threads.iter().any(|thread| thread.tid == id)
        })
    }

    /// Handles all that the deputies' threads report and the guests' supervisor sends; what has happened
    /// to members by that.
    pub fn advance(&mut self) -> Vec<Happening> {
        let outcome = self
            .on_threads()
            .and_then(|()| self.on_messages())
            .and_then(|()| self.on_names())
            .and_then(|()| self.park_rested())
            .and_then(|()| self.on_pusher());
        if let Err(trouble) = outcome {
            self.lose(&trouble);
        }
        std::mem::take(&mut self.happenings)
    }

    fn park_rested(&mut self) -> Result<(), Trouble> {
        let now = Instant::now();
        for index in (0..self.members.len()).rev() {
            if let Err(error) = self.members[index].deputy.park_rested(now) {
                self.take_step(index, Err(error.into()))?;
            }
        }
        Ok(())
    }

    /// For how long to wait at most before [`Self::advance`].
    pub fn patience(&self) -> Duration {
        let is_resting = self.members.iter().any(|it| it.deputy.has_resting());
        match (self.has_more, is_resting) {
            (true, _) => Duration::ZERO,
            (false, true) => REST,
            (false, false) => TICK,
        }
    }

    /// What to wait for before [`Self::advance`].
    pub fn descriptors(&self) -> Vec<PollFd<'_>> {
        let mut descriptors = vec![PollFd::new(&self.channel, PollFlags::IN)];
        if let Some(pusher) = &self.pusher {
            descriptors.push(PollFd::new(pusher, PollFlags::IN));
        }
        descriptors.extend(self.lasting.descriptors());
        descriptors
    }

    /// Tells the guests at once which answers hold no more: one may ask again and again, and nothing else.
    fn on_names(&mut self) -> Result<(), Trouble> {
        match self.members.is_empty() {
            true => Ok(()),
            false => Ok(self.view(0).tell_changes()?),
        }
    }

    /// Hears whether the memory that follows has been sent.
    fn on_pusher(&mut self) -> Result<(), Trouble> {
        let Some(pusher) = &self.pusher else {
            return Ok(());
        };
        let mut descriptors = [PollFd::new(pusher, PollFlags::IN)];
        if !matches!(poll(&mut descriptors, Some(&Timespec::default())), Ok(1..)) {
            return Ok(());
        }
        let (pid, outcome) = (pusher.pid, pusher.report());
        self.pusher = None;
        match (outcome, self.position(pid)) {
            (Ok(pushed), index) => {
                log::debug!("{} bytes of memory have followed {pid}", pushed.bytes);
                match index.filter(|_| !pushed.is_as_assumed) {
                    Some(index) => self.view(index).recall_for(MEMORY_CHANGED),
                    None => Ok(()),
                }
            }
            (Err(cause), Some(index)) => self.take_step(index, Err(Trouble::GuestLost(cause))),
            (Err(_), None) => Ok(()),
        }
    }

    /// Says that home lives, and looks whether the remote node does.
    pub fn on_tick(&mut self) -> Vec<Happening> {
        self.channel.give_back_room();
        let silence = self.channel.last_heard().elapsed();
        let outcome = if silence > LOST_AFTER {
            Err(Trouble::RemoteSilent)
        } else if silence < MUTE_AFTER {
            let sent = self.channel.send(&ToGuest::Alive, &[]);
            sent.map_err(Trouble::from)
        } else {
            Ok(())
        };
        let outcome = outcome.and_then(|()| self.tell_regulations());
        if let Err(trouble) = outcome {
            self.lose(&trouble);
        }
        std::mem::take(&mut self.happenings)
    }

    fn tell_regulations(&mut self) -> Result<(), Trouble> {
        (0..self.members.len()).try_for_each(|index| self.view(index).tell_regulations())
    }

    /// Calls a member home.
    pub fn recall(&mut self, index: usize) {
        if let Err(trouble) = self.view(index).recall() {
            self.lose(&trouble);
        }
    }

    fn on_threads(&mut self) -> Result<(), Trouble> {
        while let Some((tid, report)) = wait::poll_any()? {
            match self.position(tid) {
                Some(index) => {
                    let step = self.view(index).on_report(tid, report);
                    self.take_step(index, step)?;
                }
                None => leave_to_its_end(tid, report),
            }
        }
        let mut index = 0;
        while index < self.members.len() {
            match self.view(index).take_deferred() {
                Some(message) => {
                    let step = self.view(index).on_message(message);
                    self.take_step(index, step)?;
                }
                None => index += 1,
            }
        }
        Ok(())
    }

    /// Handles messages until there is none, or one took long: with each answer to such the next may be there, and
    /// threads would not be heard for as long as it goes on.
    fn on_messages(&mut self) -> Result<(), Trouble> {
        self.has_more = false;
        while !self.has_more
            && let Some(message) = self.channel.try_receive::<ToDeputy>()?
        {
            let Some(id) = message.header.concerns() else {
                return Err(Trouble::Protocol(format!(
                    "the guests' supervisor sent {:?} out of turn",
                    message.header
                )));
            };
            let is_homecoming = matches!(message.header, ToDeputy::Homecoming { .. });
            self.has_more = matches!(
                message.header,
                ToDeputy::Digests { .. } | ToDeputy::EarlyPages { .. }
            );
            let Some(index) = self.position(id) else {
                // On its way before the guest's supervisor had heard that the process is gone.
                log::debug!("the guest {id} is not away any more");
                if is_homecoming {
                    self.pass_over_pages()?;
                }
                continue;
            };
            let step = self.view(index).on_message(message);
            let has_failed = !matches!(step, Ok(_) | Err(Trouble::Channel(_)));
            // One that fails later, as the process has ended meanwhile, has left none on the way.
            if is_homecoming && has_failed && !self.members[index].progress.has_all_pages {
                self.pass_over_pages()?;
            }
            self.take_step(index, step)?;
        }
        Ok(())
    }

    /// Takes the pages of a homecoming that is none.
    fn pass_over_pages(&mut self) -> Result<(), Trouble> {
        loop {
            let message = self.channel.receive::<ToDeputy>(PAGES_TIMEOUT)?;
            match message.header {
                ToDeputy::Pages { .. } | ToDeputy::ObjectPages { .. } | ToDeputy::Usage { .. } => {}
                ToDeputy::PagesEnd { .. } | ToDeputy::GuestLost { .. } => return Ok(()),
                other => {
                    return Err(Trouble::Protocol(format!(
                        "the guests' supervisor sent {other:?} among pages"
                    )));
                }
            }
        }
    }

    fn take_step(&mut self, index: usize, step: Result<Step, Trouble>) -> Result<(), Trouble> {
        let fate = match step {
            Ok(Step::Continue) => return Ok(()),
            Ok(Step::Forked(child)) => {
                self.happenings.push(Happening::Joined(child.deputy.pid));
                self.members.push(*child);
                return Ok(());
            }
            Ok(Step::End(fate)) => fate,
            Err(Trouble::Executed) => Fate::Executed,
            Err(trouble @ (Trouble::Channel(_) | Trouble::RemoteSilent)) => return Err(trouble),
            Err(trouble) => self.view(index).on_trouble(&trouble),
        };
        let fate = match fate {
            Fate::Executed => self.view(index).finish_exec(),
            other => other,
        };
        let mut sent = Ok(());
        if !matches!(fate, Fate::AtHome(..)) {
            // Of a homecoming the guest's supervisor knows.
            let pid = self.members[index].deputy.pid;
            sent = self.channel.send(&ToGuest::Arrived { pid }, &[]);
        }
        self.leave(index, fate);
        Ok(sent?)
    }

    fn leave(&mut self, index: usize, fate: Fate) {
        let member = self.members.swap_remove(index);
        let pid = member.deputy.pid;
        self.pusher.take_if(|pusher| pusher.pid == pid);
        self.lasting.leave(pid);
        self.happenings
            .push(Happening::Left(Box::new(member), fate));
    }

    /// The remote node is lost to all members.
    fn lose(&mut self, trouble: &Trouble) {
        while !self.members.is_empty() {
            let index = self.members.len() - 1;
            let fate = self.view(index).on_trouble(trouble);
            self.leave(index, fate);
        }
    }
}

impl Away<'_> {
    /// The stop at an exec lies inside the call, whose exit will yet set registers: lets it get there, to
    /// just before the first instruction of the new program.
    fn finish_exec(&mut self) -> Fate {
        let pid = self.deputy.pid;
        // Signals that the guest had not heard are the new program's: exec keeps what is pending.
        for sent in self.progress.unconfirmed.drain(..) {
            let number = sent.info.signal();
            if let Err(error) = signal::send_to_process(pid, number) {
                log::debug!("signal {number} for process {pid} was lost: {error}");
            }
        }
        match ptrace::resume_to_call(pid, 0).and_then(|()| wait::wait_for(pid)) {
            Ok(Report::Stopped(_)) => Fate::Executed,
            Ok(Report::Exited(_) | Report::Killed(_)) | Err(_) => Fate::Ended,
        }
    }
}

/// A thread of a process that was killed, or has become another program: it ends as soon as it runs.
fn leave_to_its_end(tid: ThreadId, report: Report) {
    if let Report::Stopped(stop) = report {
        log::debug!("thread {tid} of no deputy stops ({stop:?})");
        if let Err(error) = ptrace::resume(tid, 0) {
            log::debug!("and has ended: {error}");
        }
    }
}
