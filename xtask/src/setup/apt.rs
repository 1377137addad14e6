//! Debian's packages: installing them, unpacking them, and finding their names.
//!
//! Packages to install come from this system's own sources. Packages that are only unpacked can be of other
//! releases and processors: their lists are below target/apt, and change nothing here.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};
use tempfile::TempDir;

use crate::{
    command::{as_root_with, output, root, run, which},
    platform::Arch,
};

/// The sources of [`Apt::of`]: all releases of Debian that have kernels which the tests boot.
const SOURCES: &str = "\
    deb [signed-by=KEYRING] http://deb.debian.org/debian bullseye main\n\
    deb [signed-by=KEYRING] http://deb.debian.org/debian-security bullseye-security main\n\
    deb [signed-by=KEYRING] http://deb.debian.org/debian bookworm main\n\
    deb [signed-by=KEYRING] http://deb.debian.org/debian-security bookworm-security main\n\
    deb [signed-by=KEYRING] http://deb.debian.org/debian bookworm-backports main\n\
    deb [signed-by=KEYRING] http://deb.debian.org/debian trixie main\n\
    deb [signed-by=KEYRING] http://deb.debian.org/debian-security trixie-security main\n\
    deb [signed-by=KEYRING] http://deb.debian.org/debian trixie-backports main\n";
/// The file of the package debian-archive-keyring.
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// Debian's package manager; remembers whether its lists are fresh.
#[derive(Default)]
pub(crate) struct Apt {
    /// Command line options that make it another than this system's
    options: Vec<String>,
    updated: bool,
}

impl Apt {
    /// One with lists of its own, of packages for that processor from all of [`SOURCES`]; for unpacking.
    pub(crate) fn of(arch: Arch) -> Result<Self> {
        let directory = root().join("target/apt").join(arch.debian());
        for name in ["lists/partial", "cache/archives/partial", "preferences"] {
            fs::create_dir_all(directory.join(name)).context("cannot write to target/apt")?;
        }
        fs::write(directory.join("status"), "")?;
        fs::write(
            directory.join("sources.list"),
            SOURCES.replace("KEYRING", KEYRING),
        )?;
        let of_its_own = [
            ("Dir::State::Lists", "lists"),
            ("Dir::State::status", "status"),
            ("Dir::Etc::SourceList", "sources.list"),
            ("Dir::Etc::PreferencesParts", "preferences"),
            ("Dir::Cache", "cache"),
            ("Dir::Cache::archives", "cache/archives"),
        ]
        .map(|(name, place)| format!("{name}={}", directory.join(place).display()));
        let processor = arch.debian();
        let everywhere = [
            format!("APT::Architecture={processor}"),
            format!("APT::Architectures={processor}"),
            "Dir::Etc::SourceParts=/dev/null".to_owned(),
            // Names and files are all that is asked for.
            "Acquire::Languages=none".to_owned(),
            "Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false".to_owned(),
        ];
        Ok(Self {
            options: of_its_own.into_iter().chain(everywhere).collect(),
            updated: false,
        })
    }

    /// Installs packages, as root.
    pub(crate) fn install(&mut self, packages: &[&str]) -> Result<()> {
        self.update()?;
        let mut install = get_as_root()?;
        // What is there stays as it is.
        install.args([
            "-q",
            "install",
            "-y",
            "--no-upgrade",
            "--no-install-recommends",
        ]);
        run(quietly(&mut install).args(packages))
    }

    /// Downloads packages and unpacks them into one tree in that directory; installs nothing.
    pub(crate) fn unpack(&mut self, packages: &[&str], directory: &Path) -> Result<Unpacked> {
        fs::create_dir_all(directory)
            .with_context(|| format!("cannot create {}", directory.display()))?;
        let work = tempfile::Builder::new()
            .prefix(".unpacking-")
            .tempdir_in(directory)
            .with_context(|| format!("cannot create a directory in {}", directory.display()))?;
        let unpacked = Unpacked(work);
        for package in packages {
            let archive = unpacked.0.path().join(package);
            fs::create_dir(&archive)?;
            self.download(package, &archive)?;
            let file = fs::read_dir(&archive)?.next();
            let file = file.with_context(|| format!("apt-get left no file for {package}"))??;
            let mut dpkg = Command::new("dpkg");
            run(dpkg.arg("-x").args([file.path(), unpacked.tree()]))?;
        }
        Ok(unpacked)
    }

    /// Downloads one package file into a directory; no root needed.
    fn download(&mut self, package: &str, into: &Path) -> Result<()> {
        self.update()?;
        // The sandbox user cannot write to a directory of ours, which apt would warn of.
        let mut download = self.command("apt-get");
        download
            .args(["-q", "-o", "APT::Sandbox::User=root", "download", package])
            .current_dir(into);
        run(quietly(&mut download))
    }

    /// What `apt-cache` prints.
    pub(crate) fn cache(&mut self, arguments: &[&str]) -> Result<String> {
        self.update()?;
        output(self.command("apt-cache").args(arguments))
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        for option in &self.options {
            command.args(["-o", option]);
        }
        command
    }

    /// Fetches the package lists, once per run: old ones name files that are gone.
    fn update(&mut self) -> Result<()> {
        ensure!(
            which("apt-get").is_some() && which("dpkg").is_some(),
            "this system has no apt-get, so that xtask cannot install it"
        );
        if !self.updated {
            let mut update = if self.options.is_empty() {
                get_as_root()?
            } else {
                self.command("apt-get")
            };
            run(quietly(update.args(["-q", "update"]))).context("is there a network?")?;
            self.updated = true;
        }
        Ok(())
    }
}

/// What was unpacked, and goes away again unless it is kept.
pub(crate) struct Unpacked(TempDir);

impl Unpacked {
    pub(crate) fn tree(&self) -> PathBuf {
        self.0.path().join("tree")
    }

    /// Gives it its name, in the place of what had it: only what is whole gets that.
    pub(crate) fn keep_as(self, place: &Path) -> Result<()> {
        if place.exists() {
            fs::remove_dir_all(place)
                .with_context(|| format!("cannot replace {}", place.display()))?;
        }
        fs::rename(self.tree(), place)
            .with_context(|| format!("cannot move what was unpacked to {}", place.display()))
    }
}

fn get_as_root() -> Result<Command> {
    as_root_with("apt-get", &[("DEBIAN_FRONTEND", "noninteractive".as_ref())])
}

/// xtask's standard output belongs to what xtask runs in the end, so apt's goes to standard error.
fn quietly(command: &mut Command) -> &mut Command {
    command.stdout(std::io::stderr())
}
