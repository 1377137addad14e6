//! Makes the strings of other processes harmless to a terminal.
//!
//! A process chooses its own command name, byte for byte. Written as it is, it could move the
//! cursor, recolour or clear the screen, start a new line that looks like ours, or swap what
//! stands left and right of it. What passes here has one fixed meaning and one fixed width.

use unicode_width::UnicodeWidthChar;

/// Appends `bytes` so that they can be shown, and read back without doubt.
///
/// - Control, format, private-use and unassigned characters, and all others that are invisible,
///   have no width of their own or run from right to left, become `\x1b` (ASCII) or `\u{202e}`.
/// - Bytes that are not UTF-8 become `\xff`, a backslash becomes `\\`.
/// - A space stays a space between two other characters; at either end, or after another space,
///   where it would look like the gap between two columns, it becomes `\x20`.
///
/// Different inputs give different outputs.
pub fn escape_into(out: &mut String, bytes: &[u8]) {
    // Most names are words, of which nothing is to be escaped.
    let is_word = bytes
        .iter()
        .all(|byte| byte.is_ascii_graphic() && *byte != b'\\');
    if let (true, Ok(word)) = (is_word, str::from_utf8(bytes)) {
        out.push_str(word);
        return;
    }
    let mut previous = ' ';
    let mut rest = bytes.len();
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            rest -= character.len_utf8();
            match character {
                '\\' => out.push_str(r"\\"),
                ' ' if previous == ' ' || rest == 0 => out.push_str(r"\x20"),
                _ => push(out, character),
            }
            previous = character;
        }
        for &byte in chunk.invalid() {
            rest -= 1;
            hex(out, byte);
            previous = '\\';
        }
    }
}

/// Appends a sentence of our own that may quote foreign text: what is dangerous is escaped, but
/// backslashes and spaces stay, since a command in it must remain one that can be copied.
pub fn escape_prose_into(out: &mut String, text: &str) {
    for character in text.chars() {
        push(out, character);
    }
}

fn push(out: &mut String, character: char) {
    match u8::try_from(character) {
        Ok(b' '..=b'~') => out.push(character),
        Ok(byte) if byte.is_ascii() => hex(out, byte),
        _ if is_visible(character) => out.push(character),
        _ => out.extend(character.escape_unicode()),
    }
}

fn hex(out: &mut String, byte: u8) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    out.push_str(r"\x");
    out.push(char::from(DIGITS[usize::from(byte >> 4)]));
    out.push(char::from(DIGITS[usize::from(byte & 15)]));
}

/// Whether a character beyond ASCII is seen, stays where it is put and has a width that terminals
/// agree on.
fn is_visible(character: char) -> bool {
    // The standard library spells out what Unicode calls control, format, private use,
    // unassigned, separator or combining.
    let printable = character.escape_debug().len() == 1;
    printable
        // Three columns has U+17D8 alone, and not every terminal knows.
        && matches!(character.width(), Some(1 | 2))
        && !is_blank(character)
        && !is_rtl(character)
}

/// Letters and symbols by category, but without ink: the fillers of Hangul and the empty Braille
/// pattern.
const fn is_blank(character: char) -> bool {
    matches!(
        character,
        '\u{115f}' | '\u{1160}' | '\u{3164}' | '\u{ffa0}' | '\u{2800}'
    )
}

/// The blocks that Unicode reserves for scripts running from right to left. A terminal that
/// reorders text would show the numbers beside such a letter in the other order: an address
/// where the pid should be.
///
/// <https://www.unicode.org/Public/UCD/latest/ucd/extracted/DerivedBidiClass.txt>
const fn is_rtl(character: char) -> bool {
    matches!(
        character,
        '\u{590}'..='\u{8ff}'
            | '\u{fb1d}'..='\u{fdff}'
            | '\u{fe70}'..='\u{feff}'
            | '\u{10800}'..='\u{10fff}'
            | '\u{1e800}'..='\u{1efff}'
    )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use unicode_width::UnicodeWidthStr;

    use super::*;

    fn escape(bytes: impl AsRef<[u8]>) -> String {
        let mut out = String::new();
        escape_into(&mut out, bytes.as_ref());
        out
    }

    /// Reads an escaped string back.
    fn decode(text: &str) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut rest = text;
        while let Some(character) = rest.chars().next() {
            if let Some(tail) = rest.strip_prefix(r"\\") {
                bytes.push(b'\\');
                rest = tail;
            } else if let Some(tail) = rest.strip_prefix(r"\x") {
                bytes.push(u8::from_str_radix(&tail[..2], 16).unwrap());
                rest = &tail[2..];
            } else if let Some(tail) = rest.strip_prefix(r"\u{") {
                let (digits, tail) = tail.split_once('}').unwrap();
                let character = char::from_u32(u32::from_str_radix(digits, 16).unwrap()).unwrap();
                bytes.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
                rest = tail;
            } else {
                bytes.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
                rest = &rest[character.len_utf8()..];
            }
        }
        bytes
    }

    fn is_dangerous(character: char) -> bool {
        character.is_control()
            || (character.is_whitespace() && character != ' ')
            || matches!(
                u32::from(character),
                0xad | 0x61c | 0x180e | 0x200b..=0x200f | 0x202a..=0x202e | 0x2060..=0x206f
                    | 0xfe00..=0xfe0f | 0xfeff | 0xfff0..=0xfffb
                    | 0xe000..=0xf8ff | 0xe0000..=0x0010_ffff
            )
    }

    /// Characters that attacks are made of, among ordinary ones.
    fn hostile() -> impl Strategy<Value = Vec<u8>> {
        let piece = prop_oneof![
            any::<char>().prop_map(|character| character.to_string().into_bytes()),
            any::<u8>().prop_map(|byte| vec![byte]),
            proptest::sample::select(vec![
                " ",
                "  ",
                "\\",
                "\\x1b",
                "\\u{7f}",
                "\x1b[",
                "\u{9b}",
                "\u{202e}",
                "\u{2066}",
                "\u{200b}",
                "\u{feff}",
                "\u{2028}",
                "\u{e0041}",
                "\u{301}",
                "\u{5d0}",
                "\u{3000}",
                "\n",
                "\r",
                "\0",
                "a",
                "é",
                "漢",
            ])
            .prop_map(|text| text.as_bytes().to_vec()),
        ];
        proptest::collection::vec(piece, 0..24).prop_map(|pieces| pieces.concat())
    }

    #[test]
    fn a_character_of_three_columns_is_spelt_out() {
        assert_eq!(escape("\u{17d8}"), r"\u{17d8}");
    }

    proptest! {
        #[test]
        fn whatever_comes_in_only_harmless_characters_go_out(bytes in hostile()) {
            let text = escape(&bytes);
            prop_assert!(!text.chars().any(is_dangerous), "{text:?}");
            prop_assert!(!text.starts_with(' ') && !text.ends_with(' ') && !text.contains("  "));
        }

        #[test]
        fn what_went_in_can_be_read_back(bytes in hostile()) {
            prop_assert_eq!(decode(&escape(&bytes)), bytes);
        }

        #[test]
        fn every_character_that_goes_out_takes_one_or_two_columns(bytes in hostile()) {
            let text = escape(&bytes);
            prop_assert!(text.chars().all(|character| matches!(character.width(), Some(1 | 2))));
            prop_assert!(text.width() <= bytes.len() * 8);
        }

        #[test]
        fn prose_stays_harmless_too(bytes in hostile()) {
            let mut text = String::new();
            escape_prose_into(&mut text, &String::from_utf8_lossy(&bytes));
            prop_assert!(!text.chars().any(is_dangerous), "{text:?}");
        }
    }

    #[test]
    fn no_character_of_unicode_passes_that_is_invisible_or_moves_others() {
        for character in '\0'..=char::MAX {
            let text = escape(character.to_string());
            assert!(
                !text.chars().any(is_dangerous),
                "{:x}",
                u32::from(character)
            );
            assert!(text.width() > 0, "{:x}", u32::from(character));
        }
    }

    #[test]
    fn ordinary_names_stay_as_they_are() {
        for name in [
            "nginx",
            "kworker/0:1",
            "Web Content",
            "tokio-runtime-w",
            "(sd-pam)",
            "\"q'",
            "café",
            "漢字",
            "👾",
        ] {
            assert_eq!(escape(name), name);
        }
    }

    #[test]
    fn clearing_the_screen_is_only_text() {
        assert_eq!(escape("\x1b[2J\x1b[H"), r"\x1b[2J\x1b[H");
    }

    #[test]
    fn setting_the_window_title_is_only_text() {
        assert_eq!(escape("\x1b]0;pwned\x07"), r"\x1b]0;pwned\x07");
    }

    #[test]
    fn an_escape_sequence_in_eight_bits_is_only_text() {
        assert_eq!(escape("\u{9b}31m"), r"\u{9b}31m");
        assert_eq!(escape(b"\x9b31m"), r"\x9b31m");
    }

    #[test]
    fn a_forged_line_stays_on_its_line() {
        assert_eq!(escape("a\r\nb\x0b\x0cc"), r"a\x0d\x0ab\x0b\x0cc");
        assert_eq!(
            escape("a\u{2028}b\u{2029}c\u{85}d"),
            r"a\u{2028}b\u{2029}c\u{85}d"
        );
    }

    #[test]
    fn backspaces_erase_nothing() {
        assert_eq!(escape("evil\x08\x08\x7f"), r"evil\x08\x08\x7f");
    }

    #[test]
    fn text_that_runs_backwards_is_spelt_out() {
        assert_eq!(escape("a\u{202e}b"), r"a\u{202e}b");
        assert_eq!(escape("\u{2066}x\u{2069}"), r"\u{2066}x\u{2069}");
        assert_eq!(
            escape("\u{200e}\u{200f}\u{61c}"),
            r"\u{200e}\u{200f}\u{61c}"
        );
    }

    #[test]
    fn a_hebrew_letter_does_not_swap_the_columns_beside_it() {
        assert_eq!(escape("\u{5d0}"), r"\u{5d0}");
    }

    #[test]
    fn two_names_that_look_alike_by_invisible_characters_look_different() {
        assert_eq!(escape("ss\u{200b}hd"), r"ss\u{200b}hd");
        assert_eq!(escape("ss\u{ad}hd\u{e0041}"), r"ss\u{ad}hd\u{e0041}");
        assert_eq!(escape("\u{3164}\u{2800}"), r"\u{3164}\u{2800}");
    }

    #[test]
    fn marks_do_not_pile_up_over_other_lines() {
        assert_eq!(escape("z\u{301}\u{302}"), r"z\u{301}\u{302}");
    }

    #[test]
    fn a_name_cannot_claim_to_have_been_escaped() {
        assert_eq!(escape(r"\x1b"), r"\\x1b");
    }

    #[test]
    fn bytes_that_are_not_utf8_are_shown_as_bytes() {
        assert_eq!(escape(b"a\xff\xc3"), r"a\xff\xc3");
        // The kernel cuts names at 15 bytes, in the middle of a character if need be.
        assert_eq!(
            escape(&"sehr-lang-daß".as_bytes()[..13]),
            r"sehr-lang-da\xc3"
        );
    }

    #[test]
    fn spaces_cannot_forge_columns() {
        assert_eq!(escape("a b"), "a b");
        assert_eq!(escape(" a  b "), r"\x20a \x20b\x20");
        assert_eq!(escape("  "), r"\x20\x20");
        assert_eq!(escape("\u{a0}\u{3000}"), r"\u{a0}\u{3000}");
    }
}
