//! What ends a watch from outside: a signal, a deadline, a reader that has gone.

use std::{
    os::fd::OwnedFd,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use tokio::{
    io::{Interest, unix::AsyncFd},
    signal::unix::{Signal, SignalKind, signal},
};

use crate::{command::Running, config::Config, ready};

/// What ends the watch from outside.
pub(super) struct Ends {
    interrupt: Signal,
    terminate: Signal,
    deadline: Option<Instant>,
}

impl Ends {
    pub(super) fn new(duration: Option<Duration>) -> anyhow::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt()).context("cannot take signals")?,
            terminate: signal(SignalKind::terminate()).context("cannot take signals")?,
            // A duration that reaches past the end of the clock is none.
            deadline: duration.and_then(|duration| Instant::now().checked_add(duration)),
        })
    }

    pub(super) async fn reached(&mut self) -> End {
        let deadline = self.deadline;
        tokio::select! {
            end = self.interrupted() => end,
            () = ready::at(deadline) => End::Deadline,
        }
    }

    pub(super) async fn signal(&mut self) {
        self.interrupted().await;
    }

    pub(super) async fn interrupted(&mut self) -> End {
        tokio::select! {
            _ = self.interrupt.recv() => End::Interrupt,
            _ = self.terminate.recv() => End::Terminate,
        }
    }
}

/// Which end it is.
pub(super) enum End {
    Interrupt,
    Terminate,
    Deadline,
}

impl End {
    /// Whether it is the command's rather than portwatch's: of Ctrl-C it has the terminal's signal,
    /// and SIGTERM is passed on.
    pub(super) fn is_for(&self, command: Option<&Running>) -> bool {
        let Some(command) = command.filter(|command| !command.has_ended()) else {
            return false;
        };
        if matches!(self, Self::Terminate) {
            command.terminate();
        }
        !matches!(self, Self::Deadline)
    }
}

/// Tells when whoever reads standard output has gone, without having to write to it.
pub(super) struct ReaderGone(Option<AsyncFd<OwnedFd>>);

impl ReaderGone {
    /// Files and some devices cannot be waited for; they do not go away either.
    pub(super) fn new(config: &Config) -> Self {
        let stdout = config
            .writes_to_stdout()
            .then(|| rustix::io::dup(rustix::stdio::stdout()).ok());
        let watched = stdout.flatten();
        Self(watched.and_then(|stdout| ready::register(stdout, Interest::ERROR).ok()))
    }

    pub(super) async fn gone(&self) {
        if let Some(stdout) = &self.0
            && stdout.ready(Interest::ERROR).await.is_ok()
        {
            return;
        }
        std::future::pending::<()>().await;
    }
}
