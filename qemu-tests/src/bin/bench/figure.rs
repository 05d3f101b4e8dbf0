//! One figure: what was measured, what stands beside it, what it should be, and whether it is (pure).

use serde_json::{Value, json};

use crate::statistics::Samples;

/// What is within this share of 1 counts as 1.00, whatever the noise.
const ALIKE: f64 = 0.02;

/// What a number counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    /// Time.
    Seconds,
    /// Memory, or what is sent.
    Bytes,
}

impl Unit {
    /// For people: three digits and the unit that suits them.
    pub(crate) fn text(self, value: f64) -> String {
        const KIBIBYTE: f64 = 1024.0;
        let (value, unit) = match self {
            Self::Seconds if value < 1e-6 => (value * 1e9, "ns"),
            Self::Seconds if value < 1e-3 => (value * 1e6, "us"),
            Self::Seconds if value < 1.0 => (value * 1e3, "ms"),
            Self::Seconds => (value, "s"),
            Self::Bytes if value < KIBIBYTE * KIBIBYTE => (value / KIBIBYTE, "KiB"),
            Self::Bytes => (value / KIBIBYTE / KIBIBYTE, "MiB"),
        };
        let decimals = match value {
            value if value < 10.0 => 2,
            value if value < 100.0 => 1,
            _ => 0,
        };
        format!("{value:.decimals$} {unit}")
    }

    fn name(self) -> &'static str {
        match self {
            Self::Seconds => "seconds",
            Self::Bytes => "bytes",
        }
    }
}

/// What a figure should be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Target {
    /// It is only told.
    None,
    /// The value is at most this.
    AtMost(f64),
    /// The value is at most this many times what stands beside it.
    TimesAtMost(f64),
    /// The value is at least so many times smaller than what stands beside it.
    TimesLess(f64),
    /// The value is at most this more than what stands beside it.
    MoreByAtMost(f64),
    /// The value is what stands beside it, as far as the noise lets one tell.
    Alike,
}

/// What stands beside a value.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Beside {
    /// What it is, for people: `native`, `CRIU`.
    pub(crate) what: String,
    /// Its samples, in the value's unit.
    pub(crate) samples: Samples,
}

/// One figure.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Figure {
    /// For scripts.
    pub(crate) name: String,
    /// For people.
    pub(crate) what: String,
    /// Of the value and of what stands beside it.
    pub(crate) unit: Unit,
    /// What was measured, or why there is nothing.
    pub(crate) samples: Result<Samples, String>,
    /// With what it is compared.
    pub(crate) beside: Option<Beside>,
    /// What it should be.
    pub(crate) target: Target,
    /// How it was measured, as far as one could not guess it; may be empty.
    pub(crate) how: String,
}

impl Figure {
    /// One that was measured; nothing beside it, no target.
    pub(crate) fn new(
        name: impl Into<String>,
        what: impl Into<String>,
        unit: Unit,
        samples: Samples,
    ) -> Self {
        Self {
            name: name.into(),
            what: what.into(),
            unit,
            samples: Ok(samples),
            beside: None,
            target: Target::None,
            how: String::new(),
        }
    }

    /// One that could not be measured.
    pub(crate) fn missing(
        name: impl Into<String>,
        what: impl Into<String>,
        why: impl Into<String>,
    ) -> Self {
        Self {
            samples: Err(why.into()),
            ..Self::new(name, what, Unit::Seconds, Samples::default())
        }
    }

    /// The same, compared.
    pub(crate) fn beside(mut self, what: impl Into<String>, samples: Samples) -> Self {
        let what = what.into();
        self.beside = Some(Beside { what, samples });
        self
    }

    /// The same, with a target.
    pub(crate) fn target(mut self, target: Target) -> Self {
        self.target = target;
        self
    }

    /// The same, with a word on how it was measured.
    pub(crate) fn how(mut self, how: impl Into<String>) -> Self {
        self.how = how.into();
        self
    }

    /// The value: the median of its samples.
    pub(crate) fn value(&self) -> Option<f64> {
        let samples = self.samples.as_ref().ok()?;
        Some(samples.median()).filter(|median| median.is_finite())
    }

    /// The median of what stands beside it.
    pub(crate) fn beside_value(&self) -> Option<f64> {
        let beside = self.beside.as_ref()?;
        Some(beside.samples.median()).filter(|median| median.is_finite())
    }

    /// The value in terms of what stands beside it.
    pub(crate) fn ratio(&self) -> Option<f64> {
        let ratio = self.value()? / self.beside_value()?;
        Some(ratio).filter(|ratio| ratio.is_finite())
    }

    /// Whether the target is met; none if there is no target, or nothing was measured.
    pub(crate) fn is_met(&self) -> Option<bool> {
        match self.target {
            Target::None => None,
            Target::AtMost(most) => Some(self.value()? <= most),
            Target::TimesAtMost(most) => Some(self.ratio()? <= most),
            Target::TimesLess(least) => Some(1.0 / self.ratio()? >= least),
            Target::MoreByAtMost(most) => Some(self.value()? - self.beside_value()? <= most),
            Target::Alike => {
                let noise = self.beside.as_ref()?.samples.noise();
                Some(self.ratio()? <= 1.0 + noise.max(ALIKE))
            }
        }
    }

    /// The target for people.
    pub(crate) fn target_text(&self) -> String {
        match self.target {
            Target::None => String::new(),
            Target::AtMost(most) => format!("<= {}", self.unit.text(most)),
            Target::TimesAtMost(most) if most < 0.1 => format!("<= {most:.3}x"),
            Target::TimesAtMost(most) => format!("<= {most:.2}x"),
            Target::TimesLess(least) => format!("{least:.0}x less"),
            Target::MoreByAtMost(most) => format!("<= + {}", self.unit.text(most)),
            Target::Alike => "1.00x within noise".into(),
        }
    }

    /// For scripts; numbers in `unit`, null where there is none.
    pub(crate) fn json(&self) -> Value {
        let samples = self.samples.as_ref().ok();
        json!({
            "name": self.name,
            "what": self.what,
            "unit": self.unit.name(),
            "median": self.value(),
            "samples": samples.map(|samples| &samples.0),
            "missing": self.samples.as_ref().err(),
            "beside": self.beside.as_ref().map(|beside| json!({
                "what": beside.what,
                "median": self.beside_value(),
                "samples": beside.samples.0,
            })),
            "ratio": self.ratio(),
            "target": self.target_text(),
            "is_met": self.is_met(),
            "how": self.how,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figure(value: f64, beside: f64, target: Target) -> Figure {
        Figure::new("f", "figure", Unit::Seconds, Samples(vec![value; 3]))
            .beside("native", Samples(vec![beside; 3]))
            .target(target)
    }

    #[test]
    fn numbers_have_three_digits_and_the_unit_that_suits_them() {
        let texts = [1.5e-8, 0.000_013_9, 0.0042, 0.1074, 12.25].map(|s| Unit::Seconds.text(s));
        assert_eq!(texts, ["15.0 ns", "13.9 us", "4.20 ms", "107 ms", "12.2 s"]);
        assert_eq!(Unit::Bytes.text(1536.0), "1.50 KiB");
        assert_eq!(Unit::Bytes.text(1024.0 * 1024.0 * 1024.0), "1024 MiB");
    }

    #[test]
    fn a_target_is_met_up_to_its_bound_and_not_beyond() {
        for (target, met, missed) in [
            (Target::AtMost(5.0), 5.0, 5.1),
            (Target::TimesAtMost(1.5), 6.0, 6.1),
            (Target::TimesLess(2.0), 2.0, 2.1),
            (Target::MoreByAtMost(1.0), 5.0, 5.1),
            (Target::Alike, 4.08, 4.09),
        ] {
            assert_eq!(figure(met, 4.0, target).is_met(), Some(true), "{target:?}");
            assert_eq!(
                figure(missed, 4.0, target).is_met(),
                Some(false),
                "{target:?}"
            );
        }
    }

    #[test]
    fn what_differs_by_less_than_the_noise_is_alike() {
        let mut figure = figure(4.4, 4.0, Target::Alike);
        assert_eq!(figure.is_met(), Some(false));
        figure = figure.beside("native", Samples(vec![3.0, 3.8, 4.0, 4.4, 5.0]));
        assert_eq!(figure.is_met(), Some(true));
    }

    #[test]
    fn nothing_is_met_without_a_target_a_value_or_a_comparison() {
        assert_eq!(figure(1.0, 1.0, Target::None).is_met(), None);
        let target = Target::TimesAtMost(1.0);
        assert_eq!(
            Figure::missing("f", "figure", "no room")
                .target(target)
                .is_met(),
            None
        );
        let mut alone = figure(1.0, 1.0, target);
        alone.beside = None;
        assert_eq!(alone.is_met(), None);
        assert_eq!(figure(1.0, 0.0, target).ratio(), None);
    }

    #[test]
    fn targets_are_told_as_exactly_as_they_are_meant() {
        let texts = [
            Target::None,
            Target::AtMost(0.005),
            Target::TimesAtMost(1.35),
            Target::TimesAtMost(0.013),
            Target::TimesLess(10.0),
            Target::MoreByAtMost(10e-6),
        ]
        .map(|target| figure(1.0, 1.0, target).target_text());
        let expected = [
            "",
            "<= 5.00 ms",
            "<= 1.35x",
            "<= 0.013x",
            "10x less",
            "<= + 10.0 us",
        ];
        assert_eq!(texts, expected);
    }

    #[test]
    fn scripts_get_plain_numbers() {
        let json = figure(2.0, 4.0, Target::TimesAtMost(1.0)).json();
        assert_eq!(json["median"], 2.0);
        assert_eq!(json["beside"]["median"], 4.0);
        assert_eq!(json["ratio"], 0.5);
        assert_eq!(json["is_met"], true);
        let missing = Figure::missing("f", "figure", "no room").json();
        assert!(missing["median"].is_null());
        assert_eq!(missing["missing"], "no room");
    }
}
