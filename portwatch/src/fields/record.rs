//! An event as its fields are asked for.

use std::time::Duration;

use super::Value;
use crate::{
    errno::Errno,
    event::{
        Attempt, Cause, Cgroup, Degradation, Ended, Event, Fix, Holder, Lost, Outcome, Start,
        Summary, Time,
    },
};

/// One event. An outcome has its attempt's fields, with its own time, result and cause.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    pub seq: Option<u64>,
    pub time: Time,
    pub event: &'a Event,
    pub attempt: Option<&'a Attempt>,
    pub ended: Option<&'a Ended>,
    pub cause: Option<&'a Cause>,
}

impl<'a> Record<'a> {
    /// `seq` is the number of the last attempt that was written.
    pub fn new(seq: u64, event: &'a Event) -> Self {
        let nothing = Self {
            seq: None,
            time: Time(0),
            event,
            attempt: None,
            ended: None,
            cause: None,
        };
        match event {
            Event::Start(start) => Self {
                time: start.time,
                ..nothing
            },
            Event::Attempt(attempt) => Self {
                seq: Some(seq),
                time: attempt.time,
                attempt: Some(attempt),
                cause: attempt.cause.as_deref(),
                ..nothing
            },
            Event::Pending(pending) => Self {
                seq: Some(pending.seq),
                time: pending.attempt.time,
                attempt: Some(&pending.attempt),
                cause: pending.attempt.cause.as_deref(),
                ..nothing
            },
            Event::Outcome(outcome) => Self {
                seq: Some(outcome.seq),
                time: outcome.ended.time,
                attempt: Some(&outcome.attempt),
                ended: Some(&outcome.ended),
                cause: outcome.cause.as_deref(),
                ..nothing
            },
            Event::Lost(lost) => Self {
                time: lost.time,
                ..nothing
            },
            Event::Degraded(degraded) => Self {
                time: degraded.time,
                ..nothing
            },
            Event::Summary(summary) => Self {
                time: summary.time,
                ..nothing
            },
        }
    }

    /// Of an outcome, its attempt as it was written before.
    #[must_use]
    pub fn before_end(&self) -> Self {
        let attempt = self.attempt;
        Self {
            time: attempt.map_or(self.time, |attempt| attempt.time),
            ended: None,
            cause: attempt.and_then(|attempt| attempt.cause.as_deref()),
            ..*self
        }
    }

    pub const fn kind(&self) -> &'static str {
        match self.event {
            Event::Start(_) => "start",
            Event::Attempt(_) | Event::Pending(_) => "attempt",
            Event::Outcome(_) if self.ended.is_none() => "attempt",
            Event::Outcome(_) => "outcome",
            Event::Lost(_) => "lost",
            Event::Degraded(_) => "degraded",
            Event::Summary(_) => "summary",
        }
    }

    pub fn ret(&self) -> Option<i32> {
        match self.ended {
            Some(ended) => ended.end.ret(),
            None => self.attempt?.ret,
        }
    }

    pub fn errno(&self) -> Option<Errno> {
        let system = self.attempt?.system;
        system.errno(self.ret()?)
    }

    /// `None` of what is no attempt.
    pub fn outcome(&self) -> Option<Outcome> {
        match self.ended {
            Some(ended) => Some(ended.end.outcome()),
            None => self.attempt.map(Attempt::outcome),
        }
    }

    pub fn outcome_name(&self) -> Option<&'static str> {
        self.outcome().map(Outcome::name)
    }

    pub fn latency(&self) -> Option<Duration> {
        match self.ended {
            Some(ended) => Some(ended.latency),
            None => self.attempt?.latency,
        }
    }

    pub fn reset(&self) -> bool {
        self.ended.map_or_else(
            || self.attempt.is_some_and(|attempt| attempt.reset),
            |ended| ended.reset,
        )
    }

    /// Not known, where it is no attempt.
    pub fn of<T: Into<Value<'a>>>(&self, get: impl FnOnce(&'a Attempt) -> T) -> Value<'a> {
        self.attempt.map(get).into()
    }

    pub fn cgroup(&self) -> Option<&'a Cgroup> {
        self.attempt?.cgroup.as_deref()
    }

    /// The state before the call, and the stations it passed, are told of what did not succeed.
    pub fn failing(&self) -> Option<&'a Attempt> {
        self.attempt
            .filter(|attempt| attempt.outcome() != Outcome::Ok)
    }

    pub fn fix(&self) -> Option<&'a Fix> {
        self.cause?.fixes.first()
    }

    pub fn holder(&self) -> Option<&'a Holder> {
        self.cause?.holders.first()
    }

    pub fn start(&self) -> Option<&'a Start> {
        match self.event {
            Event::Start(start) => Some(start),
            _ => None,
        }
    }

    pub const fn lost(&self) -> Option<&'a Lost> {
        match self.event {
            Event::Lost(lost) => Some(lost),
            _ => None,
        }
    }

    pub const fn degradation(&self) -> Option<&'a Degradation> {
        match self.event {
            Event::Degraded(degraded) => Some(&degraded.degradation),
            _ => None,
        }
    }

    pub fn summary(&self) -> Option<&'a Summary> {
        match self.event {
            Event::Summary(summary) => Some(summary),
            _ => None,
        }
    }
}
