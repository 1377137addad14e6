//! Interfaces, routes and firewalls of the calling process's network namespace, and a neighbour.

use std::{
    io::Write as _,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};

use super::{
    super::{super::sys, child::Companion},
    lacking,
};

/// The kernel decides within this, or something is wrong.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);

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

    /// Until the other side can send: it hears of its carrier from a queue that the kernel works off up
    /// to a second later (net/core/link_watch.c), and drops what it is given before.
    pub(super) fn wait_for_carrier(&self) -> Result<()> {
        let begin = Instant::now();
        loop {
            let output = sys::in_netns_of(self.0.pid(), || {
                let show = Command::new("ip")
                    .args(["-o", "link", "show", "far"])
                    .output();
                show.context("ip")
            })?;
            let shown = String::from_utf8_lossy(&output.stdout);
            if shown.contains("state UP") {
                return Ok(());
            }
            ensure!(begin.elapsed() < PATIENCE, "no carrier: {shown}");
        }
    }
}
