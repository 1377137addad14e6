//! Draws what `portwatch top` shows: 80 columns and 24 rows are enough.

use ratatui::{
    Frame,
    layout::{Constraint, Layout, Rect},
    style::{Color, Modifier, Style},
    text::{Line, Span},
    widgets::{Block, Borders, Cell, Clear, Paragraph, Row, Sparkline, Table, TableState},
};

use super::{
    board::{Count, Failure, Port, Talker},
    state::{Pane, State},
};
use crate::{
    event::{Attempt, Comm, Proto, Requested},
    output::{
        sanitize::{escape_into, escape_prose_into},
        text::{Detail, cause_lines, write_proto},
    },
    users::Users,
};

const HELP: &str = "\
 up, down, k, j    select a failure
 enter             all about the selected failure, and back
 s                 sort by failed, attempts, or what came last
 p, space          pause the view; counting goes on
 /                 type a filter, such as: port=80 and user=alice
 ?                 this help
 q, ctrl-c         quit";

const KEYS: &str = " enter details  s sort  p pause  / filter  ? help  q quit";

/// Of failures: how often, by whom, what, on what, and where, which an IPv4 address with its port
/// fits. What is left is for the reason.
const COLUMNS: [u16; 5] = [5, 15, 7, 5, 21];

/// Beside the state: what was looked up, and how to show it.
pub(super) struct View<'a> {
    pub(super) state: &'a State,
    pub(super) users: &'a mut Users,
    /// The source
    pub(super) backend: &'a str,
    pub(super) colour: bool,
}

impl View<'_> {
    pub(super) fn draw(&mut self, frame: &mut Frame<'_>) {
        let [head, rates, upper, lower, foot] = Layout::vertical([
            Constraint::Length(1),
            Constraint::Length(2),
            Constraint::Min(5),
            Constraint::Percentage(40),
            Constraint::Length(1),
        ])
        .areas(frame.area());
        frame.render_widget(self.heading(), head);
        self.draw_rates(frame, rates);
        let failures = self.state.board().failures(self.state.sort);
        let selected = self.state.selected();
        self.draw_failures(frame, upper, &failures, selected);
        match self.state.pane {
            Pane::Lists => self.draw_counts(frame, lower),
            Pane::Detail => {
                let failure = selected.and_then(|row| failures.get(row));
                self.draw_detail(frame, lower, failure.copied());
            }
            Pane::Help => draw_text(frame, lower, "keys", HELP),
        }
        self.draw_foot(frame, foot);
    }

    fn heading(&self) -> Line<'static> {
        let board = self.state.board();
        let (attempts, failed) = board.rates.last();
        let text = format!(
            " portwatch top ({})  {attempts}/s, {failed} failed/s  {} attempts, {} failed",
            self.backend, board.attempts, board.failed,
        );
        let mut line = Line::from(text);
        if board.lost > 0 {
            let lost = format!("  {} lost", board.lost);
            line.push_span(Span::styled(lost, self.style(Color::Yellow)));
        }
        if self.state.is_paused() {
            line.push_span("  ");
            line.push_span(Span::styled(
                "PAUSED",
                Style::new().add_modifier(Modifier::REVERSED),
            ));
        }
        line
    }

    fn style(&self, colour: Color) -> Style {
        if self.colour {
            Style::new().fg(colour)
        } else {
            Style::new()
        }
    }

    fn draw_rates(&self, frame: &mut Frame<'_>, area: Rect) {
        let rates = self.state.board().rates.attempts(usize::from(area.width));
        let line = Sparkline::default()
            .data(&rates)
            .style(self.style(Color::Cyan));
        frame.render_widget(line, area);
    }

    fn draw_failures(
        &self,
        frame: &mut Frame<'_>,
        area: Rect,
        failures: &[&Failure],
        selected: Option<usize>,
    ) {
        // Below the title and the header; a terminal may have no room for any.
        let visible = usize::from(area.height).saturating_sub(2).max(1);
        // There is a space after each column.
        let before: u16 = COLUMNS.iter().map(|width| width + 1).sum();
        let room = usize::from(area.width.saturating_sub(before));
        let first = selected.map_or(0, |row| (row + 1).saturating_sub(visible));
        let rows: Vec<_> = failures
            .iter()
            .skip(first)
            .take(visible)
            .map(|failure| self.failure_row(failure, room))
            .collect();
        let mut widths = COLUMNS.map(Constraint::Length).to_vec();
        widths.push(Constraint::Fill(1));
        let title = match failures.len() {
            0 => " no failures yet ".to_owned(),
            _ => format!(" failures, by {} ", self.state.sort.name()),
        };
        let table = Table::new(rows, widths)
            .header(header(["COUNT", "COMM", "OP", "PROTO", "ADDRESS", "WHY"]))
            .row_highlight_style(Style::new().add_modifier(Modifier::REVERSED))
            .block(Block::new().borders(Borders::TOP).title(title));
        let selected = selected.map(|row| row - first);
        let mut seen = TableState::new().with_selected(selected);
        frame.render_stateful_widget(table, area, &mut seen);
    }

    /// Where there is no `room` for both, the cause says more than the error.
    fn failure_row(&self, failure: &Failure, room: usize) -> Row<'static> {
        let attempt = &*failure.attempt;
        let (error, cause) = (error(attempt), attempt.cause.as_ref());
        let error = Span::styled(error, self.style(Color::Red));
        let why = match cause.map(|cause| cause.code.name()) {
            None => Line::from(error),
            Some(code) if error.width() + 1 + code.len() > room => Line::from(code),
            Some(code) => Line::from(vec![error, Span::raw(" "), Span::raw(code)]),
        };
        Row::new([
            Cell::from(short(failure.count)),
            Cell::from(comm(attempt.comm)),
            Cell::from(attempt.op.name()),
            Cell::from(proto(attempt.proto)),
            Cell::from(asked(attempt)),
            Cell::from(why),
        ])
    }

    fn draw_counts(&mut self, frame: &mut Frame<'_>, area: Rect) {
        let [left, right] =
            Layout::horizontal([Constraint::Fill(3), Constraint::Fill(2)]).areas(area);
        let board = self.state.board();
        let rows = usize::from(area.height);
        let sort = self.state.sort;
        let talkers = board.talkers.sorted(sort);
        let talkers = talkers.into_iter().take(rows).map(talker_row);
        let widths = [8, 8, 8, 15].map(Constraint::Length);
        let table = Table::new(talkers, widths)
            .header(header(["ATTEMPTS", "FAILED", "PID", "COMM"]))
            .block(Block::new().borders(Borders::TOP).title(" processes "));
        frame.render_widget(table, left);
        let ports = board.ports.sorted(sort);
        let ports = ports.into_iter().take(rows).map(port_row);
        let widths = [8, 8, 5, 5].map(Constraint::Length);
        let table = Table::new(ports, widths)
            .header(header(["ATTEMPTS", "FAILED", "PORT", "PROTO"]))
            .block(Block::new().borders(Borders::TOP).title(" ports "));
        frame.render_widget(table, right);
    }

    fn draw_detail(&mut self, frame: &mut Frame<'_>, area: Rect, failure: Option<&Failure>) {
        let Some(failure) = failure else {
            return draw_text(frame, area, "details", " no failure is selected");
        };
        let attempt = &*failure.attempt;
        let user = match self.users.name(attempt.uid) {
            Some(name) => safe(name.as_bytes()),
            None => attempt.uid.to_string(),
        };
        let mut text = format!(
            "{} (pid {}, {user}) {} {}: {}\n",
            comm(attempt.comm),
            attempt.tgid,
            attempt.op.name(),
            asked(attempt),
            error(attempt),
        );
        if let Some(cause) = &attempt.cause {
            let width = Some(area.width);
            text += &cause_lines(cause, Detail::Full, width, false, self.users);
        }
        draw_text(frame, area, "the last of them", &text);
    }

    fn draw_foot(&self, frame: &mut Frame<'_>, area: Rect) {
        let Some(line) = &self.state.line else {
            let filtered = match &*self.state.filtered {
                "" => String::new(),
                text => format!("  filter: {}", prose(text)),
            };
            return frame.render_widget(Paragraph::new(format!("{KEYS}{filtered}")), area);
        };
        if let Some(error) = &line.error {
            draw_error(frame, area, error);
        }
        let text = format!("filter: {}", prose(&line.text));
        let column = u16::try_from(Line::from(&*text).width()).unwrap_or(u16::MAX);
        frame.render_widget(Paragraph::new(text), area);
        let column = area
            .x
            .saturating_add(column)
            .min(area.right().saturating_sub(1));
        frame.set_cursor_position((column, area.y));
    }
}

/// What is wrong with a filter, above the line that it is typed in.
fn draw_error(frame: &mut Frame<'_>, foot: Rect, error: &str) {
    let lines = u16::try_from(error.lines().count()).unwrap_or(1);
    let height = (lines + 1).min(foot.y);
    let area = Rect {
        y: foot.y - height,
        height,
        ..foot
    };
    frame.render_widget(Clear, area);
    draw_text(frame, area, "this is no filter", error);
}

fn draw_text(frame: &mut Frame<'_>, area: Rect, title: &str, text: &str) {
    let block = Block::new()
        .borders(Borders::TOP)
        .title(format!(" {title} "));
    frame.render_widget(Paragraph::new(text.to_owned()).block(block), area);
}

fn header<const N: usize>(titles: [&'static str; N]) -> Row<'static> {
    Row::new(titles).style(Style::new().add_modifier(Modifier::BOLD))
}

/// A count in five columns.
pub(super) fn short(count: u64) -> String {
    match count {
        0..100_000 => count.to_string(),
        100_000..10_000_000 => format!("{}k", count / 1000),
        _ => format!("{}M", count / 1_000_000),
    }
}

fn talker_row(((pid, name), count): (Talker, Count)) -> Row<'static> {
    Row::new([
        count.attempts.to_string(),
        count.failed.to_string(),
        pid.to_string(),
        comm(name),
    ])
}

fn port_row(((port, protocol), count): (Port, Count)) -> Row<'static> {
    Row::new([
        count.attempts.to_string(),
        count.failed.to_string(),
        port.to_string(),
        proto(protocol),
    ])
}

fn error(attempt: &Attempt) -> String {
    match (attempt.errno(), attempt.ret) {
        (Some(errno), _) => errno.to_string(),
        (None, Some(ret)) => ret.to_string(),
        (None, None) => "?".to_owned(),
    }
}

fn asked(attempt: &Attempt) -> String {
    let address = attempt.requested.map(Requested::socket_addr);
    address.map_or_else(|| "-".to_owned(), |address| address.to_string())
}

fn proto(proto: Option<Proto>) -> String {
    let mut text = String::new();
    // Writing to a text does not fail.
    let _ = write_proto(&mut text, proto);
    text
}

fn comm(comm: Comm) -> String {
    safe(comm.as_bytes())
}

fn safe(bytes: &[u8]) -> String {
    let mut text = String::new();
    escape_into(&mut text, bytes);
    text
}

fn prose(text: &str) -> String {
    let mut safe = String::new();
    escape_prose_into(&mut safe, text);
    safe
}
