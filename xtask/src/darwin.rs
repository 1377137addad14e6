//! portwatch for macOS, compiled on Linux.

use std::{env, ffi::OsStr, path::Path, process::Command};

use anyhow::{Context as _, Result};

use crate::{
    build_std,
    command::{root, run},
    setup::zigbuild,
};

/// Macs with Apple's processors, and with Intel's.
pub(crate) const TARGETS: [&str; 2] = ["aarch64-apple-darwin", "x86_64-apple-darwin"];

/// One directory for everything of these targets: the standard library is compiled once for each.
const DIRECTORY: &str = "target/darwin";

/// The first macOS that there is for Apple's processors.
const OLDEST: &str = "11.0";

/// Compiles all of portwatch for both targets, without linking.
pub(crate) fn check() -> Result<()> {
    let mut check = cargo("cargo", "check")?;
    // clippy has no such toolchain; the compiler's own lints are to be kept.
    check.env("RUSTFLAGS", "-D warnings");
    for target in TARGETS {
        check.args(["--target", target]);
    }
    run(check.stdout(std::io::stderr()))
}

/// Builds portwatch as it is released.
pub(crate) fn release(target: &str) -> Result<Command> {
    let programs = zigbuild().context("zig is missing; run `cargo xtask dist` again")?;
    let mut build = cargo(programs.join("cargo-zigbuild"), "zigbuild")?;
    // The python there finds zig.
    let path = env::var_os("PATH").unwrap_or_default();
    let path = env::join_paths(std::iter::once(programs).chain(env::split_paths(&path)))?;
    build
        .args(["--release", "--target", target])
        .env("PATH", path)
        .env("MACOSX_DEPLOYMENT_TARGET", OLDEST)
        // For Mach-O rustc wants a tool that is not there.
        .env("CARGO_PROFILE_RELEASE_STRIP", "none");
    Ok(build)
}

fn cargo(program: impl AsRef<OsStr>, task: &str) -> Result<Command> {
    let mut cargo = build_std::cargo(program, task)?;
    cargo
        .args(["--package", "portwatch", "--target-dir"])
        .arg(root().join(Path::new(DIRECTORY)));
    Ok(cargo)
}
