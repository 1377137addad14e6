//! Connects that are pending: how they end decides who wants to know.

use std::time::Instant;

use super::Stream;
use crate::{
    event::{Attempt, Event, OutcomeOf, Summary},
    filter::SoFar,
    outcomes::{Account, Outcomes, Resumed, Step},
};

impl Stream<'_> {
    /// A connect whose end is to come, or which may be the rest of one.
    pub(super) fn take_connect(&mut self, attempt: Attempt) -> anyhow::Result<()> {
        self.outcomes.advance(self.begun.elapsed());
        let mut attempt = match self.outcomes.resume(attempt) {
            Resumed::New(attempt) | Resumed::Merged(attempt) => attempt,
            Resumed::Told(step) => return self.carry_out(step),
        };
        if !attempt.is_open() {
            return self.take_closed(attempt);
        }
        let step = self.outcomes.note(&attempt, &self.config.filter);
        self.carry_out(step)?;
        self.surroundings.add_needed(&mut attempt, self.needs);
        let filter = &self.config.filter;
        if filter.judge(&attempt, SoFar::Open) == Some(false) {
            self.rule_out(&attempt);
            return Ok(());
        }
        // While its process is there.
        self.enrich(&mut attempt);
        let step = self.outcomes.take(attempt, filter);
        self.carry_out(step)
    }

    pub(super) fn carry_out(&mut self, step: Option<Step>) -> anyhow::Result<()> {
        if let Some(step) = step {
            step.carry_out(self)?;
            self.note_over();
        }
        Ok(())
    }

    /// Tells of the connects that have been pending for long by now.
    pub(super) fn tell_overdue(&mut self, now: Instant) -> anyhow::Result<()> {
        if self.outcomes.due().is_none() {
            return Ok(());
        }
        self.outcomes.advance(now - self.begun);
        while let Some(step) = self.outcomes.overdue(&self.config.filter) {
            self.carry_out(Some(step))?;
        }
        Ok(())
    }

    /// When there is something to tell of connects that are pending for long.
    pub(super) fn due(&self) -> Option<Instant> {
        self.begun.checked_add(self.outcomes.due()?)
    }

    /// All is over: what is still pending is told of as that.
    pub(super) fn give_up(&mut self) -> anyhow::Result<()> {
        while let Some(step) = self.outcomes.give_up(&self.config.filter) {
            self.carry_out(step)?;
        }
        Ok(())
    }
}

impl Account for Stream<'_> {
    type Error = anyhow::Error;

    fn complete(&mut self, attempt: &mut Attempt) -> u64 {
        self.complete(attempt);
        self.seq
    }

    fn write_end(&mut self, outcome: OutcomeOf) -> anyhow::Result<()> {
        self.write_explained(Event::Outcome(outcome))
    }

    fn write(&mut self, event: &Event) -> anyhow::Result<()> {
        self.write(event)
    }

    fn is_full(&self) -> bool {
        self.is_full()
    }

    fn summary(&mut self) -> &mut Summary {
        &mut self.summary
    }

    fn outcomes(&mut self) -> &mut Outcomes {
        &mut self.outcomes
    }
}
