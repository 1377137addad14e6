//! `cargo xtask run`: builds portwatch and becomes it.

use std::{ffi::OsString, os::unix::process::CommandExt as _};

use anyhow::{Result, anyhow};

use crate::{
    artifact,
    command::{as_root, shown},
    setup::{Need, ensure_for},
};

/// What `cargo xtask run` takes.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Arguments for portwatch; put `--` before them
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<OsString>,
}

/// Does not return when it succeeds: signals and the exit status are portwatch's own.
pub(crate) fn run(options: &Options) -> Result<()> {
    ensure_for(&[Need::Bpf])?;
    let portwatch = artifact::release_portwatch()?;
    let mut command = as_root(&portwatch)?;
    command.args(&options.arguments);
    let error = command.exec();
    Err(anyhow!(error).context(format!("`{}` cannot be started", shown(&command))))
}
