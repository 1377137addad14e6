//! What portwatch prints: one printer per format, all of the same events.

mod columns;
mod csv;
mod digits;
mod ecs;
pub mod frame;
mod journald;
pub mod json;
mod logfmt;
mod memo;
mod ocsf;
mod otel;
#[cfg(test)]
pub(crate) mod sample;
pub mod sanitize;
mod sentence;
mod standard;
mod syslog;
mod tally;
mod template;
pub mod text;
mod value;

use std::{
    io::{self, IsTerminal, Write},
    time::{Duration, Instant},
};

use jiff::tz::TimeZone;

use self::{
    columns::ColumnsPrinter,
    csv::CsvPrinter,
    journald::JournaldPrinter,
    json::JsonPrinter,
    logfmt::LogfmtPrinter,
    syslog::SyslogPrinter,
    tally::{Look, TallyPrinter},
    template::TemplatePrinter,
    text::{Detail, TextOptions, TextPrinter},
};
use crate::{
    cli::Explain,
    config::{Config, Format, Output, Target},
    event::Event,
    users::Users,
};

/// A format, with what it remembers from line to line.
#[derive(Debug)]
pub enum Printer {
    Text(Box<TextPrinter>),
    Columns(ColumnsPrinter),
    Template(TemplatePrinter),
    Tally(Box<TallyPrinter>),
    Json(Box<JsonPrinter>),
    Logfmt(LogfmtPrinter),
    Csv(CsvPrinter),
    Ecs,
    Ocsf,
    Otel,
    Journald(JournaldPrinter),
    Syslog(SyslogPrinter),
}

impl Printer {
    fn new(output: &Output, config: &Config) -> Self {
        match &output.format {
            Format::Text => Self::Text(Box::new(TextPrinter::new(text_options(
                &output.target,
                config,
            )))),
            Format::Columns(fields) => {
                Self::Columns(ColumnsPrinter::new(fields.clone(), config.header))
            }
            Format::Template(template) => Self::Template(TemplatePrinter::new(template.clone())),
            Format::Tally(counted) => {
                let look = tally_look(&output.target, config);
                Self::Tally(Box::new(TallyPrinter::new(counted.clone(), look)))
            }
            Format::Json => Self::Json(Box::default()),
            Format::Logfmt(fields) => Self::Logfmt(LogfmtPrinter::new(fields.clone())),
            Format::Csv(fields) => Self::Csv(CsvPrinter::new(fields.clone(), config.header)),
            Format::Ecs => Self::Ecs,
            Format::Ocsf => Self::Ocsf,
            Format::Otel => Self::Otel,
            Format::Journald => Self::Journald(JournaldPrinter::new()),
            Format::Syslog => {
                let host = rustix::system::uname();
                let host = host.nodename().to_string_lossy();
                Self::Syslog(SyslogPrinter::new(&host, std::process::id()))
            }
        }
    }

    /// Appends the event to `out`, in whole lines or messages. Not inlined: of all formats at once,
    /// what each takes from the event would be looked up for every line.
    #[inline(never)]
    fn print(
        &mut self,
        out: &mut Vec<u8>,
        seq: u64,
        event: &Event,
        users: &mut Users,
    ) -> io::Result<()> {
        let is_for_others = match event {
            Event::Attempt(attempt) => attempt.is_followed() && self.waits_for_ends(),
            Event::Pending(_) => !self.waits_for_ends(),
            _ => false,
        };
        if is_for_others {
            return Ok(());
        }
        match self {
            Self::Text(printer) => printer.print(out, seq, event, users),
            Self::Columns(printer) => printer.print(out, seq, event, users),
            Self::Template(printer) => printer.print(out, seq, event, users),
            Self::Tally(printer) => printer.print(out, seq, event, users),
            Self::Json(printer) => printer.print(out, seq, event, users),
            Self::Logfmt(printer) => printer.print(out, seq, event, users),
            Self::Csv(printer) => printer.print(out, seq, event, users),
            Self::Ecs => ecs::print(out, seq, event, users),
            Self::Ocsf => ocsf::print(out, seq, event, users),
            Self::Otel => otel::print(out, seq, event, users),
            Self::Journald(printer) => {
                printer.print(out, seq, event, users);
                Ok(())
            }
            Self::Syslog(printer) => {
                printer.print(out, seq, event, users);
                Ok(())
            }
        }
    }

    /// Whether it has one line for a connect, which says how it ended. The others have one for the
    /// attempt and one for its outcome.
    const fn waits_for_ends(&self) -> bool {
        matches!(self, Self::Text(_) | Self::Columns(_))
    }

    /// What the format itself does not tell of an event, for people on standard error.
    fn message(&self, event: &Event) -> Option<String> {
        let told = match self {
            Self::Json(_)
            | Self::Logfmt(_)
            | Self::Ecs
            | Self::Ocsf
            | Self::Otel
            | Self::Journald(_)
            | Self::Syslog(_) => true,
            Self::Text(_) | Self::Columns(_) => matches!(event, Event::Lost(_)),
            Self::Csv(printer) => matches!(event, Event::Lost(_)) && printer.tells_losses(),
            Self::Template(_) => false,
            Self::Tally(printer) => printer.tells(event),
        };
        match event {
            _ if told => None,
            Event::Start(start) => Some(text::start_message(start)),
            Event::Summary(summary) => Some(text::summary_message(summary)),
            Event::Degraded(degraded) => Some(text::degraded_message(degraded)),
            Event::Lost(lost) => Some(format!("portwatch: {}", text::loss_message(lost))),
            Event::Attempt(_) | Event::Pending(_) | Event::Outcome(_) => None,
        }
    }
}

/// A printer for each output, in their order.
#[derive(Debug)]
pub struct Printers {
    all: Vec<Printer>,
    /// Of the first
    target: Option<Target>,
    quiet: bool,
    brief: Option<&'static str>,
    /// To be said when all is written: it would stand in the middle of a table
    parting: String,
}

impl Printers {
    pub fn new(config: &Config) -> Self {
        let outputs = config.outputs.iter();
        Self {
            all: outputs.map(|output| Printer::new(output, config)).collect(),
            target: config.outputs.first().map(|first| first.target.clone()),
            quiet: config.quiet,
            brief: config.brief.filter(|_| config.verbosity == 0),
            parting: String::new(),
        }
    }

    /// Appends the event to the lines of each output. What the first of them, which is the one
    /// that somebody looks at, does not tell goes to standard error.
    pub fn print(
        &mut self,
        lines: &mut [Vec<u8>],
        seq: u64,
        event: &Event,
        users: &mut Users,
    ) -> io::Result<()> {
        self.say(event);
        for (printer, lines) in self.all.iter_mut().zip(lines) {
            printer.print(lines, seq, event, users)?;
        }
        Ok(())
    }

    /// The terminal has another size.
    pub fn resize(&mut self) {
        let size = self.target.as_ref().and_then(size_of);
        match self.all.first_mut() {
            Some(Printer::Text(printer)) => printer.resize(size.map(|(columns, _)| columns)),
            Some(Printer::Tally(printer)) => printer.resize(size),
            _ => {}
        }
    }

    /// When [`Self::draw`] is due; only ever where somebody watches counts.
    pub fn due(&self) -> Option<Instant> {
        match self.all.first() {
            Some(Printer::Tally(printer)) => printer.due(),
            _ => None,
        }
    }

    /// Draws the counts anew.
    pub fn draw(&mut self, lines: &mut [Vec<u8>]) -> io::Result<()> {
        match (self.all.first_mut(), lines.first_mut()) {
            (Some(Printer::Tally(printer)), Some(lines)) => printer.draw(lines),
            _ => Ok(()),
        }
    }

    /// Appends what is written only when all is over.
    pub fn finish(&mut self, lines: &mut [Vec<u8>]) -> io::Result<()> {
        match (self.all.first_mut(), lines.first_mut()) {
            (Some(Printer::Tally(printer)), Some(lines)) => printer.finish(lines),
            _ => Ok(()),
        }
    }

    /// Says what had to wait until everything was written.
    pub fn part(&self) {
        drop(io::stderr().write_all(self.parting.as_bytes()));
    }

    /// Where nothing but errors is to be said, losses still are. Nobody may be there to read it.
    fn say(&mut self, event: &Event) {
        if self.quiet && !matches!(event, Event::Lost(_)) {
            return;
        }
        let Some(first) = self.all.first_mut() else {
            return;
        };
        let message = match (first.message(event), self.brief) {
            (Some(message), Some(nothing)) => brief(event, message, nothing),
            (message, _) => message,
        };
        let Some(message) = message else { return };
        match first {
            Printer::Tally(_) if matches!(event, Event::Summary(_)) => {
                self.parting += &message;
                return;
            }
            Printer::Tally(printer) => printer.interrupt(),
            _ => {}
        }
        drop(writeln!(io::stderr(), "{}", message.trim_end()));
    }
}

/// What is said of a command: who reads it wants the command's account, not portwatch's.
fn brief(event: &Event, message: String, nothing: &str) -> Option<String> {
    match event {
        // With what means, and no more.
        Event::Start(_) => message.lines().next().map(ToOwned::to_owned),
        Event::Summary(summary) if summary.lost.is_empty() => {
            let unended = text::unended_message(summary.unended);
            if summary.attempts.is_empty() {
                Some(format!("portwatch: {nothing}\n{unended}"))
            } else {
                let unended = unended.trim();
                (!unended.is_empty()).then(|| format!("portwatch: {unended}"))
            }
        }
        _ => Some(message),
    }
}

/// A file has no width, and no use for colours.
fn text_options(target: &Target, config: &Config) -> TextOptions {
    let terminal = matches!(target, Target::Stdout | Target::Stderr);
    TextOptions {
        colour: terminal && config.colour,
        width: size_of(target).map(|(columns, _)| columns),
        header: config.header,
        detail: match config.explain {
            Some(Explain::Full) => Detail::Full,
            Some(Explain::Short) | None => Detail::Short,
        },
        timezone: TimeZone::system(),
    }
}

/// Counts that grow are drawn on standard output alone: on standard error a command may write too.
fn tally_look(target: &Target, config: &Config) -> Look {
    Look {
        colour: config.colour,
        header: config.header,
        terminal: size_of(target).filter(|_| *target == Target::Stdout),
        timezone: TimeZone::system(),
    }
}

/// How long somebody at a terminal waits before a line says what is going on.
pub const PATIENCE: Duration = Duration::from_millis(500);

/// Columns of the terminal that standard output is; `None` where it is none.
pub fn terminal_width() -> Option<u16> {
    size_of(&Target::Stdout).map(|(columns, _)| columns)
}

/// Columns and rows of the terminal that a target is; `None` where it is none.
fn size_of(target: &Target) -> Option<(u16, u16)> {
    match target {
        Target::Stdout => size_of_terminal(io::stdout()),
        Target::Stderr => size_of_terminal(io::stderr()),
        Target::File(_) | Target::Journald(_) | Target::Syslog(_) => None,
    }
}

fn size_of_terminal(stream: impl IsTerminal + std::os::fd::AsFd) -> Option<(u16, u16)> {
    if !stream.is_terminal() {
        return None;
    }
    rustix::termios::tcgetwinsize(stream)
        .ok()
        .map(|size| (size.ws_col, size.ws_row))
}

#[cfg(test)]
mod tests;
