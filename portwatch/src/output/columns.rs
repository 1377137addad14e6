//! `-o wide` and `--fields`: one line an event, in columns of one field each.
//!
//! Unlike text for people, a line has the same columns whatever the terminal, and values as
//! docs/EVENTS.md has them.

use std::io::{self, Write};

use unicode_width::UnicodeWidthStr as _;

use super::{text::loss_message, value::write_text};
use crate::{
    event::Event,
    fields::{List, Record},
    users::Users,
};

/// Prints events in columns.
#[derive(Debug)]
pub struct ColumnsPrinter {
    fields: List,
    header: bool,
    /// Both are used again for every event.
    line: String,
    value: String,
}

impl ColumnsPrinter {
    pub const fn new(fields: List, header: bool) -> Self {
        Self {
            fields,
            header,
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
        self.line.clear();
        match event {
            Event::Start(_) => self.add_header(),
            Event::Attempt(_) | Event::Pending(_) | Event::Outcome(_) => {
                self.add_row(&Record::new(seq, event), users);
            }
            Event::Lost(lost) => {
                self.line.push_str("-- ");
                self.line.push_str(&loss_message(lost));
                self.line.push('\n');
            }
            Event::Degraded(_) | Event::Summary(_) => {}
        }
        out.write_all(self.line.as_bytes())
    }

    fn add_header(&mut self) {
        if !self.header {
            return;
        }
        let mut stop = 0;
        for field in &self.fields.0 {
            add_cell(&mut self.line, &field.name.to_uppercase(), stop);
            stop += field.width.max(field.name.len()) + 1;
        }
        self.line.push('\n');
    }

    fn add_row(&mut self, record: &Record<'_>, users: &mut Users) {
        let mut stop = 0;
        for field in &self.fields.0 {
            self.value.clear();
            if !write_text(&mut self.value, &(field.get)(record), users) || self.value.is_empty() {
                self.value.push('-');
            }
            add_cell(&mut self.line, &self.value, stop);
            stop += field.width.max(field.name.len()) + 1;
        }
        self.line.push('\n');
    }
}

/// At column `stop`, or a space after what is already there: a long value moves its own line only.
fn add_cell(line: &mut String, value: &str, stop: usize) {
    let reached = line.width();
    let gap = usize::from(reached > 0);
    let start = stop.max(reached + gap);
    line.extend(std::iter::repeat_n(' ', start - reached));
    line.push_str(value);
}

#[cfg(test)]
mod tests;
