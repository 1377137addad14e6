//! /proc/self/mountinfo (proc(5)): where the hierarchies of cgroups are mounted.

use std::{
    ffi::OsString,
    fs,
    os::unix::{ffi::OsStringExt as _, fs::MetadataExt as _},
    path::{Path, PathBuf},
};

use super::ROOT;

/// The hierarchies that can be seen.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Mounts {
    /// Where the whole v2 tree may be
    pub(super) version_2: Vec<Mounted>,
    /// Whether there are v1 trees as well: processes may be in these and in the root of v2
    pub(super) has_version_1: bool,
}

/// A mount that shows the tree from the root, or so it seems.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mounted {
    pub(super) point: PathBuf,
    /// How many steps above the root of portwatch's cgroup namespace it begins
    pub(super) above: usize,
}

/// Whether the directory is the root of the whole tree. In a cgroup namespace of its own, mountinfo
/// says `/` of a part too.
pub(super) fn is_root(point: &Path) -> bool {
    fs::metadata(point).is_ok_and(|found| found.ino() == ROOT)
}

impl Mounts {
    /// `ID PARENT MAJOR:MINOR ROOT MOUNTPOINT OPTIONS [TAG…] - TYPE SOURCE OPTIONS`
    pub fn parse(mountinfo: &[u8]) -> Self {
        let mut mounts = Self::default();
        for line in mountinfo.split(|&byte| byte == b'\n') {
            let mut words = line.split(|&byte| byte == b' ');
            let root = words.nth(3);
            let point = words.next();
            let kind = words.skip_while(|&word| word != b"-").nth(1);
            match (kind, root, point) {
                (Some(b"cgroup"), ..) => mounts.has_version_1 = true,
                (Some(b"cgroup2"), Some(root), Some(point)) if is_whole(root) => {
                    let steps = root.split(|&byte| byte == b'/');
                    mounts.version_2.push(Mounted {
                        point: PathBuf::from(OsString::from_vec(unescaped(point))),
                        above: steps.filter(|step| !step.is_empty()).count(),
                    });
                }
                _ => {}
            }
        }
        mounts
    }
}

/// Whether a mount shows its tree from the top. In a cgroup namespace of its own, a process that
/// sees the whole tree has it above its own root: `/../..`.
fn is_whole(root: &[u8]) -> bool {
    root.starts_with(b"/")
        && root
            .split(|&byte| byte == b'/')
            .all(|name| name.is_empty() || name == b"..")
}

/// Undoes `\040`, with which the kernel writes spaces and the like (`mangle_path`).
fn unescaped(word: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(word.len());
    let mut rest = word;
    while let [first, later @ ..] = rest {
        let (byte, later) = octal(rest).unwrap_or((*first, later));
        bytes.push(byte);
        rest = later;
    }
    bytes
}

fn octal(text: &[u8]) -> Option<(u8, &[u8])> {
    let (digits, later) = text.strip_prefix(b"\\")?.split_first_chunk::<3>()?;
    let value = digits.iter().try_fold(0_u8, |value, digit| match digit {
        b'0'..=b'7' => value.checked_mul(8)?.checked_add(digit - b'0'),
        _ => None,
    })?;
    Some((value, later))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use proptest::{collection::vec, prelude::*};

    use super::*;

    fn version_2(line: &str) -> Option<PathBuf> {
        let mounted = Mounts::parse(line.as_bytes()).version_2;
        mounted.into_iter().next().map(|mounted| mounted.point)
    }

    fn at_top(point: &str) -> Vec<Mounted> {
        vec![Mounted {
            point: point.into(),
            above: 0,
        }]
    }

    #[test]
    fn a_host_with_the_unified_hierarchy_has_it_alone() {
        let text = b"22 28 0:21 / /proc rw,nosuid shared:13 - proc proc rw\n\
            35 24 0:30 / /sys/fs/cgroup rw,nosuid,nodev,noexec,relatime shared:4 - cgroup2 cgroup2 rw,nsdelegate,memory_recursiveprot\n";
        assert_eq!(
            Mounts::parse(text),
            Mounts {
                version_2: at_top("/sys/fs/cgroup"),
                has_version_1: false
            }
        );
    }

    #[test]
    fn a_hybrid_host_has_both() {
        let text = b"31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755\n\
            40 31 0:37 / /sys/fs/cgroup/systemd rw,relatime shared:1 master:2 - cgroup cgroup rw,name=systemd\n\
            41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n";
        assert_eq!(
            Mounts::parse(text),
            Mounts {
                version_2: at_top("/sys/fs/cgroup/unified"),
                has_version_1: true
            }
        );
    }

    #[test]
    fn only_a_mount_of_the_whole_tree_is_taken() {
        assert_eq!(
            version_2("1 2 0:3 /system.slice /mnt rw - cgroup2 c rw"),
            None
        );
        assert_eq!(version_2("1 2 0:3 /../x /mnt rw - cgroup2 c rw"), None);
        let above = version_2("1 2 0:3 /../.. /host/cgroup rw - cgroup2 c rw");
        assert_eq!(above.as_deref(), Some(Path::new("/host/cgroup")));
    }

    #[test]
    fn a_mount_point_may_hold_spaces_and_hyphens() {
        let found = version_2(r"1 2 0:3 / /a\040-\040b\134x rw - cgroup2 c rw");
        assert_eq!(found.as_deref(), Some(Path::new(r"/a - b\x")));
    }

    #[test]
    fn what_is_cut_short_is_nothing() {
        let whole = "1 2 0:3 / /mnt rw - cgroup2 c rw";
        for len in 0..whole.len() - 5 {
            assert_eq!(version_2(&whole[..len]), None, "{len}");
        }
    }

    proptest! {
        #[test]
        fn no_file_is_too_strange(bytes in vec(prop_oneof![Just(b' '), Just(b'\\'), Just(b'-'), any::<u8>()], 0..200)) {
            drop(Mounts::parse(&bytes));
            drop(unescaped(&bytes));
        }
    }
}
