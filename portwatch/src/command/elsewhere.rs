//! `portwatch -- COMMAND` is for Linux: elsewhere nothing makes a process the reaper of all that
//! comes of another. The command line is refused ([`crate::config`]) before any of this is reached.

use std::ffi::OsString;

/// A command, before it runs.
#[derive(Debug)]
pub struct Order {
    pub words: Vec<OsString>,
    pub login: Option<Login>,
    pub wait_all: bool,
}

/// Nobody is another than who runs portwatch.
#[derive(Clone, Debug)]
pub enum Login {}

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum NoLogin {}

#[derive(Debug, thiserror::Error)]
#[error("a command can be run and followed on Linux only")]
pub struct CannotRun;

/// There is none.
#[derive(Debug)]
pub enum Prepared {}

/// Nor is there one that runs.
#[derive(Debug)]
pub enum Running {}

impl Order {
    pub const fn prepare(&self) -> Result<Prepared, CannotRun> {
        Err(CannotRun)
    }
}

impl Prepared {
    pub const fn start(self) -> Result<Running, CannotRun> {
        match self {}
    }
}

impl Login {
    pub const fn find(_: Option<&str>) -> Result<Option<Self>, NoLogin> {
        Ok(None)
    }

    pub const fn asked_for(_: &'static str, _: &str) -> Result<Option<Self>, NoLogin> {
        Ok(None)
    }
}

impl CannotRun {
    /// That of env(1) for a command that cannot be run.
    pub const fn exit_code(&self) -> u8 {
        126
    }
}

impl Running {
    pub async fn died(&mut self) {
        match *self {}
    }

    pub const fn bury(&mut self) -> bool {
        match *self {}
    }

    pub const fn has_ended(&self) -> bool {
        match *self {}
    }

    pub const fn has_survivors(&self) -> bool {
        match *self {}
    }

    pub const fn terminate(&self) {
        match *self {}
    }

    pub const fn exit_code(&self) -> u8 {
        match *self {}
    }
}
