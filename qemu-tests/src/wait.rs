//! Waiting for an event with a deadline, instead of sleeping and hoping.

use std::fmt::Display;
use std::time::{Duration, Instant};

use crate::error::LabError;

/// Pause between two looks: short beside all that is waited for, long beside one look.
const PAUSE: Duration = Duration::from_millis(20);

/// Looks again and again until `look` yields a value.
///
/// `look` returns `Err` with what it saw instead; the last of these is part of the error, so that a
/// failed test tells how far things had come.
///
/// # Errors
/// [`LabError::TimedOut`] when nothing came within `timeout`.
pub fn wait_until<T, S: Display>(
    timeout: Duration,
    what: impl Into<String>,
    mut look: impl FnMut() -> Result<T, S>,
) -> Result<T, LabError> {
    let deadline = Instant::now() + timeout;
    loop {
        match look() {
            Ok(value) => return Ok(value),
            Err(seen) if Instant::now() >= deadline => {
                return Err(LabError::TimedOut {
                    what: what.into(),
                    after: timeout,
                    seen: seen.to_string(),
                });
            }
            Err(_) => std::thread::sleep(PAUSE),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_thing_seen_is_part_of_the_message() {
        let mut looks = 0;
        let result = wait_until(Duration::from_millis(30), "a hundred looks", || {
            looks += 1;
            if looks == 100 {
                Ok(())
            } else {
                Err(format!("look {looks}"))
            }
        });
        let message = result.unwrap_err().to_string();
        assert!(message.contains("a hundred looks"), "{message}");
        assert!(message.contains(&format!("look {looks}")), "{message}");
    }
}
