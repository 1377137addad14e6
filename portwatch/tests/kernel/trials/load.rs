//! More attempts than can be written as they come: none disappears in silence.

use anyhow::{Context as _, Result, ensure};

use super::{
    super::{
        driver::{Done, Impossible, Pace, Workload},
        portwatch::{self, Started},
        source::{self, Source},
        stream::Stream,
        workload::{GREAT_STORM, STORM},
    },
    cost::own_memory_is_small,
};

pub(super) fn storm_is_written_or_counted_as_lost(source: Source) -> Result<()> {
    let mut portwatch = portwatch::start(source, &[])?;
    let done = Workload::prepare("storm", Pace::Burst)?.run(&mut portwatch)?;
    written_or_counted(&done, STORM, &portwatch.stop()?)
}

/// The number at which a ring of any size has run over many times.
pub(super) fn storm_of_200_000(source: Source) -> Result<()> {
    if source != Source::Fexit {
        return Err(Impossible("only for the quickest source".to_owned()).into());
    }
    if !source::is_emulated() {
        return Err(Impossible("only in the test kernels".to_owned()).into());
    }
    let mut portwatch = portwatch::start(source, &[])?;
    let done = Workload::prepare("great_storm", Pace::Burst)?.run(&mut portwatch)?;
    written_or_counted(&done, GREAT_STORM, &portwatch.stop()?)
}

pub(super) fn storm_with_a_stalled_reader(source: Source) -> Result<()> {
    // On a larger machine the ring would hold all of it.
    let mut command = portwatch::command(source, &["--ring-size", "512K"])?;
    let stalled = Started::run(&mut command)?;
    let done = Workload::prepare("storm", Pace::Burst)?.run_watched_by(&mut [])?;
    own_memory_is_small(stalled.pid())?;
    let mut resumed = stalled.read();
    // Whoever reads again gets all that was kept, and the losses, without waiting for more.
    resumed.wait_for_account(done.pid, usize::try_from(STORM)?)?;
    let stream = resumed.stop()?;
    let start = stream.starts.first().context("no start")?;
    ensure!(start.ring_bytes == 512 * 1024, "{}", start.ring_bytes);
    written_or_counted(&done, STORM, &stream)?;
    ensure!(
        stream.lost() > 0,
        "nothing was lost: {STORM} attempts were kept in memory"
    );
    Ok(())
}

/// Losses have no pid. Those of others can be among them only if others were at work. A skipped run counts as
/// one, whether an attempt was lost by it, a part of one, or nothing.
pub(super) fn written_or_counted(done: &Done, attempts: u64, stream: &Stream) -> Result<()> {
    ensure!(
        done.total == attempts,
        "{} attempts were made, expected {attempts}",
        done.total
    );
    let written = stream.of(done.pid).count() as u64;
    let others = stream.attempts.len() as u64 - written;
    let (lost, skipped) = (stream.lost(), stream.skipped());
    let accounted = written + lost;
    let text = format!(
        "{attempts} attempts were made, {written} written, {lost} lost, {skipped} of them skipped runs, \
         {others} of others"
    );
    ensure!(written <= attempts && accounted >= attempts, "{text}");
    ensure!(
        accounted - skipped <= attempts || (others > 0 && lost > 0),
        "{text}"
    );
    Ok(())
}
