//! `limosa admit`: give the cluster key to a PC that shows a code.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use argh::FromArgs;

use super::table::{Align, Table};
use super::{client, exit};
use crate::admission::code::Code;
use crate::node::config::parse_seed;
use crate::wire::control::{AskerRow, ControlRequest, ControlResponse};

/// Give the cluster key to a PC that was booted without one and shows this code on its screen. Without a code,
/// list the PCs that ask. Whoever has the key can run programs on all nodes, so walk to the PC and read
/// the code there.
#[derive(FromArgs)]
#[argh(
    example = "{command_name}\n{command_name} 48-291507\n{command_name} 48-291507 --address 10.1.0.7",
    note = "The list has the first two digits of each code only: nobody but the PC knows the others. A code is good\n\
            for one try; after a wrong one the PC shows another, and rests for some seconds.",
    error_code(2, "what was typed is no code"),
    error_code(3, "no agent runs here"),
    error_code(4, "refused: nobody shows this code, or it is root's to say")
)]
pub(super) struct Admit {
    /// ask at this address, where multicast does not reach
    #[argh(option, arg_name = "address")]
    address: Option<String>,
    /// print JSON
    #[argh(switch)]
    json: bool,
    /// where the agent keeps its socket (default: $LIMOSA_RUN_DIR, else /run/limosa)
    #[argh(option)]
    run_dir: Option<PathBuf>,
    /// the code
    #[argh(positional)]
    code: Option<String>,
}

pub(super) fn main(words: Vec<OsString>) -> ExitCode {
    let options: Admit = match super::parse("admit", words) {
        Ok(options) => options,
        Err(code) => return code,
    };
    if let Some(Err(error)) = options.code.as_deref().map(str::parse::<Code>) {
        return exit::fail(exit::USAGE, error);
    }
    if let Some(Err(error)) = options.address.as_deref().map(parse_seed) {
        return exit::fail(exit::USAGE, error);
    }
    let request = ControlRequest::Admit {
        code: options.code,
        address: options.address,
    };
    match client::ask(options.run_dir.as_deref(), &request) {
        Ok(ControlResponse::Askers(rows)) if options.json => super::print_json(&rows),
        Ok(ControlResponse::Admitted(row)) if options.json => super::print_json(&row),
        Ok(ControlResponse::Askers(rows)) if rows.is_empty() => {
            super::print("nobody asks to be admitted\n");
            ExitCode::SUCCESS
        }
        Ok(ControlResponse::Askers(rows)) => {
            table(&rows).print();
            ExitCode::SUCCESS
        }
        Ok(ControlResponse::Admitted(row)) => {
            super::print(&format!(
                "{} at {} has the cluster key\n",
                row.name, row.address
            ));
            ExitCode::SUCCESS
        }
        Ok(_) => super::unexpected(options.json),
        Err(error) => error.report(options.json, error.code()),
    }
}

fn table(rows: &[AskerRow]) -> Table {
    let mut table = Table::new(&[
        ("NAME", Align::Left),
        ("CODE", Align::Left),
        ("ADDRESS", Align::Left),
    ]);
    for row in rows {
        table.row(vec![
            row.name.as_str().into(),
            format!("{}-......", row.mark).into(),
            row.address.as_str().into(),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_shows_of_a_code_what_is_no_secret() {
        let row = AskerRow {
            name: "limosa-3fa2".into(),
            address: "[fe80::2%3]:4460".into(),
            mark: "07".into(),
        };
        assert_eq!(
            table(&[row]).render(false, None),
            "NAME         CODE       ADDRESS\nlimosa-3fa2  07-......  [fe80::2%3]:4460\n"
        );
    }
}
