//! The code that a newcomer shows and an operator types: `48-291507`.
//!
//! The part in front, the mark, tells which newcomer is meant, and is no secret. What follows is one.

use std::fmt;
use std::str::FromStr;

const MARKS: u64 = 100;
const SECRETS: u64 = 1_000_000;
const DIGITS: usize = 8;

/// A code.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Code(u32);

impl Code {
    /// The code that these random bytes give; each is as probable as any other, but for 2^-37.
    #[must_use]
    pub fn from_random(random: [u8; 8]) -> Code {
        Code((u64::from_le_bytes(random) % (MARKS * SECRETS)) as u32)
    }

    /// Which newcomer is meant.
    #[must_use]
    pub fn mark(self) -> u8 {
        (u64::from(self.0) / SECRETS) as u8
    }

    /// What both sides must know.
    #[must_use]
    pub fn secret(self) -> [u8; 4] {
        self.0.to_be_bytes()
    }
}

/// Whether a newcomer's mark can be this.
#[must_use]
pub fn is_mark(mark: u8) -> bool {
    u64::from(mark) < MARKS
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let secret = u64::from(self.0) % SECRETS;
        write!(f, "{:02}-{secret:06}", self.mark())
    }
}

/// Without the secret, so that it cannot slip into a log.
impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Code({:02}-...)", self.mark())
    }
}

/// The text is no code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoCode;

impl fmt::Display for NoCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "a code has {DIGITS} digits, as in 48-291507: read it again from the screen of the PC that asks"
        )
    }
}

impl std::error::Error for NoCode {}

/// Blanks and hyphens do not matter.
impl FromStr for Code {
    type Err = NoCode;

    fn from_str(text: &str) -> Result<Code, NoCode> {
        let digits: String = text
            .chars()
            .filter(|character| !matches!(character, ' ' | '-'))
            .collect();
        let all_digits = digits.bytes().all(|digit| digit.is_ascii_digit());
        if digits.len() != DIGITS || !all_digits {
            return Err(NoCode);
        }
        digits.parse().map(Code).map_err(|_| NoCode)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_code_is_read_however_its_digits_are_grouped() {
        let code: Code = "48-291507".parse().unwrap();
        for text in ["48291507", "48 291 507", " 4829-1507 "] {
            assert_eq!(text.parse(), Ok(code));
        }
        assert_eq!(code.mark(), 48);
        for text in [
            "",
            "48-29150",
            "48-2915070",
            "48-29150a",
            "+8291507",
            "４8291507",
        ] {
            assert_eq!(text.parse::<Code>(), Err(NoCode), "{text}");
        }
    }

    #[test]
    fn a_log_does_not_get_the_secret() {
        let code: Code = "07-291507".parse().unwrap();
        assert_eq!(format!("{code:?}"), "Code(07-...)");
    }

    proptest! {
        #[test]
        fn what_is_drawn_is_shown_and_read_back(random in any::<[u8; 8]>()) {
            let code = Code::from_random(random);
            prop_assert!(is_mark(code.mark()));
            prop_assert_eq!(code.to_string().len(), DIGITS + 1);
            prop_assert_eq!(code.to_string().parse(), Ok(code));
        }

        #[test]
        fn any_text_is_a_code_or_none(text: String) {
            if let Ok(code) = text.parse::<Code>() {
                prop_assert!(text.contains(&code.to_string()[..1]));
            }
        }
    }
}
