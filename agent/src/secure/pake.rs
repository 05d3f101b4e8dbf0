//! CPace: two sides that know the same short code get the same strong key, and nobody who does not know the
//! code can find it out by trying codes on what he has seen.
//!
//! CPACE-RISTR255-SHA512 of draft-irtf-cfrg-cpace, in its initiator-responder form:
//!
//! 1. both sides turn the code into a generator `g` of the group, by a hash;
//! 2. each draws a secret number and sends its share, `g` times that number;
//! 3. each multiplies the other's share by its own number, and hashes that with all that was said.
//!
//! Who takes part has to decide on one code before he sees anything that depends on the other's: each run is
//! one guess, and after it he knows no more than whether it was right. That holds on both sides, and for
//! somebody between them, too. Which runs are allowed is for the caller to say.
//!
//! The group is that of the curve library that `snow` uses already; the hash is `ring`'s.

use curve25519_dalek::ristretto::{CompressedRistretto, RistrettoPoint};
use curve25519_dalek::scalar::Scalar;
use curve25519_dalek::traits::IsIdentity;
use ring::digest::{SHA512, digest};

/// Bytes of a share.
pub const SHARE_BYTES: usize = 32;

/// Bytes of the key that comes of a run.
pub const KEY_BYTES: usize = 64;

/// Bytes of randomness that a run takes.
pub const RANDOM_BYTES: usize = 64;

const SUITE: &[u8] = b"CPaceRistretto255";
const SUITE_KEY: &[u8] = b"CPaceRistretto255_ISK";

/// Bytes that SHA-512 takes in at a time.
const HASH_BLOCK_BYTES: usize = 128;

/// What both sides must have the same view of before a run.
#[derive(Clone, Copy, Debug)]
pub struct Agreement<'a> {
    /// The code.
    pub code: &'a [u8],
    /// What the key is for.
    pub channel: &'a [u8],
    /// Names this run; used once.
    pub session: &'a [u8],
}

/// A side's share, and what goes with it and is authenticated.
#[derive(Clone, Copy, Debug)]
pub struct Said<'a> {
    /// The share.
    pub share: &'a [u8; SHARE_BYTES],
    /// What goes with it.
    pub data: &'a [u8],
}

/// One side of a run.
pub struct Half {
    number: Scalar,
    share: [u8; SHARE_BYTES],
}

impl Half {
    /// Begins a run; `random` must be new for each.
    #[must_use]
    pub fn new(agreement: &Agreement<'_>, random: &[u8; RANDOM_BYTES]) -> Half {
        let number = Scalar::from_bytes_mod_order_wide(random);
        let share = (generator(agreement) * number).compress().to_bytes();
        Half { number, share }
    }

    /// What the other side has to be sent.
    #[must_use]
    pub fn share(&self) -> &[u8; SHARE_BYTES] {
        &self.share
    }

    /// The key, from what the initiator and the responder have said; the same on the other side if it had the
    /// same agreement and heard the same. None if `theirs` is no sound share.
    #[must_use]
    pub fn key(
        &self,
        session: &[u8],
        theirs: &[u8; SHARE_BYTES],
        (initiator, responder): (Said<'_>, Said<'_>),
    ) -> Option<[u8; KEY_BYTES]> {
        let point = CompressedRistretto(*theirs).decompress()? * self.number;
        if point.is_identity() {
            return None;
        }
        let mut text = Vec::new();
        append(&mut text, SUITE_KEY);
        append(&mut text, session);
        append(&mut text, point.compress().as_bytes());
        for said in [initiator, responder] {
            append(&mut text, said.share);
            append(&mut text, said.data);
        }
        Some(hash(&text))
    }
}

/// `calculate_generator` of the draft.
fn generator(agreement: &Agreement<'_>) -> RistrettoPoint {
    let mut text = Vec::new();
    append(&mut text, SUITE);
    append(&mut text, agreement.code);
    // The code fills a block of the hash, whatever its length.
    let padding = vec![0; (HASH_BLOCK_BYTES - 1).saturating_sub(text.len())];
    append(&mut text, &padding);
    append(&mut text, agreement.channel);
    append(&mut text, agreement.session);
    RistrettoPoint::from_uniform_bytes(&hash(&text))
}

/// `data` behind its length in LEB128.
fn append(text: &mut Vec<u8>, data: &[u8]) {
    let mut length = data.len();
    while length >= 0x80 {
        text.push(length as u8 & 0x7f | 0x80);
        length >>= 7;
    }
    text.push(length as u8);
    text.extend_from_slice(data);
}

/// SHA-512.
fn hash(text: &[u8]) -> [u8; KEY_BYTES] {
    let hash = digest(&SHA512, text);
    std::array::from_fn(|place| hash.as_ref()[place])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn bytes<const N: usize>(hexadecimal: &str) -> [u8; N] {
        let byte = |place: usize| u8::from_str_radix(&hexadecimal[2 * place..2 * place + 2], 16);
        assert_eq!(hexadecimal.len(), 2 * N);
        std::array::from_fn(|place| byte(place).unwrap())
    }

    fn half(agreement: &Agreement<'_>, number: [u8; 32]) -> Half {
        let mut random = [0; RANDOM_BYTES];
        random[..32].copy_from_slice(&number);
        Half::new(agreement, &random)
    }

    /// The key on both sides: the initiator's, the responder's.
    fn keys(
        session: &[u8],
        (a, a_data): (&Half, &[u8]),
        (b, b_data): (&Half, &[u8]),
    ) -> [Option<[u8; KEY_BYTES]>; 2] {
        let (share, data) = (a.share(), a_data);
        let initiator = Said { share, data };
        let (share, data) = (b.share(), b_data);
        let said = (initiator, Said { share, data });
        [
            a.key(session, b.share(), said),
            b.key(session, a.share(), said),
        ]
    }

    #[test]
    fn the_draft_s_own_example_gives_its_generator_shares_and_key() {
        let session: [u8; 16] = bytes("7e4b4791d6a8ef019b936c79fb7f2c57");
        let agreement = Agreement {
            code: b"Password",
            channel: b"oc\x0bB_responder\x0bA_initiator",
            session: &session,
        };
        assert_eq!(
            generator(&agreement).compress().to_bytes(),
            bytes("a6fc82c3b8968fbb2e06fee81ca858586dea50d248f0c7ca6a18b0902a30b36b")
        );
        let a = half(
            &agreement,
            bytes("da3d23700a9e5699258aef94dc060dfda5ebb61f02a5ea77fad53f4ff0976d08"),
        );
        let b = half(
            &agreement,
            bytes("d2316b454718c35362d83d69df6320f38578ed5984651435e2949762d900b80d"),
        );
        assert_eq!(
            a.share(),
            &bytes("d40fb265a7abeaee7939d91a585fe59f7053f982c296ec413c624c669308f87a")
        );
        assert_eq!(
            b.share(),
            &bytes("08bcf6e9777a9c313a3db6daa510f2d398403319c2341bd506a92e672eb7e307")
        );
        let key = bytes(
            "4c5469a16b2364c4b944ebc1a79e51d1674ad47db26e8718154f59faebfaa52d\
             8346f30aa58377117eb20d527f2cbc5c76381f7fd372e89df8239f87f2e02ed1",
        );
        let both = keys(&session, (&a, b"ADa"), (&b, b"ADb"));
        assert_eq!(both, [Some(key), Some(key)]);
    }

    #[test]
    fn another_code_another_purpose_or_another_run_gives_another_key() {
        let agreement = Agreement {
            code: b"1",
            channel: b"x",
            session: b"s",
        };
        let a = half(&agreement, [1; 32]);
        let others = [
            Agreement {
                code: b"2",
                ..agreement
            },
            Agreement {
                channel: b"y",
                ..agreement
            },
            Agreement {
                session: b"t",
                ..agreement
            },
        ];
        for other in others {
            let b = half(&other, [2; 32]);
            let [ours, theirs] = keys(b"s", (&a, b""), (&b, b""));
            assert!(ours.is_some() && theirs.is_some() && ours != theirs);
        }
    }

    #[test]
    fn the_neutral_element_and_what_is_no_element_are_no_shares() {
        let agreement = Agreement {
            code: b"1",
            channel: b"",
            session: b"",
        };
        let half = half(&agreement, [7; 32]);
        let said = Said {
            share: half.share(),
            data: b"",
        };
        for share in [[0; 32], [0xff; 32]] {
            assert_eq!(half.key(b"", &share, (said, said)), None);
        }
    }

    proptest! {
        #[test]
        fn random_shares_are_refused_or_give_a_key_that_is_nobody_elses(
            share in any::<[u8; 32]>(),
        ) {
            let agreement = Agreement { code: b"1", channel: b"", session: b"" };
            let (one, other) = (half(&agreement, [7; 32]), half(&agreement, [8; 32]));
            let said = Said { share: &share, data: b"" };
            let keys = [&one, &other].map(|half| half.key(b"", &share, (said, said)));
            prop_assert!(keys == [None, None] || keys[0] != keys[1]);
        }
    }
}
