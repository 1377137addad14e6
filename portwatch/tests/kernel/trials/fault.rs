//! What goes wrong around portwatch: it goes on, loses nothing in silence, or ends and says why.
//!
//! None of it depends on the source, so each is tried with the first that works.

use std::{
    collections::BTreeSet,
    fs,
    io::ErrorKind,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};
use rustix::{
    mount::{MountFlags, UnmountFlags, mount, unmount},
    process::{Pid, Signal, kill_process},
    time::{ClockId, Timespec, clock_gettime, clock_settime},
};

use super::{
    super::{
        cgroup_bpf::{Cgroup, own_cgroup},
        compare::same_attempts,
        driver::{Impossible, Pace, Workload},
        portwatch::{self, Portwatch, Started},
        record::Attempt,
        source::{self, Source},
        stream::Stream,
        sys,
        workload::{CONTAINERS, MANY_NAMESPACES, SHORT_LIVES, STORM},
    },
    cost::own_memory_is_small,
    hooks::Setting,
    load::written_or_counted,
    path::modprobe,
    program::need,
};

pub(super) fn only_once(source: Source) -> Result<()> {
    for other in Source::ALL {
        if other.unusable()?.is_none() {
            let why = "one source stands for all";
            ensure!(other == source, Impossible(why.to_owned()));
            return Ok(());
        }
    }
    Ok(())
}

fn on_a_machine_of_our_own(source: Source) -> Result<()> {
    let why = "it would change the whole machine";
    ensure!(source::is_emulated(), Impossible(why.to_owned()));
    only_once(source)
}

/// It ends, and says what it could not write; what it has written are whole lines, but for the last.
pub(super) fn disk_full(source: Source) -> Result<()> {
    only_once(source)?;
    sys::in_own_mntns(|| {
        let disk = Disk::of_64_kib()?;
        let file = disk.0.path().join("log");
        let log = format!("--log-file={}", file.display());
        let portwatch = portwatch::start(source, &[&log])?;
        Workload::prepare("thousand_binds", Pace::Burst)?.run_watched_by(&mut [])?;
        let ended = portwatch.break_off()?.expect_code(1)?;
        let expected = format!(
            "cannot write to {}: No space left on device",
            file.display()
        );
        ensure!(ended.stderr.contains(&expected), "{:?}", ended.stderr);
        let text = fs::read_to_string(&file)?;
        let whole = text
            .split_inclusive('\n')
            .filter(|line| line.ends_with('\n'));
        let mut stream = Stream::default();
        whole
            .map(str::trim_end)
            .try_for_each(|line| stream.push(line))?;
        ensure!(!stream.attempts.is_empty(), "nothing was written");
        Ok(())
    })
}

/// A small file system, for this thread alone.
struct Disk(tempfile::TempDir);

impl Disk {
    fn of_64_kib() -> Result<Self> {
        let directory = tempfile::tempdir()?;
        let options = Some(c"size=64k");
        mount(
            "tmpfs",
            directory.path(),
            "tmpfs",
            MountFlags::empty(),
            options,
        )?;
        Ok(Self(directory))
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // It goes with the thread's namespace anyway; the directory is in its way.
        let _ = unmount(self.0.path(), UnmountFlags::DETACH);
    }
}

/// Attempts are told from those before the start by a clock that nobody sets.
pub(super) fn clock_set_back(source: Source) -> Result<()> {
    on_a_machine_of_our_own(source)?;
    let mut portwatch = portwatch::start(source, &[])?;
    let earlier = Clock::set_back(3600)?;
    let done = Workload::prepare("five_binds", Pace::Stepwise)?.run(&mut portwatch)?;
    let stream = portwatch.stop()?;
    drop(earlier);
    same_attempts(source, &done, &stream)
}

/// The calendar's clock, wrong by so many seconds until this is dropped.
struct Clock(i64);

impl Clock {
    fn set_back(seconds: i64) -> Result<Self> {
        Self::step(-seconds)?;
        Ok(Self(seconds))
    }

    fn step(seconds: i64) -> Result<()> {
        let now = clock_gettime(ClockId::Realtime);
        let tv_sec = now.tv_sec + seconds;
        clock_settime(ClockId::Realtime, Timespec { tv_sec, ..now }).context("cannot set the clock")
    }
}

impl Drop for Clock {
    fn drop(&mut self) {
        // The trials after this one live with the time as it is.
        drop(Self::step(self.0));
    }
}

/// What happens meanwhile waits in the ring.
pub(super) fn stopped_for_a_while(source: Source) -> Result<()> {
    only_once(source)?;
    let mut portwatch = portwatch::start(source, &[])?;
    portwatch.pause()?;
    let done = Workload::prepare("five_binds", Pace::Burst)?.run_watched_by(&mut [])?;
    portwatch.wait_for(done.pid, done.truths.len())?;
    same_attempts(source, &done, &portwatch.stop()?)
}

pub(super) fn cpu_taken_away(source: Source) -> Result<()> {
    on_a_machine_of_our_own(source)?;
    let mut portwatch = portwatch::start(source, &[])?;
    let mut bind = || Workload::prepare("five_binds", Pace::Stepwise)?.run(&mut portwatch);
    let offline = Setting::change("/sys/devices/system/cpu/cpu1/online", "0")?;
    let without = bind()?;
    drop(offline);
    let with = bind()?;
    let stream = portwatch.stop()?;
    same_attempts(source, &without, &stream)?;
    same_attempts(source, &with, &stream)
}

/// With little more than it has: what there is no room for is counted, and nobody is killed.
pub(super) fn memory_at_its_limit(source: Source) -> Result<()> {
    on_a_machine_of_our_own(source)?;
    let root = own_cgroup().map_err(|error| Impossible(format!("{error:#}")))?;
    fs::write(root.join("cgroup.subtree_control"), "+memory").context("no memory controller")?;
    let storm = Workload::prepare("storm", Pace::Burst)?;
    let _cgroup = Cgroup::enter()?;
    let stalled = Started::run(&mut portwatch::command(source, &[])?)?;
    let limit = Limit::above_what_is_used(&own_cgroup()?)?;
    // It stays there alone.
    fs::write(root.join("cgroup.procs"), "0")?;
    let done = storm.run_watched_by(&mut [])?;
    let mut resumed = stalled.read();
    resumed.wait_for_account(done.pid, usize::try_from(STORM)?)?;
    let stream = resumed.stop()?;
    limit.nobody_was_killed()?;
    written_or_counted(&done, STORM, &stream)
}

/// How much memory a cgroup may use.
struct Limit(PathBuf);

impl Limit {
    /// Two buffers of 256 KiB fill while nobody reads, what is remembered of bound sockets and of
    /// processes grows to its bounds, and at the end there is a second process, with page tables of its own.
    const ROOM: u64 = 4 << 20;

    fn above_what_is_used(cgroup: &Path) -> Result<Self> {
        let used = fs::read_to_string(cgroup.join("memory.current"))?;
        let limit = used.trim().parse::<u64>()? + Self::ROOM;
        fs::write(cgroup.join("memory.max"), limit.to_string()).context("cannot set a limit")?;
        Ok(Self(cgroup.to_owned()))
    }

    fn nobody_was_killed(&self) -> Result<()> {
        let events = fs::read_to_string(self.0.join("memory.events"))?;
        ensure!(events.lines().any(|line| line == "oom_kill 0"), "{events}");
        Ok(())
    }
}

/// The source is left as a whole: nothing of it stays attached, and the next takes its place.
pub(super) fn hook_refused_half_way(source: Source) -> Result<()> {
    on_a_machine_of_our_own(source)?;
    need(&["strace"])?;
    let directory = tempfile::tempdir()?;
    let file = directory.path().join("calls");
    let traced = |inject: Option<usize>| -> Result<Started> {
        let mut strace = Command::new("strace");
        strace
            .args(["-f", "-qq", "-e", "trace=bpf", "-o"])
            .arg(&file);
        if let Some(call) = inject {
            strace.arg(format!("--inject=bpf:error=ENOMEM:when={call}"));
        }
        Started::run(strace.arg(source::binary()?).arg("--json"))
    };
    end(traced(None)?.check_started_as(Source::Fexit)?.read())?;
    let calls = fs::read_to_string(&file)?;
    let is_attached = |line: &str| line.contains("BPF_RAW_TRACEPOINT_OPEN");
    let places = calls
        .lines()
        .enumerate()
        .filter(|(_, line)| is_attached(line));
    let places: Vec<usize> = places.map(|(place, _)| place + 1).collect();
    // Late enough for some to be attached, among those that the source cannot do without.
    let sixth = places
        .get(5)
        .with_context(|| format!("{} hooks", places.len()))?;
    let portwatch = traced(Some(*sixth))?
        .check_started_as(Source::Kprobe)?
        .read();
    let start = portwatch.stream().starts.first().context("no start")?;
    let said = start
        .degradations
        .iter()
        .any(|it| it.what == "source fexit is not available");
    ensure!(said, "{:?}", start.degradations);
    nothing_of_fexit(start.pid)?;
    end(portwatch)
}

/// Ends the one that strace runs, which keeps signals from itself.
fn end(portwatch: Portwatch) -> Result<()> {
    let start = portwatch.stream().starts.first().context("no start")?;
    let pid = Pid::from_raw(start.pid.cast_signed()).context("no process")?;
    kill_process(pid, Signal::INT)?;
    portwatch.finish().map(drop)
}

/// Trampolines and BTF tracepoints are both links of that kind (include/uapi/linux/bpf.h).
fn nothing_of_fexit(pid: u32) -> Result<()> {
    for descriptor in fs::read_dir(format!("/proc/{pid}/fdinfo"))? {
        match fs::read_to_string(descriptor?.path()) {
            Ok(text) => ensure!(!text.contains("link_type:\ttracing"), "{text}"),
            // Closed meanwhile: it holds nothing.
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// What is remembered of a process is not taken for the next one's of that number.
pub(super) fn process_number_reused(source: Source) -> Result<()> {
    on_a_machine_of_our_own(source)?;
    let directory = tempfile::tempdir()?;
    let copy = directory.path().join("another");
    let own = std::env::current_exe()?;
    fs::copy(&own, &copy)?;
    let mut portwatch = portwatch::start(source, &[])?;
    let first = Workload::prepare("five_binds", Pace::Stepwise)?.run(&mut portwatch)?;
    fs::write("/proc/sys/kernel/ns_last_pid", (first.pid - 1).to_string())?;
    let second = Workload::prepare_as(&copy, "five_binds", Pace::Stepwise)?;
    if second.pid() != first.pid {
        return Err(Impossible("somebody else took the number".to_owned()).into());
    }
    // Those of the first are counted with it.
    second.run_watched_by(&mut [])?;
    portwatch.wait_for(first.pid, 10)?;
    let stream = portwatch.stop()?;
    let programs = stream.of(first.pid).map(|it| it.exe.clone());
    let expected = [own, copy].map(|path| path.to_str().map(str::to_owned));
    let expected = expected.iter().flat_map(|exe| vec![exe.clone(); 5]);
    ensure!(programs.eq(expected), "{:#?}", stream.attempts);
    Ok(())
}

/// A cgroup that is gone when it is looked for has no path, and no other's.
pub(super) fn cgroup_gone(source: Source) -> Result<()> {
    only_once(source)?;
    own_cgroup().map_err(|error| Impossible(format!("{error:#}")))?;
    let mut portwatch = portwatch::start(source, &[])?;
    portwatch.pause()?;
    let cgroup = Cgroup::enter()?;
    let done = Workload::prepare("five_binds", Pace::Burst)?.run_watched_by(&mut [])?;
    let path = own_cgroup()?;
    drop(cgroup);
    ensure!(!path.exists(), "{} is still there", path.display());
    portwatch.wait_for(done.pid, 5)?;
    let stream = portwatch.stop()?;
    for attempt in stream.of(done.pid) {
        ensure!(
            attempt.cgroup_id.is_some() && attempt.cgroup.is_none(),
            "{attempt:#?}"
        );
    }
    same_attempts(source, &done, &stream)
}

/// Each is told from the others, and not remembered for ever.
pub(super) fn short_lives(source: Source) -> Result<()> {
    only_once(source)?;
    let mut portwatch = portwatch::start(source, &[])?;
    let done = Workload::prepare("short_lives", Pace::Burst)?.run(&mut portwatch)?;
    // The ring is read in order: when these are written, those before them were looked at.
    Workload::prepare("five_binds", Pace::Stepwise)?.run(&mut portwatch)?;
    own_memory_is_small(portwatch.pid())?;
    let stream = portwatch.stop()?;
    let children = children(&stream, done.pid)?;
    let distinct: BTreeSet<_> = children.iter().map(|it| it.pid).collect();
    let accounted = children.len() as u64 + stream.lost();
    ensure!(
        distinct.len() == children.len() && accounted == SHORT_LIVES,
        "{} processes, {} attempts, {} lost",
        distinct.len(),
        children.len(),
        stream.lost()
    );
    Ok(())
}

/// What the children of a process did that are gone.
fn children(stream: &Stream, pid: u32) -> Result<Vec<&Attempt>> {
    let comm = fs::read_to_string("/proc/self/comm")?;
    // Who looks afterwards does not find the parent of a process that is gone.
    let is_child =
        |it: &&Attempt| it.comm == comm.trim_end() && it.ppid.is_none_or(|parent| parent == pid);
    Ok(stream.attempts.iter().filter(is_child).collect())
}

/// What is read of a container while it stops is its own, or not known; nothing stays open of it.
pub(super) fn containers_stopped(source: Source) -> Result<()> {
    only_once(source)?;
    let mut portwatch = portwatch::start(source, &[])?;
    let before = descriptors(&portwatch)?;
    let containers = Workload::prepare("containers", Pace::Burst)?;
    let cgroup = format!("/portwatch-test-{}", containers.pid());
    let done = containers.run(&mut portwatch)?;
    // The ring is read in order: when these are written, those before them were looked at.
    Workload::prepare("five_binds", Pace::Stepwise)?.run(&mut portwatch)?;
    let after = descriptors(&portwatch)?;
    ensure!(
        after <= before,
        "{before} descriptors were open, now {after}"
    );
    own_memory_is_small(portwatch.pid())?;
    let stream = portwatch.stop()?;
    let children = children(&stream, done.pid)?;
    let exe = std::env::current_exe()?;
    for attempt in &children {
        let path = attempt.cgroup.as_deref();
        let program = attempt.exe.as_deref().map(Path::new);
        ensure!(
            path.is_none_or(|path| path.ends_with(&cgroup))
                && program.is_none_or(|program| program == exe),
            "{attempt:#?}"
        );
    }
    let accounted = children.len() as u64 + stream.lost();
    ensure!(
        accounted == 2 * CONTAINERS,
        "{} attempts, {} lost",
        children.len(),
        stream.lost()
    );
    Ok(())
}

/// Sockets of the module's own, one in each network namespace, hold it: once loaded it stays, and
/// with it what is hooked.
pub(super) fn module_unloaded(source: Source) -> Result<()> {
    on_a_machine_of_our_own(source)?;
    modprobe(&["sctp"])?;
    let mut portwatch = portwatch::start(source, &[])?;
    let unloaded = sys::unload_module(c"sctp").map_err(|error| error.kind());
    ensure!(unloaded == Err(ErrorKind::WouldBlock), "{unloaded:?}");
    let done = Workload::prepare("sctp", Pace::Stepwise)?.run(&mut portwatch)?;
    same_attempts(source, &done, &portwatch.stop()?)
}

pub(super) fn many_namespaces(source: Source) -> Result<()> {
    only_once(source)?;
    let mut portwatch = portwatch::start(source, &[])?;
    let before = descriptors(&portwatch)?;
    let done = Workload::prepare("many_namespaces", Pace::Burst)?.run(&mut portwatch)?;
    let attempts = 2 * MANY_NAMESPACES;
    portwatch.wait_for_account(done.pid, usize::try_from(attempts)?)?;
    let after = descriptors(&portwatch)?;
    ensure!(
        after <= before,
        "{before} descriptors were open, now {after}"
    );
    own_memory_is_small(portwatch.pid())?;
    written_or_counted(&done, attempts, &portwatch.stop()?)
}

fn descriptors(portwatch: &Portwatch) -> Result<usize> {
    Ok(fs::read_dir(format!("/proc/{}/fd", portwatch.pid()))?.count())
}
