//! Which of the images that `mkiso.sh` builds is meant, and where it has put them.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use crate::error::LabError;

/// An image, by its kernel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Image {
    /// With Debian's kernel.
    #[default]
    Stock,
    /// With the small kernel of our own.
    Trimmed,
}

impl Image {
    /// The directory of kernel and initramfs.
    #[must_use]
    pub fn netboot(self, target: &Path) -> PathBuf {
        target.join(match self {
            Self::Stock => "netboot",
            Self::Trimmed => "netboot-trimmed",
        })
    }

    /// The file for CD and USB stick.
    #[must_use]
    pub fn iso(self, target: &Path) -> PathBuf {
        target.join(match self {
            Self::Stock => "limosa.iso",
            Self::Trimmed => "limosa-trimmed.iso",
        })
    }

    /// The command that makes both.
    #[must_use]
    pub fn command(self) -> &'static str {
        match self {
            Self::Stock => "./mkiso.sh",
            Self::Trimmed => "./mkiso.sh --kernel trimmed",
        }
    }
}

impl FromStr for Image {
    type Err = LabError;

    fn from_str(word: &str) -> Result<Self, LabError> {
        match word {
            "stock" => Ok(Self::Stock),
            "trimmed" => Ok(Self::Trimmed),
            other => Err(LabError::Usage(format!(
                "there is no image \"{other}\": use stock or trimmed"
            ))),
        }
    }
}
