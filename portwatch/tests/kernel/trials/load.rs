//! More attempts than can be written as they come: none disappears in silence.

use anyhow::{Result, ensure};

use super::super::{
    driver::{Done, Pace, Workload},
    portwatch::{self, Started},
    source::Source,
    stream::Stream,
    workload::STORM,
};

pub(super) fn storm_is_written_or_counted_as_lost(source: Source) -> Result<()> {
    let mut portwatch = portwatch::start(source, &[])?;
    let done = Workload::prepare("storm", Pace::Burst)?.run(&mut portwatch)?;
    written_or_counted(&done, &portwatch.stop()?)
}

pub(super) fn storm_with_a_stalled_reader(source: Source) -> Result<()> {
    let stalled = Started::run(&mut portwatch::command(source, &[])?)?;
    let done = Workload::prepare("storm", Pace::Burst)?.run_watched_by(&mut [])?;
    let stream = stalled.read().stop()?;
    written_or_counted(&done, &stream)?;
    ensure!(
        stream.lost() > 0,
        "nothing was lost: {STORM} attempts were kept in memory"
    );
    Ok(())
}

/// Losses have no pid. Those of others can be among them only if others were at work.
fn written_or_counted(done: &Done, stream: &Stream) -> Result<()> {
    ensure!(
        done.total == STORM,
        "{} attempts were made, expected {STORM}",
        done.total
    );
    let written = stream.of(done.pid).count() as u64;
    let others = stream.attempts.len() as u64 - written;
    let accounted = written + stream.lost();
    let text = format!(
        "{STORM} attempts were made, {written} written, {} lost, {others} of others",
        stream.lost()
    );
    ensure!(written <= STORM && accounted >= STORM, "{text}");
    ensure!(
        accounted == STORM || (others > 0 && stream.lost() > 0),
        "{text}"
    );
    Ok(())
}
