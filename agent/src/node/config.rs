//! What an agent is told: by its command line, its configuration file, and otherwise by defaults.
//!
//! The file has one `name = value` a line, `#` begins a comment, and the names are those of the
//! options: `key`, `open`, `name`, `interface` and `seed` (any number of lines each), `block`,
//! `max-guests`, `port`, `run-dir`, `stay`, `shared-kernel`.
//! The command line wins over the file, a list as a whole. Pure but for [`AgentConfig::resolve`], which
//! reads the key.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use crate::limits::{CONFIG_BYTES_MAX, GUESTS_MAX};
use crate::node::cluster::PORT_DEFAULT;
use crate::secure::key::{ClusterKey, KeyError};

/// Where an agent keeps its socket, unless it is told otherwise.
pub const RUN_DIR_DEFAULT: &str = "/run/limosa";

/// Where an agent looks for its key, unless it is told otherwise.
pub const KEY_FILE_DEFAULT: &str = "/etc/limosa/cluster.key";

/// Names of the settings, for suggestions.
const NAMES: [&str; 11] = [
    "key",
    "open",
    "name",
    "interface",
    "seed",
    "block",
    "max-guests",
    "port",
    "run-dir",
    "stay",
    "shared-kernel",
];

/// Settings of one source; what it does not mention is none or empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// File that holds the cluster key.
    pub key: Option<PathBuf>,
    /// Use the key that everybody has.
    pub open: Option<bool>,
    /// This node's name.
    pub name: Option<String>,
    /// The interfaces to use.
    pub interfaces: Vec<String>,
    /// Nodes to ask by unicast.
    pub seeds: Vec<SocketAddr>,
    /// Take no guests.
    pub block: Option<bool>,
    /// Take no more guests than this.
    pub max_guests: Option<usize>,
    /// UDP and TCP port.
    pub port: Option<u16>,
    /// Where the socket is kept.
    pub run_dir: Option<PathBuf>,
    /// Nothing leaves this node by itself.
    pub stay: Option<bool>,
    /// Other agents run on the same kernel.
    pub shared_kernel: Option<bool>,
}

/// What an agent works with.
#[derive(Clone, Debug)]
pub struct AgentConfig {
    /// The cluster key.
    pub key: ClusterKey,
    /// This node's name.
    pub name: String,
    /// The interfaces to use; none named: all that are usable.
    pub interfaces: Vec<String>,
    /// Nodes to ask by unicast.
    pub seeds: Vec<SocketAddr>,
    /// Take no guests.
    pub block: bool,
    /// Take no more guests than this.
    pub max_guests: usize,
    /// UDP and TCP port.
    pub port: u16,
    /// Where the socket is kept.
    pub run_dir: PathBuf,
    /// Nothing leaves this node by itself.
    pub stay: bool,
    /// Other agents run on the same kernel: only our processes and guests are this node's load.
    pub shared_kernel: bool,
    /// Take the cluster's time; never of an installed node, so only the command line says it.
    pub set_clock: bool,
}

/// Why there is no usable configuration.
#[derive(Debug)]
pub enum ConfigError {
    /// The configuration file cannot be read.
    File {
        /// The file.
        path: PathBuf,
        /// The cause.
        error: io::Error,
    },
    /// A line of the configuration file makes no sense.
    Line {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong with it.
        cause: String,
    },
    /// No key was given, and there is none at the usual place.
    NoKey,
    /// The key file cannot be read.
    KeyFile {
        /// The file.
        path: PathBuf,
        /// The cause.
        error: io::Error,
    },
    /// The key file holds no key.
    Key {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        error: KeyError,
    },
    /// Both a key and `open` were given.
    KeyAndOpen,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { path, error } => {
                write!(f, "cannot read the configuration {}: {error}", path.display())
            }
            Self::Line { path, line, cause } => {
                write!(f, "{} line {line}: {cause}", path.display())
            }
            Self::NoKey => write!(
                f,
                "no cluster key: make one with `limosa key new > {KEY_FILE_DEFAULT}` (and copy it to the \
                 other nodes), name another file with --key, or join the cluster that everybody can join \
                 with --open"
            ),
            Self::KeyFile { path, error } => {
                write!(f, "cannot read the cluster key {}: {error}", path.display())
            }
            Self::Key { path, error } => write!(f, "{}: {error}", path.display()),
            Self::KeyAndOpen => f.write_str(
                "both a key and open were given: choose one (the open cluster's key is known to everybody)",
            ),
        }
    }
}

impl std::error::Error for ConfigError {}

impl Settings {
    /// Reads a configuration file.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let text = read_bounded(path).map_err(|error| ConfigError::File {
            path: path.to_path_buf(),
            error,
        })?;
        Self::parse(&text).map_err(|(line, cause)| ConfigError::Line {
            path: path.to_path_buf(),
            line,
            cause,
        })
    }

    /// Reads the text of a configuration file; an error is a line's number and what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, (usize, String)> {
        let mut settings = Self::default();
        for (index, line) in text.lines().enumerate() {
            let line = line.split('#').next().unwrap_or_default().trim();
            if line.is_empty() {
                continue;
            }
            settings.set(line).map_err(|cause| (index + 1, cause))?;
        }
        Ok(settings)
    }

    fn set(&mut self, line: &str) -> Result<(), String> {
        let (name, value) = line
            .split_once('=')
            .map(|(name, value)| (name.trim(), value.trim()))
            .ok_or_else(|| format!("expected `name = value`, found {line:?}"))?;
        if value.is_empty() {
            return Err(format!("{name} has no value"));
        }
        match name {
            "key" => once(&mut self.key, name, value.into()),
            "open" => once(&mut self.open, name, parse_bool(value)?),
            "block" => once(&mut self.block, name, parse_bool(value)?),
            "max-guests" => once(&mut self.max_guests, name, parse_max_guests(value)?),
            "name" => once(&mut self.name, name, value.into()),
            "port" => once(&mut self.port, name, parse_port(value)?),
            "run-dir" => once(&mut self.run_dir, name, value.into()),
            "stay" => once(&mut self.stay, name, parse_bool(value)?),
            "shared-kernel" => once(&mut self.shared_kernel, name, parse_bool(value)?),
            "interface" => {
                self.interfaces.push(value.into());
                Ok(())
            }
            "seed" => {
                self.seeds.push(parse_seed(value)?);
                Ok(())
            }
            _ => Err(format!(
                "no setting is called {name:?}; there are {}",
                NAMES.join(", ")
            )),
        }
    }

    /// These settings, and where they say nothing those of `below`.
    #[must_use]
    pub fn over(self, below: Self) -> Self {
        // A key on one level replaces `open` on the level below, and the other way round.
        let (key, open) = match (&self.key, self.open) {
            (None, None) => (below.key, below.open),
            _ => (self.key, self.open),
        };
        let list_or = |list: Vec<String>, other| if list.is_empty() { other } else { list };
        Self {
            key,
            open,
            name: self.name.or(below.name),
            interfaces: list_or(self.interfaces, below.interfaces),
            seeds: if self.seeds.is_empty() {
                below.seeds
            } else {
                self.seeds
            },
            block: self.block.or(below.block),
            max_guests: self.max_guests.or(below.max_guests),
            port: self.port.or(below.port),
            run_dir: self.run_dir.or(below.run_dir),
            stay: self.stay.or(below.stay),
            shared_kernel: self.shared_kernel.or(below.shared_kernel),
        }
    }
}

impl AgentConfig {
    /// Reads the key that the settings name, and fills in the defaults.
    pub fn resolve(settings: Settings) -> Result<Self, ConfigError> {
        let key = match (settings.key, settings.open.unwrap_or(false)) {
            (Some(_), true) => return Err(ConfigError::KeyAndOpen),
            (Some(path), false) => read_key(&path)?,
            (None, true) => ClusterKey::open(),
            (None, false) if Path::new(KEY_FILE_DEFAULT).exists() => {
                read_key(Path::new(KEY_FILE_DEFAULT))?
            }
            (None, false) => return Err(ConfigError::NoKey),
        };
        Ok(Self {
            key,
            name: settings.name.unwrap_or_else(host_name),
            interfaces: settings.interfaces,
            seeds: settings.seeds,
            block: settings.block.unwrap_or(false),
            max_guests: settings.max_guests.unwrap_or(GUESTS_MAX),
            port: settings.port.unwrap_or(PORT_DEFAULT),
            run_dir: settings.run_dir.unwrap_or_else(|| RUN_DIR_DEFAULT.into()),
            stay: settings.stay.unwrap_or(false),
            shared_kernel: settings.shared_kernel.unwrap_or(false),
            set_clock: false,
        })
    }
}

/// Reads a key file: one token, blanks around it do not matter.
pub fn read_key(path: &Path) -> Result<ClusterKey, ConfigError> {
    let text = read_bounded(path).map_err(|error| ConfigError::KeyFile {
        path: path.to_path_buf(),
        error,
    })?;
    ClusterKey::parse(&text).map_err(|error| ConfigError::Key {
        path: path.to_path_buf(),
        error,
    })
}

/// Reads the address of a seed: `ADDRESS`, `ADDRESS:PORT` or `[ADDRESS]:PORT`. Names are not resolved.
pub fn parse_seed(text: &str) -> Result<SocketAddr, String> {
    text.parse::<SocketAddr>()
        .or_else(|_| text.parse::<IpAddr>().map(|address| SocketAddr::new(address, PORT_DEFAULT)))
        .map_err(|_| {
            format!(
                "{text:?} is not an address: write ADDRESS, ADDRESS:PORT or [ADDRESS]:PORT (names are not \
                 resolved)"
            )
        })
}

/// Reads a port number.
pub fn parse_port(text: &str) -> Result<u16, String> {
    text.parse::<u16>()
        .ok()
        .filter(|&port| port != 0)
        .ok_or_else(|| format!("{text:?} is not a port: a number from 1 to 65535"))
}

/// Reads how many guests a node takes.
pub fn parse_max_guests(text: &str) -> Result<usize, String> {
    let number = text.parse().ok().filter(|&number| number <= GUESTS_MAX);
    number.ok_or_else(|| format!("{text:?} is not a number of guests: from 0 to {GUESTS_MAX}"))
}

fn parse_bool(text: &str) -> Result<bool, String> {
    match text {
        "yes" | "true" => Ok(true),
        "no" | "false" => Ok(false),
        _ => Err(format!("{text:?} is neither yes nor no")),
    }
}

fn once<T>(slot: &mut Option<T>, name: &str, value: T) -> Result<(), String> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err(format!("{name} is given a second time")),
    }
}

fn read_bounded(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    let limit = CONFIG_BYTES_MAX as u64;
    File::open(path)?
        .take(limit + 1)
        .read_to_string(&mut text)?;
    if text.len() > CONFIG_BYTES_MAX {
        return Err(io::Error::other(format!(
            "it is longer than {CONFIG_BYTES_MAX} bytes"
        )));
    }
    Ok(text)
}

/// The host's own name, without a domain.
pub(crate) fn host_name() -> String {
    let name = rustix::system::uname();
    let name = name.nodename().to_string_lossy();
    name.split('.').next().unwrap_or_default().to_string()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_file_gives_every_setting_of_the_command_line() {
        let settings = Settings::parse(
            "# a node of mine\n\
             key = /etc/k\n\
             name=n1 # the first\n\
             interface = eth0\n\
             interface = eth1\n\
             \n\
             seed = 10.0.0.1\n\
             seed = [fe80::1]:99\n\
             block = yes\n\
             port = 7\n\
             run-dir = /run/x\n\
             stay = yes\n\
             max-guests = 3\n\
             shared-kernel = no\n",
        )
        .unwrap();
        assert_eq!(
            settings,
            Settings {
                key: Some("/etc/k".into()),
                open: None,
                name: Some("n1".into()),
                interfaces: vec!["eth0".into(), "eth1".into()],
                seeds: vec![
                    SocketAddr::new("10.0.0.1".parse().unwrap(), PORT_DEFAULT),
                    "[fe80::1]:99".parse().unwrap()
                ],
                block: Some(true),
                port: Some(7),
                run_dir: Some("/run/x".into()),
                stay: Some(true),
                max_guests: Some(3),
                shared_kernel: Some(false),
            }
        );
    }

    #[test]
    fn an_error_names_its_line_and_what_was_found() {
        let line_and_cause = |text| Settings::parse(text).unwrap_err();
        assert_eq!(line_and_cause("port = 0").0, 1);
        let (line, cause) = line_and_cause("\n\ninterfce = eth0\n");
        assert_eq!(line, 3);
        assert!(
            cause.contains("interfce") && cause.contains("interface"),
            "{cause}"
        );
        assert!(
            line_and_cause("seed = example.org")
                .1
                .contains("not resolved")
        );
        assert!(
            line_and_cause("name = a\nname = b")
                .1
                .contains("second time")
        );
        assert!(line_and_cause("just words").1.contains("name = value"));
        assert!(line_and_cause("key =").1.contains("no value"));
        let error = ConfigError::Line {
            path: "/etc/l.conf".into(),
            line: 3,
            cause: "x".into(),
        };
        assert_eq!(error.to_string(), "/etc/l.conf line 3: x");
    }

    #[test]
    fn the_command_line_wins_and_a_key_there_replaces_open_in_the_file() {
        let file = Settings::parse("open = yes\nname = file\nport = 7\ninterface = eth0").unwrap();
        let line = Settings {
            key: Some("/k".into()),
            name: Some("line".into()),
            interfaces: vec!["eth1".into()],
            ..Settings::default()
        };
        let both = line.over(file);
        assert_eq!(both.key, Some("/k".into()));
        assert_eq!(both.open, None);
        assert_eq!(both.name.as_deref(), Some("line"));
        assert_eq!(both.port, Some(7));
        assert_eq!(both.interfaces, ["eth1"]);
    }

    #[test]
    fn a_key_and_open_together_are_refused() {
        let settings = Settings {
            key: Some("/k".into()),
            open: Some(true),
            ..Settings::default()
        };
        assert!(matches!(
            AgentConfig::resolve(settings),
            Err(ConfigError::KeyAndOpen)
        ));
    }

    proptest! {
        #[test]
        fn any_text_gives_settings_or_an_error_of_one_of_its_lines(text: String) {
            if let Err((line, _)) = Settings::parse(&text) {
                prop_assert!(line >= 1 && line <= text.lines().count());
            }
        }
    }
}
