//! For how long a program does not run when it is moved: by size, with many threads, and on its way home.
//! CRIU's dump and restore of the same program is measured in turns, if there is one that works.

use lab::error::LabError;

use crate::criu::Criu;
use crate::figure::{Figure, Target, Unit};
use crate::laboratory::{Laboratory, now_ns};
use crate::program::{Start, spawn};
use crate::statistics::Samples;
use crate::watcher::Watcher;

/// The bound for one thread, whatever the size.
const FREEZE_SECONDS: f64 = 0.005;

/// The bound for [`THREADS`].
const THREADS_FREEZE_SECONDS: f64 = 0.025;
const THREADS: u64 = 64;

/// How many times longer CRIU takes at least.
const CRIU_TIMES: f64 = 10.0;

/// Beside the memory of the program and of its guest: agents, page tables, everybody else.
const SPARE_MIB: u64 = 1024;

/// Moves of one kind of program.
#[derive(Default)]
struct Moves {
    out: Samples,
    out_blackout: Samples,
    home: Samples,
    home_blackout: Samples,
    criu: Samples,
}

/// All freeze times.
pub(crate) fn measure(
    laboratory: &Laboratory,
    runs: usize,
    sizes_mib: &[u64],
    criu: &Result<Criu, String>,
) -> Result<Vec<Figure>, LabError> {
    let binary = laboratory.program("memory")?;
    let mut figures = Vec::new();
    for &size_mib in sizes_mib {
        let what = format!("{size_mib} MiB, 1 thread");
        // It is there twice, at home and away; and CRIU needs room for the images.
        if available_mib()? < 2 * size_mib + SPARE_MIB {
            figures.push(Figure::missing(
                format!("frozen_out_{size_mib}_mib"),
                format!("frozen on the way out: {what}"),
                "not enough memory",
            ));
            continue;
        }
        let mut moves = Moves::default();
        for _ in 0..runs {
            one_journey(laboratory, &binary, size_mib, 1, &mut moves)?;
            if let Ok(criu) = criu {
                moves
                    .criu
                    .push(criu.blackout(laboratory, &binary, size_mib)?);
            }
        }
        let name = format!("{size_mib}_mib");
        figures.extend(of_moves(&name, &what, moves, FREEZE_SECONDS, criu));
    }
    let mut moves = Moves::default();
    for _ in 0..runs {
        one_journey(laboratory, &binary, 64, THREADS, &mut moves)?;
    }
    let (name, what) = (
        format!("{THREADS}_threads"),
        format!("64 MiB, {THREADS} threads"),
    );
    let no_criu = Err(String::new());
    figures.extend(of_moves(
        &name,
        &what,
        moves,
        THREADS_FREEZE_SECONDS,
        &no_criu,
    ));
    Ok(figures)
}

/// Starts a program, moves it out and home, and ends it.
fn one_journey(
    laboratory: &Laboratory,
    binary: &str,
    size_mib: u64,
    threads: u64,
    moves: &mut Moves,
) -> Result<(), LabError> {
    let file = laboratory.file("watch");
    let watcher = Watcher::new(&file)?;
    let (size, threads) = (size_mib.to_string(), threads.to_string());
    let file = file.display().to_string();
    let words = [binary, &size, &threads, "watch", &file];
    let mut child = spawn(&laboratory.home(), Start::ByLimosa, &words)?;
    let journey = watcher.wait_for_start().and_then(|()| {
        for destination in ["n2", "home"] {
            let begin_ns = now_ns();
            let moved = laboratory.migrate(child.id(), destination)?;
            let blackout = watcher.blackout_since(begin_ns)?;
            let (freezes, blackouts) = match destination {
                "n2" => (&mut moves.out, &mut moves.out_blackout),
                _ => (&mut moves.home, &mut moves.home_blackout),
            };
            freezes.push(moved.freeze_seconds);
            blackouts.push(blackout);
        }
        Ok(())
    });
    // One that has ended needs no killing.
    let _ = child.kill();
    let _ = child.wait();
    journey
}

fn of_moves(
    name: &str,
    what: &str,
    moves: Moves,
    bound_seconds: f64,
    criu: &Result<Criu, String>,
) -> Vec<Figure> {
    let figure = |direction: &str, kind: &str, samples: Samples| {
        let way = match direction {
            "out" => "out",
            _ => "home, clean",
        };
        Figure::new(
            format!("{}_{direction}_{name}", kind.replace(' ', "_")),
            format!("{kind} on the way {way}: {what}"),
            Unit::Seconds,
            samples,
        )
    };
    let told = Target::AtMost(bound_seconds);
    let seen = "as the program sees it";
    let blackout = figure("out", "not running", moves.out_blackout);
    let blackout = match criu {
        Ok(criu) => blackout
            .beside(criu.to_string(), moves.criu)
            .target(Target::TimesLess(CRIU_TIMES))
            .how(seen),
        Err(why) if why.is_empty() => blackout.how(seen),
        Err(why) => blackout.how(format!("{seen}; {why}")),
    };
    vec![
        figure("out", "frozen", moves.out).target(told),
        blackout,
        figure("home", "frozen", moves.home).target(told),
        figure("home", "not running", moves.home_blackout).how(seen),
    ]
}

/// Memory that could be used now: MemAvailable of proc_meminfo(5).
fn available_mib() -> Result<u64, LabError> {
    let path = "/proc/meminfo";
    let text = std::fs::read_to_string(path).map_err(LabError::doing(format!("read {path}")))?;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("MemAvailable:"));
    line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok())
        .map(|kibibytes| kibibytes / 1024)
        .ok_or_else(|| LabError::Protocol(format!("{path} tells no MemAvailable")))
}
