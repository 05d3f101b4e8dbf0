//! What a newcomer shows and takes: its code, the one try that it is good for, and the rest after a wrong one.
//!
//! ```text
//!            opening about this request          wrong code: another one, and a rest
//! Listening ---------------------------> trying ------------------------------------> Resting
//!     ^                                    | right code: another one                     |
//!     |                                    v                                             |
//!     +--------------------------------- done        <----(the rest is over)-------------+
//! ```
//!
//! Several connections may have been answered when one of them makes its try; the others are about an outdated
//! code then and make none. The rest doubles each time, from [`REST_MIN`] to [`REST_MAX`], and never gets
//! shorter again, so that somebody who keeps guessing has some 150 tries a day.
//!
//! Pure: time and randomness are arguments.

use std::time::Duration;

use super::code::Code;
use super::exchange::{
    ANSWER_BYTES, Asking, CONFIRMATION_BYTES, ExchangeError, OPENING_BYTES, Opening, Proven,
    RequestId, part,
};
use crate::secure::pake;

/// The rest after the first wrong code.
pub const REST_MIN: Duration = Duration::from_secs(5);

/// The longest rest.
pub const REST_MAX: Duration = Duration::from_secs(600);

/// Bytes of randomness that a code and its request take.
pub const RANDOM_BYTES: usize = 24;

/// A newcomer's code and tries. All times are since an arbitrary start.
pub struct Request {
    id: RequestId,
    code: Code,
    rest: Duration,
    rests_until: Duration,
}

impl Request {
    /// The first code.
    #[must_use]
    pub fn new(random: [u8; RANDOM_BYTES]) -> Request {
        let (id, code) = draw(random);
        Request {
            id,
            code,
            rest: REST_MIN,
            rests_until: Duration::ZERO,
        }
    }

    /// Names what is asked for now.
    #[must_use]
    pub fn id(&self) -> RequestId {
        self.id
    }

    /// The code to show.
    #[must_use]
    pub fn code(&self) -> Code {
        self.code
    }

    /// Whether nobody is heard now.
    #[must_use]
    pub fn rests(&self, now: Duration) -> bool {
        now < self.rests_until
    }

    /// Answers who opens an exchange about the code that is shown.
    pub fn answer(
        &self,
        now: Duration,
        opening: &[u8; OPENING_BYTES],
        name: &str,
        random: &[u8; pake::RANDOM_BYTES],
    ) -> Result<(Asking, [u8; ANSWER_BYTES]), ExchangeError> {
        let opening = Opening::parse(opening)?;
        if opening.request != self.id || self.rests(now) {
            return Err(ExchangeError::Outdated);
        }
        Asking::answer(self.code, opening, name, random)
    }

    /// The try: is the other side's code the one that was shown? Whether it is or not, another takes its place.
    pub fn check(
        &mut self,
        now: Duration,
        asking: Asking,
        confirmation: &[u8; CONFIRMATION_BYTES],
        random: [u8; RANDOM_BYTES],
    ) -> Result<(Proven, [u8; CONFIRMATION_BYTES]), ExchangeError> {
        if asking.request != self.id {
            return Err(ExchangeError::Outdated);
        }
        (self.id, self.code) = draw(random);
        let checked = asking.check(confirmation);
        if checked.is_err() {
            self.rests_until = now + self.rest;
            self.rest = (self.rest * 2).min(REST_MAX);
        }
        checked
    }
}

fn draw(random: [u8; RANDOM_BYTES]) -> (RequestId, Code) {
    (part(&random, 0), Code::from_random(part(&random, 16)))
}

#[cfg(test)]
mod tests {
    use super::super::exchange::{Admitter, Admitting};
    use super::*;
    use crate::secure::key::ClusterId;

    const OPERATOR: [u8; pake::RANDOM_BYTES] = [1; pake::RANDOM_BYTES];
    const NEWCOMER: [u8; pake::RANDOM_BYTES] = [2; pake::RANDOM_BYTES];

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    /// An exchange about the request of this moment, up to the try, by somebody who has this code.
    fn open(request: &Request, now: Duration, code: Code) -> Option<(Asking, [u8; 32])> {
        let admitter = Admitter {
            cluster: ClusterId([7; 5]),
            name: "n1".into(),
        };
        let (admitting, opening) = Admitting::start(code, request.id(), &admitter, &OPERATOR);
        let (asking, answer) = request.answer(now, &opening, "n2", &NEWCOMER).ok()?;
        let (_, confirmation) = admitting.confirm(&answer).unwrap();
        Some((asking, confirmation))
    }

    fn other_than(code: Code) -> Code {
        let other = Code::from_random([200; 8]);
        assert_ne!(other, code);
        other
    }

    #[test]
    fn a_wrong_code_takes_the_code_away_and_brings_a_rest_that_doubles_up_to_its_end() {
        let mut request = Request::new([0; RANDOM_BYTES]);
        let mut now = seconds(0);
        let mut rests = Vec::new();
        for n in 1..12 {
            let shown = request.code();
            let (asking, wrong) = open(&request, now, other_than(shown)).unwrap();
            let checked = request.check(now, asking, &wrong, [n; RANDOM_BYTES]);
            assert_eq!(checked.err(), Some(ExchangeError::WrongCode));
            assert_ne!(request.code(), shown);
            assert!(open(&request, now, request.code()).is_none(), "it rests");
            rests.push((request.rests_until - now).as_secs());
            now = request.rests_until;
        }
        assert_eq!(rests, [5, 10, 20, 40, 80, 160, 320, 600, 600, 600, 600]);
        let (asking, right) = open(&request, now, request.code()).unwrap();
        assert!(request.check(now, asking, &right, [99; 24]).is_ok());
    }

    #[test]
    fn of_many_connections_that_were_answered_one_makes_a_try() {
        let mut request = Request::new([0; RANDOM_BYTES]);
        let now = seconds(1);
        let (code, wrong) = (request.code(), other_than(request.code()));
        let (first, first_says) = open(&request, now, wrong).unwrap();
        let (second, second_says) = open(&request, now, code).unwrap();
        assert!(
            request
                .check(now, first, &first_says, [1; RANDOM_BYTES])
                .is_err()
        );
        // Its code was right when it began, and does not help it any more.
        let late = request.check(now, second, &second_says, [2; RANDOM_BYTES]);
        assert_eq!(late.err(), Some(ExchangeError::Outdated));
        assert_eq!(request.code(), Request::new([1; RANDOM_BYTES]).code());
    }

    #[test]
    fn what_was_said_about_an_earlier_code_is_no_try() {
        let mut request = Request::new([0; RANDOM_BYTES]);
        let now = seconds(1);
        let (asking, right) = open(&request, now, request.code()).unwrap();
        let (code, admitter) = (request.code(), ClusterId([7; 5]));
        let admitter = Admitter {
            cluster: admitter,
            name: "n1".into(),
        };
        let (_, opening) = Admitting::start(code, request.id(), &admitter, &OPERATOR);
        assert!(request.check(now, asking, &right, [1; 24]).is_ok());
        let replayed = request.answer(now, &opening, "n2", &NEWCOMER);
        assert_eq!(replayed.err(), Some(ExchangeError::Outdated));
        assert!(!request.rests(now));
    }
}
