//! Causes: what each source says of the situations that were made.

use std::fmt::Write as _;

use ::portwatch::event::Code;
use anyhow::{Context as _, Result, ensure};

use super::super::{
    cause::{self, Answer, Row},
    driver::{Done, Impossible, Pace, Workload},
    knowledge::sees,
    matrix::Pair,
    portwatch,
    record::{Attempt, Cause},
    source::{self, Source},
    stream::Stream,
    sys,
    truth::Truth,
    workload::{CAUSES, USER},
};

pub(super) fn of_calls(source: Source) -> Result<()> {
    group(source, "call")
}

pub(super) fn of_denials(source: Source) -> Result<()> {
    group(source, "denial")
}

pub(super) fn of_addresses(source: Source) -> Result<()> {
    group(source, "address")
}

pub(super) fn of_privileges(source: Source) -> Result<()> {
    group(source, "privilege")
}

pub(super) fn of_ports(source: Source) -> Result<()> {
    group(source, "port")
}

/// What it takes to look for holders outlasts the change of user.
pub(super) fn of_ports_by_another_user(source: Source) -> Result<()> {
    group_with(source, "port", &["--user-after", &USER.to_string()])
}

pub(super) fn of_states(source: Source) -> Result<()> {
    group(source, "state")
}

pub(super) fn of_routes(source: Source) -> Result<()> {
    group(source, "route")
}

pub(super) fn of_answers(source: Source) -> Result<()> {
    group(source, "answer")
}

pub(super) fn of_ends(source: Source) -> Result<()> {
    group(source, "end")
}

/// Every pair of sockets on one port: the kernel decides as the pair says, and what is said of its
/// decision is true.
pub(super) fn of_pairs(source: Source) -> Result<()> {
    let whole = Workload::prepare(&format!("{CAUSES}whole_matrix"), Pace::Burst)?;
    whole.run_watched_by(&mut [])?;
    let mut portwatch = portwatch::start(source, &[])?;
    let workload = Workload::prepare(&format!("{CAUSES}matrix"), Pace::Stepwise)?;
    let done = workload.run(&mut portwatch)?;
    let stream = portwatch.stop()?;
    let mut wrong = String::new();
    for truth in &done.truths {
        let Ok(pair) = serde_json::from_str::<Pair>(&truth.case) else {
            continue;
        };
        let attempt = reported(truth, &done, &stream)?.context("it was not reported")?;
        if let Some(said) = untrue(&pair, attempt.cause.as_ref()) {
            let _ = writeln!(wrong, "  {pair:?}: {said}");
        }
    }
    ensure!(wrong.is_empty(), "said is not what is so:\n{wrong}");
    Ok(())
}

fn untrue(pair: &Pair, cause: Option<&Cause>) -> Option<String> {
    let code = cause.map(|cause| Code::ALL.iter().find(|code| code.name() == cause.code));
    let is_true = match code {
        None => !pair.conflicts(),
        Some(code) => code.is_some_and(|&code| pair.is_cause(code)),
    };
    (!is_true).then(|| Said::Cause(cause).to_string())
}

/// Makes the rows of a group, and compares what is said of each.
fn group(source: Source, name: &str) -> Result<()> {
    group_with(source, name, &[])
}

fn group_with(source: Source, name: &str, args: &[&str]) -> Result<()> {
    let args = [&["--seccomp"], args].concat();
    let mut portwatch = portwatch::start(source, &args)?;
    let workload = Workload::prepare(&format!("{CAUSES}{name}"), Pace::Stepwise)?;
    let done = workload.run(&mut portwatch)?;
    let stream = portwatch.stop()?;
    let (_, rows) = cause::GROUPS
        .iter()
        .find(|(group, _)| *group == name)
        .context("no such group")?;
    let mut wrong = String::new();
    let mut made = 0;
    for row in *rows {
        let truth = done.truths.iter().find(|truth| truth.case == row.case);
        made += usize::from(truth.is_some());
        let difference = match truth {
            Some(truth) => difference(source, row, truth, &done, &stream),
            None => unmade(row, &done)?,
        };
        if let Some(difference) = difference {
            let _ = writeln!(wrong, "  {}: {difference}", row.case);
        }
    }
    ensure!(wrong.is_empty(), "said is not what is so:\n{wrong}");
    if made == 0 {
        return Err(Impossible(done.skipped.join("; ")).into());
    }
    Ok(())
}

/// In the test kernels, only rows are left out that came with a later one; elsewhere, what is lacking.
fn unmade(row: &Row, done: &Done) -> Result<Option<String>> {
    let (is_too_old, needed) = match row.since {
        Some(since) => (sys::is_before(since.major, since.minor)?, since.what),
        None => (false, "nothing new"),
    };
    let may_be_left_out = is_too_old || !source::is_emulated();
    let reasons = || format!("takes {needed} and was not made: {:?}", done.skipped);
    Ok((!may_be_left_out || done.skipped.is_empty()).then(reasons))
}

fn difference(
    source: Source,
    row: &Row,
    truth: &Truth,
    done: &Done,
    stream: &Stream,
) -> Option<String> {
    let expected = row.answers[source as usize];
    let answer = match reported(truth, done, stream) {
        Err(error) => return Some(format!("{error:#}")),
        Ok(None) => Said::Nothing,
        Ok(Some(attempt)) if has_ended(attempt, row) => match stream.outcome_of(attempt) {
            None => Said::Nothing,
            // Without a result it was given up.
            Some(end) if end.ret.unwrap_or_default() == row.ret => Said::Cause(end.cause.as_ref()),
            Some(end) => return Some(format!("ended with {:?}, not {}", end.ret, row.ret)),
        },
        Ok(Some(attempt)) => Said::Cause(attempt.cause.as_ref()),
    };
    (!answer.is(expected)).then(|| format!("{answer}, not {expected:?}"))
}

/// Whether the row is about how it ended, since the call itself did not wait for that.
fn has_ended(attempt: &Attempt, row: &Row) -> bool {
    attempt.ret != Some(row.ret)
}

/// The attempt as it was reported, if this source sees it at all.
fn reported<'a>(truth: &Truth, done: &Done, stream: &'a Stream) -> Result<Option<&'a Attempt>> {
    if !sees(stream, truth) {
        return Ok(None);
    }
    let caller = &truth.caller;
    let mut of_thread = done.truths.iter().filter(|other| {
        other.caller.pid == caller.pid && other.caller.tid == caller.tid && sees(stream, other)
    });
    let place = of_thread.position(|other| std::ptr::eq(other, truth));
    let mut attempts = stream
        .of(caller.pid)
        .filter(|attempt| attempt.tid == caller.tid);
    let attempt = attempts
        .nth(place.context("not among the attempts")?)
        .context("it was not reported")?;
    let is_it = attempt.op == truth.op
        && attempt.addr == truth.addr
        && attempt.port == truth.port
        && attempt.ret == truth.ret;
    ensure!(is_it, "in its place was reported: {attempt}");
    Ok(Some(attempt))
}

/// What a source said.
enum Said<'a> {
    Nothing,
    Cause(Option<&'a Cause>),
}

impl Said<'_> {
    fn is(&self, expected: Answer) -> bool {
        match (self, expected) {
            (Self::Nothing, Answer::Unseen) | (Self::Cause(None), Answer::Silent) => true,
            (Self::Cause(Some(cause)), Answer::Says(code, confidence)) => {
                cause.code == code.name() && cause.confidence == confidence.name()
            }
            _ => false,
        }
    }
}

impl std::fmt::Display for Said<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Nothing => f.write_str("not shown"),
            Self::Cause(None) => f.write_str("no cause"),
            Self::Cause(Some(cause)) => write!(
                f,
                "{} ({}): {} {:?}",
                cause.code, cause.confidence, cause.text, cause.evidence
            ),
        }
    }
}
