//! How long to wait before a service that ended is started again (pure).

use std::time::Duration;

const DELAY_MIN: Duration = Duration::from_millis(250);
const DELAY_MAX: Duration = Duration::from_secs(30);
/// A service that ran this long is healthy: the next failure starts from the shortest delay.
const HEALTHY_AFTER: Duration = Duration::from_secs(60);

/// Doubling delays between restarts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Backoff {
    next: Duration,
}

impl Backoff {
    /// Starts with the shortest delay.
    pub(crate) fn new() -> Backoff {
        Backoff { next: DELAY_MIN }
    }

    /// The delay after a run that lasted `ran`.
    pub(crate) fn after_run(&mut self, ran: Duration) -> Duration {
        if ran >= HEALTHY_AFTER {
            self.next = DELAY_MIN;
        }
        let delay = self.next;
        self.next = (delay * 2).min(DELAY_MAX);
        delay
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_up_to_a_bound_and_a_healthy_run_resets_them() {
        let mut backoff = Backoff::new();
        let short = Duration::from_millis(10);
        let delays: Vec<u128> = (0..9)
            .map(|_| backoff.after_run(short).as_millis())
            .collect();
        assert_eq!(
            delays,
            [250, 500, 1000, 2000, 4000, 8000, 16000, 30000, 30000]
        );
        assert_eq!(backoff.after_run(HEALTHY_AFTER), DELAY_MIN);
        assert_eq!(backoff.after_run(short), DELAY_MIN * 2);
    }
}
