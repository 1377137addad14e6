//! Which columns a line has, how wide they are, and how a row is laid out in them.

use std::fmt::{self, Write};

use anstyle::Style;

use super::row::{Cell, Row};

/// The columns before the result, from left to right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Column {
    Time,
    Op,
    Proto,
    Pid,
    User,
    Comm,
    Address,
}

impl Column {
    pub(super) const ALL: [Self; 7] = [
        Self::Time,
        Self::Op,
        Self::Proto,
        Self::Pid,
        Self::User,
        Self::Comm,
        Self::Address,
    ];

    pub(super) const fn title(self) -> &'static str {
        match self {
            Self::Time => "TIME",
            Self::Op => "OP",
            Self::Proto => "PROTO",
            Self::Pid => "PID",
            Self::User => "USER",
            Self::Comm => "COMM",
            Self::Address => "ADDRESS",
        }
    }
}

/// The longest values that were seen in the columns that grow.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Seen {
    pub(super) user: usize,
    pub(super) address: usize,
}

/// Width of each column before the result; `None` where it is not shown.
///
/// A longer value is not cut: it pushes the rest of its line to the right, and the next column
/// that has room to spare takes the line back into alignment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Layout {
    widths: [Option<usize>; Column::ALL.len()],
}

/// What a narrow terminal gives up.
enum Sacrifice {
    Width(Column, usize),
    Column(Column),
    /// Room for the result
    Result(usize),
}

/// In this order: what is lost first matters least.
const SACRIFICES: [Sacrifice; 8] = [
    // Milliseconds
    Sacrifice::Width(Column::Time, TIME_SECONDS),
    // Long addresses and names push their line from here on
    Sacrifice::Width(Column::Address, 16),
    Sacrifice::Width(Column::Comm, 10),
    // The description of an error and the local address, where they do not fit; enough for
    // EADDRNOTAVAIL. Here are 80 columns.
    Sacrifice::Result(13),
    Sacrifice::Column(Column::User),
    Sacrifice::Column(Column::Time),
    // Here are 60 columns
    Sacrifice::Width(Column::Comm, 8),
    Sacrifice::Column(Column::Proto),
];

const TIME_MILLIS: usize = 12;
const TIME_SECONDS: usize = 8;
const USER: usize = 8;
/// `255.255.255.255:65535`
const ADDRESS: usize = 21;
/// `EADDRINUSE Address already in use`
const RESULT: usize = 33;

impl Layout {
    /// Op: `connect`. Proto: `icmp`; the few longer names and the title take from the pid's
    /// room. Pid: up to 4194304. Comm: the kernel's limit.
    const FULL: Self = Self {
        widths: [
            Some(TIME_MILLIS),
            Some(7),
            Some(4),
            Some(7),
            Some(USER),
            Some(15),
            Some(ADDRESS),
        ],
    };

    /// For a terminal that is so many columns wide, or for a file.
    pub(super) fn fit(terminal: Option<usize>, seen: Seen) -> Self {
        let mut layout = Self::FULL;
        let Some(terminal) = terminal else {
            // A file gets the same columns from its first line to its last.
            return layout;
        };
        let needed = layout.result_start() + RESULT;
        if let Some(spare) = terminal.checked_sub(needed) {
            layout.grow(spare, seen);
            return layout;
        }
        let mut result = RESULT;
        for sacrifice in SACRIFICES {
            match sacrifice {
                Sacrifice::Width(column, width) => layout.widths[column as usize] = Some(width),
                Sacrifice::Column(column) => layout.widths[column as usize] = None,
                Sacrifice::Result(width) => result = width,
            }
            if layout.result_start() + result <= terminal {
                return layout;
            }
        }
        // No room for columns: single spaces
        Self {
            widths: layout.widths.map(|width| width.map(|_| 0)),
        }
    }

    /// Gives columns the width that was needed, as far as there is any to spare.
    fn grow(&mut self, spare: usize, seen: Seen) {
        let address = grown(ADDRESS, seen.address).min(ADDRESS + spare);
        let spare = spare - (address - ADDRESS);
        self.widths[Column::Address as usize] = Some(address);
        self.widths[Column::User as usize] = Some(grown(USER, seen.user).min(USER + spare));
    }

    pub(super) fn has_millis(&self) -> bool {
        self.widths[Column::Time as usize] == Some(TIME_MILLIS)
    }

    fn result_start(&self) -> usize {
        self.columns().map(|(_, width)| width + 1).sum()
    }

    /// Appends `row`. Where it would be wider than the terminal, its last columns move to the
    /// left of their places, as far as the values before them leave room.
    pub(super) fn write(
        &self,
        line: &mut String,
        row: &Row,
        terminal: Option<usize>,
        colour: bool,
    ) -> fmt::Result {
        let terminal = terminal.unwrap_or(usize::MAX);
        let [result, details @ ..] = row.result();
        let mut pen = Pen {
            line,
            column: 0,
            colour,
        };
        // What is still to be written, with single spaces between
        let mut rest = self
            .columns()
            .map(|(column, _)| row.column(column).width + 1)
            .sum::<usize>()
            + result.width;
        let mut stop = 0;
        for (column, width) in self.columns() {
            let cell = row.column(column);
            let indent = match column {
                // Right-aligned, as ps has it
                Column::Pid => width.saturating_sub(cell.width),
                _ => 0,
            };
            pen.write(
                row.text(cell),
                cell,
                (stop + indent).min(terminal.saturating_sub(rest)),
            )?;
            stop += width + 1;
            rest -= cell.width + 1;
        }
        pen.write(
            row.text(result),
            result,
            stop.min(terminal.saturating_sub(rest)),
        )?;
        for detail in details.iter().take_while(|detail| detail.width > 0) {
            if pen.column + 1 + detail.width > terminal {
                break;
            }
            pen.write(row.text(detail), detail, 0)?;
        }
        Ok(())
    }

    /// The columns that are shown, and how wide.
    fn columns(&self) -> impl Iterator<Item = (Column, usize)> {
        Column::ALL
            .iter()
            .zip(&self.widths)
            .filter_map(|(&column, &width)| Some((column, width?)))
    }
}

/// In steps, so that not every longer value changes the layout again.
fn grown(width: usize, needed: usize) -> usize {
    const STEP: usize = 8;
    width + needed.saturating_sub(width).next_multiple_of(STEP)
}

/// Writes cells into a line and knows which column it has reached.
struct Pen<'a> {
    line: &'a mut String,
    column: usize,
    colour: bool,
}

impl Pen<'_> {
    /// At column `stop`, or a space after what is already there.
    fn write(&mut self, text: &str, cell: &Cell, stop: usize) -> fmt::Result {
        let gap = usize::from(self.column > 0);
        let stop = stop.max(self.column + gap);
        self.space(stop - self.column);
        self.column = stop + cell.width;
        self.styled(text, cell.style)
    }

    /// Whole runs of spaces, of which what is too much is cut off again: a copy of a length that the
    /// compiler knows takes a few instructions, another one a call.
    fn space(&mut self, width: usize) {
        const SPACES: &str = "                ";
        let end = self.line.len() + width;
        while self.line.len() < end {
            self.line.push_str(SPACES);
        }
        self.line.truncate(end);
    }

    fn styled(&mut self, text: &str, style: Style) -> fmt::Result {
        if self.colour && !style.is_plain() {
            write!(self.line, "{style}{text}{style:#}")
        } else {
            self.line.write_str(text)
        }
    }
}
