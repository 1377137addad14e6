//! A line on standard error for somebody who waits for an answer.

use std::{
    io::{self, IsTerminal as _, Write as _},
    sync::mpsc::{self, RecvTimeoutError, Sender},
    thread::{self, JoinHandle},
};

use crate::output::PATIENCE;

/// Says that `portwatch why` is at work, until it is dropped.
pub struct Working(Option<(Sender<()>, JoinHandle<()>)>);

impl Working {
    /// Only a terminal is told: elsewhere the line would stand in what is kept.
    pub fn begin() -> Self {
        if !io::stderr().is_terminal() {
            return Self(None);
        }
        let (end, ended) = mpsc::channel();
        // A look-up waits in the kernel: the line needs a thread of its own.
        let thread = thread::spawn(move || {
            if ended.recv_timeout(PATIENCE) == Err(RecvTimeoutError::Timeout) {
                drop(write!(
                    io::stderr(),
                    "\rlooking it up; Ctrl-C gives up\x1b[K"
                ));
                let _ = ended.recv();
                drop(write!(io::stderr(), "\r\x1b[K"));
            }
        });
        Self(Some((end, thread)))
    }
}

impl Drop for Working {
    fn drop(&mut self) {
        if let Some((end, thread)) = self.0.take() {
            drop(end);
            // The answer comes after the line is gone.
            drop(thread.join());
        }
    }
}
