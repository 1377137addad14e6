//! Maps that others keep of what is wanted. They are asked as a call is made, by the kernel's side:
//! what they hold may change while portwatch runs, and is no part of an expression.

use std::path::{Path, PathBuf};

/// Pinned BPF maps, of which every one that is given must have the caller.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pinned {
    /// Of cgroup ids
    pub cgroups: Option<PathBuf>,
    /// Of inodes of mount namespaces
    pub mntns: Option<PathBuf>,
}

impl Pinned {
    /// Those that are given, each with its option.
    pub fn given(&self) -> impl Iterator<Item = (&'static str, &Path)> {
        [("--cgroupmap", &self.cgroups), ("--mntnsmap", &self.mntns)]
            .into_iter()
            .filter_map(|(option, path)| Some((option, path.as_deref()?)))
    }
}
