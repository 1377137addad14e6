//! Whatever an ordinary user does, others go on to be seen.

use std::process::{ChildStdin, Command};

use anyhow::{Result, ensure};

use super::{
    super::{
        driver::{Impossible, Pace, Workload},
        portwatch,
        process::{Process, next_line},
        source::Source,
        sys,
        workload::{BLINDING, FLAG},
    },
    same_attempts,
};

/// Threads that wait in their calls.
pub(super) fn by_waiting(source: Source) -> Result<()> {
    if sys::is_before(5, 13)? {
        return Err(Impossible("before 5.13 there is a table that they fill".to_owned()).into());
    }
    others_are_seen(source, "waiting")
}

/// Threads that are gone, and the ends of whose calls were not seen.
pub(super) fn by_requests(source: Source) -> Result<()> {
    others_are_seen(source, "requests")
}

/// Threads that are gone, whose calls failed.
pub(super) fn by_reconnects(source: Source) -> Result<()> {
    others_are_seen(source, "reconnects")
}

fn others_are_seen(source: Source, how: &str) -> Result<()> {
    let mut portwatch = portwatch::start(source, &["-u", "0"])?;
    let _blinding = Blinding::start(how)?;
    let done = Workload::prepare("mixture", Pace::Stepwise)?.run(&mut portwatch)?;
    let stream = portwatch.stop()?;
    same_attempts(source, &done, &stream)?;
    // On a preemptible kernel runs are skipped in such a crowd, whosever they are.
    ensure!(stream.lost() == stream.skipped(), "{:?}", stream.losses);
    Ok(())
}

/// A process that has done so, and lives on.
struct Blinding {
    _process: Process,
    _stdin: ChildStdin,
}

impl Blinding {
    fn start(how: &str) -> Result<Self> {
        let own = std::env::current_exe()?;
        let mut process = Process::spawn(Command::new(own).args([FLAG, BLINDING, how]))?;
        let stdin = process.stdin()?;
        match next_line(&mut process.stdout()?)? {
            Some(_) => Ok(Self {
                _process: process,
                _stdin: stdin,
            }),
            None => Err(process.obituary()),
        }
    }
}
