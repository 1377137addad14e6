//! `portwatch top`: what happens now, on a terminal.
//!
//! `board` counts, `state` follows keys, `view` draws; here is the terminal. It is drawn when
//! something has changed, four times a second at most, and nobody is woken while nothing happens.

mod board;
mod state;
#[cfg(test)]
mod tests;
mod view;

use std::{
    io::{self, IsTerminal as _},
    ops::ControlFlow,
    thread,
    time::{Duration, Instant},
};

use ratatui::{
    DefaultTerminal,
    crossterm::event::{self, Event as Input, KeyCode, KeyEvent, KeyEventKind, KeyModifiers},
};
use tokio::sync::mpsc;

use self::{
    state::{Key, State},
    view::View,
};
use crate::{config::Config, event::Event, ready, users::Users};

/// Between two drawings.
const PAUSE: Duration = Duration::from_millis(250);
const SECOND: Duration = Duration::from_secs(1);

/// The view, and the terminal that it has taken over. Dropping it gives the terminal back, and so
/// does a panic.
pub struct Top {
    state: State,
    terminal: DefaultTerminal,
    keys: mpsc::Receiver<Pressed>,
    backend: String,
    colour: bool,
    drawn: Instant,
    /// Something is to be shown that is not on the screen yet
    changed: bool,
    next_tick: Instant,
}

/// What comes from the keyboard.
enum Pressed {
    Key(Key),
    /// The terminal has another size
    Resized,
}

/// There is no terminal to show anything on.
#[derive(Debug, thiserror::Error)]
#[error(
    "portwatch top needs a terminal for its input and output; `portwatch --summary` counts without one"
)]
pub struct NoTerminal;

impl NoTerminal {
    pub fn check() -> Result<(), Self> {
        let both = io::stdin().is_terminal() && io::stdout().is_terminal();
        both.then_some(()).ok_or(Self)
    }
}

impl Top {
    /// Takes the terminal over.
    pub fn open(config: &Config) -> io::Result<Self> {
        let terminal = ratatui::try_init()?;
        let now = Instant::now();
        Ok(Self {
            state: State::default(),
            terminal,
            keys: listen()?,
            backend: String::new(),
            colour: config.colour,
            drawn: now,
            changed: true,
            next_tick: now + SECOND,
        })
    }

    pub fn take(&mut self, event: &Event) {
        if let Event::Start(start) = event {
            (*start.backend).clone_into(&mut self.backend);
        }
        self.state.take(event);
        self.changed |= !self.state.is_paused();
    }

    /// Waits until there is something to do, and does it; ends where the user ends
    /// the view.
    pub async fn turn(
        &mut self,
        config: &Config,
        users: &mut Users,
    ) -> io::Result<ControlFlow<()>> {
        let due = self.due();
        tokio::select! {
            pressed = self.keys.recv() => match pressed {
                Some(Pressed::Key(key)) => {
                    let compile = |text: &str| config.expression(text, users);
                    if !self.state.press(key, &compile) {
                        return Ok(ControlFlow::Break(()));
                    }
                    self.changed = true;
                }
                Some(Pressed::Resized) => self.changed = true,
                None => return Ok(ControlFlow::Break(())),
            },
            () = ready::at(due) => {}
        }
        self.tick();
        // A key has its effect at once.
        if self.changed {
            self.draw(users)?;
        }
        Ok(ControlFlow::Continue(()))
    }

    /// When to draw next: soon if something has changed, else when a second has passed, if that
    /// changes anything.
    fn due(&self) -> Option<Instant> {
        if self.changed {
            return Some(self.drawn + PAUSE);
        }
        self.state.moves().then_some(self.next_tick)
    }

    fn tick(&mut self) {
        let now = Instant::now();
        while self.next_tick <= now {
            self.changed |= self.state.tick();
            self.next_tick += SECOND;
        }
    }

    fn draw(&mut self, users: &mut Users) -> io::Result<()> {
        let mut view = View {
            state: &self.state,
            users,
            backend: &self.backend,
            colour: self.colour,
        };
        self.terminal.draw(|frame| view.draw(frame))?;
        self.drawn = Instant::now();
        self.changed = false;
        Ok(())
    }
}

impl Drop for Top {
    fn drop(&mut self) {
        ratatui::restore();
    }
}

/// Keys are waited for on a thread, which ends with the process: a read cannot be called off.
fn listen() -> io::Result<mpsc::Receiver<Pressed>> {
    let (sender, keys) = mpsc::channel(64);
    thread::Builder::new()
        .name("keys".to_owned())
        .spawn(move || {
            while let Ok(input) = event::read() {
                let pressed = match input {
                    Input::Key(key) if key.kind != KeyEventKind::Release => {
                        key_of(key).map(Pressed::Key)
                    }
                    Input::Resize(..) => Some(Pressed::Resized),
                    _ => None,
                };
                if pressed.is_some_and(|pressed| sender.blocking_send(pressed).is_err()) {
                    return;
                }
            }
        })?;
    Ok(keys)
}

fn key_of(key: KeyEvent) -> Option<Key> {
    let control = key.modifiers.contains(KeyModifiers::CONTROL);
    Some(match key.code {
        KeyCode::Char('c') if control => Key::Interrupt,
        KeyCode::Char(_) if control => return None,
        KeyCode::Char(character) => Key::Char(character),
        KeyCode::Enter => Key::Enter,
        KeyCode::Esc => Key::Escape,
        KeyCode::Backspace => Key::Backspace,
        KeyCode::Up => Key::Up,
        KeyCode::Down => Key::Down,
        KeyCode::PageUp => Key::PageUp,
        KeyCode::PageDown => Key::PageDown,
        _ => return None,
    })
}
