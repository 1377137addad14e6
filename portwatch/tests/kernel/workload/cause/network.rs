//! Interfaces, routes and firewalls of the calling process's network namespace, and a neighbour.

use std::{
    io::Write as _,
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, ensure};

use super::{
    super::{super::sys, child::Companion},
    lacking,
};

/// Passes lines to `ip`.
pub(super) fn ip(lines: &str) -> Result<()> {
    feed("ip", &["-batch", "-"], lines)
}

/// Passes a ruleset to `nft`.
pub(super) fn nft(rules: &str) -> Result<()> {
    feed("nft", &["-f", "-"], rules)
}

/// Runs a program on a text; a program that is not installed is lacking.
pub(super) fn feed(program: &str, arguments: &[&str], text: &str) -> Result<()> {
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| lacking(format!("{program}: {error}")))?;
    let mut input = child.stdin.take().context("no pipe")?;
    // It may end before it has read all, and then says why.
    drop(input.write_all(text.as_bytes()));
    drop(input);
    let output = child.wait_with_output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{program} < {text:?}: {said}");
    Ok(())
}

/// Adds a kind of interface that not every kernel has.
pub(super) fn link(line: &str) -> Result<()> {
    ip(&format!("link add {line}")).map_err(|error| {
        if format!("{error:#}").contains("Unknown device type") {
            lacking(format!("no interface of that kind: {line}"))
        } else {
            error
        }
    })
}

/// A network namespace at the other end of a cable: this end is `near`, the other one `far`.
pub(super) struct Neighbour(Companion);

impl Neighbour {
    /// With the cable laid and both ends down.
    pub(super) fn new() -> Result<Self> {
        let companion = Companion::start(sys::enter_own_netns)?;
        let pid = companion.pid();
        link(&format!("near type veth peer name far netns {pid}"))?;
        Ok(Self(companion))
    }

    /// Runs `ip` on the other side.
    pub(super) fn ip(&self, lines: &str) -> Result<()> {
        sys::in_netns_of(self.0.pid(), || ip(lines))
    }
}
