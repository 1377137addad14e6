//! Recordings: what was watched is shown again as it was.

use std::{fs, io::Read as _, path::Path, process::Command};

use anyhow::{Context as _, Result, ensure};
use rustix::process::Signal;

use super::super::{
    driver::{Pace, Workload},
    portwatch,
    process::{Process, next_line},
    source::{self, Source},
    stream::Stream,
};

pub(super) fn same_bytes(source: Source) -> Result<()> {
    let watched = watched(source)?;
    let directory = tempfile::tempdir()?;
    let file = directory.path().join("recording.jsonl");
    fs::write(&file, &watched.text)?;
    let again = replayed(&file, &["--json"])?;
    same_lines(&watched.text, &again)
}

/// Text and JSON of one session, written at once: the replay of the JSON is the same text, and
/// the same JSON.
pub(super) fn same_text(source: Source) -> Result<()> {
    let directory = tempfile::tempdir()?;
    let log = directory.path().join("log.jsonl");
    // It tells when everything was seen.
    let mut watcher = portwatch::start(source, &[])?;
    let mut command = Command::new(source::binary()?);
    command
        .args(["--source", source.name(), "--log-file"])
        .arg(&log);
    let mut process = Process::spawn(&mut command)?;
    let mut stdout = process.stdout()?;
    let mut text = next_line(&mut stdout)?.context("no heading")?;
    text.push('\n');
    Workload::prepare("mixture", Pace::Stepwise)?.run(&mut watcher)?;
    process.signal(Signal::INT)?;
    stdout.read_to_string(&mut text)?;
    process.wait()?.expect_code(0)?;
    let recorded = fs::read_to_string(&log)?;
    ensure!(text.lines().count() > 1, "nothing was shown");
    same_lines(&text, &replayed(&log, &["-q"])?)?;
    same_lines(&recorded, &replayed(&log, &["--json"])?)?;
    watcher.stop().map(drop)
}

fn same_lines(recorded: &str, replayed: &str) -> Result<()> {
    for (was, is) in recorded.lines().zip(replayed.lines()) {
        ensure!(was == is, "recorded\n{was}\nreplayed\n{is}");
    }
    ensure!(recorded == replayed, "the replay has other lines");
    Ok(())
}

pub(super) fn filtered(source: Source) -> Result<()> {
    let watched = watched(source)?;
    let directory = tempfile::tempdir()?;
    let file = directory.path().join("recording.jsonl");
    fs::write(&file, &watched.text)?;
    let mut failed = Stream::default();
    for line in replayed(&file, &["--json", "--failed"])?.lines() {
        failed.push(line)?;
    }
    failed.check_end()?;
    let keys = |stream: &Stream| -> Vec<_> {
        let failed = stream.attempts.iter();
        let failed = failed.filter(|attempt| stream.end_of(attempt).0 == "failed");
        failed
            .map(|attempt| {
                (
                    attempt.pid,
                    attempt.op,
                    attempt.port,
                    attempt.fd,
                    attempt.ret,
                )
            })
            .collect()
    };
    ensure!(
        keys(&failed) == keys(&watched) && failed.attempts.len() < watched.attempts.len(),
        "{} of {} attempts have failed",
        failed.attempts.len(),
        watched.attempts.len()
    );
    Ok(())
}

fn watched(source: Source) -> Result<Stream> {
    let workload = Workload::prepare("mixture", Pace::Burst)?;
    let portwatch = portwatch::start(source, &[])?;
    workload.run_watched_by(&mut [])?;
    portwatch.stop()
}

pub(super) fn replayed(file: &Path, args: &[&str]) -> Result<String> {
    let mut command = Command::new(source::binary()?);
    command.arg("replay").arg(file).args(args);
    let mut process = Process::spawn(&mut command)?;
    let text = std::io::read_to_string(process.stdout()?).context("cannot read the replay")?;
    process.wait()?.expect_code(0)?.expect_quiet()?;
    Ok(text)
}
