//! A row of the matrix: a machine of 192 MiB is home to a guest of 96 MiB, all of it in use and hard to compress.
//!
//! 1. `programs/grow.c` is compiled; it takes the memory that it is told to take, and checks it before it ends.
//! 2. n1 runs it on n2, the machine, which must have it while it is large.
//! 3. Its input ends: all of its memory must be as it was written.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use lab::error::LabError;
use lab::{Lab, LabOptions, NodeHandle, wait_until};

use crate::chosen::{Workshop, run};
use crate::situations::machine;
use crate::{Arguments, BOOT_TIMEOUT};

/// How long the machine took to join, which serves the guest afterwards.
pub(crate) fn boot(arguments: &Arguments) -> Result<Duration, LabError> {
    let workshop = Workshop::make("memory")?;
    let program = workshop.file("grow");
    run(Command::new("gcc")
        .args(["-O2", "-static", "-o"])
        .arg(&program)
        .arg("qemu-tests/programs/grow.c"))?;
    let started = Instant::now();
    let lab = Lab::start(&LabOptions {
        memory_mib: Some(192),
        ..machine(arguments)?
    })?;
    let home = lab.node("n1");
    home.wait_for_members(2, BOOT_TIMEOUT)?;
    let joined = started.elapsed();
    // A machine that still boots has no CPU to spare, and sends its guests home.
    wait_until(BOOT_TIMEOUT, "the machine keeps its guest", || {
        grow_away(&home, &program)
    })?;
    lab.down()?;
    Ok(joined)
}

fn grow_away(home: &NodeHandle<'_>, program: &Path) -> Result<(), LabError> {
    let program = program.to_string_lossy();
    let options = ["--node", "n2", "--baseline", "x86-64-v2", "--"];
    let words = [&["limosa", "run"], &options[..], &[&program]].concat();
    let mut job = home
        .command(words)?
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(LabError::doing("start the program"))?;
    let talking = || LabError::doing("talk to the program");
    let (Some(mut input), Some(output)) = (job.stdin.take(), job.stdout.take()) else {
        return Err(LabError::Refused("the program has no pipes".into()));
    };
    input.write_all(b"96\n").map_err(talking())?;
    let mut said = String::new();
    let mut output = BufReader::new(output);
    output.read_line(&mut said).map_err(talking())?;
    let rows = home.limosa(&["ps"])?;
    drop(input);
    output.read_line(&mut said).map_err(talking())?;
    let status = job.wait().map_err(talking())?;
    let is_there = |rows: &[serde_json::Value]| rows.iter().any(|row| row["node"] == "n2");
    let was_there = rows.as_array().is_some_and(|rows| is_there(rows));
    if status.success() && said == "grown\nright\n" && was_there {
        return Ok(());
    }
    Err(LabError::Refused(format!("{status}: {said:?}; {rows}")))
}
