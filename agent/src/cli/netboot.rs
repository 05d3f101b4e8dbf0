//! `limosa netboot`: boot the other PCs of this link from their network cards.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use argh::FromArgs;

use super::{exit, log};
use crate::limits::NETBOOT_PARAMETERS_BYTES_MAX;
use crate::netboot::archive::archive;
use crate::netboot::catalog::Catalog;
use crate::netboot::server::{Options, Server, ServerError};
use crate::node::config::{KEY_FILE_DEFAULT, read_key};

/// Where a node that was booted for it has the image's files, and where a package may put them.
const IMAGE_DEFAULT: &str = "/usr/lib/limosa/netboot";

/// Boot the other PCs of this network from their network cards, until this is interrupted: beside the
/// network's own DHCP server, which needs no change, or with --dhcp where there is none.
#[derive(FromArgs)]
#[argh(
    example = "{command_name} --image target/netboot\n\
               {command_name} --image target/netboot --hand-out-key --key cluster.key\n\
               {command_name} --interface eth1 --dhcp",
    note = "Network boot is not authenticated. Without --hand-out-key a PC asks for the key on its\n\
            console; with it, whoever is on the network can have the key, and run programs on your nodes.",
    error_code(10, "it does not run as root"),
    error_code(12, "another DHCP or boot server runs here")
)]
pub(super) struct Netboot {
    /// directory with the image's netboot files (default: /usr/lib/limosa/netboot)
    #[argh(option, arg_name = "dir")]
    image: Option<PathBuf>,
    /// serve this network interface only; may be given several times
    #[argh(option)]
    interface: Vec<String>,
    /// give addresses, too: only where there is no DHCP server
    #[argh(switch)]
    dhcp: bool,
    /// give the cluster key to whoever boots
    #[argh(switch)]
    hand_out_key: bool,
    /// file with the cluster key (default: /etc/limosa/cluster.key)
    #[argh(option, arg_name = "file")]
    key: Option<PathBuf>,
    /// parameters for whoever boots, as on the kernel command line
    #[argh(option, arg_name = "text", default = "String::new()")]
    parameters: String,
}

pub(super) fn main(words: Vec<OsString>) -> ExitCode {
    let options: Netboot = match super::parse("netboot", words) {
        Ok(options) => options,
        Err(code) => return code,
    };
    log::start();
    if !rustix::process::geteuid().is_root() {
        let text = "netboot must run as root, because it answers DHCP: try `sudo limosa netboot`";
        return exit::fail(exit::NOT_ROOT, text);
    }
    let text = &options.parameters;
    if text.len() > NETBOOT_PARAMETERS_BYTES_MAX || text.contains(['\n', '\0']) {
        let text = format!(
            "the parameters are not one line of up to {NETBOOT_PARAMETERS_BYTES_MAX} bytes"
        );
        return exit::fail(exit::USAGE, text);
    }
    let key = match (&options.key, options.hand_out_key) {
        (Some(_), false) => {
            let text =
                "--key is given, and nothing is done with it: add --hand-out-key, or leave it out";
            return exit::fail(exit::USAGE, text);
        }
        (_, false) => None,
        (path, true) => {
            let path = path.clone().unwrap_or_else(|| KEY_FILE_DEFAULT.into());
            match read_key(&path) {
                Ok(key) => Some(key.to_string()),
                Err(error) => return exit::fail(exit::NO_KEY, error),
            }
        }
    };
    let image = options.image.unwrap_or_else(|| IMAGE_DEFAULT.into());
    let catalog = match Catalog::open(&image, archive(key.as_deref(), &options.parameters)) {
        Ok(catalog) => catalog,
        Err(error) => return exit::fail(exit::FAILED, error),
    };
    if key.is_some() {
        ::log::warn!("the cluster key is handed out to whoever boots from this network");
    }
    let server = Options {
        interfaces: options.interface,
        gives_addresses: options.dhcp,
    };
    match Server::run(catalog, server) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error @ ServerError::PortTaken(_)) => exit::fail(exit::PORT_TAKEN, error),
        Err(error) => exit::fail(exit::FAILED, error),
    }
}
