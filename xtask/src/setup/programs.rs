//! Programs that the VMs and the tests use, from packages of the same or another name.

use std::fs;

use anyhow::Result;

use super::{Apt, Need, Step};
use crate::command::which;

/// Other people's network programs, whose calls the tests trace: add a row here for a new one.
const PEERS: [(&str, &str); 4] = [
    ("python3", "python3"),
    ("curl", "curl"),
    ("nc", "netcat-openbsd"),
    ("strace", "strace"),
];

const VM: [(&str, &str); 2] = [("qemu-system-x86_64", "qemu-system-x86"), ("cpio", "cpio")];

const STATIC_BUSYBOX: &str = "busybox-static";

pub(super) fn steps() -> [Step; 3] {
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
            need: Need::Peers,
            what: "python3, curl, nc and strace",
            why: "the tests trace these programs, and hold strace's account against portwatch's",
            by_hand: "install python3, curl, netcat (nc) and strace with the system's package manager",
            present: || all_there(&PEERS),
            get: |apt| install(apt, &PEERS),
        },
    ]
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
