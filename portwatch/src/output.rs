//! What portwatch prints: one printer per format, all of the same events.

mod columns;
mod csv;
mod ecs;
pub mod json;
mod logfmt;
mod ocsf;
mod otel;
#[cfg(test)]
mod sample;
pub mod sanitize;
mod sentence;
mod standard;
mod template;
pub mod text;
mod value;

use std::io::{self, IsTerminal as _, Write};

use jiff::tz::TimeZone;

use self::{
    columns::ColumnsPrinter,
    csv::CsvPrinter,
    logfmt::LogfmtPrinter,
    template::TemplatePrinter,
    text::{Detail, TextOptions, TextPrinter},
};
use crate::{
    cli::Explain,
    config::{Config, Format},
    event::Event,
    users::Users,
};

/// A format, with what it remembers from line to line.
#[derive(Debug)]
pub enum Printer {
    Text(Box<TextPrinter>),
    Columns(ColumnsPrinter),
    Template(TemplatePrinter),
    Json,
    Logfmt(LogfmtPrinter),
    Csv(CsvPrinter),
    Ecs,
    Ocsf,
    Otel,
}

impl Printer {
    pub fn new(config: &Config) -> Self {
        match &config.format {
            Format::Text => Self::Text(Box::new(TextPrinter::new(text_options(config)))),
            Format::Columns(fields) => {
                Self::Columns(ColumnsPrinter::new(fields.clone(), config.header))
            }
            Format::Template(template) => Self::Template(TemplatePrinter::new(template.clone())),
            Format::Json => Self::Json,
            Format::Logfmt(fields) => Self::Logfmt(LogfmtPrinter::new(fields.clone())),
            Format::Csv(fields) => Self::Csv(CsvPrinter::new(fields.clone(), config.header)),
            Format::Ecs => Self::Ecs,
            Format::Ocsf => Self::Ocsf,
            Format::Otel => Self::Otel,
        }
    }

    /// Appends the event to `out`, in whole lines.
    pub fn print<W: Write>(
        &mut self,
        out: &mut W,
        seq: u64,
        event: &Event,
        users: &mut Users,
    ) -> io::Result<()> {
        match self {
            Self::Text(printer) => printer.print(out, seq, event, users),
            Self::Columns(printer) => printer.print(out, seq, event, users),
            Self::Template(printer) => printer.print(out, seq, event, users),
            Self::Json => json::print(out, seq, event, users),
            Self::Logfmt(printer) => printer.print(out, seq, event, users),
            Self::Csv(printer) => printer.print(out, seq, event, users),
            Self::Ecs => ecs::print(out, seq, event, users),
            Self::Ocsf => ocsf::print(out, seq, event, users),
            Self::Otel => otel::print(out, seq, event, users),
        }
    }

    pub fn resize(&mut self, width: Option<u16>) {
        if let Self::Text(printer) = self {
            printer.resize(width);
        }
    }

    /// What the format itself does not tell of an event, for people on standard error.
    fn message(&self, event: &Event) -> Option<String> {
        let told = match self {
            Self::Json | Self::Logfmt(_) | Self::Ecs | Self::Ocsf | Self::Otel => true,
            Self::Text(_) | Self::Columns(_) => matches!(event, Event::Lost(_)),
            Self::Csv(printer) => matches!(event, Event::Lost(_)) && printer.tells_losses(),
            Self::Template(_) => false,
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

    /// Says on standard error what the format does not; where nothing but errors is to be said,
    /// losses still are. Nobody may be there to read it.
    pub fn say(&self, event: &Event, quiet: bool) {
        if quiet && !matches!(event, Event::Lost(_)) {
            return;
        }
        if let Some(message) = self.message(event) {
            drop(writeln!(io::stderr(), "{}", message.trim_end()));
        }
    }
}

fn text_options(config: &Config) -> TextOptions {
    TextOptions {
        colour: config.colour,
        width: terminal_width(),
        header: config.header,
        detail: match config.explain {
            Some(Explain::Full) => Detail::Full,
            Some(Explain::Short) | None => Detail::Short,
        },
        timezone: TimeZone::system(),
    }
}

/// Columns of the terminal that standard output is; `None` where it is none.
pub fn terminal_width() -> Option<u16> {
    let stdout = io::stdout();
    if !stdout.is_terminal() {
        return None;
    }
    rustix::termios::tcgetwinsize(stdout)
        .ok()
        .map(|size| size.ws_col)
}
