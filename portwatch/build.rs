//! Builds the eBPF programs that the binary carries.
//!
//! Needs a `core` for the BPF target and bpf-linker; `cargo xtask setup` gets both.

use std::{
    env, fs, io,
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, anyhow};
use aya_build::{Package, Toolchain};
use object::{
    Object as _, ObjectSection as _,
    build::elf::{Builder, SectionData},
};

/// The toolchain that `cargo xtask setup` links where rustup has no `rust-src` to give:
/// the distribution's own compiler, which ships a ready `core` for the BPF target.
const DISTRIBUTION: &str = "bpf-debian";
const NIGHTLY: &str = "nightly";
/// What `cargo xtask setup` installs where there is no other way.
const PINNED_NIGHTLY: &str = "nightly-2026-05-20";
/// The LLVM of bpf-linker 0.10.
const LINKERS_LLVM: u32 = 22;
const REMEDY: &str = "run `cargo xtask setup` once: it says what it installs";

/// Set for the inner cargo, which then calls this program in rustc's place.
const REMAPPED: &str = "PORTWATCH_REMAPPED";

fn main() -> anyhow::Result<()> {
    if let Ok(prefixes) = env::var(REMAPPED) {
        return Err(as_rustc(&prefixes).into());
    }
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
    remap(workspace, toolchain)?;
    aya_build::build_ebpf([package], Toolchain::Custom(toolchain))
        .with_context(|| format!("the eBPF programs do not build with the toolchain `{toolchain}`; if it is broken, {REMEDY}"))?;
    let object =
        PathBuf::from(env::var_os("OUT_DIR").context("cargo sets OUT_DIR")?).join(package_name);
    let data = fs::read(&object).with_context(|| format!("cannot read {}", object.display()))?;
    let data = mend_union_names(without_dwarf(&data)?)?;
    fs::write(&object, data).with_context(|| format!("cannot write {}", object.display()))
}

/// Has the paths of files begin alike wherever they lie: the type information quotes them, and two
/// builds of the same sources are to be the same. aya-build's flags leave no room for more, so the
/// inner cargo has this program as its wrapper of rustc.
fn remap(workspace: &Path, toolchain: &str) -> anyhow::Result<()> {
    let sysroot = sysroot(toolchain).context("the toolchain is gone")?;
    let cargo_home = env::var_os("CARGO_HOME").map(PathBuf::from);
    let cargo_home = cargo_home.or_else(|| Some(env::home_dir()?.join(".cargo")));
    let cargo_home = cargo_home.context("there is no home directory")?;
    let prefixes = [
        (workspace, "/portwatch"),
        (&cargo_home, "/cargo"),
        (&sysroot, "/rust"),
    ];
    let prefixes = prefixes.map(|(path, name)| format!("{}={name}", path.display()));
    let program = env::current_exe()?;
    set_env(
        "RUSTC_WRAPPER",
        program.to_str().context("a path is not UTF-8")?,
    );
    set_env(REMAPPED, &prefixes.join("\n"));
    Ok(())
}

/// Becomes the compiler that the arguments name; comes back only if that fails.
fn as_rustc(prefixes: &str) -> io::Error {
    let mut args = env::args_os().skip(1);
    let remapped = prefixes
        .lines()
        .map(|prefix| format!("--remap-path-prefix={prefix}"));
    Command::new(args.next().unwrap_or_default())
        .args(args)
        .args(remapped)
        .env_remove(REMAPPED)
        .exec()
}

/// Leaves out the debugging information, which only served to make the BTF and would be two
/// thirds of what the binary carries and reads at every start.
fn without_dwarf(data: &[u8]) -> anyhow::Result<Vec<u8>> {
    let mut builder = Builder::read(data).context("the eBPF object is no ELF file")?;
    for section in &mut builder.sections {
        let name = section.name.to_string();
        section.delete = name.starts_with(".debug_") || name.starts_with(".rel.debug_");
    }
    builder.delete_orphans();
    // LLVM keeps all names in one table; the writer wants one for the sections' alone.
    let names = builder.sections.add();
    names.name = ".shstrtab".into();
    names.sh_type = object::elf::SHT_STRTAB;
    names.sh_addralign = 1;
    names.data = SectionData::SectionString;
    let mut stripped = Vec::new();
    builder
        .write(&mut stripped)
        .context("cannot strip the eBPF object")?;
    Ok(stripped)
}

/// Makes the names of unions in the object's BTF acceptable to the kernel.
///
/// bpf-linker 0.10 rewrites the names of generic structs (`Option<u8>`) to C identifiers and
/// leaves those of unions (`MaybeUninit<u8>`, which every `aya_ebpf::Global` is); the kernel
/// then refuses the whole of the type information.
fn mend_union_names(mut data: Vec<u8>) -> anyhow::Result<Vec<u8>> {
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
    Ok(data)
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
    [NIGHTLY, DISTRIBUTION, PINNED_NIGHTLY]
        .into_iter()
        .find(|toolchain| {
            sysroot(toolchain).is_some_and(|root| has_core(toolchain, &root))
                && speaks_linkers_llvm(toolchain)
        })
}

/// bpf-linker reads the bitcode of its own LLVM and of older ones.
fn speaks_linkers_llvm(toolchain: &str) -> bool {
    rustc(toolchain, &["-vV"])
        .and_then(|version| {
            let llvm = version
                .lines()
                .find_map(|line| line.strip_prefix("LLVM version: "))?;
            llvm.split('.').next()?.parse::<u32>().ok()
        })
        .is_some_and(|llvm| llvm <= LINKERS_LLVM)
}

/// A nightly compiles `core` from its source; the distribution ships it compiled.
fn has_core(toolchain: &str, sysroot: &Path) -> bool {
    let rustlib = sysroot.join("lib/rustlib");
    let core = if toolchain == DISTRIBUTION {
        rustlib.join("bpfel-unknown-none")
    } else {
        rustlib.join("src/rust/library/core")
    };
    core.is_dir()
}

fn sysroot(toolchain: &str) -> Option<PathBuf> {
    rustc(toolchain, &["--print", "sysroot"]).map(|path| PathBuf::from(path.trim_end()))
}

/// What a toolchain's compiler says; `None` where there is no such toolchain.
fn rustc(toolchain: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new("rustup")
        .args(["run", toolchain, "rustc"])
        .args(arguments)
        // Looking must not install anything.
        .env("RUSTUP_AUTO_INSTALL", "0")
        .output()
        .ok()?;
    let said = String::from_utf8(output.stdout).ok()?;
    output.status.success().then_some(said)
}

fn check_linker() -> anyhow::Result<()> {
    Command::new("bpf-linker")
        .arg("--version")
        .output()
        .map(|_| ())
        .map_err(|error| anyhow!("bpf-linker does not start ({error}); {REMEDY}"))
}
