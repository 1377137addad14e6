//! What portwatch takes: time to start, and memory.

use std::{
    fs,
    io::{self, Write as _},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};

use super::{
    super::{
        compare::same_attempts,
        driver::{Pace, Workload},
        portwatch,
        source::{self, Source},
        workload::THOUSAND,
    },
    Impossible,
};

const LONGEST_START: Duration = Duration::from_millis(100);
const MOST_KIB: u64 = 12 * 1024;

/// The quickest of some starts: what else the machine does can only slow them.
pub(super) fn starts_within_100_ms(source: Source) -> Result<()> {
    if source::is_emulated() {
        return Err(Impossible("an emulated machine says nothing about time".to_owned()).into());
    }
    let starts = (0..5)
        .map(|_| start_time(source))
        .collect::<Result<Vec<_>>>()?;
    let quickest = starts.iter().min().context("no start")?;
    ensure!(
        *quickest < LONGEST_START,
        "from exec to the start line: {starts:?}"
    );
    Ok(())
}

fn start_time(source: Source) -> Result<Duration> {
    let begin = Instant::now();
    let portwatch = portwatch::start(source, &[])?;
    let time = begin.elapsed();
    portwatch.stop()?;
    Ok(time)
}

pub(super) fn memory_stays_below_12_mib(source: Source) -> Result<()> {
    let mut portwatch = portwatch::start(source, &[])?;
    let done = Workload::prepare("thousand_binds", Pace::Burst)?.run(&mut portwatch)?;
    ensure!(
        done.truths.len() as u64 == THOUSAND,
        "{} attempts were made, expected {THOUSAND}",
        done.truths.len()
    );
    portwatch.wait_for(done.pid, done.truths.len())?;
    let [now, most] = ["VmRSS:", "VmHWM:"].map(|name| status_kib(portwatch.pid(), name));
    let (now, most) = (now?, most?);
    // While it starts it takes more: the kernel's BTF, the programs as they are loaded.
    writeln!(
        io::stderr(),
        "{}: resident {now} KiB, at most {most} KiB",
        source.name()
    )?;
    ensure!(
        now < MOST_KIB,
        "resident: {now} KiB, at most {most} KiB; allowed: {MOST_KIB} KiB"
    );
    same_attempts(source, &done, &portwatch.stop()?)
}

fn status_kib(pid: u32, name: &str) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix(name))
        .with_context(|| format!("no {name}"))?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}
