//! Attempts of the kernel itself, which are shown only if they are asked for.

use anyhow::{Result, ensure};

use super::super::{
    compare::same_attempts,
    driver::{Pace, Workload},
    portwatch,
    source::Source,
};

pub(super) fn asked_for(source: Source) -> Result<()> {
    let mut portwatch = portwatch::start(source, &["--kernel"])?;
    let done = Workload::prepare("kernels_own", Pace::Burst)?.run(&mut portwatch)?;
    same_attempts(source, &done, &portwatch.stop()?)
}

pub(super) fn unasked(source: Source) -> Result<()> {
    let mut portwatch = portwatch::start(source, &[])?;
    let done = Workload::prepare("kernels_own", Pace::Burst)?.run(&mut portwatch)?;
    let stream = portwatch.stop()?;
    let shown: Vec<_> = stream.of(done.pid).map(ToString::to_string).collect();
    ensure!(shown.is_empty(), "shown are {shown:?}");
    Ok(())
}
