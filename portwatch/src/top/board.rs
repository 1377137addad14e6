//! What `portwatch top` has counted. All of it is bounded: what was seen longest ago goes first.

use std::{
    collections::{HashMap, VecDeque},
    hash::Hash,
    net::SocketAddr,
};

use crate::event::{Attempt, Code, Comm, End, Event, Op, Outcome, OutcomeOf, Proto, Requested};

/// Processes, ports and failures that are kept.
const KEPT: usize = 256;
/// Seconds that rates are kept for.
const SECONDS: usize = 300;

/// The order of every list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Sort {
    /// What has most failures first
    #[default]
    Failed,
    /// What has most attempts first
    Attempts,
    /// What was seen last first
    Latest,
}

impl Sort {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Failed => "failed",
            Self::Attempts => "attempts",
            Self::Latest => "latest",
        }
    }

    pub(super) const fn next(self) -> Self {
        match self {
            Self::Failed => Self::Attempts,
            Self::Attempts => Self::Latest,
            Self::Latest => Self::Failed,
        }
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Count {
    pub(super) attempts: u64,
    pub(super) failed: u64,
    /// Number of the event that counted last
    last: u64,
}

/// Counts by key.
#[derive(Clone, Debug)]
pub(super) struct Counts<K>(HashMap<K, Count>);

impl<K> Default for Counts<K> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<K: Copy + Eq + Hash + Ord> Counts<K> {
    fn add(&mut self, key: K, now: u64, attempts: u64, failed: u64) {
        if self.0.len() >= KEPT && !self.0.contains_key(&key) {
            let oldest = self.0.iter().min_by_key(|(_, count)| count.last);
            if let Some(key) = oldest.map(|(key, _)| *key) {
                self.0.remove(&key);
            }
        }
        let count = self.0.entry(key).or_default();
        count.attempts += attempts;
        count.failed += failed;
        count.last = now;
    }

    pub(super) fn sorted(&self, sort: Sort) -> Vec<(K, Count)> {
        let mut all: Vec<_> = self.0.iter().map(|(key, count)| (*key, *count)).collect();
        all.sort_by_key(|(key, count)| {
            let weight = match sort {
                Sort::Failed => (count.failed, count.attempts),
                Sort::Attempts => (count.attempts, count.failed),
                Sort::Latest => (count.last, 0),
            };
            (std::cmp::Reverse(weight), *key)
        });
        all
    }
}

/// What failures that count as one have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Alike {
    comm: Comm,
    op: Op,
    asked: Option<SocketAddr>,
    ret: Option<i32>,
    code: Option<Code>,
}

impl Alike {
    fn of(attempt: &Attempt) -> Self {
        Self {
            comm: attempt.comm,
            op: attempt.op,
            asked: attempt.requested.map(Requested::socket_addr),
            ret: attempt.ret,
            code: attempt.cause.as_ref().map(|cause| cause.code),
        }
    }
}

/// Failures of one kind.
#[derive(Clone, Debug)]
pub(super) struct Failure {
    alike: Alike,
    pub(super) count: u64,
    /// The last of them
    pub(super) attempt: Box<Attempt>,
}

/// Attempts and failures of each second, the present one last.
#[derive(Clone, Debug, Default)]
pub(super) struct Rates(VecDeque<(u64, u64)>);

impl Rates {
    fn add(&mut self, attempts: u64, failed: u64) {
        match self.0.back_mut() {
            Some(second) => {
                second.0 += attempts;
                second.1 += failed;
            }
            None => self.0.push_back((attempts, failed)),
        }
    }

    fn tick(&mut self) {
        if self.0.len() >= SECONDS {
            self.0.pop_front();
        }
        self.0.push_back((0, 0));
    }

    /// Of the last whole second.
    pub(super) fn last(&self) -> (u64, u64) {
        let whole = self.0.len().checked_sub(2);
        whole.map_or((0, 0), |index| self.0[index])
    }

    /// Attempts of up to so many seconds, the present one last.
    pub(super) fn attempts(&self, seconds: usize) -> Vec<u64> {
        let skipped = self.0.len().saturating_sub(seconds);
        self.0.iter().skip(skipped).map(|second| second.0).collect()
    }

    /// Whether a tick would change what is shown.
    pub(super) fn moves(&self) -> bool {
        self.0.iter().any(|second| second.0 > 0)
    }
}

/// A process, by pid and command name.
pub(super) type Talker = (u32, Comm);
/// Port and protocol.
pub(super) type Port = (u16, Option<Proto>);

#[derive(Clone, Debug, Default)]
pub(super) struct Board {
    pub(super) attempts: u64,
    pub(super) failed: u64,
    pub(super) lost: u64,
    pub(super) rates: Rates,
    pub(super) talkers: Counts<Talker>,
    pub(super) ports: Counts<Port>,
    failures: Vec<Failure>,
    /// Events so far
    now: u64,
}

impl Board {
    /// An empty one, but for what was lost.
    pub(super) fn after(board: &Self) -> Self {
        Self {
            lost: board.lost,
            ..Self::default()
        }
    }

    pub(super) fn take(&mut self, event: &Event) {
        match event {
            Event::Attempt(attempt) => self.count(attempt),
            Event::Outcome(outcome) => self.take_end(outcome, true),
            Event::Lost(lost) => self.lost += lost.count,
            Event::Start(_) | Event::Pending(_) | Event::Degraded(_) | Event::Summary(_) => {}
        }
    }

    /// How a connect ended that was pending, and may have been counted then.
    pub(super) fn take_end(&mut self, outcome: &OutcomeOf, is_counted: bool) {
        let OutcomeOf { attempt, ended, .. } = outcome;
        let attempts = u64::from(!is_counted);
        if let End::Failed(ret) = ended.end {
            let attempt = Attempt {
                ret: Some(ret),
                cause: outcome.cause.clone(),
                ..attempt.clone()
            };
            self.count_as(&attempt, attempts, 1);
        } else if !is_counted {
            self.count_as(attempt, attempts, 0);
        }
    }

    pub(super) fn count(&mut self, attempt: &Attempt) {
        let failed = u64::from(attempt.outcome() == Outcome::Failed);
        self.count_as(attempt, 1, failed);
    }

    fn count_as(&mut self, attempt: &Attempt, attempts: u64, failed: u64) {
        self.now += 1;
        self.attempts += attempts;
        self.failed += failed;
        self.rates.add(attempts, failed);
        let talker = (attempt.tgid, attempt.comm);
        self.talkers.add(talker, self.now, attempts, failed);
        if let Some(asked) = attempt.requested {
            let port = (asked.port, attempt.proto);
            self.ports.add(port, self.now, attempts, failed);
        }
        if failed > 0 {
            self.keep(attempt);
        }
    }

    fn keep(&mut self, attempt: &Attempt) {
        let alike = Alike::of(attempt);
        let known = self.failures.iter().position(|known| known.alike == alike);
        let count = known.map_or(0, |index| self.failures.remove(index).count);
        if self.failures.len() >= KEPT {
            self.failures.remove(0);
        }
        self.failures.push(Failure {
            alike,
            count: count + 1,
            attempt: Box::new(attempt.clone()),
        });
    }

    pub(super) const fn failure_count(&self) -> usize {
        self.failures.len()
    }

    pub(super) fn failures(&self, sort: Sort) -> Vec<&Failure> {
        let mut all: Vec<_> = self.failures.iter().rev().collect();
        if sort != Sort::Latest {
            // A stable sort: of as many, the latest first.
            all.sort_by_key(|failure| std::cmp::Reverse(failure.count));
        }
        all
    }

    /// A second has passed; whether that changes what is shown.
    pub(super) fn tick(&mut self) -> bool {
        let moves = self.rates.moves();
        if moves {
            self.rates.tick();
        }
        moves
    }
}
