//! Names that mean harm, and attempts that are none of portwatch's business.

use std::io::Read as _;

use anyhow::{Context as _, Result, ensure};
use rustix::process::Signal;

use super::{
    super::{
        driver::{Pace, Workload},
        portwatch,
        process::{Ended, Process, next_line},
        source::{self, Source},
    },
    exactly,
    fault::only_once,
};

pub(super) fn af_unix_and_others_never_appear(source: Source) -> Result<()> {
    exactly(source, "other_families", Pace::Stepwise).map(drop)
}

/// Users that /etc/passwd does not have are looked for wherever else a host has them, unless the
/// program is static, as the one that is tried here.
pub(super) fn nobodys_user_is_a_number(source: Source) -> Result<()> {
    only_once(source)?;
    let run = |args: &[&str]| -> Result<Ended> {
        let mut command = std::process::Command::new(source::binary()?);
        let mut process = Process::spawn(command.args(args))?;
        let mut stdout = String::new();
        process.stdout()?.read_to_string(&mut stdout)?;
        process.wait()
    };
    let unknown = run(&["--user", "nobody-has-this-name"])?.expect_code(2)?;
    ensure!(
        unknown.stderr.contains("there is no user"),
        "{}",
        unknown.stderr
    );
    // It prints the number, and that root's port is not for it.
    run(&["why", "127.0.0.1:80", "--user", "4000123"])?.expect_code(5)?;
    run(&["--user-after", "nobody-has-this-name"])?.expect_code(2)?;
    Ok(())
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
