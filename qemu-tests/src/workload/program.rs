//! What there is to know about one real program: how it begins, what it is given, what of it is compared.

use super::dialogue::Step;

/// How much of a stream two runs must have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// Every byte.
    Exact,
    /// All but numbers and the blanks around them: pids and measured times differ in any two runs.
    NumbersMasked,
    /// Nothing: it depends on timing in native runs, too.
    Ignored,
}

/// One real program.
#[derive(Clone, Copy, Debug)]
pub struct Program {
    /// What the table of results calls it.
    pub name: &'static str,
    /// Files or commands that it needs, each with the Debian package that brings it.
    pub needs: &'static [(&'static str, &'static str)],
    /// Shell commands that make what it begins with, in the directory where it will run. They run
    /// natively, with the variables `PROGRAMS`, `CACHE` and `SCALE`.
    pub prepare: &'static str,
    /// The program and its words; `$PROGRAMS` at the beginning of one is the folder of the sources.
    pub words: &'static [&'static str],
    /// The exit status with which it succeeds: a program that fails natively would show nothing.
    pub exit_code: i32,
    /// Shell commands that run natively at home, in the same directory, while the program runs: the
    /// client of a server, which also ends it. What they print belongs to the program's output.
    pub client: &'static str,
    /// What is typed at its terminal; without steps it has no terminal but pipes.
    pub dialogue: &'static [Step],
    /// How its standard output, or its terminal's screen, is compared.
    pub out: Comparison,
    /// How its standard error is compared.
    pub err: Comparison,
    /// Files and folders, by their paths, that depend on chance or timing in native runs, too.
    pub files_ignored: &'static [&'static str],
    /// The `SCALE` at which it runs for some seconds.
    pub scale: u32,
    /// Whether it is among those that the tests run, at scale 1: cheap to install and quick.
    pub quick: bool,
}

/// What most programs have in common.
pub(super) const PLAIN: Program = Program {
    name: "",
    needs: &[],
    prepare: "",
    words: &[],
    exit_code: 0,
    client: "",
    dialogue: &[],
    out: Comparison::Exact,
    err: Comparison::Exact,
    files_ignored: &[],
    scale: 1,
    quick: false,
};
