//! What is to be written and waits for its cause. Others overtake it.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::{Duration, Instant},
};

use super::Stream;
use crate::{
    errno::Errno,
    event::{Attempt, End, Event},
    explain::{Asked, Facts, Ticket, explain, explain_outcome},
    ready,
};

/// An attempt waits for its cause no longer than this.
const LONGEST: Duration = Duration::from_millis(250);

/// Attempts and outcomes whose causes are being looked up, and what their threads did since: each
/// thread's calls stay in their order, and only those of others overtake.
#[derive(Debug, Default)]
pub(super) struct Causes {
    threads: HashMap<u32, VecDeque<Entry>>,
    /// Questions in the order in which they were asked, with the thread that each is about
    asked: VecDeque<(Instant, Ticket, u32)>,
}

/// Something that is to be written in its turn.
#[derive(Debug)]
enum Entry {
    Waiting(Ticket, Event),
    Ready(Event, Arc<Facts>),
    /// Of which no cause is asked for before its end
    Connect(Attempt),
}

/// What has come to its turn.
#[derive(Debug)]
pub(super) enum Turn {
    Write(Event, Arc<Facts>),
    Connect(Attempt),
}

impl Causes {
    /// Whether something of a thread waits, so that what it does next has to wait too.
    pub(super) fn holds(&self, thread: u32) -> bool {
        !self.threads.is_empty() && self.threads.contains_key(&thread)
    }

    /// Keeps an event until its cause is known. Tickets grow.
    fn wait(&mut self, ticket: Ticket, event: Event, now: Instant) {
        let thread = thread_of(&event);
        self.asked.push_back((now + LONGEST, ticket, thread));
        self.push(thread, Entry::Waiting(ticket, event));
    }

    /// Keeps an event behind others of its thread.
    fn line_up(&mut self, event: Event, facts: Arc<Facts>) {
        self.push(thread_of(&event), Entry::Ready(event, facts));
    }

    pub(super) fn line_up_connect(&mut self, attempt: Attempt) {
        self.push(attempt.id.tid, Entry::Connect(attempt));
    }

    fn push(&mut self, thread: u32, entry: Entry) {
        self.threads.entry(thread).or_default().push_back(entry);
    }

    /// An answer has come; gives the thread that it is about. Nothing where nobody waits for it.
    fn settle(&mut self, ticket: Ticket, facts: Arc<Facts>) -> Option<u32> {
        let asked = self.asked.binary_search_by_key(&ticket, |asked| asked.1);
        let (_, _, thread) = self.asked.remove(asked.ok()?)?;
        let entries = self.threads.get_mut(&thread)?;
        let is_it = |entry: &Entry| matches!(entry, Entry::Waiting(other, _) if *other == ticket);
        let place = entries.iter().position(is_it)?;
        if let Some(Entry::Waiting(_, event)) = entries.remove(place) {
            entries.insert(place, Entry::Ready(event, facts));
        }
        Some(thread)
    }

    /// What comes next of a thread, if it need not wait any more.
    fn next_of(&mut self, thread: u32) -> Option<Turn> {
        let entries = self.threads.get_mut(&thread)?;
        let next = entries.pop_front_if(|entry| !matches!(entry, Entry::Waiting(..)));
        if entries.is_empty() {
            self.threads.remove(&thread);
        }
        match next? {
            Entry::Ready(event, facts) => Some(Turn::Write(event, facts)),
            Entry::Connect(attempt) => Some(Turn::Connect(attempt)),
            Entry::Waiting(..) => None,
        }
    }

    /// When the next one has waited for long enough.
    pub(super) fn due(&self) -> Option<Instant> {
        self.asked.front().map(|asked| asked.0)
    }

    /// A question that has waited for long enough, with the event that it is about.
    fn overdue(&self, now: Instant) -> Option<(Ticket, &Event)> {
        let &(until, ticket, thread) = self.asked.front()?;
        let entries = self.threads.get(&thread).filter(|_| until <= now)?;
        entries.iter().find_map(|entry| match entry {
            Entry::Waiting(other, event) if *other == ticket => Some((ticket, event)),
            _ => None,
        })
    }

    pub(super) fn is_empty(&self) -> bool {
        self.threads.is_empty()
    }
}

fn thread_of(event: &Event) -> u32 {
    match event {
        Event::Attempt(attempt) => attempt.id.tid,
        Event::Outcome(outcome) => outcome.attempt.id.tid,
        _ => 0,
    }
}

impl Stream<'_> {
    /// Writes an attempt that is over, or how one ended, with its cause: at once, or when that is known,
    /// and in the order of its thread's calls.
    pub(super) fn write_explained(&mut self, event: Event) -> anyhow::Result<()> {
        let explains = self.config.explain.is_some();
        let asked = failure(&event)
            .filter(|_| explains)
            .and_then(|(attempt, ret)| self.surroundings.ask(attempt, ret));
        match asked {
            Some(Asked::Waiting(ticket)) => {
                self.causes.wait(ticket, event, Instant::now());
                Ok(())
            }
            known if self.causes.holds(thread_of(&event)) => {
                self.causes.line_up(event, facts_of(known));
                Ok(())
            }
            None => self.write_with(event, None),
            Some(Asked::Known(facts)) => self.write_with(event, Some(&facts)),
        }
    }

    /// An answer has come.
    pub(super) fn take_answer(&mut self, ticket: Ticket, facts: Arc<Facts>) -> anyhow::Result<()> {
        let Some(thread) = self.causes.settle(ticket, facts) else {
            return Ok(());
        };
        while let Some(turn) = self.causes.next_of(thread) {
            match turn {
                Turn::Write(event, facts) => self.write_with(event, Some(&facts))?,
                Turn::Connect(attempt) => self.take_connect(attempt)?,
            }
        }
        Ok(())
    }

    /// Writes whatever has waited for its cause for long enough.
    pub(super) fn write_overdue(&mut self, now: Instant) -> anyhow::Result<()> {
        // On a busy machine the answer may have been there before this thread had its turn.
        while let Some((ticket, facts)) = self.surroundings.try_answer() {
            self.take_answer(ticket, facts)?;
        }
        while let Some((ticket, event)) = self.causes.overdue(now) {
            let facts =
                failure(event).map(|(attempt, ret)| self.surroundings.not_in_time(attempt, ret));
            self.take_answer(ticket, Arc::new(facts.unwrap_or_default()))?;
        }
        Ok(())
    }

    /// Waits for the next cause, or until something has waited for long enough.
    pub(super) async fn await_cause(&mut self) -> anyhow::Result<()> {
        tokio::select! {
            (ticket, facts) = self.surroundings.answer() => self.take_answer(ticket, facts),
            () = ready::at(self.causes.due()) => self.write_overdue(Instant::now()),
        }
    }

    /// Adds the cause, and writes it; an attempt is numbered and counted now.
    fn write_with(&mut self, mut event: Event, facts: Option<&Arc<Facts>>) -> anyhow::Result<()> {
        let explains = self.config.explain.is_some();
        match &mut event {
            Event::Attempt(_) if self.is_full() => return Ok(()),
            Event::Attempt(attempt) => {
                attempt.cause = match facts {
                    _ if !explains => None,
                    Some(facts) => self.repeats.explain(attempt, facts),
                    None => explain(attempt, Facts::none()).map(Arc::from),
                };
                self.seq += 1;
                self.summary.count(attempt);
            }
            Event::Outcome(outcome) => {
                let facts = facts.map_or(Facts::none(), |facts| facts);
                let cause = explains.then(|| explain_outcome(outcome, facts)).flatten();
                outcome.cause = cause.map(Arc::from);
            }
            _ => {}
        }
        self.write(&event)?;
        self.note_over();
        Ok(())
    }
}

/// What is known without an answer.
fn facts_of(asked: Option<Asked>) -> Arc<Facts> {
    match asked {
        Some(Asked::Known(facts)) => facts,
        _ => Arc::default(),
    }
}

/// The attempt that an event is about, and what it ended with, where that can have a cause.
fn failure(event: &Event) -> Option<(&Attempt, i32)> {
    match event {
        Event::Attempt(attempt) => Some((attempt, attempt.ret?)),
        Event::Outcome(outcome) => match outcome.ended.end {
            End::Failed(ret) => Some((&outcome.attempt, ret)),
            // It would have ended like this.
            End::Abandoned => {
                let attempt = &outcome.attempt;
                Some((attempt, attempt.system.ret(Errno::ETIMEDOUT)?))
            }
            End::Connected => None,
        },
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{AttemptId, sample};

    fn event(thread: u32, start_ns: u64) -> Event {
        Event::Attempt(attempt(thread, start_ns))
    }

    fn attempt(thread: u32, start_ns: u64) -> Attempt {
        let id = AttemptId {
            start_ns,
            tid: thread,
        };
        Attempt {
            id,
            ..sample::attempt()
        }
    }

    /// The starts of what has come to its turn, of one thread.
    fn turns(causes: &mut Causes, thread: u32) -> Vec<u64> {
        let turns = std::iter::from_fn(|| causes.next_of(thread));
        turns
            .map(|turn| match turn {
                Turn::Write(Event::Attempt(attempt), _) | Turn::Connect(attempt) => {
                    attempt.id.start_ns
                }
                Turn::Write(other, _) => panic!("{other:?}"),
            })
            .collect()
    }

    fn settle(causes: &mut Causes, ticket: u64) -> Option<u32> {
        causes.settle(Ticket(ticket), Arc::default())
    }

    #[test]
    fn the_calls_of_a_thread_stay_in_their_order() {
        let mut causes = Causes::default();
        let now = Instant::now();
        causes.wait(Ticket(1), event(7, 1), now);
        causes.line_up(event(7, 2), Arc::default());
        causes.wait(Ticket(2), event(7, 3), now);
        causes.line_up_connect(attempt(7, 4));
        assert!(causes.holds(7) && !causes.holds(8));
        assert_eq!(settle(&mut causes, 2), Some(7));
        assert_eq!(turns(&mut causes, 7), [0; 0]);
        assert_eq!(settle(&mut causes, 1), Some(7));
        assert_eq!(turns(&mut causes, 7), [1, 2, 3, 4]);
        assert!(causes.is_empty() && causes.due().is_none());
    }

    #[test]
    fn others_overtake() {
        let mut causes = Causes::default();
        let now = Instant::now();
        causes.wait(Ticket(1), event(7, 1), now);
        causes.wait(Ticket(2), event(8, 2), now);
        assert_eq!(settle(&mut causes, 2), Some(8));
        assert_eq!(turns(&mut causes, 8), [2]);
        assert_eq!(settle(&mut causes, 2), None);
        assert!(causes.holds(7));
    }

    #[test]
    fn none_waits_for_longer_than_it_may() {
        let mut causes = Causes::default();
        let now = Instant::now();
        causes.wait(Ticket(1), event(7, 1), now);
        assert_eq!(causes.due(), Some(now + LONGEST));
        assert!(causes.overdue(now).is_none());
        let late = causes.overdue(now + LONGEST).map(|(ticket, _)| ticket);
        assert_eq!(late, Some(Ticket(1)));
    }
}
