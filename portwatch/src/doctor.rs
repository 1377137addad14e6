//! `portwatch doctor`: what this host allows, as a table for people and as JSON for machines.

mod programs;

use self::programs::ProgramJson;
use anstyle::{AnsiColor, Style};
use comfy_table::{ColumnConstraint, ContentArrangement, Table, presets};
use serde::Serialize;
use unicode_width::UnicodeWidthStr;

use crate::{
    source::cost::Program,
    support::{Check, SourceSupport, Status, Support, sources},
};

/// The table, then what to do about each thing missing, then the sources, and their programs if
/// there are any to show. Ends in a newline.
///
/// Prose is wrapped to the width, commands never: they are there to be copied. Without a width
/// nothing is wrapped.
pub fn render_table(
    support: &Support,
    programs: Option<&[Program]>,
    width: Option<u16>,
    colour: bool,
) -> String {
    let page = Page { width, colour };
    let sources = sources(support);
    let sections = [
        page.checks(&support.checks),
        page.remedies(&support.checks),
        page.sources(&sources),
        programs.map_or_else(String::new, |programs| page.programs(programs)),
    ];
    let filled: Vec<_> = sections
        .into_iter()
        .filter(|section| !section.is_empty())
        .collect();
    filled.join("\n")
}

#[derive(Clone, Copy)]
struct Page {
    width: Option<u16>,
    colour: bool,
}

impl Page {
    fn checks(self, checks: &[Check]) -> String {
        let rows = checks.iter().map(|check| {
            let Check {
                id: _,
                title,
                status,
                detail,
                means: _,
                remedy: _,
            } = check;
            (
                [
                    (*title).to_owned(),
                    word(*status).to_owned(),
                    detail.clone(),
                ],
                style(*status),
            )
        });
        self.table(["CHECK", "STATUS", "FOUND"], &rows.collect::<Vec<_>>())
    }

    /// What is lost with each check that is not ok, then its remedy; checks with the same remedy
    /// share it.
    fn remedies(self, checks: &[Check]) -> String {
        let mut groups: Vec<(Option<&str>, Vec<&Check>)> = Vec::new();
        for check in checks.iter().filter(|check| check.status != Status::Ok) {
            let remedy = check.remedy.as_deref();
            match groups
                .iter_mut()
                .find(|(same, _)| remedy.is_some() && *same == remedy)
            {
                Some((_, group)) => group.push(check),
                None => groups.push((remedy, vec![check])),
            }
        }
        if groups.is_empty() {
            return String::new();
        }
        let mut text = self.paint("REMEDIES", BOLD) + "\n";
        for (remedy, group) in groups {
            for same in group.chunk_by(|one, other| one.means == other.means) {
                let titles: Vec<_> = same.iter().map(|check| check.title).collect();
                let means = same[0].means.as_deref().unwrap_or("missing");
                text.push_str(&self.prose(&format!("{}: {means}", titles.join(", "))));
            }
            for line in remedy.unwrap_or_default().lines() {
                text.extend(["    ", line, "\n"]);
            }
        }
        text
    }

    fn sources(self, sources: &[SourceSupport]) -> String {
        let rows = sources.iter().map(|source| {
            let SourceSupport { name, usable, why } = source;
            let (word, style) = if *usable {
                ("yes", GREEN)
            } else {
                ("no", DIMMED)
            };
            ([(*name).to_owned(), word.to_owned(), why.clone()], style)
        });
        let table = self.table(["SOURCE", "USABLE", "WHY"], &rows.collect::<Vec<_>>());
        let chosen = match sources.iter().find(|source| source.usable) {
            Some(source) => format!("--source auto would take {}", source.name),
            None => "no source can run here".to_owned(),
        };
        format!("{table}{chosen}\n")
    }

    /// Three columns, of which the second is coloured and only the third gives way to the width.
    fn table(self, header: [&str; 3], rows: &[([String; 3], Style)]) -> String {
        let mut table = Table::new();
        table.load_preset(presets::NOTHING).set_header(header);
        table.add_rows(rows.iter().map(|(cells, _)| cells));
        if let Some(width) = self.width {
            table
                .set_content_arrangement(ContentArrangement::Dynamic)
                .set_width(width);
        }
        for (index, column) in table.column_iter_mut().enumerate() {
            column.set_padding((0, if index < 2 { 2 } else { 0 }));
            if index < 2 {
                column.set_constraint(ColumnConstraint::ContentWidth);
            }
        }
        let mut text = String::new();
        let mut rest = rows;
        for (index, line) in table.lines().enumerate() {
            let line = line.trim_end();
            let line = match rest.split_first() {
                _ if index == 0 => self.paint(line, BOLD),
                // A line that begins with a space goes on with the row above it.
                Some(((cells, style), more)) if !line.starts_with(' ') => {
                    rest = more;
                    self.paint_second(line, cells, *style)
                }
                _ => line.to_owned(),
            };
            text.push_str(&line);
            text.push('\n');
        }
        text
    }

    /// The table is laid out without colours, so that they do not count as width.
    fn paint_second(self, line: &str, [first, second, _]: &[String; 3], style: Style) -> String {
        let Some(rest) = line.strip_prefix(first.as_str()) else {
            return line.to_owned();
        };
        let word = rest.trim_start();
        let gap = &rest[..rest.len() - word.len()];
        match word.strip_prefix(second.as_str()) {
            Some(tail) => format!("{first}{gap}{}{tail}", self.paint(second, style)),
            None => line.to_owned(),
        }
    }

    fn paint(self, text: &str, style: Style) -> String {
        if self.colour {
            format!("{style}{text}{style:#}")
        } else {
            text.to_owned()
        }
    }

    /// One paragraph, two in; its further lines four.
    fn prose(self, text: &str) -> String {
        let limit = self.width.map_or(usize::MAX, usize::from);
        let mut lines = String::new();
        let mut line = String::from(" ");
        for word in text.split_whitespace() {
            if line.width() + 1 + word.width() > limit && !line.trim().is_empty() {
                lines.push_str(&line);
                lines.push('\n');
                line = String::from("   ");
            }
            line.push(' ');
            line.push_str(word);
        }
        lines + &line + "\n"
    }
}

const fn word(status: Status) -> &'static str {
    match status {
        Status::Ok => "ok",
        Status::Limited => "limited",
        Status::Missing => "missing",
    }
}

const fn style(status: Status) -> Style {
    match status {
        Status::Ok => GREEN,
        Status::Limited => AnsiColor::Yellow.on_default(),
        Status::Missing => AnsiColor::Red.on_default(),
    }
}

const BOLD: Style = Style::new().bold();
const DIMMED: Style = Style::new().dimmed();
const GREEN: Style = AnsiColor::Green.on_default();

/// One JSON object on one line, with a newline:
///
/// `{"v":1, "kind":"doctor", "kernel":…, "checks":[{"id", "title", "status", "detail", "means",
/// "remedy"}], "sources":[{"name", "usable", "why"}], "programs":[{"source", "program", "hooks",
/// "verified", "translated", "jitted", "load_ns", "why"}]}`
///
/// Every key is always there; `means` and `remedy` may be null, `status` is `ok`, `limited` or
/// `missing`. Sources stand best first. `programs` is null unless they were asked for. Keys may
/// be added within one `v`.
pub fn render_json(support: &Support, programs: Option<&[Program]>) -> String {
    let document = Document {
        v: 1,
        kind: "doctor",
        kernel: &support.kernel,
        checks: support.checks.iter().map(CheckJson::from).collect(),
        sources: sources(support).into_iter().map(SourceJson::from).collect(),
        programs: programs.map(|programs| programs.iter().map(ProgramJson::from).collect()),
    };
    let json = serde_json::to_string(&document).expect("strings and flags always serialise");
    json + "\n"
}

#[derive(Serialize)]
struct Document<'a> {
    v: u8,
    kind: &'static str,
    kernel: &'a str,
    checks: Vec<CheckJson<'a>>,
    sources: Vec<SourceJson>,
    programs: Option<Vec<ProgramJson<'a>>>,
}

#[derive(Serialize)]
struct CheckJson<'a> {
    id: &'static str,
    title: &'static str,
    status: &'static str,
    detail: &'a str,
    means: Option<&'a str>,
    remedy: Option<&'a str>,
}

impl<'a> From<&'a Check> for CheckJson<'a> {
    fn from(check: &'a Check) -> Self {
        let Check {
            id,
            title,
            status,
            detail,
            means,
            remedy,
        } = check;
        let (means, remedy) = (means.as_deref(), remedy.as_deref());
        Self {
            id,
            title,
            status: word(*status),
            detail,
            means,
            remedy,
        }
    }
}

#[derive(Serialize)]
struct SourceJson {
    name: &'static str,
    usable: bool,
    why: String,
}

impl From<SourceSupport> for SourceJson {
    fn from(source: SourceSupport) -> Self {
        let SourceSupport { name, usable, why } = source;
        Self { name, usable, why }
    }
}

#[cfg(test)]
mod tests;
