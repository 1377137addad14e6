//! cargo-deny, of a fixed version: what a newer one checks besides must not fail a build of today.

use std::process::Command;

use anyhow::Result;

use super::{Apt, Need, Step, cargo_install};
use crate::command::probe;

const VERSION: &str = "0.20.2";

pub(super) fn step() -> Step {
    Step {
        need: Need::Deny,
        what: "cargo-deny 0.20.2",
        why: "it checks what is depended on; compiling it takes about four minutes",
        by_hand: "cargo install cargo-deny --version 0.20.2 --locked",
        present,
        get,
    }
}

fn present() -> bool {
    probe(Command::new("cargo-deny").arg("--version"))
        .is_some_and(|version| version.trim() == format!("cargo-deny {VERSION}"))
}

fn get(_: &mut Apt) -> Result<()> {
    cargo_install("cargo-deny", VERSION)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_texts_name_the_pinned_version() {
        let step = step();
        assert!(step.what.contains(VERSION) && step.by_hand.contains(VERSION));
    }
}
