//! Debian's packages: installing them, downloading them, and finding their names.

use std::path::Path;

use anyhow::{Context as _, Result, ensure};

use std::process::Command;

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

    /// Downloads one package file into a directory; no root needed.
    pub(crate) fn download(&mut self, package: &str, into: &Path) -> Result<()> {
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

fn get_as_root() -> Result<Command> {
    let mut get = as_root_with("apt-get", &[("DEBIAN_FRONTEND", "noninteractive".as_ref())])?;
    get.arg("-q");
    Ok(get)
}

/// xtask's standard output belongs to what xtask runs in the end, so apt's goes to standard error.
fn quietly(command: &mut Command) -> &mut Command {
    command.stdout(std::io::stderr())
}
