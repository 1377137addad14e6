//! `--cgroupmap` and `--mntnsmap`: others keep a map of what is wanted, and change it as they like.

use std::{ffi::OsStr, fs, os::unix::fs::MetadataExt as _, path::Path};

use anyhow::{Context as _, Result, ensure};

use super::super::{
    cgroup_bpf::{Cgroup, own_cgroup},
    driver::{Impossible, Pace, Workload},
    pinned::BpfFs,
    portwatch::{self, Portwatch},
    process::Process,
    source::Source,
    sys,
};

/// What a workload of this name attempts
const BINDS: (&str, usize) = ("five_binds", 5);

/// A workload, with the key of the place that it is in.
struct Placed {
    workload: Workload,
    key: u64,
}

pub(super) fn cgroups(source: Source) -> Result<()> {
    let outside = || {
        let key = fs::metadata(own_cgroup().map_err(|error| Impossible(format!("{error:#}")))?)?;
        placed(key.ino())
    };
    let outsiders = [outside()?, outside()?, outside()?];
    let cgroup = Cgroup::enter()?;
    let inside = placed(fs::metadata(own_cgroup()?)?.ino())?;
    shows_what_the_map_has(source, "--cgroupmap", 8, inside, outsiders)?;
    drop(cgroup);
    Ok(())
}

pub(super) fn mount_namespaces(source: Source) -> Result<()> {
    let placed = || {
        let workload = Workload::prepare(BINDS.0, Pace::Burst)?;
        let key = fs::metadata(format!("/proc/{}/ns/mnt", workload.pid()))?.ino();
        Ok(Placed { workload, key })
    };
    let outsiders = [placed()?, placed()?, placed()?];
    let inside = sys::in_own_mntns(placed)?;
    shows_what_the_map_has(source, "--mntnsmap", 4, inside, outsiders)
}

fn placed(key: u64) -> Result<Placed> {
    let workload = Workload::prepare(BINDS.0, Pace::Burst)?;
    Ok(Placed { workload, key })
}

/// One is in the map from the beginning; of the others the second is, for its time.
fn shows_what_the_map_has(
    source: Source,
    option: &str,
    value_size: u32,
    inside: Placed,
    [before, added, after]: [Placed; 3],
) -> Result<()> {
    let files = BpfFs::mount()?;
    let map = files.set("wanted", 8, value_size)?;
    ensure!(inside.key != added.key, "both are in {}", inside.key);
    map.add(inside.key)?;
    let path = map.path().to_str().context("not UTF-8")?;
    // With causes, what is not in the map may come, and still is not shown.
    let mut watch = portwatch::start(source, &[option, path])?;
    let hidden = [before.workload.pid(), after.workload.pid()];
    before.workload.run_watched_by(&mut [])?;
    is_seen(inside.workload, &mut watch)?;
    map.add(added.key)?;
    is_seen(added.workload, &mut watch)?;
    map.remove(added.key)?;
    after.workload.run_watched_by(&mut [])?;
    let stream = watch.stop()?;
    for pid in hidden {
        ensure!(stream.of(pid).next().is_none(), "{option} shows {pid}");
    }
    Ok(())
}

fn is_seen(workload: Workload, watch: &mut Portwatch) -> Result<()> {
    let pid = workload.pid();
    workload.run_watched_by(&mut [])?;
    watch.wait_for(pid, BINDS.1)
}

/// Each is refused at the start, with the reason.
pub(super) fn what_is_no_such_map(source: Source) -> Result<()> {
    let files = BpfFs::mount()?;
    let narrow = files.set("narrow", 4, 8)?;
    let absent = narrow.path().with_file_name("absent");
    let keys = "it is no BPF hash map with keys of 8 bytes";
    refuses(source, narrow.path(), keys)?;
    refuses(source, &absent, "No such file or directory (os error 2)")?;
    ensure!(!absent.exists(), "portwatch has made {}", absent.display());
    let file = tempfile::NamedTempFile::new()?;
    let place = "it is no pinned BPF map: those are in a BPF file system, as /sys/fs/bpf is";
    refuses(source, file.path(), place)
}

fn refuses(source: Source, path: &Path, why: &str) -> Result<()> {
    for option in ["--cgroupmap", "--mntnsmap"] {
        let mut command = portwatch::command(source, &[option])?;
        command.arg::<&OsStr>(path.as_ref());
        let said = Process::spawn(&mut command)?.wait()?.expect_code(1)?.stderr;
        let expected = format!("portwatch: {option} {}: {why}\n", path.display());
        ensure!(said == expected, "{said:?}, expected {expected:?}");
    }
    Ok(())
}
