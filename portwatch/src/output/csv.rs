//! CSV (RFC 4180): a header, then a row an event; the same columns from first to last.

use std::io::{self, Write};

use super::value::write_text;
use crate::{
    event::Event,
    fields::{CSV, List, Record, Value, named},
    users::Users,
};

/// Prints events as CSV.
#[derive(Debug)]
pub struct CsvPrinter {
    fields: List,
    header: bool,
    /// Both are used again for every event.
    line: String,
    value: String,
}

impl CsvPrinter {
    pub fn new(fields: Option<List>, header: bool) -> Self {
        Self {
            fields: fields.unwrap_or_else(|| named(CSV)),
            header,
            line: String::new(),
            value: String::new(),
        }
    }

    /// Start, summary and what got worse have no row: they fit no column.
    pub fn print<W: Write>(
        &mut self,
        out: &mut W,
        seq: u64,
        event: &Event,
        users: &mut Users,
    ) -> io::Result<()> {
        self.line.clear();
        match event {
            Event::Start(_) => self.add_header(),
            Event::Degraded(_) | Event::Summary(_) => {}
            // Without a column for it, the row of a loss would look like an attempt of which
            // nothing is known.
            Event::Lost(_) if !self.tells_losses() => {}
            Event::Lost(_) | Event::Attempt(_) | Event::Pending(_) | Event::Outcome(_) => {
                self.add_row(&Record::new(seq, event), users);
            }
        }
        out.write_all(self.line.as_bytes())
    }

    /// Whether a loss has a row, because there is a column that tells it apart.
    pub fn tells_losses(&self) -> bool {
        let tell = |name| matches!(name, "kind" | "count" | "reason");
        self.fields.0.iter().any(|field| tell(field.name))
    }

    fn add_header(&mut self) {
        // It belongs to the start of a file; what is appended later has none.
        if !std::mem::take(&mut self.header) {
            return;
        }
        for (number, field) in self.fields.0.iter().enumerate() {
            separate(&mut self.line, number);
            self.line.push_str(field.name);
        }
        self.line.push_str("\r\n");
    }

    fn add_row(&mut self, record: &Record<'_>, users: &mut Users) {
        for (number, field) in self.fields.0.iter().enumerate() {
            separate(&mut self.line, number);
            let value = (field.get)(record);
            add_value(&mut self.line, &mut self.value, &value, users);
        }
        self.line.push_str("\r\n");
    }
}

fn separate(line: &mut String, number: usize) {
    if number > 0 {
        line.push(',');
    }
}

/// Appends a value as a cell; `scratch` holds its text meanwhile.
pub(super) fn add_value(
    line: &mut String,
    scratch: &mut String,
    value: &Value<'_>,
    users: &mut Users,
) {
    scratch.clear();
    write_text(scratch, value, users);
    add_cell(line, scratch, is_text(value));
}

/// Whether a spreadsheet could take the value for a formula; our own numbers and words are none.
const fn is_text(value: &Value<'_>) -> bool {
    matches!(
        value,
        Value::User(_)
            | Value::Foreign(_)
            | Value::List(_)
            | Value::Prose(_)
            | Value::Proses(_)
            | Value::Made(_)
    )
}

/// A text that would begin a formula begins with an apostrophe instead, which makes it text to a
/// spreadsheet; so does one that begins with an apostrophe, so that the first can be taken away
/// without doubt. Fields with a semicolon are quoted too, since some take it for the comma.
fn add_cell(line: &mut String, value: &str, text: bool) {
    const FORMULA: [char; 9] = [
        '=', '+', '-', '@', '\u{ff1d}', '\u{ff0b}', '\u{ff0d}', '\u{ff20}', '\'',
    ];
    let guarded = text && value.starts_with(FORMULA);
    let quoted = value.contains(['"', ',', ';', '\r', '\n']);
    if quoted {
        line.push('"');
    }
    if guarded {
        line.push('\'');
    }
    for character in value.chars() {
        if character == '"' {
            line.push('"');
        }
        line.push(character);
    }
    if quoted {
        line.push('"');
    }
}

#[cfg(test)]
mod tests;
