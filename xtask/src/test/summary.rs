//! What the parts came to: a table with their times, then the one line that counts.

use std::{
    collections::VecDeque,
    io::{self, Write},
    num::NonZero,
    sync::{Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Error, Result};

use super::tally::Counts;

#[derive(Default)]
pub(super) struct Summary {
    parts: Vec<Outcome>,
}

struct Outcome {
    name: String,
    time: Duration,
    counts: Counts,
    note: Note,
}

/// An ending that the counts do not show.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Note {
    Nothing,
    Broke,
    /// What it takes cannot be had.
    Missing,
}

/// Nobody panics while holding one.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Outcome {
    /// Runs a part, and says at once why it broke if it does.
    fn of(name: String, run: impl FnOnce() -> Result<Counts>) -> Self {
        eprintln!("==> {name}");
        let start = Instant::now();
        let result = run();
        if let Err(error) = &result {
            eprintln!("error: {name}: {error:#}");
        }
        Self {
            name,
            time: start.elapsed(),
            note: if result.is_err() {
                Note::Broke
            } else {
                Note::Nothing
            },
            counts: result.unwrap_or_default(),
        }
    }
}

impl Summary {
    /// Runs one part.
    pub(super) fn part(&mut self, name: &str, run: impl FnOnce() -> Result<Counts>) {
        self.parts.push(Outcome::of(name.to_owned(), run));
    }

    /// Notes a part that cannot be run here, which is a failure only where it must be.
    pub(super) fn missing(&mut self, name: String, reason: &Error, must_be: bool) {
        eprintln!("left out: {name}: {reason:#}");
        self.parts.push(Outcome {
            name,
            time: Duration::ZERO,
            counts: Counts {
                skipped: 1,
                ..Counts::default()
            },
            note: if must_be { Note::Broke } else { Note::Missing },
        });
    }

    /// Runs several parts, begun in their order, as many at the same time as there are processors.
    pub(super) fn parts_at_once<R>(&mut self, parts: impl Iterator<Item = (String, R)>)
    where
        R: FnOnce() -> Result<Counts> + Send,
    {
        let workers = thread::available_parallelism().map_or(1, NonZero::get);
        let waiting: Mutex<VecDeque<_>> = Mutex::new(parts.collect());
        let next = || lock(&waiting).pop_front();
        let done = Mutex::new(&mut self.parts);
        thread::scope(|scope| {
            for _ in 0..workers {
                scope.spawn(|| {
                    while let Some((name, run)) = next() {
                        let outcome = Outcome::of(name, run);
                        lock(&done).push(outcome);
                    }
                });
            }
        });
    }

    pub(super) fn failed(&self) -> bool {
        self.total().failed > 0
    }

    pub(super) fn print(&self) -> Result<()> {
        self.write(&mut io::stdout().lock())
            .context("cannot print the summary")
    }

    /// A part that broke counts as one failure.
    fn total(&self) -> Counts {
        let mut total = Counts::default();
        for part in &self.parts {
            total += part.counts;
            total.failed += u64::from(part.note == Note::Broke);
        }
        total
    }

    fn write(&self, to: &mut impl Write) -> io::Result<()> {
        writeln!(
            to,
            "\n{:<32} {:>7} {:>7} {:>7} {:>8}",
            "part", "passed", "failed", "skipped", "time"
        )?;
        for part in &self.parts {
            let Counts {
                passed,
                failed,
                skipped,
                programs: _,
            } = part.counts;
            let note = match part.note {
                Note::Nothing => "",
                Note::Broke => "  broke",
                Note::Missing => "  left out, for the reason above",
            };
            let seconds = part.time.as_secs_f64();
            writeln!(
                to,
                "{:<32} {passed:>7} {failed:>7} {skipped:>7} {seconds:>7.1}s{note}",
                part.name
            )?;
        }
        let Counts {
            passed,
            failed,
            skipped,
            programs: _,
        } = self.total();
        writeln!(to, "\n{passed} passed, {failed} failed, {skipped} skipped")?;
        to.flush()
    }
}

#[cfg(test)]
mod tests {
    use anyhow::bail;

    use super::*;

    #[test]
    fn the_last_line_sums_all_parts_and_a_broken_one_is_a_failure() {
        let mut summary = Summary::default();
        summary.part("one", || {
            Ok(Counts {
                passed: 3,
                failed: 0,
                skipped: 1,
                programs: 1,
            })
        });
        assert!(!summary.failed());
        summary.missing("three".to_owned(), &Error::msg("it is gone"), false);
        assert!(!summary.failed());
        summary.part("two", || bail!("it broke off"));
        assert!(summary.failed());
        let mut text = Vec::new();
        summary.write(&mut text).unwrap();
        let text = String::from_utf8(text).unwrap();
        assert!(text.ends_with("\n3 passed, 1 failed, 2 skipped\n"));
    }
}
