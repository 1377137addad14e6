//! `portwatch why`, asked about a port that somebody holds.

use std::{
    io::{BufReader, Read as _},
    net::SocketAddr,
    process::Command,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use serde::Deserialize;

use super::{process::Process, record::Cause, source, sys};

/// What it answered.
#[derive(Debug)]
pub(crate) struct Answered {
    pub(crate) cause: Cause,
    /// CPU time that it took, in the kernel and outside
    pub(crate) took: Duration,
    /// As it was written
    pub(crate) text: String,
}

/// The part of an answer that matters here.
#[derive(Deserialize)]
struct Document {
    answers: Vec<Answer>,
}

#[derive(Deserialize)]
struct Answer {
    result: String,
    cause: Option<Cause>,
}

/// Whether it may be bound, of which it says that it may not.
pub(crate) fn why(udp: bool, port: SocketAddr) -> Result<Answered> {
    ask(Command::new(source::binary()?), udp, port)
}

/// The same by somebody else, or elsewhere: `command` becomes portwatch.
pub(crate) fn ask(mut command: Command, udp: bool, port: SocketAddr) -> Result<Answered> {
    command.args(["why", "--json", &port.to_string()]);
    if udp {
        command.arg("--udp");
    }
    let before = sys::time_of_children()?;
    let mut process = Process::spawn(&mut command)?;
    let mut text = String::new();
    BufReader::new(process.stdout()?).read_to_string(&mut text)?;
    // It fails where the call would.
    process.wait()?.expect_code(5)?;
    let took = sys::time_of_children()?.saturating_sub(before);
    let document: Document = serde_json::from_str(&text).with_context(|| text.clone())?;
    let [answer] = <[Answer; 1]>::try_from(document.answers)
        .ok()
        .context("not one answer")?;
    ensure!(answer.result == "fails", "{text}");
    let cause = answer.cause.with_context(|| text.clone())?;
    Ok(Answered { cause, took, text })
}
