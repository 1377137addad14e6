//! What DTrace tells nothing of, so that asking for it would match nothing: it is refused by name.

use clap::ValueEnum as _;

use super::ConfigError;
use crate::{
    cli::{Source, Watch},
    event::{Op, System},
    filter::{Field, Filter, Value},
};

/// Filters that no attempt from DTrace can pass, and why.
const UNTOLD: [(Field, &str); 5] = [
    (Field::Proto, "it sees the call and not the socket"),
    (Field::Netns, "macOS has no network namespaces"),
    (Field::Cgroup, "macOS has no cgroups"),
    (Field::Container, "macOS has no cgroups to know them by"),
    (Field::Unit, "macOS has no systemd"),
];

/// The same of a watch; a recording has the parents of those that made attempts themselves.
const TREE: (Field, &str) = (
    Field::PpidTree,
    "of what stands above a process it tells the parent alone",
);

impl Source {
    pub const fn is_dtrace(self) -> bool {
        match self {
            Self::Dtrace => true,
            Self::Auto => cfg!(target_os = "macos"),
            Self::Fexit | Self::Kprobe | Self::Tracepoint => false,
        }
    }

    /// As it is typed.
    pub fn name(self) -> String {
        let value = self.to_possible_value();
        value.map_or_else(String::new, |value| value.get_name().to_owned())
    }
}

/// What is of no such field.
const LISTEN: (&str, &str) = (
    "op=listen",
    "where listen() binds, no call of bind() comes by",
);

/// The first thing that a filter asks for and that is never told of an attempt on macOS, and why.
fn untold(filter: &Filter) -> Option<(&'static str, &'static str)> {
    let mut fields = UNTOLD.into_iter();
    let field = fields.find(|(field, _)| filter.asks_for(*field));
    let listen = || Some(LISTEN).filter(|_| filter.names(&Value::Op(Op::Listen)));
    field
        .map(|(field, why)| (field.name(), why))
        .or_else(listen)
}

impl ConfigError {
    /// What is wrong with a filter for a recording of that system.
    pub fn of_recording(system: System, filter: &Filter) -> Option<Self> {
        let (what, why) = untold(filter).filter(|_| system != System::Linux)?;
        Some(Self::NotInRecording(what, system, why))
    }
}

/// For a watch with DTrace.
pub(super) fn check(watch: &Watch, filter: &Filter) -> Result<(), ConfigError> {
    let options = [
        (watch.kernel, "--kernel", "it sees system calls alone"),
        (watch.seccomp, "--seccomp", "macOS has no seccomp"),
        (
            watch.cmdline,
            "--cmdline",
            "nothing is looked up of a process there",
        ),
        (
            watch.ring_size.is_some(),
            "--ring-size",
            "DTrace's buffers are its own",
        ),
        (
            watch.user_after.is_some(),
            "--user-after",
            "macOS has no capabilities to keep",
        ),
        (
            watch.filters.cgroupmap.is_some(),
            "--cgroupmap",
            "its map is asked in the kernel",
        ),
        (
            watch.filters.mntnsmap.is_some(),
            "--mntnsmap",
            "its map is asked in the kernel",
        ),
    ];
    match options.into_iter().find(|(given, ..)| *given) {
        Some((_, option, why)) => Err(ConfigError::NotWithDtrace(option, why)),
        None => check_filter(filter),
    }
}

/// For a watch with DTrace, or a view of one.
pub(super) fn check_filter(filter: &Filter) -> Result<(), ConfigError> {
    let (tree, why) = TREE;
    let tree = || filter.asks_for(tree).then_some((tree.name(), why));
    match untold(filter).or_else(tree) {
        Some((what, why)) => Err(ConfigError::NotWithDtrace(what, why)),
        None => Ok(()),
    }
}
