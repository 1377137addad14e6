//! The kernels that the tests boot: Debian's cloud kernels, unpacked below target/kernels.

use std::{
    collections::{BTreeMap, HashMap, hash_map::Entry},
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, anyhow};

use super::Apt;
use crate::{
    command::root,
    platform::{Arch, Platform},
};

/// The package lists name kernels that are gone already: so many of a series are tried, the newest first.
const REVISIONS: usize = 4;

/// The packages of one kernel: up to 6.18 the first has all there is, since then it is empty.
const PARTS: [&str; 4] = [
    "linux-image-",
    "linux-binary-",
    "linux-modules-",
    "linux-base-",
];

/// An unpacked kernel.
pub(crate) struct Kernel {
    /// As `uname -r` says it.
    pub(crate) release: String,
    pub(crate) image: PathBuf,
    /// The directory with its loadable modules.
    pub(crate) modules: PathBuf,
}

/// A kernel that cannot be had, and why.
pub(crate) struct Missing {
    pub(crate) platform: Platform,
    pub(crate) reason: anyhow::Error,
}

/// Downloads and unpacks those that are not here.
pub(crate) fn ensure(wanted: &[Platform]) -> Vec<Missing> {
    let mut archives = HashMap::new();
    let mut missing = Vec::new();
    for platform in wanted.iter().filter(|platform| find(platform).is_err()) {
        eprintln!("==> {platform}: Debian's cloud kernel, which a VM of the tests boots");
        if let Err(reason) = get(&mut archives, platform) {
            eprintln!("    {reason:#}");
            let platform = platform.clone();
            missing.push(Missing { platform, reason });
        }
    }
    missing
}

/// A kernel of that series; gets it if there is none here.
pub(crate) fn obtain(platform: &Platform) -> Result<Kernel> {
    let missing = ensure(std::slice::from_ref(platform)).pop();
    missing.map_or_else(
        || find(platform),
        |Missing { platform, reason }| Err(reason.context(format!("{platform} cannot be had"))),
    )
}

/// The newest unpacked kernel of a series.
fn find(platform: &Platform) -> Result<Kernel> {
    let unpacked = fs::read_dir(directory()).into_iter().flatten().flatten();
    unpacked
        .filter_map(|entry| kernel_in(&entry.path()))
        .filter(|kernel| belongs(&kernel.release, platform))
        .max_by_key(|kernel| numbers(&kernel.release))
        .with_context(|| {
            format!("there is no {platform} in target/kernels; run `cargo xtask setup`")
        })
}

fn get(archives: &mut HashMap<Arch, Apt>, platform: &Platform) -> Result<()> {
    let apt = match archives.entry(platform.arch) {
        Entry::Occupied(apt) => apt.into_mut(),
        Entry::Vacant(place) => place.insert(Apt::of(platform.arch)?),
    };
    let pattern = format!("^linux-.*-cloud-{}(-unsigned)?$", platform.arch.debian());
    let listed = apt.cache(&["search", "--names-only", &pattern])?;
    let mut reason = anyhow!("Debian's archive has no such kernel any more");
    for (release, packages) in kernels(&listed, platform).into_iter().take(REVISIONS) {
        match unpack(apt, &release, &packages) {
            Ok(()) => return Ok(()),
            Err(error) => reason = error,
        }
    }
    Err(reason)
}

fn unpack(apt: &mut Apt, release: &str, packages: &[&str]) -> Result<()> {
    let directory = directory();
    let unpacked = apt.unpack(packages, &directory)?;
    kernel_in(&unpacked.tree())
        .with_context(|| format!("{} hold no kernel and modules", packages.join(", ")))?;
    unpacked.keep_as(&directory.join(release))
}

/// The kernels of that series in what `apt-cache search` printed, the newest first, each with its packages.
fn kernels<'text>(listed: &'text str, platform: &Platform) -> Vec<(String, Vec<&'text str>)> {
    let mut found: BTreeMap<Vec<u64>, (String, Vec<&str>)> = BTreeMap::new();
    for name in listed.lines().filter_map(|line| line.split(' ').next()) {
        let Some(part) = PARTS.iter().find(|part| name.starts_with(**part)) else {
            continue;
        };
        let signed = name.strip_suffix("-unsigned").unwrap_or(name);
        let release = &signed[part.len()..];
        if !belongs(release, platform) {
            continue;
        }
        let (_, packages) = found
            .entry(numbers(release))
            .or_insert_with(|| (release.to_owned(), Vec::new()));
        // Some kernels are there without a signature alone, most with and without.
        match packages.iter().position(|&other| is_same(other, name)) {
            Some(other) if signed == name => packages[other] = name,
            Some(_) => {}
            None => packages.push(name),
        }
    }
    found.into_values().rev().collect()
}

/// Whether two packages hold the same but for a signature.
fn is_same(one: &str, other: &str) -> bool {
    let bare = |name: &str| name.trim_end_matches("-unsigned").to_owned();
    bare(one) == bare(other)
}

fn directory() -> PathBuf {
    root().join("target/kernels")
}

fn kernel_in(unpacked: &Path) -> Option<Kernel> {
    // Its name starts with a dot while it is being unpacked.
    if unpacked.file_name()?.to_string_lossy().starts_with('.') {
        return None;
    }
    let places = ["lib/modules", "usr/lib/modules"].map(|place| unpacked.join(place));
    let modules = places.iter().filter_map(|place| fs::read_dir(place).ok());
    modules.flatten().flatten().find_map(|entry| {
        let release = entry.file_name().into_string().ok()?;
        let modules = entry.path();
        let images = [
            unpacked.join("boot").join(format!("vmlinuz-{release}")),
            modules.join("vmlinuz"),
        ];
        let image = images.into_iter().find(|image| image.is_file())?;
        Some(Kernel {
            release,
            image,
            modules,
        })
    })
}

/// Whether a kernel that calls itself so is of that series and for that processor; metapackages have no third number.
fn belongs(release: &str, platform: &Platform) -> bool {
    release.ends_with(&format!("-cloud-{}", platform.arch.debian()))
        && release
            .strip_prefix(&platform.series)
            .is_some_and(|rest| rest.starts_with('.'))
}

/// The numbers in a version, for comparing.
fn numbers(version: &str) -> Vec<u64> {
    version
        .split(|c: char| !c.is_ascii_digit())
        .filter_map(|part| part.parse().ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn x86(series: &str) -> Platform {
        Platform::new(Arch::X86_64, series)
    }

    #[test]
    fn the_newest_version_is_the_greatest_number_not_the_last_word() {
        let text = "linux-image-6.12.9+deb12-cloud-amd64 - Linux 6.12\n\
                    linux-image-6.12.117+deb12-cloud-amd64-unsigned - Linux 6.12\n\
                    linux-image-6.12-cloud-amd64 - meta-package\n\
                    linux-image-6.12.86+deb12-cloud-amd64 - Linux 6.12\n\
                    linux-image-6.12.118+deb12-cloud-amd64-dbg - Debug symbols\n\
                    linux-image-6.1.0-57-cloud-amd64 - Linux 6.1\n";
        let found = kernels(text, &x86("6.12"));
        let names: Vec<_> = found.iter().map(|(_, packages)| packages[0]).collect();
        assert_eq!(
            names,
            [
                "linux-image-6.12.117+deb12-cloud-amd64-unsigned",
                "linux-image-6.12.86+deb12-cloud-amd64",
                "linux-image-6.12.9+deb12-cloud-amd64"
            ]
        );
        assert_eq!(kernels(text, &x86("6.1")).len(), 1);
        assert!(kernels(text, &Platform::new(Arch::Aarch64, "6.12")).is_empty());
    }

    #[test]
    fn a_kernel_in_parts_is_all_its_parts_signed_where_that_is_there() {
        let text = "linux-base-7.3.4+deb13-cloud-arm64 - x\n\
                    linux-binary-7.3.4+deb13-cloud-arm64 - x\n\
                    linux-image-7.3.4+deb13-cloud-arm64-unsigned - x\n\
                    linux-image-7.3.4+deb13-cloud-arm64 - x\n\
                    linux-modules-7.3.4+deb13-cloud-arm64 - x\n\
                    linux-headers-7.3.4+deb13-cloud-arm64 - x\n";
        let found = kernels(text, &Platform::new(Arch::Aarch64, "7.3"));
        assert_eq!(found[0].0, "7.3.4+deb13-cloud-arm64");
        assert_eq!(
            found[0].1,
            [
                "linux-base-7.3.4+deb13-cloud-arm64",
                "linux-binary-7.3.4+deb13-cloud-arm64",
                "linux-image-7.3.4+deb13-cloud-arm64",
                "linux-modules-7.3.4+deb13-cloud-arm64"
            ]
        );
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

    #[test]
    fn the_image_of_newer_kernels_is_beside_their_modules() {
        let directory = tempfile::tempdir().unwrap();
        let modules = directory.path().join("k/usr/lib/modules/7.3.4");
        fs::create_dir_all(&modules).unwrap();
        fs::write(modules.join("vmlinuz"), "").unwrap();
        let kernel = kernel_in(&directory.path().join("k")).unwrap();
        assert_eq!(
            (kernel.release.as_str(), kernel.image),
            ("7.3.4", modules.join("vmlinuz"))
        );
    }
}
