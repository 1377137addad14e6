//! How far a replay has come, on standard error, for somebody who waits for a large recording.

use std::{
    io::{self, IsTerminal as _, Write as _},
    path::Path,
    time::{Duration, Instant},
};

use crate::output::{PATIENCE, sanitize};

/// Between two lines.
const PAUSE: Duration = Duration::from_millis(200);

/// A line on standard error that is written over itself.
pub(super) struct Progress {
    wanted: bool,
    begun: Instant,
    /// When the next line is due
    due: Instant,
    lines: u64,
    shown: bool,
}

impl Progress {
    /// Only on a terminal, and only where the events themselves go elsewhere: it would stand
    /// among them.
    pub(super) fn new(quiet: bool) -> Self {
        let now = Instant::now();
        Self {
            wanted: !quiet && io::stderr().is_terminal() && !io::stdout().is_terminal(),
            begun: now,
            due: now + PATIENCE,
            lines: 0,
            shown: false,
        }
    }

    pub(super) const fn count(&mut self) {
        self.lines += 1;
    }

    /// Shows how much of the file was read, if that is due; of what has no size, nothing.
    pub(super) fn show(&mut self, file: &Path, read: u64, size: Option<u64>) {
        let Some(size) = size.filter(|_| self.wanted) else {
            return;
        };
        let now = Instant::now();
        if now < self.due {
            return;
        }
        self.due = now + PAUSE;
        self.shown = true;
        let line = line(file, read, size, self.lines, now - self.begun);
        drop(write!(io::stderr(), "\r{line}\x1b[K"));
    }

    /// Takes the line away, for something else to be said or because all is over.
    pub(super) fn clear(&mut self) {
        if std::mem::take(&mut self.shown) {
            drop(write!(io::stderr(), "\r\x1b[K"));
        }
    }
}

/// `day.jsonl.gz: 42 %, 120000 lines/s`. A file that grows meanwhile has no more than 100 %.
fn line(file: &Path, read: u64, size: u64, lines: u64, elapsed: Duration) -> String {
    let percent = u128::from(read.min(size)) * 100 / u128::from(size.max(1));
    let rate = u128::from(lines) * 1000 / elapsed.as_millis().max(1);
    let mut text = String::new();
    let name = file.file_name().unwrap_or(file.as_os_str());
    sanitize::escape_prose_into(&mut text, &name.to_string_lossy());
    text + &format!(": {percent} %, {rate} lines/s")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(file: &str, read: u64, size: u64, lines: u64) -> String {
        line(Path::new(file), read, size, lines, Duration::from_secs(2))
    }

    #[test]
    fn it_says_how_much_of_the_file_was_read_and_how_fast() {
        assert_eq!(shown("/a/day.gz", 0, 1000, 0), "day.gz: 0 %, 0 lines/s");
        assert_eq!(shown("day.gz", 429, 1000, 500), "day.gz: 42 %, 250 lines/s");
        assert_eq!(shown("day.gz", 2000, 1000, 1), "day.gz: 100 %, 0 lines/s");
    }

    #[test]
    fn nothing_is_too_large_or_too_small() {
        let most = u64::MAX;
        assert!(shown("x", most, most, most).starts_with("x: 100 %, "));
        assert_eq!(
            line(Path::new("x"), 0, 0, 0, Duration::ZERO),
            "x: 0 %, 0 lines/s"
        );
    }

    #[test]
    fn a_name_cannot_move_the_cursor() {
        assert!(shown("a\x1b[2J\n", 1, 2, 3).starts_with("a\\x1b[2J\\x0a: 50 %"));
    }

    #[test]
    fn where_nobody_looks_nothing_is_shown() {
        let mut progress = Progress::new(true);
        progress.due = progress.begun;
        progress.show(Path::new("x"), 1, Some(2));
        assert!(!progress.shown);
    }
}
