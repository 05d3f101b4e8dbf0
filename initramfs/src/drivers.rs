//! Loads the kernel modules that the hardware present asks for.
//!
//! Devices are walked once ([`Drivers::load_for_present_devices`]); those that appear later announce
//! themselves by uevent. The kernel's own requests (`request_module`: protocols, PHY drivers) come through
//! `/sbin/modprobe`, which is this program again ([`modprobe`]).

use std::ffi::CString;
use std::fs::{self, File};
use std::path::Path;
use std::process::ExitCode;

use rustix::io::Errno;

use crate::journal;
use crate::modalias::AliasTable;
use crate::module_dependencies::DependencyTable;

/// The image's modules.
#[derive(Debug)]
pub(crate) struct Drivers {
    directory: String,
    aliases: AliasTable,
    dependencies: DependencyTable,
    /// Files that were loaded, or that failed to and need not be tried again.
    done: std::collections::HashSet<String>,
}

impl Drivers {
    /// Reads the tables of the running kernel's modules.
    pub(crate) fn open() -> Drivers {
        let release = rustix::system::uname()
            .release()
            .to_string_lossy()
            .into_owned();
        let directory = format!("/lib/modules/{release}");
        let read = |name: &str| {
            fs::read_to_string(format!("{directory}/{name}")).unwrap_or_else(|error| {
                journal::warn(&format!(
                    "no drivers can be loaded: {directory}/{name}: {error}"
                ));
                String::new()
            })
        };
        Drivers {
            aliases: AliasTable::parse(&read("modules.alias")),
            dependencies: DependencyTable::parse(&read("modules.dep"), &read("modules.softdep")),
            done: std::collections::HashSet::new(),
            directory,
        }
    }

    /// Loads what the device with this `modalias` wants, and says whether anything was found.
    pub(crate) fn load_for(&mut self, modalias: &str) -> bool {
        let modules: Vec<String> = self
            .aliases
            .modules_for(modalias)
            .into_iter()
            .map(str::to_owned)
            .collect();
        for module in &modules {
            self.load(module);
        }
        !modules.is_empty()
    }

    /// Loads the module `name` and what it needs, and says whether the image has it.
    pub(crate) fn load(&mut self, name: &str) -> bool {
        let Some(order) = self.dependencies.load_order(name) else {
            return false;
        };
        for file in order {
            if self.done.insert(file.to_owned())
                && let Err(error) = load_file(&Path::new(&self.directory).join(file))
            {
                journal::warn(&format!("driver {file} cannot be loaded: {error}"));
            }
        }
        true
    }

    /// Walks all devices of all buses, and input devices, once.
    pub(crate) fn load_for_present_devices(&mut self) {
        let buses = fs::read_dir("/sys/bus").into_iter().flatten().flatten();
        let directories = buses
            .map(|bus| bus.path().join("devices"))
            .chain(["/sys/class/input".into()]);
        for directory in directories {
            for device in fs::read_dir(directory).into_iter().flatten().flatten() {
                if let Ok(modalias) = fs::read_to_string(device.path().join("modalias")) {
                    self.load_for(modalias.trim());
                }
            }
        }
    }
}

fn load_file(path: &Path) -> std::io::Result<()> {
    let file = File::open(path)?;
    match rustix::system::finit_module(&file, &CString::default(), 0) {
        // Loaded by the kernel's own request in the meantime.
        Ok(()) | Err(Errno::EXIST) => Ok(()),
        // The driver looked and found that the device is not its own after all.
        Err(Errno::NODEV) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// `/sbin/modprobe [-q] [--] NAME`, as the kernel calls it; succeeds when the image has such a module.
pub(crate) fn modprobe(arguments: &[String]) -> ExitCode {
    let Some(name) = arguments
        .iter()
        .rfind(|argument| !argument.starts_with('-'))
    else {
        return ExitCode::from(2);
    };
    let mut drivers = Drivers::open();
    if drivers.load(name) || drivers.load_for(name) {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
