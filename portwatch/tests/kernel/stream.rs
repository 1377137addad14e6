//! A strict reader of portwatch's JSON lines: what docs/EVENTS.md says, in its order, and nothing else.

use std::{collections::BTreeMap, fmt};

use anyhow::{Context as _, Result, bail, ensure};
use serde::{Deserialize, de::DeserializeOwned};

use super::{
    record::{Attempt, Counts, Degraded, Ending, Lost, Start, Summary},
    source::Source,
};

/// A whole stream, from "start" to "summary".
#[derive(Debug, Default)]
pub(crate) struct Stream {
    /// The lines as they were written
    pub(crate) text: String,
    pub(crate) starts: Vec<Start>,
    pub(crate) attempts: Vec<Attempt>,
    pub(crate) outcomes: Vec<Ending>,
    pub(crate) losses: Vec<Lost>,
    pub(crate) summaries: Vec<Summary>,
}

#[derive(Debug, Deserialize)]
struct Kind {
    v: u64,
    kind: String,
}

impl Stream {
    /// Takes the next line in; fails where it does not fit.
    pub(crate) fn push(&mut self, line: &str) -> Result<()> {
        self.text.push_str(line);
        self.text.push('\n');
        self.accept(line).with_context(|| format!("in line {line}"))
    }

    fn accept(&mut self, line: &str) -> Result<()> {
        let Kind { v, kind } = parse(line)?;
        ensure!(v == 1, "version {v}");
        ensure!(self.summaries.is_empty(), "a line after the summary");
        ensure!(
            self.starts.is_empty() == (kind == "start"),
            "the first line, and only that, is the start"
        );
        match kind.as_str() {
            "start" => self.starts.push(parse(line)?),
            "attempt" => self.push_attempt(parse(line)?)?,
            "outcome" => self.push_outcome(parse(line)?)?,
            "lost" => self.losses.push(parse(line)?),
            "degraded" => drop(parse::<Degraded>(line)?),
            "summary" => self.summaries.push(parse(line)?),
            other => bail!("unknown kind {other}"),
        }
        Ok(())
    }

    fn push_attempt(&mut self, attempt: Attempt) -> Result<()> {
        let expected = self.attempts.len() as u64 + 1;
        ensure!(
            attempt.seq == expected,
            "seq is {}, expected {expected}",
            attempt.seq
        );
        attempt.check()?;
        self.attempts.push(attempt);
        Ok(())
    }

    fn push_outcome(&mut self, outcome: Ending) -> Result<()> {
        let told = self.outcomes.iter().any(|told| told.seq == outcome.seq);
        ensure!(!told, "the outcome of {} was told before", outcome.seq);
        let attempt = self
            .attempts
            .iter()
            .find(|attempt| attempt.seq == outcome.seq);
        outcome.check(attempt.context("the outcome of no attempt")?)?;
        self.outcomes.push(outcome);
        Ok(())
    }

    /// The end of that attempt, if it was told.
    pub(crate) fn outcome_of(&self, attempt: &Attempt) -> Option<&Ending> {
        self.outcomes
            .iter()
            .find(|outcome| outcome.seq == attempt.seq)
    }

    /// How that attempt ended, and by what error, as far as it was told.
    pub(crate) fn end_of<'a>(&'a self, attempt: &'a Attempt) -> (&'a str, Option<&'a str>) {
        let (outcome, errno) = match self.outcome_of(attempt) {
            Some(end) => (&end.outcome, &end.errno),
            None => (&attempt.outcome, &attempt.errno),
        };
        (outcome, errno.as_deref())
    }

    /// How the attempts of that process ended, as far as it was told after them.
    pub(crate) fn outcomes_of(&self, pid: u32) -> impl Iterator<Item = &Ending> {
        self.of(pid).filter_map(|attempt| self.outcome_of(attempt))
    }

    /// The source that it says it comes from.
    pub(crate) fn source(&self) -> Source {
        let backend = self.starts.first().map(|start| start.backend.as_str());
        Source::ALL
            .into_iter()
            .find(|source| Some(source.name()) == backend)
            .unwrap_or(Source::Tracepoint)
    }

    /// Whether it says that it watches for what seccomp denies.
    pub(crate) fn watches_seccomp(&self) -> bool {
        let hooks = self.starts.iter().flat_map(|start| &start.hooks);
        self.source() == Source::Fexit
            && hooks
                .into_iter()
                .any(|hook| hook == "tracepoint:syscalls:sys_exit_bind")
    }

    pub(crate) fn of(&self, pid: u32) -> impl Iterator<Item = &Attempt> {
        self.attempts
            .iter()
            .filter(move |attempt| attempt.pid == pid)
    }

    pub(crate) fn lost(&self) -> u64 {
        self.losses.iter().map(|lost| lost.count).sum()
    }

    /// Runs of programs that the kernel skipped, of what was lost.
    pub(crate) fn skipped(&self) -> u64 {
        let skipped = self.losses.iter().filter(|lost| lost.reason == "recursion");
        skipped.map(|lost| lost.count).sum()
    }

    /// The stream ended as it should, and its summary says what it contained.
    pub(crate) fn check_end(&self) -> Result<()> {
        let summary = self
            .summaries
            .last()
            .context("the stream ended without a summary")?;
        let Counted {
            attempts,
            repeats,
            errnos,
            losses,
        } = self.count();
        let mut said = summary.attempts.clone();
        for outcomes in said.values_mut() {
            outcomes.retain(|_, &mut count| count > 0);
        }
        said.retain(|_, outcomes| !outcomes.is_empty());
        same("attempts", &said, &attempts)?;
        same("repeats", &summary.repeats, &repeats)?;
        same("errnos", &summary.errnos, &errnos)?;
        same("losses", &summary.losses, &losses)?;
        same("lost", &summary.lost, &self.lost())
    }

    fn count(&self) -> Counted {
        let mut counted = Counted::default();
        for attempt in &self.attempts {
            if attempt.repeat {
                counted.repeats += 1;
                continue;
            }
            let (outcome, errno) = self.end_of(attempt);
            let outcomes = counted.attempts.entry(attempt.op.to_string()).or_default();
            *outcomes.entry(outcome.to_owned()).or_default() += 1;
            if let Some(errno) = errno {
                *counted.errnos.entry(errno.to_owned()).or_default() += 1;
            }
        }
        for lost in &self.losses {
            *counted.losses.entry(lost.reason.clone()).or_default() += lost.count;
        }
        counted
    }
}

/// What a summary should say.
#[derive(Default)]
struct Counted {
    attempts: BTreeMap<String, Counts>,
    repeats: u64,
    errnos: Counts,
    losses: Counts,
}

fn same<T: PartialEq + fmt::Debug>(what: &str, said: &T, written: &T) -> Result<()> {
    ensure!(
        said == written,
        "the summary says {what} {said:?}, written were {written:?}"
    );
    Ok(())
}

fn parse<T: DeserializeOwned>(line: &str) -> Result<T> {
    Ok(serde_json::from_str(line)?)
}
