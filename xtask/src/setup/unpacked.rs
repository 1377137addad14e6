//! Servers that the tests start by themselves: unpacked below target/programs, since installing
//! them would start them.

use std::{
    env,
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};

use super::{Apt, Need, Step};
use crate::command::{root, run};

/// The servers, and where their packages have them.
const SERVERS: [&str; 2] = ["nginx", "rsyslogd"];
const PLACE: &str = "usr/sbin";
/// What is unpacked: the servers, and libraries that nothing else here uses.
const PACKAGES: [&str; 4] = ["nginx", "rsyslog", "libestr0", "libfastjson4"];
/// Libraries that most systems have, and that start nothing.
const LIBRARIES: [&str; 6] = [
    "libcrypt1",
    "libpcre2-8-0",
    "libssl3",
    "libsystemd0",
    "libuuid1",
    "zlib1g",
];

pub(super) fn step() -> Step {
    Step {
        need: Need::Peers,
        what: "nginx and rsyslogd, unpacked",
        why: "the tests start them: one holds a port, the other reads what is logged",
        by_hand: "unpack the packages nginx, rsyslog, libestr0 and libfastjson4 of Debian 12 with `dpkg -x` into target/programs",
        present: || SERVERS.iter().all(|server| find(server).is_some()),
        get,
    }
}

/// An unpacked server.
pub(crate) fn find(server: &str) -> Option<PathBuf> {
    Some(servers().join(server)).filter(|path| path.is_file())
}

/// A PATH on which they are.
pub(crate) fn path() -> Result<OsString> {
    let path = env::var_os("PATH").unwrap_or_default();
    let all = std::iter::once(servers()).chain(env::split_paths(&path));
    env::join_paths(all).context("the workspace's path cannot be on PATH")
}

fn servers() -> PathBuf {
    directory().join(PLACE)
}

fn directory() -> PathBuf {
    root().join("target/programs")
}

fn get(apt: &mut Apt) -> Result<()> {
    apt.install(&LIBRARIES)?;
    let directory = directory();
    let target = directory.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(target).with_context(|| format!("cannot create {}", target.display()))?;
    let work = tempfile::Builder::new()
        .prefix(".unpacking-")
        .tempdir_in(target)
        .context("cannot create a directory in target")?;
    let unpacked = work.path().join("unpacked");
    for package in PACKAGES {
        let archive = work.path().join(package);
        fs::create_dir(&archive)?;
        apt.download(package, &archive)?;
        for file in fs::read_dir(&archive)? {
            run(Command::new("dpkg")
                .arg("-x")
                .arg(file?.path())
                .arg(&unpacked))?;
        }
    }
    if directory.exists() {
        fs::remove_dir_all(&directory).context("cannot replace target/programs")?;
    }
    // Only what is whole gets the name that is looked for.
    fs::rename(&unpacked, &directory).context("cannot move what was unpacked to target/programs")
}
