//! The maps that others keep of what is wanted: looked at before the programs are given them.

use std::{io, path::Path};

use anyhow::{Context as _, ensure};
use aya::maps::{MapError, MapInfo, MapType};

use crate::filter::Pinned;

/// What statfs(2) says of a BPF file system (include/uapi/linux/magic.h).
const BPF_FS_MAGIC: i64 = 0xcafe_4a11;

/// Bytes of a cgroup's id, and what bcc has the inode of a mount namespace in.
const KEY: u32 = 8;

/// Makes sure that each is a map that can be asked.
pub fn check(pinned: &Pinned) -> anyhow::Result<()> {
    for (option, path) in pinned.given() {
        check_one(path).with_context(|| format!("{option} {}", path.display()))?;
    }
    Ok(())
}

fn check_one(path: &Path) -> anyhow::Result<()> {
    let system = rustix::fs::statfs(path).map_err(io::Error::from)?;
    ensure!(
        system.f_type == BPF_FS_MAGIC,
        "it is no pinned BPF map: those are in a BPF file system, as /sys/fs/bpf is"
    );
    let map = MapInfo::from_pin(path).map_err(reason)?;
    // Of another kind of object the kernel describes something else in the same bytes.
    let kind = map.map_type().ok().filter(|_| map.key_size() == KEY);
    ensure!(
        matches!(kind, Some(MapType::Hash | MapType::LruHash)),
        "it is no BPF hash map with keys of {KEY} bytes"
    );
    Ok(())
}

/// What the kernel says, without the system call that it says it to.
fn reason(error: MapError) -> anyhow::Error {
    match error {
        MapError::SyscallError(error) => error.io_error.into(),
        error => error.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_pinned_map_is_named_with_its_option() {
        let directory = tempfile::tempdir().unwrap();
        let refused = |pinned: Pinned| format!("{:#}", check(&pinned).unwrap_err());
        let absent = directory.path().join("absent");
        let of_cgroups = Pinned {
            cgroups: Some(absent.clone()),
            ..Pinned::default()
        };
        assert_eq!(
            refused(of_cgroups),
            format!(
                "--cgroupmap {}: No such file or directory (os error 2)",
                absent.display()
            )
        );
        let of_mntns = Pinned {
            mntns: Some(directory.path().to_owned()),
            ..Pinned::default()
        };
        assert!(refused(of_mntns).ends_with("as /sys/fs/bpf is"));
        assert!(check(&Pinned::default()).is_ok());
    }
}
