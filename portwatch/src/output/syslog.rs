//! Syslog messages as RFC 5424 has them, with the fields as structured data.

use std::fmt::Write as _;

use super::{frame, sentence::sentence, standard::severity, value::write_text};
use crate::{
    event::{Event, Time},
    fields::{Record, TABLE},
    users::Users,
};

/// Prints events as syslog messages.
#[derive(Debug)]
pub struct SyslogPrinter {
    /// `HOSTNAME portwatch PROCID`
    origin: String,
    /// Both are used again for every event.
    message: String,
    value: String,
}

impl SyslogPrinter {
    /// `host` and the process that writes; a name that RFC 5424 does not take is left out.
    pub fn new(host: &str, pid: u32) -> Self {
        let fits =
            (1..=255).contains(&host.len()) && host.bytes().all(|byte| byte.is_ascii_graphic());
        let host = if fits { host } else { "-" };
        Self {
            origin: format!("{host} portwatch {pid}"),
            message: String::new(),
            value: String::new(),
        }
    }

    pub fn print(&mut self, out: &mut Vec<u8>, seq: u64, event: &Event, users: &mut Users) {
        /// System daemons
        const FACILITY: u8 = 3;
        /// The number is RFC 5612's, for those who have none of their own
        const ELEMENT: &str = "portwatch@32473";
        let record = Record::new(seq, event);
        let priority = FACILITY * 8 + severity(&record);
        self.message.clear();
        // Writing to a String cannot fail.
        let _ = write!(
            self.message,
            "<{priority}>1 {} {} {} [{ELEMENT}",
            Micros(record.time),
            self.origin,
            record.kind()
        );
        for field in TABLE {
            self.value.clear();
            if write_text(&mut self.value, &(field.get)(&record), users) {
                self.add_parameter(field.name);
            }
        }
        self.message.push_str("] ");
        self.message.push_str(&sentence(&record));
        frame::add(out, self.message.as_bytes());
    }

    fn add_parameter(&mut self, name: &str) {
        let _ = write!(self.message, " {name}=\"");
        for character in self.value.chars() {
            if matches!(character, '"' | '\\' | ']') {
                self.message.push('\\');
            }
            self.message.push(character);
        }
        self.message.push('"');
    }
}

/// RFC 5424 takes no more than six digits of a second.
struct Micros(Time);

impl std::fmt::Display for Micros {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let time =
            jiff::Timestamp::from_nanosecond(self.0.0.into()).map_err(|_| std::fmt::Error)?;
        write!(f, "{time:.6}")
    }
}

#[cfg(test)]
mod tests;
