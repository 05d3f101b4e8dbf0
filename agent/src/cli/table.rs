//! Aligned tables, sizes for people, and colour on a terminal only.

use std::io::IsTerminal;

/// On which side a column is aligned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Align {
    /// Words.
    Left,
    /// Numbers.
    Right,
}

/// What a state means, which decides its colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tone {
    /// As everything else.
    Plain,
    /// As it should be.
    Good,
    /// On the way.
    Passing,
    /// Not as it should be.
    Bad,
}

/// One field of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Cell {
    text: String,
    tone: Tone,
}

impl Cell {
    /// A field with a colour.
    pub(super) fn toned(text: impl Into<String>, tone: Tone) -> Self {
        Self {
            text: text.into(),
            tone,
        }
    }
}

impl<T: ToString> From<T> for Cell {
    fn from(value: T) -> Self {
        Self {
            text: value.to_string(),
            tone: Tone::Plain,
        }
    }
}

/// A table: a header, and rows with as many fields.
#[derive(Clone, Debug)]
pub(super) struct Table {
    columns: Vec<(&'static str, Align)>,
    rows: Vec<Vec<Cell>>,
}

impl Table {
    /// An empty table.
    pub(super) fn new(columns: &[(&'static str, Align)]) -> Self {
        Self {
            columns: columns.to_vec(),
            rows: Vec::new(),
        }
    }

    /// Adds a row, which has as many fields as there are columns.
    pub(super) fn row(&mut self, cells: Vec<Cell>) {
        debug_assert_eq!(cells.len(), self.columns.len());
        self.rows.push(cells);
    }

    /// The table as lines, coloured or not, no wider than `width` if that is given: the last column is
    /// cut.
    pub(super) fn render(&self, colour: bool, width: Option<usize>) -> String {
        let widths: Vec<usize> = self
            .columns
            .iter()
            .enumerate()
            .map(|(column, (title, _))| {
                let cells = self.rows.iter().filter_map(|row| row.get(column));
                let widest = cells
                    .map(|cell| cell.text.chars().count())
                    .max()
                    .unwrap_or(0);
                widest.max(title.chars().count())
            })
            .collect();
        let header: Vec<Cell> = self
            .columns
            .iter()
            .map(|(title, _)| (*title).into())
            .collect();
        let mut lines = String::new();
        for row in std::iter::once(&header).chain(&self.rows) {
            let line = self.line(row, &widths, colour, width);
            lines.push_str(line.trim_end());
            lines.push('\n');
        }
        lines
    }

    fn line(&self, row: &[Cell], widths: &[usize], colour: bool, width: Option<usize>) -> String {
        let mut line = String::new();
        let mut used = 0;
        for (index, ((_, align), cell)) in self.columns.iter().zip(row).enumerate() {
            let last = index + 1 == self.columns.len();
            let mut text = cell.text.clone();
            if let Some(width) = width.filter(|_| last) {
                text = text
                    .chars()
                    .take(width.saturating_sub(used).max(1))
                    .collect();
            }
            let padding = " ".repeat(widths[index].saturating_sub(text.chars().count()));
            let text = if colour {
                coloured(&text, cell.tone)
            } else {
                text
            };
            match align {
                Align::Right => line.push_str(&format!("{padding}{text}")),
                Align::Left if last => line.push_str(&text),
                Align::Left => line.push_str(&format!("{text}{padding}")),
            }
            if !last {
                line.push_str("  ");
            }
            used += widths[index] + 2;
        }
        line
    }

    /// Prints the table on stdout, as wide and colourful as that allows.
    pub(super) fn print(&self) {
        let stdout = std::io::stdout();
        let terminal = stdout.is_terminal();
        let colour = terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        let width = rustix::termios::tcgetwinsize(&stdout)
            .ok()
            .filter(|size| terminal && size.ws_col > 0)
            .map(|size| usize::from(size.ws_col));
        super::print(&self.render(colour, width));
    }
}

fn coloured(text: &str, tone: Tone) -> String {
    let code = match tone {
        Tone::Plain => return text.to_string(),
        Tone::Good => 32,
        Tone::Passing => 33,
        Tone::Bad => 31,
    };
    format!("\x1b[{code}m{text}\x1b[0m")
}

/// The tone of a node's or a process's state.
pub(super) fn state_tone(state: &str) -> Tone {
    match state {
        "alive" | "away" => Tone::Good,
        "joined" | "suspect" | "starting" | "leaving" | "returning" => Tone::Passing,
        "lost" => Tone::Bad,
        _ => Tone::Plain,
    }
}

/// A size with three digits or so and a binary unit.
pub(super) fn size(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut value = bytes as f64 / 1024.0;
    let mut unit = 0;
    // What would be rounded up to 1024 is written with the next unit.
    while value >= 1023.5 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    let decimals = if value < 9.95 { 1 } else { 0 };
    format!("{value:.decimals$} {}", UNITS[unit])
}

/// A time in milliseconds as a person reads it.
pub(super) fn milliseconds(time_ms: f64) -> String {
    if time_ms < 1000.0 {
        format!("{time_ms:.1} ms")
    } else {
        format!("{:.2} s", time_ms / 1000.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn table() -> Table {
        let mut table = Table::new(&[
            ("NAME", Align::Left),
            ("SIZE", Align::Right),
            ("COMMAND", Align::Left),
        ]);
        table.row(vec!["node-one".into(), 7.into(), "sleep 100".into()]);
        table.row(vec![Cell::toned("é", Tone::Bad), 12345.into(), "x".into()]);
        table
    }

    #[test]
    fn columns_are_aligned_and_lines_have_no_blanks_at_their_end() {
        assert_eq!(
            table().render(false, None),
            "NAME       SIZE  COMMAND\n\
             node-one      7  sleep 100\n\
             é         12345  x\n"
        );
    }

    #[test]
    fn colour_changes_no_width_and_the_last_column_is_cut_to_the_terminal() {
        let text = table().render(true, Some(20));
        assert!(
            text.contains("\x1b[31mé\x1b[0m         12345  x\n"),
            "{text}"
        );
        assert!(text.contains("      7  sle\n"), "{text}");
    }

    #[test]
    fn sizes_have_a_unit_and_few_digits() {
        for (bytes, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (10 * 1024, "10 KiB"),
            (1024 * 1024 - 1, "1.0 MiB"),
            (5 << 30, "5.0 GiB"),
            (u64::MAX, "16 EiB"),
        ] {
            assert_eq!(size(bytes), text);
        }
    }

    proptest! {
        #[test]
        fn any_size_is_short(bytes: u64) {
            prop_assert!(size(bytes).len() <= 8, "{}", size(bytes));
        }
    }
}
