//! What turns portwatch-ebpf into an object that the kernel loads: `core` for the BPF target, and
//! bpf-linker.

use std::{fs, path::Path, process::Command};

use anyhow::{Context as _, Result, bail, ensure};

use super::{Apt, Need, Step, cargo_install};
use crate::command::{probe, run, which};

/// The LLVM in bpf-linker: it reads the bitcode of compilers with this one and older ones.
const LLVM: u32 = 22;
const LINKER_VERSION: &str = "0.10.0";

pub(super) const NIGHTLY: &str = "nightly";
pub(super) const DEBIAN: &str = "bpf-debian";

/// The nightly that setup installs where nothing else serves: `nightly` itself would be today's,
/// whose LLVM may be too new for bpf-linker.
pub(super) const PINNED_NIGHTLY: &str = "nightly-2026-05-20";

/// The toolchains that can build the eBPF programs, best first. portwatch/build.rs tries the
/// same ones in this order.
const TOOLCHAINS: [&str; 3] = [NIGHTLY, DEBIAN, PINNED_NIGHTLY];

/// How a toolchain comes by `core` for the BPF target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Core {
    /// Builds it from rust-src.
    Source,
    /// Has it ready-made.
    Compiled,
}

pub(super) fn steps() -> [Step; 2] {
    [
        Step {
            need: Need::Bpf,
            what: "a Rust toolchain that can build for the BPF target",
            why: "rustc needs its `core` library to compile the eBPF programs",
            by_hand: "rustup toolchain install nightly-2026-05-20 --profile minimal --component rust-src --component clippy",
            present: || core_toolchain().is_some(),
            get: get_core,
        },
        Step {
            need: Need::Bpf,
            what: "bpf-linker 0.10",
            why: "it links the eBPF programs; compiling it takes about four minutes",
            by_hand: "cargo install bpf-linker --version 0.10.0 --locked",
            present: linker_is_there,
            get: get_linker,
        },
    ]
}

/// The toolchain that builds the eBPF programs here.
pub(crate) fn core_toolchain() -> Option<(&'static str, Core)> {
    TOOLCHAINS
        .into_iter()
        .find_map(|name| Some((name, inspect(name)?)))
}

/// Whether a toolchain is installed and fit for the BPF target, and how.
fn inspect(toolchain: &str) -> Option<Core> {
    let version = probe(rustc(toolchain).arg("-vV"))?;
    if llvm_major(&version)? > LLVM {
        return None;
    }
    let sysroot = probe(rustc(toolchain).args(["--print", "sysroot"]))?;
    let rustlib = Path::new(sysroot.trim()).join("lib/rustlib");
    // The component can be listed as installed with its files missing; only the files tell.
    let source = rustlib.join("src/rust/library/core/src/lib.rs");
    if version.contains("-nightly") && source.is_file() {
        return Some(Core::Source);
    }
    let compiled = fs::read_dir(rustlib.join("bpfel-unknown-none/lib")).ok()?;
    compiled
        .flatten()
        .any(|file| file.file_name().to_string_lossy().starts_with("libcore-"))
        .then_some(Core::Compiled)
}

pub(super) fn rustc(toolchain: &str) -> Command {
    let mut rustc = Command::new("rustup");
    rustc
        .args(["run", toolchain, "rustc"])
        // Looking must not install anything.
        .env("RUSTUP_AUTO_INSTALL", "0");
    rustc
}

fn llvm_major(version: &str) -> Option<u32> {
    let llvm = version
        .lines()
        .find_map(|line| line.strip_prefix("LLVM version: "))?;
    llvm.split('.').next()?.parse().ok()
}

fn get_core(apt: &mut Apt) -> Result<()> {
    ensure!(
        which("rustup").is_some(),
        "rustup is not on the PATH; get it from https://rustup.rs"
    );
    let ways: [fn(&mut Apt) -> Result<()>; 3] =
        [|_| complete_nightly(), get_debian, |_| get_nightly()];
    for way in ways {
        match way(apt) {
            Ok(()) => return Ok(()),
            Err(error) => eprintln!("    {error:#}"),
        }
    }
    bail!("neither rustup nor Debian's packages could provide it")
}

/// Adds the missing sources to the nightly that is installed.
fn complete_nightly() -> Result<()> {
    let version = probe(rustc(NIGHTLY).arg("-vV")).context("no nightly is installed")?;
    ensure!(
        llvm_major(&version).is_some_and(|llvm| llvm <= LLVM),
        "the LLVM of the installed nightly is newer than bpf-linker's"
    );
    run(Command::new("rustup")
        .args(["component", "add", "--toolchain", NIGHTLY, "rust-src"])
        .stdout(std::io::stderr()))?;
    ensure!(
        inspect(NIGHTLY).is_some(),
        "rustup left the nightly without rust-src"
    );
    Ok(())
}

fn get_nightly() -> Result<()> {
    run(Command::new("rustup")
        .args(["toolchain", "install", PINNED_NIGHTLY, "--no-self-update"])
        .args(["--profile", "minimal", "--component", "rust-src"])
        .args(["--component", "clippy"])
        .stdout(std::io::stderr()))?;
    ensure!(
        inspect(PINNED_NIGHTLY).is_some(),
        "{PINNED_NIGHTLY} came without rust-src"
    );
    Ok(())
}

/// Debian ships `core` for the BPF target ready-made.
fn get_debian(apt: &mut Apt) -> Result<()> {
    get_debian_with(apt, "libstd-rust-web-dev-bpf", "libstd-rust-dev-bpf")?;
    inspect(DEBIAN)
        .map(drop)
        .context("the rustc in Debian's packages has another LLVM than bpf-linker")
}

/// Installs Debian's compiler with one more package of it: as rustc-web in stable releases, where
/// it is kept new enough for browsers, and as rustc where that is new itself.
pub(super) fn get_debian_with(apt: &mut Apt, web: &str, plain: &str) -> Result<()> {
    let names = apt.cache(&["pkgnames", web])?;
    let has_web = names.lines().any(|name| name == web);
    apt.install(&if has_web {
        ["rustc-web", "cargo-web", web]
    } else {
        ["rustc", "cargo", plain]
    })?;
    run(Command::new("rustup").args(["toolchain", "link", DEBIAN, "/usr"]))
}

fn linker_is_there() -> bool {
    probe(Command::new("bpf-linker").arg("--version"))
        .is_some_and(|version| version.starts_with("bpf-linker 0.10."))
}

fn get_linker(_: &mut Apt) -> Result<()> {
    cargo_install("bpf-linker", LINKER_VERSION)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_llvm_version_is_read_from_rustc() {
        let version =
            "rustc 1.95.0 (59807616e 2026-04-14)\nrelease: 1.95.0\nLLVM version: 22.1.2\n";
        assert_eq!(llvm_major(version), Some(22));
        assert_eq!(llvm_major("rustc 1.95.0"), None);
    }

    #[test]
    fn the_by_hand_texts_name_the_pinned_versions() {
        let [core, linker] = steps();
        assert!(core.by_hand.contains(PINNED_NIGHTLY));
        assert!(linker.by_hand.contains(LINKER_VERSION));
    }
}
