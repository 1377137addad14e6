//! Lines of a bounded length.

use std::io::{self, BufRead};

pub(super) struct Lines<R> {
    input: R,
    longest: usize,
    /// Number of the line that was read last
    number: u64,
    line: Vec<u8>,
}

/// One line.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line<'a> {
    /// Without its line feed
    Whole(&'a [u8]),
    TooLong,
    /// There are no more
    End,
}

impl<R: BufRead> Lines<R> {
    pub(super) const fn new(input: R, longest: usize) -> Self {
        Self {
            input,
            longest,
            number: 0,
            line: Vec::new(),
        }
    }

    pub(super) const fn input(&self) -> &R {
        &self.input
    }

    /// From 1; 0 before the first.
    pub(super) const fn number(&self) -> u64 {
        self.number
    }

    /// The next line. One that is too long is read to its end, and not kept.
    pub(super) fn read(&mut self) -> io::Result<Line<'_>> {
        self.line.clear();
        let mut length = 0;
        loop {
            let buffer = match self.input.fill_buf() {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                buffer => buffer?,
            };
            let feed = buffer.iter().position(|&byte| byte == b'\n');
            let part = &buffer[..feed.unwrap_or(buffer.len())];
            let at_end = buffer.is_empty();
            length += part.len();
            if length <= self.longest {
                self.line.extend_from_slice(part);
            }
            let used = part.len() + usize::from(feed.is_some());
            self.input.consume(used);
            if feed.is_some() || at_end {
                return Ok(self.take(length, at_end));
            }
        }
    }

    fn take(&mut self, length: usize, at_end: bool) -> Line<'_> {
        if at_end && length == 0 {
            return Line::End;
        }
        self.number += 1;
        if length <= self.longest {
            Line::Whole(&self.line)
        } else {
            Line::TooLong
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufReader, Cursor};

    use proptest::{collection::vec, prelude::*};

    use super::*;

    /// What is read with a small buffer, `None` for lines that are too long.
    fn lines(text: &[u8], longest: usize) -> Vec<Option<Vec<u8>>> {
        let mut lines = Lines::new(BufReader::with_capacity(3, Cursor::new(text)), longest);
        let mut all = Vec::new();
        loop {
            match lines.read().unwrap() {
                Line::Whole(line) => all.push(Some(line.to_owned())),
                Line::TooLong => all.push(None),
                Line::End => break,
            }
            assert_eq!(lines.number(), all.len() as u64);
        }
        assert!(lines.line.capacity() <= (longest + 3) * 2);
        all
    }

    #[test]
    fn the_last_line_needs_no_line_feed() {
        assert_eq!(lines(b"", 9), []);
        assert_eq!(lines(b"a", 9), [Some(b"a".to_vec())]);
        assert_eq!(
            lines(b"\na\n", 9),
            [Some(b"".to_vec()), Some(b"a".to_vec())]
        );
    }

    #[test]
    fn a_line_that_is_too_long_is_passed_over() {
        let text = b"12345\n123456\n1234567890123456789\n1\n123456";
        let five = |text: &[u8]| Some(text.to_vec());
        assert_eq!(
            lines(text, 5),
            [five(b"12345"), None, None, five(b"1"), None]
        );
    }

    proptest! {
        #[test]
        fn lines_are_those_of_the_text(text in vec(prop_oneof![Just(b'\n'), any::<u8>()], 0..60), longest in 0_usize..20) {
            let mut whole: Vec<&[u8]> = text.split(|&byte| byte == b'\n').collect();
            if whole.last().is_some_and(|last| last.is_empty()) {
                whole.pop();
            }
            let fits = |line: &&[u8]| (line.len() <= longest).then(|| line.to_vec());
            prop_assert_eq!(lines(&text, longest), whole.iter().map(fits).collect::<Vec<_>>());
        }
    }
}
