//! What this node is doing: its CPUs, their speed, its load and its memory.
//!
//! [`ShortLoad`] is the part of it that every datagram to another node carries. [`procfs`] reads the
//! kernel's texts (pure), [`cpu_limit`] and [`memory_limit`] those of a container, [`speed`] measures a CPU once, [`meter`] is the glue that samples all.
//! [`activity`] looks at our processes and guests one by one; [`lives`] is what is known of their programs.

use serde::{Deserialize, Serialize};

pub mod activity;
pub mod cpu_limit;
pub mod lives;
pub mod memory_limit;
pub mod meter;
pub mod procfs;
pub mod speed;

/// A node's load in a few bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShortLoad {
    /// CPUs that programs may use.
    #[serde(rename = "c")]
    pub cpus: u16,
    /// Speed of one CPU, in the unit of [`speed`].
    #[serde(rename = "s")]
    pub speed: u32,
    /// Hundredths of a runnable thread, averaged as [`meter`] says.
    #[serde(rename = "l")]
    pub load_centi: u32,
    /// Memory, in KiB.
    #[serde(rename = "t")]
    pub memory_total_kib: u64,
    /// Memory that new programs could have without swapping, in KiB.
    #[serde(rename = "f")]
    pub memory_free_kib: u64,
    /// Guests that run here.
    #[serde(rename = "g")]
    pub guests: u32,
}

impl ShortLoad {
    /// Runnable threads.
    #[must_use]
    pub fn load(&self) -> f32 {
        self.load_centi as f32 / 100.0
    }
}
