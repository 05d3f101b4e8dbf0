//! `limosa key`: make or look at a cluster key, or ask a cluster for its.

use std::ffi::OsString;
use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use argh::FromArgs;

use super::exit;
use crate::admission::asker::{self, Newcomer};
use crate::admission::code::Code;
use crate::admission::exchange::Admitter;
use crate::node::cluster::PORT_DEFAULT;
use crate::node::config::{KEY_FILE_DEFAULT, parse_port, read_key};
use crate::secure::key::ClusterKey;

/// Make or look at a cluster key, or ask a cluster for its: the secret that the nodes of one cluster share. Whoever has it can run
/// programs on all of them.
#[derive(FromArgs)]
#[argh(
    example = "{command_name} new /etc/limosa/cluster.key\n{command_name} new > cluster.key\n{command_name} show cluster.key\n{command_name} ask /etc/limosa/cluster.key"
)]
pub(super) struct Key {
    #[argh(subcommand)]
    action: Action,
}

#[derive(FromArgs)]
#[argh(subcommand)]
enum Action {
    New(New),
    Show(Show),
    Ask(Ask),
}

/// Make a new key and print it, or write it to a new file that only its owner can read.
#[derive(FromArgs)]
#[argh(subcommand, name = "new")]
struct New {
    /// print JSON: the cluster's id and the token
    #[argh(switch)]
    json: bool,
    /// the file to write; it must not exist
    #[argh(positional)]
    file: Option<PathBuf>,
}

/// Check the key in a file and say which cluster it is of, without showing the secret.
#[derive(FromArgs)]
#[argh(subcommand, name = "show")]
struct Show {
    /// print JSON: the cluster's id
    #[argh(switch)]
    json: bool,
    /// the file (default: /etc/limosa/cluster.key)
    #[argh(positional)]
    file: Option<PathBuf>,
}

/// Show a code, and wait until an operator types it on a node of the cluster: `limosa admit CODE`. The key that
/// comes is written to a new file that only its owner can read.
#[derive(FromArgs)]
#[argh(subcommand, name = "ask")]
struct Ask {
    /// use this network interface only; may be given several times
    #[argh(option)]
    interface: Vec<String>,
    /// UDP and TCP port (default: 4460, where nodes of the cluster look)
    #[argh(option, from_str_fn(parse_port), default = "PORT_DEFAULT")]
    port: u16,
    /// the file to write; it must not exist
    #[argh(positional)]
    file: PathBuf,
}

pub(super) fn main(words: Vec<OsString>) -> ExitCode {
    let options: Key = match super::parse("key", words) {
        Ok(options) => options,
        Err(code) => return code,
    };
    match options.action {
        Action::New(options) => new(&options),
        Action::Show(options) => show(&options),
        Action::Ask(options) => ask(options),
    }
}

fn new(options: &New) -> ExitCode {
    let key = match ClusterKey::generate() {
        Ok(key) => key,
        Err(error) => return exit::fail(exit::FAILED, error),
    };
    if let Some(path) = &options.file
        && let Err(error) = write_new(path, &key)
    {
        return exit::fail(
            exit::FAILED,
            format!("cannot write {}: {error}", path.display()),
        );
    }
    let cluster = key.cluster().to_string();
    match (&options.file, options.json) {
        (Some(_), true) => super::print_json(&serde_json::json!({ "cluster": cluster })),
        (None, true) => {
            super::print_json(&serde_json::json!({ "cluster": cluster, "token": key.to_string() }))
        }
        (Some(path), false) => {
            super::print(&format!(
                "the key of cluster {cluster} is in {}\n",
                path.display()
            ));
            ExitCode::SUCCESS
        }
        (None, false) => {
            super::print(&format!("{key}\n"));
            ExitCode::SUCCESS
        }
    }
}

fn write_new(path: &Path, key: &ClusterKey) -> std::io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    writeln!(file, "{key}")?;
    file.sync_all()
}

fn show(options: &Show) -> ExitCode {
    let path = options
        .file
        .as_deref()
        .unwrap_or(Path::new(KEY_FILE_DEFAULT));
    match read_key(path) {
        Ok(key) if options.json => {
            super::print_json(&serde_json::json!({ "cluster": key.cluster().to_string() }))
        }
        Ok(key) => {
            super::print(&format!(
                "{} is a sound key of cluster {}\n",
                path.display(),
                key.cluster()
            ));
            ExitCode::SUCCESS
        }
        Err(error) => exit::fail(exit::FAILED, error),
    }
}

fn ask(options: Ask) -> ExitCode {
    let file = options.file;
    if file.exists() {
        let text = format!(
            "{} exists already: remove it, or name another",
            file.display()
        );
        return exit::fail(exit::FAILED, text);
    }
    let newcomer = Newcomer {
        interfaces: options.interface,
        port: options.port,
        show: show_code,
        file: file.clone(),
        keep: write_new,
    };
    match asker::ask(newcomer) {
        Ok(Admitter { cluster, name }) => {
            super::print(&format!(
                "{name} has admitted this node: the key of cluster {cluster} is in {}\n",
                file.display()
            ));
            ExitCode::SUCCESS
        }
        Err(error) => exit::fail(exit::FAILED, error),
    }
}

/// A line that says what a person is to do; the first screen of a booted node shows it as it is.
fn show_code(before: Option<&str>, code: Code) {
    let before = before.map_or(String::new(), |line| format!("{line}. "));
    super::print(&format!(
        "{before}Run this on a node of the cluster: limosa admit {code}\n"
    ));
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_new_key_file_is_its_owners_alone_and_overwrites_nothing() {
        let path = std::env::temp_dir().join(format!("limosa-key-{}", std::process::id()));
        let key = ClusterKey::generate().unwrap();
        write_new(&path, &key).unwrap();
        assert_eq!(
            std::fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
        assert!(read_key(&path).unwrap() == key);
        let other = ClusterKey::generate().unwrap();
        assert!(write_new(&path, &other).is_err());
        assert!(read_key(&path).unwrap() == key);
        std::fs::remove_file(&path).unwrap();
    }
}
