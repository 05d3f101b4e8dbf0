//! What a remote node still has of files that processes of this home have mapped before: a program that is sent there
//! once more brings nothing but names for it.
//!
//! A piece is what one message carries of a file. Its digest is its whole Poly1305 code (RFC 8439) under a key that
//! home's agent draws and never tells. So nobody can make contents whose digest is that of others: for two
//! different pieces that is less likely than 2^-85. The remote node does not compute digests; it stores what it was
//! sent under the name that home gave it ([`super::piece_store`]), for processes of that home alone.

use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;

use crate::secure::page_digest::DigestKey;

/// Length of a digest in bytes.
pub const DIGEST_BYTES: usize = 16;

/// Names a piece.
pub type PieceDigest = [u8; DIGEST_BYTES];

/// Shorter pieces are sent: to name them saves too little.
pub const PIECE_BYTES_MIN: usize = 16 << 10;

/// The pieces that a remote node has said it has.
pub struct KnownPieces {
    key: DigestKey,
    digests: BTreeSet<PieceDigest>,
}

impl KnownPieces {
    /// Those whose digests `list` is made of; what is left over at its end is ignored.
    pub fn new(key: DigestKey, list: &[u8]) -> KnownPieces {
        let digests = list.as_chunks().0.iter().copied().collect();
        KnownPieces { key, digests }
    }

    /// The digest of `contents`, and whether the remote node has them.
    pub fn look_up(&self, contents: &[u8]) -> io::Result<(PieceDigest, bool)> {
        let digest = self.key.digest(contents)?;
        Ok((digest, self.digests.contains(&digest)))
    }
}

/// Whether a file's contents may stay behind on a remote node: it has a name, and everybody at home may read it.
/// That is so of programs and libraries, and not of shared memory.
pub fn may_be_kept(file: &File) -> bool {
    const OTHERS_READ: u32 = 0o004;
    file.metadata().is_ok_and(|metadata| {
        metadata.is_file() && metadata.nlink() > 0 && metadata.mode() & OTHERS_READ != 0
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_piece_is_known_by_all_of_its_bytes_and_its_length() {
        let key = DigestKey([3; 32]);
        let contents = vec![5; PIECE_BYTES_MIN];
        let (digest, is_known) = KnownPieces::new(key.clone(), &[])
            .look_up(&contents)
            .unwrap();
        assert!(!is_known);
        let mut list = vec![9; DIGEST_BYTES];
        list.extend(digest);
        list.push(1);
        let known = KnownPieces::new(key, &list);
        assert!(known.look_up(&contents).unwrap().1);
        assert!(!known.look_up(&contents[1..]).unwrap().1);
        let mut other = contents.clone();
        other[PIECE_BYTES_MIN - 1] ^= 1;
        assert!(!known.look_up(&other).unwrap().1);
        let elsewhere = KnownPieces::new(DigestKey([4; 32]), &list);
        assert!(!elsewhere.look_up(&contents).unwrap().1);
    }

    #[test]
    fn only_named_files_that_all_may_read_are_kept() {
        use std::os::unix::fs::PermissionsExt;
        let flags = rustix::fs::MemfdFlags::CLOEXEC;
        let memory = File::from(rustix::fs::memfd_create("test", flags).unwrap());
        assert!(!may_be_kept(&memory));
        let path = std::env::temp_dir().join(format!("limosa-kept-{}", std::process::id()));
        let file = File::create(&path).unwrap();
        let set = |mode| {
            file.set_permissions(std::fs::Permissions::from_mode(mode))
                .unwrap();
        };
        set(0o644);
        assert!(may_be_kept(&file));
        set(0o640);
        assert!(!may_be_kept(&file));
        set(0o755);
        std::fs::remove_file(&path).unwrap();
        assert!(!may_be_kept(&file));
    }
}
