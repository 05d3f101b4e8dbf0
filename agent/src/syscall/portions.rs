//! Transfers that are larger than what is sent at once, made in portions: what is still to be done of one.

use super::derive::number_at;
use super::shape::{Forward, Portions, Shorten};
use crate::limits::FORWARD_SEGMENTS_MAX;

/// `sizeof(struct iovec)`: address and length.
const ENTRY_BYTES: usize = 16;

/// The arguments that ask for what is left when `done` bytes have been transferred. The vector of buffers
/// stays what it is: see [`rest_of_vector`].
#[must_use]
pub fn rest(args: &[u64; 6], forward: &Forward, done: u64) -> [u64; 6] {
    /// For preadv2(2) and pwritev2(2): at the file's position, which has moved by itself.
    const AT_POSITION: u64 = u64::MAX;
    let mut args = *args;
    let Some(Portions { offset, .. }) = forward.facts.portions else {
        return args;
    };
    if let Some(Shorten::Argument { argument, .. }) = forward.facts.shortens {
        args[1] = args[1].wrapping_add(done);
        let count = &mut args[usize::from(argument)];
        *count = count.saturating_sub(done);
    }
    if let Some(offset) = offset.map(usize::from)
        && args[offset] != AT_POSITION
    {
        args[offset] = args[offset].wrapping_add(done);
    }
    args
}

/// Skips `done` bytes of a vector of buffers (`struct iovec[]`).
pub fn rest_of_vector(vector: &mut [u8], mut done: u64) {
    for entry in vector.as_chunks_mut::<ENTRY_BYTES>().0 {
        let (address, length) = (number_at(entry, 0, 8), number_at(entry, 8, 8));
        let skipped = done.min(length);
        done -= skipped;
        entry[..8].copy_from_slice(&address.wrapping_add(skipped).to_le_bytes());
        entry[8..].copy_from_slice(&(length - skipped).to_le_bytes());
    }
}

/// The vector of buffers of a call, if it has one that can be read: `read` fills bytes from an address on and
/// tells whether it could.
pub fn vector(
    args: &[u64; 6],
    forward: &Forward,
    read: impl FnOnce(u64, &mut [u8]) -> bool,
) -> Option<Vec<u8>> {
    if forward.facts.shortens != Some(Shorten::Vector) {
        return None;
    }
    let count = usize::try_from(args[2]).ok();
    let count = count.filter(|&count| count <= FORWARD_SEGMENTS_MAX)?;
    let mut bytes = vec![0; count * ENTRY_BYTES];
    read(args[1], &mut bytes).then_some(bytes)
}

/// How many bytes a call transfers if it does all that it asks for; `vector` as [`vector`] says.
#[must_use]
pub fn total_bytes(args: &[u64; 6], forward: &Forward, vector: Option<&[u8]>) -> u64 {
    match (forward.facts.shortens, vector) {
        (Some(Shorten::Argument { argument, .. }), _) => args[usize::from(argument)],
        (Some(Shorten::Vector), Some(vector)) => {
            let entries = vector.as_chunks::<ENTRY_BYTES>().0.iter();
            entries.fold(0, |sum, entry| sum.saturating_add(number_at(entry, 8, 8)))
        }
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::syscall::{Class, lookup, resolve};

    fn forward_of(number: u64) -> &'static Forward {
        match resolve(lookup(number).unwrap(), &[0; 6]) {
            Class::Forward(forward) => forward,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn buffer_count_and_offset_move_on_together() {
        let args = [3, 1000, 500, 70, 0, 0];
        assert_eq!(rest(&args, forward_of(1), 100), [3, 1100, 400, 70, 0, 0]);
        assert_eq!(rest(&args, forward_of(18), 100), [3, 1100, 400, 170, 0, 0]);
        assert_eq!(rest(&args, forward_of(295), 100), [3, 1000, 500, 170, 0, 0]);
        let at_position = [3, 1000, 2, u64::MAX, 0, 0];
        assert_eq!(rest(&at_position, forward_of(327), 100), at_position);
    }

    #[test]
    fn a_vector_loses_what_has_been_done() {
        let words = |words: [u64; 6]| words.map(u64::to_le_bytes).concat();
        let mut vector = words([1000, 10, 2000, 20, 3000, 30]);
        assert_eq!(total_bytes(&[0; 6], forward_of(19), Some(&vector)), 60);
        rest_of_vector(&mut vector, 15);
        assert_eq!(vector, words([1010, 0, 2005, 15, 3000, 30]));
        assert_eq!(total_bytes(&[0; 6], forward_of(19), Some(&vector)), 45);
    }
}
