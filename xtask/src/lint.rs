//! `cargo xtask lint`: formatting, clippy for both targets, and the layers.

mod layers;
mod unit;

use std::process::Command;

use anyhow::{Result, bail};
use clap::ValueEnum as _;

use crate::{
    command::{cargo, probe, root, run},
    platform::Arch,
    setup::{Core, Need, core_toolchain, ensure_for},
};

type Check = (&'static str, fn() -> Result<()>);

const CHECKS: [Check; 5] = [
    ("formatting", formatting),
    ("layers", layers::check),
    ("the systemd unit", unit::check),
    ("clippy", clippy),
    ("clippy for the BPF target", bpf_clippy),
];

/// Runs every check, so that one run shows everything there is to mend.
pub(crate) fn run_all() -> Result<()> {
    ensure_for(&[Need::Bpf])?;
    let mut failed = Vec::new();
    for (name, check) in CHECKS {
        eprintln!("lint: {name}");
        if let Err(error) = check() {
            eprintln!("lint: {name}: {error:#}");
            failed.push(name);
        }
    }
    if !failed.is_empty() {
        bail!("these lints failed: {}", failed.join(", "));
    }
    Ok(())
}

fn formatting() -> Result<()> {
    run(cargo().args(["fmt", "--all", "--", "--check"]))?;
    let fuzz = ["--manifest-path", "fuzz/Cargo.toml"];
    run(cargo().arg("fmt").args(fuzz).args(["--", "--check"]))
}

/// The eBPF package is left out: it has a panic handler of its own, and no host to run on. The
/// kernel tests are no part of `--all-targets`.
fn clippy() -> Result<()> {
    let strict = ["--", "-D", "warnings"];
    run(cargo()
        .args(["clippy", "--workspace", "--exclude", "portwatch-ebpf"])
        .arg("--all-targets")
        .args(strict))?;
    run(cargo()
        .args(["clippy", "--package", "portwatch", "--test", "kernel"])
        .args(strict))
}

/// Compiles as aya-build does in portwatch/build.rs, for each processor.
fn bpf_clippy() -> Result<()> {
    let toolchain = match core_toolchain() {
        Some((toolchain, Core::Source)) if has_clippy(toolchain) => toolchain,
        Some((toolchain, _)) => {
            eprintln!(
                "lint: skipped: the toolchain `{toolchain}`, which builds it here, has no clippy"
            );
            return Ok(());
        }
        None => bail!("no toolchain for the BPF target; run `cargo xtask setup`"),
    };
    let lint = |arch: &Arch| {
        let flags = format!("--cfg=bpf_target_arch=\"{arch}\"");
        run(toolchain_cargo(toolchain)
            .args(["clippy", "--package", "portwatch-ebpf", "--release"])
            .args(["--target", "bpfel-unknown-none", "-Z", "build-std=core"])
            .args(["--target-dir", "target/bpf-lint", "--", "-D", "warnings"])
            .env("CARGO_ENCODED_RUSTFLAGS", flags))
    };
    Arch::value_variants().iter().try_for_each(lint)
}

fn has_clippy(toolchain: &str) -> bool {
    probe(toolchain_cargo(toolchain).args(["clippy", "--version"])).is_some()
}

/// The cargo of another toolchain than the one that runs this.
fn toolchain_cargo(toolchain: &str) -> Command {
    let mut cargo = Command::new("rustup");
    cargo.args(["run", toolchain, "cargo"]).current_dir(root());
    for variable in [
        "CARGO",
        "RUSTC",
        "RUSTC_WORKSPACE_WRAPPER",
        "RUSTUP_TOOLCHAIN",
    ] {
        cargo.env_remove(variable);
    }
    cargo
}
