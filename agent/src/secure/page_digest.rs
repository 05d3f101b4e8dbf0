//! Digests by which two nodes find out which pages of a process they both have.
//!
//! A digest is the beginning of the Poly1305 code (RFC 8439) of a page, under a key that is drawn for one journey
//! and told to the other side. Pages whose contents were there before the key are different and have the same
//! digest with a probability of less than 2^-55.

use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::rand::{SecureRandom, SystemRandom};

use crate::migrate::image::PAGE_BYTES;

const PAGE: usize = PAGE_BYTES as usize;

/// Length of a digest in bytes.
pub const DIGEST_BYTES: usize = 8;

/// Length of a whole code in bytes.
pub const CODE_BYTES: usize = 16;

/// Length of a key in bytes.
pub const KEY_BYTES: usize = 32;

/// The key of one journey.
#[derive(Clone, Debug)]
pub struct DigestKey(pub [u8; KEY_BYTES]);

impl DigestKey {
    /// A fresh one.
    pub fn random() -> std::io::Result<DigestKey> {
        let mut key = [0; KEY_BYTES];
        match SystemRandom::new().fill(&mut key) {
            Ok(()) => Ok(DigestKey(key)),
            Err(_) => Err(std::io::Error::other("the kernel gives no random bytes")),
        }
    }
}

impl DigestKey {
    /// The digest of each page of `contents`.
    ///
    /// # Errors
    /// Never, as far as the cipher's documentation goes.
    pub fn digests(&self, contents: &[u8]) -> std::io::Result<Vec<u8>> {
        let key = self.cipher()?;
        let mut digests = Vec::with_capacity(contents.len() / PAGE * DIGEST_BYTES);
        for page in contents.chunks(PAGE) {
            digests.extend_from_slice(&code(&key, page)?[..DIGEST_BYTES]);
        }
        Ok(digests)
    }

    /// The whole code of `contents`.
    ///
    /// # Errors
    /// As [`Self::digests`].
    pub fn digest(&self, contents: &[u8]) -> std::io::Result<[u8; CODE_BYTES]> {
        code(&self.cipher()?, contents)
    }

    fn cipher(&self) -> std::io::Result<LessSafeKey> {
        let key = UnboundKey::new(&CHACHA20_POLY1305, &self.0).map_err(failed)?;
        Ok(LessSafeKey::new(key))
    }
}

fn code(key: &LessSafeKey, contents: &[u8]) -> std::io::Result<[u8; CODE_BYTES]> {
    // Nothing is encrypted: one nonce will do.
    let nonce = Nonce::assume_unique_for_key([0; NONCE_LEN]);
    let code = key.seal_in_place_separate_tag(nonce, Aad::from(contents), &mut []);
    let code = code.map_err(failed)?;
    code.as_ref().try_into().map_err(std::io::Error::other)
}

fn failed(_: ring::error::Unspecified) -> std::io::Error {
    std::io::Error::other("no digest of memory")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_have_the_same_digest_if_they_are_the_same_and_the_key_is() {
        let (one, other) = (DigestKey([1; 32]), DigestKey([2; 32]));
        let mut contents = vec![7; 3 * PAGE];
        contents[PAGE + 100] = 8;
        let digests = one.digests(&contents).unwrap();
        let digests: Vec<&[u8]> = digests.chunks(DIGEST_BYTES).collect();
        assert_eq!(digests.len(), 3);
        assert_eq!(digests[0], digests[2]);
        assert_ne!(digests[0], digests[1]);
        assert_ne!(
            digests[0],
            &other.digests(&contents).unwrap()[..DIGEST_BYTES]
        );
    }
}
