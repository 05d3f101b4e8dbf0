//! The commands, as people use them.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::harness::{Agent, Directory, LIMOSA, STRANGER, assert_refused, text, wait_until};

#[test]
fn a_program_run_by_limosa_is_to_its_parent_what_it_is_natively() {
    let directory = Directory::new("native");
    let agent = Agent::start(&directory.0);
    for code in [0, 1, 7, 125, 255] {
        let output = agent.limosa(&["run", "sh", "-c", &format!("exit {code}")]);
        assert_eq!(output.status.code(), Some(code), "{output:?}");
    }
    let output = agent.limosa(&["run", "sh", "-c", "kill -SEGV $$"]);
    assert_eq!(output.status.signal(), Some(libc::SIGSEGV), "{output:?}");

    let child = agent
        .command(&["run", "sh", "-c", "echo $$"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let pid = child.id().to_string();
    assert_eq!(text(&child.wait_with_output().unwrap().stdout), pid);

    // Signals ignored and blocked, arguments that are not text, and the environment all come through.
    let script = "grep -E '^(SigIgn|SigBlk|SigCgt)' /proc/self/status; printf '%s' \"$1\" | od -c";
    let odd: std::ffi::OsString = std::os::unix::ffi::OsStringExt::from_vec(b"a\xff b\n".to_vec());
    for ignored in ["", "trap '' PIPE HUP; "] {
        let shell = format!("{ignored}exec \"$@\"");
        let output_of = |prefix: &[&str]| {
            let mut command = Command::new("sh");
            command
                .args(["-c", &shell, "sh"])
                .args(prefix)
                .args(["sh", "-c", script, "sh"])
                .arg(&odd);
            command.env("LIMOSA_RUN_DIR", &agent.run_dir);
            command.output().unwrap()
        };
        let (native, ours) = (output_of(&[]), output_of(&[LIMOSA, "run"]));
        assert!(
            native.status.success() && !native.stdout.is_empty(),
            "{native:?}"
        );
        assert_eq!(text(&ours.stdout), text(&native.stdout), "{ours:?}");
    }
}

#[test]
fn what_limosa_itself_cannot_do_ends_as_env_says() {
    let directory = Directory::new("env");
    let agent = Agent::start(&directory.0);
    let check = |words: &[&str], code: i32, says: &str| {
        let output = agent.limosa(words);
        assert_eq!(output.status.code(), Some(code), "{output:?}");
        assert!(text(&output.stderr).contains(says), "{output:?}");
    };
    check(&["run", "no-such-program-anywhere"], 127, "no such program");
    check(&["run", "/etc/passwd"], 126, "cannot be executed");
    check(&["run"], 125, "no program was named");
    check(&["run", "--frob", "true"], 125, "--frob");
    check(
        &["run", "--home", "--node", "n1", "true"],
        125,
        "contradict",
    );
    check(&["run", "--node", "nowhere", "true"], 125, "nowhere");
    check(&["nods"], 2, "limosa nodes");
    check(&["nodes", "--jsn"], 2, "--json");
    check(&["migrate", "x", "n1"], 2, "x");
    let elsewhere = ["nodes", "--run-dir", "/nonexistent"];
    check(&elsewhere, 3, "sudo limosa agent");
    check(
        &["run", "--run-dir=/nonexistent", "true"],
        125,
        "sudo limosa agent",
    );
}

#[test]
fn a_program_with_a_baseline_and_its_children_find_it_in_their_environment() {
    let directory = Directory::new("baseline");
    let agent = Agent::start(&directory.0);
    let told = |before: &str, words: &[&str]| {
        let mut command = agent.command(&[&["run", "--baseline"], words].concat());
        let output = command.env("GLIBC_TUNABLES", before).output().unwrap();
        (
            output.status.code(),
            text(&output.stdout),
            text(&output.stderr),
        )
    };
    let script = ["sh", "-c", "sh -c 'echo $GLIBC_TUNABLES'"];
    let (code, value, _) = told(
        "glibc.malloc.perturb=1",
        &[&["x86-64-v3"], &script[..]].concat(),
    );
    assert_eq!(code, Some(0));
    assert!(
        value.starts_with("glibc.malloc.perturb=1:glibc.cpu.hwcaps=-AVX512F,"),
        "{value}"
    );
    assert!(!value.contains("-AVX2"), "{value}");
    let (code, value, _) = told("", &[&["x86-64-v2"], &script[..]].concat());
    assert_eq!(code, Some(0));
    assert!(value.contains(",-AVX2,"), "{value}");
    let (code, _, error) = told("", &["x86-64-v9", "true"]);
    assert_eq!(code, Some(125));
    assert!(error.contains("x86-64-v2 or x86-64-v3"), "{error}");
}

#[test]
fn a_job_is_listed_with_its_children_and_forgotten_when_it_ends() {
    let directory = Directory::new("jobs");
    let agent = Agent::start(&directory.0);
    let mut child = agent
        .command(&[
            "run",
            "sh",
            "-c",
            "sleep 1000 & echo $!; read line; kill $!; wait",
        ])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    let grandchild: u64 = line.trim().parse().unwrap();
    let rows = agent.json(&["ps", "--json"]);
    let rows = rows.as_array().unwrap();
    assert_eq!(rows.len(), 2, "{rows:?}");
    for row in rows {
        assert_eq!((&row["home"], &row["node"]), (&"n1".into(), &"n1".into()));
        assert_eq!(
            (&row["state"], &row["user"]),
            (&"home".into(), &"root".into())
        );
        assert_eq!(
            (&row["migrations"], &row["freeze_ms_last"]),
            (&0.into(), &Value::Null)
        );
        assert_eq!(row["job"], rows[0]["job"]);
        assert!(row["memory_bytes"].as_u64().unwrap() > 0 && row["cantmove"].is_array());
    }
    let mut pids = agent.pids();
    pids.sort_unstable();
    let mut expected = [u64::from(child.id()), grandchild];
    expected.sort_unstable();
    assert_eq!(pids, expected);
    child.stdin.take().unwrap().write_all(b"go\n").unwrap();
    child.wait().unwrap();
    wait_until("the job is forgotten", || {
        (agent.json(&["status", "--json"])["jobs"] == 0).then_some(())
    });
    assert!(agent.pids().is_empty());
}

#[test]
fn a_process_that_may_not_move_is_refused_in_words_and_runs_on() {
    let directory = Directory::new("refused");
    let agent = Agent::start(&directory.0);
    let job = agent.job(&["--home"]);
    let migrate = |pid: &str| agent.limosa(&["migrate", pid, "home"]);

    assert_refused(&migrate("4194305"), "no process 4194305");
    assert_refused(
        &migrate(&std::process::id().to_string()),
        "not started by `limosa run`",
    );
    let mut stopped = Command::new("true").spawn().unwrap();
    wait_until("it is a zombie", || {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", stopped.id())).ok()?;
        stat.contains(") Z ").then_some(())
    });
    assert_refused(&migrate(&stopped.id().to_string()), "has ended");
    stopped.wait().unwrap();

    let stranger = agent
        .command(&["migrate", &job.pid(), "home"])
        .uid(STRANGER)
        .output()
        .unwrap();
    assert_refused(&stranger, "belongs to root");

    let unknown = agent.limosa(&["migrate", &job.pid(), "n11"]);
    assert_eq!(unknown.status.code(), Some(1), "{unknown:?}");
    assert!(text(&unknown.stderr).contains("n1"), "{unknown:?}");
    let row = agent.json(&["migrate", &job.pid(), "home", "--json"]);
    assert_eq!((&row["from"], &row["to"]), (&"n1".into(), &"n1".into()));

    let why = agent.json(&["why", &job.pid(), "--json"]);
    assert_eq!(why["can_move"], false);
    assert_eq!(why["reasons"][0]["code"], "stay-home");
    let why = agent.json(&["why", &std::process::id().to_string(), "--json"]);
    assert_eq!(why["reasons"][0]["code"], "not-a-job");
    assert_eq!(agent.pids(), [u64::from(job.0.id())]);
}

#[test]
fn an_ordinary_user_runs_and_steers_his_own_programs() {
    let directory = Directory::new("user");
    let agent = Agent::start(&directory.0);
    let mut child = agent
        .command(&["run", "cat"])
        .uid(STRANGER)
        .gid(STRANGER)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let pid = child.id().to_string();
    wait_until("the job is listed", || {
        agent.pids().contains(&child.id().into()).then_some(())
    });
    let output = agent
        .command(&["migrate", &pid, "home"])
        .uid(STRANGER)
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    drop(child.stdin.take());
    assert!(child.wait().unwrap().success());
}

#[test]
fn a_second_agent_is_turned_away_and_a_killed_agents_jobs_are_found_again() {
    let directory = Directory::new("again");
    let mut agent = Agent::start(&directory.0);
    let second = Command::new("unshare")
        .args(["--net", LIMOSA, "agent", "--open", "--run-dir"])
        .arg(&directory.0)
        .output()
        .unwrap();
    assert_eq!(second.status.code(), Some(14), "{second:?}");
    assert!(text(&second.stderr).contains("another agent"), "{second:?}");

    let job = agent.job(&[]);
    let pids = agent.pids();
    agent.signal(libc::SIGKILL);
    agent.process.wait().unwrap();
    assert_eq!(agent.limosa(&["nodes"]).status.code(), Some(3));
    let agent = Agent::start(&directory.0);
    assert_eq!(agent.pids(), pids);
    drop(job);
}

#[test]
fn a_stopped_agent_removes_its_socket_and_leaves_jobs_alone() {
    let directory = Directory::new("stop");
    let mut agent = Agent::start(&directory.0);
    let mut job = agent.job(&[]);
    agent.signal(libc::SIGTERM);
    assert_eq!(agent.process.wait().unwrap().code(), Some(0));
    assert!(!directory.0.join("control.sock").exists());
    assert!(
        job.0.try_wait().unwrap().is_none(),
        "the job ended with the agent"
    );
    drop(job);
    // The last agent takes away what the job left.
    drop(Agent::start(&directory.0));
}

#[test]
fn garbage_on_the_control_socket_is_counted_and_the_agent_goes_on() {
    let directory = Directory::new("garbage");
    let agent = Agent::start(&directory.0);
    let socket = directory.0.join("control.sock");
    for bytes in [
        &b"GET / HTTP/1.1\r\n\r\n"[..],
        &[1, 0, 0, 0, 0xff],
        &[9, 0, 0, 0, 1],
    ] {
        let mut stream = UnixStream::connect(&socket).unwrap();
        stream.write_all(bytes).unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        let mut answer = Vec::new();
        // The agent closes with bytes unread, which a stream can report as a reset.
        let _ = std::io::Read::read_to_end(&mut stream, &mut answer);
        assert!(!answer.is_empty());
    }
    // Who may not be a supervisor is not taken for one.
    let script = format!(
        "import socket; s = socket.socket(socket.AF_UNIX); s.connect('{}'); \
         s.send(b'\\x06\\0\\0\\0\\x65Adopt'); print(len(s.recv(9)))",
        socket.display()
    );
    let adopt = Command::new("python3")
        .args(["-c", &script])
        .uid(STRANGER)
        .output()
        .unwrap();
    assert_eq!(text(&adopt.stdout), "0", "{adopt:?}");
    let status = agent.json(&["status", "--json"]);
    let counters = status["counters"].as_array().unwrap();
    let garbage = counters
        .iter()
        .find(|counter| counter["name"] == "control-garbage")
        .unwrap();
    assert_eq!(garbage["value"], 3);
}

#[test]
fn a_run_that_waits_for_nodes_can_be_interrupted() {
    let directory = Directory::new("wait");
    let agent = Agent::start(&directory.0);
    assert!(
        agent
            .limosa(&["run", "--wait-nodes", "1", "true"])
            .status
            .success()
    );
    let mut waiting = agent
        .command(&["run", "--wait-nodes", "2", "true"])
        .spawn()
        .unwrap();
    wait_until("it is connected", || {
        let wchan = std::fs::read_to_string(format!("/proc/{}/syscall", waiting.id())).ok()?;
        // recvmsg(2) is call 47.
        wchan.starts_with("47 ").then_some(())
    });
    assert!(waiting.try_wait().unwrap().is_none());
    waiting.kill().unwrap();
    waiting.wait().unwrap();
    assert!(agent.limosa(&["run", "true"]).status.success());
}

#[test]
fn without_a_cgroup_the_run_stays_as_a_parent_that_mirrors_its_program() {
    let directory = Directory::new("parent");
    let agent = Agent::start_without_cgroup(&directory.0);
    assert_eq!(
        agent.json(&["status", "--json"])["agent"]["cgroup"],
        Value::Null
    );
    for code in [0, 7, 255] {
        let output = agent.limosa(&["run", "sh", "-c", &format!("exit {code}")]);
        assert_eq!(output.status.code(), Some(code), "{output:?}");
    }
    assert_eq!(
        agent.limosa(&["run", "no-such-program"]).status.code(),
        Some(127)
    );
    let output = agent.limosa(&["run", "sh", "-c", "kill -TERM $$"]);
    assert_eq!(output.status.signal(), Some(libc::SIGTERM), "{output:?}");

    // A signal to the parent reaches the program, whose answer comes out.
    let script = "trap 'echo heard; exit 3' USR1; echo ready; while :; do sleep 0.01; done";
    let mut child = agent
        .command(&["run", "sh", "-c", script])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert_eq!(lines.next().unwrap().unwrap(), "ready");
    let rows = agent.json(&["ps", "--json"]);
    let commands: Vec<_> = rows
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|row| row["command"].as_str())
        .collect();
    assert!(
        commands
            .iter()
            .any(|command| command.starts_with("sh -c trap")),
        "{commands:?}"
    );
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::USR1).unwrap();
    assert_eq!(lines.next().unwrap().unwrap(), "heard");
    assert_eq!(child.wait().unwrap().code(), Some(3));
}

#[test]
fn where_no_cgroup_is_mounted_the_agent_mounts_one_for_itself() {
    let directory = Directory::new("mount");
    let agent = Agent::start_without_mount(&directory.0);
    assert_ne!(
        agent.json(&["status", "--json"])["agent"]["cgroup"],
        Value::Null
    );
    let mut job = agent.job(&[]);
    assert_eq!(agent.pids(), [u64::from(job.0.id())]);
    drop(job.0.stdin.take());
    assert!(job.0.wait().unwrap().success());
    wait_until("the job is forgotten", || {
        (agent.json(&["status", "--json"])["jobs"] == 0).then_some(())
    });
}

#[test]
fn starting_without_a_key_or_with_a_bad_configuration_says_why() {
    let directory = Directory::new("start");
    let config = directory.0.join("agent.conf");
    std::fs::write(&config, "name = n1\nprot = 7\n").unwrap();
    let agent = |words: &[&str]| {
        let mut command = Command::new("unshare");
        command
            .args(["--net", LIMOSA, "agent", "--run-dir"])
            .arg(&directory.0)
            .args(words);
        command
    };
    let bad = agent(&["--config", config.to_str().unwrap()])
        .output()
        .unwrap();
    assert_eq!(bad.status.code(), Some(2), "{bad:?}");
    assert!(text(&bad.stderr).contains("agent.conf line 2"), "{bad:?}");

    let key = directory.0.join("key");
    assert!(
        Command::new(LIMOSA)
            .args(["key", "new"])
            .arg(&key)
            .status()
            .unwrap()
            .success()
    );
    let token = std::fs::read_to_string(&key).unwrap();
    let wrong = if token.contains("-0") {
        token.replacen("-0", "-1", 1)
    } else {
        format!("{token}x")
    };
    std::fs::write(&key, wrong).unwrap();
    let bad = agent(&["--key", key.to_str().unwrap()]).output().unwrap();
    assert_eq!(bad.status.code(), Some(2), "{bad:?}");
    assert!(text(&bad.stderr).contains("cluster key"), "{bad:?}");

    let plain = Command::new(LIMOSA)
        .args(["agent", "--open", "--run-dir", "/nonexistent"])
        .uid(STRANGER)
        .output()
        .unwrap();
    assert_eq!(plain.status.code(), Some(10), "{plain:?}");
    assert!(text(&plain.stderr).contains("root"), "{plain:?}");
}
