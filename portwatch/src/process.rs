//! Processes, as /proc shows them: what the kernel's side could not tell.
//!
//! What is read is that of the process which made the attempt, or nothing. The number of a
//! process is used again, so its start is compared, after the reading. A process that runs
//! another program keeps number and start, so what is known of it also goes by the name of the
//! thread (which a new program changes), and the executable is looked at again when the last
//! look is some calls' time ago. What remains: a process that runs another program under the
//! same name within the moment between the call and the look is shown with the new one.

pub mod stat;
pub mod status;

use std::{
    collections::HashMap,
    ffi::OsStr,
    fmt::Write as _,
    fs::File,
    io::Read as _,
    os::unix::{ffi::OsStrExt as _, fs::MetadataExt as _},
    sync::Arc,
};

use foldhash::fast::RandomState;
use rustix::{
    fs::{CWD, readlinkat_raw},
    time::{ClockId, Timespec, clock_gettime},
};

use self::stat::{Stat, tick};
pub use self::status::{describe, parent, process_of_thread};
use crate::event::{Attempt, Comm, Process, Via};

/// What processes run, remembered.
#[derive(Debug)]
pub struct Processes {
    known: HashMap<Key, Known, RandomState>,
    /// Whether arguments are wanted
    cmdline: bool,
    /// Room for a path in /proc, and for what a link there says
    path: String,
    link: Box<[u8]>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Key {
    tgid: u32,
    /// Not known of every source
    start: Option<u64>,
    comm: Comm,
}

#[derive(Debug)]
struct Known {
    process: Arc<Process>,
    /// Begins of the calls that it was read for, and last looked at for
    read_ns: u64,
    looked_ns: u64,
}

/// Calls of one process that lie so close are taken to come from one program; and those of one number
/// and name from one process: numbers come round again after some ten thousand others.
pub(crate) const CLOSE_NS: u64 = 10_000_000;

/// Longest path (include/uapi/linux/limits.h).
const PATH_MAX: usize = 4096;

/// Bytes of arguments that are read.
const CMDLINE: u64 = 4096;

impl Processes {
    /// Processes that are remembered. When they are that many, all are forgotten: those that are
    /// busy are soon back.
    const CAPACITY: usize = 4096;

    /// Arguments are taken to stay the same for so long: processes rewrite their own.
    const FRESH_NS: u64 = 1_000_000_000;

    /// With arguments only where they are asked for.
    pub fn new(cmdline: bool) -> Self {
        Self {
            known: HashMap::default(),
            cmdline,
            path: String::new(),
            link: vec![0; PATH_MAX].into(),
        }
    }

    /// Adds to an attempt what its process runs, if that can still be seen, or was.
    pub fn describe(&mut self, attempt: &mut Attempt) {
        attempt.process = match attempt.via {
            // Kernel threads run nothing.
            Some(Via::Kernel) => None,
            _ => self.remembered(attempt),
        };
    }

    fn remembered(&mut self, attempt: &Attempt) -> Option<Arc<Process>> {
        let key = Key {
            tgid: attempt.tgid,
            start: attempt.process_start,
            comm: attempt.comm,
        };
        if let Some(known) = self.known(key, attempt) {
            return Some(known);
        }
        self.known.remove(&key);
        let process = Arc::new(self.read(attempt)?);
        if self.known.len() >= Self::CAPACITY {
            self.known.clear();
        }
        self.known.insert(
            key,
            Known {
                process: Arc::clone(&process),
                read_ns: attempt.id.start_ns,
                looked_ns: attempt.id.start_ns,
            },
        );
        Some(process)
    }

    /// What is known, unless another look says otherwise.
    fn known(&mut self, key: Key, attempt: &Attempt) -> Option<Arc<Process>> {
        let call_ns = attempt.id.start_ns;
        let known = self.known.get_mut(&key)?;
        if call_ns.abs_diff(known.looked_ns) >= CLOSE_NS {
            // Another process may have the number by now.
            key.start?;
            // A process that is gone ran what it ran when it was last seen.
            if let Some(exe) = executable(attempt, &mut self.path, &mut self.link) {
                let stale = self.cmdline && call_ns.abs_diff(known.read_ns) >= Self::FRESH_NS;
                let same = known.process.exe.as_deref() == Some(exe);
                if stale || !same {
                    return None;
                }
            }
            known.looked_ns = call_ns;
        }
        Some(Arc::clone(&known.process))
    }

    /// Reads first and compares then: what was read before is that process's.
    fn read(&mut self, attempt: &Attempt) -> Option<Process> {
        let exe = executable(attempt, &mut self.path, &mut self.link).map(Into::into);
        let process = Process {
            exe,
            cmdline: self.cmdline.then(|| cmdline(attempt)).flatten(),
        };
        is_still(attempt).then_some(process)
    }
}

/// What the process runs; `None` where that cannot be seen. A process whose first thread has
/// ended shows it only through the others.
fn executable<'a>(
    attempt: &Attempt,
    path: &mut String,
    link: &'a mut [u8],
) -> Option<&'a std::path::Path> {
    let Attempt { tgid, tid, .. } = attempt;
    let mut follow = |place: std::fmt::Arguments<'_>| {
        path.clear();
        path.write_fmt(place).ok()?;
        readlinkat_raw(CWD, path.as_str(), &mut *link).ok()
    };
    let len = follow(format_args!("/proc/{tgid}/exe"))
        .or_else(|| follow(format_args!("/proc/{tgid}/task/{tid}/exe")))?;
    Some(OsStr::from_bytes(&link[..len]).as_ref())
}

fn cmdline(attempt: &Attempt) -> Option<Box<[String]>> {
    let Attempt { tgid, tid, .. } = attempt;
    let look = |path: String| arguments(&read(&path, CMDLINE)?);
    look(format!("/proc/{tgid}/cmdline"))
        .or_else(|| look(format!("/proc/{tgid}/task/{tid}/cmdline")))
}

/// Each ends in a NUL. A process that writes a title over its arguments leaves more of them at
/// the end.
fn arguments(cmdline: &[u8]) -> Option<Box<[String]>> {
    let last = cmdline.iter().rposition(|&byte| byte != 0)?;
    let arguments = cmdline[..=last].split(|&byte| byte == 0);
    Some(
        arguments
            .map(|argument| String::from_utf8_lossy(argument).into_owned())
            .collect(),
    )
}

/// Whether the numbers of an attempt still mean the process that made it, and its thread, if it
/// is there, still has the name it had. (Another name: the process may run another program.)
pub fn is_still(attempt: &Attempt) -> bool {
    let Attempt { tgid, tid, .. } = attempt;
    let thread = || Stat::read(&format!("/proc/{tgid}/task/{tid}/stat"));
    let named = |stat: &Stat| stat.comm == attempt.comm.as_bytes();
    match attempt.process_start {
        Some(start) => Stat::read(&format!("/proc/{tgid}/stat")).is_some_and(|leader| {
            let thread = if tgid == tid { None } else { thread() };
            leader.start == tick(start)
                && (tgid != tid || named(&leader))
                && thread.is_none_or(|thread| named(&thread))
        }),
        // A thread that was there before the call and is now was there all the time.
        None => thread()
            .is_some_and(|thread| named(&thread) && thread.start <= tick(since_boot(attempt))),
    }
}

/// Whether a process began at that time, in nanoseconds since boot.
pub(crate) fn began_at(tgid: u32, start: u64) -> bool {
    Stat::read(&format!("/proc/{tgid}/stat")).is_some_and(|stat| stat.start == tick(start))
}

/// When the call began, on the clock that the start of a process is given in: the one of the
/// attempt does not go on while the machine sleeps.
fn since_boot(attempt: &Attempt) -> u64 {
    let ns = |clock| {
        let Timespec { tv_sec, tv_nsec } = clock_gettime(clock);
        tv_sec * 1_000_000_000 + tv_nsec
    };
    let asleep = ns(ClockId::Boottime).saturating_sub(ns(ClockId::Monotonic));
    attempt
        .id
        .start_ns
        .saturating_add(u64::try_from(asleep).unwrap_or(0))
}

/// Whether processes have the same numbers here as on the host: portwatch is in the initial pid
/// namespace (include/linux/proc_ns.h, `PROC_PID_INIT_INO`).
pub(crate) fn has_host_pids() -> bool {
    const INITIAL: u64 = 0xEFFF_FFFC;
    let namespace = std::fs::metadata("/proc/self/ns/pid");
    namespace.is_ok_and(|found| found.ino() == INITIAL)
}

/// All processes that /proc shows, the oldest numbers first.
pub(crate) fn all() -> impl Iterator<Item = u32> {
    std::fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// A file of /proc, as far as it is not longer than it may be. Most are shorter than a page, and read
/// with one call, and another that finds the end: they do not say how long they are.
pub(crate) fn read(path: &str, len: u64) -> Option<Vec<u8>> {
    const PAGE: usize = 4096;
    let mut bytes = Vec::with_capacity(PAGE);
    File::open(path)
        .ok()?
        .take(len)
        .read_to_end(&mut bytes)
        .ok()?;
    Some(bytes)
}

#[cfg(test)]
pub(crate) mod tests;
