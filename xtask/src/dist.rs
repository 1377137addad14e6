//! `cargo xtask dist`: portwatch as it is handed out.

use std::{
    fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};
use clap::ValueEnum as _;

use crate::{
    artifact,
    command::{output, root},
    darwin,
    platform::Arch,
    setup::{Need, ensure_for},
};

/// What `cargo xtask dist` takes.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// For which system and processor
    #[arg(long, value_parser = TARGETS, default_value = TARGETS[0])]
    target: String,
    /// Build it a second time, of a copy of the sources in another directory: each byte must be the same
    /// (Linux only)
    #[arg(long)]
    verify: bool,
}

const TARGETS: [&str; 4] = [
    Arch::X86_64.target(),
    Arch::Aarch64.target(),
    darwin::TARGETS[0],
    darwin::TARGETS[1],
];

/// `cargo xtask dist`.
pub(crate) fn run(options: &Options) -> Result<()> {
    let target = options.target.as_str();
    let arches = Arch::value_variants().iter();
    let linux = arches.copied().find(|arch| arch.target() == target);
    let built = if let Some(arch) = linux {
        ensure_for(Need::to_build(arch))?;
        artifact::static_release_portwatch(arch)?
    } else {
        ensure!(!options.verify, "programs for macOS are not compared");
        ensure_for(&[Need::Darwin, Need::DarwinLinker])?;
        artifact::only(artifact::build(&mut darwin::release(target)?)?, "portwatch")?
    };
    let place = place(target);
    fs::create_dir_all(root().join("target/dist"))?;
    let bytes = fs::copy(&built, &place)
        .with_context(|| format!("cannot copy {} to {}", built.display(), place.display()))?;
    write!(io::stdout(), "{}", sum(&place)?)?;
    eprintln!("{} KiB, for {target}", bytes / 1024);
    match linux {
        Some(arch) if options.verify => verify(&place, arch),
        _ => Ok(()),
    }
}

/// As sha256sum(1) prints and checks it.
fn sum(file: &Path) -> Result<String> {
    output(Command::new("sha256sum").arg(file))
}

/// Neither the directory nor the moment of a build may show in what is handed out.
fn verify(built: &Path, arch: Arch) -> Result<()> {
    let directory = tempfile::tempdir()?;
    // Of another length: a path of the same would leave all that lies behind it in its place.
    let copy = directory.path().join("in-a-directory-of-another-length");
    copy_sources(&copy)?;
    let again = artifact::static_release_portwatch_of(&copy, arch)?;
    let other = directory.path().join("portwatch");
    fs::copy(&again, &other).with_context(|| format!("cannot copy {}", again.display()))?;
    write!(io::stdout(), "{}", sum(&other)?)?;
    ensure!(
        fs::read(built)? == fs::read(&other)?,
        "two builds of the same sources differ"
    );
    eprintln!("two builds in two directories, one program");
    Ok(())
}

/// What is committed, or would be.
fn copy_sources(to: &Path) -> Result<()> {
    let mut git = Command::new("git");
    git.current_dir(root()).args([
        "ls-files",
        "-z",
        "--cached",
        "--others",
        "--exclude-standard",
    ]);
    for name in output(&mut git)?.split_terminator('\0') {
        let (from, to) = (root().join(name), to.join(name));
        fs::create_dir_all(to.parent().unwrap_or(&to))?;
        fs::copy(&from, &to).with_context(|| format!("cannot copy {}", from.display()))?;
    }
    Ok(())
}

fn place(target: &str) -> PathBuf {
    let version = env!("CARGO_PKG_VERSION");
    root().join(format!("target/dist/portwatch-{version}-{target}"))
}
