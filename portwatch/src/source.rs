//! Where events come from: which source runs here, and what it cannot see.

#[cfg(target_os = "linux")]
pub mod btf;
#[cfg(target_os = "linux")]
mod choose;
pub mod cost;
#[cfg(target_os = "linux")]
pub mod decode;
pub mod dtrace;
#[cfg(target_os = "linux")]
pub mod ebpf;
mod live;
#[cfg(target_os = "linux")]
mod offsets;
pub mod record;
pub mod replay;
#[cfg(target_os = "linux")]
pub mod tracefs;

use std::num::NonZeroU32;

#[cfg(target_os = "linux")]
pub use self::choose::{NoSource, open};
pub use self::live::Source;
use crate::{
    event::{Degradation, MissingHook, System},
    filter::{Filter, Pinned},
};

/// What the user asked for with `--source`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Choice {
    /// The best that loads
    #[default]
    Auto,
    Only(Kind),
}

/// What runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backend {
    Ebpf(Kind),
    Dtrace,
}

impl Backend {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ebpf(kind) => kind.name(),
            Self::Dtrace => "dtrace",
        }
    }
}

/// The sources of Linux, from the best to the one that works nearly everywhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Fexit,
    Kprobe,
    Tracepoint,
}

impl Kind {
    /// In the order in which `auto` tries them.
    pub const ALL: [Self; 3] = [Self::Fexit, Self::Kprobe, Self::Tracepoint];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Fexit => "fexit",
            Self::Kprobe => "kprobe",
            Self::Tracepoint => "tracepoint",
        }
    }
}

/// What is not seen, why, and what to do about it.
type BlindSpot = (&'static str, &'static str, Option<&'static str>);

const OUTCOMES: BlindSpot = (
    "how a pending connect ended is not told",
    "this source does not follow the socket",
    None,
);

/// What to trace.
#[derive(Clone, Debug, Default)]
pub struct Request {
    pub choice: Choice,
    /// What fails it may be left out
    pub filter: Filter,
    /// What these do not have is left out
    pub pinned: Pinned,
    /// Binds that succeed are remembered all the same, to explain attempts that pass
    pub keeps_binds: bool,
    /// Bytes for attempts that wait to be read, if not as the machine suggests
    pub ring_size: Option<NonZeroU32>,
    /// Attempts of kernel threads too
    pub kernel_threads: bool,
    /// Attempts that seccomp denies too, at the price of a slower path for every system call
    pub seccomp: bool,
    /// How much of the eBPF side's own diagnostics is wanted
    pub diagnostics: Option<log::Level>,
}

/// Whose attempts no filter lets pass.
#[derive(Clone, Copy, Debug)]
pub enum Callers {
    /// All in a cgroup, by its id
    Cgroup(u64),
    /// A process, with its start as in [`crate::event::Attempt::process_start`]
    Process { tgid: u32, start: u64 },
}

/// A source that runs, and what there is to say about it.
pub struct Opened {
    pub source: Source,
    /// The system that is watched
    pub system: System,
    pub backend: Backend,
    /// Bytes for attempts that wait to be read, where that is known
    pub ring_bytes: Option<u32>,
    pub hooks: Vec<String>,
    pub missing: Vec<MissingHook>,
    pub degradations: Vec<Degradation>,
}

fn blind_spot((what, why, remedy): BlindSpot) -> Degradation {
    Degradation {
        what: what.to_owned(),
        why: why.to_owned(),
        remedy: remedy.map(ToOwned::to_owned),
    }
}
