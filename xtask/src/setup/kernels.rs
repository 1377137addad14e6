//! The kernels that the tests boot: Debian's cloud kernels, unpacked below target/kernels.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};

use super::{Apt, Need, Step};
use crate::command::root;

/// The series under test: the oldest kernel that portwatch supports fully, and a current one.
pub(crate) const SERIES: [&str; 2] = ["6.1", "6.12"];

/// An unpacked kernel package.
pub(crate) struct Kernel {
    /// As `uname -r` says it.
    pub(crate) release: String,
    pub(crate) image: PathBuf,
    /// The directory with its loadable modules.
    pub(crate) modules: PathBuf,
}

pub(super) fn steps() -> [Step; 2] {
    const WHY: &str = "the kernel tests run in a VM that boots it";
    const BY_HAND: &str = "unpack that package, from https://packages.debian.org, with `dpkg -x` \
        or `ar` and `tar` into target/kernels/<any name>/";
    [
        Step {
            need: Need::Vm,
            what: "Debian's cloud kernel 6.1 (the package that linux-image-cloud-amd64 of Debian 12 depends on)",
            why: WHY,
            by_hand: BY_HAND,
            present: || find("6.1").is_ok(),
            get: |apt| {
                let text = apt.cache(&["depends", "linux-image-cloud-amd64"])?;
                get(apt, dependency(&text, "6.1"), "6.1")
            },
        },
        Step {
            need: Need::Vm,
            what: "Debian's cloud kernel 6.12 (the newest linux-image-6.12.*-cloud-amd64-unsigned)",
            why: WHY,
            by_hand: BY_HAND,
            present: || find("6.12").is_ok(),
            get: |apt| {
                let pattern = r"^linux-image-6\.12\..*-cloud-amd64(-unsigned)?$";
                let text = apt.cache(&["search", "--names-only", pattern])?;
                get(apt, newest(&text), "6.12")
            },
        },
    ]
}

/// The newest unpacked kernel of a series such as 6.12.
pub(crate) fn find(series: &str) -> Result<Kernel> {
    let unpacked = fs::read_dir(directory()).into_iter().flatten().flatten();
    unpacked
        .filter_map(|entry| kernel_in(&entry.path()))
        .filter(|kernel| in_series(&kernel.release, series))
        .max_by_key(|kernel| numbers(&kernel.release))
        .with_context(|| format!("no kernel {series} in target/kernels; run `cargo xtask setup`"))
}

fn directory() -> PathBuf {
    root().join("target/kernels")
}

fn kernel_in(unpacked: &Path) -> Option<Kernel> {
    // Its name starts with a dot while it is being unpacked.
    if unpacked.file_name()?.to_string_lossy().starts_with('.') {
        return None;
    }
    let boot = fs::read_dir(unpacked.join("boot")).ok()?;
    boot.flatten().find_map(|file| {
        let name = file.file_name().into_string().ok()?;
        let release = name.strip_prefix("vmlinuz-")?.to_owned();
        let relative = Path::new("lib/modules").join(&release);
        let modules = [
            unpacked.join(&relative),
            unpacked.join("usr").join(relative),
        ]
        .into_iter()
        .find(|candidate| candidate.is_dir())?;
        Some(Kernel {
            image: file.path(),
            release,
            modules,
        })
    })
}

fn in_series(release: &str, series: &str) -> bool {
    release
        .strip_prefix(series)
        .is_some_and(|rest| rest.starts_with(['.', '-']))
}

/// The numbers in a version, for comparing.
fn numbers(version: &str) -> Vec<u64> {
    version
        .split(|c: char| !c.is_ascii_digit())
        .filter_map(|part| part.parse().ok())
        .collect()
}

/// Downloads and unpacks a kernel package.
fn get(apt: &mut Apt, package: Option<&str>, series: &str) -> Result<()> {
    let package = package.with_context(|| {
        format!("this system's package sources have no kernel {series}; Debian 12's do")
    })?;
    let directory = directory();
    let unpacked = apt.unpack(&[package], &directory)?;
    let release = kernel_in(&unpacked.tree())
        .with_context(|| format!("{package} holds no kernel and modules"))?
        .release;
    unpacked.keep_as(&directory.join(release))
}

/// The kernel package of a series that `apt-cache depends` names.
fn dependency<'text>(text: &'text str, series: &str) -> Option<&'text str> {
    text.lines()
        .filter_map(|line| line.trim().strip_prefix("Depends: "))
        .find(|package| {
            package
                .strip_prefix("linux-image-")
                .is_some_and(|release| in_series(release, series))
        })
}

/// The newest package in what `apt-cache search` printed.
fn newest(text: &str) -> Option<&str> {
    text.lines()
        .filter_map(|line| line.split(' ').next())
        .filter(|name| name.starts_with("linux-image-"))
        .max_by_key(|name| numbers(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_dependency_is_found_in_its_series_only() {
        let text = "linux-image-cloud-amd64\n  Depends: linux-image-6.1.0-56-cloud-amd64\n";
        assert_eq!(
            dependency(text, "6.1"),
            Some("linux-image-6.1.0-56-cloud-amd64")
        );
        assert_eq!(dependency(text, "6.12"), None);
        let newer = "linux-image-cloud-amd64\n  Depends: linux-image-6.12.9+deb13-cloud-amd64\n";
        assert_eq!(dependency(newer, "6.1"), None);
    }

    #[test]
    fn the_newest_version_is_the_greatest_number_not_the_last_word() {
        let text = "linux-image-6.12.9+deb12-cloud-amd64-unsigned - Linux 6.12\n\
                    linux-image-6.12.117+deb12-cloud-amd64-unsigned - Linux 6.12\n\
                    linux-image-6.12.86+deb12-cloud-amd64-unsigned - Linux 6.12\n";
        assert_eq!(
            newest(text),
            Some("linux-image-6.12.117+deb12-cloud-amd64-unsigned")
        );
        assert_eq!(newest(""), None);
    }

    #[test]
    fn a_kernel_still_being_unpacked_is_not_found() {
        let directory = tempfile::tempdir().unwrap();
        for (name, found) in [(".unpacking-x", false), ("6.1.0", true)] {
            let unpacked = directory.path().join(name);
            fs::create_dir_all(unpacked.join("boot")).unwrap();
            fs::create_dir_all(unpacked.join("lib/modules/6.1.0")).unwrap();
            fs::write(unpacked.join("boot/vmlinuz-6.1.0"), "").unwrap();
            assert_eq!(kernel_in(&unpacked).is_some(), found, "{name}");
        }
    }
}
