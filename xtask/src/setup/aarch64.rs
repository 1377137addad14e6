//! aarch64 on a machine of another architecture: a linker, QEMU, and programs for the VMs, unpacked below
//! target/programs-aarch64.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};

use super::{Apt, Need, Step, darwin};
use crate::{
    command::{output, probe, root, which},
    platform::Arch,
    vm::Added,
};

/// Compiles and links C for aarch64; rustc calls it to link.
pub(crate) const CROSS_COMPILER: &str = "aarch64-linux-gnu-gcc";

/// Programs that the tests run in the VMs, and where their packages have them.
const PROGRAMS: [(&str, &str); 8] = [
    ("apparmor_parser", "usr/sbin"),
    ("ip", "usr/bin"),
    ("journalctl", "usr/bin"),
    ("nft", "usr/sbin"),
    ("nginx", "usr/sbin"),
    ("ss", "usr/bin"),
    ("strace", "usr/bin"),
    ("systemctl", "usr/bin"),
];
/// And what is on no path.
const SYSTEMD: [&str; 2] = [
    "/usr/lib/systemd/systemd",
    "/usr/lib/systemd/systemd-journald",
];
const BUSYBOX: &str = "usr/bin/busybox";

/// The packages of those, and of the libraries that they need.
const PACKAGES: [&str; 43] = [
    "apparmor",
    "busybox-static",
    "iproute2",
    "libacl1",
    "libapparmor1",
    "libaudit1",
    "libblkid1",
    "libbpf1",
    "libbsd0",
    "libc6",
    "libcap-ng0",
    "libcap2",
    "libcom-err2",
    "libcrypt1",
    "libedit2",
    "libelf1t64",
    "libgmp10",
    "libgssapi-krb5-2",
    "libjansson4",
    "libk5crypto3",
    "libkeyutils1",
    "libkrb5-3",
    "libkrb5support0",
    "libmd0",
    "libmnl0",
    "libmount1",
    "libnftables1",
    "libnftnl11",
    "libpam0g",
    "libpcre2-8-0",
    "libseccomp2",
    "libselinux1",
    "libssl3t64",
    "libsystemd-shared",
    "libtinfo6",
    "libtirpc3t64",
    "libxtables12",
    "libzstd1",
    "nftables",
    "nginx",
    "strace",
    "systemd",
    "zlib1g",
];

/// Where the libraries are.
const LIBRARIES: [&str; 3] = [
    "usr/lib/aarch64-linux-gnu",
    "usr/lib/aarch64-linux-gnu/systemd",
    "usr/lib",
];

pub(super) fn steps() -> [Step; 4] {
    [
        Step {
            need: Need::Aarch64,
            what: "a C compiler and libc for aarch64",
            why: "they link portwatch for it",
            by_hand: "install gcc-aarch64-linux-gnu and libc6-dev-arm64-cross, or a gcc called aarch64-linux-gnu-gcc",
            present: can_link,
            get: |apt| apt.install(&["gcc-aarch64-linux-gnu", "libc6-dev-arm64-cross"]),
        },
        darwin::std_source(
            Need::Aarch64,
            "portwatch for aarch64 is built with it; there is none ready-made here",
        ),
        Step {
            need: Need::Aarch64Vm,
            what: "qemu-system-aarch64",
            why: "it boots the test kernels of that architecture",
            by_hand: "install QEMU for aarch64 with the system's package manager",
            present: || which("qemu-system-aarch64").is_some(),
            get: |apt| apt.install(&["qemu-system-arm"]),
        },
        Step {
            need: Need::Aarch64Vm,
            what: "busybox, ip, ss, nft, strace, nginx, apparmor_parser and systemd for aarch64, unpacked",
            why: "they are the userland of its VMs, and what the tests run in them",
            by_hand: "unpack the packages in xtask/src/setup/aarch64.rs of Debian 13 for arm64 with `dpkg -x` into target/programs-aarch64",
            present: || busybox().is_some() && programs().len() == PROGRAMS.len() + SYSTEMD.len(),
            get: |_| {
                let unpacked = Apt::of(Arch::Aarch64)?.unpack(&PACKAGES, &root().join("target"))?;
                unpacked.keep_as(&directory())
            },
        },
    ]
}

/// Also without a shared library in sight.
fn can_link() -> bool {
    let libc = probe(Command::new(CROSS_COMPILER).arg("-print-file-name=libc.a"));
    libc.is_some_and(|libc| Path::new(libc.trim()).is_file())
}

/// The programs, for the VMs.
pub(super) fn programs() -> Vec<Added> {
    let named = PROGRAMS.map(|(program, place)| {
        let host = directory().join(place).join(program);
        Added::new(host, Path::new("/usr/bin").join(program))
    });
    let placed = SYSTEMD.map(|place| {
        let host = directory().join(place.trim_start_matches('/'));
        Added::new(host, place)
    });
    let all = named.into_iter().chain(placed);
    all.filter(|program| program.host.is_file()).collect()
}

pub(super) fn busybox() -> Option<PathBuf> {
    Some(directory().join(BUSYBOX)).filter(|path| path.is_file())
}

/// The shared libraries and the loader of a dynamic binary, with their places in the VM; ldd would have to
/// run it.
pub(crate) fn libraries(program: &Path) -> Result<Vec<Added>> {
    let mut found = BTreeMap::new();
    let mut queue = vec![program.to_owned()];
    while let Some(file) = queue.pop() {
        for name in needed(&file)? {
            if let Entry::Vacant(place) = found.entry(name) {
                let library = find(place.key())?;
                queue.push(library.clone());
                place.insert(library);
            }
        }
    }
    // The loader's place is in each program, and where it looks for others itself.
    let place = |(name, host)| Added::new(host, Path::new("/lib").join(name));
    Ok(found.into_iter().map(place).collect())
}

fn needed(file: &Path) -> Result<Vec<String>> {
    let listing = output(Command::new("readelf").arg("--dynamic").arg(file))?;
    Ok(parse_readelf(&listing))
}

fn parse_readelf(listing: &str) -> Vec<String> {
    let needed = listing.lines().filter(|line| line.contains("(NEEDED)"));
    let names = needed.filter_map(|line| line.split_once('[')?.1.strip_suffix(']'));
    names.map(str::to_owned).collect()
}

fn find(library: &str) -> Result<PathBuf> {
    let places = LIBRARIES.map(|place| directory().join(place).join(library));
    let found = places.into_iter().find(|place| place.is_file());
    found.with_context(|| format!("target/programs-aarch64 has no {library}"))
}

fn directory() -> PathBuf {
    root().join("target/programs-aarch64")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_are_read_from_readelf() {
        let listing = "\nDynamic section at offset 0xfd48 contains 28 entries:\n\
            \x20 Tag        Type                         Name/Value\n\
            \x200x0000000000000001 (NEEDED)             Shared library: [libc.so.6]\n\
            \x200x000000000000001d (RUNPATH)            Library runpath: [/usr/lib]\n\
            \x200x0000000000000001 (NEEDED)             Shared library: [ld-linux-aarch64.so.1]\n";
        assert_eq!(
            parse_readelf(listing),
            ["libc.so.6", "ld-linux-aarch64.so.1"]
        );
        assert!(parse_readelf("\nThere is no dynamic section in this file.\n").is_empty());
    }
}
