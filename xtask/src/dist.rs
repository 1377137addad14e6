//! `cargo xtask dist`: portwatch as it is handed out.

use std::{
    fs,
    io::{self, Write as _},
    path::PathBuf,
};

use anyhow::{Context as _, Result};

use crate::{
    artifact,
    command::root,
    darwin,
    setup::{Need, ensure_for},
};

/// What `cargo xtask dist` takes.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// For which system and processor
    #[arg(long, value_parser = TARGETS, default_value = TARGETS[0])]
    target: String,
}

const TARGETS: [&str; 3] = [artifact::TARGET, darwin::TARGETS[0], darwin::TARGETS[1]];

/// `cargo xtask dist`.
pub(crate) fn run(options: &Options) -> Result<()> {
    let target = options.target.as_str();
    let built = if target == artifact::TARGET {
        ensure_for(&[Need::Bpf])?;
        artifact::static_release_portwatch()?
    } else {
        ensure_for(&[Need::Darwin, Need::DarwinLinker])?;
        artifact::only(artifact::build(&mut darwin::release(target)?)?, "portwatch")?
    };
    let place = place(target);
    fs::create_dir_all(root().join("target/dist"))?;
    let bytes = fs::copy(&built, &place)
        .with_context(|| format!("cannot copy {} to {}", built.display(), place.display()))?;
    writeln!(io::stdout(), "{}", place.display())?;
    eprintln!("{} KiB, for {target}", bytes / 1024);
    Ok(())
}

fn place(target: &str) -> PathBuf {
    let version = env!("CARGO_PKG_VERSION");
    root().join(format!("target/dist/portwatch-{version}-{target}"))
}
