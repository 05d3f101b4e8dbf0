//! A node without a cluster key shows a code, and gets the key when that is typed on a node of the cluster:
//! in namespaces.

#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Stdio};

use lab::{Lab, LabOptions, NodeHandle, wait_until};
use rustix::process::{Pid, Signal, kill_process};
use support::{SOON, start, wait_for_state};

/// A program on a node that is ended with the test.
struct Running(Child);

impl Running {
    fn start(node: &NodeHandle<'_>, words: &[&str]) -> Running {
        let mut command = node.command(words).unwrap();
        let command = command.stdin(Stdio::null()).stdout(Stdio::piped());
        Running(command.spawn().unwrap())
    }

    fn lines(&mut self) -> std::io::Lines<BufReader<ChildStdout>> {
        BufReader::new(self.0.stdout.take().unwrap()).lines()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let pid = Pid::from_raw(i32::try_from(self.0.id()).unwrap()).unwrap();
        // It may have ended by itself.
        let _ = kill_process(pid, Signal::TERM);
        let _ = self.0.wait();
    }
}

/// The code in a line that `limosa key ask` prints.
fn code_in(line: &str) -> String {
    line.rsplit(' ').next().unwrap().to_owned()
}

/// A code that differs in its last digit only.
fn mistyped(code: &str) -> String {
    let (front, last) = code.split_at(code.len() - 1);
    format!("{front}{}", if last == "0" { '1' } else { '0' })
}

/// A node n1 with an agent, and n2 without; a file on n2 for the key.
fn lab_with_newcomer(name: &str) -> (Lab, PathBuf) {
    let lab = start(&LabOptions::namespaces(2));
    let n2 = lab.node("n2");
    wait_for_state(&lab.node("n1"), "n2", "alive", SOON);
    n2.stop().unwrap();
    wait_for_state(&lab.node("n1"), "n2", "left", SOON);
    let file = std::env::temp_dir().join(format!("limosa-{name}-{}.key", std::process::id()));
    (lab, file)
}

fn admit(node: &NodeHandle<'_>, words: &[&str]) -> (Option<i32>, String) {
    let output = node.exec(["limosa", "admit"].iter().chain(words)).unwrap();
    let said = [output.stdout, output.stderr].concat();
    (
        output.status.code(),
        String::from_utf8_lossy(&said).into_owned(),
    )
}

fn ask(node: &NodeHandle<'_>, file: &Path) -> Running {
    Running::start(node, &["limosa", "key", "ask", file.to_str().unwrap()])
}

#[test]
fn a_node_that_shows_a_code_gets_the_key_when_it_is_typed_and_joins_with_it() {
    let (lab, file) = lab_with_newcomer("admitted");
    let (n1, n2) = (lab.node("n1"), lab.node("n2"));
    let mut newcomer = ask(&n2, &file);
    let mut lines = newcomer.lines();
    let code = code_in(&lines.next().unwrap().unwrap());

    // The list tells who asks, and nothing that could be typed.
    let list = || {
        let askers = n1.limosa(&["admit"]).map_err(|error| error.to_string())?;
        let row = askers.get(0).ok_or("nobody asks")?;
        Ok::<_, String>((row["mark"].clone(), askers.to_string()))
    };
    let (mark, text) = wait_until(SOON, "n1 hears that n2 asks", list).unwrap();
    assert_eq!(mark, code[..2]);
    assert!(!text.contains(&code[3..]), "{text}");

    let (status, said) = admit(&n1, &[&code]);
    assert_eq!(status, Some(0), "{said}");
    let last = lines.last().unwrap().unwrap();
    assert!(last.starts_with("n1 has admitted this node"), "{last}");
    assert!(newcomer.0.wait().unwrap().success());
    let key = file.to_str().unwrap();
    let agent = Running::start(&n2, &["limosa", "agent", "--name", "late", "--key", key]);
    wait_for_state(&n1, "late", "alive", SOON);
    drop(agent);
    std::fs::remove_file(file).unwrap();
}

#[test]
fn a_mistyped_code_admits_nobody_and_the_next_one_does() {
    let (lab, file) = lab_with_newcomer("mistyped");
    let (n1, n2) = (lab.node("n1"), lab.node("n2"));
    let mut newcomer = ask(&n2, &file);
    let mut lines = newcomer.lines();
    let code = code_in(&lines.next().unwrap().unwrap());
    let (status, said) = admit(&n1, &[&mistyped(&code)]);
    assert_eq!(status, Some(4), "{said}");
    assert!(
        said.contains("the code is not the one shown there"),
        "{said}"
    );
    let line = lines.next().unwrap().unwrap();
    assert!(line.starts_with("A wrong code was tried from"), "{line}");
    assert!(!file.exists());

    // The first code has had its try; the second is heard after a rest.
    let next = code_in(&line);
    assert_ne!(next, code);
    let admitted = || match admit(&n1, &[&next]) {
        (Some(0), _) => Ok(()),
        (_, said) => Err(said),
    };
    wait_until(SOON, "n2 is admitted by its second code", admitted).unwrap();
    assert!(file.exists());
    std::fs::remove_file(file).unwrap();
}

#[test]
fn what_is_no_code_or_comes_from_an_open_cluster_is_answered_in_words() {
    let lab = start(&LabOptions {
        open: true,
        ..LabOptions::namespaces(1)
    });
    let n1 = lab.node("n1");
    let (status, said) = admit(&n1, &["48-29150"]);
    assert_eq!(status, Some(2), "{said}");
    assert!(said.contains("a code has 8 digits"), "{said}");
    let answered = wait_until(SOON, "n1 answers", || match admit(&n1, &["48-291507"]) {
        (Some(3), said) => Err(said),
        answered => Ok(answered),
    });
    let (status, said) = answered.unwrap();
    assert_eq!(status, Some(4), "{said}");
    assert!(said.contains("boot the PC with limosa.open"), "{said}");
}
