//! Lines as a terminal of a given width draws them: what is too long goes on in the next row, tones are colours (pure).

use crate::line::{Line, Tone};

const HOME: &str = "\x1b[H";
const CLEAR_TO_END_OF_LINE: &str = "\x1b[K";
const CLEAR_TO_END_OF_SCREEN: &str = "\x1b[J";
const SHOW_CURSOR: &str = "\x1b[?25h";
const HIDE_CURSOR: &str = "\x1b[?25l";

/// Left of everything, in characters.
const MARGIN: usize = 2;
/// Left of what goes on from the row above, beside the margin.
const INDENT: usize = 4;
/// A narrower terminal is drawn as if it had so many columns.
const COLUMNS_MIN: usize = 20;
/// What a terminal has that does not say so.
pub(crate) const COLUMNS_DEFAULT: usize = 80;

/// The whole screen, drawn over what is there so that it does not flicker. The cursor stays behind the last
/// line, and is seen if somebody is to type there.
pub(crate) fn drawn(lines: &[Line], columns: usize, asks: bool) -> String {
    let width = columns.max(COLUMNS_MIN) - MARGIN;
    let mut text = format!("{HIDE_CURSOR}{HOME}{CLEAR_TO_END_OF_LINE}");
    for row in lines.iter().flat_map(|line| rows(line, width)) {
        text.push('\n');
        text.push_str(&" ".repeat(MARGIN));
        text.push_str(&coloured(&row));
        text.push_str(CLEAR_TO_END_OF_LINE);
    }
    text.push('\n');
    text.push_str(CLEAR_TO_END_OF_SCREEN);
    if asks {
        text.push_str(SHOW_CURSOR);
    }
    text
}

/// Breaks a line into rows of at most `width` characters, between words where that is possible.
fn rows(line: &Line, width: usize) -> Vec<Vec<(Tone, char)>> {
    let mut rest: Vec<(Tone, char)> = line.characters().collect();
    while rest.last().is_some_and(|(_, character)| *character == ' ') {
        rest.pop();
    }
    let mut rows = Vec::new();
    while rest.len() > width {
        let first_word = rest.iter().position(|(_, character)| *character != ' ');
        let spaces = rest[..=width].iter().rposition(|(_, it)| *it == ' ');
        let end = spaces
            .filter(|&end| Some(end) > first_word)
            .unwrap_or(width);
        let next = rest.split_off(end);
        rows.push(std::mem::replace(
            &mut rest,
            vec![(Tone::Plain, ' '); INDENT],
        ));
        rest.extend(next.into_iter().skip_while(|(_, it)| *it == ' '));
    }
    rows.push(rest);
    rows
}

fn coloured(row: &[(Tone, char)]) -> String {
    let mut text = String::new();
    let mut before = Tone::Plain;
    for &(tone, character) in row {
        if tone != before {
            text.push_str(colour(tone));
            before = tone;
        }
        text.push(character);
    }
    if before != Tone::Plain {
        text.push_str(colour(Tone::Plain));
    }
    text
}

/// The sequence that ends the tone before and begins this (console_codes(4)).
fn colour(tone: Tone) -> &'static str {
    match tone {
        Tone::Plain => "\x1b[0m",
        Tone::Own => "\x1b[0;1m",
        Tone::Faint => "\x1b[0;90m",
        Tone::Cool => "\x1b[0;32m",
        Tone::Warm => "\x1b[0;33m",
        Tone::Hot => "\x1b[0;31m",
        Tone::Wrong => "\x1b[0;91m",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn broken(text: &str, width: usize) -> Vec<String> {
        let rows = rows(&Line::new(Tone::Plain, text), width);
        let text = |row: &Vec<(Tone, char)>| row.iter().map(|(_, it)| *it).collect();
        rows.iter().map(text).collect()
    }

    #[test]
    fn what_is_too_long_goes_on_in_the_next_row_indented() {
        assert_eq!(broken("", 12), [""]);
        assert_eq!(broken("twelve chars", 12), ["twelve chars"]);
        assert_eq!(
            broken("no room for all of this", 12),
            ["no room for", "    all of", "    this"]
        );
        assert_eq!(
            broken("  oneword thatislong", 10),
            ["  oneword", "    thatis", "    long"]
        );
    }

    #[test]
    fn a_screen_is_drawn_over_and_what_was_longer_is_cleared() {
        let text = drawn(&[Line::new(Tone::Plain, "a")], 80, false);
        assert_eq!(text, "\x1b[?25l\x1b[H\x1b[K\n  a\x1b[K\n\x1b[J");
        assert!(drawn(&[], 0, true).ends_with("\x1b[?25h"));
    }

    #[test]
    fn colours_end_with_their_row() {
        let line = Line::new(Tone::Plain, "a ").and(Tone::Wrong, "b");
        let text = drawn(&[line], 80, false);
        assert!(text.contains("  a \x1b[0;91mb\x1b[0m\x1b[K"), "{text:?}");
    }
}
