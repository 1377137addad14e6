//! The command as a child process.

use std::{
    ffi::OsStr,
    io,
    process::{Command, Stdio},
};

use serde_json::Value;

/// How a run ended.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) code: Option<i32>,
    pub(super) stdout: String,
    pub(super) stderr: String,
}

/// The command in an empty environment and away from any terminal: no width, no colours.
pub(super) fn portwatch() -> Command {
    away_from_terminals(env!("CARGO_BIN_EXE_portwatch"))
}

pub(super) fn away_from_terminals(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    command.env_clear().stdin(Stdio::null());
    command
}

pub(super) fn run(arguments: &[&str]) -> Ended {
    ended(portwatch().args(arguments)).unwrap()
}

pub(super) fn ended(command: &mut Command) -> io::Result<Ended> {
    let output = command.output()?;
    Ok(Ended {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    })
}

/// What goes to standard output of a run that succeeds and says nothing else.
pub(super) fn printed(arguments: &[&str]) -> String {
    let Ended {
        code,
        stdout,
        stderr,
    } = run(arguments);
    assert_eq!((code, stderr.as_str()), (Some(0), ""));
    stdout
}

/// Runs with a standard output that nobody reads.
pub(super) fn run_unread(arguments: &[&str]) -> Ended {
    let (reader, writer) = io::pipe().unwrap();
    drop(reader);
    ended(portwatch().args(arguments).stdout(writer)).unwrap()
}

/// The lines of a stream.
pub(super) fn events(stdout: &str) -> Vec<Value> {
    let lines = stdout.lines();
    lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

pub(super) fn of_kind<'a>(events: &'a [Value], kind: &str) -> Vec<&'a Value> {
    events
        .iter()
        .filter(|event| event["kind"] == kind)
        .collect()
}
