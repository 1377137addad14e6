//! What portwatch finds out about its own hooks: those that do not answer, and runs of them that
//! the kernel skips.

use std::{fs, io, path::Path, process::Command};

use anyhow::{Context as _, Result, ensure};
use rustix::mount::{MountFlags, mount};

use super::super::{
    driver::{Impossible, Pace, Workload},
    portwatch::{self, Started},
    process::Process,
    source::{self, Source},
    stream::Stream,
    sys,
    workload::{BLOCKED, CROWDING, STORM},
};
use super::load::written_or_counted;

const FTRACE: &str = "/proc/sys/kernel/ftrace_enabled";
const DEBUGFS: &str = "/sys/kernel/debug";
const PREEMPT: &str = "/sys/kernel/debug/sched/preempt";
/// Exit code of a portwatch that no source works for
const NO_SOURCE: i32 = 4;
const SILENT: &str = " does not answer";
const UNCOUNTED: &str = "runs of hooks that the kernel skips are not counted";

pub(super) fn all_answer(source: Source) -> Result<()> {
    let stream = portwatch::start(source, &[])?.stop()?;
    ensure!(silent(&stream).is_empty(), "{:?}", stream.starts);
    none_of_its_own(&stream)
}

/// Where there is no address to bind, and nothing to connect to.
pub(super) fn all_answer_without_loopback(source: Source) -> Result<()> {
    let stream = sys::in_empty_netns(|| portwatch::start(source, &[])?.stop())?;
    ensure!(silent(&stream).is_empty(), "{:?}", stream.starts);
    none_of_its_own(&stream)
}

/// Hooks on functions would be attached and never called: a source of such is not taken.
pub(super) fn ftrace_is_off(source: Source) -> Result<()> {
    if !source::is_emulated() {
        return Err(Impossible("it would be switched off for the whole machine".to_owned()).into());
    }
    let _restored = Setting::change(FTRACE, "0").map_err(cannot_be_off)?;
    if source == Source::Tracepoint {
        let stream = portwatch::start(source, &[])?.stop()?;
        ensure!(silent(&stream).is_empty(), "{:?}", stream.starts);
        return auto_falls_back();
    }
    let mut process = Process::spawn(&mut portwatch::command(source, &[])?)?;
    let stderr = process.wait()?.expect_code(NO_SOURCE)?.stderr;
    ensure!(stderr.contains("kernel.ftrace_enabled is 0"), "{stderr}");
    Ok(())
}

/// Newer kernels have it on for good.
fn cannot_be_off(error: anyhow::Error) -> anyhow::Error {
    let found = error.downcast_ref::<io::Error>();
    if found.and_then(io::Error::raw_os_error) == Some(libc::EOPNOTSUPP) {
        return Impossible("this kernel does not switch it off".to_owned()).into();
    }
    error
}

fn auto_falls_back() -> Result<()> {
    let mut command = Command::new(source::binary()?);
    command.arg("--json");
    let started = Started::run(&mut command)?.check_backend(Source::Tracepoint)?;
    let stream = started.read().stop()?;
    let degradations = stream.starts.iter().flat_map(|start| &start.degradations);
    let said: Vec<_> = degradations.map(|it| it.what.as_str()).collect();
    for source in ["fexit", "kprobe"] {
        let what = format!("source {source} is not available");
        ensure!(said.contains(&what.as_str()), "{said:?}");
    }
    Ok(())
}

/// A task that is put aside within a program keeps the others of its CPU out of that program: another one tells of
/// their binds (portwatch-ebpf/src/witness.rs), and the ring holds them all while their threads crowd the CPUs.
pub(super) fn preemption_hides_no_bind(source: Source) -> Result<()> {
    let Crowded { unseen, full } = crowd(source, "crowding", CROWDING)?;
    ensure!(unseen == 0, "{unseen} of {CROWDING} were not seen");
    ensure!(full == 0, "the ring had no room for {full} of {CROWDING}");
    Ok(())
}

/// As it may be at worst: all on one CPU, whose tasks are put aside wherever they are.
pub(super) fn preemption_hides_few_binds(source: Source) -> Result<()> {
    if !source::is_emulated() {
        return Err(Impossible("it would change how the machine schedules".to_owned()).into());
    }
    let is_mounted = fs::read_dir(DEBUGFS)?.next().is_some();
    if !is_mounted {
        mount("nodev", DEBUGFS, "debugfs", MountFlags::empty(), None).context("debugfs")?;
    }
    if !Path::new(PREEMPT).exists() {
        let why = "this kernel cannot be told to preempt itself (CONFIG_PREEMPT_DYNAMIC)";
        return Err(Impossible(why.to_owned()).into());
    }
    let _restored = Setting::change(PREEMPT, "full")?;
    let Crowded { unseen, .. } = crowd(source, "storm_on_one_cpu", STORM)?;
    let most = match source {
        Source::Kprobe => 0,
        // System call tracepoints are preempted since 7.2.
        Source::Tracepoint if !sys::has_function("trace_call_bpf_faultable")? => 0,
        _ if sys::has_function("bpf_local_irq_save")? => STORM / 40,
        _ => STORM / 5,
    };
    ensure!(
        unseen <= most,
        "{unseen} of {STORM} were not seen, allowed are {most}"
    );
    Ok(())
}

/// What became of binds that are not written.
struct Crowded {
    /// A run was skipped, and nobody else told of them
    unseen: u64,
    /// The ring had no room
    full: u64,
}

/// Each of so many binds is written or counted.
fn crowd(source: Source, workload: &str, attempts: u64) -> Result<Crowded> {
    let mut portwatch = portwatch::start(source, &[])?;
    let done = Workload::prepare(workload, Pace::Burst)?.run(&mut portwatch)?;
    let stream = portwatch.stop()?;
    written_or_counted(&done, attempts, &stream)?;
    let written = stream.of(done.pid).count() as u64;
    let full = lost_for(&stream, "ring_full");
    Ok(Crowded {
        unseen: attempts.saturating_sub(written + full),
        full,
    })
}

/// More calls wait than the kernel follows to their return: those beyond are counted, and their
/// results null.
pub(super) fn missed_probes_are_counted(source: Source) -> Result<()> {
    if source != Source::Kprobe {
        return Err(Impossible("only this source has return probes".to_owned()).into());
    }
    let mut portwatch = portwatch::start(source, &[])?;
    let done = Workload::prepare("blocked_compat", Pace::Burst)?.run(&mut portwatch)?;
    if !done.skipped.is_empty() {
        return Err(Impossible(done.skipped.join("; ")).into());
    }
    let stream = portwatch.stop()?;
    let connects = stream
        .of(done.pid)
        .filter(|it| it.via.as_deref() == Some("compat32"));
    let (told, open): (Vec<_>, Vec<_>) = connects.partition(|it| it.ret.is_some());
    ensure!(
        told.len() + open.len() == BLOCKED && !open.is_empty(),
        "{} told, {} not",
        told.len(),
        open.len()
    );
    let degradations = stream.starts.iter().flat_map(|start| &start.degradations);
    let uncounted = degradations.into_iter().any(|it| it.what == UNCOUNTED);
    let missed = lost(&stream, "probe_missed", "kretprobe:__ia32_sys_connect");
    let expected = if uncounted { 0 } else { open.len() as u64 };
    ensure!(
        missed == expected,
        "{missed} were counted, {} results are null, uncounted: {uncounted}",
        open.len()
    );
    Ok(())
}

fn lost(stream: &Stream, reason: &str, place: &str) -> u64 {
    let losses = stream.losses.iter();
    let those = losses.filter(|lost| lost.reason == reason && lost.r#where == place);
    those.map(|lost| lost.count).sum()
}

fn lost_for(stream: &Stream, reason: &str) -> u64 {
    let losses = stream.losses.iter();
    let those = losses.filter(|lost| lost.reason == reason);
    those.map(|lost| lost.count).sum()
}

/// The hooks that the start line says do not answer.
fn silent(stream: &Stream) -> Vec<&str> {
    let degradations = stream.starts.iter().flat_map(|start| &start.degradations);
    degradations
        .filter_map(|it| it.what.strip_suffix(SILENT))
        .collect()
}

/// What it tried its hooks with is not in its stream.
fn none_of_its_own(stream: &Stream) -> Result<()> {
    let own = stream.starts.first().context("no start")?.pid;
    let attempts: Vec<_> = stream.of(own).map(ToString::to_string).collect();
    ensure!(attempts.is_empty(), "{attempts:?}");
    Ok(())
}

/// A setting of the kernel, until it is dropped.
pub(super) struct Setting {
    path: &'static str,
    before: String,
}

impl Setting {
    pub(super) fn change(path: &'static str, value: &str) -> Result<Self> {
        let before = fs::read_to_string(path).with_context(|| format!("cannot read {path}"))?;
        // Of some, the value in force is the one in parentheses: `none (voluntary) full`.
        let marked = before
            .split_once('(')
            .and_then(|(_, rest)| rest.split_once(')'));
        let before = marked.map_or(before.trim(), |(value, _)| value).to_owned();
        fs::write(path, value).with_context(|| format!("cannot write {path}"))?;
        Ok(Self { path, before })
    }
}

impl Drop for Setting {
    fn drop(&mut self) {
        // The next trial that needs it as it was will say so.
        drop(fs::write(self.path, &self.before));
    }
}
