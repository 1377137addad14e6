//! `--summary` and `--group-by`: how many attempts of each kind, in place of the attempts.
//!
//! The key of a group is the text that is printed of it, so that two groups never look the same.

mod groups;
mod table;

use std::{
    io::{self, Write},
    time::{Duration, Instant},
};

use jiff::tz::TimeZone;

use self::{
    groups::{GROUPS, Group, Groups},
    table::Table,
};
use super::{
    csv,
    json::JsonPrinter,
    value::{Rfc3339, write_json, write_text},
};
use crate::{
    config::{Counted, Form},
    event::Event,
    fields::{List, Record},
    users::Users,
};

/// Between two drawings of a table that somebody watches.
const PAUSE: Duration = Duration::from_secs(1);

/// How the table looks, and where.
#[derive(Clone, Debug)]
pub(super) struct Look {
    pub(super) colour: bool,
    pub(super) header: bool,
    /// Columns and rows of the terminal; `None` where there is none
    pub(super) terminal: Option<(u16, u16)>,
    pub(super) timezone: TimeZone,
}

/// Counts attempts, and prints the counts when all is over; on a terminal also on the way there.
#[derive(Debug)]
pub struct TallyPrinter {
    counted: Counted,
    look: Look,
    groups: Groups,
    /// Attempts that are in no group
    lost: u64,
    live: Option<Live>,
    /// Used again for every event.
    key: String,
    value: String,
}

/// A table on a terminal, drawn over itself.
#[derive(Debug, Default)]
struct Live {
    /// Lines of it above the cursor
    drawn: usize,
    last: Option<Instant>,
    /// When to draw again; `None` while nothing has changed
    due: Option<Instant>,
}

impl TallyPrinter {
    pub(super) fn new(counted: Counted, look: Look) -> Self {
        let live = look.terminal.is_some() && counted.form == Form::Table;
        Self {
            counted,
            look,
            groups: Groups::default(),
            lost: 0,
            live: live.then(Live::default),
            key: String::new(),
            value: String::new(),
        }
    }

    /// JSON has the lines of the stream about itself, as they come.
    pub(super) fn print(
        &mut self,
        out: &mut Vec<u8>,
        seq: u64,
        event: &Event,
        users: &mut Users,
    ) -> io::Result<()> {
        match event {
            Event::Attempt(_) => self.count(&Record::new(seq, event), users)?,
            Event::Outcome(_) => self.count_end(&Record::new(seq, event), users)?,
            Event::Lost(lost) => self.lost += lost.count,
            Event::Start(_) | Event::Pending(_) | Event::Degraded(_) | Event::Summary(_) => {}
        }
        if let Some(live) = self.live.as_mut().filter(|live| live.due.is_none())
            && matches!(
                event,
                Event::Attempt(_) | Event::Outcome(_) | Event::Lost(_)
            )
        {
            let now = Instant::now();
            live.due = Some(live.last.map_or(now, |last| now.max(last + PAUSE)));
        }
        match event {
            Event::Attempt(_) | Event::Pending(_) | Event::Outcome(_) => Ok(()),
            _ if self.counted.form == Form::Json => {
                JsonPrinter::default().print(out, seq, event, users)
            }
            _ => Ok(()),
        }
    }

    fn count(&mut self, record: &Record<'_>, users: &mut Users) -> io::Result<()> {
        self.set_key(record, users)?;
        self.groups.add(&self.key, record);
        Ok(())
    }

    /// An attempt that was pending is counted once: under how it ended.
    fn count_end(&mut self, record: &Record<'_>, users: &mut Users) -> io::Result<()> {
        let before = record.before_end();
        self.set_key(&before, users)?;
        self.groups.take_back(&self.key, &before);
        self.count(record, users)
    }

    fn set_key(&mut self, record: &Record<'_>, users: &mut Users) -> io::Result<()> {
        self.key.clear();
        let Counted {
            by: List(fields),
            form,
        } = &self.counted;
        for (number, field) in fields.iter().enumerate() {
            let value = (field.get)(record);
            match form {
                // No value has a tab: it would be escaped.
                Form::Table => {
                    separate(&mut self.key, number, '\t');
                    write_text(&mut self.key, &value, users);
                }
                Form::Csv => {
                    separate(&mut self.key, number, ',');
                    csv::add_value(&mut self.key, &mut self.value, &value, users);
                }
                Form::Json => {
                    separate(&mut self.key, number, ',');
                    let mut key = Utf8(&mut self.key);
                    write!(key, "\"{}\":", field.name)?;
                    write_json(&mut key, &value, users)?;
                }
            }
        }
        Ok(())
    }

    /// Whether the event needs no message: JSON has a line of it, a table that somebody watches
    /// a note.
    pub(super) const fn tells(&self, event: &Event) -> bool {
        matches!(self.counted.form, Form::Json)
            || (self.live.is_some() && matches!(event, Event::Lost(_)))
    }

    /// Something else was written below the table: the next one begins anew.
    pub(super) fn interrupt(&mut self) {
        if let Some(live) = &mut self.live {
            live.drawn = 0;
        }
    }

    pub(super) fn resize(&mut self, terminal: Option<(u16, u16)>) {
        self.look.terminal = terminal;
        // Lines that were wrapped anew are not to be counted on.
        self.interrupt();
    }

    /// When the table is to be drawn again.
    pub(super) fn due(&self) -> Option<Instant> {
        self.live.as_ref()?.due
    }

    /// Draws the table over the last one, as much of it as the terminal has room for.
    pub(super) fn draw(&mut self, out: &mut Vec<u8>) -> io::Result<()> {
        let rows = self.look.terminal.map(|(_, rows)| rows);
        let text = self.table(rows)?;
        let Some(live) = &mut self.live else {
            return Ok(());
        };
        rewind(out, live.drawn)?;
        live.drawn = text.lines().count();
        live.last = Some(Instant::now());
        live.due = None;
        out.write_all(text.as_bytes())
    }

    /// Everything, when all is over.
    pub(super) fn finish(&mut self, out: &mut Vec<u8>) -> io::Result<()> {
        match self.counted.form {
            Form::Table => {
                if let Some(live) = self.live.take() {
                    rewind(out, live.drawn)?;
                }
                out.write_all(self.table(None)?.as_bytes())
            }
            Form::Csv => self.write_csv(out),
            Form::Json => self.write_json(out),
        }
    }

    fn table(&self, rows: Option<u16>) -> io::Result<String> {
        let table = Table {
            fields: &self.counted.by,
            look: &self.look,
            lost: self.lost,
        };
        table
            .render(&self.groups, rows.map(usize::from))
            .map_err(io::Error::other)
    }

    fn write_csv(&self, out: &mut Vec<u8>) -> io::Result<()> {
        let List(fields) = &self.counted.by;
        if self.look.header {
            out.write_all(b"count,failed")?;
            for field in fields {
                write!(out, ",{}", field.name)?;
            }
            out.write_all(b",last_errno,last_cause,first,last\r\n")?;
        }
        let others = format!("(other){}", ",".repeat(fields.len().saturating_sub(1)));
        for (key, group) in self.groups.sorted() {
            write!(out, "{},{},", group.count, group.failed)?;
            write!(out, "{},", key.unwrap_or(&others))?;
            if let Some(errno) = group.errno {
                write!(out, "{errno}")?;
            }
            let cause = group.cause.map_or("", |cause| cause.name());
            let (first, last) = (Rfc3339(group.first), Rfc3339(group.last));
            write!(out, ",{cause},{first},{last}\r\n")?;
        }
        Ok(())
    }

    fn write_json(&self, out: &mut Vec<u8>) -> io::Result<()> {
        for (key, group) in self.groups.sorted() {
            out.write_all(br#"{"v":1,"kind":"group","#)?;
            write!(out, r#""count":{},"failed":{},"#, group.count, group.failed)?;
            match key {
                Some(key) => write!(out, r#""by":{{{key}}},"#)?,
                None => out.write_all(br#""by":null,"#)?,
            }
            write_json_end(out, group)?;
        }
        Ok(())
    }
}

fn write_json_end(out: &mut Vec<u8>, group: &Group) -> io::Result<()> {
    match group.errno {
        Some(errno) => write!(out, r#""last_errno":"{errno}","#)?,
        None => out.write_all(br#""last_errno":null,"#)?,
    }
    match group.cause {
        Some(cause) => write!(out, r#""last_cause":"{}","#, cause.name())?,
        None => out.write_all(br#""last_cause":null,"#)?,
    }
    let (first, last) = (Rfc3339(group.first), Rfc3339(group.last));
    writeln!(out, r#""first":"{first}","last":"{last}"}}"#)
}

fn separate(key: &mut String, number: usize, separator: char) {
    if number > 0 {
        key.push(separator);
    }
}

/// Takes text that is written whole characters at a time.
struct Utf8<'a>(&'a mut String);

impl Write for Utf8<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let text = std::str::from_utf8(bytes).map_err(io::Error::other)?;
        self.0.push_str(text);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// To the beginning of what was drawn, and clears from there (ECMA-48: CUU, ED).
fn rewind(out: &mut Vec<u8>, lines: usize) -> io::Result<()> {
    match lines {
        0 => Ok(()),
        lines => write!(out, "\r\x1b[{lines}A\x1b[J"),
    }
}

#[cfg(test)]
mod tests;
