//! Counting tests by the line that every libtest-like program ends with.

use std::ops::AddAssign;

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) passed: u64,
    pub(super) failed: u64,
    pub(super) skipped: u64,
    /// Closing lines seen: a program that printed none broke off.
    pub(super) programs: u64,
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        let Self {
            passed,
            failed,
            skipped,
            programs,
        } = other;
        self.passed += passed;
        self.failed += failed;
        self.skipped += skipped;
        self.programs += programs;
    }
}

/// Counts in a stream that arrives in arbitrary pieces.
#[derive(Default)]
pub(super) struct Tally {
    counts: Counts,
    line: Vec<u8>,
}

impl Tally {
    pub(super) fn read(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            if byte == b'\n' {
                self.end_line();
            } else {
                self.line.push(byte);
            }
        }
    }

    pub(super) fn finish(mut self) -> Counts {
        self.end_line();
        self.counts
    }

    fn end_line(&mut self) {
        let line = String::from_utf8_lossy(&self.line);
        if let Some(counts) = closing_line(&line) {
            self.counts += counts;
        }
        self.line.clear();
    }
}

/// Reads `test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; …`.
fn closing_line(line: &str) -> Option<Counts> {
    let (_, rest) = line
        .trim_start()
        .strip_prefix("test result: ")?
        .split_once(". ")?;
    let count = |word: &str| {
        rest.split(';')
            .filter_map(|part| part.trim().split_once(' '))
            .find(|(_, name)| *name == word)?
            .0
            .parse()
            .ok()
    };
    Some(Counts {
        passed: count("passed")?,
        failed: count("failed")?,
        skipped: count("ignored")?,
        programs: 1,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const OK: &str = "test result: ok. 31 passed; 0 failed; 2 ignored; 0 measured; \
                      4 filtered out; finished in 0.02s";

    #[test]
    fn closing_lines_are_summed_over_pieces() {
        let text = format!(
            "running 33 tests\n{OK}\ntest result: FAILED. 1 passed; 3 failed; 0 ignored; \
             0 measured; 0 filtered out; finished in 1.50s\n"
        );
        let mut tally = Tally::default();
        for piece in text.as_bytes().chunks(7) {
            tally.read(piece);
        }
        let counts = Counts {
            passed: 32,
            failed: 3,
            skipped: 2,
            programs: 2,
        };
        assert_eq!(tally.finish(), counts);
    }

    #[test]
    fn a_last_line_without_an_end_counts() {
        let mut tally = Tally::default();
        tally.read(OK.as_bytes());
        assert_eq!(tally.finish().passed, 31);
    }

    #[test]
    fn other_lines_do_not_count() {
        let mut tally = Tally::default();
        tally.read(b"test result_is_kept ... ok\ntest result: ok. many passed\n");
        assert_eq!(tally.finish(), Counts::default());
    }
}
