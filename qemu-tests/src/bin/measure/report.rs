//! What was measured, as an aligned table and as JSON (pure).

use lab::machine::Machine;
use serde::Serialize;
use serde_json::json;

/// A measured value with its unit, or why there is none.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    /// A size.
    Bytes(u64),
    /// A time.
    Seconds(f64),
    /// A share.
    Percent(f64),
    /// A rate.
    PerSecond(f64),
    /// It could not be measured; the reason.
    Missing(String),
}

impl Value {
    fn text(&self) -> String {
        const MEBIBYTE: f64 = (1 << 20) as f64;
        match self {
            Self::Bytes(bytes) => format!("{:.2} MiB", *bytes as f64 / MEBIBYTE),
            Self::Seconds(seconds) => format!("{seconds:.1} s"),
            Self::Percent(percent) => format!("{percent:.2} %"),
            Self::PerSecond(rate) => format!("{rate:.1} /s"),
            Self::Missing(_) => "-".into(),
        }
    }

    fn number(&self) -> serde_json::Value {
        match self {
            Self::Bytes(bytes) => json!(bytes),
            Self::Seconds(value) | Self::Percent(value) | Self::PerSecond(value) => json!(value),
            Self::Missing(_) => serde_json::Value::Null,
        }
    }
}

/// One measured thing.
#[derive(Clone, Debug)]
pub(crate) struct Measurement {
    /// For scripts; ends in the unit.
    pub(crate) name: &'static str,
    /// For people.
    pub(crate) what: &'static str,
    /// How much.
    pub(crate) value: Value,
    /// How it was found.
    pub(crate) how: String,
}

/// All that was measured, and where.
#[derive(Clone, Debug)]
pub(crate) struct Report {
    /// Where.
    pub(crate) machine: Machine,
    /// What.
    pub(crate) measurements: Vec<Measurement>,
}

/// A measurement as JSON; `value` is null when `missing` says why there is none.
#[derive(Serialize)]
struct Row<'a> {
    name: &'a str,
    value: serde_json::Value,
    missing: Option<&'a str>,
    how: &'a str,
}

impl Report {
    /// Lines of aligned columns, ended by the machine.
    pub(crate) fn table(&self) -> String {
        let rows: Vec<[String; 3]> = self.measurements.iter().map(cells).collect();
        let width = |column: usize| {
            let widths = rows.iter().map(|row| row[column].chars().count());
            widths.max().unwrap_or(0)
        };
        let (what_width, value_width) = (width(0), width(1));
        let mut text = String::new();
        for [what, value, how] in &rows {
            text += &format!("{what:<what_width$}  {value:>value_width$}  {how}\n");
        }
        text += &format!("\nMeasured on {}.\n", self.machine);
        text
    }

    /// One object: `machine`, and `measurements`, each with its name, value and how it was found.
    pub(crate) fn json(&self) -> String {
        let rows: Vec<Row<'_>> = self.measurements.iter().map(row).collect();
        format!(
            "{:#}",
            json!({ "machine": self.machine, "measurements": rows })
        )
    }
}

fn cells(measurement: &Measurement) -> [String; 3] {
    let Measurement {
        what, value, how, ..
    } = measurement;
    let how = match value {
        Value::Missing(reason) => format!("{how}: {reason}"),
        _ => how.clone(),
    };
    [(*what).to_owned(), value.text(), how]
}

fn row(measurement: &Measurement) -> Row<'_> {
    Row {
        name: measurement.name,
        value: measurement.value.number(),
        missing: match &measurement.value {
            Value::Missing(reason) => Some(reason),
            _ => None,
        },
        how: &measurement.how,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        let measurement = |name, what, value| Measurement {
            name,
            what,
            value,
            how: "looked".into(),
        };
        Report {
            machine: Machine {
                cpus: 2,
                cpu_model: "Godwit".into(),
                kernel: "6.12".into(),
                load: 0.25,
            },
            measurements: vec![
                measurement("limosa_bytes", "limosa", Value::Bytes(3 << 20)),
                measurement("agent_cpu_percent", "idle agent", Value::Percent(0.125)),
                measurement("iso_bytes", "ISO", Value::Missing("not built".into())),
            ],
        }
    }

    #[test]
    fn columns_are_aligned_and_what_is_missing_says_why() {
        assert_eq!(
            report().table(),
            "limosa      3.00 MiB  looked\n\
             idle agent    0.12 %  looked\n\
             ISO                -  looked: not built\n\
             \n\
             Measured on 2 CPUs (Godwit), Linux 6.12, load 0.2.\n"
        );
    }

    #[test]
    fn json_has_plain_numbers_and_null_for_what_is_missing() {
        let read: serde_json::Value = serde_json::from_str(&report().json()).unwrap();
        assert_eq!(read["machine"]["cpus"], 2);
        let rows = &read["measurements"];
        assert_eq!(rows[0]["value"], 3 << 20);
        assert_eq!(rows[1]["value"], 0.125);
        assert!(rows[2]["value"].is_null());
        assert_eq!(rows[2]["missing"], "not built");
    }
}
