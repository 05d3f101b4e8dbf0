//! The pieces of files that this node keeps for the guests to come ([`crate::migrate::piece_store`]): where, how much,
//! and until when. They go when memory is short, and with the agent.

use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;

use super::agent::Agent;
use crate::migrate::piece_store;
use crate::wire::supervisor::PiecePlace;

/// More is never kept: some programs and their libraries.
const BYTES_MAX: u64 = 64 << 20;

/// At most this part of the memory is filled with pieces.
const MEMORY_PART: u64 = 16;

/// With less than this part of the memory free nothing is kept.
const FREE_PART_MIN: u64 = 8;

impl Agent {
    fn piece_directory(&self) -> PathBuf {
        self.config.run_dir.join("pieces")
    }

    /// Where a guest's supervisor finds and leaves pieces. Where there is no directory it finds none.
    pub(super) fn piece_place(&self) -> PiecePlace {
        let directory = self.piece_directory();
        let made = fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&directory);
        if let Err(error) = made {
            log::debug!("no pieces are kept in {}: {error}", directory.display());
        }
        PiecePlace {
            directory: directory.to_string_lossy().into_owned(),
            bytes_max: BYTES_MAX.min(self.cluster.load().memory_total_kib * 1024 / MEMORY_PART),
        }
    }

    /// Lets the pieces go if memory is short.
    pub(super) fn look_at_pieces(&self) {
        let load = self.cluster.load();
        if load.memory_free_kib < load.memory_total_kib / FREE_PART_MIN {
            // There is nothing to remove where nothing was kept.
            let _ = piece_store::make_room(&self.piece_directory(), 0);
        }
    }

    /// Leaves nothing behind.
    pub(super) fn forget_pieces(&self) {
        let _ = fs::remove_dir_all(self.piece_directory());
    }
}
