//! Numbers and names as /proc writes them: strict, for any bytes.

use std::str::FromStr;

/// A decimal number: digits, with a minus sign only where the type has one. Nothing else.
pub(super) fn decimal<T: FromStr>(text: &[u8]) -> Option<T> {
    let digits = text.strip_prefix(b"-").unwrap_or(text);
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// A hexadecimal number without prefix.
pub(super) fn hexadecimal(text: &[u8]) -> Option<u64> {
    if text.is_empty() || !text.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    u64::from_str_radix(std::str::from_utf8(text).ok()?, 16).ok()
}

/// An octal number without prefix (a leading zero does no harm).
pub(super) fn octal(text: &[u8]) -> Option<u32> {
    if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    u32::from_str_radix(std::str::from_utf8(text).ok()?, 8).ok()
}

/// The words of a line, separated by spaces and tabs.
pub(super) fn words(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    line.split(|byte| matches!(byte, b' ' | b'\t'))
        .filter(|word| !word.is_empty())
}

/// The lines of a file, each with its number from 1; an unfinished last line counts.
pub(super) fn lines(contents: &[u8]) -> impl Iterator<Item = (usize, &[u8])> {
    let contents = contents.strip_suffix(b"\n").unwrap_or(contents);
    let lines = (!contents.is_empty()).then(|| contents.split(|byte| *byte == b'\n'));
    lines
        .into_iter()
        .flatten()
        .enumerate()
        .map(|(index, line)| (index + 1, line))
}

/// Splits `Key:<blanks>value`.
pub(super) fn key_and_value(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let colon = line.iter().position(|byte| *byte == b':')?;
    Some((&line[..colon], line[colon + 1..].trim_ascii()))
}

/// A value in kilobytes (`1764 kB`), in bytes.
pub(super) fn kilobytes(value: &[u8]) -> Option<u64> {
    let number = value.strip_suffix(b" kB")?;
    decimal::<u64>(number.trim_ascii())?.checked_mul(1024)
}

/// The name of a process as a person may see it: the kernel's escapes (`\n` and `\\`) undone first, then
/// whatever a terminal would obey escaped again.
pub(super) fn process_name(raw: &[u8]) -> String {
    let mut name = Vec::with_capacity(raw.len());
    let mut rest = raw;
    while let Some((first, after)) = rest.split_first() {
        let (byte, after) = match (first, after) {
            (b'\\', [b'n', after @ ..]) => (b'\n', after),
            (b'\\', [b'\\', after @ ..]) => (b'\\', after),
            _ => (*first, after),
        };
        name.push(byte);
        rest = after;
    }
    printable(&name)
}

/// Bytes as one line of text that is safe to show: control characters are escaped.
pub(super) fn printable(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        if character.is_control() {
            shown.extend(character.escape_default());
        } else {
            shown.push(character);
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_strict() {
        assert_eq!(decimal::<u32>(b"42"), Some(42));
        assert_eq!(decimal::<i32>(b"-1"), Some(-1));
        for bad in [
            &b""[..],
            b"+1",
            b"-",
            b"--1",
            b" 1",
            b"1 ",
            b"0x1",
            b"4294967296",
            b"\xff",
        ] {
            assert_eq!(decimal::<u32>(bad), None, "{bad:?}");
        }
        assert_eq!(decimal::<u32>(b"-1"), None);
        assert_eq!(hexadecimal(b"7fff0000"), Some(0x7fff_0000));
        for bad in [&b""[..], b"+f", b"g", b"10000000000000000"] {
            assert_eq!(hexadecimal(bad), None, "{bad:?}");
        }
        assert_eq!(octal(b"0100000"), Some(0o100_000));
        assert_eq!(octal(b"8"), None);
    }

    #[test]
    fn a_name_cannot_command_the_terminal() {
        assert_eq!(process_name(b"a\\nb"), "a\\nb");
        assert_eq!(process_name(b"a\\\\b"), "a\\b");
        assert_eq!(process_name(b"\x1b[2J"), "\\u{1b}[2J");
        assert_eq!(process_name(b"caf\xc3\xa9"), "caf\u{e9}");
        assert_eq!(process_name(b"\xff"), "\u{fffd}");
    }

    #[test]
    fn lines_are_numbered_and_an_empty_file_has_none() {
        assert_eq!(lines(b"").count(), 0);
        assert_eq!(lines(b"\n").count(), 0);
        assert_eq!(
            lines(b"a\n\nb").collect::<Vec<_>>(),
            [(1, &b"a"[..]), (2, b""), (3, b"b")]
        );
    }
}
