//! The machines of the matrix.

use std::path::Path;

use lab::error::LabError;
use lab::qemu::{Boot, CARD_DEFAULT, CPU_DEFAULT, Firmware, Medium};
use lab::{Image, LabOptions};

/// What makes a machine start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Start {
    /// It has what it boots.
    ByItself,
    /// Another node boots it.
    ByNetwork,
}

/// A machine.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) start: Start,
    /// The cluster key is in what it boots.
    pub(crate) has_key: bool,
    boot: Boot,
    card: &'static str,
    cpu: &'static str,
    memory_mib: Option<u32>,
    parameters: &'static str,
}

impl Case {
    fn new(name: &str, boot: Boot) -> Case {
        Case {
            name: name.to_owned(),
            start: Start::ByItself,
            has_key: true,
            boot,
            card: CARD_DEFAULT,
            cpu: CPU_DEFAULT,
            memory_mib: None,
            parameters: "",
        }
    }

    /// Makes the node `name` of a lab such a machine.
    pub(crate) fn add_to(&self, options: &mut LabOptions, name: &str) {
        options.machines.insert(name.into(), self.boot.clone());
        options.cards.insert(name.into(), self.card.into());
        options.cpus.insert(name.into(), self.cpu.into());
        options
            .parameters
            .insert(name.into(), self.parameters.into());
        if let Some(memory_mib) = self.memory_mib {
            options.memory_mib = Some(memory_mib);
        }
    }
}

/// The node that boots others.
pub(crate) fn boot_server(target: &Path, image: Image) -> Result<Case, LabError> {
    let boot = Boot::built_image(target, image, Medium::Cd, Firmware::Bios)?;
    Ok(Case {
        parameters: "limosa.netboot=dhcp,hand-out-key",
        ..Case::new("the boot server", boot)
    })
}

/// All machines, in the order in which they are booted.
pub(crate) fn all(target: &Path, image: Image) -> Result<Vec<Case>, LabError> {
    let mut cases = Vec::new();
    for (firmware, under) in [(Firmware::Bios, "BIOS"), (Firmware::Uefi, "UEFI")] {
        for (medium, plugged) in [(Medium::Cd, "CD"), (Medium::Usb, "USB stick")] {
            let boot = Boot::built_image(target, image, medium, firmware)?;
            cases.push(Case::new(&format!("{under}, {plugged}"), boot));
        }
    }
    let kernel = Boot::built_kernel(target, image)?;
    let of_kernel = |name: String| Case {
        has_key: false,
        ..Case::new(&name, kernel.clone())
    };
    for card in ["e1000", "e1000e", "rtl8139", "usb-net"] {
        cases.push(Case {
            card,
            ..of_kernel(format!("kernel and initramfs, {card}"))
        });
    }
    for memory_mib in [128, 256, 1024] {
        cases.push(Case {
            memory_mib: Some(memory_mib),
            ..of_kernel(format!("kernel and initramfs, {memory_mib} MiB"))
        });
    }
    cases.push(Case {
        cpu: "qemu64",
        ..of_kernel("kernel and initramfs, qemu64".to_owned())
    });
    for (firmware, under, card) in [
        (Firmware::Bios, "BIOS", "virtio-net-pci"),
        (Firmware::Bios, "BIOS", "e1000"),
        (Firmware::Uefi, "UEFI", "virtio-net-pci"),
    ] {
        cases.push(Case {
            start: Start::ByNetwork,
            card,
            ..Case::new(
                &format!("{under}, network boot, {card}"),
                Boot::Network { firmware },
            )
        });
    }
    Ok(cases)
}
