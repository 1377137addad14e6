//! Builds the eBPF programs that the binary carries.
//!
//! Needs a `core` for the BPF target and bpf-linker; `cargo xtask setup` gets both.

use std::{
    env, fs, io,
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, anyhow, ensure};
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

/// The file, beside the object, with the places that `source/ebpf/storage.rs` is to know.
const TASK_STORAGE_PLACES: &str = "task_storage_places.rs";

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
    let mut data = without_dwarf(&data)?;
    mend_union_names(&mut data)?;
    fs::write(&object, &data).with_context(|| format!("cannot write {}", object.display()))?;
    let places = object.with_file_name(TASK_STORAGE_PLACES);
    fs::write(&places, task_storage_places(&data)?)
        .with_context(|| format!("cannot write {}", places.display()))
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
fn mend_union_names(data: &mut [u8]) -> anyhow::Result<()> {
    let types = Types::of(data)?;
    let unions = types.all.iter().filter(|one| one.kind == 5);
    for name in unions.map(|one| types.strings + one.name) {
        for byte in data[name..].iter_mut().take_while(|byte| **byte != 0) {
            if !byte.is_ascii_alphanumeric() {
                *byte = b'_';
            }
        }
    }
    Ok(())
}

/// A list of where the object says that a map is `BPF_MAP_TYPE_TASK_STORAGE`, as an expression: the type
/// is the length of an array, in the map's description.
fn task_storage_places(object: &[u8]) -> anyhow::Result<String> {
    const TASK_STORAGE: usize = 29;
    let types = Types::of(object)?;
    let arrays = types.all.iter().filter(|one| one.kind == 3);
    // Behind the header: the type of the elements, that of the index, and how many there are.
    let lengths = arrays.map(|one| one.at + 12 + 8);
    let places: Vec<_> = lengths
        .filter(|&at| word(object, at) == Some(TASK_STORAGE))
        .collect();
    ensure!(
        !places.is_empty(),
        "the eBPF object describes no task storage"
    );
    Ok(format!("&{places:?}"))
}

/// The object's type information (Documentation/bpf/btf.rst).
struct Types {
    /// Where names lie
    strings: usize,
    all: Vec<Type>,
}

struct Type {
    at: usize,
    kind: usize,
    /// Behind the beginning of the names
    name: usize,
}

fn word(data: &[u8], at: usize) -> Option<usize> {
    let bytes = data.get(at..)?.first_chunk()?;
    usize::try_from(u32::from_ne_bytes(*bytes)).ok()
}

impl Types {
    fn of(object: &[u8]) -> anyhow::Result<Self> {
        let file = object::File::parse(object).context("the eBPF object is no ELF file")?;
        let section = file.section_by_name(".BTF");
        let (from, _) = section
            .and_then(|section| section.file_range())
            .context("the eBPF object has no type information")?;
        Self::at(object, usize::try_from(from)?)
            .context("the eBPF object's type information is malformed")
    }

    fn at(object: &[u8], from: usize) -> Option<Self> {
        let word = |at: usize| word(object, at);
        let header = from + word(from + 4)?;
        let mut at = header + word(from + 8)?;
        let end = at + word(from + 12)?;
        let mut all = Vec::new();
        while at < end {
            let info = word(at + 4)?;
            let (kind, count) = (info >> 24 & 0x1f, info & 0xffff);
            let name = word(at)?;
            all.push(Type { at, kind, name });
            at += 12
                + match kind {
                    1 | 14 | 17 => 4,
                    3 => 12,
                    4 | 5 | 15 | 19 => 12 * count,
                    6 | 13 => 8 * count,
                    _ => 0,
                };
        }
        let strings = header + word(from + 16)?;
        Some(Self { strings, all })
    }
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
