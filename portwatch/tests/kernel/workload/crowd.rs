//! Processes that sleep with descriptors open, and processes that compute.

use std::{
    ffi::OsString,
    fs::File,
    io::{self, Read as _, Write as _},
    os::{fd::OwnedFd, unix::net::UnixDatagram},
};

use anyhow::{Context as _, Result, ensure};
use rustix::process::{Pid, Signal, WaitOptions, getpid, kill_process, waitpid};

use super::child;

/// After so many seconds nothing computes any more, whoever may have been forgotten.
const LONGEST_LOAD: u32 = 180;

/// Arguments: how many sleep, how many descriptors each has, how many compute.
pub(super) fn gather(args: impl Iterator<Item = OsString>) -> Result<()> {
    let numbers: Vec<usize> = args
        .filter_map(|number| number.to_str()?.parse().ok())
        .collect();
    let &[sleepers, descriptors, busy] = numbers.as_slice() else {
        anyhow::bail!("three numbers make a crowd, not {numbers:?}");
    };
    let _inherited = open(descriptors)?;
    let mut members = Members::default();
    members.add(sleepers, sleep)?;
    members.add(busy, compute)?;
    writeln!(io::stdout(), "ready")?;
    // Nothing comes: its end is what is waited for.
    io::stdin().read_to_end(&mut Vec::new())?;
    members.end()
}

/// As every process has them: half files, half sockets, which somebody who looks for a socket has
/// to tell from the one.
fn open(descriptors: usize) -> Result<Vec<OwnedFd>> {
    let file = OwnedFd::from(File::open("/dev/null")?);
    let socket = OwnedFd::from(UnixDatagram::unbound()?);
    let both = [&file, &socket].into_iter().cycle();
    both.take(descriptors)
        .map(|it| it.try_clone().context("too many descriptors"))
        .collect()
}

/// Children, which end at the latest with this process.
#[derive(Default)]
struct Members(Vec<Pid>);

impl Members {
    fn add(&mut self, count: usize, live: fn() -> Result<()>) -> Result<()> {
        let leader = getpid();
        for _ in 0..count {
            let Some(pid) = child::fork()? else {
                child::end(child::end_with(leader).and_then(|()| live()))
            };
            self.0.push(pid);
        }
        Ok(())
    }

    /// All at once: each takes a while to be scheduled, those that compute first.
    fn end(self) -> Result<()> {
        for &pid in self.0.iter().rev() {
            kill_process(pid, Signal::KILL)?;
        }
        for pid in self.0 {
            let ended = waitpid(Some(pid), WaitOptions::empty())?;
            ensure!(ended.is_some(), "one of the crowd is not to be found");
        }
        Ok(())
    }
}

fn sleep() -> Result<()> {
    loop {
        std::thread::park();
    }
}

fn compute() -> Result<()> {
    // SAFETY: it takes a number, and its signal ends the process.
    unsafe { libc::alarm(LONGEST_LOAD) };
    loop {
        std::hint::spin_loop();
    }
}
