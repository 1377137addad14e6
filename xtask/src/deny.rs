//! `cargo xtask deny`: what is depended on, by the rules of deny.toml.

use anyhow::Result;

use crate::{
    command::{cargo, run as run_command},
    setup::{Need, ensure_for},
};

/// What `cargo xtask deny` takes.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Leave out the advisories, whose database is fetched from github.com
    #[arg(long)]
    offline: bool,
}

/// `cargo xtask deny`.
pub(crate) fn run(options: &Options) -> Result<()> {
    ensure_for(&[Need::Deny])?;
    let mut deny = cargo();
    deny.args(["deny", "--locked", "check", "licenses", "bans", "sources"]);
    if !options.offline {
        deny.arg("advisories");
    }
    run_command(&mut deny)
}
