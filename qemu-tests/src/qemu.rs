//! How a virtual machine is started: the arguments of QEMU.
//!
//! KVM is never used: machines of a lab must behave alike wherever the tests run, and nested
//! virtualisation, where it is offered at all, hangs some kernels.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::error::LabError;
use crate::image::Image;
use crate::ports::hardware_address;
use crate::relay::RelaySockets;
use crate::switch::PortId;

/// The program.
pub const QEMU: &str = "qemu-system-x86_64";

/// UEFI firmware (Debian package `ovmf`).
pub const UEFI_FIRMWARE: &str = "/usr/share/ovmf/OVMF.fd";

/// The network card that is emulated fastest.
pub const CARD_DEFAULT: &str = "virtio-net-pci";

/// The CPU that has all that QEMU can emulate.
pub const CPU_DEFAULT: &str = "max";

/// By which name QEMU knows the machine's network.
pub(crate) const NETWORK_ID: &str = "net";

/// The name by which the initramfs knows the lab port.
const LAB_PORT_NAME: &str = "limosa.control";

/// The fw_cfg item from which the initramfs reads its parameters.
const PARAMETERS_ITEM: &str = "opt/limosa/parameters";

/// Kernel arguments that make a test boot fast and a panic visible: no delays for hardware that
/// an emulator does not have.
const KERNEL_ARGUMENTS: &str = "console=ttyS0 quiet panic=-1 mitigations=off nokaslr no_timer_check \
                                tsc=reliable 8250.nr_uarts=1 audit=0";

/// What a virtual machine boots.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Boot {
    /// A kernel and an initramfs, without any boot loader.
    Kernel {
        /// The kernel.
        kernel: PathBuf,
        /// The initramfs.
        initramfs: PathBuf,
    },
    /// The image as a CD or as a USB stick, under BIOS or UEFI.
    Image {
        /// The ISO file.
        image: PathBuf,
        /// As what it is plugged in.
        medium: Medium,
        /// Under which firmware.
        firmware: Firmware,
    },
    /// Nothing of its own: what a boot server on the network hands out.
    Network {
        /// Under which firmware.
        firmware: Firmware,
    },
}

impl Boot {
    /// The kernel and initramfs that `mkiso.sh` puts below `target` for booting over a network.
    ///
    /// # Errors
    /// When they were not built.
    pub fn built_kernel(target: &Path, image: Image) -> Result<Self, LabError> {
        Self::built_in(&image.netboot(target), image.command())
    }

    /// The same with Debian's older kernel, which `qemu-tests/run` has built.
    ///
    /// # Errors
    /// When they were not built.
    pub fn built_stable_kernel(target: &Path) -> Result<Self, LabError> {
        let command = "./mkiso.sh --netboot --kernel stable --into target/netboot-stable";
        Self::built_in(&target.join("netboot-stable"), command)
    }

    /// The kernel and initramfs in a directory that a command makes.
    fn built_in(directory: &Path, command: &str) -> Result<Self, LabError> {
        Ok(Self::Kernel {
            // Uncompressed: it starts three seconds faster under emulation.
            kernel: built(&directory.join("vmlinux"), command)?,
            initramfs: built(&directory.join("initramfs.img"), command)?,
        })
    }

    /// The image that `mkiso.sh` puts into `target`.
    ///
    /// # Errors
    /// When it was not built, or the firmware is not installed.
    pub fn built_image(
        target: &Path,
        image: Image,
        medium: Medium,
        firmware: Firmware,
    ) -> Result<Self, LabError> {
        if firmware == Firmware::Uefi && !Path::new(UEFI_FIRMWARE).exists() {
            let remedy = "apt install ovmf".into();
            return Err(LabError::Missing {
                what: UEFI_FIRMWARE.into(),
                remedy,
            });
        }
        Ok(Self::Image {
            image: built(&image.iso(target), image.command())?,
            medium,
            firmware,
        })
    }
}

fn built(path: &Path, command: &str) -> Result<PathBuf, LabError> {
    path.canonicalize().map_err(|error| LabError::Missing {
        what: format!("{} ({error})", path.display()),
        remedy: format!("build it by {command}"),
    })
}

/// As what an image is plugged in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Medium {
    /// A CD drive.
    Cd,
    /// A USB stick.
    Usb,
}

/// What starts the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Firmware {
    /// SeaBIOS.
    Bios,
    /// OVMF.
    Uefi,
}

/// One virtual machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Machine {
    /// What it boots.
    pub boot: Boot,
    /// Its memory; OVMF hangs below 384 MiB.
    pub memory_mib: u32,
    /// Its CPU, as QEMU names it.
    pub cpu: String,
    /// Its network card, as QEMU names it.
    pub card: String,
    /// Words for its initramfs beside those of the lab.
    pub parameters: String,
    /// A disk that is to stay as it is.
    pub disk: Option<PathBuf>,
    /// What its hardware clock shows at power-on, as QEMU's `-rtc base=` takes it; else the time.
    pub clock: Option<String>,
}

/// The files of the host through which a machine is reached.
#[derive(Clone, Debug)]
pub struct MachineFiles {
    /// What the serial line said.
    pub serial_log: PathBuf,
    /// Where one types on the serial line.
    pub serial: PathBuf,
    /// Where QEMU's monitor listens.
    pub monitor: PathBuf,
    /// The lab port: where QEMU connects, and where those connect who use it.
    pub lab_port: RelaySockets,
    /// The switch's socket to which the network card connects.
    pub switch_port: PathBuf,
    /// The parameters for the initramfs.
    pub parameters: PathBuf,
}

impl MachineFiles {
    /// Those of the node whose directory this is.
    pub fn in_directory(directory: &Path) -> Self {
        Self {
            serial_log: directory.join("serial.log"),
            serial: directory.join("serial"),
            monitor: directory.join("monitor"),
            lab_port: RelaySockets {
                for_machine: directory.join("machine-port"),
                for_clients: directory.join("lab-port"),
            },
            switch_port: directory.join("switch-port"),
            parameters: directory.join("parameters"),
        }
    }
}

impl Machine {
    /// All of QEMU's arguments.
    pub fn arguments(&self, port: PortId, files: &MachineFiles) -> Vec<String> {
        let address = hardware_address(port)
            .map(|byte| format!("{byte:02x}"))
            .join(":");
        let memory = self.memory_mib.to_string();
        let mut arguments = Arguments::default();
        arguments.add(&["-nodefaults", "-no-reboot", "-display", "none"]);
        // One vCPU: with more, multi-threaded emulation slows ptrace and userfaultfd a hundredfold.
        arguments.add(&["-accel", "tcg", "-cpu", &self.cpu]);
        arguments.add(&["-smp", "1", "-m", &memory]);
        if let Some(clock) = &self.clock {
            arguments.add(&["-rtc", &format!("base={clock}")]);
        }
        arguments.add(&[
            "-chardev",
            &format!(
                "socket,id=serial,path={},server=on,wait=off,logfile={}",
                escaped(&files.serial),
                escaped(&files.serial_log)
            ),
        ]);
        arguments.add(&["-serial", "chardev:serial"]);
        let monitor = escaped(&files.monitor);
        arguments.add(&["-qmp", &format!("unix:{monitor},server=on,wait=off")]);
        let lab_port = escaped(&files.lab_port.for_machine);
        arguments.add(&["-device", "virtio-serial-pci"]);
        arguments.add(&[
            "-chardev",
            &format!("socket,id=lab,path={lab_port},server=off"),
        ]);
        arguments.add(&[
            "-device",
            &format!("virtserialport,chardev=lab,name={LAB_PORT_NAME}"),
        ]);
        let switch = escaped(&files.switch_port);
        arguments.add(&[
            "-netdev",
            &format!("stream,id={NETWORK_ID},server=off,addr.type=unix,addr.path={switch}"),
        ]);
        if self.card.starts_with("usb-") {
            arguments.add(&["-device", "qemu-xhci"]);
        }
        // Only who boots by its network card needs the firmware on it.
        let boots = match (&self.boot, self.card.starts_with("usb-")) {
            (Boot::Network { .. }, _) => ",bootindex=0",
            (_, true) => "",
            (_, false) => ",romfile=",
        };
        let card = format!("{},netdev={NETWORK_ID},mac={address}{boots}", self.card);
        arguments.add(&["-device", &card]);
        // As a file: an argument can be read by every user of the host, and there is a key in it.
        let parameters = escaped(&files.parameters);
        arguments.add(&[
            "-fw_cfg",
            &format!("name={PARAMETERS_ITEM},file={parameters}"),
        ]);
        if let Some(disk) = &self.disk {
            let drive = format!("if=ide,format=raw,file={}", escaped(disk));
            arguments.add(&["-drive", &drive]);
        }
        self.add_boot(&mut arguments);
        arguments.0
    }

    fn add_boot(&self, arguments: &mut Arguments) {
        let (image, medium, firmware) = match &self.boot {
            Boot::Kernel { kernel, initramfs } => {
                let (kernel, initramfs) = (kernel.to_string_lossy(), initramfs.to_string_lossy());
                arguments.add(&["-kernel", &kernel, "-initrd", &initramfs]);
                arguments.add(&["-append", KERNEL_ARGUMENTS]);
                return;
            }
            Boot::Network { firmware } => {
                arguments.add_firmware(*firmware);
                return;
            }
            Boot::Image {
                image,
                medium,
                firmware,
            } => (escaped(image), medium, firmware),
        };
        arguments.add_firmware(*firmware);
        let drive = format!("if=none,id=image,format=raw,readonly=on,file={image}");
        arguments.add(&["-drive", &drive]);
        match medium {
            Medium::Cd => {
                arguments.add(&["-device", "ahci,id=disks"]);
                arguments.add(&["-device", "ide-cd,drive=image,bus=disks.0,bootindex=0"]);
            }
            Medium::Usb => {
                arguments.add(&["-device", "qemu-xhci"]);
                arguments.add(&[
                    "-device",
                    "usb-storage,drive=image,removable=on,bootindex=0",
                ]);
            }
        }
    }
}

#[derive(Default)]
struct Arguments(Vec<String>);

impl Arguments {
    fn add(&mut self, arguments: &[&str]) {
        self.0
            .extend(arguments.iter().map(|argument| (*argument).to_owned()));
    }

    fn add_firmware(&mut self, firmware: Firmware) {
        // Boot loaders draw on the screen, seen or not.
        self.add(&["-vga", "std"]);
        if firmware == Firmware::Uefi {
            self.add(&["-machine", "q35", "-bios", UEFI_FIRMWARE]);
        }
    }
}

/// In QEMU's options a comma ends a value unless it is doubled.
fn escaped(path: &Path) -> String {
    path.to_string_lossy().replace(',', ",,")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine(boot: Boot) -> Machine {
        Machine {
            boot,
            memory_mib: 512,
            cpu: CPU_DEFAULT.into(),
            card: CARD_DEFAULT.into(),
            parameters: String::new(),
            disk: None,
            clock: None,
        }
    }

    #[test]
    fn only_who_boots_by_its_network_card_has_firmware_on_it() {
        let files = MachineFiles::in_directory(Path::new("/run/x"));
        let text = |boot| machine(boot).arguments(PortId(1), &files).join(" ");
        let by_card = text(Boot::Network {
            firmware: Firmware::Bios,
        });
        assert!(
            !by_card.contains("romfile=") && by_card.contains("bootindex=0"),
            "{by_card}"
        );
        let by_kernel = text(Boot::Kernel {
            kernel: "/k".into(),
            initramfs: "/i".into(),
        });
        assert!(by_kernel.contains("romfile="), "{by_kernel}");
    }

    #[test]
    fn a_comma_in_a_path_does_not_become_an_option() {
        let files = MachineFiles::in_directory(Path::new("/run/a,b"));
        let boot = Boot::Kernel {
            kernel: "/k".into(),
            initramfs: "/i".into(),
        };
        let text = machine(boot).arguments(PortId(1), &files).join(" ");
        assert!(text.contains("logfile=/run/a,,b/serial.log"), "{text}");
    }

    #[test]
    fn the_key_is_not_among_the_arguments_and_kvm_is_never_used() {
        let files = MachineFiles::in_directory(Path::new("/run/x"));
        let (medium, firmware) = (Medium::Usb, Firmware::Uefi);
        let boot = Boot::Image {
            image: "/i.iso".into(),
            medium,
            firmware,
        };
        let text = machine(boot).arguments(PortId(1), &files).join(" ");
        assert!(!text.contains("limosa.key"), "{text}");
        assert!(!text.contains("kvm"), "{text}");
    }
}
