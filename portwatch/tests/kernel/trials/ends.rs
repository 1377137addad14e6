//! Connects that are pending when their call returns: how they end decides, and is what is shown.

use std::{fs, process::Command};

use anyhow::{Context as _, Result, ensure};
use rustix::process::Signal;
use serde_json::Value;

use super::{
    super::{
        driver::{Pace, Workload},
        portwatch,
        process::{Process, next_line},
        source::{self, Source},
        stream::Stream,
    },
    replay::replayed,
};

/// What a filter lets through, if the source tells how they end: of three connects that are pending
/// when their calls return, and are granted, refused and given up; and of one that waits and succeeds,
/// which takes the room that the last one lacks. Then how many of them were pending.
const FILTERS: [(&[&str], &[&str], usize); 6] = [
    (&["-x"], &["failed"], 1),
    (&["--errno", "ECONNREFUSED"], &["failed"], 1),
    (&["--filter", "outcome=ok"], &["ok", "ok"], 1),
    (
        &["--filter", "outcome=abandoned or outcome=failed"],
        &["abandoned", "failed"],
        2,
    ),
    (&["--errno", "EINPROGRESS"], &[], 0),
    (
        &["--filter", "not errno=ECONNREFUSED"],
        &["abandoned", "ok", "ok"],
        2,
    ),
];

/// The workload's pending connects, and another who sees all of it.
fn watched_with(source: Source, args: &[&str]) -> Result<(u32, Stream, Stream)> {
    let mut all = portwatch::start(source, &[])?;
    let some = portwatch::start(source, args)?;
    let done = Workload::prepare("pending", Pace::Stepwise)?.run(&mut all)?;
    all.wait_for_outcomes(done.pid, 3)?;
    Ok((done.pid, some.stop()?, all.stop()?))
}

const fn tells(source: Source) -> bool {
    !matches!(source, Source::Tracepoint)
}

pub(super) fn decide(source: Source) -> Result<()> {
    for (args, expected, pending) in FILTERS {
        let args = [args, &["--op", "connect", "--no-explain"]].concat();
        let (pid, some, _) = watched_with(source, &args)?;
        // The last call asks again.
        let again = Some(-libc::EALREADY);
        let first = some.of(pid).filter(|attempt| attempt.ret != again);
        let mut ends: Vec<_> = first.map(|attempt| some.end_of(attempt).0).collect();
        // Each is written when it has ended.
        ends.sort_unstable();
        if tells(source) {
            ensure!(ends == expected, "{args:?} shows {ends:?}");
            let told = some.outcomes_of(pid).count();
            ensure!(told == pending, "{told} ends of {expected:?}");
        } else {
            let known = ends.iter().all(|end| ["ok", "pending"].contains(end));
            ensure!(known, "{args:?} shows {ends:?}");
            let summary = some.summaries.last().context("no summary")?;
            ensure!(summary.pending["not_told"] == 3, "{:?}", summary.pending);
        }
    }
    Ok(())
}

/// Under what each is counted, once.
pub(super) fn are_counted(source: Source) -> Result<()> {
    let mut all = portwatch::start(source, &[])?;
    let mut command = portwatch::command(source, &["--group-by", "pid,op,outcome,errno"])?;
    let mut process = Process::spawn(&mut command)?;
    let mut stdout = process.stdout()?;
    next_line(&mut stdout)?.context("no start")?;
    let done = Workload::prepare("pending", Pace::Stepwise)?.run(&mut all)?;
    all.wait_for_outcomes(done.pid, 3)?;
    all.stop()?;
    process.signal(Signal::INT)?;
    let mut counted = Vec::new();
    while let Some(line) = next_line(&mut stdout)? {
        let line: Value = serde_json::from_str(&line)?;
        let by = &line["by"];
        if line["kind"] == "group" && by["pid"] == done.pid && by["op"] == "connect" {
            let errno = by["errno"].as_str().unwrap_or("-").to_owned();
            counted.push((by["outcome"].to_string(), errno, line["count"].as_u64()));
        }
    }
    process.wait()?.expect_code(0)?;
    counted.sort_unstable();
    let count =
        |outcome: &str, errno: &str, count| (format!("{outcome:?}"), errno.to_owned(), Some(count));
    let expected = if tells(source) {
        vec![
            count("abandoned", "-", 1),
            count("failed", "EALREADY", 1),
            count("failed", "ECONNREFUSED", 1),
            count("ok", "-", 2),
        ]
    } else {
        vec![
            count("failed", "EALREADY", 1),
            count("ok", "-", 1),
            count("pending", "EINPROGRESS", 3),
        ]
    };
    ensure!(counted == expected, "counted were {counted:?}");
    Ok(())
}

/// The lines of a workload's connects in text.
fn text_of(source: Source, workload: &str, outcomes: usize) -> Result<Vec<String>> {
    let mut all = portwatch::start(source, &[])?;
    let mut command = Command::new(source::binary()?);
    command.args(["--source", source.name(), "--op", "connect", "-q"]);
    let mut process = Process::spawn(&mut command)?;
    let mut stdout = process.stdout()?;
    next_line(&mut stdout)?.context("no heading")?;
    let done = Workload::prepare(workload, Pace::Stepwise)?.run(&mut all)?;
    all.wait_for_outcomes(done.pid, outcomes)?;
    all.stop()?;
    process.signal(Signal::INT)?;
    let mut shown = Vec::new();
    while let Some(line) = next_line(&mut stdout)? {
        ensure!(!line.contains("is under way, and"), "{line}");
        // What stands below a line is indented, and may name the process too.
        if !line.starts_with(' ') && line.contains(&format!(" {} ", done.pid)) {
            shown.push(line);
        }
    }
    process.wait()?.expect_code(0)?;
    Ok(shown)
}

/// Whether it says so: the own end follows the word where it is known, which it may not be where the same
/// descriptor was used again at once.
fn is_pending(line: &str) -> bool {
    line.split_whitespace().any(|word| word == "pending")
}

/// One that lasts for more than a second is shown twice.
pub(super) fn are_pending_first(source: Source) -> Result<()> {
    let shown = text_of(source, "lasting", 1)?;
    let has = |line: &String, what: &str| line.contains(what);
    let is_right = match &shown[..] {
        [_, pending, end] if tells(source) => {
            is_pending(pending) && has(end, " ok from ") && has(end, " after ")
        }
        [_, pending] => !tells(source) && is_pending(pending),
        _ => false,
    };
    ensure!(is_right, "{shown:#?}");
    Ok(())
}

/// A line each, whether they end at once or after their call has returned.
pub(super) fn have_one_line_of_text(source: Source) -> Result<()> {
    let shown = text_of(source, "pending", 3)?;
    let of = |what: &str| shown.iter().filter(|line| line.contains(what)).count();
    let pending = shown.iter().filter(|line| is_pending(line)).count();
    if tells(source) {
        let lines = (of(" ok from "), of(" ECONNREFUSED "), of(" abandoned "));
        ensure!(lines == (2, 1, 1), "{shown:#?}");
        // One that lasts for a second has a line for that.
        ensure!(pending <= 1 && of("EALREADY") == 1, "{shown:#?}");
        ensure!(shown.len() == 5 + pending, "{shown:#?}");
    } else {
        ensure!(pending == 3 && shown.len() == 5, "{shown:#?}");
    }
    Ok(())
}

pub(super) fn of_a_recording_decide(source: Source) -> Result<()> {
    let (pid, some, all) = watched_with(source, &["-x", "--op", "connect"])?;
    let directory = tempfile::tempdir()?;
    let file = directory.path().join("recording.jsonl");
    fs::write(&file, &all.text)?;
    let mut again = Stream::default();
    for line in replayed(&file, &["--json", "-x", "--op", "connect"])?.lines() {
        again.push(line)?;
    }
    again.check_end()?;
    let keys = |stream: &Stream| -> Vec<_> {
        let own = stream.of(pid);
        own.map(|attempt| {
            let (outcome, errno) = stream.end_of(attempt);
            (attempt.fd, outcome.to_owned(), errno.map(str::to_owned))
        })
        .collect()
    };
    let (live, replayed) = (keys(&some), keys(&again));
    ensure!(live == replayed, "live {live:?}, replayed {replayed:?}");
    let refused = live.iter().filter(|(_, outcome, errno)| {
        outcome == "failed" && errno.as_deref() == Some("ECONNREFUSED")
    });
    ensure!(refused.count() == usize::from(tells(source)), "{live:?}");
    Ok(())
}
