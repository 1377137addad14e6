//! Programs that the VMs and the tests use, from packages of the same or another name.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::Result;

use super::{Apt, Need, Step, aarch64, unpacked};
use crate::{command::which, platform::Arch, vm::Added};

/// Other people's network programs, whose calls the tests trace: add a row here for a new one.
const PEERS: [(&str, &str); 5] = [
    ("python3", "python3"),
    ("curl", "curl"),
    ("nc", "netcat-openbsd"),
    ("strace", "strace"),
    ("journalctl", "systemd"),
];

/// Programs that the tests run in the VMs too: add a row here for a new one.
const GUEST: [(&str, &str); 6] = [
    ("ip", "iproute2"),
    ("ss", "iproute2"),
    ("nft", "nftables"),
    ("apparmor_parser", "apparmor"),
    ("systemctl", "systemd"),
    ("journalctl", "systemd"),
];

/// And what is on no path of those packages.
const SYSTEMD: [&str; 2] = [
    "/usr/lib/systemd/systemd",
    "/usr/lib/systemd/systemd-journald",
];

/// Tracers that portwatch is measured beside, and what runs in the VM to measure them.
const TRACERS: [(&str, &str); 4] = [
    ("bindsnoop", "libbpf-tools"),
    ("tcpconnect", "libbpf-tools"),
    ("bpftrace", "bpftrace"),
    ("chrt", "util-linux"),
];

const VM: [(&str, &str); 2] = [("qemu-system-x86_64", "qemu-system-x86"), ("cpio", "cpio")];

const COMPILER: [(&str, &str); 1] = [("c++", "g++")];

const STATIC_BUSYBOX: &str = "busybox-static";

pub(super) fn steps() -> [Step; 6] {
    [
        Step {
            need: Need::Vm,
            what: "qemu-system-x86_64 and cpio",
            why: "they boot the test kernels; no KVM is needed",
            by_hand: "install QEMU for x86_64 and cpio with the system's package manager",
            present: || all_there(&VM),
            get: |apt| install(apt, &VM),
        },
        Step {
            need: Need::Vm,
            what: "a static busybox",
            why: "it is the test VMs' userland",
            by_hand: "install a statically linked busybox with the system's package manager",
            present: busybox_is_static,
            get: |apt| apt.install(&[STATIC_BUSYBOX]),
        },
        Step {
            need: Need::Vm,
            what: "ip, ss, nft, apparmor_parser and systemd",
            why: "the tests make networks, firewalls and profiles with them, in which calls fail, and run the service",
            by_hand: "install iproute2, nftables, apparmor and systemd with the system's package manager",
            present: || all_there(&GUEST),
            get: |apt| install(apt, &GUEST),
        },
        Step {
            need: Need::Peers,
            what: "python3, curl, nc, strace and journalctl",
            why: "the tests trace these programs, hold strace's account against portwatch's, and read a journal",
            by_hand: "install python3, curl, netcat (nc), strace and systemd (journalctl) with the system's package manager",
            present: || all_there(&PEERS),
            get: |apt| install(apt, &PEERS),
        },
        Step {
            need: Need::Bench,
            what: "bindsnoop, tcpconnect, bpftrace and chrt",
            why: "portwatch is measured beside these tracers",
            by_hand: "install libbpf-tools, bpftrace and util-linux with the system's package manager",
            present: || all_there(&TRACERS),
            get: |apt| install(apt, &TRACERS),
        },
        Step {
            need: Need::Fuzz,
            what: "a C++ compiler",
            why: "libFuzzer is compiled from its source",
            by_hand: "install g++ with the system's package manager",
            present: || all_there(&COMPILER),
            get: |apt| install(apt, &COMPILER),
        },
    ]
}

/// The userland of the VMs.
pub(crate) fn busybox(arch: Arch) -> Option<PathBuf> {
    match arch {
        Arch::X86_64 => which("busybox"),
        Arch::Aarch64 => aarch64::busybox(),
    }
}

/// Those programs, for the VMs.
pub(crate) fn for_guest(arch: Arch) -> Vec<Added> {
    match arch {
        Arch::X86_64 => from_here(),
        Arch::Aarch64 => aarch64::programs(),
    }
}

/// This machine's own.
fn from_here() -> Vec<Added> {
    let others = [
        ("nginx", unpacked::find("nginx")),
        ("strace", which("strace")),
    ];
    let mut added = placed(installed(&GUEST).chain(others));
    let systemd = SYSTEMD.into_iter().filter(|path| Path::new(path).exists());
    added.extend(systemd.map(|path| Added::new(path, path)));
    added
}

/// The tracers, for the VM.
pub(crate) fn tracers() -> Vec<Added> {
    placed(installed(&TRACERS))
}

fn installed(
    programs: &'static [(&str, &str)],
) -> impl Iterator<Item = (&'static str, Option<PathBuf>)> {
    programs
        .iter()
        .map(|&(program, _)| (program, which(program)))
}

/// Those that were found, on the guest's PATH before busybox's.
fn placed(programs: impl Iterator<Item = (&'static str, Option<PathBuf>)>) -> Vec<Added> {
    let added = |program: &str, host| Added::new(host, Path::new("/usr/bin").join(program));
    programs
        .filter_map(|(program, found)| Some(added(program, found?)))
        .collect()
}

fn all_there(programs: &[(&str, &str)]) -> bool {
    programs.iter().all(|(program, _)| which(program).is_some())
}

fn install(apt: &mut Apt, programs: &[(&str, &str)]) -> Result<()> {
    let packages: Vec<&str> = programs
        .iter()
        .filter(|(program, _)| which(program).is_none())
        .map(|&(_, package)| package)
        .collect();
    apt.install(&packages)
}

/// A dynamic one names its loader, and would not start in the VMs.
fn busybox_is_static() -> bool {
    const LOADER: &[u8] = b"/ld-linux";
    which("busybox")
        .and_then(|busybox| fs::read(busybox).ok())
        .is_some_and(|binary| !binary.windows(LOADER.len()).any(|part| part == LOADER))
}
