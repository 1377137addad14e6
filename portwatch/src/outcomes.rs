//! Connects that are pending, until it is known how they ended, and with that who wants to know.
//!
//! Pure: the time comes in as a number, and what is to be written comes out as a [`Step`].

mod again;
mod early;
#[cfg(test)]
pub(crate) mod sample;
mod step;
#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, time::Duration};

pub use self::step::{Account, Step};
use self::{again::Interrupted, early::Early};
use crate::{
    event::{Attempt, AttemptId, End, Ended, Outcome, OutcomeOf, StillPending, Time, Unended},
    filter::{Filter, SoFar},
};

/// Pending connects whose ends are awaited at once, wanted or not. The kernel's side has room for
/// more (`portwatch_common::settings::PENDING_ENTRIES`), and nobody says when it evicts one: so
/// the oldest are forgotten, and counted, here.
const MOST: usize = 16_384;
/// A connect that is pending for longer is told of before it has ended.
const LONG: Duration = Duration::from_secs(1);

/// The connects of one watch that are pending.
#[derive(Debug, Default)]
pub struct Outcomes {
    /// By when they came, oldest first
    waiting: BTreeMap<u64, Waiting>,
    next: u64,
    /// The first that may not have waited for long yet
    fresh: u64,
    /// All whose ends may come, the oldest first, each with its place among those that wait; `None`
    /// where nobody wants it
    open: BTreeMap<AttemptId, Option<u64>>,
    early: Early,
    interrupted: Interrupted,
    unended: Unended,
    /// Ends that cannot be told any more, and were not reported yet
    lost: u64,
    /// Ends may be told of any pending connect
    of_any: bool,
    now: Duration,
}

/// An attempt that waits for its end.
#[derive(Debug)]
struct Waiting {
    /// Its number, where it was written
    seq: Option<u64>,
    attempt: Box<Attempt>,
    since: Duration,
    lasted: bool,
    /// Of a call that was interrupted: how the connect ended, before it was begun anew
    ended: Option<Ended>,
}

/// What becomes of a call that may go on with an earlier one.
#[derive(Debug, PartialEq, Eq)]
pub enum Resumed {
    /// It does not
    New(Attempt),
    /// It does: one attempt of both
    Merged(Attempt),
    /// It does, and is told of where it tells how the other one ended
    Told(Option<Step>),
}

impl Outcomes {
    /// Where it is not known what the source tells: an end may come of each.
    pub fn of_any() -> Self {
        Self {
            of_any: true,
            ..Self::default()
        }
    }

    /// It is now so late, by a clock of the caller's.
    pub const fn advance(&mut self, now: Duration) {
        self.now = now;
    }

    /// Whether there is more to say of a connect than its return does.
    pub fn concern(&self, attempt: &Attempt) -> bool {
        attempt.is_open() || !self.interrupted.is_empty()
    }

    /// Adds what its end tells of a call that waited for it.
    pub fn settle(&mut self, attempt: &mut Attempt) {
        let early = self.early.take(attempt.id);
        attempt.reset |= early.is_some_and(|ended| ended.reset);
    }

    /// Looks whether a call goes on with one that was interrupted.
    pub fn resume(&mut self, again: Attempt) -> Resumed {
        let is_fresh = |id| {
            let place = self.open.get(&id).copied().flatten();
            let waiting = place.and_then(|place| self.waiting.get(&place));
            waiting.is_some_and(|waiting| !waiting.lasted)
        };
        let Some(id) = self.interrupted.take(&again, is_fresh) else {
            return Resumed::New(again);
        };
        match self.remove(id) {
            // Its end was told before the call that waited for it was begun anew.
            None => Resumed::Told(None),
            Some(first) if first.seq.is_none() => {
                let ended = first.ended;
                let merged = again::merged(*first.attempt, &again);
                if let Some(ended) = ended {
                    self.early.put(ended);
                }
                Resumed::Merged(merged)
            }
            Some(first) => Resumed::Told(self.go_on(first, &again)),
        }
    }

    /// A call that was told of as pending has been begun anew, and has returned.
    fn go_on(&mut self, first: Waiting, again: &Attempt) -> Option<Step> {
        let ret = again.ret.filter(|_| again.outcome() != Outcome::Pending);
        let (seq, lasted) = (first.seq?, first.lasted);
        let merged = again::merged(*first.attempt, again);
        let Some(ret) = ret else {
            self.follow(seq, merged, lasted);
            return None;
        };
        let latency = merged.latency.unwrap_or_default();
        let nanos = i64::try_from(latency.as_nanos()).unwrap_or(i64::MAX);
        let ended = Ended {
            id: merged.id,
            time: Time(merged.time.0.saturating_add(nanos)),
            latency,
            end: End::of(ret),
            reset: merged.reset,
        };
        Some(Step::End(OutcomeOf {
            lasted,
            ..OutcomeOf::new(seq, merged, ended)
        }))
    }

    /// Takes an open attempt that the filter has not ruled out.
    pub fn take(&mut self, attempt: Attempt, filter: &Filter) -> Option<Step> {
        let early = self.early.take(attempt.id);
        if attempt.interrupted {
            // Whether the call is begun anew will show.
            self.interrupted.put(&attempt);
            self.wait(None, attempt, false, early);
            return None;
        }
        if let Some(ended) = early {
            return ended_at_once(attempt, ended, filter);
        }
        if !self.is_told_of(&attempt) {
            self.open.remove(&attempt.id);
            let is_wanted = filter.passes(&attempt);
            return is_wanted.then_some(Step::Whole(attempt));
        }
        if filter.judge(&attempt, SoFar::Open) == Some(true) {
            return Some(Step::Begun {
                attempt,
                lasted: false,
            });
        }
        self.wait(None, attempt, false, None);
        None
    }

    /// Whether the end of an open attempt, which has not come yet, is to come; takes note where it is
    /// not.
    fn is_told_of(&mut self, attempt: &Attempt) -> bool {
        if !self.of_any && !attempt.is_followed() {
            self.unended.not_told += 1;
            return false;
        }
        if self.early.may_have_gone(attempt.id) {
            self.unended.not_followed += 1;
            self.lost += 1;
            return false;
        }
        true
    }

    /// An attempt was written whose end is to come.
    pub fn follow(&mut self, seq: u64, attempt: Attempt, lasted: bool) {
        if attempt.interrupted {
            self.interrupted.put(&attempt);
        }
        self.wait(Some(seq), attempt, lasted, None);
    }

    fn wait(&mut self, seq: Option<u64>, attempt: Attempt, lasted: bool, ended: Option<Ended>) {
        let place = self.next;
        self.next += 1;
        self.open.insert(attempt.id, Some(place));
        let waiting = Waiting {
            seq,
            attempt: Box::new(attempt),
            since: self.now,
            lasted,
            ended,
        };
        self.waiting.insert(place, waiting);
    }

    fn remove(&mut self, id: AttemptId) -> Option<Waiting> {
        let place = self.open.remove(&id)??;
        self.waiting.remove(&place)
    }

    /// An attempt has ended.
    pub fn end(&mut self, ended: Ended, filter: &Filter) -> Option<Step> {
        let place = self.open.get(&ended.id).copied().flatten();
        let Some(waiting) = place.and_then(|place| self.waiting.get_mut(&place)) else {
            let is_unwanted = self.open.remove(&ended.id).is_some();
            if !is_unwanted {
                self.early.put(ended);
            }
            return None;
        };
        let may_go_on = waiting.attempt.interrupted && ended.end != End::Abandoned;
        if may_go_on && waiting.seq.is_none() {
            waiting.ended = Some(ended);
            return None;
        }
        let Waiting {
            seq,
            attempt,
            lasted,
            ..
        } = self.remove(ended.id)?;
        match seq {
            None => ended_at_once(*attempt, ended, filter),
            Some(seq) => Some(Step::End(OutcomeOf {
                lasted,
                ..OutcomeOf::new(seq, *attempt, ended)
            })),
        }
    }

    /// When the next of them will have been pending for long; nothing is due without one.
    pub fn due(&self) -> Option<Duration> {
        let (_, next) = self.waiting.range(self.fresh..).next()?;
        Some(next.since + LONG)
    }

    /// What is to be done of one that has been pending for long by now; to be asked until there is none.
    pub fn overdue(&mut self, filter: &Filter) -> Option<Step> {
        while self.due().is_some_and(|due| due <= self.now) {
            let (&place, waiting) = self.waiting.range_mut(self.fresh..).next()?;
            self.fresh = place + 1;
            if waiting.lasted {
                continue;
            }
            if let Some(seq) = waiting.seq {
                waiting.lasted = true;
                let attempt = (*waiting.attempt).clone();
                return Some(Step::Lasting(StillPending { seq, attempt }));
            }
            let is_wanted = filter.passes(&waiting.attempt);
            if let Some(ended) = waiting.ended {
                let ended = self.remove(ended.id).map(|gone| (*gone.attempt, ended));
                let step = ended.and_then(|(attempt, end)| ended_at_once(attempt, end, filter));
                if step.is_some() {
                    return step;
                }
            } else if is_wanted {
                let id = waiting.attempt.id;
                let attempt = *self.remove(id)?.attempt;
                return Some(Step::Begun {
                    attempt,
                    lasted: true,
                });
            }
        }
        None
    }

    /// Whether any that was written is to be shown yet, be it as pending for long.
    pub fn await_news(&self) -> bool {
        let mut fresh = self.waiting.range(self.fresh..);
        fresh.any(|(_, waiting)| waiting.seq.is_some() && !waiting.lasted)
    }

    /// Takes note of an open attempt, before it is known whether anybody wants it. Where there are
    /// too many the oldest goes, with what is to be said of it.
    pub fn note(&mut self, attempt: &Attempt, filter: &Filter) -> Option<Step> {
        let may_end = self.of_any || attempt.is_followed() || attempt.interrupted;
        let has_ended = !attempt.interrupted && self.early.has(attempt.id);
        if !may_end || has_ended {
            return None;
        }
        let forgotten = self.make_room(filter);
        self.open.insert(attempt.id, None);
        forgotten
    }

    fn make_room(&mut self, filter: &Filter) -> Option<Step> {
        if self.open.len() < MOST {
            return None;
        }
        // Nobody waits for one that is not wanted.
        let (_, place) = self.open.pop_first()?;
        let oldest = self.waiting.remove(&place?)?;
        if let Some(ended) = oldest.ended {
            return ended_at_once(*oldest.attempt, ended, filter);
        }
        self.unended.not_followed += 1;
        self.lost += 1;
        given_up(oldest, filter)
    }

    /// All is over for one that still waits; to be asked until it gives [`None`].
    pub fn give_up(&mut self, filter: &Filter) -> Option<Option<Step>> {
        let (_, oldest) = self.waiting.pop_first()?;
        self.open.remove(&oldest.attempt.id);
        if let Some(ended) = oldest.ended {
            return Some(ended_at_once(*oldest.attempt, ended, filter));
        }
        if self.of_any || oldest.attempt.is_followed() {
            self.unended.not_over += 1;
        } else {
            self.unended.not_told += 1;
        }
        Some(given_up(oldest, filter))
    }

    /// How many ends cannot be told, of those that were not reported yet.
    pub const fn lost(&mut self) -> u64 {
        std::mem::replace(&mut self.lost, 0)
    }

    pub const fn has_lost(&self) -> bool {
        self.lost > 0
    }

    /// How many were pending when they were last seen.
    pub const fn unended(&self) -> Unended {
        self.unended
    }
}

/// What becomes of an attempt that was not written, now that its end is known.
fn ended_at_once(attempt: Attempt, ended: Ended, filter: &Filter) -> Option<Step> {
    let is_wanted = filter.judge(&attempt, SoFar::Ended(ended.end)) == Some(true);
    is_wanted.then_some(Step::Both(attempt, ended))
}

/// What is said of one whose end will not be told.
fn given_up(waiting: Waiting, filter: &Filter) -> Option<Step> {
    let Waiting {
        seq,
        attempt,
        lasted,
        ..
    } = waiting;
    let is_wanted = seq.is_some() || filter.passes(&attempt);
    is_wanted.then_some(Step::GivenUp {
        seq,
        attempt: *attempt,
        lasted,
    })
}
