//! Loop devices that a test has left attached: each keeps its image, a few hundred megabytes, after that is removed.

use std::fs;
use std::path::Path;
use std::process::Command;

const DEVICES: &str = "/sys/block";

/// Detaches those of images in `directory`. One that is still mounted goes when its mount does.
pub(crate) fn detach_from(directory: &Path) {
    let Ok(devices) = fs::read_dir(DEVICES) else {
        return;
    };
    for device in devices.flatten() {
        let image = fs::read_to_string(device.path().join("loop/backing_file"));
        if image.is_ok_and(|image| Path::new(image.trim_end()).starts_with(directory)) {
            let node = Path::new("/dev").join(device.file_name());
            match Command::new("losetup").arg("--detach").arg(&node).status() {
                Ok(status) if status.success() => {}
                Ok(status) => eprintln!("ltp: {} stays attached: {status}", node.display()),
                Err(error) => eprintln!("ltp: {} stays attached: {error}", node.display()),
            }
        }
    }
}
