//! /proc/PID/environ: the environment with which a program was started.
//!
//! It is read from the program's own memory, where it may have written something else since: what is not
//! found there proves nothing, and what is found was at least written by the program or its caller.

use super::{ReadError, read_file};
use crate::limits::PROC_FILE_BYTES_MAX;

/// The value of a variable in the contents of the file; that of the first, as getenv(3) has it.
#[must_use]
pub fn find<'a>(contents: &'a [u8], name: &str) -> Option<&'a [u8]> {
    contents.split(|&byte| byte == 0).find_map(|entry| {
        entry
            .strip_prefix(name.as_bytes())
            .and_then(|rest| rest.strip_prefix(b"="))
    })
}

/// The contents of the file.
///
/// # Errors
/// When the process is gone or must not be read, or its environment is very long.
pub fn read(pid: u32) -> Result<Vec<u8>, ReadError> {
    read_file(pid, "environ", PROC_FILE_BYTES_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_variable_is_found_by_its_whole_name() {
        let contents = b"AB=1\0B=2=3\0B=4\0C=";
        assert_eq!(find(contents, "B"), Some(b"2=3".as_slice()));
        assert_eq!(find(contents, "C"), Some(b"".as_slice()));
        assert_eq!(find(contents, "A"), None);
        assert_eq!(find(b"", "A"), None);
    }

    #[test]
    fn our_own_environment_is_read() {
        let contents = read(std::process::id()).unwrap();
        let path = std::env::var_os("PATH").unwrap();
        assert_eq!(find(&contents, "PATH"), Some(path.as_encoded_bytes()));
    }

    proptest! {
        #[test]
        fn any_bytes_are_searched_without_a_panic(contents: Vec<u8>, name: String) {
            let _ = find(&contents, &name);
        }
    }
}
