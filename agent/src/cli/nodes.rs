//! `limosa nodes`: the nodes of the cluster.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use argh::FromArgs;

use super::client;
use super::table::{Align, Cell, Table, size, state_tone};
use crate::wire::control::{ControlRequest, ControlResponse, NodeRow};

/// List the nodes of the cluster. The node that was asked is marked with an asterisk.
#[derive(FromArgs)]
#[argh(
    example = "{command_name}\n{command_name} --json | jq -r '.[] | select(.state == \"alive\") | .name'",
    note = "SPEED is that of one CPU (10000: the reference machine). LOAD counts runnable threads.",
    error_code(3, "no agent runs here")
)]
pub(super) struct Nodes {
    /// print JSON
    #[argh(switch)]
    json: bool,
    /// where the agent keeps its socket (default: $LIMOSA_RUN_DIR, else /run/limosa)
    #[argh(option)]
    run_dir: Option<PathBuf>,
}

pub(super) fn main(words: Vec<OsString>) -> ExitCode {
    let options: Nodes = match super::parse("nodes", words) {
        Ok(options) => options,
        Err(code) => return code,
    };
    match client::ask(options.run_dir.as_deref(), &ControlRequest::Nodes) {
        Ok(ControlResponse::Nodes(rows)) if options.json => super::print_json(&rows),
        Ok(ControlResponse::Nodes(rows)) => {
            table(&rows).print();
            ExitCode::SUCCESS
        }
        Ok(_) => super::unexpected(options.json),
        Err(error) => error.report(options.json, error.code()),
    }
}

fn table(rows: &[NodeRow]) -> Table {
    let mut table = Table::new(&[
        ("NODE", Align::Right),
        ("NAME", Align::Left),
        ("STATE", Align::Left),
        ("CPUS", Align::Right),
        ("SPEED", Align::Right),
        ("LOAD", Align::Right),
        ("MEMORY", Align::Right),
        ("FREE", Align::Right),
        ("GUESTS", Align::Right),
        ("ADDRESS", Align::Left),
    ]);
    for row in rows {
        let mark = if row.this { " *" } else { "" };
        table.row(vec![
            row.number.into(),
            format!("{}{mark}", row.name).into(),
            Cell::toned(&row.state, state_tone(&row.state)),
            row.cpus.into(),
            row.speed.into(),
            format!("{:.2}", row.load).into(),
            size(row.memory_total_bytes).into(),
            size(row.memory_free_bytes).into(),
            row.guests.into(),
            row.addresses.first().map_or("-", String::as_str).into(),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_is_one_aligned_line() {
        let row = NodeRow {
            number: 2,
            name: "n2".into(),
            id: "00".into(),
            state: "alive".into(),
            addresses: vec!["10.0.0.2:4460".into(), "[fe80::1%3]:4460".into()],
            cpus: 4,
            speed: 10_000,
            load: 0.5,
            memory_total_bytes: 8 << 30,
            memory_free_bytes: 3 << 29,
            guests: 1,
            version: "0.1.0".into(),
            this: true,
        };
        assert_eq!(
            table(&[row]).render(false, None),
            "NODE  NAME  STATE  CPUS  SPEED  LOAD   MEMORY     FREE  GUESTS  ADDRESS\n\
             \x20  2  n2 *  alive     4  10000  0.50  8.0 GiB  1.5 GiB       1  10.0.0.2:4460\n"
        );
    }
}
