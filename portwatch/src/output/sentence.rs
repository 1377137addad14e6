//! An event in one line of prose, for logs that have a message beside their fields.

use std::fmt::Write as _;

use super::{
    sanitize::{escape_into, escape_prose_into},
    text::loss_message,
};
use crate::{
    event::{Attempt, Event, Outcome, Proto},
    fields::Record,
};

/// `nginx[77] bind tcp 0.0.0.0:80: EACCES: …`. Nothing in it can end a line.
pub(super) fn sentence(record: &Record<'_>) -> String {
    let mut text = String::new();
    match record.event {
        Event::Start(start) => {
            let limits = start.degradations.len() + start.missing.len();
            let watching = format!(
                "watching bind() and connect() (source {}, kernel {}, {limits} limits)",
                start.backend, start.kernel
            );
            escape_prose_into(&mut text, &watching);
        }
        Event::Lost(lost) => text.push_str(&loss_message(lost)),
        Event::Degraded(degraded) => {
            let degradation = &degraded.degradation;
            let worse = format!("degraded: {}: {}", degradation.what, degradation.why);
            escape_prose_into(&mut text, &worse);
        }
        Event::Summary(summary) => {
            let written = summary.attempts.values().sum::<u64>();
            let lost = summary.lost.values().sum::<u64>();
            // Writing to a String cannot fail.
            let _ = write!(text, "ended: {written} attempts, {lost} lost");
        }
        Event::Attempt(attempt) => add_attempt(&mut text, record, attempt),
        Event::Pending(pending) => add_attempt(&mut text, record, &pending.attempt),
        Event::Outcome(outcome) => add_attempt(&mut text, record, &outcome.attempt),
    }
    text
}

fn add_attempt(text: &mut String, record: &Record<'_>, attempt: &Attempt) {
    escape_into(text, attempt.comm.as_bytes());
    // Writing to a String cannot fail.
    let _ = write!(text, "[{}] {}", attempt.tgid, attempt.op.name());
    if let Some(proto) = attempt.proto.and_then(Proto::name) {
        let _ = write!(text, " {proto}");
    }
    if let Some(requested) = attempt.requested {
        let _ = write!(text, " {}", requested.socket_addr());
    }
    match (record.outcome(), record.errno()) {
        (Some(Outcome::Pending), _) | (_, None) => {
            let _ = write!(text, ": {}", record.outcome_name().unwrap_or("unknown"));
        }
        (_, Some(errno)) => {
            let _ = write!(text, ": {errno}");
        }
    }
    if let Some(cause) = record.cause {
        text.push_str(": ");
        escape_prose_into(text, &cause.text);
    }
}
