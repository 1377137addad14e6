//! `cargo xtask fuzz`: whatever reads what others wrote, under libFuzzer.
//!
//! Stable rustc is enough: its LLVM puts in the coverage that libFuzzer wants. AddressSanitizer,
//! which is for nightly, would add little where the library itself has no unsafe code.

use std::{fs, process::Command};

use anyhow::{Context as _, Result, bail, ensure};

use crate::{
    command::{cargo, root, run as run_command},
    setup::{Need, ensure_for},
};

/// As cargo-fuzz has them.
const FLAGS: [&str; 7] = [
    "--cfg",
    "fuzzing",
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
];

/// What `cargo xtask fuzz` takes.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Only these of fuzz/targets
    targets: Vec<String>,
    /// How long each runs
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    seconds: u64,
}

/// Builds all targets, and runs one after the other, whatever comes of those before.
pub(crate) fn run(options: &Options) -> Result<()> {
    ensure_for(&[Need::Bpf, Need::Fuzz])?;
    let known = known()?;
    let unknown = options.targets.iter().find(|name| !known.contains(name));
    if let Some(name) = unknown {
        bail!("fuzz/targets has no {name}; it has {}", known.join(", "));
    }
    build()?;
    let wanted = |name: &&String| options.targets.is_empty() || options.targets.contains(name);
    let mut failed = Vec::new();
    for name in known.iter().filter(wanted) {
        eprintln!("fuzz: {name}");
        if let Err(error) = fuzz(name, options.seconds) {
            eprintln!("fuzz: {name}: {error:#}");
            failed.push(name.as_str());
        }
    }
    ensure!(failed.is_empty(), "these failed: {}", failed.join(", "));
    Ok(())
}

fn known() -> Result<Vec<String>> {
    let files = fs::read_dir(root().join("fuzz/targets")).context("there are no targets")?;
    let names = files.map(|file| {
        let path = file?.path();
        let name = path.file_stem().unwrap_or(path.as_os_str());
        Ok(name.to_string_lossy().into_owned())
    });
    let mut names = names.collect::<Result<Vec<_>>>()?;
    names.sort();
    Ok(names)
}

fn build() -> Result<()> {
    run_command(
        cargo()
            .args(["build", "--release", "--manifest-path", "fuzz/Cargo.toml"])
            .args(["--target", &target(), "--target-dir", "target/fuzz"])
            .env("RUSTFLAGS", FLAGS.join(" ")),
    )
}

/// Named, so that the flags are for it alone: build scripts and macros run without libFuzzer.
fn target() -> String {
    format!("{}-unknown-linux-gnu", std::env::consts::ARCH)
}

/// What is found new is kept in target/fuzz, and so is what fails.
fn fuzz(name: &str, seconds: u64) -> Result<()> {
    let built = root().join("target/fuzz");
    let corpus = built.join("corpus").join(name);
    fs::create_dir_all(&corpus).with_context(|| format!("cannot create {}", corpus.display()))?;
    let program = built.join(target()).join("release").join(name);
    let mut command = Command::new(program);
    command
        .arg(&corpus)
        .arg(root().join("fuzz/seeds").join(name))
        .arg(format!("-max_total_time={seconds}"))
        .arg(format!("-artifact_prefix={}/{name}-", built.display()))
        .args(["-timeout=10", "-rss_limit_mb=1024", "-print_final_stats=1"]);
    run_command(&mut command)
}
