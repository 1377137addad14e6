//! BPF maps in a BPF file system, as bpftool makes them.

use std::{
    ffi::CString,
    io,
    os::{
        fd::{AsRawFd as _, OwnedFd},
        unix::ffi::OsStrExt as _,
    },
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use tempfile::TempDir;

use super::cgroup_bpf::{bpf, bpf_descriptor};

// include/uapi/linux/bpf.h
const MAP_CREATE: i32 = 0;
const MAP_UPDATE: i32 = 2;
const MAP_DELETE: i32 = 3;
const OBJ_PIN: i32 = 6;
const TYPE_HASH: u32 = 1;

/// The part of `union bpf_attr` for making a map
#[repr(C)]
struct Create {
    map_type: u32,
    key_size: u32,
    value_size: u32,
    max_entries: u32,
}

/// The part of it for one entry
#[repr(C)]
struct Entry {
    map: u64,
    key: u64,
    value: u64,
    flags: u64,
}

/// The part of it for giving something a name
#[repr(C)]
struct Pin {
    path: u64,
    descriptor: u64,
}

/// A BPF file system of the test's own, until it is dropped.
pub(crate) struct BpfFs(TempDir);

/// A pinned hash map.
pub(crate) struct Map {
    fd: OwnedFd,
    path: PathBuf,
}

impl BpfFs {
    pub(crate) fn mount() -> Result<Self> {
        let directory = tempfile::tempdir()?;
        mount("bpf", directory.path(), "bpf", MountFlags::empty(), None)
            .context("cannot mount a BPF file system")?;
        Ok(Self(directory))
    }

    /// A set whose keys have so many bytes.
    pub(crate) fn set(&self, name: &str, key_size: u32, value_size: u32) -> Result<Map> {
        let attributes = Create {
            map_type: TYPE_HASH,
            key_size,
            value_size,
            max_entries: 128,
        };
        let fd = bpf_descriptor(MAP_CREATE, &attributes).context("cannot make a map")?;
        let path = self.0.path().join(name);
        let name = CString::new(path.as_os_str().as_bytes())?;
        let pin = Pin {
            path: name.as_ptr().expose_provenance() as u64,
            descriptor: u64::try_from(fd.as_raw_fd())?,
        };
        bpf(OBJ_PIN, &pin).context("cannot pin a map")?;
        Ok(Map { fd, path })
    }
}

impl Drop for BpfFs {
    fn drop(&mut self) {
        // What fails here leaves a mount behind, and a test that went well went well.
        let _ = unmount(self.0.path(), UnmountFlags::DETACH);
    }
}

impl Map {
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn add(&self, key: u64) -> Result<()> {
        self.change(MAP_UPDATE, key).context("cannot add to a map")
    }

    pub(crate) fn remove(&self, key: u64) -> Result<()> {
        self.change(MAP_DELETE, key)
            .context("cannot remove from a map")
    }

    fn change(&self, command: i32, key: u64) -> io::Result<()> {
        let value = 0_u64;
        let (key, value): (*const u64, *const u64) = (&raw const key, &raw const value);
        let entry = Entry {
            map: u64::try_from(self.fd.as_raw_fd()).unwrap_or(u64::MAX),
            key: key.expose_provenance() as u64,
            value: if command == MAP_UPDATE {
                value.expose_provenance() as u64
            } else {
                0
            },
            flags: 0,
        };
        bpf(command, &entry).map(drop)
    }
}
