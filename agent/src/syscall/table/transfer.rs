//! Moving data through descriptors: read, write, and what passes from one descriptor to another.

use super::{comes_home, forward};
use crate::syscall::shape::Argument::{Descriptor, Gather, In, InOut, Out, Scatter, Value};
use crate::syscall::shape::Filled::{Always, Result};
use crate::syscall::shape::{Call, asks, changes, fixed, size};

/// An offset that the kernel moves on.
const OFFSET: crate::syscall::shape::Argument = InOut(fixed(8), Always);

/// See [`crate::syscall::Portions`].
const READS: bool = true;
const WRITES: bool = false;

pub(super) const CALLS: &[Call] = &[
    forward(
        0,
        "read",
        changes(&[Descriptor, Out(size(2), Result), Value])
            .shortens(2)
            .portions(READS, None),
    ),
    forward(
        1,
        "write",
        changes(&[Descriptor, In(size(2)), Value])
            .shortens(2)
            .portions(WRITES, None),
    ),
    forward(
        17,
        "pread64",
        asks(&[Descriptor, Out(size(2), Result), Value, Value])
            .shortens(2)
            .portions(READS, Some(3)),
    ),
    forward(
        18,
        "pwrite64",
        changes(&[Descriptor, In(size(2)), Value, Value])
            .shortens(2)
            .portions(WRITES, Some(3)),
    ),
    forward(
        19,
        "readv",
        changes(&[Descriptor, Scatter(2), Value])
            .shortens_vector()
            .portions(READS, None),
    ),
    forward(
        20,
        "writev",
        changes(&[Descriptor, Gather(2), Value])
            .shortens_vector()
            .portions(WRITES, None),
    ),
    forward(
        295,
        "preadv",
        asks(&[Descriptor, Scatter(2)])
            .shortens_vector()
            .portions(READS, Some(3)),
    ),
    forward(
        296,
        "pwritev",
        changes(&[Descriptor, Gather(2)])
            .shortens_vector()
            .portions(WRITES, Some(3)),
    ),
    // With offset -1 these two use and move the file position.
    forward(
        327,
        "preadv2",
        changes(&[Descriptor, Scatter(2)])
            .shortens_vector()
            .portions(READS, Some(3)),
    ),
    forward(
        328,
        "pwritev2",
        changes(&[Descriptor, Gather(2)])
            .shortens_vector()
            .portions(WRITES, Some(3)),
    ),
    forward(
        40,
        "sendfile",
        changes(&[Descriptor, Descriptor, OFFSET, Value]),
    ),
    forward(
        275,
        "splice",
        changes(&[Descriptor, OFFSET, Descriptor, OFFSET, Value, Value]),
    ),
    forward(276, "tee", changes(&[Descriptor, Descriptor, Value, Value])),
    forward(
        326,
        "copy_file_range",
        changes(&[Descriptor, OFFSET, Descriptor, OFFSET, Value, Value]),
    ),
    comes_home(
        278,
        "vmsplice",
        "vmsplice hands pages of the program's own memory to a pipe",
    ),
    forward(8, "lseek", changes(&[Descriptor, Value, Value]).quick()),
];
