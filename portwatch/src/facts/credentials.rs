//! What a process may do, as /proc shows it.

use std::os::linux::fs::MetadataExt as _;

use crate::{
    event::{self, Attempt},
    process,
};

/// The credentials of a process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credentials {
    pub uid: Identities,
    pub gid: Identities,
    pub cap_inheritable: u64,
    pub cap_permitted: u64,
    pub cap_effective: u64,
    pub cap_bounding: u64,
    pub cap_ambient: u64,
    pub no_new_privs: Option<bool>,
    /// `SECCOMP_MODE_*`: 0 none, 1 strict, 2 filters
    pub seccomp: Option<u8>,
    /// Inode of its user namespace
    pub user_ns: Option<u32>,
    /// What its security module calls it (AppArmor's profile, SELinux's context)
    pub label: Option<String>,
}

/// Users, or groups, of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identities {
    pub real: u32,
    pub effective: u32,
    pub saved: u32,
    pub filesystem: u32,
}

/// Length of /proc/PID/status, which has a line with each group of the user.
const STATUS: u64 = 1024 * 1024;

/// Length of a security module's label.
const LABEL: u64 = 4096;

impl Credentials {
    /// Of a process, or a thread; `None` where there is none, or it may not be looked at.
    pub fn of_pid(pid: u32) -> Option<Self> {
        let status = process::read(&format!("/proc/{pid}/status"), STATUS)?;
        let user_ns = std::fs::metadata(format!("/proc/{pid}/ns/user")).ok();
        Some(Self {
            user_ns: user_ns.and_then(|found| u32::try_from(found.st_ino()).ok()),
            label: label(pid),
            ..Self::parse(&status)?
        })
    }

    /// Those that count for an attempt, if its thread is still there and the same.
    pub(super) fn of_attempt(attempt: &Attempt) -> Option<event::Credentials> {
        // /proc knows threads by their numbers too.
        let found = Self::of_pid(attempt.tid)?;
        let same = found.uid.real == attempt.uid && process::is_still(attempt);
        Some(event::Credentials {
            cap_effective: found.cap_effective,
            user_ns: found.user_ns.filter(|_| same)?,
            level: None,
        })
    }

    /// /proc/PID/status; what stands elsewhere is not known
    pub fn parse(status: &[u8]) -> Option<Self> {
        let set = |name| u64::from_str_radix(line(status, name)?, 16).ok();
        Some(Self {
            uid: Identities::parse(line(status, "Uid:")?)?,
            gid: Identities::parse(line(status, "Gid:")?)?,
            cap_inheritable: set("CapInh:")?,
            cap_permitted: set("CapPrm:")?,
            cap_effective: set("CapEff:")?,
            cap_bounding: set("CapBnd:")?,
            cap_ambient: set("CapAmb:")?,
            no_new_privs: line(status, "NoNewPrivs:").map(|text| text == "1"),
            seccomp: line(status, "Seccomp:").and_then(|text| text.parse().ok()),
            user_ns: None,
            label: None,
        })
    }
}

impl Identities {
    fn parse(text: &str) -> Option<Self> {
        let mut numbers = text.split_ascii_whitespace().map(str::parse);
        let mut next = || numbers.next()?.ok();
        Some(Self {
            real: next()?,
            effective: next()?,
            saved: next()?,
            filesystem: next()?,
        })
    }
}

/// What stands behind a name. The process's own name comes first and holds what it likes, but the
/// kernel escapes its line feeds.
fn line<'a>(status: &'a [u8], name: &str) -> Option<&'a str> {
    let line = status
        .split(|&byte| byte == b'\n')
        .find_map(|line| line.strip_prefix(name.as_bytes()))?;
    Some(str::from_utf8(line).ok()?.trim())
}

/// Since 5.8, where several modules run, each has a directory of its own.
fn label(pid: u32) -> Option<String> {
    ["attr/apparmor/current", "attr/current"]
        .iter()
        .find_map(|file| {
            let label = process::read(&format!("/proc/{pid}/{file}"), LABEL)?;
            let label = String::from_utf8_lossy(&label);
            let label = label.trim_end_matches(['\n', '\0']);
            (!label.is_empty()).then(|| label.to_owned())
        })
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    const STATUS: &[u8] = b"Name:\tx\\nCapEff:\t0\nUid:\t1000\t0\t2\t3\nGid:\t4\t5\t6\t7\nNoNewPrivs:\t1\nSeccomp:\t2\nSeccomp_filters:\t1\nCapInh:\t0000000000000000\nCapPrm:\t0000000000000400\nCapEff:\t0000000000000400\nCapBnd:\t000001ffffffffff\nCapAmb:\t0000000000000000\n";

    #[test]
    fn what_a_process_may_do_is_read() {
        let found = Credentials::parse(STATUS).unwrap();
        assert_eq!((found.uid.real, found.uid.effective), (1000, 0));
        assert_eq!((found.gid.saved, found.gid.filesystem), (6, 7));
        assert_eq!(found.cap_effective, 1 << 10);
        assert_eq!(found.cap_bounding, 0x1FF_FFFF_FFFF);
        assert_eq!((found.no_new_privs, found.seccomp), (Some(true), Some(2)));
    }

    #[test]
    fn ones_own_credentials_are_there() {
        let own = Credentials::of_pid(std::process::id()).unwrap();
        assert_eq!(own.uid.real, rustix::process::getuid().as_raw());
        assert!(own.user_ns.is_some());
        assert_eq!(Credentials::of_pid(u32::MAX), None);
    }

    proptest! {
        #[test]
        fn no_file_is_too_strange(bytes in vec(any::<u8>(), 0..200), cut in 0..STATUS.len()) {
            drop(Credentials::parse(&bytes));
            drop(Credentials::parse(&STATUS[..cut]));
        }
    }
}
