//! What the stream says of the watch itself: its start, what it loses, its end.

use std::{borrow::Cow, collections::BTreeMap, fmt, sync::Arc, time::Duration};

use super::{Attempt, End, Op, Outcome, System, Time};
use crate::errno::Errno;

/// Said once, when everything is attached: from here on nothing is missed in silence.
#[derive(Clone, Debug)]
pub struct Start {
    pub time: Time,
    /// The system that is watched
    pub system: System,
    /// Name of the source that runs
    pub backend: Cow<'static, str>,
    /// Bytes for attempts that wait to be read, where the source tells
    pub ring_bytes: Option<u32>,
    /// Hooks that are attached
    pub hooks: Vec<String>,
    /// Hooks that are not, and what is lost by it
    pub missing: Vec<MissingHook>,
    /// What this source cannot see, and better sources that did not load
    pub degradations: Vec<Degradation>,
    /// The kernel's release, as `uname -r` prints it
    pub kernel: String,
    /// The filters in force, as they were typed
    pub filters: Vec<String>,
    /// portwatch's own pid
    pub pid: u32,
}

/// A hook that could not be attached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MissingHook {
    pub hook: String,
    pub why: String,
    pub unseen: Cow<'static, str>,
}

/// A weaker mode, and how to get out of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Degradation {
    /// What is weaker: `source kprobe` …
    pub what: String,
    pub why: String,
    /// What to do about it; `None` where nothing can be done
    pub remedy: Option<String>,
}

/// Something that worked when the watch began, and no longer does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Degraded {
    pub time: Time,
    pub degradation: Degradation,
}

/// Attempts that did not make it into the stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lost {
    pub time: Time,
    pub count: u64,
    pub reason: LossReason,
    pub place: Place,
}

/// Where something was lost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    Cpu(u32),
    /// A hook, or those that share one program and are counted together
    Hook(Arc<str>),
    /// portwatch itself
    Here,
}

impl Place {
    /// Its name.
    pub const HERE: &str = "portwatch";
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cpu(number) => write!(f, "cpu {number}"),
            Self::Hook(hook) => f.write_str(hook),
            Self::Here => f.write_str(Self::HERE),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LossReason {
    /// The ring buffer was full: portwatch, or whoever reads its output, was too slow
    RingFull,
    /// There was no memory for a call that began, or no room in the table that older kernels take
    InflightFull,
    /// More connects pending at once than are followed: the outcome is lost, not the attempt
    PendingFull,
    /// The kernel skipped a program, since that or another one ran on the same CPU
    Recursion,
    /// The kernel skipped a probe, since another one ran on the same CPU or too many calls waited
    /// for its return
    ProbeMissed,
}

impl LossReason {
    pub const ALL: [Self; 5] = [
        Self::RingFull,
        Self::InflightFull,
        Self::PendingFull,
        Self::Recursion,
        Self::ProbeMissed,
    ];

    pub const fn name(self) -> &'static str {
        match self {
            Self::RingFull => "ring_full",
            Self::InflightFull => "inflight_full",
            Self::PendingFull => "pending_full",
            Self::Recursion => "recursion",
            Self::ProbeMissed => "probe_missed",
        }
    }
}

/// The last item: what was counted.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    pub time: Time,
    pub run_time: Duration,
    /// Attempts written, by operation and by how they ended
    pub attempts: BTreeMap<(Op, Outcome), u64>,
    /// Connects that were pending when they were last seen, written or not
    pub unended: Unended,
    /// Calls written that were no new attempts
    pub repeats: u64,
    /// Attempts written, by error
    pub errnos: BTreeMap<Errno, u64>,
    /// Attempts lost, by reason
    pub lost: BTreeMap<LossReason, u64>,
}

impl Summary {
    /// Takes note of an attempt that is written, and of which nothing is to come.
    pub fn count(&mut self, attempt: &Attempt) {
        if attempt.repeat {
            self.repeats += 1;
        } else {
            self.add(attempt.op, attempt.outcome(), attempt.errno());
        }
    }

    /// Takes note of how an attempt ended that was pending, and is written.
    pub fn count_end(&mut self, attempt: &Attempt, end: End) {
        let errno = end.ret().and_then(|ret| attempt.system.errno(ret));
        self.add(attempt.op, end.outcome(), errno);
    }

    fn add(&mut self, op: Op, outcome: Outcome, errno: Option<Errno>) {
        *self.attempts.entry((op, outcome)).or_default() += 1;
        if let Some(errno) = errno {
            *self.errnos.entry(errno).or_default() += 1;
        }
    }
}

/// Connects whose end was not seen, by the reason for that. They passed the filters, but for what
/// those ask of the end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unended {
    /// The watch was over before them
    pub not_over: u64,
    /// The source does not tell how they end
    pub not_told: u64,
    /// More were pending at once than are followed
    pub not_followed: u64,
}

impl Unended {
    pub const fn total(self) -> u64 {
        self.not_over + self.not_told + self.not_followed
    }
}
