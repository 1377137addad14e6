//! Debian's packages: installing them, unpacking them, and finding their names.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};
use tempfile::TempDir;

use crate::command::{as_root_with, output, run, which};

/// Debian's package manager; remembers whether its lists are fresh.
#[derive(Default)]
pub(crate) struct Apt {
    updated: bool,
}

impl Apt {
    /// Installs packages, as root.
    pub(crate) fn install(&mut self, packages: &[&str]) -> Result<()> {
        self.update()?;
        let mut install = get_as_root()?;
        // What is there stays as it is.
        install.args(["install", "-y", "--no-upgrade", "--no-install-recommends"]);
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
        let mut download = Command::new("apt-get");
        download
            .args(["-q", "-o", "APT::Sandbox::User=root", "download", package])
            .current_dir(into);
        run(quietly(&mut download))
    }

    /// What `apt-cache` prints.
    pub(crate) fn cache(&mut self, arguments: &[&str]) -> Result<String> {
        self.update()?;
        output(Command::new("apt-cache").args(arguments))
    }

    /// Fetches the package lists, once per run: old ones name files that are gone.
    fn update(&mut self) -> Result<()> {
        ensure!(
            which("apt-get").is_some() && which("dpkg").is_some(),
            "this system has no apt-get, so that xtask cannot install it"
        );
        if !self.updated {
            let mut update = get_as_root()?;
            run(quietly(update.arg("update"))).context("is there a network?")?;
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
    let mut get = as_root_with("apt-get", &[("DEBIAN_FRONTEND", "noninteractive".as_ref())])?;
    get.arg("-q");
    Ok(get)
}

/// xtask's standard output belongs to what xtask runs in the end, so apt's goes to standard error.
fn quietly(command: &mut Command) -> &mut Command {
    command.stdout(std::io::stderr())
}
