//! The derivation of arrays of C strings (`argv`, `envp`).

use super::derive::{Planner, Relocation, Stop, number_at};
use crate::limits::{FORWARD_ARGUMENT_BYTES_MAX, FORWARD_SEGMENTS_MAX};

/// Size of a pointer.
const POINTER_BYTES: u64 = 8;

impl Planner<'_> {
    /// An array of pointers to C strings, ended by NULL, and its strings.
    pub(super) fn texts(&mut self, address: u64) -> Result<usize, Stop> {
        let mut strings = Vec::new();
        let mut input = None;
        loop {
            let offset = POINTER_BYTES * strings.len() as u64;
            let at = address.checked_add(offset).ok_or(Stop::Fault)?;
            let place = self.source.take(at, POINTER_BYTES)?;
            input.get_or_insert(place);
            let string = number_at(self.source.payload(), place, POINTER_BYTES as usize);
            if string == 0 {
                break;
            }
            strings.push((place, string));
            if strings.len() > FORWARD_SEGMENTS_MAX {
                return Err(Stop::TooLarge);
            }
        }
        let length = POINTER_BYTES * (strings.len() as u64 + 1);
        let array = self.segment(address, length, input)?;
        for (at, string) in strings {
            let (input, length) = self.source.take_text(string, FORWARD_ARGUMENT_BYTES_MAX)?;
            if length == FORWARD_ARGUMENT_BYTES_MAX {
                // It may not have an end: home's kernel finds out natively.
                return Err(Stop::TooLarge);
            }
            let segment = self.segment(string, length, Some(input))?;
            self.derivation.relocations.push(Relocation { at, segment });
        }
        Ok(array)
    }
}
