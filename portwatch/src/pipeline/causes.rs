//! What is to be written and waits for its cause. Others overtake it.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use super::Stream;
use crate::{
    event::{Attempt, End, Event},
    explain::{Asked, Facts, Ticket, explain, explain_outcome},
    ready,
};

/// An attempt waits for its cause no longer than this.
const LONGEST: Duration = Duration::from_millis(250);

/// Events whose causes are being looked up, in the order in which they were asked for.
#[derive(Debug, Default)]
pub(super) struct Causes {
    waiting: VecDeque<Waiting>,
}

#[derive(Debug)]
struct Waiting {
    ticket: Ticket,
    until: Instant,
    event: Event,
}

impl Causes {
    /// Keeps an event until its cause is known. Tickets grow.
    pub(super) fn wait(&mut self, ticket: Ticket, event: Event, now: Instant) {
        self.waiting.push_back(Waiting {
            ticket,
            until: now + LONGEST,
            event,
        });
    }

    /// The event that an answer is for; none where it was written without.
    pub(super) fn take(&mut self, ticket: Ticket) -> Option<Event> {
        let index = self
            .waiting
            .binary_search_by_key(&ticket, |waiting| waiting.ticket)
            .ok()?;
        Some(self.waiting.remove(index)?.event)
    }

    /// When the next one has waited for long enough.
    pub(super) fn due(&self) -> Option<Instant> {
        Some(self.waiting.front()?.until)
    }

    /// One that has waited for long enough.
    pub(super) fn overdue(&mut self, now: Instant) -> Option<Event> {
        let waiting = self.waiting.pop_front_if(|waiting| waiting.until <= now)?;
        Some(waiting.event)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }
}

impl Stream<'_> {
    /// Writes an attempt that is over, or how one ended, with its cause: at once, or when that is known.
    pub(super) fn write_explained(&mut self, event: Event) -> anyhow::Result<()> {
        let explains = self.config.explain.is_some();
        let asked = failure(&event)
            .filter(|_| explains)
            .and_then(|(attempt, ret)| self.surroundings.ask(attempt, ret));
        match asked {
            None => self.write_with(event, Facts::none()),
            Some(Asked::Known(facts)) => self.write_with(event, &facts),
            Some(Asked::Waiting(ticket)) => {
                self.causes.wait(ticket, event, Instant::now());
                Ok(())
            }
        }
    }

    /// An answer has come.
    pub(super) fn take_answer(&mut self, ticket: Ticket, facts: &Facts) -> anyhow::Result<()> {
        match self.causes.take(ticket) {
            Some(event) => self.write_with(event, facts),
            None => Ok(()),
        }
    }

    /// Writes whatever has waited for its cause for long enough.
    pub(super) fn write_overdue(&mut self, now: Instant) -> anyhow::Result<()> {
        // On a busy machine the answer may have been there before this thread had its turn.
        while let Some((ticket, facts)) = self.surroundings.try_answer() {
            self.take_answer(ticket, &facts)?;
        }
        while let Some(event) = self.causes.overdue(now) {
            let facts =
                failure(&event).map(|(attempt, ret)| self.surroundings.not_in_time(attempt, ret));
            self.write_with(event, facts.as_ref().unwrap_or(Facts::none()))?;
        }
        Ok(())
    }

    /// Waits for the next cause, or until something has waited for long enough.
    pub(super) async fn await_cause(&mut self) -> anyhow::Result<()> {
        tokio::select! {
            (ticket, facts) = self.surroundings.answer() => self.take_answer(ticket, &facts),
            () = ready::at(self.causes.due()) => self.write_overdue(Instant::now()),
        }
    }

    /// Adds the cause, and writes it; an attempt is numbered and counted now.
    fn write_with(&mut self, mut event: Event, facts: &Facts) -> anyhow::Result<()> {
        let explains = self.config.explain.is_some();
        match &mut event {
            Event::Attempt(_) if self.is_full() => return Ok(()),
            Event::Attempt(attempt) => {
                attempt.cause = explains.then(|| explain(attempt, facts)).flatten();
                self.seq += 1;
                self.summary.count(attempt);
            }
            Event::Outcome(outcome) => {
                outcome.cause = explains.then(|| explain_outcome(outcome, facts)).flatten();
            }
            _ => {}
        }
        self.write(&event)?;
        self.note_over();
        Ok(())
    }
}

/// The attempt that an event is about, and what it ended with, where that can have a cause.
fn failure(event: &Event) -> Option<(&Attempt, i32)> {
    match event {
        Event::Attempt(attempt) => Some((attempt, attempt.ret?)),
        Event::Outcome(outcome) => match outcome.ended.end {
            End::Failed(ret) => Some((&outcome.attempt, ret)),
            End::Connected | End::Abandoned => None,
        },
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::sample;

    fn event() -> Event {
        Event::Attempt(sample::attempt())
    }

    #[test]
    fn answers_come_in_any_order() {
        let mut causes = Causes::default();
        let now = Instant::now();
        for ticket in [3, 5, 8] {
            causes.wait(Ticket(ticket), event(), now);
        }
        assert!(causes.take(Ticket(5)).is_some());
        assert!(causes.take(Ticket(5)).is_none());
        assert!(causes.take(Ticket(4)).is_none());
        assert!(causes.take(Ticket(3)).is_some());
        assert!(causes.take(Ticket(8)).is_some());
        assert!(causes.is_empty() && causes.due().is_none());
    }

    #[test]
    fn none_waits_for_longer_than_it_may() {
        let mut causes = Causes::default();
        let now = Instant::now();
        causes.wait(Ticket(1), event(), now);
        assert_eq!(causes.due(), Some(now + LONGEST));
        assert!(causes.overdue(now).is_none());
        assert!(causes.overdue(now + LONGEST).is_some());
        assert!(causes.is_empty());
    }
}
