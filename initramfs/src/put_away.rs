//! Puts away what a booted node hardly needs again: moves it from memory into compressed memory.
//!
//! The root is in memory (tmpfs), and two thirds of it are drivers of hardware that this PC does not have.
//! Some of that may be plugged in later, so they must stay. But pages of tmpfs can be swapped out, and swap
//! is zram, where they take less than half. What is wanted again comes back by itself, page by page.
//!
//! This is a process of its own (`/init put-away`), since it takes a while on a slow machine.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use crate::journal;
use crate::sys;

/// The word by which `/init` is told to do this and nothing else.
pub(crate) const COMMAND: &str = "put-away";

/// What fills the root. Pages of programs that run are left where they are.
const PLACES: [&str; 4] = ["/lib/modules", "/lib/firmware", "/bin", "/init"];

/// Deepest directory that is looked into, below those places: modules lie seven deep.
const DEPTH_MAX: usize = 16;

/// Does it. What cannot be put away stays where it is, which harms nothing.
pub(crate) fn main() -> ExitCode {
    // Others come first.
    if let Err(error) = rustix::process::nice(19) {
        journal::note(&format!("putting away is not made less urgent: {error}"));
    }
    let mut bytes = 0;
    for file in PLACES
        .iter()
        .flat_map(|place| files_below(Path::new(place)))
    {
        let put_away = File::open(&file).and_then(|file| {
            let length = file.metadata()?.len();
            sys::page_out(&file, length).map(|()| length)
        });
        match put_away {
            Ok(length) => bytes += length,
            Err(error) => journal::note(&format!("{} stays in memory: {error}", file.display())),
        }
    }
    journal::note(&format!("{} KiB of files were put away", bytes >> 10));
    ExitCode::SUCCESS
}

/// All files at or below `place`, without following links.
fn files_below(place: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut left = vec![(place.to_owned(), 0)];
    while let Some((path, depth)) = left.pop() {
        let kind = fs::symlink_metadata(&path).map(|metadata| metadata.file_type());
        if kind.as_ref().is_ok_and(fs::FileType::is_dir) && depth < DEPTH_MAX {
            let entries = fs::read_dir(&path).into_iter().flatten().flatten();
            left.extend(entries.map(|entry| (entry.path(), depth + 1)));
        } else if kind.is_ok_and(|kind| kind.is_file()) {
            files.push(path);
        }
    }
    files
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_found_at_any_depth_and_links_are_not_followed() {
        let root = std::env::temp_dir().join(format!("put-away-{}", std::process::id()));
        fs::create_dir_all(root.join("a/b")).unwrap();
        fs::write(root.join("a/b/file"), "x").unwrap();
        std::os::unix::fs::symlink("file", root.join("a/b/link")).unwrap();
        std::os::unix::fs::symlink(&root, root.join("a/loop")).unwrap();
        let found = files_below(&root);
        let itself = files_below(&root.join("a/b/file"));
        fs::remove_dir_all(&root).unwrap();
        assert_eq!(found, [root.join("a/b/file")]);
        assert_eq!(itself, found);
        assert!(files_below(&root).is_empty());
    }

    #[test]
    fn a_file_that_is_paged_out_keeps_its_contents() {
        let path = std::env::temp_dir().join(format!("paged-out-{}", std::process::id()));
        fs::write(&path, vec![7; 10_000]).unwrap();
        let file = File::open(&path).unwrap();
        sys::page_out(&file, 10_000).unwrap();
        sys::page_out(&file, 0).unwrap();
        let contents = fs::read(&path).unwrap();
        fs::remove_file(path).unwrap();
        assert_eq!(contents, vec![7; 10_000]);
    }
}
