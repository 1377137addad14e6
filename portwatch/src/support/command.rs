//! Commands to show a user: how this program was started, quoted so that a shell reads it back.

use std::{
    env,
    ffi::{OsStr, OsString},
    iter,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

/// This program's file and what it was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Command {
    /// Quoted
    pub(crate) file: String,
    /// Quoted, with a space before each
    pub(crate) arguments: String,
}

impl Command {
    /// The running one. The file is the real one (sudo has a path of its own, and setcap takes no
    /// symbolic link); where it cannot be told, the name as typed.
    pub(crate) fn running() -> Self {
        Self::of(&file(), env::args_os().skip(1))
    }

    /// The running one, without what it was given.
    pub(crate) fn bare() -> Self {
        Self::of(&file(), iter::empty())
    }

    pub(crate) fn of(file: &Path, arguments: impl Iterator<Item = OsString>) -> Self {
        let mut given = String::new();
        for argument in arguments {
            given.push(' ');
            given.push_str(&quote(&argument));
        }
        Self {
            file: quote(file.as_os_str()),
            arguments: given,
        }
    }
}

fn file() -> PathBuf {
    let typed = || {
        env::args_os()
            .next()
            .unwrap_or_else(|| OsString::from("portwatch"))
    };
    env::current_exe().unwrap_or_else(|_| typed().into())
}

/// As it is where no shell would touch it, else in '…', or in $'…' (bash, zsh, busybox; POSIX
/// since 2024) where it holds what must not reach a terminal.
fn quote(word: &OsStr) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+=:,@%".contains(c);
    match word.to_str() {
        Some(text) if !text.is_empty() && text.chars().all(plain) => text.to_owned(),
        Some(text)
            if text
                .chars()
                .all(|c| c.is_ascii_graphic() || c == ' ' || c.is_alphanumeric()) =>
        {
            format!("'{}'", text.replace('\'', r"'\''"))
        }
        _ => escape(word.as_bytes()),
    }
}

fn escape(bytes: &[u8]) -> String {
    let mut quoted = String::from("$'");
    for &byte in bytes {
        match byte {
            b'\'' | b'\\' => quoted.extend(['\\', char::from(byte)]),
            b' '..=b'~' => quoted.push(char::from(byte)),
            // Three digits, so that a digit after it does not count.
            _ => {
                let digits =
                    [byte >> 6, byte >> 3 & 7, byte & 7].map(|digit| char::from(b'0' + digit));
                quoted.push('\\');
                quoted.extend(digits);
            }
        }
    }
    quoted.push('\'');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quoted(word: &str) -> String {
        quote(OsStr::new(word))
    }

    #[test]
    fn plain_words_stay_as_they_are() {
        assert_eq!(quoted("/usr/bin/portwatch"), "/usr/bin/portwatch");
        assert_eq!(quoted("--port=443,80"), "--port=443,80");
    }

    #[test]
    fn what_a_shell_would_touch_is_quoted() {
        assert_eq!(quoted(""), "''");
        assert_eq!(
            quoted("/home/Ana Gómez/portwatch"),
            "'/home/Ana Gómez/portwatch'"
        );
        assert_eq!(quoted("it's $HOME"), r"'it'\''s $HOME'");
    }

    #[test]
    fn control_and_bidi_characters_never_reach_a_terminal() {
        assert_eq!(quoted("\x1b[2J7"), r"$'\033[2J7'");
        assert_eq!(quoted("a\u{202e}b"), r"$'a\342\200\256b'");
        assert_eq!(quote(OsStr::from_bytes(b"\xff'\\")), r"$'\377\'\\'");
    }

    #[test]
    fn arguments_follow_the_file() {
        let arguments = ["--comm", "a b"].map(OsString::from).into_iter();
        let command = Command::of(Path::new("/bin/portwatch"), arguments);
        assert_eq!(command.file, "/bin/portwatch");
        assert_eq!(command.arguments, " --comm 'a b'");
    }
}
