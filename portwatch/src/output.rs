//! What portwatch prints: one printer per format, all of the same events.

mod columns;
mod csv;
mod ecs;
pub mod frame;
mod journald;
pub mod json;
mod logfmt;
mod ocsf;
mod otel;
#[cfg(test)]
mod sample;
pub mod sanitize;
mod sentence;
mod standard;
mod syslog;
mod tally;
mod template;
pub mod text;
mod value;

use std::{
    io::{self, IsTerminal as _, Write},
    time::Instant,
};

use jiff::tz::TimeZone;

use self::{
    columns::ColumnsPrinter,
    csv::CsvPrinter,
    journald::JournaldPrinter,
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
    Json,
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
                let look = tally_look(config);
                Self::Tally(Box::new(TallyPrinter::new(counted.clone(), look)))
            }
            Format::Json => Self::Json,
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

    /// Appends the event to `out`, in whole lines or messages.
    fn print(
        &mut self,
        out: &mut Vec<u8>,
        seq: u64,
        event: &Event,
        users: &mut Users,
    ) -> io::Result<()> {
        match self {
            Self::Text(printer) => printer.print(out, seq, event, users),
            Self::Columns(printer) => printer.print(out, seq, event, users),
            Self::Template(printer) => printer.print(out, seq, event, users),
            Self::Tally(printer) => printer.print(out, seq, event, users),
            Self::Json => json::print(out, seq, event, users),
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

    /// What the format itself does not tell of an event, for people on standard error.
    fn message(&self, event: &Event) -> Option<String> {
        let told = match self {
            Self::Json
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
            Event::Attempt(_) | Event::Outcome(_) => None,
        }
    }
}

/// A printer for each output, in their order.
#[derive(Debug)]
pub struct Printers {
    all: Vec<Printer>,
    quiet: bool,
    /// To be said when all is written: it would stand in the middle of a table
    parting: String,
}

impl Printers {
    pub fn new(config: &Config) -> Self {
        let outputs = config.outputs.iter();
        Self {
            all: outputs.map(|output| Printer::new(output, config)).collect(),
            quiet: config.quiet,
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
        match self.all.first_mut() {
            Some(Printer::Text(printer)) => printer.resize(terminal_width()),
            Some(Printer::Tally(printer)) => printer.resize(terminal_size()),
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
        let Some(message) = first.message(event) else {
            return;
        };
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

/// A file has no width, and no use for colours.
fn text_options(target: &Target, config: &Config) -> TextOptions {
    let stdout = *target == Target::Stdout;
    TextOptions {
        colour: stdout && config.colour,
        width: stdout.then(terminal_width).flatten(),
        header: config.header,
        detail: match config.explain {
            Some(Explain::Full) => Detail::Full,
            Some(Explain::Short) | None => Detail::Short,
        },
        timezone: TimeZone::system(),
    }
}

fn tally_look(config: &Config) -> Look {
    Look {
        colour: config.colour,
        header: config.header,
        terminal: terminal_size(),
        timezone: TimeZone::system(),
    }
}

/// Columns of the terminal that standard output is; `None` where it is none.
pub fn terminal_width() -> Option<u16> {
    terminal_size().map(|(columns, _)| columns)
}

/// The same, and its rows.
fn terminal_size() -> Option<(u16, u16)> {
    let stdout = io::stdout();
    if !stdout.is_terminal() {
        return None;
    }
    rustix::termios::tcgetwinsize(stdout)
        .ok()
        .map(|size| (size.ws_col, size.ws_row))
}
