//! Samples this node's load, once a second.
//!
//! The load is the number of threads that run or wait for a CPU, without our own, as an exponential
//! average with a time constant of about three samples: a compile job shows within seconds, a single
//! short command hardly. The kernel's one-minute average would be too slow to steer by.

use std::fs::File;
use std::io::{self, Read};

use super::cpu_limit::{CpuLimit, Cpus};
use super::memory_limit::MemoryLimit;
use super::{ShortLoad, procfs, speed};

/// Weight of a new sample.
const NEW_SAMPLE_WEIGHT: f32 = 0.3;

/// Longest part of a kernel text that is read; the lines used are at its beginning.
const TEXT_BYTES_MAX: u64 = 4096;

/// The meter and its last values.
pub struct Meter {
    load: f32,
    /// What others are told as the load instead of it.
    told: Option<f64>,
    /// Of a CPU while it does not stand still.
    measured_speed: u32,
    /// What an operator says in place of that.
    set_speed: Option<u32>,
    throttled_percent: u8,
    cpu_limit: CpuLimit,
    limit: MemoryLimit,
    short: ShortLoad,
}

impl Meter {
    /// Measures the CPUs; takes a few milliseconds.
    #[must_use]
    pub fn start() -> Meter {
        let mut meter = Meter {
            load: 0.0,
            told: None,
            measured_speed: speed::measure(),
            set_speed: None,
            throttled_percent: 0,
            cpu_limit: CpuLimit::find(),
            limit: MemoryLimit::find(),
            short: ShortLoad::default(),
        };
        meter.count_cpus();
        // Without /proc, which the agent's start checks, the first values stay zero.
        let _ = meter.sample();
        meter
    }

    /// Takes a sample. On an error the old values stay.
    pub fn sample(&mut self) -> io::Result<()> {
        self.count_cpus();
        let odd = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what.to_owned());
        let runnable =
            Meter::runnable().ok_or_else(|| odd("/proc/loadavg cannot be understood"))?;
        let memory = procfs::memory(&read("/proc/meminfo")?)
            .ok_or_else(|| odd("/proc/meminfo cannot be understood"))?;
        let memory = self.limit.of(memory);
        self.load = average(self.load, runnable);
        let told = self.told.unwrap_or(f64::from(self.load));
        self.short.load_centi = (told * 100.0) as u32;
        self.short.memory_total_kib = memory.total_kib;
        self.short.memory_free_kib = memory.available_kib;
        Ok(())
    }

    /// A quota can be changed at any time.
    fn count_cpus(&mut self) {
        let Cpus {
            cpus,
            throttled_percent,
        } = self.cpu_limit.cpus();
        let runs_percent = u64::from(100 - throttled_percent);
        let speed = u64::from(self.measured_speed) * runs_percent / 100;
        let measured = u32::try_from(speed).unwrap_or(u32::MAX).max(1);
        self.throttled_percent = throttled_percent;
        self.short.cpus = cpus;
        self.short.speed = self.set_speed.unwrap_or(measured);
    }

    /// For which part of the time a CPU stands still because of a quota, in hundredths.
    #[must_use]
    pub fn throttled_percent(&self) -> u8 {
        self.throttled_percent
    }

    /// Threads that run or wait for a CPU at this moment, but for the caller; none if the kernel does not say.
    #[must_use]
    pub fn runnable() -> Option<u32> {
        let runnable = procfs::runnable(&read("/proc/loadavg").ok()?)?;
        Some(runnable.saturating_sub(1))
    }

    /// Tells how many guests run here.
    pub fn set_guests(&mut self, guests: u32) {
        self.short.guests = guests;
    }

    /// Runnable threads of the whole machine, averaged.
    #[must_use]
    pub fn load(&self) -> f64 {
        f64::from(self.load)
    }

    /// Tells others this load from now on; needed where the machine is not this node's alone.
    pub fn tell(&mut self, load: f64) {
        self.told = Some(load);
        self.short.load_centi = (load * 100.0) as u32;
    }

    /// Sets the speed of a CPU that others are told; none for what was measured.
    pub fn set_speed(&mut self, speed: Option<u32>) {
        self.set_speed = speed;
        self.count_cpus();
    }

    /// The last values.
    #[must_use]
    pub fn short(&self) -> ShortLoad {
        self.short
    }
}

fn average(before: f32, sample: u32) -> f32 {
    before + NEW_SAMPLE_WEIGHT * (sample as f32 - before)
}

/// The beginning of a kernel's text.
pub(super) fn read(path: &str) -> io::Result<String> {
    let mut text = String::new();
    File::open(path)?
        .take(TEXT_BYTES_MAX)
        .read_to_string(&mut text)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_average_follows_a_steady_load_and_forgets_a_short_one() {
        let steady = (0..10).fold(0.0, |load, _| average(load, 4));
        assert!((3.8..=4.0).contains(&steady), "{steady}");
        let after = (0..10).fold(average(0.0, 1), |load, _| average(load, 0));
        assert!(after < 0.02, "{after}");
    }

    #[test]
    fn this_node_has_cpus_speed_and_memory() {
        let short = Meter::start().short();
        assert!(short.cpus > 0 && short.speed > 0);
        assert!(short.memory_total_kib >= short.memory_free_kib && short.memory_free_kib > 0);
    }
}
