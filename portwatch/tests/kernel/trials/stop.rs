//! How portwatch ends.

use std::{
    fs,
    os::unix::net::UnixDatagram,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use rustix::process::Signal;

use super::{
    super::{
        compare::same_attempts,
        driver::{Pace, Workload},
        portwatch::{self, Started},
        source::{self, Source},
        sys,
    },
    exactly,
};

pub(super) fn after_three_attempts(source: Source) -> Result<()> {
    let portwatch = portwatch::start(source, &["-c", "3"])?;
    Workload::prepare("five_binds", Pace::Burst)?.run_watched_by(&mut [])?;
    let written = portwatch.finish()?.attempts.len();
    ensure!(written == 3, "{written} attempts were written, expected 3");
    Ok(())
}

pub(super) fn after_a_second(source: Source) -> Result<()> {
    let portwatch = portwatch::start(source, &["-d", "1"])?;
    let started = Instant::now();
    portwatch.finish()?;
    let took = started.elapsed();
    // The second began before its start line was read.
    ensure!(took > Duration::from_millis(500), "it ended after {took:?}");
    ensure!(
        source::is_emulated() || took < Duration::from_millis(1500),
        "it ended after {took:?}"
    );
    Ok(())
}

pub(super) fn at_sigterm_with_a_summary(source: Source) -> Result<()> {
    let mut portwatch = portwatch::start(source, &[])?;
    let done = Workload::prepare("five_binds", Pace::Burst)?.run(&mut portwatch)?;
    portwatch.signal(Signal::TERM)?;
    same_attempts(source, &done, &portwatch.finish()?)
}

/// As systemd does for a service of `Type=notify` with `WatchdogSec=`.
pub(super) fn tells_a_service_manager(source: Source) -> Result<()> {
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("notify");
    let manager = UnixDatagram::bind(&path)?;
    manager.set_read_timeout(Some(Duration::from_secs(30)))?;
    let mut command = portwatch::command(source, &[])?;
    command
        .env("NOTIFY_SOCKET", &path)
        .env("WATCHDOG_USEC", "200000");
    let portwatch = Started::run(&mut command)?.read();
    let heard = || -> Result<String> {
        let mut message = [0; 256];
        let length = manager.recv(&mut message)?;
        Ok(String::from_utf8_lossy(&message[..length])
            .trim_end()
            .to_owned())
    };
    ensure!(heard()? == "READY=1");
    for _ in 0..3 {
        ensure!(heard()? == "WATCHDOG=1");
    }
    portwatch.stop()?;
    let mut last = heard()?;
    while last == "WATCHDOG=1" {
        last = heard()?;
    }
    ensure!(last == "STOPPING=1", "{last}");
    Ok(())
}

pub(super) fn quietly_when_nobody_reads(source: Source) -> Result<()> {
    let mut process = Started::run(&mut portwatch::command(source, &[])?)?.close_stdout();
    Workload::prepare("five_binds", Pace::Burst)?.run_watched_by(&mut [])?;
    process.wait()?.expect_code(0)?.expect_quiet().map(drop)
}

pub(super) fn two_at_once_see_the_same(source: Source) -> Result<()> {
    let mut one = portwatch::start(source, &[])?;
    let mut other = portwatch::start(source, &[])?;
    let done = Workload::prepare("five_binds", Pace::Stepwise)?
        .run_watched_by(&mut [&mut one, &mut other])?;
    same_attempts(source, &done, &one.stop()?)?;
    same_attempts(source, &done, &other.stop()?)
}

pub(super) fn killed_leaves_nothing_behind(source: Source) -> Result<()> {
    let before = traces();
    let mut portwatch = portwatch::start(source, &[])?;
    Workload::prepare("five_binds", Pace::Stepwise)?.run(&mut portwatch)?;
    portwatch.kill()?;
    let after = traces();
    ensure!(
        before == after,
        "left behind: {after:?}, before: {before:?}"
    );
    exactly(source, "five_binds", Pace::Stepwise).map(drop)
}

/// Nobody waits for the hooks, and they go all the same.
pub(super) fn stopped_leaves_nothing_behind(source: Source) -> Result<()> {
    const PATIENCE: Duration = Duration::from_mins(1);
    let before = traces();
    let others: Vec<u32> = processes().filter(|&pid| has_links(pid)).collect();
    let mut portwatch = portwatch::start(source, &[])?;
    // Perf events are links since 5.15; the other sources have a tracepoint by its type, too.
    let has_none = source == Source::Tracepoint && sys::is_before(5, 15)?;
    ensure!(has_links(portwatch.pid()) != has_none, "links, and not");
    Workload::prepare("five_binds", Pace::Stepwise)?.run(&mut portwatch)?;
    portwatch.stop()?;
    let begin = Instant::now();
    while processes().any(|pid| !others.contains(&pid) && has_links(pid)) {
        ensure!(begin.elapsed() < PATIENCE, "hooks are still attached");
        std::thread::yield_now();
    }
    ensure!(before == traces(), "left behind: {:?}", traces());
    Ok(())
}

fn processes() -> impl Iterator<Item = u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// Whether a process has programs attached to something.
fn has_links(pid: u32) -> bool {
    let entries = fs::read_dir(format!("/proc/{pid}/fd"))
        .into_iter()
        .flatten();
    let targets = entries
        .flatten()
        .filter_map(|entry| fs::read_link(entry.path()).ok());
    targets
        .into_iter()
        .any(|target| target.as_os_str() == "anon_inode:bpf_link")
}

/// What outlives a process in the kernel: named probes and pinned maps.
fn traces() -> (String, Vec<String>) {
    let probes = fs::read_to_string("/sys/kernel/tracing/kprobe_events").unwrap_or_default();
    let pinned = fs::read_dir("/sys/fs/bpf").into_iter().flatten().flatten();
    let mut pinned: Vec<String> = pinned
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    pinned.sort();
    (probes, pinned)
}
