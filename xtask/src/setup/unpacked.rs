//! Programs that the tests start by themselves: unpacked below target/programs, since installing
//! servers would start them, and shells are nothing to change a system for.

use std::{env, ffi::OsString, path::PathBuf};

use anyhow::{Context as _, Result};

use super::{Apt, Need, Step};
use crate::command::root;

/// The programs, and where their packages have them.
const PROGRAMS: [(&str, &str); 4] = [
    ("nginx", "usr/sbin"),
    ("rsyslogd", "usr/sbin"),
    ("zsh", "bin"),
    ("fish", "usr/bin"),
];
/// What is unpacked: the programs, and libraries that nothing else here uses.
const PACKAGES: [&str; 7] = [
    "nginx",
    "rsyslog",
    "libestr0",
    "libfastjson4",
    "zsh",
    "fish",
    "libpcre2-32-0",
];
/// Libraries that most systems have, and that start nothing.
const LIBRARIES: [&str; 9] = [
    "libcap2",
    "libcrypt1",
    "libpcre2-8-0",
    "libssl3",
    "libstdc++6",
    "libsystemd0",
    "libtinfo6",
    "libuuid1",
    "zlib1g",
];

pub(super) fn step() -> Step {
    Step {
        need: Need::Peers,
        what: "nginx, rsyslogd, zsh and fish, unpacked",
        why: "the tests start them: one holds a port, one reads what is logged, two read completions",
        by_hand: "unpack the packages nginx, rsyslog, libestr0, libfastjson4, zsh, fish and libpcre2-32-0 of Debian 12 with `dpkg -x` into target/programs",
        present: || PROGRAMS.iter().all(|(program, _)| find(program).is_some()),
        get,
    }
}

/// An unpacked program.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    let (_, place) = PROGRAMS.iter().find(|(name, _)| *name == program)?;
    Some(directory().join(place).join(program)).filter(|path| path.is_file())
}

/// A PATH on which the servers are.
pub(crate) fn path() -> Result<OsString> {
    let path = env::var_os("PATH").unwrap_or_default();
    let servers = directory().join("usr/sbin");
    let all = std::iter::once(servers).chain(env::split_paths(&path));
    env::join_paths(all).context("the workspace's path cannot be on PATH")
}

fn directory() -> PathBuf {
    root().join("target/programs")
}

fn get(apt: &mut Apt) -> Result<()> {
    apt.install(&LIBRARIES)?;
    let target = root().join("target");
    apt.unpack(&PACKAGES, &target)?.keep_as(&directory())
}
