//! `ltp`: the Linux Test Project's tests at home and away, and what differs. Started by
//! `qemu-tests/ltp`, which builds it.
//!
//! 1. Read what the installed suite has, and what is known about single tests (`ltp-notes`).
//! 2. Bring up two nodes in namespaces.
//! 3. Try each test ([`trial`]): at home, and if it passes there, by `limosa run --node`.
//! 4. Look whether anything is left of guests and jobs.
//! 5. Print the table; one difference without a known reason is a failure.

mod alone;
mod execution;
mod journey;
mod loop_devices;
mod notes;
mod outcome;
mod report;
mod settings;
mod suite;
mod trial;

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Mutex;
use std::time::Duration;

use argh::FromArgs;
use lab::error::LabError;
use lab::process::ProcessIdentity;
use lab::{Lab, LabOptions, NodeHandle, wait_until};

use execution::Executor;
use notes::Notes;
use report::ResultFile;
use settings::Settings;
use suite::{Suite, Test};
use trial::{Trial, try_test};

/// The nodes: tests start on the first and are sent to the second.
const HOME: &str = "n1";
const DESTINATION: &str = "n2";

/// How long the nodes may take to meet, and what is left of tests to go.
const SOON: Duration = Duration::from_secs(20);

/// Run the system call tests of an installed Linux Test Project at home and away, and tell what differs.
#[derive(FromArgs)]
#[argh(
    example = "qemu-tests/ltp --root /opt/ltp\nqemu-tests/ltp --root /opt/ltp --resume\nqemu-tests/ltp --root /opt/ltp pipe"
)]
struct Arguments {
    /// where the suite is installed (default: /opt/ltp)
    #[argh(option, default = "PathBuf::from(\"/opt/ltp\")")]
    root: PathBuf,
    /// scenario file of the suite; may be repeated (default: syscalls and syscalls-ipc)
    #[argh(option)]
    scenario: Vec<String>,
    /// let each test be one process that shares no memory, so that it stays away as long as it can
    #[argh(switch)]
    alone: bool,
    /// tests to run at a time (default: 1)
    #[argh(option, default = "1")]
    jobs: usize,
    /// how long a test may run at home, in seconds; four times as long away (default: 60)
    #[argh(option, default = "60")]
    timeout_seconds: u64,
    /// go on where an interrupted run was
    #[argh(switch)]
    resume: bool,
    /// where to put results.jsonl and the output of each run (default: target/ltp)
    #[argh(option, default = "PathBuf::from(\"target/ltp\")")]
    output: PathBuf,
    /// only tests with one of these in their names
    #[argh(positional)]
    names: Vec<String>,
}

fn main() -> ExitCode {
    let arguments: Arguments = argh::from_env();
    match run(&arguments) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("ltp: {error}");
            ExitCode::from(if matches!(error, LabError::Usage(_)) {
                2
            } else {
                1
            })
        }
    }
}

/// Tells whether all is well.
fn run(arguments: &Arguments) -> Result<bool, LabError> {
    let notes =
        Notes::parse(notes::CHECKED_IN).map_err(|error| LabError::Usage(error.to_string()))?;
    let mut suite = Suite::at(&arguments.root)?;
    let logs = arguments.output.join("logs");
    if !arguments.resume {
        // Names of an older run must not be taken for those of this one.
        let _ = fs::remove_dir_all(&logs);
    }
    fs::create_dir_all(&logs).map_err(LabError::doing(format!("make {}", logs.display())))?;
    suite.unpack_kernel_configuration(&arguments.output)?;
    let results = arguments.output.join("results.jsonl");
    let (file, known) = ResultFile::open(&results, arguments.resume)?;
    let tests = wanted_tests(arguments, &suite, &known)?;

    let preload = arguments.alone.then(|| alone::build(&arguments.output));
    let preload = preload.transpose()?;

    let lab = Lab::start(&LabOptions::namespaces(2))?;
    let home = lab.node(HOME);
    wait_for_meeting(&home)?;
    let agents = agents(&lab)?;
    let scratch = std::env::temp_dir().join(format!("limosa-{}", lab.name()));
    let executor = Executor {
        suite: &suite,
        destination: DESTINATION,
        agent_log: home.status()?.directory.join("agent.log"),
        home,
        scratch: &scratch,
        logs: &logs,
        preload: preload.as_deref(),
        timeout_home: Duration::from_secs(arguments.timeout_seconds),
        timeout_away: Duration::from_secs(4 * arguments.timeout_seconds),
    };
    let settings = Settings::read();
    let progress = Progress {
        settings: (arguments.jobs <= 1).then_some(&settings),
        waiting: Mutex::new(tests),
        ended: Mutex::new((file, known)),
    };
    let tried = progress.try_all(&executor, &notes, arguments.jobs.max(1));
    settings.restore("the last test");
    let residue = residue(&lab, &agents);
    // What a test has left mounted keeps it; it is in the temporary directory of this machine.
    let _ = fs::remove_dir_all(&scratch);
    tried?;

    let trials = progress.into_trials();
    print!("\n{}", report::table(&trials));
    println!("\nAll results: {}", results.display());
    for line in &residue {
        eprintln!("ltp: {line}");
    }
    lab.down()?;
    Ok(residue.is_empty() && !trials.iter().any(Trial::is_unexplained))
}

/// The tests that are asked for and not yet tried, the last first.
fn wanted_tests(
    arguments: &Arguments,
    suite: &Suite,
    known: &[Trial],
) -> Result<Vec<Test>, LabError> {
    let scenarios = if arguments.scenario.is_empty() {
        ["syscalls", "syscalls-ipc"].map(String::from).into()
    } else {
        arguments.scenario.clone()
    };
    let names = &arguments.names;
    let mut tests = suite.tests(&scenarios)?;
    tests.retain(|test| {
        let is_wanted =
            names.is_empty() || names.iter().any(|name| test.name.contains(name.as_str()));
        is_wanted && !known.iter().any(|trial| trial.test == test.name)
    });
    tests.reverse();
    if tests.is_empty() && known.is_empty() {
        let names = names.join(", ");
        return Err(LabError::Usage(format!("no test has {names} in its name")));
    }
    Ok(tests)
}

/// What the threads that run tests share.
struct Progress<'a> {
    /// What is set back after each test, if no other runs at the same time.
    settings: Option<&'a Settings>,
    /// Tests that nobody has begun.
    waiting: Mutex<Vec<Test>>,
    /// The file of results, and what is in it.
    ended: Mutex<(ResultFile, Vec<Trial>)>,
}

impl Progress<'_> {
    fn try_all(
        &self,
        executor: &Executor<'_>,
        notes: &Notes,
        threads: usize,
    ) -> Result<(), LabError> {
        std::thread::scope(|scope| {
            let workers: Vec<_> = (0..threads)
                .map(|_| scope.spawn(|| self.try_some(executor, notes)))
                .collect();
            let mut result = Ok(());
            for worker in workers {
                let ended = worker.join().unwrap_or_else(|_| {
                    Err(LabError::Protocol("a thread of this program ended".into()))
                });
                result = result.and(ended);
            }
            result
        })
    }

    fn try_some(&self, executor: &Executor<'_>, notes: &Notes) -> Result<(), LabError> {
        while let Some(test) = lock(&self.waiting).pop() {
            let trial = try_test(executor, notes, &test)?;
            println!("{}", report::progress(&trial));
            if let Some(settings) = self.settings {
                settings.restore(&test.name);
            }
            let mut ended = lock(&self.ended);
            ended.0.add(&trial)?;
            ended.1.push(trial);
        }
        Ok(())
    }

    fn into_trials(self) -> Vec<Trial> {
        let (_, trials) = self
            .ended
            .into_inner()
            .unwrap_or_else(|poison| poison.into_inner());
        trials
    }
}

/// Nothing that is shared here is left half changed by a panic.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|poison| poison.into_inner())
}

fn agents(lab: &Lab) -> Result<Vec<(String, ProcessIdentity)>, LabError> {
    let nodes = lab.nodes()?;
    let agents = nodes
        .iter()
        .map(|node| Ok((node.name().to_owned(), node.process()?)));
    agents.collect()
}

/// Waits until the home node sees the other.
fn wait_for_meeting(home: &NodeHandle<'_>) -> Result<(), LabError> {
    wait_until(SOON, format!("{HOME} sees {DESTINATION} alive"), || {
        match destination_row(home)?["state"].as_str() {
            Some("alive") => Ok(()),
            state => Err(format!("{state:?}")),
        }
    })
}

fn destination_row(home: &NodeHandle<'_>) -> Result<serde_json::Value, String> {
    let members = home.limosa(&["nodes"]).map_err(|error| error.to_string())?;
    let rows = members.as_array().into_iter().flatten();
    let row = rows.into_iter().find(|row| row["name"] == DESTINATION);
    Ok(row.cloned().unwrap_or_default())
}

/// What should not be there when all tests have ended: other agents than at the beginning, jobs, guests.
fn residue(lab: &Lab, agents: &[(String, ProcessIdentity)]) -> Vec<String> {
    let ended = agents.iter().filter(|(_, agent)| !agent.is_alive());
    let mut residue: Vec<_> = ended
        .map(|(name, agent)| format!("the agent of {name}, process {}, has ended", agent.pid))
        .collect();
    let home = lab.node(HOME);
    let nothing_left = wait_until(SOON, "no job and no guest is left", || {
        let jobs = home.limosa(&["ps"]).map_err(|error| error.to_string())?;
        let guests = destination_row(&home)?["guests"].clone();
        if jobs.as_array().is_some_and(Vec::is_empty) && guests == 0 {
            Ok(())
        } else {
            Err(format!("{guests} guests, jobs {jobs}"))
        }
    });
    residue.extend(nothing_left.err().map(|error| error.to_string()));
    residue
}
