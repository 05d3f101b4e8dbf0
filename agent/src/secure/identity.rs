//! Who this node is: its static key pair, its id and its epoch, kept in the run directory.
//!
//! The run directory does not survive a boot, so neither does the identity: a booted PC is a new node
//! each time. An agent that is restarted is the same node in a later epoch, so that its guests and
//! deputies elsewhere still know it.

use std::fmt;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use blake2::digest::{FixedOutput, Update};
use blake2::{Blake2s256, Digest};
use ring::rand::{SecureRandom, SystemRandom};
use snow::params::DHChoice;
use snow::resolvers::{CryptoResolver, DefaultResolver};

use crate::wire::supervisor::NodeId;

/// File of the private key in the run directory.
const KEY_FILE: &str = "node.key";

/// File of the last epoch in the run directory.
const EPOCH_FILE: &str = "node.epoch";

/// Why this node has no identity.
#[derive(Debug)]
pub enum IdentityError {
    /// A file cannot be read or written.
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// The file is not what an agent wrote.
    Malformed(PathBuf),
    /// The kernel gives no random bytes, or the curve is missing.
    NoKeyPair,
}

impl fmt::Display for IdentityError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            IdentityError::File { path, error } => write!(f, "{}: {error}", path.display()),
            IdentityError::Malformed(path) => write!(
                f,
                "{} was not written by an agent; remove it, and this node gets a new identity",
                path.display()
            ),
            IdentityError::NoKeyPair => write!(f, "no key pair could be made"),
        }
    }
}

impl std::error::Error for IdentityError {}

/// This node's static key pair, id and epoch.
#[derive(Clone)]
pub struct NodeIdentity {
    private_key: [u8; 32],
    public_key: [u8; 32],
    id: NodeId,
    epoch: u64,
}

impl NodeIdentity {
    /// The identity that the run directory holds, in its next epoch; a new one if it holds none.
    pub fn load_or_generate(run_dir: &Path) -> Result<NodeIdentity, IdentityError> {
        let epoch = next_epoch(&run_dir.join(EPOCH_FILE))?;
        let path = run_dir.join(KEY_FILE);
        match fs::read(&path) {
            Ok(bytes) => {
                let key = bytes
                    .try_into()
                    .map_err(|_| IdentityError::Malformed(path))?;
                NodeIdentity::from_private_key(key, epoch)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let identity = NodeIdentity::generate(epoch)?;
                write_private(&path, &identity.private_key)?;
                Ok(identity)
            }
            Err(error) => Err(IdentityError::File { path, error }),
        }
    }

    /// A new identity that is kept nowhere.
    pub fn generate(epoch: u64) -> Result<NodeIdentity, IdentityError> {
        let mut private_key = [0; 32];
        SystemRandom::new()
            .fill(&mut private_key)
            .map_err(|_| IdentityError::NoKeyPair)?;
        NodeIdentity::from_private_key(private_key, epoch)
    }

    fn from_private_key(private_key: [u8; 32], epoch: u64) -> Result<NodeIdentity, IdentityError> {
        let curve = DefaultResolver.resolve_dh(&DHChoice::Curve25519);
        let mut curve = curve.ok_or(IdentityError::NoKeyPair)?;
        curve.set(&private_key);
        let public_key = curve
            .pubkey()
            .try_into()
            .map_err(|_| IdentityError::NoKeyPair)?;
        Ok(NodeIdentity {
            private_key,
            public_key,
            id: node_id(&public_key),
            epoch,
        })
    }

    pub(crate) fn private_key(&self) -> &[u8; 32] {
        &self.private_key
    }

    /// The static public key, which beacons tell.
    #[must_use]
    pub fn public_key(&self) -> &[u8; 32] {
        &self.public_key
    }

    /// The node's id.
    #[must_use]
    pub fn id(&self) -> NodeId {
        self.id
    }

    #[cfg(test)]
    pub(crate) fn at_epoch(self, epoch: u64) -> NodeIdentity {
        NodeIdentity { epoch, ..self }
    }

    /// Grows with every start of the agent.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.epoch
    }
}

/// Without the private key.
impl fmt::Debug for NodeIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NodeIdentity({:02x?}, epoch {})", self.id.0, self.epoch)
    }
}

/// The id of the node that has this static public key.
#[must_use]
pub fn node_id(public_key: &[u8; 32]) -> NodeId {
    let mut hash = Blake2s256::new();
    Update::update(&mut hash, public_key);
    let hash: [u8; 32] = hash.finalize_fixed().into();
    let mut id = [0; 16];
    id.copy_from_slice(&hash[..16]);
    NodeId(id)
}

/// Milliseconds since 1970, or one more than the last time if the clock was set back meanwhile.
fn next_epoch(path: &Path) -> Result<u64, IdentityError> {
    let last = match fs::read_to_string(path) {
        Ok(text) => text
            .trim()
            .parse()
            .map_err(|_| IdentityError::Malformed(path.into()))?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => 0_u64,
        Err(error) => {
            return Err(IdentityError::File {
                path: path.into(),
                error,
            });
        }
    };
    let since_1970 = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    let epoch = (since_1970.as_millis() as u64).max(last.saturating_add(1));
    write_private(path, epoch.to_string().as_bytes())?;
    Ok(epoch)
}

/// Replaces the file as a whole, readable by its owner only.
fn write_private(path: &Path, contents: &[u8]) -> Result<(), IdentityError> {
    let temporary = path.with_extension("new");
    let write = || -> io::Result<()> {
        match fs::remove_file(&temporary) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&temporary)?;
        file.write_all(contents)?;
        fs::rename(&temporary, path)
    };
    write().map_err(|error| IdentityError::File {
        path: path.into(),
        error,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    struct Directory(PathBuf);

    impl Directory {
        fn new(name: &str) -> Directory {
            let path = std::env::temp_dir().join(format!("limosa-{name}-{}", std::process::id()));
            fs::create_dir_all(&path).unwrap();
            Directory(path)
        }
    }

    impl Drop for Directory {
        fn drop(&mut self) {
            fs::remove_dir_all(&self.0).unwrap();
        }
    }

    #[test]
    fn a_restarted_agent_is_the_same_node_in_a_later_epoch() {
        let directory = Directory::new("identity");
        let first = NodeIdentity::load_or_generate(&directory.0).unwrap();
        let second = NodeIdentity::load_or_generate(&directory.0).unwrap();
        assert_eq!(
            (first.id(), first.public_key()),
            (second.id(), second.public_key())
        );
        assert!(second.epoch() > first.epoch());
        let mode = fs::metadata(directory.0.join(KEY_FILE))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn the_epoch_grows_even_if_the_clock_was_set_back() {
        let directory = Directory::new("epoch");
        fs::write(directory.0.join(EPOCH_FILE), "99999999999999").unwrap();
        let identity = NodeIdentity::load_or_generate(&directory.0).unwrap();
        assert_eq!(identity.epoch(), 100_000_000_000_000);
    }

    #[test]
    fn a_damaged_key_file_is_named_and_left_alone() {
        let directory = Directory::new("damaged");
        fs::write(directory.0.join(KEY_FILE), b"short").unwrap();
        let error = NodeIdentity::load_or_generate(&directory.0).unwrap_err();
        assert!(error.to_string().contains("node.key"), "{error}");
        assert_eq!(fs::read(directory.0.join(KEY_FILE)).unwrap(), b"short");
    }
}
