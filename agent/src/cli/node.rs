//! `limosa node`: what may leave this node, what may come to it, and that all are to go now.
//!
//! `expel` and `bring` ask the agent again and again until nobody is left, and say how many are.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::thread::sleep;
use std::time::Duration;

use argh::FromArgs;

use super::client::{self, ClientError};
use super::exit;
use crate::wire::control::{ControlRequest, ControlResponse, NodeModes, NodeOrder};

/// How often it is looked whether anybody is left.
const PERIOD: Duration = Duration::from_millis(200);

/// Tell this node what may leave it and what may come to it, in openMosix's words; without an order, say how it
/// is. Each of the first four is undone by the same word with `no` in front.
#[derive(FromArgs)]
#[argh(
    example = "{command_name}\n{command_name} expel && poweroff\n{command_name} setspeed 5000",
    note = "stay      nothing leaves by itself, neither at its start nor later\n\
            lstay     no process whose home this is leaves by itself\n\
            block     no guest comes in\n\
            quiet     the others are not told this node's load, so nothing is sent here by itself\n\
            expel     send all guests home, return when they are gone; blocks, too\n\
            bring     call all processes of this home back, return when they are here; keeps them, too (lstay)\n\
            setspeed  use this speed of a CPU (10000: the reference machine), or `auto`: what was measured",
    error_code(3, "no agent runs here"),
    error_code(4, "refused: it is root's to say")
)]
pub(super) struct Node {
    /// do not wait until all are gone or here
    #[argh(switch)]
    no_wait: bool,
    /// print JSON
    #[argh(switch)]
    json: bool,
    /// where the agent keeps its socket (default: $LIMOSA_RUN_DIR, else /run/limosa)
    #[argh(option)]
    run_dir: Option<PathBuf>,
    /// the order, and for setspeed its value
    #[argh(positional)]
    order: Vec<String>,
}

pub(super) fn main(words: Vec<OsString>) -> ExitCode {
    let options: Node = match super::parse("node", words) {
        Ok(options) => options,
        Err(code) => return code,
    };
    let order = match parse(&options.order) {
        Ok(order) => order,
        Err(text) => return exit::fail(exit::USAGE, text),
    };
    let result = if options.no_wait {
        tell(options.run_dir.as_deref(), order)
    } else {
        carry_through(options.run_dir.as_deref(), order)
    };
    match result {
        Ok(modes) if options.json => super::print_json(&modes),
        Ok(modes) => {
            super::print(&lines(&modes));
            ExitCode::SUCCESS
        }
        Err(error) => error.report(options.json, error.code()),
    }
}

fn tell(run_dir: Option<&Path>, order: NodeOrder) -> Result<NodeModes, ClientError> {
    match client::ask(run_dir, &ControlRequest::Node(order))? {
        ControlResponse::Node(modes) => Ok(modes),
        _ => Err(ClientError::Unexpected),
    }
}

/// Gives an order, and waits until nobody is left whom it concerns.
fn carry_through(run_dir: Option<&Path>, order: NodeOrder) -> Result<NodeModes, ClientError> {
    let mut modes = tell(run_dir, order)?;
    let mut said = 0;
    while let left @ 1.. = left(order, &modes) {
        if left != said {
            let what = if left == 1 { "process" } else { "processes" };
            eprintln!("limosa: {left} {what} to go home");
            said = left;
        }
        sleep(PERIOD);
        modes = tell(run_dir, NodeOrder::Show)?;
    }
    Ok(modes)
}

/// Processes that the order wants home and that are not there yet.
fn left(order: NodeOrder, modes: &NodeModes) -> u32 {
    match order {
        NodeOrder::Expel if modes.block => modes.guests,
        NodeOrder::Bring if modes.lstay => modes.away,
        _ => 0,
    }
}

fn parse(words: &[String]) -> Result<NodeOrder, String> {
    let mut words = words.iter().map(String::as_str);
    let Some(word) = words.next() else {
        return Ok(NodeOrder::Show);
    };
    let value = words.next();
    if words.next().is_some() || value.is_some() && word != "setspeed" {
        return Err(format!("there are too many words behind `{word}`"));
    }
    let (on, bare) = match word.strip_prefix("no") {
        Some(bare) => (false, bare),
        None => (true, word),
    };
    match (bare, on) {
        ("stay", _) => Ok(NodeOrder::Stay(on)),
        ("lstay", _) => Ok(NodeOrder::LocalStay(on)),
        ("block", _) => Ok(NodeOrder::Block(on)),
        ("quiet", _) => Ok(NodeOrder::Quiet(on)),
        ("expel", true) => Ok(NodeOrder::Expel),
        ("bring", true) => Ok(NodeOrder::Bring),
        ("setspeed", true) => match value {
            Some("auto") => Ok(NodeOrder::Speed(None)),
            Some(value) => value
                .parse()
                .map(|speed| NodeOrder::Speed(Some(speed)))
                .map_err(|_| format!("{value:?} is neither a speed nor `auto`")),
            None => Err("setspeed needs a value: a speed, or `auto`".into()),
        },
        _ => Err(format!(
            "no order is called {word:?}; there are stay, lstay, block, quiet (and each with `no` in front), \
             expel, bring and setspeed"
        )),
    }
}

fn lines(modes: &NodeModes) -> String {
    let on = |on: bool| if on { "yes" } else { "no" };
    format!(
        "stay    {}\nlstay   {}\nblock   {}\nquiet   {}\nspeed   {}\nguests  {}\naway    {}\n",
        on(modes.stay),
        on(modes.lstay),
        on(modes.block),
        on(modes.quiet),
        modes.speed,
        modes.guests,
        modes.away
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn openmosix_s_words_are_understood_and_others_answered() {
        let said = |words: &str| {
            let words: Vec<String> = words.split_whitespace().map(String::from).collect();
            parse(&words)
        };
        assert_eq!(said(""), Ok(NodeOrder::Show));
        assert_eq!(said("stay"), Ok(NodeOrder::Stay(true)));
        assert_eq!(said("nolstay"), Ok(NodeOrder::LocalStay(false)));
        assert_eq!(said("noblock"), Ok(NodeOrder::Block(false)));
        assert_eq!(said("expel"), Ok(NodeOrder::Expel));
        assert_eq!(said("setspeed 5000"), Ok(NodeOrder::Speed(Some(5000))));
        assert_eq!(said("setspeed auto"), Ok(NodeOrder::Speed(None)));
        let wrong = [
            "noexpel",
            "expel 1",
            "sty",
            "setspeed",
            "setspeed -1",
            "setspeed 1 2",
        ];
        for words in wrong {
            assert!(said(words).is_err(), "{words}");
        }
    }

    #[test]
    fn expel_waits_for_guests_and_bring_for_those_away_and_neither_for_what_was_called_off() {
        let modes = NodeModes {
            stay: false,
            lstay: false,
            block: true,
            quiet: false,
            speed: 10_000,
            guests: 3,
            away: 2,
        };
        assert_eq!(left(NodeOrder::Expel, &modes), 3);
        assert_eq!(left(NodeOrder::Bring, &modes), 0);
        assert_eq!(left(NodeOrder::Stay(true), &modes), 0);
        assert!(lines(&modes).contains("block   yes\n"));
    }
}
