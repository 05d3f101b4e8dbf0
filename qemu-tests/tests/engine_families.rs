//! Families of processes whose members are on different nodes: in namespaces.
//!
//! Every member counts aloud (`programs/family.c`), so that a second copy of one, or one that has begun anew,
//! is found out by the numbers. Whatever happens to a node or a supervisor, a member goes on where it was or
//! is killed with a word, and the others are its relatives as before.

#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use lab::faults::Chance;
use lab::{Lab, wait_until};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use support::job::{Job, Outcome, run_natively, wait_for_no_guests};
use support::programs::{Linkage, c_program, scratch_directory};
use support::{SOON, cluster, words};

/// The longest that a member may hang when a node or a supervisor is lost.
const LOSS_TIMEOUT: Duration = Duration::from_secs(30);

/// At how many moments of a move a supervisor is killed.
const MOMENTS: u32 = 6;

/// A parent and its children under `limosa run`.
struct Family<'lab> {
    lab: &'lab Lab,
    job: Job<'lab>,
    folder: String,
    /// By the order in which they were made.
    children: Vec<u32>,
}

impl<'lab> Family<'lab> {
    /// Starts a parent and two children at home.
    fn start(lab: &'lab Lab, name: &str) -> Self {
        let folder = scratch_directory(&format!("family-{name}"));
        let program = words(c_program("family", Linkage::Dynamic), &[&folder]);
        let mut family = Family {
            lab,
            job: Job::start(lab.node("n1"), &program),
            folder,
            children: Vec::new(),
        };
        family.await_child();
        family.await_child();
        family
    }

    fn parent(&self) -> u32 {
        self.job.pid()
    }

    /// Has the parent make another child, wherever the parent is.
    fn fork(&mut self) -> u32 {
        self.job.feed(b"f");
        self.await_child()
    }

    fn await_child(&mut self) -> u32 {
        let beginning = format!("child {} ", self.children.len());
        let pid = self.job.wait_for_word_after(&beginning);
        self.children.push(pid.parse().unwrap());
        *self.children.last().unwrap()
    }

    /// Where `limosa ps` at home says that a process is.
    fn node_of(&self, pid: u32) -> Option<String> {
        let rows = self.lab.node("n1").limosa(&["ps"]).unwrap();
        let row = row_of(&rows, |row| row["pid"] == pid)?;
        row["node"].as_str().map(str::to_owned)
    }

    /// Moves one member by its pid, and looks where it is then.
    fn migrate(&self, pid: u32, destination: &str) {
        migrate(self.lab, pid, destination);
        let wanted = if destination == "home" {
            "n1"
        } else {
            destination
        };
        assert_eq!(self.node_of(pid).as_deref(), Some(wanted));
        self.goes_on(pid);
    }

    /// Waits until a member has counted on.
    fn goes_on(&self, pid: u32) {
        let before = self.count(pid);
        wait_until(SOON, format!("process {pid} counts on"), || {
            let now = self.count(pid);
            if now > before + 1 { Ok(()) } else { Err(now) }
        })
        .unwrap_or_else(|error| panic!("{error}"));
    }

    /// How far a member has counted.
    fn count(&self, pid: u32) -> usize {
        fs::read_to_string(Path::new(&self.folder).join(pid.to_string()))
            .map_or(0, |text| text.lines().count())
    }

    /// Waits until a process is gone, or lies dead and unawaited.
    fn ends(&self, pid: u32) {
        wait_until(LOSS_TIMEOUT, format!("process {pid} ends"), || {
            if is_alive(pid) {
                Err("it lives")
            } else {
                Ok(())
            }
        })
        .unwrap_or_else(|error| panic!("{error}"));
    }

    /// Waits until a process runs at home, or has ended; whether it runs.
    fn comes_home_or_ends(&self, pid: u32) -> bool {
        wait_until(
            LOSS_TIMEOUT,
            format!("process {pid} is told"),
            || match self.node_of(pid) {
                _ if !is_alive(pid) => Ok(false),
                Some(node) if node == "n1" => Ok(true),
                node => Err(format!("it is on {node:?}")),
            },
        )
        .unwrap_or_else(|error| panic!("{error}"))
    }

    /// Ends the parent's input and waits for its end. Nobody was ever twice, and no guest is left.
    fn finish(self) -> Outcome {
        let outcome = self.job.finish();
        leave_nothing(self.lab, &self.folder, &self.children);
        outcome
    }

    /// Waits for the end of a parent whose node was lost.
    fn await_end(self) -> Outcome {
        let outcome = self.job.await_end();
        leave_nothing(self.lab, &self.folder, &self.children);
        outcome
    }
}

/// Whoever is left ends, nobody was ever twice or began anew, and the nodes that live have no guests.
fn leave_nothing(lab: &Lab, folder: &str, children: &[u32]) {
    for &child in children {
        wait_until(LOSS_TIMEOUT, format!("child {child} ends"), || {
            if is_alive(child) {
                Err("it lives")
            } else {
                Ok(())
            }
        })
        .unwrap_or_else(|error| panic!("{error}"));
    }
    for node in lab.nodes().unwrap().iter().skip(1) {
        if node.process().is_ok_and(|process| process.is_alive()) {
            wait_for_no_guests(node);
        }
    }
    for file in fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        let text = fs::read_to_string(&path).unwrap();
        for (wanted, seen) in text.lines().enumerate() {
            assert_eq!(seen, wanted.to_string(), "{} counts wrong", path.display());
        }
    }
    fs::remove_dir_all(folder).unwrap();
}

fn row_of(rows: &Value, wanted: impl Fn(&Value) -> bool) -> Option<Value> {
    rows.as_array()?.iter().find(|row| wanted(row)).cloned()
}

/// Whether a process is neither gone nor a zombie.
fn is_alive(pid: u32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|stat| !stat.contains(") Z ") && !stat.contains(") X "))
}

fn kill(pid: u32) {
    kill_process(Pid::from_raw(pid.cast_signed()).unwrap(), Signal::KILL).unwrap();
}

/// The processes that a process has started: an agent's are its supervisors.
fn children_of(pid: u32) -> Vec<u32> {
    let path = format!("/proc/{pid}/task/{pid}/children");
    let listed = fs::read_to_string(path).unwrap_or_default();
    let words = listed.split_whitespace();
    words.filter_map(|word| word.parse().ok()).collect()
}

/// Moves a process. A busy machine's nodes may take each other for lost for a moment: a move that has failed
/// has changed nothing, and is asked for again.
fn migrate(lab: &Lab, pid: u32, destination: &str) {
    let pid = pid.to_string();
    let command = ["timeout", "30", "limosa", "migrate", &pid, destination];
    wait_until(SOON, format!("{pid} moves to {destination}"), || {
        let output = lab
            .node("n1")
            .exec(command)
            .map_err(|error| error.to_string())?;
        match output.status.code() {
            Some(0) => Ok(()),
            Some(1) => Err(format!("{output:?}")),
            _ => panic!("{output:?}"),
        }
    })
    .unwrap_or_else(|error| panic!("{error}"));
}

#[test]
fn a_child_is_moved_by_its_pid_while_its_parent_stays_at_home() {
    let lab = cluster(3);
    let family = Family::start(&lab, "child");
    let (parent, first, second) = (family.parent(), family.children[0], family.children[1]);
    family.migrate(first, "n2");
    family.migrate(second, "n3");
    assert_eq!(family.node_of(parent).as_deref(), Some("n1"));
    family.migrate(first, "n3");
    family.migrate(second, "home");
    for pid in [parent, first, second] {
        family.goes_on(pid);
    }
    let outcome = family.finish();
    assert!(
        outcome.out.contains("child 0 ended with 10\n"),
        "{outcome:?}"
    );
    assert!(
        outcome.out.contains("child 1 ended with 11\n"),
        "{outcome:?}"
    );
    assert_eq!(outcome.status.code(), Some(0));
}

#[test]
fn a_child_that_is_forked_away_is_listed_there_and_goes_its_own_way() {
    let lab = cluster(3);
    let mut family = Family::start(&lab, "fork");
    let parent = family.parent();
    family.migrate(parent, "n2");
    let forked = family.fork();
    assert_eq!(family.node_of(forked).as_deref(), Some("n2"));
    assert_eq!(family.node_of(family.children[0]).as_deref(), Some("n1"));
    family.goes_on(forked);
    family.migrate(forked, "n3");
    family.goes_on(parent);
    family.migrate(parent, "home");
    assert_eq!(family.node_of(forked).as_deref(), Some("n3"));
    let at_home = family.fork();
    family.migrate(at_home, "n3");
    family.migrate(parent, "n3");
    family.migrate(forked, "home");
    let outcome = family.finish();
    for child in 0..4 {
        let wanted = format!("child {child} ended with {}\n", 10 + child);
        assert!(outcome.out.contains(&wanted), "{outcome:?}");
    }
    assert_eq!(outcome.status.code(), Some(0));
}

#[test]
fn a_child_away_that_is_killed_at_home_is_dead_and_its_parent_away_is_told() {
    let lab = cluster(3);
    let mut family = Family::start(&lab, "kill");
    let parent = family.parent();
    family.migrate(parent, "n2");
    let (near, far) = (family.fork(), family.children[0]);
    family.migrate(far, "n3");
    for pid in [near, far] {
        kill(pid);
        family.ends(pid);
    }
    family.goes_on(parent);
    wait_for_no_guests(&lab.node("n3"));
    let outcome = family.finish();
    assert!(outcome.out.contains("child 0 killed by 9\n"), "{outcome:?}");
    assert!(outcome.out.contains("child 2 killed by 9\n"), "{outcome:?}");
    assert_eq!(outcome.status.code(), Some(0));
}

#[test]
fn children_outlive_a_parent_away_that_is_killed_and_see_that_it_is_gone() {
    let lab = cluster(3);
    let mut family = Family::start(&lab, "orphans");
    family.migrate(family.parent(), "n2");
    let forked = family.fork();
    family.migrate(family.children[0], "n3");
    family.goes_on(forked);
    kill(family.parent());
    // Each child sees the end of the pipe whose other end only its parent had.
    let outcome = family.await_end();
    assert!(!outcome.status.success());
}

#[test]
fn when_a_child_s_node_is_lost_its_parent_on_another_node_is_told_as_of_any_death() {
    let lab = cluster(3);
    let family = Family::start(&lab, "child-lost");
    let child = family.children[0];
    family.migrate(child, "n2");
    family.migrate(family.parent(), "n3");
    lab.node("n2").kill().unwrap();
    // It has written since it left: it cannot be resumed.
    family.ends(child);
    family.goes_on(family.parent());
    family.goes_on(family.children[1]);
    let outcome = family.finish();
    assert!(outcome.out.contains("child 0 killed by 9\n"), "{outcome:?}");
    assert!(
        outcome.out.contains("child 1 ended with 11\n"),
        "{outcome:?}"
    );
    assert!(outcome.err.contains("n2"), "no word of it: {outcome:?}");
    assert_eq!(outcome.status.code(), Some(0));
}

#[test]
fn when_the_node_of_a_parent_is_lost_its_child_on_another_node_lives_until_it_sees_that() {
    let lab = cluster(3);
    let mut family = Family::start(&lab, "parent-lost");
    family.migrate(family.parent(), "n2");
    let forked = family.fork();
    family.goes_on(forked);
    family.migrate(family.children[0], "n3");
    lab.node("n2").kill().unwrap();
    family.ends(family.parent());
    family.ends(forked);
    let outcome = family.await_end();
    assert!(!outcome.status.success());
    assert!(outcome.err.contains("n2"), "no word of it: {outcome:?}");
}

#[test]
fn a_child_behind_a_cut_is_never_twice() {
    let lab = cluster(3);
    let family = Family::start(&lab, "cut");
    let child = family.children[0];
    family.migrate(child, "n2");
    lab.cut("n1", "n2").unwrap();
    let resumed = family.comes_home_or_ends(child);
    assert!(!resumed, "it had written, and yet it was resumed");
    lab.heal().unwrap();
    wait_for_no_guests(&lab.node("n2"));
    family.goes_on(family.parent());
    let outcome = family.finish();
    assert!(outcome.out.contains("child 0 killed by 9\n"), "{outcome:?}");
    assert_eq!(outcome.status.code(), Some(0));
}

/// Kills all supervisors of a node some time after a child's move was asked for. The child goes on, once, or
/// is dead; its parent and its sibling at home do not notice.
fn survives_a_killed_supervisor(lab: &Lab, at: &str, moment: Duration) {
    let family = Family::start(lab, &format!("{at}-{}", moment.as_millis()));
    let child = family.children[0];
    let command = [
        "timeout",
        "60",
        "limosa",
        "migrate",
        &child.to_string(),
        "n2",
    ]
    .map(str::to_owned);
    let mut moving = lab.node("n1").command(command).unwrap().spawn().unwrap();
    // Not to wait for anything: the moment is what is tried.
    std::thread::sleep(moment);
    for supervisor in children_of(lab.node(at).process().unwrap().pid) {
        // One that has just ended is not killed.
        let pid = Pid::from_raw(supervisor.cast_signed()).unwrap();
        let _ = kill_process(pid, Signal::KILL);
    }
    moving.wait().unwrap();
    if family.comes_home_or_ends_or_stays(child) {
        family.goes_on(child);
    }
    family.goes_on(family.parent());
    family.goes_on(family.children[1]);
    let outcome = family.finish();
    let fates = ["child 0 ended with 10\n", "child 0 killed by 9\n"];
    let fate = fates.iter().filter(|fate| outcome.out.contains(**fate));
    assert_eq!(fate.count(), 1, "after {moment:?} at {at}: {outcome:?}");
    assert!(
        outcome.out.contains("child 1 ended with 11\n"),
        "{outcome:?}"
    );
    assert_eq!(outcome.status.code(), Some(0), "{outcome:?}");
}

impl Family<'_> {
    /// Waits until a process whose supervisor may have been killed has settled: whether it lives.
    fn comes_home_or_ends_or_stays(&self, pid: u32) -> bool {
        let before = self.count(pid);
        wait_until(LOSS_TIMEOUT, format!("process {pid} settles"), || {
            if !is_alive(pid) {
                Ok(false)
            } else if self.count(pid) > before + 1 {
                Ok(true)
            } else {
                Err(format!("it is on {:?}", self.node_of(pid)))
            }
        })
        .unwrap_or_else(|error| panic!("{error}"))
    }
}

/// Moments between a move's request and a little after its end, drawn anew in each run.
fn moments(lab: &Lab) -> impl Iterator<Item = Duration> {
    let family = Family::start(lab, "undisturbed");
    let began = Instant::now();
    migrate(lab, family.children[0], "n2");
    let step = began.elapsed() / (MOMENTS - 1);
    family.finish();
    let mut random = Chance::new(u64::from(std::process::id()));
    (0..MOMENTS).map(move |number| step * number + step * random.below(100) as u32 / 100)
}

#[test]
fn a_supervisor_at_home_that_is_killed_at_any_moment_of_a_move_leaves_one_copy_or_none() {
    let lab = cluster(2);
    for moment in moments(&lab) {
        survives_a_killed_supervisor(&lab, "n1", moment);
    }
}

#[test]
fn a_supervisor_on_the_remote_that_is_killed_at_any_moment_of_a_move_leaves_one_copy_or_none() {
    let lab = cluster(2);
    for moment in moments(&lab) {
        survives_a_killed_supervisor(&lab, "n2", moment);
    }
}

/// The row of the process of a job that runs this command.
fn running(lab: &Lab, command: &str) -> Value {
    wait_until(SOON, format!("{command} runs"), || {
        let rows = lab
            .node("n1")
            .limosa(&["ps"])
            .map_err(|error| error.to_string())?;
        let wanted = |row: &Value| {
            row["command"]
                .as_str()
                .is_some_and(|words| words.starts_with(command))
        };
        row_of(&rows, wanted).ok_or_else(|| rows.to_string())
    })
    .unwrap_or_else(|error| panic!("{error}"))
}

fn pid_in(row: &Value) -> u32 {
    u32::try_from(row["pid"].as_u64().unwrap()).unwrap()
}

#[test]
fn the_members_of_a_shell_pipeline_work_on_different_nodes() {
    let script = "cat | sed -u s/line/LINE/ | nl -ba | tee /dev/null";
    let program = words("/bin/sh".into(), &["-c", script]);
    let lines: Vec<String> = (0..60).map(|number| format!("line {number}\n")).collect();
    let native = run_natively(&program, lines.concat().as_bytes());
    let lab = cluster(3);
    let mut job = Job::start(lab.node("n1"), &program);
    let members = ["cat", "sed -u", "nl -ba", "tee"].map(|name| pid_in(&running(&lab, name)));
    let moves = [
        (0, "n2"),
        (1, "n3"),
        (2, "n2"),
        (0, "home"),
        (3, "n3"),
        (1, "n2"),
    ];
    for (part, (member, destination)) in lines.chunks(10).zip(moves) {
        migrate(&lab, members[member], destination);
        job.feed(part.concat().as_bytes());
    }
    assert_eq!(job.finish(), native);
    for node in ["n2", "n3"] {
        wait_for_no_guests(&lab.node(node));
    }
}

/// A shell away starts a program: where that runs, and what both write.
fn start_away(options: &[&str]) -> (String, Outcome) {
    let program = words("/bin/sh".into(), &["-c", "echo begin; cat; echo end"]);
    let lab = cluster(2);
    let mut job = Job::start_with(lab.node("n1"), options, &program);
    job.wait_for_output("begin\n");
    job.feed(b"middle\n");
    job.wait_for_output("middle\n");
    assert_eq!(running(&lab, "/bin/sh")["node"], "n2");
    let cat = wait_until(SOON, "cat settles", || {
        let row = running(&lab, "cat");
        match row["state"].as_str() {
            Some("home" | "away") => Ok(row["node"].as_str().unwrap().to_owned()),
            _ => Err(row.to_string()),
        }
    });
    (cat.unwrap_or_else(|error| panic!("{error}")), job.finish())
}

#[test]
fn what_a_shell_away_starts_follows_it_unless_it_is_told_not_to() {
    let wanted = "begin\nmiddle\nend\n";
    let (node, outcome) = start_away(&["--node", "n2"]);
    assert_eq!((node.as_str(), outcome.out.as_str()), ("n2", wanted));
    let (node, outcome) = start_away(&["--node", "n2", "--no-follow"]);
    assert_eq!((node.as_str(), outcome.out.as_str()), ("n1", wanted));
}
