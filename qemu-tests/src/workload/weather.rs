//! How the network of a lab is: it changes by chance, and is never so bad that a connection breaks.

use std::fmt;
use std::time::Duration;

use crate::cluster::Lab;
use crate::error::LabError;
use crate::faults::Chance;

/// Far below what takes a connection for dead: ten seconds of silence.
const DELAY_MS_MAX: u64 = 10;

/// A bad wireless network. TCP bears more, but with all memory in the freeze programs would mostly stand still.
const LOSS_PERMILLE_MAX: u64 = 10;

/// How often of ten times the network is perfect.
const CALM_OF_TEN: u64 = 3;

/// How the network is.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Weather {
    /// How much later every frame arrives.
    pub delay: Duration,
    /// How many frames are lost.
    pub loss_percent: f64,
}

impl Weather {
    /// The next weather.
    pub fn draw(chance: &mut Chance) -> Self {
        if chance.below(10) < CALM_OF_TEN {
            return Self::default();
        }
        Self {
            delay: Duration::from_millis(chance.below(DELAY_MS_MAX + 1)),
            loss_percent: chance.below(LOSS_PERMILLE_MAX + 1) as f64 / 10.0,
        }
    }

    /// Makes it so.
    pub fn rule(&self, lab: &Lab) -> Result<(), LabError> {
        lab.delay(self.delay)?;
        lab.lose(self.loss_percent)
    }
}

impl fmt::Display for Weather {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            out,
            "{} ms, {} %",
            self.delay.as_millis(),
            self.loss_percent
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_weather_changes_within_its_bounds_and_repeats_with_the_seed() {
        let draw = |seed| {
            let mut chance = Chance::new(seed);
            (0..200).map(move |_| Weather::draw(&mut chance))
        };
        assert!(draw(1).eq(draw(1)));
        assert!(draw(1).any(|weather| weather == Weather::default()));
        assert!(draw(1).any(|weather| weather.loss_percent > 0.8));
        assert!(draw(1).all(|weather| weather.delay.as_millis() <= u128::from(DELAY_MS_MAX)));
        assert_eq!(Weather::default().to_string(), "0 ms, 0 %");
    }
}
