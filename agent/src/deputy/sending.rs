//! Capturing a stopped process and sending it: its image, and what of its memory cannot follow.

use crate::migrate::attributes::{self, ANSWER_BYTES};
use crate::migrate::capture::{self, CaptureError, Known, ThreadToCapture};
use crate::migrate::channel::Channel;
use crate::migrate::image::{MappingImage, ProcessImage, ThreadImage};
use crate::migrate::inject::{Scratch, TOGETHER_MAX, Task};
use crate::migrate::objects::{Parts, Sources};
use crate::migrate::page_stream::PageStream;
use crate::migrate::pages::{self, PageMap};
use crate::migrate::pieces;
use crate::migrate::process_memory::ProcessMemory;
use crate::migrate::resource_limits::{Limits, used_cpu_seconds};
use crate::migrate::scheduling::Scheduling;
use crate::sys::ptrace::ThreadId;
use crate::wire::migration::{ToDeputy, ToGuest};

use super::departure::{DepartureError, expect};
use super::draft::{Assumed, Draft};
use super::objects::DeputyObjects;
use super::parting::Parting;
use super::push::Pusher;
use super::scratch::DeputyScratch;

/// What has been sent.
pub(super) struct Sent {
    pub(super) image: ProcessImage,
    pub(super) objects: DeputyObjects,
    /// Who sends what goes later.
    pub(super) pusher: Option<Pusher>,
}

/// What sending a stopped process needs.
pub(super) struct Leaver<'a> {
    pub(super) channel: &'a mut Channel,
    pub(super) draft: Option<&'a mut Draft>,
    pub(super) known: &'a Known,
    pub(super) memory: &'a ProcessMemory,
    pub(super) scratch: &'a DeputyScratch,
}

impl Leaver<'_> {
    pub(super) fn capture_and_send(
        &mut self,
        page_stream: Option<PageStream>,
        threads: &[ThreadToCapture],
        images: Vec<ThreadImage>,
    ) -> Result<Sent, DepartureError> {
        let (memory, scratch) = (self.memory, &self.scratch.shared);
        let mut objects = match &mut self.draft {
            Some(draft) => draft.take_objects()?,
            None => DeputyObjects::default(),
        };
        let mut numbering = objects.numbering();
        let mut image =
            capture::capture_process(threads, images, memory, scratch, self.known, &mut numbering)?;
        // The slots are no part of the program either.
        let area = self.scratch.range();
        image
            .mappings
            .retain(|mapping| !area.contains(&mapping.start));
        let sources = Sources::open(image.pid, &image.mappings, &self.known.details)?;
        image.objects = sources.images.clone();
        image.limits = Limits::of(image.pid)?;
        image.used_cpu_seconds = used_cpu_seconds(image.pid)?;
        for thread in &mut image.threads {
            thread.scheduling = Scheduling::of(thread.tid)?;
        }
        read_attributes(&mut image.threads, memory, scratch)?;
        let regions = pages::regions(&image.mappings, &self.known.details);
        let parting = Parting::of(regions, &image, page_stream.is_some());
        let header = ToGuest::Depart {
            image: Box::new(image.clone()),
            scratch: *scratch,
            later: parting.later_pairs(),
        };
        self.channel.send(&header, &[])?;
        self.send_contents(&image, &sources, &parting)?;
        expect(self.channel, |message| {
            matches!(message, ToDeputy::Restored).then_some(())
        })?;
        let assumed = self.draft.is_some().then(|| Assumed::of(self.known));
        let pusher = page_stream
            .filter(|_| !parting.later.is_empty())
            .map(|stream| Pusher::start(image.pid, stream, &parting.later, assumed))
            .transpose()?;
        Ok(Sent {
            image,
            objects,
            pusher,
        })
    }

    /// What goes first of the memory, but for what the remote node has already.
    fn send_contents(
        &mut self,
        image: &ProcessImage,
        sources: &Sources,
        parting: &Parting,
    ) -> Result<(), DepartureError> {
        let (pid, memory) = (image.pid, self.memory);
        let sent = self.draft.as_ref().map(|draft| draft.sent_parts());
        let sent = sent.unwrap_or_default();
        let channel = &mut *self.channel;
        let mut count = send_objects(channel, pid, sources, &image.mappings, memory, &sent)?;
        let page_map = PageMap::open(pid)?;
        count += pages::for_each_run(&parting.now, memory, &page_map, |address, contents| {
            channel
                .send_with_next(&ToGuest::Pages { pid, address }, contents)
                .map_err(DepartureError::from)
        })?;
        Ok(channel.send(&ToGuest::PagesEnd { count }, &[])?)
    }
}

/// Sends what `mappings` show of objects, but for what has been `sent`; returns the number of pages.
pub(super) fn send_objects(
    channel: &mut Channel,
    pid: ThreadId,
    sources: &Sources,
    mappings: &[MappingImage],
    memory: &ProcessMemory,
    sent: &Parts,
) -> Result<u64, DepartureError> {
    sources.send_all(mappings, memory, false, sent, |object, offset, contents| {
        let header = ToGuest::ObjectPages {
            pid,
            object,
            offset,
        };
        let may_be_kept = sources.file(object).is_some_and(pieces::may_be_kept);
        let sent = channel.send_piece(&header, contents, may_be_kept);
        sent.map_err(DepartureError::from)
    })
}

/// What the stopped process has mapped, as far as the draft tells without a walk through its page tables.
pub(super) fn known(pid: ThreadId, draft: Option<&Draft>) -> Result<Known, DepartureError> {
    let Some(draft) = draft else {
        return Ok(Known::of(pid)?);
    };
    let details = draft.details_now(pid)?;
    let guards = draft.guards_now(&PageMap::open(pid)?, &details)?;
    Ok(Known { details, guards })
}

/// What stopped threads have set by prctl(2) and arch_prctl(2) that acts where they run.
fn read_attributes(
    threads: &mut [ThreadImage],
    memory: &ProcessMemory,
    scratch: &Scratch,
) -> Result<(), DepartureError> {
    for threads in threads.chunks_mut(TOGETHER_MAX) {
        let places = || (scratch.data..).step_by(ANSWER_BYTES);
        let tasks = threads.iter().zip(places()).map(|(thread, place)| Task {
            thread: thread.tid,
            calls: attributes::questions(place),
        });
        let mut tasks: Vec<Task> = tasks.collect();
        let run = scratch.run_on_each(memory, &mut tasks);
        run.map_err(CaptureError::from)?;
        for ((thread, task), place) in threads.iter_mut().zip(&tasks).zip(places()) {
            let words = [memory.word(place)?, memory.word(place + 8)?];
            thread.attributes = attributes::answers(&task.calls, words);
        }
    }
    Ok(())
}
