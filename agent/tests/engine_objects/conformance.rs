//! The table of programs, `programs.txt`, run program by program and mode by mode; and the table of results.
//!
//! Every section of the table is a family: a folder of `programs/`, and a test here. In every mode the
//! program's output and status must be the native ones. The results are printed when the last family is
//! done, and are in `conformance.txt` of the target directory's `tmp` in any case.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::journeys::{Allowance, Course, Mode, native, travel};
use crate::programs::{Program, sources};
use crate::running::Outcome;

const TABLE: &str = include_str!("programs.txt");

/// How many programs of one family run at once: most of them wait most of the time.
const AT_ONCE: usize = 5;

/// Reproduces the moments of the moves.
const SEED_VARIABLE: &str = "LIMOSA_TEST_SEED";

/// Runs only programs that have this in their names.
const ONLY_VARIABLE: &str = "LIMOSA_TEST_PROGRAM";

/// One line of the table.
struct Row {
    family: &'static str,
    name: &'static str,
    linkage: &'static str,
    allowance: Allowance,
}

fn table() -> Vec<Row> {
    let mut family = "";
    let mut rows = Vec::new();
    for line in TABLE.lines() {
        if let Some(heading) = line.strip_prefix('[') {
            family = heading.trim_end_matches(']');
        } else if !line.is_empty() && !line.starts_with('#') {
            rows.push(Row::parse(family, line));
        }
    }
    rows
}

impl Row {
    fn parse(family: &'static str, line: &'static str) -> Row {
        let mut words = line.split_whitespace();
        let mut word = || {
            let word = words.next();
            word.unwrap_or_else(|| panic!("too few words: {line}"))
        };
        let (name, linkage, expectation) = (word(), word(), word());
        assert!(words.next().is_some(), "what does {name} show?");
        let mut allowance = Allowance::default();
        for part in expectation.split(',') {
            match part.split_once(':') {
                None if part == "travels" => {}
                None if part == "comes-home" => allowance.comes_home = true,
                Some(("may-stay", code)) => allowance.may_refuse = Some(code.to_owned()),
                Some(("stays", code)) => {
                    allowance.comes_home = true;
                    allowance.stays = Some(code.to_owned());
                }
                _ => panic!("{name}: {part} is not an expectation"),
            }
        }
        Row {
            family,
            name,
            linkage,
            allowance,
        }
    }

    fn path(&self) -> String {
        format!("{}/{}", self.family, self.name)
    }

    fn program(&self) -> Program {
        match self.linkage {
            "dynamic" => Program::dynamic(&self.path()),
            "static" => Program::statically_linked(&self.path()),
            other => panic!("{} is neither dynamic nor static: {other}", self.name),
        }
    }
}

/// What became of a program in one mode: its course, or why it is wrong.
type Cell = Result<Course, String>;

/// Results by program.
type Results = BTreeMap<String, Vec<Cell>>;

fn seed() -> u64 {
    static SEED: OnceLock<u64> = OnceLock::new();
    *SEED.get_or_init(|| match std::env::var(SEED_VARIABLE) {
        Ok(text) => text.parse().expect("the seed is a number"),
        Err(_) => SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(1, |since| since.as_secs()),
    })
}

/// Runs what may panic; the panic's message if it does.
fn guarded<T>(run: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(run)).map_err(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|&text| text.to_owned()));
        text.unwrap_or_default()
    })
}

/// Runs one program in every mode.
fn results_of(row: &Row) -> Vec<Cell> {
    let natively = guarded(|| {
        let program = row.program();
        let outcome = native(&program);
        assert!(
            outcome.stderr.is_empty() && outcome.stdout.ends_with('\n'),
            "fails natively: {outcome:?}"
        );
        (program, outcome)
    });
    let (program, wanted) = match natively {
        Ok(natively) => natively,
        Err(error) => return vec![Err(error)],
    };
    let away = Mode::ALL.iter().skip(1).map(|&mode| {
        let (outcome, course) = guarded(|| travel(&program, mode, &row.allowance, seed()))?;
        compare(&outcome, &wanted)?;
        Ok(course)
    });
    std::iter::once(Ok(Course::Travelled)).chain(away).collect()
}

fn compare(seen: &Outcome, wanted: &Outcome) -> Result<(), String> {
    if seen == wanted {
        return Ok(());
    }
    Err(format!("{seen:?} instead of {wanted:?}"))
}

/// Runs every program of a family in every mode.
fn conforms(family: &str) {
    let only = std::env::var(ONLY_VARIABLE).unwrap_or_default();
    let mut rows = table();
    rows.retain(|row| row.family == family && row.path().contains(&only));
    let next = AtomicUsize::new(0);
    let results = Mutex::new(Results::new());
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some(row) = rows.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let cells = results_of(row);
                    lock(&results).insert(row.path(), cells);
                }
            });
        }
    });
    let results = std::mem::take(&mut *lock(&results));
    let wrong = wrong_cells(&results);
    publish(results);
    assert!(
        wrong.is_empty(),
        "{SEED_VARIABLE}={} and these programs are not as at home:\n{wrong}",
        seed()
    );
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn wrong_cells(results: &Results) -> String {
    let mut text = String::new();
    for (name, cells) in results {
        for (mode, cell) in Mode::ALL.iter().zip(cells) {
            if let Err(error) = cell {
                let _ = writeln!(text, "{name}, {}: {error}", mode.name());
            }
        }
    }
    text
}

/// Adds a family's results to those of the others.
fn publish(results: Results) {
    static ALL: Mutex<Results> = Mutex::new(Results::new());
    let mut all = lock(&ALL);
    all.extend(results);
    let text = rendered(&all);
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join("conformance.txt");
    fs::write(&file, &text).unwrap();
    if all.len() == table().len() {
        // Not by print!, which shows nothing of a test that passes.
        let mut stdout = std::io::stdout().lock();
        writeln!(stdout, "\n{text}(also in {})", file.display()).unwrap();
    }
}

/// The table of results.
fn rendered(results: &Results) -> String {
    let mut text = format!("{:34}", "program");
    for mode in Mode::ALL {
        let _ = write!(text, "{:>10}", mode.name());
    }
    text.push('\n');
    for (name, cells) in results {
        let _ = write!(text, "{name:34}");
        let mut causes = Vec::new();
        for cell in cells {
            let (word, cause) = match cell {
                Ok(Course::Travelled) => ("ok", None),
                Ok(Course::CameHome(cause)) => ("ok, home", Some(cause)),
                Ok(Course::Stayed(code)) => ("ok, stays", Some(code)),
                Err(_) => ("WRONG", None),
            };
            let _ = write!(text, "{word:>10}");
            causes.extend(cause);
        }
        causes.sort();
        causes.dedup();
        for (position, cause) in causes.into_iter().enumerate() {
            let _ = write!(text, "{} {cause}", if position == 0 { "  " } else { ";" });
        }
        text.push('\n');
    }
    let of_kind = |wanted: fn(&Course) -> bool| {
        let cells = results.values().flatten();
        cells.filter(|cell| cell.as_ref().is_ok_and(wanted)).count()
    };
    let _ = writeln!(
        text,
        "{} programs: {} runs as at home, {} of them after coming home by themselves, {} that could not leave; seed {}",
        results.len(),
        of_kind(|_| true),
        of_kind(|course| matches!(course, Course::CameHome(_))),
        of_kind(|course| matches!(course, Course::Stayed(_))),
        seed()
    );
    text
}

macro_rules! families {
    ($($family:ident: $claim:ident,)*) => {
        const FAMILIES: &[&str] = &[$(stringify!($family)),*];
        $(#[test] fn $claim() { conforms(stringify!($family)); })*
    };
}

families! {
    descriptors: descriptors_are_homes_everywhere,
    identity: identity_is_homes_everywhere,
    memory: memory_is_the_programs_own_everywhere,
    processes: processes_are_relatives_everywhere,
    signals: signals_are_heard_as_at_home_everywhere,
    sockets: sockets_are_homes_everywhere,
    states: states_that_cannot_leave_keep_a_program_at_home,
    surroundings: surroundings_are_homes_everywhere,
    threads: threads_work_together_everywhere,
    time: time_passes_as_at_home_everywhere,
}

#[test]
fn every_program_of_a_family_is_in_the_table_and_every_family_is_tested() {
    let mut listed: Vec<String> = table().iter().map(Row::path).collect();
    let mut present = Vec::new();
    for family in FAMILIES {
        for file in fs::read_dir(sources().join(family)).unwrap() {
            let name = file.unwrap().file_name().into_string().unwrap();
            present.push(format!("{family}/{}", name.strip_suffix(".c").unwrap()));
        }
    }
    listed.sort();
    present.sort();
    assert_eq!(listed, present);
}
