//! What the parts came to: a table with their times, then the one line that counts.

use std::{
    io::{self, Write},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};

use super::tally::Counts;

#[derive(Default)]
pub(super) struct Summary {
    parts: Vec<Outcome>,
}

struct Outcome {
    name: String,
    time: Duration,
    counts: Counts,
    /// It ended in a way that its counts do not show.
    broken: bool,
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
            broken: result.is_err(),
            counts: result.unwrap_or_default(),
        }
    }
}

impl Summary {
    /// Runs one part.
    pub(super) fn part(&mut self, name: &str, run: impl FnOnce() -> Result<Counts>) {
        self.parts.push(Outcome::of(name.to_owned(), run));
    }

    /// Runs several parts at the same time.
    pub(super) fn parts_at_once<R>(&mut self, parts: impl Iterator<Item = (String, R)>)
    where
        R: FnOnce() -> Result<Counts> + Send,
    {
        thread::scope(|scope| {
            let running: Vec<_> = parts
                .map(|(name, run)| scope.spawn(move || Outcome::of(name, run)))
                .collect();
            for part in running {
                match part.join() {
                    Ok(outcome) => self.parts.push(outcome),
                    Err(panic) => std::panic::resume_unwind(panic),
                }
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
            total.failed += u64::from(part.broken);
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
            let note = if part.broken { "  broke" } else { "" };
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
        summary.part("two", || bail!("it broke off"));
        assert!(summary.failed());
        let mut text = Vec::new();
        summary.write(&mut text).unwrap();
        let text = String::from_utf8(text).unwrap();
        assert!(text.ends_with("\n3 passed, 1 failed, 1 skipped\n"));
    }
}
