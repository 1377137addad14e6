//! Recordings: what was watched is shown again as it was.

use std::{fs, path::Path, process::Command};

use anyhow::{Context as _, Result, ensure};

use super::super::{
    driver::{Pace, Workload},
    portwatch,
    process::Process,
    source::{self, Source},
    stream::Stream,
};

pub(super) fn same_bytes(source: Source) -> Result<()> {
    let watched = watched(source)?;
    let directory = tempfile::tempdir()?;
    let file = directory.path().join("recording.jsonl");
    fs::write(&file, &watched.text)?;
    let again = replayed(&file, &["--json"])?;
    for (was, is) in watched.text.lines().zip(again.lines()) {
        ensure!(was == is, "recorded\n{was}\nreplayed\n{is}");
    }
    ensure!(again == watched.text, "the replay has other lines");
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
        let failed = failed.filter(|attempt| attempt.outcome == "failed");
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

fn replayed(file: &Path, args: &[&str]) -> Result<String> {
    let mut command = Command::new(source::binary()?);
    command.arg("replay").arg(file).args(args);
    let mut process = Process::spawn(&mut command)?;
    let text = std::io::read_to_string(process.stdout()?).context("cannot read the replay")?;
    process.wait()?.expect_code(0)?.expect_quiet()?;
    Ok(text)
}
