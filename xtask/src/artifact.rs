//! Building this workspace's programs, and finding what was built.

use std::{
    env,
    ffi::OsString,
    io::BufRead as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, ensure};
use serde::Deserialize;

use crate::{
    build_std,
    command::{cargo, root, shown},
    platform::Arch,
    setup::{CROSS_COMPILER, std_toolchain},
};

/// In need of no library.
const STATIC: &str = "-C target-feature=+crt-static";

/// What the kernel tests need in the guest.
#[derive(Clone)]
pub(crate) struct KernelTest {
    pub(crate) test: PathBuf,
    pub(crate) portwatch: PathBuf,
}

/// One line of cargo's JSON messages, as far as it matters here.
#[derive(Deserialize)]
struct Message {
    executable: Option<PathBuf>,
    target: Option<Target>,
}

#[derive(Deserialize)]
struct Target {
    name: String,
}

/// Runs a cargo build and returns the programs it made, with their targets' names.
pub(crate) fn build(command: &mut Command) -> Result<Vec<(String, PathBuf)>> {
    let mut child = command
        .arg("--message-format=json-render-diagnostics")
        .stdout(Stdio::piped())
        .spawn()
        .context("cargo cannot be started")?;
    let output = child.stdout.take().context("cargo has no output pipe")?;
    let mut built = Vec::new();
    for line in std::io::BufReader::new(output).lines() {
        built.extend(executable(&line.context("cargo's messages broke off")?));
    }
    let status = child.wait().context("cargo cannot be waited for")?;
    ensure!(
        status.success(),
        "`{}` failed; its errors are above",
        shown(command)
    );
    Ok(built)
}

fn executable(line: &str) -> Option<(String, PathBuf)> {
    // Build scripts may print lines that are no messages.
    let message: Message = serde_json::from_str(line).ok()?;
    Some((message.target?.name, message.executable?))
}

pub(crate) fn only(built: Vec<(String, PathBuf)>, name: &str) -> Result<PathBuf> {
    built
        .into_iter()
        .find_map(|(target, path)| (target == name).then_some(path))
        .with_context(|| format!("cargo built no program called {name}"))
}

/// portwatch as it is released, for this machine.
pub(crate) fn release_portwatch() -> Result<PathBuf> {
    let built = build(cargo().args(["build", "--release", "--package", "portwatch"]))?;
    only(built, "portwatch")
}

/// PID 1 of the VMs.
pub(crate) fn init(arch: Arch) -> Result<PathBuf> {
    guest("init", arch)
}

/// What measures in the VMs.
pub(crate) fn bench() -> Result<PathBuf> {
    guest("bench", Arch::X86_64)
}

/// What puts load on a tracer, in the VMs and on this machine.
pub(crate) fn load() -> Result<PathBuf> {
    guest("load", Arch::X86_64)
}

/// One of this package's programs for the VMs.
fn guest(name: &str, arch: Arch) -> Result<PathBuf> {
    let targets = ["--bin", name, "--no-default-features"];
    only(build(&mut for_vm(arch, "xtask", &targets)?)?, name)
}

/// portwatch for the VMs.
pub(crate) fn static_portwatch(arch: Arch) -> Result<PathBuf> {
    let targets = ["--bin", "portwatch"];
    only(
        build(&mut for_vm(arch, "portwatch", &targets)?)?,
        "portwatch",
    )
}

/// portwatch as it is released, in need of no library; for the VMs too.
pub(crate) fn static_release_portwatch(arch: Arch) -> Result<PathBuf> {
    static_release_portwatch_of(root(), arch)
}

/// The same of sources that lie elsewhere, and with all that is compiled below them: where that is
/// does not show in the program.
pub(crate) fn static_release_portwatch_of(sources: &Path, arch: Arch) -> Result<PathBuf> {
    let targets = ["--bin", "portwatch"];
    let mut command = static_build(arch, "portwatch", "release", &targets)?;
    let cargo_home = env::var_os("CARGO_HOME").map(PathBuf::from);
    let cargo_home = cargo_home.or_else(|| Some(env::home_dir()?.join(".cargo")));
    let cargo_home = cargo_home.context("there is no home directory")?;
    let mut remapped = vec![(sources.to_owned(), "/portwatch"), (cargo_home, "/cargo")];
    if arch == Arch::Aarch64 {
        // The standard library's own source lies there.
        let (_, sysroot) = std_toolchain().context("the toolchain is gone")?;
        remapped.push((sysroot, "/rust"));
    }
    let mut flags = OsString::from(STATIC);
    for (path, name) in remapped {
        flags.push(" --remap-path-prefix=");
        flags.push(path);
        flags.push("=");
        flags.push(name);
    }
    command
        .current_dir(sources)
        .args(["--locked", "--target-dir"])
        .arg(sources.join(build_directory(arch, "release-static")))
        .env("RUSTFLAGS", flags);
    only(build(&mut command)?, "portwatch")
}

/// The portwatch that [`static_portwatch`] made last, if it did.
pub(crate) fn last_static_portwatch(arch: Arch) -> Option<PathBuf> {
    let directory = root().join(build_directory(arch, "vm"));
    let path = directory.join(arch.target()).join("vm/portwatch");
    path.is_file().then_some(path)
}

/// The kernel tests and their portwatch: one build for the VMs and, of this machine's architecture, for
/// here.
pub(crate) fn kernel_test(arch: Arch) -> Result<KernelTest> {
    let targets = ["--bin", "portwatch", "--test", "kernel"];
    let built = build(&mut for_vm(arch, "portwatch", &targets)?)?;
    Ok(KernelTest {
        test: only(built.clone(), "kernel")?,
        portwatch: only(built, "portwatch")?,
    })
}

fn for_vm(arch: Arch, package: &str, targets: &[&str]) -> Result<Command> {
    let mut build = static_build(arch, package, "vm", targets)?;
    build
        .arg("--target-dir")
        .arg(root().join(build_directory(arch, "vm")));
    Ok(build)
}

fn static_build(arch: Arch, package: &str, profile: &str, targets: &[&str]) -> Result<Command> {
    let mut build = cargo_build(arch)?;
    build
        .args(["--profile", profile, "--target", arch.target()])
        .args(["--package", package])
        .args(targets)
        // It would take the place of RUSTFLAGS.
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .env("RUSTFLAGS", STATIC);
    Ok(build)
}

/// A cargo that can build and link for that processor.
fn cargo_build(arch: Arch) -> Result<Command> {
    match arch {
        Arch::X86_64 => {
            let mut build = cargo();
            build.arg("build");
            Ok(build)
        }
        Arch::Aarch64 => {
            let mut build = build_std::cargo("cargo", "build")?;
            let linker = "CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER";
            build.env(linker, CROSS_COMPILER);
            Ok(build)
        }
    }
}

/// The static programs have build directories of their own: with other flags than the host's, or
/// another toolchain, sharing one would rebuild everything at each turn.
fn build_directory(arch: Arch, purpose: &str) -> PathBuf {
    let target = Path::new("target");
    match arch {
        Arch::X86_64 => target.join(purpose),
        Arch::Aarch64 => target.join(format!("{purpose}-{arch}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_found_in_cargos_messages() {
        let program = r#"{"reason":"compiler-artifact","target":{"name":"kernel","kind":["test"]},
            "executable":"/t/kernel-1"}"#;
        let library = r#"{"reason":"compiler-artifact","target":{"name":"portwatch"},
            "executable":null}"#;
        assert_eq!(
            executable(program),
            Some(("kernel".to_owned(), PathBuf::from("/t/kernel-1")))
        );
        assert_eq!(executable(library), None);
        assert_eq!(
            executable(r#"{"reason":"build-finished","success":true}"#),
            None
        );
        assert_eq!(executable("printed by a build script"), None);
    }
}
