//! Lives in a user namespace of its own, as an ordinary user made it, and repeats what it is told.

use std::{
    ffi::OsString,
    fs,
    io::{self, BufRead as _, Write as _},
};

use anyhow::{Context as _, Result, bail};
use rustix::{
    process::{DumpableBehavior, set_dumpable_behavior},
    thread::UnshareFlags,
};

use super::{super::sys, USER};

/// Argument: `guest`, in a network namespace of others, or `resident`, in one of its own too.
pub(super) fn live(mut args: impl Iterator<Item = OsString>) -> Result<()> {
    let kind = args.next().context("a guest or a resident?")?;
    let namespaces = match kind.to_str() {
        Some("guest") => UnshareFlags::NEWUSER,
        Some("resident") => UnshareFlags::NEWUSER | UnshareFlags::NEWNET,
        _ => bail!("neither a guest nor a resident"),
    };
    sys::become_user(USER)?;
    // Whoever changes sides loses the files of /proc that the maps are written to.
    set_dumpable_behavior(DumpableBehavior::Dumpable)?;
    // SAFETY: of the flags only FILES is dangerous.
    unsafe { rustix::thread::unshare_unsafe(namespaces) }.context("unshare")?;
    fs::write("/proc/self/setgroups", "deny")?;
    for map in ["uid_map", "gid_map"] {
        fs::write(format!("/proc/self/{map}"), format!("0 {USER} 1"))?;
    }
    if namespaces.contains(UnshareFlags::NEWNET) {
        sys::raise_loopback()?;
    }
    for line in io::stdin().lock().lines() {
        writeln!(io::stdout(), "{}", line?)?;
    }
    Ok(())
}
