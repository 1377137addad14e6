//! JSON Lines, as docs/EVENTS.md has them.
//!
//! The types here are the format; those in [`crate::event`] may change without it.

mod attempt;
mod cause;
mod line;
mod value;

use std::{collections::BTreeMap, io};

use serde::Serialize;

use self::{attempt::AttemptPrinter, cause::Cause};
use crate::{
    event::{self, Event, LossReason, Op, Outcome, StillPending, System, Time},
    users::Users,
};

/// Version of the format; field names do not change without a new one.
const VERSION: u8 = 1;

/// Prints events as JSON.
#[derive(Debug, Default)]
pub struct JsonPrinter {
    attempts: AttemptPrinter,
}

impl JsonPrinter {
    /// Writes one event as one line. `seq` numbers the attempts; other kinds have no number.
    pub fn print(
        &mut self,
        out: &mut Vec<u8>,
        seq: u64,
        event: &Event,
        users: &mut Users,
    ) -> io::Result<()> {
        match event {
            Event::Start(start) => line(out, &Start::of(start)),
            Event::Attempt(attempt) => self.attempts.print(out, attempt, seq, users),
            Event::Pending(StillPending { seq, attempt }) => {
                self.attempts.print(out, attempt, *seq, users)
            }
            Event::Outcome(outcome) => self.attempts.print_outcome(out, outcome, users),
            Event::Lost(lost) => line(out, &Lost::of(lost)),
            Event::Degraded(degraded) => line(out, &Degraded::of(degraded)),
            Event::Summary(summary) => line(out, &Summary::of(summary)),
        }
    }
}

/// A cause by itself, as the stream has it.
pub fn cause_value(cause: &event::Cause, users: &mut Users) -> serde_json::Value {
    serde_json::to_value(Cause::of(cause, users)).expect("strings and numbers always serialise")
}

fn line(out: &mut Vec<u8>, value: &impl Serialize) -> io::Result<()> {
    serde_json::to_writer(&mut *out, value)?;
    out.push(b'\n');
    Ok(())
}

#[derive(Serialize)]
struct Start<'a> {
    v: u8,
    kind: &'static str,
    #[serde(serialize_with = "value::rfc3339")]
    time: Time,
    /// As in an attempt
    #[serde(skip_serializing_if = "Option::is_none")]
    system: Option<String>,
    backend: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    ring_bytes: Option<u32>,
    hooks: &'a [String],
    missing: Vec<Missing<'a>>,
    degradations: Vec<Degradation<'a>>,
    kernel: &'a str,
    filters: &'a [String],
    pid: u32,
}

#[derive(Serialize)]
struct Missing<'a> {
    hook: &'a str,
    why: &'a str,
    unseen: &'a str,
}

#[derive(Serialize)]
struct Degradation<'a> {
    what: &'a str,
    why: &'a str,
    remedy: Option<&'a str>,
}

impl<'a> Degradation<'a> {
    fn of(degradation: &'a event::Degradation) -> Self {
        let event::Degradation { what, why, remedy } = degradation;
        Self {
            what,
            why,
            remedy: remedy.as_deref(),
        }
    }
}

#[derive(Serialize)]
struct Degraded<'a> {
    v: u8,
    kind: &'static str,
    #[serde(serialize_with = "value::rfc3339")]
    time: Time,
    #[serde(flatten)]
    degradation: Degradation<'a>,
}

impl<'a> Degraded<'a> {
    fn of(degraded: &'a event::Degraded) -> Self {
        let event::Degraded { time, degradation } = degraded;
        Self {
            v: VERSION,
            kind: "degraded",
            time: *time,
            degradation: Degradation::of(degradation),
        }
    }
}

impl<'a> Start<'a> {
    fn of(start: &'a event::Start) -> Self {
        let event::Start {
            time,
            system,
            backend,
            ring_bytes,
            hooks,
            missing,
            degradations,
            kernel,
            filters,
            pid,
        } = start;
        Self {
            v: VERSION,
            kind: "start",
            time: *time,
            system: foreign(*system),
            backend,
            ring_bytes: *ring_bytes,
            hooks,
            missing: missing
                .iter()
                .map(|event::MissingHook { hook, why, unseen }| Missing { hook, why, unseen })
                .collect(),
            degradations: degradations.iter().map(Degradation::of).collect(),
            kernel,
            filters,
            pid: *pid,
        }
    }
}

fn foreign(system: System) -> Option<String> {
    (system != System::Linux).then(|| system.to_string())
}

#[derive(Serialize)]
struct Container<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    runtime: Option<&'static str>,
    id: &'a str,
}

impl<'a> Container<'a> {
    fn of(container: &'a event::Container) -> Self {
        let event::Container { runtime, id } = container;
        Self {
            runtime: runtime.map(event::Runtime::name),
            id,
        }
    }
}

#[derive(Serialize)]
struct Lost {
    v: u8,
    kind: &'static str,
    #[serde(serialize_with = "value::rfc3339")]
    time: Time,
    count: u64,
    reason: &'static str,
    r#where: String,
}

impl Lost {
    fn of(lost: &event::Lost) -> Self {
        let event::Lost {
            time,
            count,
            reason,
            place,
        } = lost;
        Self {
            v: VERSION,
            kind: "lost",
            time: *time,
            count: *count,
            reason: reason.name(),
            r#where: place.to_string(),
        }
    }
}

#[derive(Serialize)]
struct Summary {
    v: u8,
    kind: &'static str,
    #[serde(serialize_with = "value::rfc3339")]
    time: Time,
    run_time_ns: u64,
    /// By operation and outcome, zeros included
    attempts: BTreeMap<&'static str, BTreeMap<&'static str, u64>>,
    /// Connects that were pending when they were last seen, by why no more is known
    pending: BTreeMap<&'static str, u64>,
    /// Calls that were no new attempts: a connect on a socket that was connecting
    repeats: u64,
    errnos: BTreeMap<String, u64>,
    /// In total
    lost: u64,
    /// By reason, as far as they occurred
    losses: BTreeMap<&'static str, u64>,
}

impl Summary {
    fn of(summary: &event::Summary) -> Self {
        let event::Summary {
            time,
            run_time,
            attempts,
            unended,
            repeats,
            errnos,
            lost,
        } = summary;
        let by_outcome = |op| {
            Outcome::ALL.map(|outcome| {
                (
                    outcome.name(),
                    attempts.get(&(op, outcome)).copied().unwrap_or(0),
                )
            })
        };
        Self {
            v: VERSION,
            kind: "summary",
            time: *time,
            run_time_ns: u64::try_from(run_time.as_nanos()).unwrap_or(u64::MAX),
            attempts: [Op::Bind, Op::Connect, Op::Listen]
                .map(|op| (op.name(), by_outcome(op).into()))
                .into(),
            pending: [
                ("not_over", unended.not_over),
                ("not_told", unended.not_told),
                ("not_followed", unended.not_followed),
            ]
            .into(),
            repeats: *repeats,
            errnos: errnos
                .iter()
                .map(|(errno, &count)| (errno.to_string(), count))
                .collect(),
            lost: lost.values().sum(),
            losses: lost
                .iter()
                .map(|(&reason, &count)| (LossReason::name(reason), count))
                .collect(),
        }
    }
}

#[cfg(test)]
mod tests;
