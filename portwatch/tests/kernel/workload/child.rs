//! Processes that take what a situation needs: namespaces, users, rules. They end with it.

use std::io::{self, PipeReader, PipeWriter, Read as _, Write as _};

use anyhow::{Context as _, Result, ensure};
use rustix::process::{
    Pid, Signal, WaitOptions, getppid, kill_process, set_parent_process_death_signal, waitpid,
};

/// Runs something in a process of its own, and waits for it.
pub(super) fn apart(action: impl FnOnce() -> Result<()>) -> Result<()> {
    let Some(child) = fork()? else { end(action()) };
    let (_, status) = waitpid(Some(child), WaitOptions::empty())?.context("no child")?;
    ensure!(
        status.exit_status() == Some(0),
        "a process of the workload ended with {status:?}"
    );
    Ok(())
}

/// A process that holds what its set-up returned, until it is dropped.
pub(super) struct Companion {
    pid: Pid,
}

impl Companion {
    /// Done once the set-up is.
    pub(super) fn start<T>(set_up: impl FnOnce() -> Result<T>) -> Result<Self> {
        Self::start_and_then(set_up, std::thread::park)
    }

    /// The same with something else to do than to wait for its end.
    pub(super) fn start_and_then<T>(
        set_up: impl FnOnce() -> Result<T>,
        then: fn(),
    ) -> Result<Self> {
        let (mut done, told) = io::pipe()?;
        let Some(pid) = fork()? else {
            drop(done);
            end(hold(set_up, told, then))
        };
        drop(told);
        let companion = Self { pid };
        wait_for_byte(&mut done).context("a companion failed")?;
        Ok(companion)
    }

    pub(super) fn pid(&self) -> u32 {
        self.pid.as_raw_nonzero().get().cast_unsigned()
    }
}

impl Drop for Companion {
    fn drop(&mut self) {
        // It has ended already only if it failed, which was reported then.
        let _ = kill_process(self.pid, Signal::KILL);
        let _ = waitpid(Some(self.pid), WaitOptions::empty());
    }
}

fn wait_for_byte(done: &mut PipeReader) -> io::Result<()> {
    done.read_exact(&mut [0])
}

fn hold<T>(set_up: impl FnOnce() -> Result<T>, mut told: PipeWriter, then: fn()) -> Result<()> {
    // In a process namespace of its own it does not see its parent.
    set_parent_process_death_signal(Some(Signal::KILL))?;
    let _held = set_up()?;
    told.write_all(b"!")?;
    loop {
        then();
    }
}

/// Has this process, a child, end with its parent; it ends now if the parent has ended before.
pub(super) fn end_with(parent: Pid) -> Result<()> {
    set_parent_process_death_signal(Some(Signal::KILL))?;
    ensure!(getppid() == Some(parent), "the parent has ended");
    Ok(())
}

/// `None` in the child. Whoever calls has no other thread: none would be in the child.
pub(super) fn fork() -> Result<Option<Pid>> {
    // SAFETY: the child has the only thread, so that nobody else's lock can be left taken.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()).context("fork"),
        pid => Ok(Pid::from_raw(pid)),
    }
}

/// The end of a child: none of what its parent was about to do is its business.
#[expect(
    clippy::exit,
    reason = "a fork ends where it is, and does not go on as its parent would"
)]
pub(super) fn end(result: Result<()>) -> ! {
    let code = match result {
        Ok(()) => 0,
        Err(error) => {
            // With a broken stderr there is nobody to tell.
            drop(writeln!(io::stderr(), "{error:#}"));
            1
        }
    };
    std::process::exit(code)
}
