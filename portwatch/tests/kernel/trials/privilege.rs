//! What portwatch needs, and how it asks for it.

use std::{fs, os::unix::fs::PermissionsExt as _, process::Command};

use anyhow::{Context as _, Result, ensure};
use rustix::thread::CapabilitySet;
use tempfile::TempDir;

use super::super::{
    compare::same_attempts,
    driver::{Pace, Workload},
    portwatch::{self, Started},
    process::Process,
    source::{self, Source},
    workload::{CONFINED, FLAG},
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
    // It may not look into root's processes: what is looked up afterwards stays unknown.
    suffice(source, needed()?, "five_binds", Pace::Burst)
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

/// Once it watches it has given up what it does not need, in every thread, and still looks up who
/// called and who holds a port.
pub(super) fn confined(source: Source) -> Result<()> {
    let mut portwatch = portwatch::start(source, &[])?;
    let kept = CapabilitySet::BPF
        | CapabilitySet::PERFMON
        | CapabilitySet::SYS_ADMIN
        | CapabilitySet::SYS_PTRACE
        | CapabilitySet::DAC_READ_SEARCH
        | CapabilitySet::NET_ADMIN;
    for thread in fs::read_dir(format!("/proc/{}/task", portwatch.pid()))? {
        let status = fs::read_to_string(thread?.path().join("status"))?;
        let field = |name: &str| -> Result<&str> {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            Ok(line.with_context(|| format!("no {name}"))?.trim())
        };
        for name in ["CapPrm:", "CapEff:", "CapBnd:"] {
            let set = CapabilitySet::from_bits_retain(u64::from_str_radix(field(name)?, 16)?);
            ensure!(kept.contains(set), "{name} {set:?}");
        }
        ensure!(
            field("NoNewPrivs:")? == "1" && field("Seccomp:")? == "2",
            "{status}"
        );
    }
    let done = Workload::prepare("five_binds", Pace::Burst)?.run(&mut portwatch)?;
    same_attempts(source, &done, &portwatch.stop()?)
}

/// Debian's kernels know a `perf_event_paranoid` of 3, for which `CAP_PERFMON` is not enough.
fn needed() -> Result<CapabilitySet> {
    let paranoid: i32 = fs::read_to_string("/proc/sys/kernel/perf_event_paranoid")?
        .trim()
        .parse()?;
    let needed = CapabilitySet::BPF | CapabilitySet::PERFMON | CapabilitySet::DAC_READ_SEARCH;
    Ok(if paranoid > 2 {
        needed | CapabilitySet::SYS_ADMIN
    } else {
        needed
    })
}

/// portwatch where everybody can run it.
struct PublicCopy {
    directory: TempDir,
}

impl PublicCopy {
    fn new() -> Result<Self> {
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

    /// `portwatch --json --source …` by an ordinary user with these capabilities.
    fn confined(&self, source: Source, capabilities: CapabilitySet) -> Result<Command> {
        let mut command = Command::new(std::env::current_exe()?);
        command
            .args([FLAG, CONFINED, &capabilities.bits().to_string()])
            .arg(self.path());
        command.args(["--json", "--source", source.name()]);
        Ok(command)
    }
}
