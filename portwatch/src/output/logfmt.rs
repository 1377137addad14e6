//! logfmt: `key=value` pairs, of every event and every field that is known.

use std::io::{self, Write};

use super::value::write_text;
use crate::{
    event::Event,
    fields::{List, Record, TABLE, named},
    users::Users,
};

/// Prints events as logfmt.
#[derive(Debug)]
pub struct LogfmtPrinter {
    fields: List,
    /// Both are used again for every event.
    line: String,
    value: String,
}

impl LogfmtPrinter {
    /// All fields, unless some were asked for.
    pub fn new(fields: Option<List>) -> Self {
        Self {
            fields: fields.unwrap_or_else(|| List(TABLE.iter().collect())),
            line: String::new(),
            value: String::new(),
        }
    }

    pub fn print<W: Write>(
        &mut self,
        out: &mut W,
        seq: u64,
        event: &Event,
        users: &mut Users,
    ) -> io::Result<()> {
        let record = Record::new(seq, event);
        self.line.clear();
        // What a line is must be seen whatever was chosen, since all kinds share the stream.
        if self.fields.0.iter().all(|field| field.name != "kind") {
            add_pair(&mut self.line, "kind", record.kind());
        }
        for field in &self.fields.0 {
            self.value.clear();
            if write_text(&mut self.value, &(field.get)(&record), users) {
                add_pair(&mut self.line, field.name, &self.value);
            }
        }
        if let (Event::Lost(_), false) = (event, self.shows("count")) {
            self.add_loss(&record, users);
        }
        self.line.push('\n');
        out.write_all(self.line.as_bytes())
    }

    fn shows(&self, name: &str) -> bool {
        self.fields.0.iter().any(|field| field.name == name)
    }

    /// A loss is told in full, whatever fields were chosen.
    fn add_loss(&mut self, record: &Record<'_>, users: &mut Users) {
        for field in named("count,reason,where").0 {
            self.value.clear();
            if write_text(&mut self.value, &(field.get)(record), users) {
                add_pair(&mut self.line, field.name, &self.value);
            }
        }
    }
}

fn add_pair(line: &mut String, key: &str, value: &str) {
    if !line.is_empty() {
        line.push(' ');
    }
    line.push_str(key);
    line.push('=');
    if !value.is_empty() && !value.contains([' ', '"', '=']) {
        line.push_str(value);
        return;
    }
    line.push('"');
    for character in value.chars() {
        if matches!(character, '"' | '\\') {
            line.push('\\');
        }
        line.push(character);
    }
    line.push('"');
}

#[cfg(test)]
mod tests;
