//! Options that a subcommand takes since a watch does, but that mean nothing in it: its help leaves
//! them out, whoever types them is told, and those of files are passed over.

use super::{Explain, Format, Source, Watch};

/// The long name of an option, and whether it was given.
pub type Moot = (&'static str, fn(&Watch) -> bool);

/// What only a watch does: a replay looks nothing up, and writes to standard output.
pub const IN_REPLAY: &[Moot] = &[
    ("kernel", |watch| watch.kernel),
    ("seccomp", |watch| watch.seccomp),
    ("cmdline", |watch| watch.cmdline),
    ("cgroupmap", |watch| watch.filters.cgroupmap.is_some()),
    ("mntnsmap", |watch| watch.filters.mntnsmap.is_some()),
    ("duration", |watch| watch.duration.is_some()),
    ("source", |watch| watch.source != Source::Auto),
    ("ring-size", |watch| watch.ring_size.is_some()),
    ("user-after", |watch| watch.user_after.is_some()),
    ("log-file", |watch| watch.log_file.is_some()),
    ("log-format", |watch| watch.log_file.is_some()),
    ("journald", |watch| watch.journald.is_some()),
    ("syslog", |watch| watch.syslog.is_some()),
];

/// How lines are written, where there are none.
pub const IN_TOP: &[Moot] = &[
    ("output", |watch| watch.output != Format::default()),
    ("json", |watch| watch.json),
    ("fields", |watch| watch.fields.is_some()),
    ("format", |watch| watch.format.is_some()),
    ("summary", |watch| watch.summary),
    ("group-by", |watch| watch.group_by.is_some()),
    ("explain", |watch| watch.explain != Explain::default()),
    ("no-header", |watch| watch.no_header),
    ("quiet", |watch| watch.quiet),
];

/// The first that was given.
pub fn given(moot: &[Moot], watch: &Watch) -> Option<&'static str> {
    let found = moot.iter().find(|(_, given)| given(watch));
    found.map(|(long, _)| *long)
}

pub(super) fn hidden(argument: clap::Arg, moot: &[Moot]) -> clap::Arg {
    let long = argument.get_long();
    let is_moot = moot.iter().any(|(name, _)| Some(*name) == long);
    if is_moot {
        argument.hide(true)
    } else {
        argument
    }
}
