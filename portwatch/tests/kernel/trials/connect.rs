//! `connect()`, decided at once, later, or never.

use anyhow::Result;

use super::{
    super::{driver::Pace, source::Source},
    exactly,
};

pub(super) fn every_outcome_of_connect(source: Source) -> Result<()> {
    exactly(source, "connects", Pace::Stepwise).map(drop)
}

pub(super) fn every_error_of_connect(source: Source) -> Result<()> {
    exactly(source, "connect_errors", Pace::Stepwise).map(drop)
}

/// More at once than a return probe has instances for: `max(10, 2 * CPUs)`, kernel/kprobes.c.
pub(super) fn sixty_blocked_connects(source: Source) -> Result<()> {
    exactly(source, "blocked_connects", Pace::Burst).map(drop)
}
