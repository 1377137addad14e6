//! The command that portwatch runs: whom it runs as, how it ends, and what outlives it.
//!
//! portwatch makes itself the reaper of all that comes of it (`PR_SET_CHILD_SUBREAPER`): a process
//! whose parent has ended then hangs on portwatch, or on a reaper nearer to it, and never leaves the
//! tree (kernel/exit.c, `find_new_reaper`).

mod login;

use std::{
    ffi::OsString,
    io,
    process::{Child, Command},
    sync::mpsc,
    thread::{self, JoinHandle},
};

use anyhow::Context as _;
use rustix::{
    io::Errno,
    process::{Pid, Signal, WaitOptions, WaitStatus, getpid, kill_process, wait},
};
use tokio::signal::unix::SignalKind;

pub use self::login::{Login, NoLogin};

/// The inode of the first process namespace (`PROC_PID_INIT_INO`, include/linux/proc_ns.h).
const HOST_PIDS: &str = "pid:[4026531836]";

/// Exit codes of env(1) and sudo(8) for a command that is there and cannot be run, and for one that
/// is not.
const CANNOT_RUN: u8 = 126;
const NOT_FOUND: u8 = 127;

/// A command, before it runs.
#[derive(Clone, Debug)]
pub struct Order {
    /// The program, and its arguments
    pub words: Vec<OsString>,
    /// Whom to run it as; as portwatch itself runs where that is `None`
    pub login: Option<Login>,
    /// Whether it is over only when all that came of it has ended
    pub wait_all: bool,
}

/// The command could not be started.
#[derive(Debug, thiserror::Error)]
#[error("cannot run {}: {error}", .program.display())]
pub struct CannotRun {
    program: OsString,
    error: io::Error,
}

impl CannotRun {
    pub fn exit_code(&self) -> u8 {
        match self.error.kind() {
            io::ErrorKind::NotFound => NOT_FOUND,
            _ => CANNOT_RUN,
        }
    }
}

/// A command that was started.
#[derive(Debug)]
pub struct Running {
    pid: Pid,
    /// How it ended, if it has
    ended: Option<WaitStatus>,
    /// Whether anything that came of it is left
    has_descendants: bool,
    wait_all: bool,
    /// A child has ended
    died: tokio::signal::unix::Signal,
}

/// A command that is about to start, from a thread that was not confined with the rest.
#[derive(Debug)]
pub struct Prepared {
    go: mpsc::Sender<()>,
    /// Gives nothing where it was not told to go
    starter: JoinHandle<Option<Result<Child, CannotRun>>>,
    wait_all: bool,
    died: tokio::signal::unix::Signal,
}

impl Order {
    /// Gets ready to start the command, with all that this thread may do now. Must run inside a tokio
    /// runtime.
    pub fn prepare(&self) -> anyhow::Result<Prepared> {
        ensure_host_pids()?;
        rustix::process::set_child_subreaper(Some(getpid()))
            .context("cannot become the reaper of the command's processes")?;
        let died =
            tokio::signal::unix::signal(SignalKind::child()).context("cannot take signals")?;
        let (go, told) = mpsc::channel();
        let order = self.clone();
        let starter = thread::Builder::new()
            .name("starter".to_owned())
            .spawn(move || told.recv().ok().map(|()| order.spawn()))?;
        Ok(Prepared {
            go,
            starter,
            wait_all: self.wait_all,
            died,
        })
    }

    fn spawn(&self) -> Result<Child, CannotRun> {
        let mut words = self.words.iter();
        let program = words.next().cloned().unwrap_or_default();
        let mut command = Command::new(&program);
        command.args(words);
        let child = match &self.login {
            Some(login) => login.spawn(command),
            None => command.spawn(),
        };
        child.map_err(|error| CannotRun { program, error })
    }
}

impl Prepared {
    /// Starts the command.
    pub fn start(self) -> anyhow::Result<Running> {
        // A thread that has ended is found out by joining it.
        let _ = self.go.send(());
        let child = self.starter.join().ok().flatten();
        let child = child.context("the thread that was to start the command panicked")??;
        Ok(Running {
            pid: Pid::from_child(&child),
            ended: None,
            has_descendants: true,
            wait_all: self.wait_all,
            died: self.died,
        })
    }
}

/// Attempts come with the host's process ids, and what is started here is known by this namespace's.
fn ensure_host_pids() -> anyhow::Result<()> {
    let namespace = std::fs::read_link("/proc/self/ns/pid").context("cannot read /proc")?;
    anyhow::ensure!(
        namespace.as_os_str() == HOST_PIDS,
        "a command can be followed only with the host's process ids: this is another process \
         namespace (`docker run --pid=host` shares the host's)"
    );
    Ok(())
}

impl Running {
    /// Waits until a process of the tree may have ended. Look at what it did before
    /// [`Running::bury`]: until then its parents can be looked up.
    pub async fn died(&mut self) {
        self.died.recv().await;
    }

    /// Takes leave of the children that have ended; true when there is nothing more to wait for.
    pub fn bury(&mut self) -> bool {
        loop {
            match wait(WaitOptions::NOHANG) {
                Ok(Some((pid, status))) if pid == self.pid => self.ended = Some(status),
                Ok(Some(_)) | Err(Errno::INTR) => {}
                Ok(None) => break,
                Err(_) => {
                    self.has_descendants = false;
                    break;
                }
            }
        }
        self.ended.is_some() && !(self.wait_all && self.has_descendants)
    }

    pub const fn has_ended(&self) -> bool {
        self.ended.is_some()
    }

    /// Whether something that came of the command is left, now that it has ended.
    pub const fn has_survivors(&self) -> bool {
        self.ended.is_some() && self.has_descendants
    }

    /// Asks it to end. It may have done so by itself.
    pub fn terminate(&self) {
        if self.ended.is_none() {
            // Not yet waited for: the number is still its own.
            let _ = kill_process(self.pid, Signal::TERM);
        }
    }

    /// As a shell gives it: the status, or 128 and the number of the signal that ended it.
    pub fn exit_code(&self) -> u8 {
        let code = self.ended.and_then(|status| {
            let signal = status.terminating_signal().map(|signal| 128 + signal);
            status.exit_status().or(signal)
        });
        code.and_then(|code| u8::try_from(code).ok())
            .unwrap_or(u8::MAX)
    }
}
