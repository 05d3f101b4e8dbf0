//! A transfer that the guest made in portions and had not finished when it came home.
//!
//! A read or write of a regular file is never short unless the file ends or the disk is full, and programs
//! rely on that: the rest is made here, before the thread runs. On what can block (pipes, sockets, terminals)
//! a stop ends a transfer of which some is done, on every Linux; there the sum so far is the result.

use std::os::linux::fs::MetadataExt;
use std::os::unix::fs::FileTypeExt;

use crate::migrate::image::{ThreadImage, Waiting};
use crate::syscall::{self, Class, portions};

use super::away::{Away, Trouble};
use super::in_flight::CallOutcome;

impl Away<'_> {
    /// Whether a transfer of this descriptor blocks for no longer than its device takes.
    pub(super) fn is_of_file(&self, descriptor: u64) -> bool {
        /// Device numbers are major * 256 + minor; those of null, zero, full and the random devices are 1:x.
        const MEMORY_DEVICES: u64 = 1;
        let path = format!("/proc/{}/fd/{}", self.deputy.pid, descriptor as i32);
        std::fs::metadata(path).is_ok_and(|file| {
            let kind = file.file_type();
            let is_memory = kind.is_char_device() && file.st_rdev() >> 8 == MEMORY_DEVICES;
            kind.is_file() || kind.is_block_device() || is_memory
        })
    }

    /// The result of a transfer with earlier portions, or more to come; none if it is any other call, or has
    /// done nothing yet.
    pub(super) fn finish_transfer(
        &self,
        thread: &ThreadImage,
        outcome: &CallOutcome,
    ) -> Result<Option<i64>, Trouble> {
        let Waiting::ForReturn { done, .. } = thread.waiting else {
            return Ok(None);
        };
        let (last, is_whole_portion) = match outcome {
            CallOutcome::Done {
                result,
                is_whole_portion,
                ..
            } => (u64::try_from(*result).unwrap_or(0), *is_whole_portion),
            CallOutcome::Again { .. } => (0, true),
            _ => (0, false),
        };
        let done = done + last;
        if done == 0 {
            return Ok(None);
        }
        let (number, args) = (thread.registers.orig_rax, thread.registers.arguments());
        let class = syscall::lookup(number).map(|call| syscall::resolve(call, &args));
        let Some(Class::Forward(forward)) = class.filter(|_| is_whole_portion) else {
            return Ok(Some(done.cast_signed()));
        };
        let memory = &self.deputy.memory;
        let read = |address, into: &mut [u8]| memory.read(address, into).is_ok();
        let vector = portions::vector(&args, forward, read);
        let total = portions::total_bytes(&args, forward, vector.as_deref());
        if forward.facts.portions.is_none() || done >= total || !self.is_of_file(args[0]) {
            return Ok(Some(done.cast_signed()));
        }
        let mut rest = portions::rest(&args, forward, done);
        if let Some(mut vector) = vector {
            portions::rest_of_vector(&mut vector, done);
            rest[1] = self.deputy.scratch.shared.data;
            self.deputy.memory.write(rest[1], &vector)?;
        }
        let shared = self.deputy.scratch.shared;
        let result = shared.call(thread.tid, number.cast_signed(), rest)?;
        let sum = done + u64::try_from(result).unwrap_or(0);
        Ok(Some(sum.cast_signed()))
    }
}
