//! What stands behind the caller of an attempt, looked up and shared by its attempts.
//!
//! Executables, command lines, cgroups and interfaces are named by whoever made them: none of
//! these types has a `Display`, and whoever shows one decides how to make it harmless.

use std::path::PathBuf;

/// A process, as /proc shows it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Process {
    /// What it runs: the link /proc/PID/exe, with the kernel's ` (deleted)` if the file is gone
    pub exe: Option<PathBuf>,
    /// Its arguments; only where they were asked for, since they can hold secrets
    pub cmdline: Option<Box<[String]>>,
}

/// A control group, and what its path says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cgroup {
    /// In the v2 tree, `/` for the root
    pub path: String,
    /// The innermost systemd unit, as systemctl takes it
    pub unit: Option<String>,
    /// The innermost container
    pub container: Option<Container>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Container {
    /// `None` where several runtimes name their cgroups like this
    pub runtime: Option<Runtime>,
    /// Id or, of runtimes that have no ids, name
    pub id: String,
}

/// What made a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Runtime {
    Docker,
    Containerd,
    CriO,
    Podman,
    Lxc,
    SystemdNspawn,
}

impl Runtime {
    pub const ALL: [Self; 6] = [
        Self::Docker,
        Self::Containerd,
        Self::CriO,
        Self::Podman,
        Self::Lxc,
        Self::SystemdNspawn,
    ];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Docker => "docker",
            Self::Containerd => "containerd",
            Self::CriO => "cri-o",
            Self::Podman => "podman",
            Self::Lxc => "lxc",
            Self::SystemdNspawn => "systemd-nspawn",
        }
    }
}

/// Name of a network interface: up to 15 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IfName([u8; 16]);

impl IfName {
    /// `None` for a name that no interface can have.
    pub fn new(name: &[u8]) -> Option<Self> {
        let mut raw = [0; 16];
        let fits = !name.is_empty() && name.len() < raw.len() && !name.contains(&0);
        raw.get_mut(..name.len())
            .filter(|_| fits)?
            .copy_from_slice(name);
        Some(Self(raw))
    }

    pub fn as_bytes(&self) -> &[u8] {
        self.0.split(|&byte| byte == 0).next().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interface_has_a_name_of_1_to_15_bytes() {
        for name in [&b"lo"[..], b"wg0", b"fifteen_bytes_i"] {
            assert_eq!(IfName::new(name).unwrap().as_bytes(), name);
        }
        for name in [&b""[..], b"sixteen_bytes_is", b"a\0b", &[b'x'; 99]] {
            assert_eq!(IfName::new(name), None);
        }
    }
}
