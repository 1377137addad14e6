//! Builds the eBPF programs that the binary carries.
//!
//! Needs a `core` for the BPF target and bpf-linker; `cargo xtask setup` gets both.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, anyhow};
use aya_build::{Package, Toolchain};
use object::{Object as _, ObjectSection as _};

/// The toolchain that `cargo xtask setup` links where rustup has no `rust-src` to give:
/// the distribution's own compiler, which ships a ready `core` for the BPF target.
const DISTRIBUTION: &str = "bpf-debian";
const NIGHTLY: &str = "nightly";
const REMEDY: &str = "run `cargo xtask setup` once: it says what it installs";

fn main() -> anyhow::Result<()> {
    if env::var("CARGO_CFG_TARGET_OS").as_deref() != Ok("linux") {
        return Ok(());
    }
    let toolchain = find_toolchain()
        .ok_or_else(|| anyhow!("no toolchain here has a `core` for the BPF target; {REMEDY}"))?;
    check_linker()?;
    // aya-build shows whatever the inner cargo says as warnings: its progress is none.
    set_env("CARGO_TERM_QUIET", "true");
    if toolchain == DISTRIBUTION {
        // aya-ebpf asks for one unstable feature; the name limits the permission to it.
        set_env("RUSTC_BOOTSTRAP", "aya_ebpf");
    }
    let root =
        PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").context("cargo sets CARGO_MANIFEST_DIR")?);
    let workspace = root.parent().context("the crate lies in the workspace")?;
    let program = workspace.join("portwatch-ebpf");
    let shared = workspace.join("portwatch-common");
    rerun_if_changed(&shared);
    let package_name = "portwatch-ebpf";
    let package = Package {
        name: package_name,
        root_dir: program
            .to_str()
            .context("the path of the workspace is not UTF-8")?,
        ..Default::default()
    };
    aya_build::build_ebpf([package], Toolchain::Custom(toolchain))
        .with_context(|| format!("the eBPF programs do not build with the toolchain `{toolchain}`; if it is broken, {REMEDY}"))?;
    let object =
        PathBuf::from(env::var_os("OUT_DIR").context("cargo sets OUT_DIR")?).join(package_name);
    mend_union_names(&object)
}

/// Makes the names of unions in the object's BTF acceptable to the kernel.
///
/// bpf-linker 0.10 rewrites the names of generic structs (`Option<u8>`) to C identifiers and
/// leaves those of unions (`MaybeUninit<u8>`, which every `aya_ebpf::Global` is); the kernel
/// then refuses the whole of the type information.
fn mend_union_names(object: &Path) -> anyhow::Result<()> {
    let mut data = fs::read(object).with_context(|| format!("cannot read {}", object.display()))?;
    let file = object::File::parse(&*data).context("the eBPF object is no ELF file")?;
    let (from, size) = file
        .section_by_name(".BTF")
        .and_then(|section| section.file_range())
        .context("the eBPF object has no type information")?;
    let (from, size) = (usize::try_from(from)?, usize::try_from(size)?);
    let btf = data
        .get_mut(from..from + size)
        .context("the eBPF object is cut short")?;
    for name in btf_union_names(btf).context("the eBPF object's type information is malformed")? {
        for byte in btf[name..].iter_mut().take_while(|byte| **byte != 0) {
            if !byte.is_ascii_alphanumeric() {
                *byte = b'_';
            }
        }
    }
    fs::write(object, data).with_context(|| format!("cannot write {}", object.display()))
}

/// Where the names of unions begin (Documentation/bpf/btf.rst).
fn btf_union_names(btf: &[u8]) -> Option<Vec<usize>> {
    let word = |at: usize| Some(u32::from_ne_bytes(*btf.get(at..)?.first_chunk()?) as usize);
    let header = word(4)?;
    let (mut at, end) = (header + word(8)?, header + word(8)? + word(12)?);
    let strings = header + word(16)?;
    let mut names = Vec::new();
    while at < end {
        let (kind, count) = (word(at + 4)? >> 24 & 0x1f, word(at + 4)? & 0xffff);
        if kind == 5 {
            names.push(strings + word(at)?);
        }
        at += 12
            + match kind {
                1 | 14 | 17 => 4,
                3 => 12,
                4 | 5 | 15 | 19 => 12 * count,
                6 | 13 => 8 * count,
                _ => 0,
            };
    }
    Some(names)
}

#[expect(
    clippy::print_stdout,
    reason = "this is how a build script talks to cargo"
)]
fn rerun_if_changed(path: &Path) {
    println!("cargo:rerun-if-changed={}", path.display());
}

/// Sets what aya-build hands on to the inner cargo; it takes no environment as an argument.
fn set_env(name: &str, value: &str) {
    // SAFETY: this build script has no other thread.
    unsafe { env::set_var(name, value) };
}

/// The first toolchain that can compile for the BPF target.
fn find_toolchain() -> Option<&'static str> {
    if sysroot(NIGHTLY).is_some_and(|root| root.join("lib/rustlib/src/rust/library/core").is_dir())
    {
        return Some(NIGHTLY);
    }
    sysroot(DISTRIBUTION)
        .filter(|root| root.join("lib/rustlib/bpfel-unknown-none").is_dir())
        .map(|_| DISTRIBUTION)
}

fn sysroot(toolchain: &str) -> Option<PathBuf> {
    let output = Command::new("rustup")
        .args(["run", toolchain, "rustc", "--print", "sysroot"])
        .output()
        .ok()?;
    let path = String::from_utf8(output.stdout).ok()?;
    output
        .status
        .success()
        .then(|| PathBuf::from(path.trim_end()))
}

fn check_linker() -> anyhow::Result<()> {
    Command::new("bpf-linker")
        .arg("--version")
        .output()
        .map(|_| ())
        .map_err(|error| anyhow!("bpf-linker does not start ({error}); {REMEDY}"))
}
