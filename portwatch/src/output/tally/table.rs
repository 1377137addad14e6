//! The counts as a table for people.

use std::fmt::{self, Write as _};

use anstyle::{AnsiColor, Style};
use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

use super::{GROUPS, Group, Groups, Look};
use crate::{fields::List, output::text::Clock};

const FAILED: Style = AnsiColor::Red.on_default();

/// Rows of a terminal that does not say how many it has.
const ROWS: usize = 24;

pub(super) struct Table<'a> {
    pub(super) fields: &'a List,
    pub(super) look: &'a Look,
    pub(super) lost: u64,
}

/// One column: its title, its cells, and whether a narrow terminal can do without it.
struct Column {
    title: String,
    /// Of the widest cell, or the title
    width: usize,
    cells: Vec<String>,
    is_number: bool,
    is_extra: bool,
}

impl Table<'_> {
    /// In no more than so many rows, if any are given.
    pub(super) fn render(
        &self,
        groups: &Groups,
        rows: Option<usize>,
    ) -> Result<String, fmt::Error> {
        let sorted = groups.sorted();
        let notes = self.notes(groups)?;
        let rows = rows.map(|rows| if rows == 0 { ROWS } else { rows });
        // The header, one line that tells of the rest, and the line of the cursor.
        let room = rows.map_or(usize::MAX, |rows| {
            rows.saturating_sub(notes.lines().count() + 3).max(1)
        });
        let (shown, hidden) = sorted.split_at(sorted.len().min(room));
        let width = rows.and(self.look.terminal).map(|(columns, _)| columns);
        let mut text = String::new();
        self.write_rows(&mut text, shown, width.map(usize::from))?;
        if !hidden.is_empty() {
            let failing = hidden.iter().filter(|(_, group)| group.failed > 0).count();
            let number = hidden.len();
            writeln!(
                text,
                "-- {number} more groups, {failing} of them with failures"
            )?;
        }
        text.push_str(&notes);
        Ok(text)
    }

    fn notes(&self, groups: &Groups) -> Result<String, fmt::Error> {
        let mut notes = String::new();
        if groups.overflow() {
            writeln!(
                notes,
                "-- more than {GROUPS} groups: what came then is in (other)"
            )?;
        }
        if self.lost > 0 {
            let plural = if self.lost == 1 { "" } else { "s" };
            writeln!(notes, "-- {} attempt{plural} lost, in no group", self.lost)?;
        }
        Ok(notes)
    }

    fn write_rows(
        &self,
        text: &mut String,
        groups: &[(Option<&str>, &Group)],
        limit: Option<usize>,
    ) -> fmt::Result {
        let mut columns = self.columns(groups)?;
        let terminal = self.look.terminal.map(|(columns, _)| usize::from(columns));
        fit(&mut columns, terminal.filter(|&columns| columns > 0));
        let titles = self.look.header.then_some(None);
        let rows = titles.into_iter().chain((0..groups.len()).map(Some));
        for row in rows {
            let line = line(&columns, row);
            // A line that wraps would be two, which drawing over it must not meet.
            let line = limit
                .filter(|&width| width > 0)
                .map_or(&*line, |width| cut(&line, width));
            let failed = row.is_some_and(|row| groups[row].1.failed > 0);
            let style = if failed && self.look.colour {
                FAILED
            } else {
                Style::new()
            };
            writeln!(text, "{style}{line}{style:#}")?;
        }
        Ok(())
    }

    fn columns(&self, groups: &[(Option<&str>, &Group)]) -> Result<Vec<Column>, fmt::Error> {
        let List(fields) = self.fields;
        let cells = |cell: &dyn Fn(&Group) -> String| -> Vec<String> {
            groups.iter().map(|(_, group)| cell(group)).collect()
        };
        let mut columns = vec![
            Column::number("COUNT", cells(&|group| group.count.to_string())),
            Column::number("FAILED", cells(&|group| group.failed.to_string())),
        ];
        for (number, field) in fields.iter().enumerate() {
            let keys = groups.iter().map(|(key, _)| match key {
                Some(key) => cell(key.split('\t').nth(number).unwrap_or_default()),
                None if number == 0 => "(other)".to_owned(),
                None => String::new(),
            });
            columns.push(Column::field(field.name, keys.collect()));
        }
        let has = |name| fields.iter().any(|field| field.name == name);
        if !has("errno") {
            let errno = |group: &Group| group.errno.map_or_else(String::new, |it| it.to_string());
            columns.push(Column::extra("LAST ERROR", cells(&errno)));
        }
        if !has("cause.code") {
            let cause = |group: &Group| group.cause.map_or("", |it| it.name()).to_owned();
            columns.push(Column::extra("LAST CAUSE", cells(&cause)));
        }
        let mut clock = Clock::new(self.look.timezone.clone());
        let mut last = Vec::new();
        for (_, group) in groups {
            let mut time = String::new();
            clock.write(&mut time, group.last, false)?;
            last.push(time);
        }
        columns.push(Column::extra("LAST", last));
        Ok(columns)
    }
}

/// What is not known is shown, so that its column is not taken for the next one.
fn cell(text: &str) -> String {
    if text.is_empty() { "-" } else { text }.to_owned()
}

impl Column {
    fn number(title: &str, cells: Vec<String>) -> Self {
        Self {
            is_number: true,
            ..Self::field(title, cells)
        }
    }

    fn extra(title: &str, cells: Vec<String>) -> Self {
        Self {
            is_extra: true,
            ..Self::field(title, cells)
        }
    }

    fn field(title: &str, cells: Vec<String>) -> Self {
        let widest = cells.iter().map(|cell| cell.width()).max();
        Self {
            title: title.to_uppercase(),
            width: widest.unwrap_or(0).max(title.len()),
            cells,
            is_number: false,
            is_extra: false,
        }
    }
}

/// Leaves out what a narrow terminal can do without, from the right.
fn fit(columns: &mut Vec<Column>, terminal: Option<usize>) {
    let width = |columns: &[Column]| columns.iter().map(|column| column.width + 1).sum::<usize>();
    while terminal.is_some_and(|terminal| width(columns) > terminal + 1)
        && columns.last().is_some_and(|column| column.is_extra)
    {
        columns.pop();
    }
}

/// The line of a row; of the titles, if none is given.
fn line(columns: &[Column], row: Option<usize>) -> String {
    let mut line = String::new();
    for column in columns {
        let cell = row.map_or(&*column.title, |row| &column.cells[row]);
        let gap = " ".repeat(column.width - cell.width());
        if !line.is_empty() {
            line.push(' ');
        }
        let (before, after) = if column.is_number {
            (&*gap, "")
        } else {
            ("", &*gap)
        };
        line += before;
        line += cell;
        line += after;
    }
    line.truncate(line.trim_end().len());
    line
}

/// As much of a line as `width` columns have room for.
fn cut(line: &str, width: usize) -> &str {
    let mut reached = 0;
    for (at, character) in line.char_indices() {
        reached += character.width().unwrap_or(0);
        if reached > width {
            return &line[..at];
        }
    }
    line
}
