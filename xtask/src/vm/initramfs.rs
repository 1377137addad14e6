//! The guest's file system: busybox, PID 1, chosen kernel modules, and what a run adds.

use std::{
    fs::{self, File, Permissions},
    io::Write as _,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, ensure};
use xtask::wire::{JOB, Job};

use super::modules::Modules;
use crate::{
    command::{output, probe},
    platform::Arch,
    setup::{aarch64_libraries, busybox, kernels::Kernel},
};

/// The guest's configuration. The ordinary user is there for tests that need one.
const TEXTS: [(&str, &str); 4] = [
    (
        "/etc/passwd",
        "root:x:0:0:root:/root:/bin/sh\n\
         nobody:x:65534:65534:nobody:/nonexistent:/bin/false\n\
         alice:x:1000:1000:Alice:/home/alice:/bin/sh\n",
    ),
    ("/etc/group", "root:x:0:\nnogroup:x:65534:\nalice:x:1000:\n"),
    ("/etc/hosts", "127.0.0.1 localhost\n::1 localhost\n"),
    (
        "/etc/nsswitch.conf",
        "passwd: files\ngroup: files\nhosts: files\n",
    ),
];

/// A file of this machine, and its place in the guest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Added {
    pub(crate) host: PathBuf,
    pub(crate) guest: PathBuf,
}

impl Added {
    pub(crate) fn new(host: impl Into<PathBuf>, guest: impl Into<PathBuf>) -> Self {
        Self {
            host: host.into(),
            guest: guest.into(),
        }
    }

    /// Reads `HOSTPATH[:GUESTPATH]`; a file without a place goes to /usr/bin, on the PATH.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let (host, guest) = match text.split_once(':') {
            Some((host, guest)) if guest.starts_with('/') => (host, PathBuf::from(guest)),
            Some((_, guest)) => return Err(format!("`{guest}` must start with /")),
            None => {
                let name = Path::new(text).file_name();
                let name = name.ok_or_else(|| format!("`{text}` names no file"))?;
                (text, Path::new("/usr/bin").join(name))
            }
        };
        Ok(Self::new(host, guest))
    }
}

/// Writes the initramfs for one run into `work`, and returns its path.
pub(super) fn build(
    arch: Arch,
    kernel: &Kernel,
    init: &Path,
    added: &[Added],
    job: &Job,
    work: &Path,
) -> Result<PathBuf> {
    let tree = work.join("root");
    fs::create_dir_all(tree.join("home/alice"))?;
    let busybox = busybox(arch).context("busybox is missing; run `cargo xtask setup`")?;
    place(&tree, &Added::new(init, "/init"))?;
    place(&tree, &Added::new(busybox, "/bin/busybox"))?;
    for file in added {
        place(&tree, file)?;
        for library in libraries(arch, &file.host)? {
            place(&tree, &library)?;
        }
    }
    for (path, text) in TEXTS {
        write(&inside(&tree, Path::new(path)), text.as_bytes())?;
    }
    write(&inside(&tree, Path::new(JOB)), &serde_json::to_vec(job)?)?;
    let modules = tree.join("lib/modules").join(&kernel.release);
    Modules::read(&kernel.modules)?.write(&modules)?;
    archive(&tree, &work.join("initramfs.cpio"))
}

/// A guest path's place in the tree.
fn inside(tree: &Path, guest: &Path) -> PathBuf {
    tree.join(guest.strip_prefix("/").unwrap_or(guest))
}

fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    let context = || format!("cannot write {}", path.display());
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).with_context(context)?;
    }
    fs::write(path, bytes).with_context(context)
}

fn place(tree: &Path, file: &Added) -> Result<()> {
    let to = inside(tree, &file.guest);
    let bytes =
        fs::read(&file.host).with_context(|| format!("cannot read {}", file.host.display()))?;
    write(&to, &bytes)?;
    // Some files are root's alone here; the guest's ordinary user must be able to run them.
    let mode = fs::metadata(&file.host)?.permissions().mode();
    let mode = if mode & 0o111 == 0 { 0o644 } else { 0o755 };
    fs::set_permissions(&to, Permissions::from_mode(mode))?;
    Ok(())
}

/// The shared libraries and the loader of a dynamic binary; none for all other files.
fn libraries(arch: Arch, file: &Path) -> Result<Vec<Added>> {
    let bytes = fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
    if !bytes.starts_with(b"\x7fELF") {
        return Ok(Vec::new());
    }
    if arch == Arch::Aarch64 {
        return aarch64_libraries(file);
    }
    // It fails for static binaries, which need nothing.
    let listing = probe(Command::new("ldd").arg(file)).unwrap_or_default();
    let libraries = parse_ldd(&listing).into_iter();
    Ok(libraries.map(|path| Added::new(&path, &path)).collect())
}

fn parse_ldd(listing: &str) -> Vec<PathBuf> {
    listing
        .lines()
        .filter_map(|line| line.split_whitespace().find(|word| word.starts_with('/')))
        .map(PathBuf::from)
        .collect()
}

/// Packs the tree. Uncompressed, since the guest would unpack it slowly.
fn archive(tree: &Path, to: &Path) -> Result<PathBuf> {
    let list = output(Command::new("find").arg(".").current_dir(tree))?;
    let mut cpio = Command::new("cpio")
        .args(["--create", "--format=newc", "--owner=+0:+0", "--quiet"])
        .current_dir(tree)
        .stdin(Stdio::piped())
        .stdout(File::create(to).with_context(|| format!("cannot create {}", to.display()))?)
        .spawn()
        .context("cpio cannot be started; run `cargo xtask setup`")?;
    if let Some(mut input) = cpio.stdin.take() {
        input
            .write_all(list.as_bytes())
            .context("cpio stopped reading")?;
    }
    ensure!(cpio.wait()?.success(), "cpio failed; is the disk full?");
    Ok(to.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_added_file_without_a_place_goes_on_the_path() {
        assert_eq!(
            Added::parse("target/demo"),
            Ok(Added::new("target/demo", "/usr/bin/demo"))
        );
        assert_eq!(Added::parse("a:/b/c"), Ok(Added::new("a", "/b/c")));
        assert!(Added::parse("a:b").is_err());
        assert!(Added::parse("/").is_err());
    }

    #[test]
    fn libraries_are_read_from_ldd() {
        let listing = "\tlinux-vdso.so.1 (0x00007ffd)\n\
                       \tlibc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x00007f00)\n\
                       \t/lib64/ld-linux-x86-64.so.2 (0x00007f01)\n";
        assert_eq!(
            parse_ldd(listing),
            [
                PathBuf::from("/lib/x86_64-linux-gnu/libc.so.6"),
                PathBuf::from("/lib64/ld-linux-x86-64.so.2"),
            ]
        );
        assert!(parse_ldd("\tstatically linked\n").is_empty());
    }
}
