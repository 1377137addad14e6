//! How much of the host's cgroups is seen from here.
//!
//! In a cgroup namespace of its own, the usual mount shows one part of the tree as if it were the
//! whole, and every path in /proc begins at that part. A mount of the host's tree shows the rest.

use std::{
    fmt, fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use super::mount::{Mounts, is_root};
use crate::event::Degradation;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum View {
    /// In the host's cgroup namespace, with the v2 tree if it is mounted
    Host(Option<PathBuf>),
    /// In another one, with a mount of the host's tree, which begins so many steps above
    Above { point: PathBuf, above: usize },
    /// In another one, without such a mount
    Part,
}

impl fmt::Display for View {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host(Some(point)) | Self::Above { point, .. } => {
                write!(f, "the host's tree is at {}", point.display())
            }
            Self::Host(None) => f.write_str("the host's, v1 alone"),
            Self::Part => f.write_str("a part of the host's"),
        }
    }
}

impl View {
    pub(super) fn of_this_process() -> (Self, Mounts) {
        /// Of the initial namespace (include/linux/proc_ns.h, `PROC_CGROUP_INIT_INO`)
        const INITIAL: u64 = 0xEFFF_FFFB;
        let mountinfo = fs::read("/proc/self/mountinfo").unwrap_or_default();
        let mounts = Mounts::parse(&mountinfo);
        let namespace = fs::metadata("/proc/self/ns/cgroup");
        let is_hosts = namespace.map_or(true, |found| found.ino() == INITIAL);
        (Self::new(is_hosts, &mounts, is_root), mounts)
    }

    /// What doctor says.
    pub fn read() -> (Self, bool) {
        let (view, mounts) = Self::of_this_process();
        (view, mounts.has_version_1)
    }

    pub(super) fn new(is_hosts: bool, mounts: &Mounts, is_root: impl Fn(&Path) -> bool) -> Self {
        let mut mounted = mounts.version_2.iter();
        if is_hosts {
            return Self::Host(mounted.next().map(|mounted| mounted.point.clone()));
        }
        let whole = mounted.find(|mounted| is_root(&mounted.point));
        whole.map_or(Self::Part, |mounted| Self::Above {
            point: mounted.point.clone(),
            above: mounted.above,
        })
    }

    pub(super) fn tree(&self) -> Option<&Path> {
        match self {
            Self::Host(point) => point.as_deref(),
            Self::Above { point, .. } => Some(point),
            Self::Part => None,
        }
    }

    pub(super) const fn is_of_host(&self) -> bool {
        matches!(self, Self::Host(_))
    }

    /// The path in the host's tree of one that /proc shows here; `None` where it cannot be told.
    pub(super) fn absolute<'a>(&self, path: &'a [u8]) -> Option<&'a [u8]> {
        let above = match self {
            Self::Host(_) => return Some(path),
            Self::Above { above, .. } => *above,
            Self::Part => return None,
        };
        let up = (0..above).try_fold(path, |path, _| path.strip_prefix(b"/.."))?;
        match up {
            [] => Some(b"/"),
            [b'/', ..] => Some(up),
            _ => None,
        }
    }

    /// What is not known, why, and what to do about it.
    pub fn limit(&self, has_version_1: bool) -> Option<Degradation> {
        const WHAT: &str = "cgroups, containers and units are not known";
        let (why, remedy) = match self {
            Self::Part => (
                "portwatch runs in a cgroup namespace of its own, which shows only a part of the \
                 host's cgroups",
                "run it in the host's: docker run --cgroupns=host; or mount the host's tree \
                 read-only: docker run -v /sys/fs/cgroup:/host/cgroup:ro",
            ),
            Self::Host(None) if !has_version_1 => (
                "no cgroup v2 tree is mounted",
                "mount -t cgroup2 cgroup2 /sys/fs/cgroup",
            ),
            Self::Above { .. } if has_version_1 => {
                return Some(Degradation {
                    what: "containers and units of v1 cgroups are not known".to_owned(),
                    why:
                        "portwatch runs in a cgroup namespace of its own, and v1 paths begin there"
                            .to_owned(),
                    remedy: Some("docker run --cgroupns=host".to_owned()),
                });
            }
            Self::Host(_) | Self::Above { .. } => return None,
        };
        Some(Degradation {
            what: WHAT.to_owned(),
            why: why.to_owned(),
            remedy: Some(remedy.to_owned()),
        })
    }
}
