//! `--format`: a line as the user has laid it out.

use std::io::{self, Write};

use super::value::write_text;
use crate::{
    event::Event,
    fields::{Piece, Record, Template},
    users::Users,
};

/// Prints attempts and outcomes by a template.
#[derive(Debug)]
pub struct TemplatePrinter {
    template: Template,
    /// Used again for every event
    line: String,
}

impl TemplatePrinter {
    pub const fn new(template: Template) -> Self {
        Self {
            template,
            line: String::new(),
        }
    }

    pub fn print<W: Write>(
        &mut self,
        out: &mut W,
        seq: u64,
        event: &Event,
        users: &mut Users,
    ) -> io::Result<()> {
        if !matches!(
            event,
            Event::Attempt(_) | Event::Pending(_) | Event::Outcome(_)
        ) {
            return Ok(());
        }
        let record = Record::new(seq, event);
        self.line.clear();
        for piece in &self.template.0 {
            match piece {
                Piece::Literal(text) => self.line.push_str(text),
                Piece::Field(field) => {
                    if !write_text(&mut self.line, &(field.get)(&record), users) {
                        self.line.push('-');
                    }
                }
            }
        }
        self.line.push('\n');
        out.write_all(self.line.as_bytes())
    }
}

#[cfg(test)]
mod tests;
