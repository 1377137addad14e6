//! What portwatch takes: time to start, and memory.

use std::{
    fs,
    io::{self, Write as _},
    path::Path,
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
    program::wait_until,
};

const LONGEST_START: Duration = Duration::from_millis(100);
/// What nobody but portwatch has use for.
const MOST_OWN_KIB: u64 = 7 * 1024;
/// With the pages of its file, which the kernel takes back when it wants them, and but for those of the ring, which
/// count twice, since they are mapped twice.
const MOST_KIB: u64 = 15 * 1024;

/// The quickest of some starts: what else the machine does can only slow them, even where it is a processor's waiting
/// lines alone that are taken off.
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

/// Less what it stood in line for a processor, which others had.
fn start_time(source: Source) -> Result<Duration> {
    let begin = Instant::now();
    let portwatch = portwatch::start(source, &[])?;
    let time = begin.elapsed();
    let queued = queued(portwatch.pid())?;
    portwatch.stop()?;
    Ok(time.saturating_sub(queued))
}

/// How long the first thread of a process was ready to run and did not (`/proc/PID/schedstat`,
/// Documentation/scheduler/sched-stats.rst): the one that loads the programs.
fn queued(pid: u32) -> Result<Duration> {
    let text = fs::read_to_string(format!("/proc/{pid}/schedstat"))?;
    let nanos = text.split_whitespace().nth(1).context("schedstat")?;
    Ok(Duration::from_nanos(nanos.parse()?))
}

pub(super) fn memory_stays_small(source: Source) -> Result<()> {
    let mut portwatch = portwatch::start(source, &[])?;
    let done = Workload::prepare("thousand_binds", Pace::Burst)?.run(&mut portwatch)?;
    ensure!(
        done.truths.len() as u64 == THOUSAND,
        "{} attempts were made, expected {THOUSAND}",
        done.truths.len()
    );
    portwatch.wait_for(done.pid, done.truths.len())?;
    provoke_huge_pages()?;
    let kib = |name: &str| status_kib(portwatch.pid(), name);
    let (now, own, most) = (kib("VmRSS:")?, kib("RssAnon:")?, kib("VmHWM:")?);
    // While it starts it takes more: the kernel's BTF, the programs as they are loaded.
    writeln!(
        io::stderr(),
        "{}: resident {now} KiB, {own} KiB of them its own, at most {most} KiB",
        source.name()
    )?;
    let stream = portwatch.stop()?;
    let start = stream.starts.first().context("no start")?;
    let ring = 2 * start.ring_bytes / 1024;
    ensure!(
        now < MOST_KIB + ring && own < MOST_OWN_KIB,
        "resident: {now} KiB, {own} KiB of them its own; allowed: {MOST_KIB} KiB, {ring} KiB for the ring, and \
         {MOST_OWN_KIB} KiB"
    );
    same_attempts(source, &done, &stream)
}

/// Has the kernel look all memory over for what could be a huge page, in a machine of our own.
fn provoke_huge_pages() -> Result<()> {
    if !source::is_emulated() {
        return Ok(());
    }
    let khugepaged = Path::new("/sys/kernel/mm/transparent_hugepage/khugepaged");
    let scans = || -> Result<u64> {
        let scans = fs::read_to_string(khugepaged.join("full_scans"))?;
        Ok(scans.trim().parse()?)
    };
    for pause in ["scan_sleep_millisecs", "alloc_sleep_millisecs"] {
        fs::write(khugepaged.join(pause), "1")?;
    }
    let before = scans()?;
    // The first may have been under way.
    wait_until("all memory is looked over twice", || {
        Ok(scans()? >= before + 2)
    })
}

/// Holds a process to the memory that is its own, whatever came upon it.
pub(super) fn own_memory_is_small(pid: u32) -> Result<()> {
    let own = status_kib(pid, "RssAnon:")?;
    ensure!(
        own < MOST_OWN_KIB,
        "{own} KiB are its own, allowed: {MOST_OWN_KIB} KiB"
    );
    Ok(())
}

fn status_kib(pid: u32, name: &str) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix(name))
        .with_context(|| format!("no {name}"))?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}
