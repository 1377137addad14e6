//! From a recording to the output: filter, explain, count, print.

mod progress;

use std::{
    collections::HashMap,
    io::{self, Write},
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};

use self::progress::Progress;
use crate::{
    ancestry,
    config::{Config, ConfigError},
    event::{Attempt, Cause, Event, Op, OutcomeOf, Summary, Time},
    explain::{self, Facts},
    filter::{Needs, SoFar},
    outcomes::{Account, Outcomes, Resumed, Step},
    output::{Printers, sanitize},
    source::replay::{Item, Recorded, Recording, Unreadable},
    users::Users,
};

/// Bytes of lines that are written at once.
const CHUNK: usize = 64 * 1024;

/// Problems that are said one by one; the rest is counted.
const SAID: u64 = 10;

/// Letters of a problem that are shown; it may quote a whole line.
const SHOWN: usize = 200;

/// Processes whose parents are remembered.
const PARENTS: usize = 65_536;

/// Shows recordings again, one after the other, as if they were watched now. Goes on after what
/// cannot be read, and fails at the end.
pub fn replay(config: &Config, files: &[PathBuf], out: impl Write) -> anyhow::Result<()> {
    let mut replay = Replay::new(config, out);
    let result = files.iter().try_for_each(|file| replay.file(file));
    match result.and_then(|()| replay.finish()) {
        // A reader that has seen enough (`| head`) is no failure.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
        result => result.context("cannot write to standard output")?,
    }
    if let Some(refused) = replay.refused {
        return Err(refused.into());
    }
    match replay.problems {
        0 => Ok(()),
        1 => bail!("one thing could not be read"),
        problems => bail!("{problems} things could not be read"),
    }
}

/// Sources that do not tell how a pending connect ends.
const UNENDED: [&str; 2] = ["tracepoint", "dtrace"];

struct Replay<'a, W> {
    config: &'a Config,
    out: W,
    /// Whole lines that are not yet written
    lines: [Vec<u8>; 1],
    printers: Printers,
    /// As the recording has them: those of this host are others
    users: Users,
    needs: Needs,
    /// Attempts written, of all recordings
    written: u64,
    /// What could not be read
    problems: u64,
    /// A recording that cannot be asked for what was asked for
    refused: Option<ConfigError>,
    progress: Progress,
    recording: State,
}

/// What is known of the recording that is being read.
struct State {
    /// Number of the last attempt that was written
    seq: u64,
    summary: Summary,
    outcomes: Outcomes,
    /// When its first attempt began
    begun: Option<Time>,
    /// Of the outcome that is being read
    cause: Option<Arc<Cause>>,
    /// Of processes, as their attempts said
    parents: HashMap<u32, u32>,
}

impl<'a, W: Write> Replay<'a, W> {
    fn new(config: &'a Config, out: W) -> Self {
        Self {
            config,
            out,
            lines: [Vec::new()],
            printers: Printers::new(config),
            users: Users::with_lookups(|_| None, |_| None),
            needs: config.filter.needs(),
            written: 0,
            problems: 0,
            refused: None,
            progress: Progress::new(config.quiet),
            recording: State::new(),
        }
    }

    /// Shows one file; fails only where writing does.
    fn file(&mut self, file: &Path) -> io::Result<()> {
        self.recording = State::new();
        let mut recording = match Recording::open(file) {
            Ok(recording) => recording,
            Err(error) => {
                self.report(&format!("{}: {error}", file.display()));
                return Ok(());
            }
        };
        while !self.is_over() && self.refused.is_none() {
            if recording.may_wait() || self.lines[0].len() >= CHUNK {
                if self.printers.due().is_some_and(|due| due <= Instant::now()) {
                    self.printers.draw(&mut self.lines)?;
                }
                self.flush()?;
            }
            if recording.may_wait() {
                self.progress
                    .show(file, recording.position(), recording.size());
            }
            self.progress.count();
            match recording.read_line() {
                Ok(None) => break,
                Ok(Some(Ok(recorded))) => self.take(recorded)?,
                Ok(Some(Err(Unreadable { line, why }))) => {
                    self.report(&format!("{}, line {line}: {why}", file.display()));
                }
                Err(error) => {
                    self.report(&format!("{}: {error}", file.display()));
                    break;
                }
            }
        }
        // A recording that was cut off.
        self.give_up()
    }

    /// As many attempts as were asked for are shown, with how they ended.
    fn is_over(&self) -> bool {
        self.is_full() && !self.recording.outcomes.await_news()
    }

    /// As many attempts as were asked for are written.
    fn is_full(&self) -> bool {
        self.config.count.is_some_and(|count| self.written >= count)
    }

    fn take(&mut self, recorded: Recorded) -> io::Result<()> {
        let Recorded { item, users } = recorded;
        for (uid, name) in users {
            self.users.remember(uid, name);
        }
        match item {
            Item::Start(mut start) => {
                self.give_up()?;
                self.recording = State::new();
                self.refused = ConfigError::of_recording(start.system, &self.config.filter);
                if self.refused.is_some() {
                    return Ok(());
                }
                if UNENDED.contains(&&*start.backend) {
                    self.recording.outcomes = Outcomes::default();
                }
                start.filters.extend_from_slice(&self.config.filters_typed);
                self.print(&Event::Start(start))
            }
            Item::Attempt(attempt) => self.take_attempt(*attempt),
            Item::Outcome { ended, cause } => {
                self.tell_overdue(ended.time)?;
                let step = self.recording.outcomes.end(ended, &self.config.filter);
                self.recording.cause = cause;
                self.carry_out(step)
            }
            Item::Lost(lost) => self.print(&Event::Lost(lost)),
            Item::Degraded(degraded) => self.print(&Event::Degraded(degraded)),
            Item::Summary(summary) => {
                let Summary {
                    time,
                    run_time,
                    lost,
                    ..
                } = *summary;
                self.tell_overdue(time)?;
                self.give_up()?;
                let counted = std::mem::take(&mut self.recording.summary);
                self.print(&Event::Summary(Box::new(Summary {
                    time,
                    run_time,
                    lost,
                    unended: self.recording.outcomes.unended(),
                    ..counted
                })))
            }
            Item::Unknown => Ok(()),
        }
    }

    fn take_attempt(&mut self, mut attempt: Attempt) -> io::Result<()> {
        self.tell_overdue(attempt.time)?;
        if attempt.op == Op::Connect && self.recording.outcomes.concern(&attempt) {
            attempt = match self.recording.outcomes.resume(attempt) {
                Resumed::New(attempt) | Resumed::Merged(attempt) => attempt,
                Resumed::Told(step) => return self.carry_out(step),
            };
        }
        if self.needs.ancestors {
            self.recording.add_ancestors(&mut attempt);
        }
        let filter = &self.config.filter;
        if attempt.is_open() {
            let step = self.recording.outcomes.note(&attempt, filter);
            self.carry_out(step)?;
            if filter.judge(&attempt, SoFar::Open) == Some(false) {
                return Ok(());
            }
            let step = self.recording.outcomes.take(attempt, filter);
            return self.carry_out(step);
        }
        let step = filter.passes(&attempt).then_some(Step::Whole(attempt));
        self.carry_out(step)
    }

    fn carry_out(&mut self, step: Option<Step>) -> io::Result<()> {
        step.map_or(Ok(()), |step| step.carry_out(self))
    }

    /// Tells of the connects that had been pending for long when the next thing happened.
    fn tell_overdue(&mut self, time: Time) -> io::Result<()> {
        let begun = *self.recording.begun.get_or_insert(time);
        let passed = time.0.saturating_sub(begun.0).max(0).unsigned_abs();
        let outcomes = &mut self.recording.outcomes;
        outcomes.advance(Duration::from_nanos(passed));
        while let Some(step) = self.recording.outcomes.overdue(&self.config.filter) {
            step.carry_out(self)?;
        }
        Ok(())
    }

    /// The recording has ended: what is still pending is told of as that.
    fn give_up(&mut self) -> io::Result<()> {
        while let Some(step) = self.recording.outcomes.give_up(&self.config.filter) {
            self.carry_out(step)?;
        }
        Ok(())
    }

    fn print(&mut self, event: &Event) -> io::Result<()> {
        let seq = self.recording.seq;
        self.printers
            .print(&mut self.lines, seq, event, &mut self.users)
    }

    fn finish(&mut self) -> io::Result<()> {
        self.progress.clear();
        self.printers.finish(&mut self.lines)?;
        self.flush()?;
        self.printers.part();
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        let [lines] = &mut self.lines;
        self.out.write_all(lines)?;
        lines.clear();
        self.out.flush()
    }

    /// Says what could not be read. Nobody may be there to read it.
    fn report(&mut self, problem: &str) {
        self.problems += 1;
        self.progress.clear();
        if self.problems > SAID {
            return;
        }
        let mut text = String::from("portwatch: ");
        let shown = problem.char_indices().nth(SHOWN);
        let shown = shown.map_or(problem, |(end, _)| &problem[..end]);
        sanitize::escape_prose_into(&mut text, shown);
        drop(writeln!(io::stderr(), "{text}"));
    }
}

impl<W: Write> Account for Replay<'_, W> {
    type Error = io::Error;

    fn complete(&mut self, attempt: &mut Attempt) -> u64 {
        attempt.cause = match self.config.explain {
            Some(_) => attempt
                .cause
                .take()
                .or_else(|| explain::explain(attempt, Facts::none()).map(Arc::from)),
            None => None,
        };
        self.recording.seq += 1;
        self.written += 1;
        self.recording.seq
    }

    fn write_end(&mut self, mut outcome: OutcomeOf) -> io::Result<()> {
        let recorded = self.recording.cause.take();
        outcome.cause = match self.config.explain {
            Some(_) => recorded
                .or_else(|| explain::explain_outcome(&outcome, Facts::none()).map(Arc::from)),
            None => None,
        };
        self.print(&Event::Outcome(outcome))
    }

    fn write(&mut self, event: &Event) -> io::Result<()> {
        self.print(event)
    }

    fn is_full(&self) -> bool {
        self.is_full()
    }

    fn summary(&mut self) -> &mut Summary {
        &mut self.recording.summary
    }

    fn outcomes(&mut self) -> &mut Outcomes {
        &mut self.recording.outcomes
    }
}

impl State {
    fn new() -> Self {
        Self {
            seq: 0,
            summary: Summary::default(),
            outcomes: Outcomes::of_any(),
            begun: None,
            cause: None,
            parents: HashMap::new(),
        }
    }

    /// The parents of a process, as far as they had attempts of their own.
    fn add_ancestors(&mut self, attempt: &mut Attempt) {
        if self.parents.len() >= PARENTS {
            self.parents.clear();
        }
        self.parents
            .extend(attempt.ppid.map(|ppid| (attempt.tgid, ppid)));
        let parent_of = |process| self.parents.get(&process).copied();
        attempt.ancestors = Some(ancestry::chain(attempt.ppid, parent_of));
    }
}

#[cfg(test)]
mod tests;
