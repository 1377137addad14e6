//! Names that mean harm, and attempts that are none of portwatch's business.

use std::io::Read as _;

use anyhow::{Context as _, Result, ensure};
use rustix::process::Signal;

use super::{
    super::{
        driver::{Pace, Workload},
        portwatch,
        process::{Process, next_line},
        source::{self, Source},
    },
    exactly,
};

pub(super) fn af_unix_and_others_never_appear(source: Source) -> Result<()> {
    exactly(source, "other_families", Pace::Stepwise).map(drop)
}

pub(super) fn hostile_comm_in_json(source: Source) -> Result<()> {
    exactly(source, "hostile_names", Pace::Stepwise).map(drop)
}

pub(super) fn hostile_comm_in_text(source: Source) -> Result<()> {
    let mut watcher = portwatch::start(source, &[])?;
    let mut command = std::process::Command::new(source::binary()?);
    let mut process = Process::spawn(command.args(["--source", source.name()]))?;
    let mut stdout = process.stdout()?;
    // The heading, which says that it has begun to watch.
    next_line(&mut stdout)?.context("no heading")?;
    let done = Workload::prepare("hostile_names", Pace::Stepwise)?.run(&mut watcher)?;
    process.signal(Signal::INT)?;
    let mut text = String::new();
    stdout.read_to_string(&mut text).context("not UTF-8")?;
    process.wait()?.expect_code(0)?;
    let pid = done.pid.to_string();
    let lines = text
        .lines()
        .filter(|line| line.split_whitespace().any(|word| word == pid))
        .count();
    ensure!(
        lines == done.truths.len(),
        "{lines} lines for {} attempts in\n{text:?}",
        done.truths.len()
    );
    let harmful: Vec<char> = text
        .chars()
        .filter(|&character| is_harmful(character))
        .collect();
    ensure!(harmful.is_empty(), "{harmful:?} in\n{text:?}");
    watcher.stop().map(drop)
}

/// What moves the cursor, or turns text around.
fn is_harmful(character: char) -> bool {
    let is_control = character.is_control() && character != '\n';
    is_control
        || matches!(character, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}
