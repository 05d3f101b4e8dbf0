//! The words of the command line.

use std::path::PathBuf;
use std::str::FromStr;

use argh::FromArgs;

/// Measure what Limosa costs, beside the same done natively in the same run. Figures are medians; the two
/// sides of a ratio take turns. CRIU is measured, too, if it is installed.
#[derive(FromArgs, Clone, Debug)]
#[argh(
    example = "qemu-tests/bench\nqemu-tests/bench --only freeze,calls --runs 5 --sizes 64,1024\nqemu-tests/bench --json bench.json",
    note = "Groups: home, away, freeze, pages, dirty, calls, compiler, memory."
)]
pub(crate) struct Arguments {
    /// how often each thing is measured (default: 10)
    #[argh(option, default = "10")]
    pub(crate) runs: usize,
    /// groups of figures, separated by commas (default: all)
    #[argh(option, default = "Groups::all()")]
    pub(crate) only: Groups,
    /// sizes of moved programs in MiB, separated by commas (default: 64,256,1024,4096)
    #[argh(option, default = "Sizes(vec![64, 256, 1024, 4096])")]
    pub(crate) sizes: Sizes,
    /// write the figures to this file as JSON, too
    #[argh(option)]
    pub(crate) json: Option<PathBuf>,
    /// the criu binary (default: criu)
    #[argh(option, default = "PathBuf::from(\"criu\")")]
    pub(crate) criu: PathBuf,
    /// where programs and their files are put (default: target/bench)
    #[argh(option, default = "PathBuf::from(\"target/bench\")")]
    pub(crate) directory: PathBuf,
}

/// Figures that belong together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Group {
    /// Loops at home under `limosa run`.
    Home,
    /// Loops away.
    Away,
    /// Freeze times, out and home.
    Freeze,
    /// The memory that follows.
    Pages,
    /// Home again with a little changed.
    Dirty,
    /// Forwarded calls.
    Calls,
    /// A compiler and small reads over a link with a delay.
    Compiler,
    /// What supervisors take.
    Memory,
}

impl Group {
    const ALL: [(Self, &'static str); 8] = [
        (Self::Home, "home"),
        (Self::Away, "away"),
        (Self::Freeze, "freeze"),
        (Self::Pages, "pages"),
        (Self::Dirty, "dirty"),
        (Self::Calls, "calls"),
        (Self::Compiler, "compiler"),
        (Self::Memory, "memory"),
    ];

    /// As it is called on the command line.
    pub(crate) fn name(self) -> &'static str {
        let found = Self::ALL.iter().find(|(group, _)| *group == self);
        found.map_or("", |(_, name)| name)
    }
}

/// The groups to measure, in the order of the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Groups(pub(crate) Vec<Group>);

impl Groups {
    fn all() -> Self {
        Self(Group::ALL.map(|(group, _)| group).to_vec())
    }
}

impl FromStr for Groups {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let named: Vec<&str> = text.split(',').collect();
        let known = |name: &&&str| !Group::ALL.iter().any(|(_, known)| known == *name);
        if let Some(name) = named.iter().find(known) {
            let names = Group::ALL.map(|(_, name)| name).join(", ");
            return Err(format!(
                "there is no group \"{name}\"; the groups are {names}"
            ));
        }
        let chosen = Group::ALL.iter().filter(|(_, name)| named.contains(name));
        Ok(Self(chosen.map(|(group, _)| *group).collect()))
    }
}

/// Sizes in MiB, in rising order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sizes(pub(crate) Vec<u64>);

impl FromStr for Sizes {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let size = |word: &str| match word.parse() {
            Ok(size @ 1..=65_536) => Ok(size),
            _ => Err(format!("\"{word}\" is no size in MiB between 1 and 65536")),
        };
        let mut sizes = text.split(',').map(size).collect::<Result<Vec<u64>, _>>()?;
        sizes.sort_unstable();
        sizes.dedup();
        Ok(Self(sizes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_measured_in_the_order_of_the_table_whatever_the_order_of_the_words() {
        assert_eq!(
            "calls,freeze".parse(),
            Ok(Groups(vec![Group::Freeze, Group::Calls]))
        );
        assert!("calls,freze".parse::<Groups>().is_err());
        assert!("".parse::<Groups>().is_err());
        assert_eq!(Groups::all().0.len(), 8);
    }

    #[test]
    fn sizes_are_sorted_and_what_is_none_is_refused() {
        assert_eq!("256,64,256".parse(), Ok(Sizes(vec![64, 256])));
        for wrong in ["", "0", "64,", "64;256", "-1", "65537"] {
            assert!(wrong.parse::<Sizes>().is_err(), "{wrong}");
        }
    }
}
