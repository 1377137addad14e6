//! What this host says of itself, read once; check.rs and privilege.rs say what it means.

use std::{fs, io, path::Path};

use super::{
    capability::{Capabilities, Capability, Status},
    tracefs::Tracefs,
};
use crate::{
    cgroup::View,
    confine::{self, Tried},
    sockets::diag,
    source::ebpf::probe::{self, Trial},
};

/// What decides whether this process may trace. Cheap: a few small files.
#[derive(Clone, Debug)]
pub(crate) struct Grants {
    pub(crate) status: Status,
    /// Effective user 0, which owns tracefs
    pub(crate) root: bool,
    /// The highest capability that the kernel knows
    pub(crate) last_capability: u8,
    pub(crate) user_namespace: Namespace,
    /// `kernel.perf_event_paranoid`
    pub(crate) paranoid: Option<i32>,
    pub(crate) tracefs: Tracefs,
}

impl Grants {
    pub(crate) fn read() -> Self {
        let status = text("/proc/self/status").unwrap_or_default();
        Self {
            status: Status::parse(&status),
            root: rustix::process::geteuid().is_root(),
            last_capability: number("/proc/sys/kernel/cap_last_cap")
                .unwrap_or(Capability::BPF.number()),
            user_namespace: Namespace::of("user", USER_NS),
            paranoid: number("/proc/sys/kernel/perf_event_paranoid"),
            tracefs: Tracefs::find(),
        }
    }

    /// The capabilities that count for tracing: `bpf_capable()` and `perfmon_capable()`
    /// (include/linux/capability.h) ask the initial user namespace.
    pub(crate) fn effective(&self) -> Capabilities {
        match self.user_namespace {
            Namespace::Other => Capabilities::NONE,
            Namespace::Initial | Namespace::Unknown => self.status.effective,
        }
    }

    /// Whether the capabilities let this process load and attach at all.
    pub(crate) fn may_trace(&self) -> bool {
        let effective = self.effective();
        effective.has(Capability::SYS_ADMIN)
            || effective.has(Capability::BPF) && effective.has(Capability::PERFMON)
    }

    /// Whether the kernel has `CAP_PERFMON` and `CAP_BPF` (5.8; RHEL 8 has them in 4.18).
    pub(crate) fn knows_cap_bpf(&self) -> bool {
        self.last_capability >= Capability::BPF.number()
    }
}

/// Everything that `portwatch doctor` shows.
#[derive(Clone, Debug)]
pub(crate) struct Facts {
    pub(crate) grants: Grants,
    pub(crate) release: String,
    pub(crate) machine: String,
    pub(crate) pid_namespace: Namespace,
    /// And whether there are v1 hierarchies
    pub(crate) cgroups: (View, bool),
    pub(crate) lockdown: Lockdown,
    pub(crate) btf: Result<u64, BtfFault>,
    /// Whether perf can make kprobes (`CONFIG_KPROBE_EVENTS`, 4.17)
    pub(crate) kprobe_pmu: bool,
    /// `/sys/kernel/debug/kprobes/enabled`, where it can be read
    pub(crate) kprobes_enabled: Option<bool>,
    pub(crate) bpf: Trial,
    pub(crate) ring_buffer: Trial,
    pub(crate) kprobe_program: Trial,
    pub(crate) tracepoint_program: Trial,
    pub(crate) fentry: Trial,
    /// Over open descriptors, loaded and run once
    pub(crate) iterator: Trial,
    /// Modules that would tell of sockets
    pub(crate) missing_tables: Vec<&'static str>,
    /// What a watch gives up, or why it could not be tried
    pub(crate) confined: Result<Tried, String>,
}

impl Facts {
    pub(crate) fn read() -> Self {
        let uname = rustix::system::uname();
        Self {
            grants: Grants::read(),
            release: uname.release().to_string_lossy().into_owned(),
            machine: uname.machine().to_string_lossy().into_owned(),
            pid_namespace: Namespace::of("pid", PID_NS),
            cgroups: View::read(),
            lockdown: Lockdown::read(Path::new("/sys/kernel/security")),
            btf: btf(Path::new("/sys/kernel/btf/vmlinux")),
            kprobe_pmu: Path::new("/sys/bus/event_source/devices/kprobe/type").exists(),
            kprobes_enabled: number("/sys/kernel/debug/kprobes/enabled").map(|on: u8| on != 0),
            bpf: probe::syscall(),
            ring_buffer: probe::ring_buffer(),
            kprobe_program: probe::kprobe(),
            tracepoint_program: probe::tracepoint(),
            fentry: probe::fentry(),
            iterator: probe::iterator(),
            missing_tables: diag::missing(),
            confined: confine::try_it().map_err(|error| error.to_string()),
        }
    }
}

/// Inodes of the initial namespaces, fixed since 3.8 (`include/linux/proc_ns.h`,
/// `PROC_USER_INIT_INO` and `PROC_PID_INIT_INO`).
const USER_NS: u32 = 0xEFFF_FFFD;
const PID_NS: u32 = 0xEFFF_FFFC;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Namespace {
    Initial,
    Other,
    Unknown,
}

impl Namespace {
    fn of(kind: &str, initial: u32) -> Self {
        let Ok(link) = fs::read_link(Path::new("/proc/self/ns").join(kind)) else {
            return Self::Unknown;
        };
        Self::parse(&link.to_string_lossy(), initial)
    }

    /// `user:[4026531837]`
    fn parse(link: &str, initial: u32) -> Self {
        let inode = link
            .split_once(":[")
            .and_then(|(_, rest)| rest.strip_suffix(']'))
            .and_then(|inode| inode.parse::<u32>().ok());
        match inode {
            Some(inode) if inode == initial => Self::Initial,
            Some(_) => Self::Other,
            None => Self::Unknown,
        }
    }
}

/// security/lockdown/lockdown.c
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lockdown {
    Off,
    Integrity,
    Confidentiality,
    /// securityfs is mounted and has no such file: the kernel has no lockdown
    Absent,
    /// securityfs cannot be looked into
    Unknown,
}

impl Lockdown {
    fn read(securityfs: &Path) -> Self {
        match fs::read_to_string(securityfs.join("lockdown")) {
            Ok(text) => Self::parse(&text),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let entries = fs::read_dir(securityfs).map_or(0, Iterator::count);
                if entries == 0 {
                    Self::Unknown
                } else {
                    Self::Absent
                }
            }
            Err(_) => Self::Unknown,
        }
    }

    /// `none [integrity] confidentiality`: the one in brackets is in force.
    fn parse(text: &str) -> Self {
        let chosen = text
            .split_once('[')
            .and_then(|(_, rest)| rest.split_once(']'));
        match chosen.map(|(word, _)| word) {
            Some("none") => Self::Off,
            Some("integrity") => Self::Integrity,
            Some("confidentiality") => Self::Confidentiality,
            _ => Self::Unknown,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum BtfFault {
    Absent,
    Unreadable(String),
    /// It does not start with the magic number
    Garbled,
}

/// The size of the kernel's type information, once it has proved readable.
fn btf(path: &Path) -> Result<u64, BtfFault> {
    let data = fs::read(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => BtfFault::Absent,
        _ => BtfFault::Unreadable(error.to_string()),
    })?;
    // BTF_MAGIC 0xEB9F in the machine's own byte order (include/uapi/linux/btf.h).
    let magic = 0xEB9F_u16.to_ne_bytes();
    if data.starts_with(&magic) {
        Ok(data.len() as u64)
    } else {
        Err(BtfFault::Garbled)
    }
}

fn text(path: &str) -> Option<String> {
    fs::read_to_string(path).ok()
}

fn number<T: std::str::FromStr>(path: &str) -> Option<T> {
    text(path)?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_initial_namespaces_are_known_by_their_inodes() {
        assert_eq!(
            Namespace::parse("user:[4026531837]", USER_NS),
            Namespace::Initial
        );
        assert_eq!(
            Namespace::parse("user:[4026532561]", USER_NS),
            Namespace::Other
        );
        assert_eq!(
            Namespace::parse("pid:[4026531836]", PID_NS),
            Namespace::Initial
        );
        assert_eq!(Namespace::parse("pid:[]", PID_NS), Namespace::Unknown);
    }

    #[test]
    fn the_lockdown_in_force_stands_in_brackets() {
        for (text, lockdown) in [
            ("[none] integrity confidentiality\n", Lockdown::Off),
            ("none [integrity] confidentiality\n", Lockdown::Integrity),
            (
                "none integrity [confidentiality]\n",
                Lockdown::Confidentiality,
            ),
            ("none integrity confidentiality\n", Lockdown::Unknown),
            ("", Lockdown::Unknown),
        ] {
            assert_eq!(Lockdown::parse(text), lockdown, "{text:?}");
        }
    }

    #[test]
    fn an_unmounted_securityfs_leaves_the_lockdown_unknown() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(Lockdown::read(directory.path()), Lockdown::Unknown);
        fs::write(directory.path().join("lsm"), "capability").unwrap();
        assert_eq!(Lockdown::read(directory.path()), Lockdown::Absent);
        fs::write(directory.path().join("lockdown"), "[none] integrity").unwrap();
        assert_eq!(Lockdown::read(directory.path()), Lockdown::Off);
    }

    #[test]
    fn type_information_is_known_by_its_magic_number() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("vmlinux");
        assert_eq!(btf(&path), Err(BtfFault::Absent));
        fs::write(&path, "BTF").unwrap();
        assert_eq!(btf(&path), Err(BtfFault::Garbled));
        fs::write(&path, [0xEB9F_u16.to_ne_bytes(), [1, 0]].concat()).unwrap();
        assert_eq!(btf(&path), Ok(4));
    }
}
