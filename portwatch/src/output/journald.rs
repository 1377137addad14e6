//! Entries for systemd-journald, in its native protocol (systemd.journal-fields(7)).
//!
//! Every value is made harmless first, so none has a line feed, and each is a plain `FIELD=value`
//! line of the protocol.

use super::{frame, sentence::sentence, standard::severity, value::write_text};
use crate::{
    errno::Errno,
    event::Event,
    fields::{Record, TABLE},
    users::Users,
};

/// Prints events as entries.
#[derive(Debug)]
pub struct JournaldPrinter {
    /// `PORTWATCH_CAUSE_CODE=` of each field
    names: Vec<String>,
    /// Used again for every event
    entry: String,
}

impl JournaldPrinter {
    pub fn new() -> Self {
        let name = |name: &str| format!("PORTWATCH_{}=", name.replace('.', "_").to_uppercase());
        Self {
            names: TABLE.iter().map(|field| name(field.name)).collect(),
            entry: String::new(),
        }
    }

    pub fn print(&mut self, out: &mut Vec<u8>, seq: u64, event: &Event, users: &mut Users) {
        let record = Record::new(seq, event);
        self.entry.clear();
        self.add("MESSAGE", &sentence(&record));
        self.add("MESSAGE_ID", message_id(event));
        self.add("PRIORITY", &severity(&record).to_string());
        self.add("SYSLOG_IDENTIFIER", "portwatch");
        if let Some(errno) = record.errno().map(Errno::number) {
            self.add("ERRNO", &errno.to_string());
        }
        if let Some(attempt) = record.attempt {
            self.add("OBJECT_PID", &attempt.tgid.to_string());
        }
        for (name, field) in self.names.iter().zip(TABLE) {
            let start = self.entry.len();
            self.entry.push_str(name);
            if write_text(&mut self.entry, &(field.get)(&record), users) {
                self.entry.push('\n');
            } else {
                self.entry.truncate(start);
            }
        }
        frame::add(out, self.entry.as_bytes());
    }

    fn add(&mut self, name: &str, value: &str) {
        self.entry.push_str(name);
        self.entry.push('=');
        self.entry.push_str(value);
        self.entry.push('\n');
    }
}

/// Fixed, so that entries of a kind can be looked for.
const fn message_id(event: &Event) -> &'static str {
    match event {
        Event::Start(_) => "6d1a6c1d5e0c4a2fb6a2f1ce4d9c3f10",
        Event::Attempt(_) | Event::Pending(_) => "b0f5d1f7c7134ea6a4f7b7f1c1f2e5a9",
        Event::Outcome(_) => "5c9f4e7b2b7d4d52a0d3a7c81e66f0d4",
        Event::Lost(_) => "e3b7a9d04c1f4b6c9a55d20c6f8e7b12",
        Event::Degraded(_) => "9f2d8c3a71e64f0bb1c7e5d94a3b6082",
        Event::Summary(_) => "27c4b1e95fa84d3e8d06f3a2b9c57e61",
    }
}

#[cfg(test)]
mod tests;
