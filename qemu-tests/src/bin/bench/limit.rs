//! What moving memory takes of this machine's CPUs: each step that it cannot do without, alone.
//!
//! 1. It is read from another process (process_vm_readv),
//! 2. encrypted,
//! 3. sent over a TCP connection of the loopback,
//! 4. received,
//! 5. decrypted,
//! 6. placed (UFFDIO_COPY).
//!
//! CPU time is measured, so others' work does not count. Steps that could overlap on two CPUs take half their
//! sum at best.

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use lab::error::LabError;
use limosa::secure::record::{LENGTH_BYTES, Opener, Sealer, TAG_BYTES};
use limosa::sys::process_vm;
use limosa::sys::userfaultfd::Userfaultfd;
use rustix::time::{ClockId, clock_gettime};

use crate::figure::{Figure, Unit};
use crate::program::Program;
use crate::statistics::Samples;

/// As much as a huge page: what UFFDIO_COPY is fastest with.
const PIECE_BYTES: usize = 2 << 20;

/// A record as the page connection sends them.
const RECORD_BYTES: usize = 64 << 10;

/// The names of the steps, in their order.
const NAMES: [&str; 6] = ["read", "encrypt", "send", "receive", "decrypt", "place"];

/// The CPU time of each step, run by run.
#[derive(Default)]
pub(crate) struct Steps([Samples; NAMES.len()]);

impl Steps {
    /// Measures all of them once for `bytes` of `source`'s memory, whose greeting tells pid and address; the
    /// sum in seconds.
    pub(crate) fn measure(&mut self, source: &Program, bytes: u64) -> Result<f64, LabError> {
        let pieces = bytes as usize / PIECE_BYTES;
        let measuring = LabError::doing("measure what the CPUs allow");
        let seconds = measure_once(source, pieces).map_err(measuring)?;
        for (samples, seconds) in self.0.iter_mut().zip(seconds) {
            samples.push(seconds);
        }
        Ok(seconds.iter().sum())
    }

    /// A figure for each.
    pub(crate) fn figures(self) -> Vec<Figure> {
        let named = NAMES.iter().zip(self.0);
        let figures = named.map(|(name, samples)| {
            let what = format!("1 GiB, CPU time of one step: {name}");
            Figure::new(format!("step_{name}"), what, Unit::Seconds, samples)
        });
        figures.collect()
    }
}

fn measure_once(source: &Program, pieces: usize) -> io::Result<[f64; NAMES.len()]> {
    let numbers = source.greeting();
    let (Some(&pid), Some(&address)) = (numbers.first(), numbers.get(1)) else {
        return Err(io::ErrorKind::InvalidData.into());
    };
    let pid = i32::try_from(pid).map_err(|_| io::ErrorKind::InvalidData)?;
    let mut piece = vec![0; PIECE_BYTES];
    let read = cpu_seconds(|| {
        (0..pieces).try_for_each(|number| {
            process_vm::read(pid, address + (number * PIECE_BYTES) as u64, &mut piece)
        })
    })?;
    let (encrypt, decrypt) = cipher(pieces)?;
    let (send, receive) = transport(pieces)?;
    let place = place(pieces, &piece)?;
    Ok([read, encrypt, send, receive, decrypt, place])
}

fn cipher(pieces: usize) -> io::Result<(f64, f64)> {
    let records = pieces * PIECE_BYTES / RECORD_BYTES;
    let (mut sealer, mut opener) = (Sealer::new(&[7; 32], 0), Opener::new(&[7; 32], 0));
    let forged = |_| io::Error::from(io::ErrorKind::InvalidData);
    let (mut encrypt, mut decrypt) = (0.0, 0.0);
    // As many records at a time as a cache holds, as on a connection; the clock is looked at rarely.
    const BATCH: usize = 16;
    let mut batch = vec![vec![0; LENGTH_BYTES + RECORD_BYTES]; BATCH];
    for _ in 0..records / BATCH {
        let mut tags = [[0; TAG_BYTES]; BATCH];
        encrypt += cpu_seconds(|| {
            for (record, tag) in batch.iter_mut().zip(&mut tags) {
                *tag = sealer.seal_in_place(record).map_err(forged)?;
            }
            Ok(())
        })?;
        for (record, tag) in batch.iter_mut().zip(&tags) {
            record.extend_from_slice(tag);
        }
        decrypt += cpu_seconds(|| {
            for record in &mut batch {
                opener.open(&mut record[LENGTH_BYTES..]).map_err(forged)?;
            }
            Ok(())
        })?;
        for record in &mut batch {
            record.truncate(LENGTH_BYTES + RECORD_BYTES);
        }
    }
    Ok((encrypt, decrypt))
}

/// CPU time of the sending and of the receiving thread. On the loopback what the network does to deliver is
/// the sender's.
fn transport(pieces: usize) -> io::Result<(f64, f64)> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let mut sender = TcpStream::connect(listener.local_addr()?)?;
    let (mut receiver, _) = listener.accept()?;
    receiver.set_read_timeout(Some(Duration::from_secs(60)))?;
    let receiving = std::thread::spawn(move || {
        let mut buffer = vec![0; RECORD_BYTES];
        cpu_seconds(|| {
            while receiver.read(&mut buffer)? > 0 {}
            Ok(())
        })
    });
    let record = vec![7; RECORD_BYTES];
    let send = cpu_seconds(|| {
        (0..pieces * PIECE_BYTES / RECORD_BYTES).try_for_each(|_| sender.write_all(&record))
    })?;
    drop(sender);
    let panicked = |_| io::Error::from(io::ErrorKind::Other);
    Ok((send, receiving.join().map_err(panicked)??))
}

/// Places pages in memory of our own that was never touched.
fn place(pieces: usize, piece: &[u8]) -> io::Result<f64> {
    let faults = Userfaultfd::open()?;
    let room: Vec<u8> = Vec::with_capacity((pieces + 1) * PIECE_BYTES);
    let begin = (room.as_ptr() as u64).next_multiple_of(PIECE_BYTES as u64);
    let range = begin..begin + (pieces * PIECE_BYTES) as u64;
    faults.register(&range)?;
    let placed = cpu_seconds(|| {
        for number in 0..pieces {
            let address = begin + (number * PIECE_BYTES) as u64;
            match faults.copy(address, piece) {
                (PIECE_BYTES, _) => {}
                (_, error) => return Err(error.unwrap_or(io::ErrorKind::Interrupted.into())),
            }
        }
        Ok(())
    });
    // Before the memory is given back: the kernel would wait until we have heard of it.
    faults.unregister(&range)?;
    placed
}

/// The CPU time of the calling thread in `action`.
fn cpu_seconds(action: impl FnOnce() -> io::Result<()>) -> io::Result<f64> {
    let now = || {
        let now = clock_gettime(ClockId::ThreadCPUTime);
        now.tv_sec as f64 + now.tv_nsec as f64 / 1e9
    };
    let begin = now();
    action()?;
    Ok(now() - begin)
}
