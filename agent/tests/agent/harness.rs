//! An agent under test: started in a network namespace of its own, and stopped with the test.

use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use serde_json::Value;

pub(crate) const LIMOSA: &str = env!("CARGO_BIN_EXE_limosa");

/// How long anything may take before a test gives up; nothing is ever that slow.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

/// Shell commands that take every cgroup2 mount out of their mount namespace.
const UNMOUNT: &str = "while mount=$(awk '/ - cgroup2 /{print $5; exit}' /proc/self/mountinfo) && \
                       [ -n \"$mount\" ]; do umount -l \"$mount\" || exit 1; done;";

/// A user without rights: nobody.
pub(crate) const STRANGER: u32 = 65_534;

pub(crate) fn wait_until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(start.elapsed() < DEADLINE, "waited in vain until {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// A directory that goes with the test.
pub(crate) struct Directory(pub(crate) PathBuf);

impl Directory {
    pub(crate) fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("limosa-{name}-{}", std::process::id()));
        std::fs::create_dir(&path).unwrap();
        // A stranger has to get through to the socket.
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
        Self(path)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// An agent that runs, and is stopped with the test.
pub(crate) struct Agent {
    pub(crate) process: Child,
    log: Receiver<String>,
    pub(crate) run_dir: PathBuf,
}

impl Agent {
    pub(crate) fn start(run_dir: &Path) -> Self {
        Self::start_in(run_dir, &["--net"], "exec \"$@\"")
    }

    /// Without any cgroup2 mount that everybody sees.
    pub(crate) fn start_without_mount(run_dir: &Path) -> Self {
        Self::start_in(
            run_dir,
            &["--net", "--mount"],
            &format!("{UNMOUNT} exec \"$@\""),
        )
    }

    /// Without the right to mount a cgroup2 either.
    pub(crate) fn start_without_cgroup(run_dir: &Path) -> Self {
        let script = format!(
            "{UNMOUNT} exec setpriv --bounding-set=-sys_admin --inh-caps=-sys_admin \"$@\""
        );
        Self::start_in(run_dir, &["--net", "--mount"], &script)
    }

    pub(crate) fn start_in(run_dir: &Path, namespaces: &[&str], script: &str) -> Self {
        assert!(
            rustix::process::geteuid().is_root(),
            "these tests need root"
        );
        let mut process = Command::new("unshare")
            .args(namespaces)
            .args(["sh", "-c", script, "sh", LIMOSA])
            .args(["agent", "--open", "--name", "n1", "--run-dir"])
            .arg(run_dir)
            .stderr(Stdio::piped())
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        let (lines, log) = channel();
        let stderr = BufReader::new(process.stderr.take().unwrap());
        std::thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                if lines.send(line).is_err() {
                    return;
                }
            }
        });
        let agent = Self {
            process,
            log,
            run_dir: run_dir.to_path_buf(),
        };
        agent.wait_for_line("socket");
        agent
    }

    pub(crate) fn wait_for_line(&self, part: &str) -> String {
        loop {
            let line = self.log.recv_timeout(DEADLINE);
            let line = line.unwrap_or_else(|_| panic!("the agent never said {part:?}"));
            if line.contains(part) {
                return line;
            }
        }
    }

    pub(crate) fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(LIMOSA);
        command
            .args(words)
            .env("LIMOSA_RUN_DIR", &self.run_dir)
            .stdin(Stdio::null());
        command
    }

    pub(crate) fn limosa(&self, words: &[&str]) -> Output {
        self.command(words).output().unwrap()
    }

    pub(crate) fn json(&self, words: &[&str]) -> Value {
        let output = self.limosa(words);
        assert!(output.status.success(), "{words:?}: {output:?}");
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// The pids that `limosa ps` lists.
    pub(crate) fn pids(&self) -> Vec<u64> {
        let rows = self.json(&["ps", "--json"]);
        rows.as_array()
            .unwrap()
            .iter()
            .map(|row| row["pid"].as_u64().unwrap())
            .collect()
    }

    /// Starts a job that lives until its standard input is closed.
    pub(crate) fn job(&self, options: &[&str]) -> Job {
        let words = [&["run"], options, &["cat"]].concat();
        let child = self
            .command(&words)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let job = Job(child);
        wait_until("the job is listed", || {
            let rows = self.json(&["ps", "--json"]);
            rows.as_array()?
                .iter()
                .any(|row| row["command"] == "cat")
                .then_some(())
        });
        job
    }

    pub(crate) fn signal(&self, signal: i32) {
        let pid = rustix::process::Pid::from_child(&self.process);
        let signal = rustix::process::Signal::from_named_raw(signal).unwrap();
        rustix::process::kill_process(pid, signal).unwrap();
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        if self.process.try_wait().is_ok_and(|status| status.is_none()) {
            self.signal(libc::SIGTERM);
            let _ = self.process.wait();
        }
    }
}

/// A job, ended with the test.
pub(crate) struct Job(pub(crate) Child);

impl Job {
    pub(crate) fn pid(&self) -> String {
        self.0.id().to_string()
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).trim_end().to_string()
}

#[track_caller]
pub(crate) fn assert_refused(output: &Output, why: &str) {
    assert_eq!(output.status.code(), Some(4), "{output:?}");
    assert!(text(&output.stderr).contains(why), "{output:?}");
}
