//! What portwatch for macOS is built with, on Linux: the standard library's source, and for a whole
//! program a linker that brings macOS's own libraries with it.

use std::{path::PathBuf, process::Command};

use anyhow::{Result, ensure};

use super::{
    Apt, Need, Step,
    bpf::{DEBIAN, NIGHTLY, PINNED_NIGHTLY, get_debian_with, rustc},
};
use crate::command::{probe, root, run, which};

/// Released compilers before nightlies, whose warnings change from day to day.
const TOOLCHAINS: [&str; 3] = [DEBIAN, PINNED_NIGHTLY, NIGHTLY];

/// zig links for macOS without Apple's SDK, and cargo-zigbuild calls it as rustc calls a linker
/// (both MIT).
const LINKER: [&str; 2] = ["ziglang==0.17.1", "cargo-zigbuild==0.24.0"];

pub(super) fn steps() -> [Step; 2] {
    [
        std_source(
            Need::Darwin,
            "portwatch for macOS is checked with it; there is none ready-made here",
        ),
        Step {
            need: Need::DarwinLinker,
            what: "zig and cargo-zigbuild, in target/zig",
            why: "they link portwatch for macOS",
            by_hand: "python3 -m venv target/zig && target/zig/bin/pip install ziglang cargo-zigbuild",
            present: || zigbuild().is_some(),
            get: get_linker,
        },
    ]
}

/// What the standard library is compiled with for other targets.
pub(super) fn std_source(need: Need, why: &'static str) -> Step {
    Step {
        need,
        what: "a Rust toolchain with the source of the standard library",
        why,
        by_hand: "rustup toolchain install nightly-2026-05-20 --profile minimal --component rust-src",
        present: || std_toolchain().is_some(),
        get: |apt| get_debian_with(apt, "rust-web-src", "rust-src"),
    }
}

/// The toolchain that can compile the standard library for any target, and where it lies.
pub(crate) fn std_toolchain() -> Option<(&'static str, PathBuf)> {
    TOOLCHAINS.into_iter().find_map(|toolchain| {
        let sysroot = probe(rustc(toolchain).args(["--print", "sysroot"]))?;
        let sysroot = PathBuf::from(sysroot.trim());
        let std = sysroot.join("lib/rustlib/src/rust/library/std/src/lib.rs");
        std.is_file().then_some((toolchain, sysroot))
    })
}

/// The directory of cargo-zigbuild and the python that finds zig.
pub(crate) fn zigbuild() -> Option<PathBuf> {
    let programs = environment().join("bin");
    programs
        .join("cargo-zigbuild")
        .is_file()
        .then_some(programs)
}

fn environment() -> PathBuf {
    root().join("target/zig")
}

fn get_linker(apt: &mut Apt) -> Result<()> {
    let python = || Command::new(which("python3").unwrap_or_else(|| "python3".into()));
    if probe(python().args(["-c", "import ensurepip, venv"])).is_none() {
        apt.install(&["python3", "python3-venv"])?;
    }
    run(python().args(["-m", "venv"]).arg(environment()))?;
    let pip = environment().join("bin/pip");
    run(Command::new(pip)
        .args(["install", "--quiet"])
        .args(LINKER)
        .stdout(std::io::stderr()))?;
    ensure!(zigbuild().is_some(), "pip left cargo-zigbuild out");
    Ok(())
}
