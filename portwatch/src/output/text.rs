//! Text for people: one line an attempt, in columns.
//!
//! The columns come in order of what the eye looks for, those of fixed width first; the result is
//! last, since it may run to the edge. Nothing that matters is cut: a long value pushes its own
//! line, and a narrow terminal drops whole parts, the least important first (`layout`).

mod cause;
mod clock;
mod layout;
mod message;
mod row;

use std::{fmt::Write as _, io};

use anstyle::{AnsiColor, Style};
use jiff::tz::TimeZone;

pub use self::cause::{Detail, wrap};
pub use self::message::{
    degraded_message, loss_message, start_message, summary_message, unended_message,
};
use self::{
    cause::Page,
    layout::{Column, Layout, Seen},
    message::loss_parts,
    row::Row,
};
pub(crate) use self::{clock::Clock, row::write_proto};
use crate::{
    event::{Attempt, Cause, Code, Event, Lost, OutcomeOf},
    users::Users,
};

/// How text is to look.
#[derive(Clone, Debug)]
pub struct TextOptions {
    pub colour: bool,
    /// Columns of the terminal; `None` where there is none
    pub width: Option<u16>,
    pub header: bool,
    /// How much is said of causes
    pub detail: Detail,
    /// Times are shown in it
    pub timezone: TimeZone,
}

/// Prints events as text.
#[derive(Debug)]
pub struct TextPrinter {
    colour: bool,
    terminal: Option<usize>,
    header: bool,
    detail: Detail,
    clock: Clock,
    layout: Layout,
    /// The layout that the last header showed
    titled: Option<Layout>,
    seen: Seen,
    /// Both are used again for every event, so that none allocates.
    row: Row,
    lines: String,
}

impl TextPrinter {
    pub fn new(options: TextOptions) -> Self {
        let TextOptions {
            colour,
            width,
            header,
            detail,
            timezone,
        } = options;
        let terminal = columns(width);
        Self {
            colour,
            terminal,
            header,
            detail,
            clock: Clock::new(timezone),
            layout: Layout::fit(terminal, Seen::default()),
            titled: None,
            seen: Seen::default(),
            row: Row::default(),
            lines: String::new(),
        }
    }

    /// Takes a new width of the terminal (`SIGWINCH`). What comes next is laid out in it, under a
    /// header of its own if its columns are others.
    pub fn resize(&mut self, width: Option<u16>) {
        self.terminal = columns(width);
        self.layout = Layout::fit(self.terminal, self.seen);
    }

    /// Writes what `event` has to say, whole lines in one piece.
    ///
    /// The sequence number is for formats that programs read. Start and end have messages of
    /// their own, [`start_message`] and [`summary_message`], since they are no data.
    pub fn print<W: io::Write>(
        &mut self,
        out: &mut W,
        _seq: u64,
        event: &Event,
        users: &mut Users,
    ) -> io::Result<()> {
        self.lines.clear();
        self.add_event(event, users).map_err(io::Error::other)?;
        if self.lines.is_empty() {
            Ok(())
        } else {
            out.write_all(self.lines.as_bytes())
        }
    }

    fn add_event(&mut self, event: &Event, users: &mut Users) -> std::fmt::Result {
        match event {
            Event::Start(_) => self.add_header(),
            Event::Attempt(attempt) => self.add_attempt(attempt, users),
            Event::Pending(pending) => self.add_attempt(&pending.attempt, users),
            Event::Outcome(outcome) => self.add_outcome(outcome, users),
            Event::Lost(lost) => self.add_lost(lost),
            Event::Degraded(_) | Event::Summary(_) => Ok(()),
        }
    }

    /// The names of the columns, where the last header did not show them at these places.
    fn add_header(&mut self) -> std::fmt::Result {
        if !self.header || self.titled == Some(self.layout) {
            return Ok(());
        }
        let titles = Row::titles()?;
        self.layout
            .write(&mut self.lines, &titles, self.terminal, self.colour)?;
        self.titled = Some(self.layout);
        self.lines.write_char('\n')
    }

    /// The line of an attempt, and below it why it ended so.
    fn add_attempt(&mut self, attempt: &Attempt, users: &mut Users) -> std::fmt::Result {
        self.row
            .set_attempt(attempt, &mut self.clock, self.layout.has_millis(), users)?;
        self.add_row()?;
        let cause = attempt.cause.as_deref();
        // The line says so already.
        self.add_cause(
            cause.filter(|cause| cause.code != Code::ConnectInProgress),
            users,
        )
    }

    fn add_cause(&mut self, cause: Option<&Cause>, users: &mut Users) -> std::fmt::Result {
        let Some(cause) = cause else {
            return Ok(());
        };
        let mut page = Page {
            text: &mut self.lines,
            terminal: self.terminal,
            colour: self.colour,
        };
        page.add_cause(cause, self.detail, users)
    }

    /// The line of a connect that was pending: its attempt's, with how it ended. Where the attempt
    /// has a line already, this one has the time of the end, and says how long it took.
    fn add_outcome(&mut self, outcome: &OutcomeOf, users: &mut Users) -> std::fmt::Result {
        let OutcomeOf {
            seq: _,
            attempt,
            ended,
            lasted,
            cause,
        } = outcome;
        let has_line = *lasted || !attempt.is_followed();
        let time = if has_line { ended.time } else { attempt.time };
        let millis = self.layout.has_millis();
        self.row
            .set_call(attempt, time, &mut self.clock, millis, users)?;
        self.row.set_end(attempt, ended.end)?;
        if has_line {
            self.row.add_latency(ended.latency)?;
        }
        self.add_row()?;
        self.add_cause(cause.as_deref(), users)
    }

    fn add_row(&mut self) -> std::fmt::Result {
        self.widen();
        self.add_header()?;
        self.layout
            .write(&mut self.lines, &self.row, self.terminal, self.colour)?;
        self.lines.write_char('\n')
    }

    /// Widens columns that are too narrow for the row, where there is room to spare. They stay
    /// wide: what was seen once comes again.
    fn widen(&mut self) {
        let user = self.row.column(Column::User).width;
        let address = self.row.column(Column::Address).width;
        if user > self.seen.user || address > self.seen.address {
            self.seen.user = self.seen.user.max(user);
            self.seen.address = self.seen.address.max(address);
            self.layout = Layout::fit(self.terminal, self.seen);
        }
    }

    fn add_lost(&mut self, lost: &Lost) -> std::fmt::Result {
        const STYLE: Style = AnsiColor::Yellow.on_default().bold();
        self.add_header()?;
        let (what, aside) = loss_parts(lost);
        let style = if self.colour { STYLE } else { Style::new() };
        write!(self.lines, "{style}-- {what}")?;
        let width = "-- ".len() + what.len() + aside.len();
        if self.terminal.is_none_or(|terminal| width <= terminal) {
            self.lines.write_str(aside)?;
        }
        writeln!(self.lines, "{style:#}")
    }
}

/// A cause by itself: the lines that stand below an attempt.
pub fn cause_lines(
    cause: &Cause,
    detail: Detail,
    width: Option<u16>,
    colour: bool,
    users: &mut Users,
) -> String {
    let mut text = String::new();
    let mut page = Page {
        text: &mut text,
        terminal: columns(width),
        colour,
    };
    page.add_cause(cause, detail, users)
        .expect("writing to a string cannot fail");
    text
}

/// Some terminals (serial lines, containers) say that they are 0 columns wide: they do not know.
fn columns(width: Option<u16>) -> Option<usize> {
    const UNKNOWN: usize = 80;
    width.map(|width| {
        if width == 0 {
            UNKNOWN
        } else {
            usize::from(width)
        }
    })
}

#[cfg(test)]
mod tests;
