//! What is said of a number of measurements (pure).

/// Measurements of one thing, in the order in which they were taken.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Samples(pub(crate) Vec<f64>);

impl Samples {
    /// Adds one.
    pub(crate) fn push(&mut self, sample: f64) {
        self.0.push(sample);
    }

    /// The value below which this share of the samples lies, linearly between two of them. Without samples
    /// it is not a number.
    fn quantile(&self, share: f64) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        let Some(last) = sorted.len().checked_sub(1) else {
            return f64::NAN;
        };
        let position = share * last as f64;
        let (below, above) = (position.floor() as usize, position.ceil() as usize);
        sorted[below] + (sorted[above] - sorted[below]) * (position - position.floor())
    }

    /// As many lie above as below.
    pub(crate) fn median(&self) -> f64 {
        self.quantile(0.5)
    }

    /// How far apart the middle half of the samples lie, as a share of their median: the noise.
    pub(crate) fn noise(&self) -> f64 {
        (self.quantile(0.75) - self.quantile(0.25)) / self.median()
    }

    /// The same, each multiplied.
    pub(crate) fn scaled(&self, factor: f64) -> Self {
        Self(self.0.iter().map(|sample| sample * factor).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_whatever_the_order_and_whatever_one_run_did() {
        assert_eq!(Samples(vec![3.0, 1000.0, 1.0]).median(), 3.0);
        assert_eq!(Samples(vec![4.0, 1.0, 2.0, 3.0]).median(), 2.5);
        assert_eq!(Samples(vec![7.0]).median(), 7.0);
        assert!(Samples::default().median().is_nan());
    }

    #[test]
    fn noise_is_the_spread_of_the_middle_half() {
        assert_eq!(Samples(vec![1.0, 2.0, 3.0, 4.0, 5.0]).noise(), 2.0 / 3.0);
        assert_eq!(Samples(vec![2.0; 9]).noise(), 0.0);
    }

    #[test]
    fn samples_keep_their_median_in_other_units() {
        let samples = Samples(vec![1.0, 4.0, 2.0]);
        assert_eq!(samples.scaled(1000.0).median(), 2000.0);
    }
}
