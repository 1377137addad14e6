//! Runs a program in a process namespace of its own, as a container does: its /proc shows none of
//! the processes outside.

use std::{ffi::OsString, os::unix::process::CommandExt as _, process::Command};

use anyhow::{Context as _, Result};
use rustix::{
    mount::{MountFlags, MountPropagationFlags, mount, mount_change},
    process::{WaitOptions, waitpid},
    thread::UnshareFlags,
};

use super::child;

/// Arguments: the program and its arguments. Ends as it does.
#[expect(clippy::exit, reason = "it ends with the status of the program")]
pub(super) fn run(mut args: impl Iterator<Item = OsString>) -> Result<()> {
    let program = args.next().context("no program given")?;
    // SAFETY: of the flags only FILES is dangerous.
    unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWPID | UnshareFlags::NEWNS) }
        .context("unshare")?;
    let Some(first) = child::fork()? else {
        child::end(become_program(&program, args))
    };
    let (_, status) = waitpid(Some(first), WaitOptions::empty())?.context("no child")?;
    std::process::exit(status.exit_status().unwrap_or(1))
}

fn become_program(program: &OsString, args: impl Iterator<Item = OsString>) -> Result<()> {
    let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    mount_change("/", private).context("cannot keep mounts private")?;
    mount("proc", "/proc", "proc", MountFlags::empty(), None).context("cannot mount /proc")?;
    Err(Command::new(program).args(args).exec()).context("exec")
}
