//! What a node says of itself: its capacity, load and memory in a fixed number of bytes.
//!
//! ```text
//! 0   CPUs, u16         2   speed of one CPU, u32       6   runnable threads in hundredths, u32
//! 10  memory in MiB, u32                                14  of it free, u32
//! 18  guests, u16       20  flags: 1 takes no guests, 2 urgent
//! 21  hundredths of the time that its CPUs stand still, u8
//! ```
//!
//! All little endian, all unsigned: there is no NaN and nothing negative to send. What is absurd is refused with a
//! reason when it is read, so that one node that lies or errs cannot make the others flock to it for long or divide by
//! zero.

use std::fmt;

use crate::load::cpu_limit::THROTTLED_PERCENT_MAX;

/// Bytes of a vector.
pub const VECTOR_BYTES: usize = 22;

/// Most CPUs of one node: what a kernel can be built for.
pub const CPUS_MAX: u16 = 8192;

/// Fastest CPU believed, 100 times the reference machine.
pub const SPEED_MAX: u32 = 1_000_000;

/// Highest load believed, in hundredths of a runnable thread.
pub const LOAD_CENTI_MAX: u32 = 10_000_000;

/// Largest memory believed, in MiB: 64 TiB.
pub const MEMORY_MIB_MAX: u32 = 64 << 20;

/// What of a CPU must be free for it to count as free: what uses a little of it now and then does not count.
const FREE_CPU_MIN: f64 = 0.7;

const FLAG_CLOSED: u8 = 1;
const FLAG_URGENT: u8 = 2;

/// A node's state as others hear it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LoadVector {
    /// CPUs that programs may use.
    pub cpus: u16,
    /// Speed of one of them, the time counted in that it stands still; 10,000 is the reference machine.
    pub speed: u32,
    /// For how much of the time a CPU stands still because of a quota, in hundredths.
    pub throttled_percent: u8,
    /// Threads that run or wait for a CPU, in hundredths.
    pub load_centi: u32,
    /// Memory, in MiB.
    pub memory_mib: u32,
    /// Memory that new programs could have without swapping, in MiB.
    pub free_mib: u32,
    /// Guests that run there.
    pub guests: u16,
    /// It takes no guests now: it is blocked, its owner works, or it is on its way out.
    pub closed: bool,
    /// It has changed so much that others should hear of it first.
    pub urgent: bool,
}

/// Why a vector is not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Absurd {
    /// The bytes are not as many as a vector has.
    Length,
    /// No CPUs, or more than any machine has.
    Cpus(u16),
    /// No speed, or more than any CPU has.
    Speed(u32),
    /// A CPU that always stands still, in hundredths of the time.
    Throttled(u8),
    /// More runnable threads than a node can have.
    Load(u32),
    /// No memory, more than any machine has, or more free than there is.
    Memory {
        /// What it claims to have.
        memory_mib: u32,
        /// What of it is said to be free.
        free_mib: u32,
    },
}

impl fmt::Display for Absurd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Absurd::Length => f.write_str("a load vector of the wrong length"),
            Absurd::Cpus(cpus) => write!(f, "a load vector of {cpus} CPUs"),
            Absurd::Speed(speed) => write!(f, "a load vector with the speed {speed}"),
            Absurd::Throttled(percent) => {
                write!(
                    f,
                    "a load vector of CPUs that stand still for {percent} % of the time"
                )
            }
            Absurd::Load(centi) => write!(f, "a load vector of {} runnable threads", centi / 100),
            Absurd::Memory {
                memory_mib,
                free_mib,
            } => write!(
                f,
                "a load vector with {free_mib} MiB free of {memory_mib} MiB"
            ),
        }
    }
}

impl std::error::Error for Absurd {}

impl LoadVector {
    /// Runnable threads.
    #[must_use]
    pub fn load(&self) -> f64 {
        f64::from(self.load_centi) / 100.0
    }

    /// Sets the runnable threads; what is no number or negative counts as none, what is too much as the most.
    pub fn set_load(&mut self, load: f64) {
        // A cast of NaN gives 0, and casts saturate.
        self.load_centi = ((load.max(0.0) * 100.0).round() as u32).min(LOAD_CENTI_MAX);
    }

    /// Adds to the runnable threads.
    pub fn add_load(&mut self, load: f64) {
        self.set_load(self.load() + load);
    }

    /// What all its CPUs can do together, in CPUs of the reference machine.
    #[must_use]
    pub fn capacity(&self) -> f64 {
        f64::from(self.cpus) * f64::from(self.speed) / 10_000.0
    }

    /// For which part of the time its CPUs can run.
    #[must_use]
    pub fn running_part(&self) -> f64 {
        1.0 - f64::from(self.throttled_percent.min(THROTTLED_PERCENT_MAX)) / 100.0
    }

    /// What a second of CPU time gets done there, in seconds of the reference machine.
    #[must_use]
    pub fn work_per_cpu_second(&self) -> f64 {
        f64::from(self.speed) / 10_000.0 / self.running_part()
    }

    /// Whether one more thread would have a CPU for itself.
    #[must_use]
    pub fn has_free_cpu(&self) -> bool {
        !self.closed && self.load() + FREE_CPU_MIN <= f64::from(self.cpus)
    }

    /// Whether it is worth telling others at once that this has become `now`: the load has changed by more than
    /// half a thread for each CPU, the memory by an eighth, the door has opened or closed, or the last free CPU is taken or a
    /// first one free.
    #[must_use]
    pub fn differs_much(&self, now: &LoadVector) -> bool {
        let load = self.load_centi.abs_diff(now.load_centi) > 50 * u32::from(now.cpus.max(1));
        let memory = self.free_mib.abs_diff(now.free_mib) > now.memory_mib / 8;
        let door = self.closed != now.closed || self.has_free_cpu() != now.has_free_cpu();
        load || memory || door
    }

    /// As bytes.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; VECTOR_BYTES] {
        let mut bytes = [0; VECTOR_BYTES];
        bytes[..2].copy_from_slice(&self.cpus.to_le_bytes());
        bytes[2..6].copy_from_slice(&self.speed.to_le_bytes());
        bytes[6..10].copy_from_slice(&self.load_centi.to_le_bytes());
        bytes[10..14].copy_from_slice(&self.memory_mib.to_le_bytes());
        bytes[14..18].copy_from_slice(&self.free_mib.to_le_bytes());
        bytes[18..20].copy_from_slice(&self.guests.to_le_bytes());
        bytes[20] = u8::from(self.closed) * FLAG_CLOSED + u8::from(self.urgent) * FLAG_URGENT;
        bytes[21] = self.throttled_percent;
        bytes
    }

    /// From bytes; unknown flags are ignored.
    ///
    /// # Errors
    /// When it cannot be true.
    pub fn from_bytes(bytes: &[u8]) -> Result<LoadVector, Absurd> {
        let bytes: &[u8; VECTOR_BYTES] = bytes.try_into().map_err(|_| Absurd::Length)?;
        let two = |at: usize| u16::from_le_bytes([bytes[at], bytes[at + 1]]);
        let four = |at: usize| {
            u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
        };
        let vector = LoadVector {
            cpus: two(0),
            speed: four(2),
            throttled_percent: bytes[21],
            load_centi: four(6),
            memory_mib: four(10),
            free_mib: four(14),
            guests: two(18),
            closed: bytes[20] & FLAG_CLOSED != 0,
            urgent: bytes[20] & FLAG_URGENT != 0,
        };
        vector.check().map(|()| vector)
    }

    /// Whether this can be true of any machine.
    ///
    /// # Errors
    /// What cannot.
    pub fn check(&self) -> Result<(), Absurd> {
        let (memory_mib, free_mib) = (self.memory_mib, self.free_mib);
        if self.cpus == 0 || self.cpus > CPUS_MAX {
            return Err(Absurd::Cpus(self.cpus));
        }
        if self.speed == 0 || self.speed > SPEED_MAX {
            return Err(Absurd::Speed(self.speed));
        }
        if self.throttled_percent > THROTTLED_PERCENT_MAX {
            return Err(Absurd::Throttled(self.throttled_percent));
        }
        if self.load_centi > LOAD_CENTI_MAX {
            return Err(Absurd::Load(self.load_centi));
        }
        if memory_mib == 0 || memory_mib > MEMORY_MIB_MAX || free_mib > memory_mib {
            return Err(Absurd::Memory {
                memory_mib,
                free_mib,
            });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const PC: LoadVector = LoadVector {
        cpus: 4,
        speed: 12_000,
        throttled_percent: 20,
        load_centi: 250,
        memory_mib: 8192,
        free_mib: 4096,
        guests: 3,
        closed: false,
        urgent: true,
    };

    #[test]
    fn what_cannot_be_true_is_refused_with_the_reason() {
        let refused = |change: fn(&mut LoadVector)| {
            let mut vector = PC;
            change(&mut vector);
            LoadVector::from_bytes(&vector.to_bytes()).unwrap_err()
        };
        assert_eq!(refused(|v| v.cpus = 0), Absurd::Cpus(0));
        assert_eq!(refused(|v| v.speed = 0), Absurd::Speed(0));
        assert_eq!(refused(|v| v.speed = u32::MAX), Absurd::Speed(u32::MAX));
        assert_eq!(refused(|v| v.load_centi = u32::MAX), Absurd::Load(u32::MAX));
        let error = refused(|v| v.free_mib = 9000);
        assert_eq!(
            error.to_string(),
            "a load vector with 9000 MiB free of 8192 MiB"
        );
        assert_eq!(LoadVector::from_bytes(&[1; 20]), Err(Absurd::Length));
        let still = refused(|v| v.throttled_percent = 100);
        assert_eq!(still, Absurd::Throttled(100));
    }

    #[test]
    fn a_second_of_cpu_time_is_worth_what_it_was_without_a_quota() {
        let half = LoadVector {
            throttled_percent: 50,
            speed: 6_000,
            ..PC
        };
        let whole = LoadVector {
            throttled_percent: 0,
            ..PC
        };
        assert_eq!(half.work_per_cpu_second(), whole.work_per_cpu_second());
    }

    #[test]
    fn a_load_that_is_no_number_is_none_and_one_too_large_is_the_largest() {
        let load = |load: f64| {
            let mut vector = PC;
            vector.set_load(load);
            vector.load_centi
        };
        assert_eq!(load(f64::NAN), 0);
        assert_eq!(load(-3.0), 0);
        assert_eq!(load(1.234), 123);
        assert_eq!(load(f64::INFINITY), LOAD_CENTI_MAX);
    }

    proptest! {
        #[test]
        fn bytes_are_refused_or_mean_something_that_can_be_true(bytes: [u8; VECTOR_BYTES]) {
            if let Ok(vector) = LoadVector::from_bytes(&bytes) {
                prop_assert!(vector.capacity().is_finite() && vector.capacity() > 0.0);
                prop_assert_eq!(LoadVector::from_bytes(&vector.to_bytes()), Ok(vector));
            }
        }
    }
}
