//! cargo for targets whose standard library no toolchain here has: it is compiled from source, which
//! cargo and rustc take as unstable.

use std::{ffi::OsStr, process::Command};

use anyhow::{Context as _, Result};

use crate::{command::root, setup::std_toolchain};

/// A cargo of the toolchain that has the sources, called by this command.
pub(crate) fn cargo(program: impl AsRef<OsStr>, task: &str) -> Result<Command> {
    let (toolchain, _) = std_toolchain()
        .context("no toolchain has the standard library's source; run `cargo xtask setup`")?;
    let mut cargo = Command::new("rustup");
    cargo
        .args(["run", toolchain])
        .arg(program)
        .args([task, "-Zbuild-std=std,panic_abort"])
        .current_dir(root())
        .env("RUSTC_BOOTSTRAP", "1")
        // Those of the cargo that runs xtask.
        .env_remove("CARGO")
        .env_remove("CARGO_ENCODED_RUSTFLAGS");
    Ok(cargo)
}
