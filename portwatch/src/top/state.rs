//! What `portwatch top` is set to: keys in, what to show out. No I/O.

use super::board::{Board, Sort};
use crate::{
    event::{Attempt, Event, OutcomeOf},
    filter::{Filter, SoFar},
};

/// Longest filter that can be typed.
const LINE: usize = 512;

/// A key, whatever terminal it came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Key {
    Char(char),
    Enter,
    Escape,
    Backspace,
    Up,
    Down,
    PageUp,
    PageDown,
    Interrupt,
}

/// A filter while it is typed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) text: String,
    /// What is wrong with it, in lines
    pub(super) error: Option<String>,
}

/// What lies over the lists.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Pane {
    #[default]
    Lists,
    /// All about the selected failure
    Detail,
    Help,
}

/// Makes a filter of what was typed, or says what is wrong with it.
pub(super) type Compile<'a> = dyn Fn(&str) -> Result<Filter, String> + 'a;

#[derive(Debug, Default)]
pub(super) struct State {
    live: Board,
    /// What is shown while the view is paused; counting goes on
    frozen: Option<Box<Board>>,
    pub(super) sort: Sort,
    pub(super) pane: Pane,
    /// Row of the failure that is selected
    selected: usize,
    filter: Filter,
    /// The filter as it was typed
    pub(super) filtered: String,
    pub(super) line: Option<Line>,
}

impl State {
    /// What passes the filter that was typed is counted; losses always are.
    pub(super) fn take(&mut self, event: &Event) {
        match event {
            Event::Attempt(attempt) if attempt.is_followed() => self.take_open(event, attempt),
            Event::Attempt(attempt) if !self.filter.passes(attempt) => {}
            Event::Pending(pending) => self.take_pending(&pending.attempt),
            Event::Outcome(outcome) => self.take_end(outcome),
            _ => self.live.take(event),
        }
    }

    /// What the filter asks of its end is not known yet.
    fn take_open(&mut self, event: &Event, attempt: &Attempt) {
        if self.filter.judge(attempt, SoFar::Open) == Some(true) {
            self.live.take(event);
        }
    }

    /// It was pending for long, which is what the filter may ask for.
    fn take_pending(&mut self, attempt: &Attempt) {
        let before = self.filter.judge(attempt, SoFar::Open);
        if before.is_none() && self.filter.passes(attempt) {
            self.live.count(attempt);
        }
    }

    fn take_end(&mut self, outcome: &OutcomeOf) {
        let attempt = &outcome.attempt;
        let before = self.filter.judge(attempt, SoFar::Open);
        let is_counted = before.is_some() || outcome.lasted && self.filter.passes(attempt);
        let by_end = self.filter.judge(attempt, SoFar::Ended(outcome.ended.end));
        if by_end == Some(true) {
            self.live.take_end(outcome, is_counted);
        }
    }

    /// A second has passed; whether that changes what is shown.
    pub(super) fn tick(&mut self) -> bool {
        self.live.tick() && !self.is_paused()
    }

    /// Whether the next second changes what is shown.
    pub(super) fn moves(&self) -> bool {
        self.live.rates.moves() && !self.is_paused()
    }

    pub(super) fn board(&self) -> &Board {
        self.frozen.as_deref().unwrap_or(&self.live)
    }

    pub(super) const fn is_paused(&self) -> bool {
        self.frozen.is_some()
    }

    /// Row of the selected failure; none where there is no failure.
    pub(super) fn selected(&self) -> Option<usize> {
        let last = self.board().failure_count().checked_sub(1)?;
        Some(self.selected.min(last))
    }

    /// Follows a key; false where it ends the view.
    pub(super) fn press(&mut self, key: Key, compile: &Compile<'_>) -> bool {
        match &mut self.line {
            _ if key == Key::Interrupt => return false,
            Some(_) => self.type_key(key, compile),
            None => return self.command(key),
        }
        true
    }

    fn command(&mut self, key: Key) -> bool {
        const PAGE: isize = 10;
        match key {
            Key::Char('q') => return false,
            Key::Escape if self.pane == Pane::Lists => {}
            Key::Escape => self.pane = Pane::Lists,
            Key::Char('p' | ' ') => self.pause(),
            Key::Char('s') => self.sort = self.sort.next(),
            Key::Char('/') => {
                self.line = Some(Line {
                    text: self.filtered.clone(),
                    error: None,
                });
            }
            Key::Char('?' | 'h') => self.toggle(Pane::Help),
            Key::Enter => self.toggle(Pane::Detail),
            Key::Char('k') | Key::Up => self.select(-1),
            Key::Char('j') | Key::Down => self.select(1),
            Key::PageUp => self.select(-PAGE),
            Key::PageDown => self.select(PAGE),
            Key::Char(_) | Key::Backspace | Key::Interrupt => {}
        }
        true
    }

    fn toggle(&mut self, pane: Pane) {
        self.pane = if self.pane == pane { Pane::Lists } else { pane };
    }

    fn pause(&mut self) {
        self.frozen = match self.frozen {
            Some(_) => None,
            None => Some(Box::new(self.live.clone())),
        };
    }

    fn select(&mut self, rows: isize) {
        if let Some(row) = self.selected() {
            self.selected = row.saturating_add_signed(rows);
            self.selected = self.selected().unwrap_or(0);
        }
    }

    fn type_key(&mut self, key: Key, compile: &Compile<'_>) {
        let Some(line) = &mut self.line else { return };
        match key {
            Key::Char(character) if line.text.len() < LINE => {
                line.text.push(character);
                line.error = None;
            }
            Key::Backspace => {
                line.text.pop();
                line.error = None;
            }
            Key::Escape => self.line = None,
            Key::Enter => self.apply(compile),
            _ => {}
        }
    }

    /// What was counted by another filter is forgotten; what was lost stays.
    fn apply(&mut self, compile: &Compile<'_>) {
        let Some(line) = &mut self.line else { return };
        let text = line.text.trim();
        let filter = if text.is_empty() {
            Ok(Filter::default())
        } else {
            compile(text)
        };
        match filter {
            Ok(filter) => {
                self.filter = filter;
                text.clone_into(&mut self.filtered);
                self.live = Board::after(&self.live);
                self.frozen = None;
                self.line = None;
            }
            Err(error) => line.error = Some(error),
        }
    }
}
