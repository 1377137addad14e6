//! `bind()`, as it is granted and refused.

use anyhow::{Result, ensure};

use super::{
    super::{
        compare::first_attempts,
        driver::{Pace, Workload},
        portwatch,
        source::Source,
        workload::USER,
    },
    exactly,
};

pub(super) fn four_binds_of_an_ordinary_user(source: Source) -> Result<()> {
    let (done, stream) = exactly(source, "four_binds", Pace::Stepwise)?;
    let refused = stream
        .of(done.pid)
        .filter(|attempt| attempt.errno.as_deref() == Some("EACCES"))
        .count();
    let granted = stream
        .of(done.pid)
        .filter(|attempt| attempt.outcome == "ok")
        .count();
    ensure!(
        (refused, granted) == (4, 4),
        "{refused} refused and {granted} granted, expected 4 and 4"
    );
    ensure!(
        stream.of(done.pid).all(|attempt| attempt.uid == USER),
        "not all by uid {USER}"
    );
    Ok(())
}

pub(super) fn every_protocol_while_its_socket_is_open(source: Source) -> Result<()> {
    exactly(source, "every_protocol", Pace::Stepwise).map(drop)
}

pub(super) fn every_protocol_when_the_process_is_gone(source: Source) -> Result<()> {
    exactly(source, "every_protocol", Pace::Burst).map(drop)
}

pub(super) fn every_error_of_bind(source: Source) -> Result<()> {
    exactly(source, "bind_errors", Pace::Stepwise).map(drop)
}

pub(super) fn foreign_family_on_an_internet_socket(source: Source) -> Result<()> {
    exactly(source, "foreign_family", Pace::Stepwise).map(drop)
}

/// What is looked up afterwards must not be taken for what was.
pub(super) fn reused_descriptor_is_not_mistaken(source: Source) -> Result<()> {
    let mut portwatch = portwatch::start(source, &[])?;
    portwatch.pause()?;
    let done = Workload::prepare("reused_descriptor", Pace::Burst)?.run(&mut portwatch)?;
    let stream = portwatch.stop()?;
    let reported = stream.of(done.pid).count() as u64;
    let made = done.truths.len() as u64 + done.total;
    ensure!(
        reported == made,
        "{reported} of {made} attempts were reported"
    );
    first_attempts(source, &done, &stream)
}
