//! portwatch in a cgroup namespace of its own, as container runtimes make one.

use std::process::Command;

use anyhow::{Result, ensure};

use super::{
    super::{
        cgroup_bpf::Cgroup,
        driver::{Pace, Workload},
        portwatch::{Portwatch, Started},
        source::{self, Source},
    },
    Impossible,
    program::need,
};

/// The host's tree stays mounted, as with a bind mount of it.
const WITH_HOSTS_TREE: &str = "exec \"$0\" \"$@\"";

/// A mount of the namespace's own, which shows a part as if it were the whole.
const WITH_OWN_TREE: &str = "set -e\n\
    while read -r _ point kind _; do\n\
      [ \"$kind\" != cgroup2 ] || umount -l \"$point\"\n\
    done < /proc/self/mounts\n\
    mount -t cgroup2 cgroup2 /mnt\n\
    exec \"$0\" \"$@\"";

pub(super) fn with_the_hosts_tree(source: Source) -> Result<()> {
    let cgroup = cgroup()?;
    let portwatch = start(source, WITH_HOSTS_TREE)?;
    ensure!(
        limits(&portwatch).next().is_none(),
        "{:?}",
        portwatch.stream().starts
    );
    let (paths, name) = (run(portwatch)?, cgroup.name()?);
    let expected = format!("/{name}");
    ensure!(
        paths
            .iter()
            .all(|path| path.as_ref().is_some_and(|path| path.ends_with(&expected))),
        "{paths:?} where {expected} is expected"
    );
    Ok(())
}

pub(super) fn with_a_part_of_the_tree(source: Source) -> Result<()> {
    let _cgroup = cgroup()?;
    let portwatch = start(source, WITH_OWN_TREE)?;
    let remedies: Vec<_> = limits(&portwatch).collect();
    ensure!(
        remedies.len() == 1 && remedies[0].contains("--cgroupns=host"),
        "{remedies:?}"
    );
    let paths = run(portwatch)?;
    ensure!(paths.iter().all(Option::is_none), "{paths:?}");
    Ok(())
}

/// One below the root, which its members see as theirs.
fn cgroup() -> Result<Cgroup> {
    need(&["unshare", "mount", "umount"])?;
    if source::is_emulated() {
        return Err(Impossible("busybox's unshare knows no cgroup namespaces".into()).into());
    }
    Cgroup::enter()
}

fn start(source: Source, script: &str) -> Result<Portwatch> {
    let mut unshare = Command::new("unshare");
    unshare
        .args(["--cgroup", "--mount", "sh", "-c", script])
        .arg(source::binary()?)
        .args(["--json", "--source", source.name()]);
    Ok(Started::run(&mut unshare)?.check_started_as(source)?.read())
}

/// What remedies there are for cgroups that are not known.
fn limits(portwatch: &Portwatch) -> impl Iterator<Item = &str> {
    let starts = portwatch.stream().starts.iter();
    let degradations = starts.flat_map(|start| &start.degradations);
    degradations
        .filter(|degradation| {
            degradation
                .what
                .starts_with("cgroups, containers and units")
        })
        .filter_map(|degradation| degradation.remedy.as_deref())
}

/// The cgroups of some attempts.
fn run(mut portwatch: Portwatch) -> Result<Vec<Option<String>>> {
    let done = Workload::prepare("five_binds", Pace::Stepwise)?.run(&mut portwatch)?;
    let stream = portwatch.stop()?;
    let paths: Vec<_> = stream
        .of(done.pid)
        .map(|attempt| attempt.cgroup.clone())
        .collect();
    ensure!(!paths.is_empty(), "no attempt");
    Ok(paths)
}
