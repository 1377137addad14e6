//! What portwatch needs, and how it asks for it.

use std::{
    fs,
    io::ErrorKind,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::Path,
    process::Command,
    thread,
};

use anyhow::{Context as _, Result, anyhow, ensure};
use rustix::thread::CapabilitySet;
use tempfile::TempDir;

use super::{
    super::{
        compare::same_attempts,
        driver::{Impossible, Pace, Workload},
        portwatch::{self, Portwatch, Started},
        process::Process,
        source::{self, Source},
        sys,
        workload::{CONFINED, FLAG, USER, landlock_version, restrict},
    },
    fault::only_once,
};

pub(super) fn without_any(source: Source) -> Result<()> {
    let copy = PublicCopy::new()?;
    let mut process = Process::spawn(&mut copy.confined(source, CapabilitySet::empty())?)?;
    let mut stdout = String::new();
    std::io::Read::read_to_string(&mut process.stdout()?, &mut stdout)?;
    let stderr = process.wait()?.expect_code(3)?.stderr;
    ensure!(stdout.is_empty(), "on stdout: {stdout:?}");
    for word in ["CAP_BPF", "CAP_PERFMON"] {
        ensure!(
            stderr.to_uppercase().contains(word),
            "{word} is not in {stderr:?}"
        );
    }
    ensure!(
        ["sudo", "setcap"]
            .iter()
            .any(|command| stderr.contains(command)),
        "no command in {stderr:?}"
    );
    Ok(())
}

pub(super) fn few_suffice(source: Source) -> Result<()> {
    if sys::is_before(5, 11)? {
        let why =
            "maps are locked memory there, of which nobody but root may have more than a little";
        return Err(Impossible(why.to_owned()).into());
    }
    // It may not look into root's processes: what is looked up afterwards stays unknown.
    suffice(source, needed(source)?, "five_binds", Pace::Burst)
}

/// Of these few, each: without it portwatch does not begin.
pub(super) fn fewer_are_refused(source: Source) -> Result<()> {
    let copy = PublicCopy::new()?;
    let needed = needed(source)?;
    for missing in needed.iter() {
        let mut command = copy.confined(source, needed.difference(missing))?;
        let mut process = Process::spawn(command.args(["--duration", "1"]))?;
        process
            .wait()?
            .expect_code(3)
            .with_context(|| format!("without {missing:?}"))?;
    }
    Ok(())
}

/// What the service has, and no more: it may look into everybody's processes, as root may.
pub(super) fn the_services_suffice(source: Source) -> Result<()> {
    suffice(source, of_the_service()?, "every_protocol", Pace::Stepwise)
}

fn suffice(source: Source, capabilities: CapabilitySet, workload: &str, pace: Pace) -> Result<()> {
    let copy = PublicCopy::new()?;
    let mut portwatch = Started::run(&mut copy.confined(source, capabilities)?)?
        .check_backend(source)?
        .read();
    let done = Workload::prepare(workload, pace)?.run(&mut portwatch)?;
    same_attempts(source, &done, &portwatch.stop()?)
}

/// Of the unit that is handed out, so that what is tried is what it says.
fn of_the_service() -> Result<CapabilitySet> {
    const UNIT: &str = include_str!("../../../../packaging/systemd/portwatch.service");
    let set = |setting: &str| -> Result<CapabilitySet> {
        let line = UNIT.lines().find_map(|line| line.strip_prefix(setting));
        let names = line.with_context(|| format!("the unit has no {setting}"))?;
        let capabilities = names.split_whitespace().map(|word| {
            let short = word.strip_prefix("CAP_").unwrap_or(word);
            CapabilitySet::from_name(short).with_context(|| format!("what is {word}?"))
        });
        capabilities.collect()
    };
    let ambient = set("AmbientCapabilities=")?;
    ensure!(
        ambient == set("CapabilityBoundingSet=")?,
        "what is bounded is not what is given"
    );
    Ok(ambient)
}

/// What a watch keeps of root's.
const KEPT: CapabilitySet = CapabilitySet::BPF
    .union(CapabilitySet::PERFMON)
    .union(CapabilitySet::SYS_ADMIN)
    .union(CapabilitySet::SYS_PTRACE)
    .union(CapabilitySet::DAC_READ_SEARCH)
    .union(CapabilitySet::NET_ADMIN);

/// Once it watches it has given up what it does not need, in every thread, and still looks up who
/// called and who holds a port.
pub(super) fn confined(source: Source) -> Result<()> {
    let mut portwatch = portwatch::start(source, &[])?;
    for thread in threads(&portwatch)? {
        thread.is_confined()?;
    }
    let done = Workload::prepare("five_binds", Pace::Burst)?.run(&mut portwatch)?;
    same_attempts(source, &done, &portwatch.stop()?)
}

/// The same as another user, whose the log file is then, in a directory that root has to itself
/// but for that user.
pub(super) fn another_user(source: Source) -> Result<()> {
    let directory = tempfile::tempdir()?;
    std::os::unix::fs::chown(directory.path(), Some(USER), Some(USER))?;
    let file = directory.path().join("log");
    let log = format!("--log-file={}", file.display());
    let user = USER.to_string();
    let mut portwatch = portwatch::start(source, &["--user-after", &user, &log])?;
    for thread in threads(&portwatch)? {
        thread.is_confined()?;
        for ids in ["Uid:", "Gid:"] {
            ensure!(thread.words(ids)?.all(|id| id == user), "{}", thread.0);
        }
        ensure!(
            !thread.words("Groups:")?.any(|id| id == "0"),
            "{}",
            thread.0
        );
    }
    let done = Workload::prepare("every_protocol", Pace::Stepwise)?.run(&mut portwatch)?;
    let stream = portwatch.stop()?;
    let exe = std::env::current_exe()?;
    for attempt in stream.of(done.pid) {
        ensure!(
            attempt.exe.as_deref().map(Path::new) == Some(&exe),
            "{attempt:#?}"
        );
    }
    let written = fs::read_to_string(&file)?;
    let attempts = written.matches("\"kind\":\"attempt\"").count();
    ensure!(attempts >= done.truths.len(), "{attempts} in the log");
    ensure!(fs::metadata(&file)?.uid() == USER, "the log is another's");
    same_attempts(source, &done, &stream)
}

/// Files that are root's alone stay closed to it: it ends, and says which.
pub(super) fn another_user_writes_no_file_of_roots(source: Source) -> Result<()> {
    only_once(source)?;
    let directory = tempfile::tempdir()?;
    let file = directory.path().join("log");
    let log = format!("--log-file={}", file.display());
    let args = ["--user-after", &USER.to_string(), &log];
    let mut process = Process::spawn(&mut portwatch::command(source, &args)?)?;
    let ended = process.wait()?.expect_code(1)?;
    let expected = format!("cannot write to {}: Permission denied", file.display());
    ensure!(ended.stderr.contains(&expected), "{:?}", ended.stderr);
    ensure!(!file.exists());
    Ok(())
}

/// Why portwatch is in no domain of Landlock's, which would keep it from writing files: who is in
/// one looks into no process outside, root neither.
pub(super) fn landlock_would_hide_who_called(source: Source) -> Result<()> {
    /// `LANDLOCK_ACCESS_FS_WRITE_FILE`
    const WRITE_FILE: u64 = 1 << 1;
    only_once(source)?;
    landlock_version().map_err(|error| Impossible(format!("no Landlock: {error}")))?;
    let parent = rustix::process::getppid().context("no parent")?;
    let program = format!("/proc/{}/exe", parent.as_raw_nonzero());
    let look = || fs::read_link(&program).map_err(|error| error.kind());
    ensure!(look().is_ok(), "{:?} outside", look());
    let inside = thread::scope(|scope| {
        let inside = scope.spawn(|| restrict([WRITE_FILE, 0]).map(|()| look()));
        inside.join()
    });
    let inside = inside.map_err(|_| anyhow!("the thread inside panicked"))??;
    ensure!(
        inside == Err(ErrorKind::PermissionDenied),
        "{inside:?} inside"
    );
    Ok(())
}

/// What the kernel says of a thread (/proc/PID/status).
struct Thread(String);

fn threads(portwatch: &Portwatch) -> Result<Vec<Thread>> {
    let threads = fs::read_dir(format!("/proc/{}/task", portwatch.pid()))?;
    let threads = threads.map(|thread| {
        let status = thread?.path().join("status");
        Ok(Thread(fs::read_to_string(status)?))
    });
    threads.collect()
}

impl Thread {
    fn words(&self, name: &str) -> Result<impl Iterator<Item = &str>> {
        let line = self.0.lines().find_map(|line| line.strip_prefix(name));
        Ok(line
            .with_context(|| format!("no {name}"))?
            .split_whitespace())
    }

    fn set(&self, name: &str) -> Result<CapabilitySet> {
        let digits = self.words(name)?.next().unwrap_or_default();
        let bits = u64::from_str_radix(digits, 16)?;
        Ok(CapabilitySet::from_bits_retain(bits))
    }

    fn is_confined(&self) -> Result<()> {
        // This process, which started it, may be root of a container.
        let had = rustix::thread::capabilities(None)?.permitted;
        for name in ["CapPrm:", "CapEff:"] {
            let set = self.set(name)?;
            ensure!(set == KEPT & had, "{name} {set:?}");
        }
        let bounding = self.set("CapBnd:")?;
        ensure!(KEPT.contains(bounding), "CapBnd: {bounding:?}");
        for name in ["CapInh:", "CapAmb:"] {
            let set = self.set(name)?;
            ensure!(set.is_empty(), "{name} {set:?}");
        }
        for (name, expected) in [("NoNewPrivs:", "1"), ("Seccomp:", "2")] {
            ensure!(self.words(name)?.eq([expected]), "{}", self.0);
        }
        Ok(())
    }
}

/// The least that a source takes here, besides which an ordinary user has nothing.
fn needed(source: Source) -> Result<CapabilitySet> {
    let programs = CapabilitySet::BPF | CapabilitySet::PERFMON;
    // Neither tracefs nor perf: what needs these is optional.
    if source == Source::Fexit {
        return Ok(programs);
    }
    let paranoid: i32 = fs::read_to_string("/proc/sys/kernel/perf_event_paranoid")?
        .trim()
        .parse()?;
    let is_mounted = Path::new("/sys/kernel/tracing/events").exists();
    // Debian's kernels know a value of 3, for which `CAP_PERFMON` is not enough; so is it for a mount.
    // What is enough then does for the programs too.
    let programs = if paranoid > 2 || !is_mounted {
        CapabilitySet::SYS_ADMIN
    } else {
        programs
    };
    Ok(programs | CapabilitySet::DAC_READ_SEARCH)
}

/// portwatch where everybody can run it.
pub(super) struct PublicCopy {
    directory: TempDir,
}

impl PublicCopy {
    pub(super) fn new() -> Result<Self> {
        fs::create_dir_all(std::env::temp_dir())?;
        let directory = tempfile::tempdir()?;
        let everybody = fs::Permissions::from_mode(0o755);
        fs::set_permissions(directory.path(), everybody.clone())?;
        let copy = Self { directory };
        fs::copy(source::binary()?, copy.path()).context("cannot copy portwatch")?;
        fs::set_permissions(copy.path(), everybody)?;
        Ok(copy)
    }

    fn path(&self) -> std::path::PathBuf {
        self.directory.path().join("portwatch")
    }

    /// `portwatch` by an ordinary user.
    pub(super) fn without_privileges(&self) -> Result<Command> {
        self.of_user(CapabilitySet::empty())
    }

    /// `portwatch --json --source …` by an ordinary user with these capabilities.
    fn confined(&self, source: Source, capabilities: CapabilitySet) -> Result<Command> {
        let mut command = self.of_user(capabilities)?;
        command.args(["--json", "--source", source.name()]);
        Ok(command)
    }

    fn of_user(&self, capabilities: CapabilitySet) -> Result<Command> {
        let mut command = Command::new(std::env::current_exe()?);
        command
            .args([FLAG, CONFINED, &capabilities.bits().to_string()])
            .arg(self.path());
        Ok(command)
    }
}
