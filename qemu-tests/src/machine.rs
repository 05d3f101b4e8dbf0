//! On what it is measured: a figure without its machine says little.

use std::fmt;
use std::fs;
use std::io;

use serde::Serialize;

/// The machine, as far as it explains the figures.
#[derive(Clone, Debug, Serialize)]
pub struct Machine {
    /// CPUs that this program may use.
    pub cpus: usize,
    /// What the first of them calls itself.
    pub cpu_model: String,
    /// Release of the kernel.
    pub kernel: String,
    /// Threads that wanted a CPU, on average of the last minute: others work here, too.
    pub load: f64,
}

impl fmt::Display for Machine {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            cpus,
            cpu_model,
            kernel,
            load,
        } = self;
        write!(
            formatter,
            "{cpus} CPUs ({cpu_model}), Linux {kernel}, load {load:.1}"
        )
    }
}

/// This machine. What it does not tell is "unknown".
pub fn describe() -> Machine {
    let read = |path| fs::read_to_string(path);
    Machine {
        cpus: std::thread::available_parallelism().map_or(0, usize::from),
        cpu_model: known(read("/proc/cpuinfo"), cpu_model),
        kernel: known(read("/proc/sys/kernel/osrelease"), |text| {
            Some(text.trim().to_owned())
        }),
        load: read("/proc/loadavg")
            .ok()
            .and_then(|text| text.split(' ').next()?.parse().ok())
            .unwrap_or(f64::NAN),
    }
}

fn known(text: io::Result<String>, find: impl FnOnce(&str) -> Option<String>) -> String {
    text.ok()
        .and_then(|text| find(&text))
        .unwrap_or_else(|| "unknown".into())
}

fn cpu_model(cpuinfo: &str) -> Option<String> {
    let line = cpuinfo
        .lines()
        .find(|line| line.starts_with("model name"))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cpu_says_what_it_is() {
        let text = "processor\t: 0\nmodel name\t: Godwit 3000\nmodel name\t: other\n";
        assert_eq!(cpu_model(text).as_deref(), Some("Godwit 3000"));
        assert_eq!(cpu_model("processor: 0\n"), None);
    }

    #[test]
    fn this_machine_is_described() {
        let machine = describe();
        assert!(machine.cpus > 0 && machine.load >= 0.0, "{machine:?}");
    }
}
