//! Elastic Common Schema: one document a line. What it has no field for is below `portwatch`.

use std::io::{self, Write};

use super::{
    sentence::sentence,
    standard::{
        Mapping, connect, document, iana, internet, is_denied, local_ip, local_port, peer_ip,
        peer_port, runtime,
    },
};
use crate::{
    errno::Errno,
    event::{Event, Op, Outcome},
    fields::{Record, Value, get},
    users::Users,
};

/// The version of the schema that these names are from.
const VERSION: &str = "9.4.0";

const FIELDS: &[Mapping] = &[
    ("@timestamp", |of| of.time.into()),
    ("message", |of| sentence(of).into()),
    ("ecs.version", |_| VERSION.into()),
    ("event.kind", |_| "event".into()),
    ("event.category", |of| of.of(|_| Value::Words(&["network"]))),
    ("event.type", |of| of.of(|_| Value::Words(event_type(of)))),
    ("event.action", |of| {
        of.attempt
            .map_or(of.kind(), |attempt| attempt.op.name())
            .into()
    }),
    ("event.outcome", |of| outcome(of).into()),
    ("event.reason", |of| {
        of.cause.map(|cause| Value::Prose(&cause.text)).into()
    }),
    ("event.duration", |of| get("latency_ns", of)),
    ("event.provider", |_| "portwatch".into()),
    ("event.sequence", |of| of.seq.into()),
    ("error.code", |of| {
        // The system's own number.
        let ret = of.errno().and(of.ret());
        ret.map(|ret| ret.unsigned_abs().to_string()).into()
    }),
    ("error.type", |of| of.errno().into()),
    ("error.message", |of| {
        of.errno().and_then(Errno::describe).into()
    }),
    ("source.ip", local_ip),
    ("source.port", local_port),
    ("destination.address", peer_ip),
    ("destination.ip", peer_ip),
    ("destination.port", peer_port),
    ("network.transport", |of| of.of(|attempt| attempt.proto)),
    ("network.iana_number", |of| {
        of.of(|attempt| iana(attempt.proto?).map(|number| number.to_string()))
    }),
    ("network.type", |of| {
        of.of(|attempt| internet(attempt.family?))
    }),
    ("network.direction", |of| connect(of, |_| "egress")),
    ("process.pid", |of| get("pid", of)),
    ("process.name", |of| get("comm", of)),
    ("process.executable", |of| get("exe", of)),
    ("process.args", |of| get("cmdline", of)),
    ("process.thread.id", |of| get("tid", of)),
    ("process.parent.pid", |of| get("ppid", of)),
    ("process.real_user.id", |of| {
        of.of(|attempt| attempt.uid.to_string())
    }),
    ("process.real_group.id", |of| {
        of.of(|attempt| attempt.gid.map(|gid| gid.to_string()))
    }),
    ("user.id", |of| {
        of.of(|attempt| attempt.euid.map(|uid| uid.to_string()))
    }),
    ("user.name", |of| get("user", of)),
    ("container.id", |of| get("container.id", of)),
    ("container.runtime", runtime),
];

/// Writes one event as one document.
pub(super) fn print<W: Write>(
    out: &mut W,
    seq: u64,
    event: &Event,
    users: &mut Users,
) -> io::Result<()> {
    document(out, &Record::new(seq, event), FIELDS, "portwatch", users)
}

/// Only those that the schema expects beside the category "network".
fn event_type(of: &Record<'_>) -> &'static [&'static str] {
    let connects = of.attempt.is_some_and(|attempt| attempt.op == Op::Connect);
    match (connects, is_denied(of), of.outcome()) {
        (true, true, _) => &["connection", "denied"],
        (false, true, _) => &["info", "denied"],
        (true, false, Some(Outcome::Ok | Outcome::Pending)) => &["connection", "start"],
        (true, false, _) => &["connection"],
        (false, false, _) => &["info"],
    }
}

/// "unknown" is for an attempt whose end nobody knows yet.
fn outcome(of: &Record<'_>) -> Option<&'static str> {
    of.attempt?;
    Some(match of.outcome() {
        Some(Outcome::Ok) => "success",
        Some(Outcome::Failed) => "failure",
        Some(Outcome::Pending | Outcome::Abandoned) | None => "unknown",
    })
}

#[cfg(test)]
mod tests;
