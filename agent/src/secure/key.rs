//! The cluster key: the one secret that the nodes of a cluster share, and the token that people copy.
//!
//! ```text
//! limosa1-<cluster>-<secret>-<check>
//!    |        |         |        `- 6 characters: finds every one to four wrong characters, so also any
//!    |        |         |           two that changed places
//!    |        |         `- 52 characters: 256 random bits
//!    |        `- 8 characters: the cluster's short id, a hash of the secret; not a secret itself
//!    `- what this is, and the version of this format
//! ```
//!
//! The alphabet is Crockford's base 32 in lower case: no `i`, `l`, `o` or `u` to be mistaken for
//! another character. The check is the BCH code of BIP 173 (bech32) over everything before it.
//!
//! Nothing is ever encrypted or authenticated with the secret itself: each use has a key of its own,
//! derived by keyed BLAKE2s ([`ClusterKey::derive`]).

use std::fmt;
use std::str::FromStr;

use blake2::Blake2sMac256;
use blake2::digest::{FixedOutput, KeyInit, Update};
use ring::rand::{SecureRandom, SystemRandom};

/// Bytes of the secret.
pub const SECRET_BYTES: usize = 32;

const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
const PREFIX: &str = "limosa1";
const CLUSTER_CHARACTERS: usize = 8;
const SECRET_CHARACTERS: usize = 52;
const CHECK_CHARACTERS: usize = 6;

/// The key that everybody has: nodes started with `--open` use it.
const OPEN_SECRET_TEXT: &[u8] = b"limosa open cluster: no secret";

/// Names a cluster without telling its secret: 40 bits of a hash of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ClusterId(pub [u8; 5]);

impl fmt::Display for ClusterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&encode(&self.0))
    }
}

/// The secret that nodes of one cluster share.
#[derive(Clone, PartialEq, Eq)]
pub struct ClusterKey {
    secret: [u8; SECRET_BYTES],
}

/// A part of the token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The cluster's short id.
    Cluster,
    /// The secret.
    Secret,
    /// The check characters.
    Check,
}

impl Part {
    fn name(self) -> &'static str {
        match self {
            Part::Cluster => "cluster",
            Part::Secret => "secret",
            Part::Check => "check",
        }
    }

    fn characters(self) -> usize {
        match self {
            Part::Cluster => CLUSTER_CHARACTERS,
            Part::Secret => SECRET_CHARACTERS,
            Part::Check => CHECK_CHARACTERS,
        }
    }
}

/// Why a text is not a cluster key, and which part of it is wrong. Never contains the secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyError {
    /// It does not begin with `limosa`.
    NotAKey,
    /// It is a key of another version of this format.
    Version,
    /// It does not have the four parts that the hyphens separate.
    Parts(usize),
    /// A part is too short or too long.
    Length {
        /// Which part.
        part: Part,
        /// How many characters it has.
        found: usize,
    },
    /// A part has a character that no key has.
    Character {
        /// Which part.
        part: Part,
        /// Where in that part, counted from 1.
        place: usize,
        /// The character.
        found: char,
    },
    /// The check characters do not fit the rest: something was mistyped.
    Check,
    /// All characters fit each other, but the cluster part is not that of the secret.
    ClusterOfAnother,
}

impl fmt::Display for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            KeyError::NotAKey => write!(f, "not a cluster key: one begins with \"{PREFIX}-\""),
            KeyError::Version => write!(
                f,
                "a cluster key of another version: this agent knows those that begin with \"{PREFIX}-\""
            ),
            KeyError::Parts(found) => write!(
                f,
                "the cluster key has {found} parts instead of 4 ({PREFIX}-<cluster>-<secret>-<check>): \
                 was it copied whole?"
            ),
            KeyError::Length { part, found } => write!(
                f,
                "the {} part of the cluster key has {found} characters instead of {}",
                part.name(),
                part.characters()
            ),
            KeyError::Character { part, place, found } => {
                write!(
                    f,
                    "character {place} of the {} part of the cluster key is {found:?}, which no key has",
                    part.name()
                )?;
                match found {
                    'o' | 'O' => write!(f, "; perhaps it is the digit 0"),
                    'i' | 'l' | 'I' | 'L' => write!(f, "; perhaps it is the digit 1"),
                    'A'..='Z' => write!(f, "; keys are written in lower case"),
                    _ => Ok(()),
                }
            }
            KeyError::Check => write!(
                f,
                "the check part of the cluster key does not fit the rest: a character is wrong or two \
                 changed places"
            ),
            KeyError::ClusterOfAnother => {
                write!(
                    f,
                    "the cluster part of the cluster key does not belong to its secret part"
                )
            }
        }
    }
}

impl std::error::Error for KeyError {}

impl ClusterKey {
    /// A new random key.
    ///
    /// # Errors
    /// When the kernel gives no random bytes.
    pub fn generate() -> Result<ClusterKey, RandomError> {
        let mut secret = [0; SECRET_BYTES];
        SystemRandom::new()
            .fill(&mut secret)
            .map_err(|_| RandomError)?;
        Ok(ClusterKey { secret })
    }

    /// The key that everybody knows: whoever is on the network can join and run programs here.
    #[must_use]
    pub fn open() -> ClusterKey {
        ClusterKey {
            secret: mac(&[0; SECRET_BYTES], OPEN_SECRET_TEXT),
        }
    }

    /// Whether this is the key that everybody knows.
    #[must_use]
    pub fn is_open(&self) -> bool {
        *self == ClusterKey::open()
    }

    /// Reads a token; blanks around it do not matter.
    pub fn parse(token: &str) -> Result<ClusterKey, KeyError> {
        let token = token.trim_ascii();
        if !token.starts_with("limosa") {
            return Err(KeyError::NotAKey);
        }
        let mut parts = token.split('-');
        if parts.next() != Some(PREFIX) {
            return Err(KeyError::Version);
        }
        let (Some(cluster), Some(secret), Some(check), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(KeyError::Parts(token.split('-').count()));
        };
        let cluster = values(Part::Cluster, cluster)?;
        let secret = values(Part::Secret, secret)?;
        let check = values(Part::Check, check)?;
        if check != check_values(&cluster, &secret) {
            return Err(KeyError::Check);
        }
        let key = ClusterKey {
            secret: decode(&secret).ok_or(KeyError::Check)?,
        };
        if values(Part::Cluster, &key.cluster().to_string())? != cluster {
            return Err(KeyError::ClusterOfAnother);
        }
        Ok(key)
    }

    /// The cluster's short id.
    #[must_use]
    pub fn cluster(&self) -> ClusterId {
        let hash = self.derive("cluster id");
        let mut id = [0; 5];
        id.copy_from_slice(&hash[..5]);
        ClusterId(id)
    }

    /// A key for one use, which `purpose` names. Keys of different purposes tell nothing of each other.
    #[must_use]
    pub fn derive(&self, purpose: &str) -> [u8; 32] {
        mac(&self.secret, format!("limosa 1 {purpose}").as_bytes())
    }

    /// The key that authenticates beacons.
    #[must_use]
    pub fn beacon_key(&self) -> [u8; 32] {
        self.derive("beacon")
    }

    /// The key that authenticates membership datagrams.
    #[must_use]
    pub fn membership_key(&self) -> [u8; 32] {
        self.derive("membership")
    }

    /// The pre-shared key of the Noise handshake.
    #[must_use]
    pub fn handshake_key(&self) -> [u8; 32] {
        self.derive("handshake")
    }
}

impl FromStr for ClusterKey {
    type Err = KeyError;

    fn from_str(token: &str) -> Result<ClusterKey, KeyError> {
        ClusterKey::parse(token)
    }
}

/// The token, secret included.
impl fmt::Display for ClusterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cluster = self.cluster().to_string();
        let secret = encode(&self.secret);
        let digits = |text: &str| -> Vec<u8> { text.bytes().filter_map(value).collect() };
        let check = check_values(&digits(&cluster), &digits(&secret));
        write!(f, "{PREFIX}-{cluster}-{secret}-")?;
        check
            .iter()
            .try_for_each(|&value| write!(f, "{}", char::from(ALPHABET[value as usize])))
    }
}

/// Without the secret, so that it cannot slip into a log.
impl fmt::Debug for ClusterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ClusterKey({})", self.cluster())
    }
}

/// The kernel gave no random bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RandomError;

impl fmt::Display for RandomError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the kernel gives no random bytes (getrandom failed), so no key can be made"
        )
    }
}

impl std::error::Error for RandomError {}

/// Keyed BLAKE2s-256.
pub(crate) fn mac(key: &[u8; 32], message: &[u8]) -> [u8; 32] {
    let mut mac = Blake2sMac256::new(key.into());
    mac.update(message);
    mac.finalize_fixed().into()
}

fn value(character: u8) -> Option<u8> {
    ALPHABET
        .iter()
        .position(|&known| known == character)
        .map(|place| place as u8)
}

fn values(part: Part, text: &str) -> Result<Vec<u8>, KeyError> {
    let found = text.chars().count();
    if found != part.characters() {
        return Err(KeyError::Length { part, found });
    }
    text.chars()
        .enumerate()
        .map(|(place, found)| {
            u8::try_from(found)
                .ok()
                .and_then(value)
                .ok_or(KeyError::Character {
                    part,
                    place: place + 1,
                    found,
                })
        })
        .collect()
}

fn encode(bytes: &[u8]) -> String {
    let mut text = String::new();
    let (mut bits, mut held) = (0_u32, 0);
    for &byte in bytes {
        bits = (bits << 8) | u32::from(byte);
        held += 8;
        while held >= 5 {
            held -= 5;
            text.push(char::from(ALPHABET[(bits >> held & 31) as usize]));
        }
    }
    if held > 0 {
        text.push(char::from(ALPHABET[(bits << (5 - held) & 31) as usize]));
    }
    text
}

/// The secret of 52 digits; the four bits that are left over must be zero.
fn decode(digits: &[u8]) -> Option<[u8; SECRET_BYTES]> {
    let mut bytes = Vec::with_capacity(SECRET_BYTES);
    let (mut bits, mut held) = (0_u32, 0);
    for &digit in digits {
        bits = (bits << 5) | u32::from(digit);
        held += 5;
        if held >= 8 {
            held -= 8;
            bytes.push((bits >> held) as u8);
        }
    }
    if bits & ((1 << held) - 1) != 0 {
        return None;
    }
    bytes.try_into().ok()
}

/// The BCH code of BIP 173 over the prefix, the cluster and the secret.
fn check_values(cluster: &[u8], secret: &[u8]) -> [u8; CHECK_CHARACTERS] {
    const GENERATOR: [u32; 5] = [
        0x3b6a_57b2,
        0x2650_8e6d,
        0x1ea1_19fa,
        0x3d42_33dd,
        0x2a14_62b3,
    ];
    let prefix = PREFIX.bytes();
    let expanded = prefix
        .clone()
        .map(|byte| byte >> 5)
        .chain([0])
        .chain(prefix.map(|b| b & 31));
    let data = cluster.iter().chain(secret).copied();
    let mut remainder = 1_u32;
    for value in expanded.chain(data).chain([0; CHECK_CHARACTERS]) {
        let top = remainder >> 25;
        remainder = (remainder & 0x01ff_ffff) << 5 ^ u32::from(value);
        for (bit, generator) in GENERATOR.iter().enumerate() {
            if top >> bit & 1 == 1 {
                remainder ^= generator;
            }
        }
    }
    remainder ^= 1;
    std::array::from_fn(|place| (remainder >> (5 * (CHECK_CHARACTERS - 1 - place)) & 31) as u8)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn token() -> String {
        ClusterKey {
            secret: std::array::from_fn(|place| place as u8 * 7),
        }
        .to_string()
    }

    #[test]
    fn a_token_reads_back_as_the_key_it_was_made_of() {
        let key = ClusterKey::generate().unwrap();
        assert_eq!(ClusterKey::parse(&format!(" {key}\n")).unwrap(), key);
        assert_ne!(ClusterKey::generate().unwrap(), key);
    }

    #[test]
    fn every_single_wrong_character_is_found() {
        let token = token();
        for place in PREFIX.len() + 1..token.len() {
            if token.as_bytes()[place] == b'-' {
                continue;
            }
            for &other in ALPHABET
                .iter()
                .filter(|&&other| other != token.as_bytes()[place])
            {
                let mut wrong = token.clone().into_bytes();
                wrong[place] = other;
                let wrong = String::from_utf8(wrong).unwrap();
                assert_eq!(ClusterKey::parse(&wrong), Err(KeyError::Check), "{wrong}");
            }
        }
    }

    #[test]
    fn any_two_characters_that_changed_places_are_found() {
        let token = token();
        for first in PREFIX.len() + 1..token.len() {
            for second in first + 1..token.len() {
                let mut wrong = token.clone().into_bytes();
                wrong.swap(first, second);
                let wrong = String::from_utf8(wrong).unwrap();
                if wrong != token {
                    assert!(ClusterKey::parse(&wrong).is_err(), "{wrong}");
                }
            }
        }
    }

    #[test]
    fn the_error_says_which_part_is_wrong() {
        let token = token();
        let error = |wrong: &str| ClusterKey::parse(wrong).unwrap_err();
        assert_eq!(error("hello"), KeyError::NotAKey);
        assert_eq!(
            error(&token.replace("limosa1", "limosa2")),
            KeyError::Version
        );
        assert_eq!(error(&token[..token.len() - 7]), KeyError::Parts(3));
        assert_eq!(
            error(&token[..token.len() - 1]),
            KeyError::Length {
                part: Part::Check,
                found: 5
            }
        );
        let mut misread = token.clone();
        misread.replace_range(17..18, "o");
        assert_eq!(
            error(&misread).to_string(),
            "character 1 of the secret part of the cluster key is 'o', which no key has; perhaps it \
             is the digit 0"
        );
    }

    #[test]
    fn derived_keys_differ_by_purpose_and_by_key() {
        let (one, other) = (ClusterKey::generate().unwrap(), ClusterKey::open());
        assert_ne!(one.beacon_key(), one.handshake_key());
        assert_ne!(one.beacon_key(), other.beacon_key());
        assert!(other.is_open() && !one.is_open());
    }

    #[test]
    fn debug_output_does_not_tell_the_secret() {
        let key = ClusterKey::generate().unwrap();
        assert!(!format!("{key:?}").contains(&encode(&key.secret)));
    }

    proptest! {
        #[test]
        fn no_text_makes_the_parser_fail_otherwise_than_by_an_error(text in "\\PC{0,120}") {
            prop_assert!(ClusterKey::parse(&text).is_err());
        }

        #[test]
        fn no_text_of_the_right_shape_does_either(
            text in "limosa1-[0-9a-z]{8}-[0-9a-z]{51,53}-[0-9a-z]{6}",
        ) {
            prop_assert!(ClusterKey::parse(&text).is_err());
        }
    }
}
