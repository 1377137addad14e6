//! What portwatch prints: one printer per format, all of the same events.

pub mod json;
pub mod sanitize;
pub mod text;

use std::io::{self, IsTerminal as _, Write};

use jiff::tz::TimeZone;

use self::text::{Detail, TextOptions, TextPrinter};
use crate::{
    cli::{Explain, Format},
    config::Config,
    event::Event,
    users::Users,
};

/// A format, with what it remembers from line to line.
#[derive(Debug)]
pub enum Printer {
    Text {
        printer: Box<TextPrinter>,
        /// Messages on standard error are wanted too
        messages: bool,
    },
    Json,
}

impl Printer {
    pub fn new(config: &Config) -> Self {
        match config.format {
            Format::Json => Self::Json,
            Format::Text => Self::Text {
                printer: Box::new(TextPrinter::new(TextOptions {
                    colour: config.colour,
                    width: terminal_width(),
                    header: config.header,
                    detail: match config.explain {
                        Some(Explain::Full) => Detail::Full,
                        Some(Explain::Short) | None => Detail::Short,
                    },
                    timezone: TimeZone::system(),
                })),
                messages: !config.quiet,
            },
        }
    }

    /// Appends the event to `out`; what is for people only goes to standard error at once.
    pub fn print<W: Write>(
        &mut self,
        out: &mut W,
        seq: u64,
        event: &Event,
        users: &mut Users,
    ) -> io::Result<()> {
        match self {
            Self::Json => json::print(out, seq, event, users),
            Self::Text { printer, messages } => {
                if *messages {
                    say(event);
                }
                printer.print(out, seq, event, users)
            }
        }
    }

    pub fn resize(&mut self, width: Option<u16>) {
        match self {
            Self::Json => {}
            Self::Text { printer, .. } => printer.resize(width),
        }
    }
}

/// What the text format says beside the columns. Nobody may be there to read it.
fn say(event: &Event) {
    let message = match event {
        Event::Start(start) => text::start_message(start),
        Event::Summary(summary) => text::summary_message(summary),
        Event::Degraded(degraded) => text::degraded_message(degraded),
        Event::Attempt(_) | Event::Outcome(_) | Event::Lost(_) => return,
    };
    drop(writeln!(io::stderr(), "{}", message.trim_end()));
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
