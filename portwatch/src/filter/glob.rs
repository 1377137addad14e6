//! Patterns for names: `*` is any text, `?` any one character, `\` takes the next one as it is.

use std::fmt;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Glob(Box<[Token]>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Token {
    Many,
    One,
    Char(char),
}

impl Glob {
    pub fn new(pattern: &str) -> Self {
        let mut chars = pattern.chars();
        let token = || {
            Some(match chars.next()? {
                '*' => Token::Many,
                '?' => Token::One,
                '\\' => Token::Char(chars.next().unwrap_or('\\')),
                char => Token::Char(char),
            })
        };
        Self(std::iter::from_fn(token).collect())
    }

    /// The text of a pattern that asks for one text, or for what begins with it; which of both is
    /// said by the second.
    pub fn literal(&self) -> Option<(String, bool)> {
        let (tokens, begins) = match &*self.0 {
            [tokens @ .., Token::Many] => (tokens, true),
            tokens => (tokens, false),
        };
        let char = |token: &Token| match token {
            Token::Char(char) => Some(*char),
            Token::Many | Token::One => None,
        };
        let text: Option<String> = tokens.iter().map(char).collect();
        Some((text?, begins))
    }

    /// Bytes that are not UTF-8 count as U+FFFD, which is what they are shown as.
    pub fn matches(&self, text: &[u8]) -> bool {
        let mut tokens = &self.0[..];
        let mut chars = chars(text);
        // Where to go on if what follows the last `*` does not fit.
        let mut retry = None;
        loop {
            match (tokens.split_first(), chars.clone().next()) {
                (Some((Token::Many, rest)), _) => {
                    tokens = rest;
                    retry = Some((rest, chars.clone()));
                    continue;
                }
                (Some((token, rest)), Some(char)) if token.takes(char) => {
                    tokens = rest;
                    chars.next();
                    continue;
                }
                (None, None) => return true,
                _ => {}
            }
            // The last `*` takes one character more.
            let Some((rest, later)) = &mut retry else {
                return false;
            };
            if later.next().is_none() {
                return false;
            }
            tokens = rest;
            chars = later.clone();
        }
    }
}

impl Token {
    fn takes(self, char: char) -> bool {
        match self {
            Self::Many | Self::One => true,
            Self::Char(wanted) => wanted == char,
        }
    }
}

fn chars(text: &[u8]) -> impl Iterator<Item = char> + Clone {
    text.utf8_chunks().flat_map(|chunk| {
        let invalid = (!chunk.invalid().is_empty()).then_some(char::REPLACEMENT_CHARACTER);
        chunk.valid().chars().chain(invalid)
    })
}

impl fmt::Display for Glob {
    /// The pattern, which gives the same glob again.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for token in &self.0 {
            match token {
                Token::Many => f.write_str("*")?,
                Token::One => f.write_str("?")?,
                Token::Char(char @ ('*' | '?' | '\\' | '"')) => write!(f, "\\{char}")?,
                Token::Char(char) => write!(f, "{char}")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn matches(pattern: &str, text: &[u8]) -> bool {
        Glob::new(pattern).matches(text)
    }

    #[test]
    fn a_name_without_marks_is_that_name() {
        assert!(matches("nginx", b"nginx"));
        assert!(!matches("nginx", b"nginx2"));
        assert!(!matches("nginx", b"ngin"));
        assert!(matches("", b""));
    }

    #[test]
    fn a_star_is_any_text_and_a_question_mark_one_character() {
        for (pattern, text) in [
            ("*", &b""[..]),
            ("python3*", b"python3.11"),
            ("*worker*", b"php-worker-7"),
            ("*a*b", b"xaxbxab"),
            ("k?orker", b"kworker"),
            ("?", "é".as_bytes()),
            ("??", b"\xff\xfe"),
            ("a**", b"a"),
        ] {
            assert!(matches(pattern, text), "{pattern}");
        }
        for (pattern, text) in [
            ("?", &b""[..]),
            ("a*b", b"abc"),
            ("*ab", b"ba"),
            ("??", b"x"),
        ] {
            assert!(!matches(pattern, text), "{pattern}");
        }
    }

    #[test]
    fn a_backslash_takes_a_mark_as_it_is() {
        assert!(matches(r"a\*", b"a*"));
        assert!(!matches(r"a\*", b"ab"));
        assert!(matches(r"\\", b"\\"));
        assert!(matches(r"a\", b"a\\"));
    }

    #[test]
    fn many_stars_do_not_take_forever() {
        let pattern = "*a".repeat(50) + "b";
        assert!(!matches(&pattern, &[b'a'; 200]));
    }

    proptest! {
        #[test]
        fn what_is_printed_is_the_same_pattern(pattern in any::<String>()) {
            let glob = Glob::new(&pattern);
            prop_assert_eq!(Glob::new(&glob.to_string()), glob);
        }

        #[test]
        fn stars_around_a_part_find_it(before in "[ab]{0,4}", part in "[ab]{0,4}", after in "[ab]{0,4}") {
            let text = format!("{before}{part}{after}");
            let pattern = format!("*{part}*");
            prop_assert!(matches(&pattern, text.as_bytes()));
            let found = matches(&pattern, before.as_bytes());
            prop_assert_eq!(found, before.contains(&part));
        }
    }
}
