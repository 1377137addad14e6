//! Patterns for names: `*` is any text, `?` any one character, `\` takes the next one as it is.

use std::fmt;

/// Bytes of a command name (include/linux/sched.h, `TASK_COMM_LEN`, of which the last is NUL).
pub(super) const COMM: usize = 15;

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

    /// Bytes of the shortest text that it matches.
    pub fn least_bytes(&self) -> usize {
        self.0.iter().map(|token| token.least_bytes()).sum()
    }

    /// The same pattern, cut where what it matches certainly is longer than a command name.
    #[must_use]
    pub fn cut(&self) -> Self {
        let mut room = COMM;
        let fits = |token: &&Token| {
            let left = room.checked_sub(token.least_bytes());
            room = left.unwrap_or_default();
            left.is_some()
        };
        Self(self.0.iter().take_while(fits).copied().collect())
    }

    /// Bytes of the shortest text that both match, if there is one.
    pub fn least_common(&self, other: &Self) -> Option<usize> {
        let end = other.0.len();
        // For each place of `other`: bytes of the shortest text that its rest and the rest of
        // `self` both match.
        let mut after: Vec<_> = (0..=end).map(|place| alone(&other.0[place..])).collect();
        for &token in self.0.iter().rev() {
            let mut here = vec![None; end + 1];
            here[end] = after[end].filter(|_| token == Token::Many);
            for place in (0..end).rev() {
                let with = other.0[place];
                let (skipped, next) = (after[place], here[place + 1]);
                let ways = [
                    skipped.filter(|_| token == Token::Many),
                    next.filter(|_| with == Token::Many),
                    // A star takes a character that the other one asks for.
                    add(next.filter(|_| token == Token::Many), with.least_bytes()),
                    add(skipped.filter(|_| with == Token::Many), token.least_bytes()),
                    token
                        .least_with(with)
                        .and_then(|bytes| add(after[place + 1], bytes)),
                ];
                here[place] = ways.into_iter().flatten().min();
            }
            after = here;
        }
        after[0]
    }

    /// Whether it certainly matches all that the other one matches.
    pub fn covers(&self, other: &Self) -> bool {
        // For each place of `other`: whether its rest is covered by the rest of `self`.
        let end = other.0.len();
        let mut after = vec![false; end + 1];
        after[end] = true;
        for token in self.0.iter().rev() {
            let mut here = vec![false; end + 1];
            for place in (0..=end).rev() {
                here[place] = match (token, other.0.get(place)) {
                    (Token::Many, Some(_)) => after[place] || here[place + 1],
                    (Token::Many, None) => after[place],
                    (Token::One, Some(Token::One | Token::Char(_))) => after[place + 1],
                    (Token::Char(own), Some(Token::Char(char))) => own == char && after[place + 1],
                    _ => false,
                };
            }
            after = here;
        }
        after[0]
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
    /// Bytes of the shortest text that it takes: any byte that is not UTF-8 is U+FFFD.
    const fn least_bytes(self) -> usize {
        match self {
            Self::Many => 0,
            Self::One | Self::Char(char::REPLACEMENT_CHARACTER) => 1,
            Self::Char(char) => char.len_utf8(),
        }
    }

    /// The same of a character that both take, where both take one.
    fn least_with(self, other: Self) -> Option<usize> {
        match (self, other) {
            (Self::Many, _) | (_, Self::Many) => None,
            (Self::Char(one), Self::Char(other)) if one != other => None,
            _ => Some(self.least_bytes().max(other.least_bytes())),
        }
    }

    fn takes(self, char: char) -> bool {
        match self {
            Self::Many | Self::One => true,
            Self::Char(wanted) => wanted == char,
        }
    }
}

/// Bytes of the shortest text that these match: no text, or none at all.
fn alone(tokens: &[Token]) -> Option<usize> {
    tokens
        .iter()
        .all(|&token| token == Token::Many)
        .then_some(0)
}

fn add(bytes: Option<usize>, more: usize) -> Option<usize> {
    bytes.map(|bytes| bytes + more)
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
        fn what_is_said_of_two_patterns_holds_for_texts(
            one in "[ab?*é]{0,5}", other in "[ab?*é]{0,5}", texts in proptest::collection::vec("[abé]{0,5}", 64),
        ) {
            let (one, other) = (Glob::new(&one), Glob::new(&other));
            let common = one.least_common(&other);
            prop_assert_eq!(common, other.least_common(&one));
            for text in texts {
                let (a, b) = (one.matches(text.as_bytes()), other.matches(text.as_bytes()));
                prop_assert!(!a || text.len() >= one.least_bytes(), "{text}");
                prop_assert!(!(a && b) || common.is_some_and(|bytes| bytes <= text.len()), "{text}");
                prop_assert!(!one.covers(&other) || !b || a, "{text}");
            }
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
