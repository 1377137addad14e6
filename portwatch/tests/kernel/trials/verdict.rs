//! Attempts that others than the protocol decide about.

use anyhow::Result;

use super::{
    super::{
        compare::same_attempts,
        driver::{Pace, Workload},
        portwatch,
        source::Source,
    },
    exactly,
};

pub(super) fn landlock(source: Source) -> Result<()> {
    exactly(source, "landlock", Pace::Stepwise).map(drop)
}

pub(super) fn cgroup_bpf(source: Source) -> Result<()> {
    exactly(source, "cgroup_bpf", Pace::Stepwise).map(drop)
}

/// What the kernel itself decided by.
pub(super) fn state_and_credentials(source: Source) -> Result<()> {
    exactly(source, "decided", Pace::Stepwise).map(drop)
}

/// Seen by one source, if it was asked for.
pub(super) fn seccomp(source: Source) -> Result<()> {
    let mut portwatch = portwatch::start(source, &["--seccomp"])?;
    let done = Workload::prepare("seccomp", Pace::Stepwise)?.run(&mut portwatch)?;
    same_attempts(source, &done, &portwatch.stop()?)
}

pub(super) fn seccomp_unasked(source: Source) -> Result<()> {
    exactly(source, "seccomp", Pace::Stepwise).map(drop)
}
