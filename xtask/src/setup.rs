//! `cargo xtask setup`: finds, and where it can installs, what the build and the tests need.

mod aarch64;
mod apt;
mod bpf;
mod darwin;
mod deny;
pub(crate) mod kernels;
mod programs;
mod unpacked;

use anyhow::{Result, bail, ensure};

use crate::{
    command::{cargo, run as run_command},
    platform::{Arch, Platform},
};

pub(crate) use aarch64::{CROSS_COMPILER, libraries as aarch64_libraries};
pub(crate) use apt::Apt;
pub(crate) use bpf::{Core, core_toolchain};
pub(crate) use darwin::{std_toolchain, zigbuild};
pub(crate) use programs::{busybox, for_guest, tracers};
pub(crate) use unpacked::path as path_with_servers;

/// What a task is about to do, and so what must be there.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Need {
    /// Build the eBPF programs.
    Bpf,
    /// Boot the test kernels.
    Vm,
    /// Let the tests trace programs that others wrote.
    Peers,
    /// Measure other tracers beside portwatch.
    Bench,
    /// Compile libFuzzer.
    Fuzz,
    /// Check what is depended on.
    Deny,
    /// Compile for macOS.
    Darwin,
    /// Link for macOS.
    DarwinLinker,
    /// Compile and link for Linux on aarch64.
    Aarch64,
    /// Boot the test kernels for aarch64, beside [`Self::Vm`].
    Aarch64Vm,
}

impl Need {
    /// Build portwatch for Linux on that processor.
    pub(crate) const fn to_build(arch: Arch) -> &'static [Self] {
        match arch {
            Arch::X86_64 => &[Self::Bpf],
            Arch::Aarch64 => &[Self::Bpf, Self::Aarch64],
        }
    }

    /// Boot the test kernels for that processor, with a PID 1 that is built for it.
    pub(crate) const fn to_boot(arch: Arch) -> &'static [Self] {
        match arch {
            Arch::X86_64 => &[Self::Vm],
            Arch::Aarch64 => &[Self::Vm, Self::Aarch64Vm, Self::Aarch64],
        }
    }
}

/// One thing that must be on this machine.
struct Step {
    need: Need,
    what: &'static str,
    why: &'static str,
    /// What to do where `get` cannot.
    by_hand: &'static str,
    present: fn() -> bool,
    get: fn(&mut Apt) -> Result<()>,
}

/// Ensures that everything which the needs name is there.
pub(crate) fn ensure_for(needs: &[Need]) -> Result<()> {
    let missing: Vec<Step> = steps()
        .filter(|step| needs.contains(&step.need) && !(step.present)())
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    eprintln!("Missing here, and about to be set up:");
    for step in &missing {
        eprintln!("  {}: {}", step.what, step.why);
    }
    let mut apt = Apt::default();
    let failed: Vec<&Step> = missing
        .iter()
        .filter(|step| !set_up(step, &mut apt))
        .collect();
    report(&failed)
}

/// `cargo xtask setup` itself.
pub(crate) fn run() -> Result<()> {
    let needs = [
        Need::Bpf,
        Need::Vm,
        Need::Peers,
        Need::Darwin,
        Need::Aarch64,
        Need::Aarch64Vm,
    ];
    ensure_for(&needs)?;
    let missing = kernels::ensure(&Platform::matrix());
    for kernels::Missing { platform, .. } in &missing {
        eprintln!("{platform} cannot be had, for the reason above: its tests are left out.");
    }
    eprintln!("Set up: all else that the build and the tests need is here.");
    Ok(())
}

fn steps() -> impl Iterator<Item = Step> {
    bpf::steps()
        .into_iter()
        .chain(programs::steps())
        .chain(std::iter::once(unpacked::step()))
        .chain(darwin::steps())
        .chain(aarch64::steps())
        .chain(std::iter::once(deny::step()))
}

/// Compiles a program of exactly that version, with the versions that it was released with.
fn cargo_install(program: &str, version: &str) -> Result<()> {
    run_command(
        cargo()
            .args(["install", program, "--version", version, "--locked"])
            .stdout(std::io::stderr()),
    )
}

/// Gets one thing; whether it is there now.
fn set_up(step: &Step, apt: &mut Apt) -> bool {
    eprintln!("==> {}", step.what);
    let result = (step.get)(apt).and_then(|()| {
        ensure!(
            (step.present)(),
            "it was installed, and still cannot be found"
        );
        Ok(())
    });
    if let Err(error) = &result {
        eprintln!("    {error:#}");
    }
    result.is_ok()
}

fn report(failed: &[&Step]) -> Result<()> {
    if failed.is_empty() {
        return Ok(());
    }
    eprintln!("Still missing; to be done by hand:");
    for step in failed {
        eprintln!("  {} ({})\n      {}", step.what, step.why, step.by_hand);
    }
    bail!("{} of the things above could not be set up", failed.len())
}
