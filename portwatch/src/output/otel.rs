//! OpenTelemetry log records as OTLP JSON lines: one `LogsData` a line, as the collector's
//! `otlpjsonfile` receiver takes them.
//!
//! Attributes have the names of the semantic conventions, and `portwatch.` where there is none.

use std::io::{self, Write};

use super::{
    sentence::sentence,
    standard::{Mapping, internet, local_ip, local_port, native, peer_ip, peer_port, runtime},
    value::{Rfc3339, string, write_json},
};
use crate::{
    event::{Event, Outcome},
    fields::{Record, Value, get},
    users::Users,
};

const SCHEMA: &str = "https://opentelemetry.io/schemas/1.37.0";

const ATTRIBUTES: &[Mapping] = &[
    // Of what succeeded there must be none.
    ("error.type", |of| match of.outcome() {
        Some(Outcome::Failed) => of.errno().into(),
        _ => Value::Unknown,
    }),
    ("network.transport", |of| of.of(|attempt| attempt.proto)),
    ("network.type", |of| {
        of.of(|attempt| internet(attempt.family?))
    }),
    ("network.local.address", local_ip),
    ("network.local.port", local_port),
    ("network.peer.address", peer_ip),
    ("network.peer.port", peer_port),
    ("process.pid", |of| get("pid", of)),
    ("process.parent_pid", |of| get("ppid", of)),
    ("process.executable.name", |of| get("comm", of)),
    ("process.executable.path", |of| get("exe", of)),
    ("process.command_args", |of| get("cmdline", of)),
    ("process.user.id", |of| of.of(|attempt| attempt.euid)),
    ("process.user.name", |of| get("user", of)),
    ("process.real_user.id", |of| of.of(|attempt| attempt.uid)),
    ("thread.id", |of| get("tid", of)),
    ("container.id", |of| get("container.id", of)),
    ("container.runtime.name", runtime),
    ("portwatch.seq", |of| of.seq.into()),
    ("portwatch.op", |of| get("op", of)),
    ("portwatch.latency_ns", |of| get("latency_ns", of)),
    ("portwatch.gid", |of| get("gid", of)),
];

/// Writes one event as one record.
pub(super) fn print<W: Write>(
    out: &mut W,
    seq: u64,
    event: &Event,
    users: &mut Users,
) -> io::Result<()> {
    let record = Record::new(seq, event);
    let (severity, level) = severity(&record);
    let operation = record.attempt.map_or("", |attempt| attempt.op.name());
    let dot = if operation.is_empty() { "" } else { "." };
    write!(
        out,
        concat!(
            r#"{{"resourceLogs":[{{"resource":{{"attributes":[{{"key":"service.name","#,
            r#""value":{{"stringValue":"portwatch"}}}}]}},"schemaUrl":"{}","scopeLogs":[{{"#,
            r#""scope":{{"name":"portwatch","version":"{}"}},"schemaUrl":"{}","logRecords":[{{"#,
            r#""timeUnixNano":"{}","observedTimeUnixNano":"{}","severityNumber":{},"#,
            r#""severityText":"{}","eventName":"portwatch.{}{}{}","body":{{"stringValue":"#,
        ),
        SCHEMA,
        env!("CARGO_PKG_VERSION"),
        SCHEMA,
        record.time.0,
        record.time.0,
        severity,
        level,
        record.kind(),
        dot,
        operation,
    )?;
    string(out, &sentence(&record))?;
    out.write_all(br#"},"attributes":["#)?;
    let mut attributes = Attributes { out, first: true };
    for (key, value) in ATTRIBUTES {
        attributes.add("", key, &value(&record), users)?;
    }
    for field in native() {
        attributes.add("portwatch.", field.name, &(field.get)(&record), users)?;
    }
    out.write_all(b"]}]}]}]}\n")
}

/// SeverityNumber and its name: of failures and losses a warning.
fn severity(of: &Record<'_>) -> (u8, &'static str) {
    match (of.event, of.outcome()) {
        (Event::Lost(_) | Event::Degraded(_), _) | (_, Some(Outcome::Failed)) => (13, "WARN"),
        _ => (9, "INFO"),
    }
}

struct Attributes<'a, W> {
    out: &'a mut W,
    first: bool,
}

impl<W: Write> Attributes<'_, W> {
    fn add(
        &mut self,
        prefix: &str,
        key: &str,
        value: &Value<'_>,
        users: &mut Users,
    ) -> io::Result<()> {
        let absent = match value {
            Value::Unknown => true,
            Value::User(uid) => users.name(*uid).is_none(),
            _ => false,
        };
        if absent {
            return Ok(());
        }
        let separator = if self.first { "" } else { "," };
        self.first = false;
        write!(self.out, r#"{separator}{{"key":"{prefix}{key}","value":"#)?;
        write_value(self.out, value, users)?;
        self.out.write_all(b"}")
    }
}

/// `AnyValue`; of protobuf's JSON, 64-bit integers are strings.
fn write_value<W: Write>(out: &mut W, value: &Value<'_>, users: &mut Users) -> io::Result<()> {
    match value {
        Value::Flag(flag) => write!(out, r#"{{"boolValue":{flag}}}"#),
        Value::Signed(number) => write!(out, r#"{{"intValue":"{number}"}}"#),
        Value::Unsigned(number) => match i64::try_from(*number) {
            Ok(number) => write!(out, r#"{{"intValue":"{number}"}}"#),
            Err(_) => write!(out, r#"{{"stringValue":"{number}"}}"#),
        },
        Value::Time(time) => write!(out, r#"{{"stringValue":"{}"}}"#, Rfc3339(*time)),
        Value::Options(options) => write_array(out, options.names()),
        Value::Words(words) => write_array(out, words.iter()),
        Value::List(items) | Value::Proses(items) => write_array(out, items.iter()),
        _ => {
            out.write_all(br#"{"stringValue":"#)?;
            write_json(out, value, users)?;
            out.write_all(b"}")
        }
    }
}

fn write_array<W: Write>(
    out: &mut W,
    items: impl Iterator<Item = impl AsRef<str>>,
) -> io::Result<()> {
    out.write_all(br#"{"arrayValue":{"values":["#)?;
    for (number, item) in items.enumerate() {
        let separator = if number == 0 { "" } else { "," };
        write!(out, r#"{separator}{{"stringValue":"#)?;
        string(out, item.as_ref())?;
        out.write_all(b"}")?;
    }
    out.write_all(b"]}}")
}

#[cfg(test)]
mod tests;
