//! All figures: as a Markdown table that is readable as it is, and as JSON (pure).

use lab::machine::Machine;
use serde_json::{Value, json};

use crate::figure::Figure;

const HEADINGS: [&str; 6] = ["what", "", "beside it", "ratio", "target", "met"];

/// All that was measured, and where.
#[derive(Clone, Debug)]
pub(crate) struct Report {
    /// Where.
    pub(crate) machine: Machine,
    /// How often each thing was measured.
    pub(crate) runs: usize,
    /// What.
    pub(crate) figures: Vec<Figure>,
}

impl Report {
    /// A table with aligned columns, ended by the machine.
    pub(crate) fn table(&self) -> String {
        let mut rows = vec![HEADINGS.map(str::to_owned)];
        rows.extend(self.figures.iter().map(cells));
        let widths: Vec<usize> = (0..HEADINGS.len())
            .map(|column| {
                let widths = rows.iter().map(|row| row[column].chars().count());
                widths.max().unwrap_or(0).max(3)
            })
            .collect();
        let rules = widths.iter().zip(0..).map(|(&width, column)| {
            let colon = if is_number(column) { ":" } else { "-" };
            format!("{}{colon}", "-".repeat(width - 1))
        });
        let rule = rules.collect::<Vec<_>>().join(" | ");
        let mut text = String::new();
        for (number, row) in rows.iter().enumerate() {
            text += &line(row, &widths);
            if number == 0 {
                text += &format!("| {rule} |\n");
            }
        }
        text += &format!(
            "\nMedians of {}, on {} at the beginning.\n",
            self.runs, self.machine
        );
        text
    }

    /// One object: `machine`, `runs`, and `figures`, each with its samples, what stands beside it and its target.
    pub(crate) fn json(&self) -> String {
        let figures: Vec<Value> = self.figures.iter().map(Figure::json).collect();
        let all = json!({ "machine": self.machine, "runs": self.runs, "figures": figures });
        format!("{all:#}\n")
    }
}

/// Columns whose cells end at the same place.
fn is_number(column: usize) -> bool {
    column == 1 || column == 3
}

fn line(cells: &[String; 6], widths: &[usize]) -> String {
    let cells = cells.iter().zip(widths).zip(0..);
    let padded = cells.map(|((cell, &width), column)| {
        if is_number(column) {
            format!("{cell:>width$}")
        } else {
            format!("{cell:<width$}")
        }
    });
    format!("| {} |\n", padded.collect::<Vec<_>>().join(" | "))
}

fn cells(figure: &Figure) -> [String; 6] {
    let what = match figure.how.as_str() {
        "" => figure.what.clone(),
        how => format!("{} ({how})", figure.what),
    };
    let beside = figure.beside.as_ref().map(|beside| {
        let value = figure.beside_value();
        let value = value.map_or("-".into(), |value| figure.unit.text(value));
        format!("{} {value}", beside.what)
    });
    let value = match (&figure.samples, figure.value()) {
        (Err(why), _) => why.clone(),
        (Ok(_), Some(value)) => figure.unit.text(value),
        (Ok(_), None) => "-".into(),
    };
    [
        what,
        value,
        beside.unwrap_or_default(),
        figure
            .ratio()
            .map_or(String::new(), |ratio| format!("{ratio:.3}")),
        figure.target_text(),
        match figure.is_met() {
            Some(true) => "yes",
            Some(false) => "no",
            None => "",
        }
        .into(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figure::{Target, Unit};
    use crate::statistics::Samples;

    fn report() -> Report {
        let figures = vec![
            Figure::new("a", "fork", Unit::Seconds, Samples(vec![0.002, 0.001, 0.9]))
                .beside("native", Samples(vec![0.001; 3]))
                .target(Target::TimesAtMost(1.5))
                .how("with exec"),
            Figure::missing("b", "CRIU", "not installed"),
        ];
        Report {
            machine: Machine {
                cpus: 2,
                cpu_model: "Godwit".into(),
                kernel: "6.12".into(),
                load: 0.25,
            },
            runs: 3,
            figures,
        }
    }

    #[test]
    fn the_table_is_markdown_with_aligned_columns() {
        assert_eq!(
            report().table(),
            "| what             |               | beside it      | ratio | target   | met |\n\
             | ---------------- | ------------: | -------------- | ----: | -------- | --- |\n\
             | fork (with exec) |       2.00 ms | native 1.00 ms | 2.000 | <= 1.50x | no  |\n\
             | CRIU             | not installed |                |       |          |     |\n\
             \n\
             Medians of 3, on 2 CPUs (Godwit), Linux 6.12, load 0.2 at the beginning.\n"
        );
    }

    #[test]
    fn json_has_all_samples_and_the_machine() {
        let read: Value = serde_json::from_str(&report().json()).unwrap();
        assert_eq!(read["machine"]["cpus"], 2);
        assert_eq!(read["figures"][0]["samples"][2], 0.9);
        assert_eq!(read["figures"][1]["missing"], "not installed");
    }
}
