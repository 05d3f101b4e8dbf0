//! An installed Linux Test Project: which tests it has, and how one is run.
//!
//! Limosa neither ships nor builds the suite. Its own `make install` lays it out like this:
//!
//! ```text
//!   ROOT/runtest/syscalls      lines "test program argument...", comments, blank lines
//!   ROOT/testcases/bin         the programs
//! ```

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use lab::error::LabError;

/// Characters for which a line of a test needs a shell.
const SHELL_CHARACTERS: &[char] = &[
    '$', '`', '"', '\'', '\\', ';', '&', '|', '<', '>', '(', ')', '*', '?', '[', ']', '#', '~', '=',
];

/// Where the kernel tells its configuration, if it was built to.
const PACKED_CONFIGURATION: &str = "/proc/config.gz";

/// One test of a scenario file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Test {
    /// Its name; the first of them in all scenario files.
    pub(crate) name: String,
    /// Its command line, as the scenario file has it.
    pub(crate) command_line: String,
}

/// Where the suite lies.
#[derive(Clone, Debug)]
pub(crate) struct Suite {
    root: PathBuf,
    kernel_configuration: Option<PathBuf>,
}

impl Suite {
    /// The suite installed in `root`.
    ///
    /// # Errors
    /// When there is none.
    pub(crate) fn at(root: &Path) -> Result<Self, LabError> {
        let missing = |what: String| LabError::Missing {
            what,
            remedy: "install the Linux Test Project and name its directory by --root".into(),
        };
        let root = fs::canonicalize(root)
            .map_err(|error| missing(format!("{} ({error})", root.display())))?;
        let suite = Self {
            root,
            kernel_configuration: None,
        };
        if !suite.programs().is_dir() {
            return Err(missing(suite.programs().display().to_string()));
        }
        Ok(suite)
    }

    /// Unpacks the kernel's configuration into `directory`: else every test starts a program that does
    /// so. Where the kernel does not tell it, tests look for it themselves.
    pub(crate) fn unpack_kernel_configuration(&mut self, directory: &Path) -> Result<(), LabError> {
        if !Path::new(PACKED_CONFIGURATION).exists() {
            return Ok(());
        }
        let path = fs::canonicalize(directory)
            .map_err(LabError::doing(format!("find {}", directory.display())))?
            .join("kernel-configuration");
        let file =
            File::create(&path).map_err(LabError::doing(format!("make {}", path.display())))?;
        let status = Command::new("gzip")
            .args(["-dc", PACKED_CONFIGURATION])
            .stdout(file)
            .status()
            .map_err(LabError::doing("run gzip"))?;
        if !status.success() {
            let what = format!("{PACKED_CONFIGURATION}: gzip: {status}");
            return Err(LabError::Protocol(what));
        }
        self.kernel_configuration = Some(path);
        Ok(())
    }

    /// The directory of its programs.
    pub(crate) fn programs(&self) -> PathBuf {
        self.root.join("testcases/bin")
    }

    /// The tests of these scenario files, in their order; a name that comes again is the same test.
    pub(crate) fn tests(&self, scenarios: &[String]) -> Result<Vec<Test>, LabError> {
        let mut tests: Vec<Test> = Vec::new();
        for scenario in scenarios {
            let path = self.root.join("runtest").join(scenario);
            let text = fs::read_to_string(&path)
                .map_err(LabError::doing(format!("read {}", path.display())))?;
            for test in parse(&text) {
                if !tests.iter().any(|known| known.name == test.name) {
                    tests.push(test);
                }
            }
        }
        Ok(tests)
    }

    /// The words that run a test: its program by path, or a shell where the line needs one. None when
    /// the program is not installed: the suite leaves out what the machine lacks headers for.
    pub(crate) fn words(&self, test: &Test) -> Option<Vec<String>> {
        if test.command_line.contains(SHELL_CHARACTERS) {
            return Some(
                ["/bin/sh", "-c", &test.command_line]
                    .map(String::from)
                    .into(),
            );
        }
        let mut words = test.command_line.split_whitespace();
        let program = self.programs().join(words.next()?);
        let program = program.is_file().then_some(program)?;
        let words = words.map(String::from);
        Some(
            std::iter::once(program.display().to_string())
                .chain(words)
                .collect(),
        )
    }

    /// What the suite's programs want to find in their environment (its user guide, "Environment
    /// variables").
    pub(crate) fn environment(&self, temporary: &Path) -> BTreeMap<&'static str, String> {
        let configuration = self.kernel_configuration.as_ref();
        let configuration = configuration.map(|path| ("KCONFIG_PATH", path.display().to_string()));
        let mut variables = BTreeMap::from([
            ("LTPROOT", self.root.display().to_string()),
            ("TMPDIR", temporary.display().to_string()),
            ("LTP_COLORIZE_OUTPUT", "n".into()),
            // Tests for every file system of the kernel would make and mount each of them.
            ("LTP_SINGLE_FS_TYPE", "tmpfs".into()),
            // Tests that try for a while to win a race try for less long.
            ("LTP_RUNTIME_MUL", "0.1".into()),
        ]);
        variables.extend(configuration);
        variables
    }
}

fn parse(text: &str) -> Vec<Test> {
    let lines = text.lines().map(str::trim);
    let lines = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines
        .filter_map(|line| line.split_once(char::is_whitespace))
        .map(|(name, command_line)| Test {
            name: name.into(),
            command_line: command_line.trim().into(),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scenario_file_has_tests_comments_and_blank_lines() {
        let text = "#DESCRIPTION:Kernel system calls\nabort01 abort01\n\n  # none\nx01\ty -n 3 \n";
        let expected = [("abort01", "abort01"), ("x01", "y -n 3")];
        let expected = expected.map(|(name, command_line)| Test {
            name: name.into(),
            command_line: command_line.into(),
        });
        assert_eq!(parse(text), expected);
    }
}
