//! Makes what other processes chose fit for a sentence and for a shell.

/// Foreign bytes in a sentence: no control characters, and bytes that are not UTF-8 as `\xff`.
pub(super) fn shown(bytes: &[u8]) -> String {
    let mut text = String::new();
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            if character.is_control() {
                text.extend(character.escape_default());
            } else {
                text.push(character);
            }
        }
        text.extend(chunk.invalid().escape_ascii().map(char::from));
    }
    text
}

/// One word of a POSIX shell's command line.
///
/// What is not printable ASCII is spelled in `$'…'` (POSIX.1-2024; bash, zsh and ksh have long had
/// it), so that the command is the same after whatever a terminal or an output makes of it.
pub(super) fn word(bytes: &[u8]) -> String {
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"_-./:@%+=,".contains(byte);
    let is_printable = |byte: &u8| matches!(byte, b' '..=b'~');
    let text = || bytes.iter().copied().map(char::from);
    if !bytes.is_empty() && bytes.iter().all(is_plain) {
        text().collect()
    } else if bytes.iter().all(is_printable) {
        format!("'{}'", text().collect::<String>().replace('\'', r"'\''"))
    } else {
        let escaped = bytes.iter().map(|&byte| match byte {
            b'\\' | b'\'' => format!("\\{}", char::from(byte)),
            b' '..=b'~' => char::from(byte).to_string(),
            // Octal has at most three digits in every shell, so that none that follows is taken in.
            _ => format!("\\{byte:03o}"),
        });
        format!("$'{}'", escaped.collect::<String>())
    }
}

#[cfg(test)]
mod tests {
    use std::{ffi::OsStr, os::unix::ffi::OsStrExt as _, process::Command};

    use proptest::{collection::vec, prelude::*};

    use super::*;

    #[test]
    fn ordinary_paths_stay_as_they_are() {
        assert_eq!(word(b"/usr/sbin/nginx"), "/usr/sbin/nginx");
        assert_eq!(word(b"nginx@web-1.service"), "nginx@web-1.service");
    }

    #[test]
    fn hostile_names_are_one_harmless_word() {
        assert_eq!(word(b"/tmp/a b"), "'/tmp/a b'");
        assert_eq!(word(b"/tmp/$(reboot)"), "'/tmp/$(reboot)'");
        assert_eq!(word(b"/tmp/it's"), r"'/tmp/it'\''s'");
        assert_eq!(word(b"/tmp/a\n;reboot #'"), r"$'/tmp/a\012;reboot #\''");
        assert_eq!(word(b"/home/j\xc3\xb6rg1"), r"$'/home/j\303\266rg1'");
        assert_eq!(word(b""), "''");
    }

    #[test]
    fn a_sentence_has_no_control_characters() {
        assert_eq!(shown(b"a\x1b[2J\n\xff"), r"a\u{1b}[2J\n\xff");
        assert_eq!(shown("jörg".as_bytes()), "jörg");
    }

    /// What bash makes of the word.
    fn read_back(word: &str) -> Vec<u8> {
        let script = format!("printf '%s' {word}");
        let output = Command::new("bash").args(["-c", &script]).output().unwrap();
        assert!(output.status.success(), "{script}");
        output.stdout
    }

    #[test]
    fn a_shell_reads_every_byte_back() {
        let all: Vec<u8> = (1..=255).collect();
        assert_eq!(read_back(&word(&all)), all);
        assert!(!OsStr::from_bytes(&all).is_empty());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn a_shell_reads_any_name_back(bytes in vec(1_u8.., 0..24)) {
            prop_assert_eq!(read_back(&word(&bytes)), bytes);
        }

        #[test]
        fn nothing_raw_is_left(bytes in vec(any::<u8>(), 0..64)) {
            prop_assert!(word(&bytes).bytes().all(|byte| (b' '..=b'~').contains(&byte)));
            prop_assert!(!shown(&bytes).chars().any(char::is_control));
        }
    }
}
