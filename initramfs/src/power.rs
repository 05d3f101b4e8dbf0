//! The power button, and how a node stops: the agent first, so that it says goodbye to the cluster, then
//! everybody else, then the machine.

use std::fs::{self, File};
use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitOptions};
use rustix::system::{RebootCommand, reboot};

use crate::journal;
use crate::lab_message::Stop;
use crate::sys;

/// The agent gives its guests 10 s to go home (STOP_TIMEOUT_MS of its limits).
const AGENT_TIME: Duration = Duration::from_secs(12);
const OTHERS_TIME: Duration = Duration::from_secs(2);
/// How often it is looked whether the processes are gone, while stopping.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);

/// EV_KEY and KEY_POWER (include/uapi/linux/input-event-codes.h).
const KEY_EVENT: u16 = 1;
const KEY_POWER: u16 = 116;
/// sizeof(struct input_event) on x86-64: a time of 16 bytes, type, code, value.
const INPUT_EVENT_BYTES: usize = 24;

/// All input devices that have a power key.
#[derive(Default)]
pub(crate) struct PowerButtons {
    devices: Vec<(String, File)>,
}

impl PowerButtons {
    /// Opens those that appeared.
    pub(crate) fn follow(&mut self) {
        for entry in fs::read_dir("/sys/class/input")
            .into_iter()
            .flatten()
            .flatten()
        {
            let Ok(name) = entry.file_name().into_string() else {
                continue;
            };
            if !name.starts_with("event") || self.devices.iter().any(|(known, _)| *known == name) {
                continue;
            }
            let keys = fs::read_to_string(entry.path().join("device/capabilities/key"));
            if !keys.is_ok_and(|keys| has_key(&keys, KEY_POWER)) {
                continue;
            }
            let flags = rustix::fs::OFlags::NONBLOCK
                .bits()
                .try_into()
                .unwrap_or_default();
            let device = File::options()
                .read(true)
                .custom_flags(flags)
                .open(format!("/dev/input/{name}"));
            if let Ok(device) = device {
                self.devices.push((name, device));
            }
        }
    }

    /// The devices to wait for.
    pub(crate) fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.devices.iter().map(|(_, device)| device.as_fd())
    }

    /// Reads all events there are and says whether a power key was pressed.
    pub(crate) fn pressed(&mut self) -> bool {
        let mut pressed = false;
        self.devices.retain_mut(|(_, device)| {
            let mut events = [0; INPUT_EVENT_BYTES * 64];
            match device.read(&mut events) {
                Ok(0) => false,
                Ok(length) => {
                    pressed |= is_power_press(&events[..length]);
                    true
                }
                // Unplugged devices fail with ENODEV and are forgotten.
                Err(error) => error.kind() == std::io::ErrorKind::WouldBlock,
            }
        });
        pressed
    }
}

/// Whether the bitmap that sysfs prints (64-bit words in hexadecimal, the highest first) has `key`.
fn has_key(bitmap: &str, key: u16) -> bool {
    let word = bitmap
        .split_ascii_whitespace()
        .rev()
        .nth(usize::from(key / 64));
    word.and_then(|word| u64::from_str_radix(word, 16).ok())
        .is_some_and(|word| word >> (key % 64) & 1 == 1)
}

fn is_power_press(events: &[u8]) -> bool {
    events
        .as_chunks::<INPUT_EVENT_BYTES>()
        .0
        .iter()
        .any(|event| {
            let kind = u16::from_ne_bytes([event[16], event[17]]);
            let code = u16::from_ne_bytes([event[18], event[19]]);
            let value = i32::from_ne_bytes([event[20], event[21], event[22], event[23]]);
            (kind, code, value) == (KEY_EVENT, KEY_POWER, 1)
        })
}

/// Ends all processes and the machine's work:
///
/// 1. the agent is asked to end and given time to say goodbye;
/// 2. everybody is asked, then made to;
/// 3. the machine stops.
pub(crate) fn stop(how: Stop, agent: Option<i32>) {
    if let Some(agent) = agent
        && let Some(pid) = Pid::from_raw(agent)
        && rustix::process::kill_process(pid, Signal::TERM).is_ok()
    {
        reap_until(AGENT_TIME, |ended| ended == Some(agent));
    }
    // Nobody left to ask (ESRCH) is what is wanted.
    let _ = sys::kill_group(None, libc::SIGTERM);
    reap_until(OTHERS_TIME, |ended| ended.is_none());
    let _ = sys::kill_group(None, libc::SIGKILL);
    rustix::fs::sync();
    let command = match how {
        Stop::Poweroff => RebootCommand::PowerOff,
        Stop::Reboot => RebootCommand::Restart,
        Stop::Halt => RebootCommand::Halt,
    };
    if let Err(error) = reboot(command) {
        journal::warn(&format!("the machine does not stop: {error}"));
    }
}

/// Reaps until `is_enough` of an ended pid (`None`: there is no child left), for at most `limit`.
fn reap_until(limit: Duration, is_enough: impl Fn(Option<i32>) -> bool) {
    let end = Instant::now() + limit;
    while Instant::now() < end {
        match rustix::process::wait(WaitOptions::NOHANG) {
            Ok(Some((pid, _))) if is_enough(Some(pid.as_raw_nonzero().get())) => return,
            Ok(Some(_)) => {}
            Ok(None) => std::thread::sleep(LOOK_INTERVAL),
            Err(_) => {
                if is_enough(None) {
                    return;
                }
                break;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_power_button_is_known_by_its_key() {
        // An ACPI power button, and a mouse with buttons 0x110 and up.
        assert!(has_key("10000000000000 0\n", KEY_POWER));
        assert!(!has_key("1f0000 0 0 0 0\n", KEY_POWER));
        assert!(!has_key("", KEY_POWER));
        assert!(!has_key("zz 0", KEY_POWER));
    }

    #[test]
    fn only_a_press_of_the_power_key_counts() {
        let event = |kind: u16, code: u16, value: i32| {
            let mut bytes = vec![0; 16];
            bytes.extend(kind.to_ne_bytes());
            bytes.extend(code.to_ne_bytes());
            bytes.extend(value.to_ne_bytes());
            bytes
        };
        assert!(is_power_press(&[event(4, 4, 1), event(1, 116, 1)].concat()));
        assert!(!is_power_press(&event(1, 116, 0)));
        assert!(!is_power_press(&event(1, 30, 1)));
        assert!(!is_power_press(&event(1, 116, 1)[..20]));
    }
}
