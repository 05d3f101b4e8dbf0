//! Names of users, from /etc/passwd alone: a static program cannot ask the name service.

use std::collections::HashMap;
use std::fs::File;
use std::io::Read;

/// More than this of /etc/passwd is not read, in bytes.
const PASSWD_BYTES_MAX: u64 = 4 << 20;

/// The users of this node.
#[derive(Debug, Default)]
pub struct Users {
    names: HashMap<u32, String>,
}

impl Users {
    /// Reads /etc/passwd; without one, users have numbers.
    pub fn read() -> Self {
        let mut bytes = Vec::new();
        match File::open("/etc/passwd")
            .and_then(|file| file.take(PASSWD_BYTES_MAX).read_to_end(&mut bytes))
        {
            Ok(_) => Self::parse(&bytes),
            Err(_) => Self::default(),
        }
    }

    /// Reads the text of a passwd(5) file; lines of another form are skipped.
    pub fn parse(text: &[u8]) -> Self {
        let text = String::from_utf8_lossy(text);
        let mut names = HashMap::new();
        for line in text.lines() {
            let mut fields = line.split(':');
            if let (Some(name), Some(Ok(uid))) =
                (fields.next(), fields.nth(1).map(str::parse::<u32>))
            {
                // As getpwuid(3): the first line wins.
                names.entry(uid).or_insert_with(|| name.to_string());
            }
        }
        Self { names }
    }

    /// The user's name, or the number as text.
    pub fn name(&self, uid: u32) -> String {
        self.names
            .get(&uid)
            .cloned()
            .unwrap_or_else(|| uid.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_have_names_and_strangers_numbers() {
        let users = Users::parse(
            b"root:x:0:0:root:/root:/bin/sh\n\
              broken line\n\
              toor:x:0:0::/:/bin/sh\n\
              anna:x:1000:1000:Anna,,,:/home/anna:/bin/sh\n\
              bad:x:many:0::/:/bin/sh\n",
        );
        assert_eq!(users.name(0), "root");
        assert_eq!(users.name(1000), "anna");
        assert_eq!(users.name(7), "7");
    }
}
