//! A strict reader of portwatch's JSON lines: docs/EVENTS.md, and nothing else, is accepted.

use std::{collections::BTreeMap, fmt, net::IpAddr};

use anyhow::{Context, Result, bail, ensure};
use jiff::Timestamp;
use serde::{Deserialize, de::DeserializeOwned};

use super::truth::Op;

/// A whole stream, from "start" to "summary".
#[derive(Debug, Default)]
pub(crate) struct Stream {
    pub(crate) starts: Vec<Start>,
    pub(crate) attempts: Vec<Attempt>,
    pub(crate) losses: Vec<Lost>,
    pub(crate) summaries: Vec<Summary>,
}

#[derive(Debug, Deserialize)]
struct Kind {
    v: u64,
    kind: String,
}

/// A time as it must be written: UTC, with nanoseconds.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct Time(pub Timestamp);

impl TryFrom<String> for Time {
    type Error = anyhow::Error;

    fn try_from(text: String) -> Result<Self> {
        let time: Timestamp = text.parse()?;
        ensure!(
            format!("{time:.9}") == text,
            "{text} is not UTC with nanoseconds"
        );
        Ok(Self(time))
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(
    dead_code,
    reason = "fields are read to see that they are there, and of that type"
)]
pub(crate) struct Start {
    v: u64,
    kind: String,
    time: Time,
    pub(crate) backend: String,
    pub(crate) hooks: Vec<String>,
    missing: Vec<Missing>,
    degradations: Vec<Degradation>,
    kernel: String,
    filters: Vec<String>,
    pub(crate) pid: u32,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(
    dead_code,
    reason = "fields are read to see that they are there, and of that type"
)]
struct Missing {
    hook: String,
    why: String,
    unseen: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(
    dead_code,
    reason = "fields are read to see that they are there, and of that type"
)]
struct Degradation {
    what: String,
    why: String,
    remedy: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(
    dead_code,
    reason = "fields are read to see that they are there, and of that type"
)]
pub(crate) struct Attempt {
    v: u64,
    kind: String,
    pub(crate) seq: u64,
    pub(crate) time: Time,
    pub(crate) op: Op,
    pub(crate) via: Option<String>,
    pub(crate) pid: u32,
    pub(crate) tid: u32,
    pub(crate) ppid: Option<u32>,
    pub(crate) comm: String,
    pub(crate) uid: u32,
    pub(crate) euid: Option<u32>,
    pub(crate) gid: u32,
    pub(crate) user: Option<String>,
    pub(crate) family: Option<String>,
    pub(crate) family_number: Option<u16>,
    pub(crate) proto: Option<String>,
    pub(crate) addr: Option<IpAddr>,
    pub(crate) port: Option<u16>,
    pub(crate) scope_id: Option<u32>,
    pub(crate) local_addr: Option<IpAddr>,
    pub(crate) local_port: Option<u16>,
    pub(crate) fd: Option<i32>,
    pub(crate) ret: Option<i32>,
    pub(crate) errno: Option<String>,
    pub(crate) outcome: String,
    pub(crate) latency_ns: Option<u64>,
    pub(crate) netns: Option<u64>,
    cgroup_id: Option<u64>,
    ifindex: Option<u32>,
    pub(crate) options: Option<Vec<String>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(
    dead_code,
    reason = "fields are read to see that they are there, and of that type"
)]
pub(crate) struct Lost {
    v: u64,
    kind: String,
    time: Time,
    pub(crate) count: u64,
    pub(crate) reason: String,
    r#where: String,
}

type Counts = BTreeMap<String, u64>;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(
    dead_code,
    reason = "fields are read to see that they are there, and of that type"
)]
pub(crate) struct Summary {
    v: u64,
    kind: String,
    time: Time,
    run_time_ns: u64,
    attempts: BTreeMap<String, Counts>,
    errnos: Counts,
    lost: u64,
    losses: Counts,
}

impl Stream {
    /// Takes the next line in; fails where it does not fit.
    pub(crate) fn push(&mut self, line: &str) -> Result<()> {
        self.accept(line).with_context(|| format!("in line {line}"))
    }

    fn accept(&mut self, line: &str) -> Result<()> {
        let Kind { v, kind } = parse(line)?;
        ensure!(v == 1, "version {v}");
        ensure!(self.summaries.is_empty(), "a line after the summary");
        ensure!(
            self.starts.is_empty() == (kind == "start"),
            "the first line, and only that, is the start"
        );
        match kind.as_str() {
            "start" => self.starts.push(parse(line)?),
            "attempt" => self.push_attempt(parse(line)?)?,
            "lost" => self.losses.push(parse(line)?),
            "summary" => self.summaries.push(parse(line)?),
            other => bail!("unknown kind {other}"),
        }
        Ok(())
    }

    fn push_attempt(&mut self, attempt: Attempt) -> Result<()> {
        let expected = self.attempts.len() as u64 + 1;
        ensure!(
            attempt.seq == expected,
            "seq is {}, expected {expected}",
            attempt.seq
        );
        attempt.check()?;
        self.attempts.push(attempt);
        Ok(())
    }

    pub(crate) fn of(&self, pid: u32) -> impl Iterator<Item = &Attempt> {
        self.attempts
            .iter()
            .filter(move |attempt| attempt.pid == pid)
    }

    pub(crate) fn lost(&self) -> u64 {
        self.losses.iter().map(|lost| lost.count).sum()
    }

    /// The stream ended as it should, and its summary says what it contained.
    pub(crate) fn check_end(&self) -> Result<&Summary> {
        let summary = self
            .summaries
            .last()
            .context("the stream ended without a summary")?;
        summary.check(self)?;
        Ok(summary)
    }
}

fn parse<T: DeserializeOwned>(line: &str) -> Result<T> {
    Ok(serde_json::from_str(line)?)
}

impl Attempt {
    /// What must be true of every attempt by itself.
    fn check(&self) -> Result<()> {
        let outcome = match self.ret {
            Some(0) => "ok",
            Some(ret) if ret == -libc::EINPROGRESS => "pending",
            Some(_) => "failed",
            None => "pending",
        };
        ensure!(
            self.outcome == outcome,
            "outcome {:?} with ret {:?}",
            self.outcome,
            self.ret
        );
        let failed = self.ret.is_some_and(|ret| ret != 0);
        ensure!(
            self.errno.is_some() == failed,
            "errno {:?} with ret {:?}",
            self.errno,
            self.ret
        );
        ensure!(self.ret.is_none_or(|ret| ret <= 0), "ret {:?}", self.ret);
        ensure!(
            self.family_number.is_some() == (self.family.as_deref() == Some("other")),
            "family_number {:?} with family {:?}",
            self.family_number,
            self.family
        );
        Ok(())
    }
}

impl fmt::Display for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            op,
            addr,
            port,
            ret,
            fd,
            tid,
            ..
        } = self;
        write!(
            f,
            "{op} fd {fd:?} to {addr:?} port {port:?} by {tid} returned {ret:?}"
        )
    }
}

impl Summary {
    fn check(&self, stream: &Stream) -> Result<()> {
        let mut attempts = BTreeMap::<String, Counts>::new();
        let (mut errnos, mut losses) = (Counts::new(), Counts::new());
        for attempt in &stream.attempts {
            let outcomes = attempts.entry(attempt.op.to_string()).or_default();
            *outcomes.entry(attempt.outcome.clone()).or_default() += 1;
            if let Some(errno) = &attempt.errno {
                *errnos.entry(errno.clone()).or_default() += 1;
            }
        }
        for lost in &stream.losses {
            *losses.entry(lost.reason.clone()).or_default() += lost.count;
        }
        let mut counted = self.attempts.clone();
        for outcomes in counted.values_mut() {
            outcomes.retain(|_, &mut count| count > 0);
        }
        counted.retain(|_, outcomes| !outcomes.is_empty());
        ensure!(
            counted == attempts,
            "the summary counts {counted:?}, written were {attempts:?}"
        );
        ensure!(
            self.errnos == errnos,
            "the summary counts {:?}, written were {errnos:?}",
            self.errnos
        );
        ensure!(
            self.losses == losses,
            "the summary counts {:?}, written were {losses:?}",
            self.losses
        );
        ensure!(
            self.lost == stream.lost(),
            "the summary counts {} lost of {}",
            self.lost,
            stream.lost()
        );
        Ok(())
    }
}
