//! The ways into the kernel, and the protocols that go their own.

use std::{path::Path, process::Command};

use anyhow::{Context as _, Result, ensure};

use super::{
    super::{
        compare::same_attempts,
        driver::{Done, Impossible, Pace, Workload},
        portwatch::{self, Portwatch},
        source::Source,
        stream::Stream,
        sys,
    },
    connect::End,
    exactly,
};

/// The ring's connects end after their calls, like others that do not wait.
pub(super) fn io_uring(source: Source) -> Result<()> {
    if source != Source::Tracepoint && sys::is_before(5, 15)? {
        let why = "before 5.15 io_uring's own functions cannot be hooked, and it waits where later it asks again";
        return Err(Impossible(why.to_owned()).into());
    }
    let expected = [OK, REFUSED, REFUSED].repeat(3);
    for workload in ["io_uring", "io_uring_within"] {
        let (done, stream) = exactly(source, workload, Pace::Stepwise)?;
        same_ends(source, &done, &stream, "io_uring", &expected)?;
    }
    Ok(())
}

pub(super) fn compat32(source: Source) -> Result<()> {
    let (done, stream) = exactly(source, "compat32", Pace::Stepwise)?;
    same_ends(source, &done, &stream, "compat32", &[OK, OK])
}

pub(super) fn fastopen(source: Source) -> Result<()> {
    let (done, stream) = exactly(source, "fastopen", Pace::Stepwise)?;
    same_ends(source, &done, &stream, "fastopen", &[OK, OK, OK, REFUSED])?;
    let deferred = stream.of(done.pid).filter(|attempt| attempt.deferred);
    ensure!(deferred.count() == if source == Source::Tracepoint { 0 } else { 2 });
    same_ends(source, &done, &stream, "syscall", &[OK, REFUSED])
}

pub(super) fn mptcp(source: Source) -> Result<()> {
    let (done, stream) = exactly(source, "mptcp", Pace::Stepwise)?;
    same_ends(source, &done, &stream, "syscall", &[REFUSED])
}

pub(super) fn sctp_loaded_before(source: Source) -> Result<()> {
    modprobe(&["sctp"])?;
    exactly(source, "sctp", Pace::Stepwise).map(drop)
}

/// What SCTP does by options of its own, and what of its connect only its own function tells.
pub(super) fn sctp_options(source: Source) -> Result<()> {
    modprobe(&["sctp"])?;
    exactly(source, "sctp_options", Pace::Stepwise).map(drop)
}

/// Who opens the first socket has the module loaded. It cannot be unloaded again: one run for all.
pub(super) fn sctp_loaded_while_all_watch(_: Source) -> Result<()> {
    if is_loaded("sctp") {
        return Err(Impossible("sctp is loaded already".to_owned()).into());
    }
    let mut watching = Vec::new();
    for source in Source::ALL {
        if source.unusable()?.is_none() {
            watching.push((source, portwatch::start(source, &[])?));
        }
    }
    let mut portwatches: Vec<&mut Portwatch> = watching.iter_mut().map(|it| &mut it.1).collect();
    let first = Workload::prepare("sctp", Pace::Stepwise)?.run_watched_by(&mut portwatches)?;
    // By now all have attached what the module has.
    let options = Workload::prepare("sctp_options", Pace::Stepwise)?;
    let options = options.run_watched_by(&mut portwatches)?;
    for (source, portwatch) in watching {
        let stream = portwatch.stop()?;
        for done in [&first, &options] {
            same_attempts(source, done, &stream).context(source.name())?;
        }
    }
    Ok(())
}

fn is_loaded(module: &str) -> bool {
    Path::new("/sys/module").join(module).exists()
}

pub(super) fn modprobe(args: &[&str]) -> Result<()> {
    let output = Command::new("modprobe").args(args).output();
    let why = match output {
        Ok(output) if output.status.success() => return Ok(()),
        Ok(output) => String::from_utf8_lossy(&output.stderr).trim().to_owned(),
        Err(error) => error.to_string(),
    };
    Err(Impossible(format!("modprobe {}: {why}", args.join(" "))).into())
}

const OK: End<'static> = ("ok", Some(0));
const REFUSED: End<'static> = ("failed", Some(-libc::ECONNREFUSED));

/// What was pending got its end, from the sources that tell ends.
fn same_ends(
    source: Source,
    done: &Done,
    stream: &Stream,
    via: &str,
    expected: &[End<'_>],
) -> Result<()> {
    let pending = stream
        .of(done.pid)
        .filter(|it| it.via.as_deref() == Some(via) && it.outcome == "pending" && !it.repeat);
    let told = pending
        .filter_map(|attempt| stream.outcome_of(attempt))
        .map(|end| (end.outcome.as_str(), end.ret));
    let told: Vec<End<'_>> = told.collect();
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
