//! tracefs, which names the tracepoints: found, or mounted for this process alone.

use std::path::Path;

use anyhow::Context as _;
use rustix::{
    mount::{MountFlags, MountPropagationFlags, mount, mount_change},
    thread::{UnshareFlags, unshare_unsafe},
};

/// Where it may be seen: by itself, or under debugfs, where kernel/trace/trace.c mounts it.
pub const PLACES: [&str; 2] = [MOUNT_POINT, "/sys/kernel/debug/tracing"];

/// Where the kernel offers a mount point for it (kernel/trace/trace.c, `tracing_init_dentry`).
const MOUNT_POINT: &str = "/sys/kernel/tracing";

/// Makes tracefs visible to this process.
///
/// Where it is not mounted, it is mounted in a mount namespace of portwatch's own, so that
/// nothing changes for anybody else. To be called while the process has one thread.
pub(super) fn make_visible() -> anyhow::Result<()> {
    let look = |place| Path::new(place).join("events").try_exists();
    let closed = || format!("{MOUNT_POINT} is not for this process");
    let looks = PLACES.map(look);
    if looks.iter().any(|look| matches!(look, Ok(true))) {
        return Ok(());
    }
    // Where nothing is mounted everybody may look; debugfs is root's whatever is below it.
    let [at_mount_point, _] = looks;
    at_mount_point.with_context(closed)?;
    mount_privately().map_err(std::io::Error::from).context(
        "tracefs is not mounted and cannot be mounted for portwatch alone; \
         mount it with `sudo mount -t tracefs nodev /sys/kernel/tracing`",
    )?;
    // Whoever mounts it may not look into it for that.
    look(MOUNT_POINT).map(drop).with_context(closed)
}

#[expect(
    unsafe_code,
    reason = "rustix marks every unshare unsafe, for the sake of CLONE_FILES"
)]
fn mount_privately() -> rustix::io::Result<()> {
    // SAFETY: a new mount namespace takes no file descriptor away from anybody.
    unsafe { unshare_unsafe(UnshareFlags::NEWNS) }?;
    mount_change(
        "/",
        MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC,
    )?;
    mount("nodev", MOUNT_POINT, "tracefs", MountFlags::empty(), None)
}
