//! `connect()`, decided at once, later, or never.

use anyhow::{Result, ensure};

use super::{
    super::{
        driver::{Done, Pace},
        source::Source,
        stream::Stream,
    },
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

/// What is followed to its end only by the sources that see the socket.
pub(super) fn pending_connect_gets_its_outcome(source: Source) -> Result<()> {
    let (done, stream) = exactly(source, "pending", Pace::Stepwise)?;
    let pending = stream
        .of(done.pid)
        .filter(|attempt| attempt.outcome == "pending");
    let told: Vec<Option<(End<'_>, bool)>> = pending
        .map(|attempt| stream.outcome_of(attempt))
        .map(|end| end.map(|end| ((end.outcome.as_str(), end.ret), end.reset)))
        .collect();
    let expected: [Option<(End<'_>, bool)>; 3] = match source {
        Source::Fexit | Source::Kprobe => [
            Some((("ok", Some(0)), false)),
            Some((("failed", Some(-libc::ECONNREFUSED)), true)),
            Some((("abandoned", None), false)),
        ],
        Source::Tracepoint => [None; 3],
    };
    ensure!(
        told == expected,
        "told were {told:?}, expected {expected:?}"
    );
    Ok(())
}

/// An outcome, and what it says the connect returned.
pub(super) type End<'a> = (&'a str, Option<i32>);

pub(super) fn killed_while_it_waits(source: Source) -> Result<()> {
    let (done, stream) = exactly(source, "killed", Pace::Burst)?;
    same_interrupted(source, &done, &stream, &[("abandoned", None)])
}

pub(super) fn interrupted_by_a_signal(source: Source) -> Result<()> {
    let (done, stream) = exactly(source, "interrupted", Pace::Stepwise)?;
    let expected = [("abandoned", None), ("abandoned", None)];
    same_interrupted(source, &done, &stream, &expected)
}

/// One call for its caller, and one here, with one end, which each source tells: the last of the calls
/// that it was made of has it.
pub(super) fn interrupted_and_restarted(source: Source) -> Result<()> {
    begun_anew(source, "restarted")
}

pub(super) fn interrupted_by_a_stop(source: Source) -> Result<()> {
    begun_anew(source, "stopped")
}

fn begun_anew(source: Source, workload: &str) -> Result<()> {
    let (done, stream) = exactly(source, workload, Pace::Stepwise)?;
    let told: Vec<End<'_>> = stream
        .outcomes_of(done.pid)
        .map(|end| (end.outcome.as_str(), end.ret))
        .collect();
    ensure!(told == [("ok", Some(0))], "told were {told:?}");
    Ok(())
}

/// The socket went on after the call: what became of it is told.
fn same_interrupted(
    source: Source,
    done: &Done,
    stream: &Stream,
    expected: &[End<'_>],
) -> Result<()> {
    let interrupted = stream
        .of(done.pid)
        .filter(|attempt| attempt.ret == Some(-libc::EINTR));
    let told: Vec<End<'_>> = interrupted
        .filter_map(|attempt| stream.outcome_of(attempt))
        .map(|end| (end.outcome.as_str(), end.ret))
        .collect();
    let expected = if source == Source::Tracepoint {
        &[]
    } else {
        expected
    };
    ensure!(
        told == expected,
        "told were {told:?}, expected {expected:?}"
    );
    Ok(())
}

/// It takes a port, as a bind does.
pub(super) fn listen_on_an_unbound_socket(source: Source) -> Result<()> {
    exactly(source, "listen", Pace::Burst).map(drop)
}
