//! strace as a second witness.

use std::{
    fs,
    net::IpAddr,
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, ensure};

use super::super::{
    driver::{Impossible, Pace, Workload},
    portwatch,
    record::Attempt,
    source::Source,
    stream::Stream,
    truth::Op,
};

pub(super) fn sees_the_same(source: Source) -> Result<()> {
    let mut version = Command::new("strace");
    let version = version.arg("-V").stdout(Stdio::null()).status();
    if !version.is_ok_and(|status| status.success()) {
        return Err(Impossible("strace is not installed".to_owned()).into());
    }
    let directory = tempfile::tempdir()?;
    let mut portwatch = portwatch::start(source, &[])?;
    let mut witnessed = Vec::new();
    for name in WORKLOADS {
        let file = directory.path().join(name);
        let mut strace = Command::new("strace");
        strace
            .args(["-f", "-e", "trace=bind,connect", "-o"])
            .arg(&file);
        let done = Workload::prepare_under(strace, name, Pace::Stepwise)?.run(&mut portwatch)?;
        witnessed.push((name, done.pid, fs::read_to_string(&file)?));
    }
    let stream = portwatch.stop()?;
    for (name, pid, text) in witnessed {
        compare(&stream, pid, &text).context(name)?;
    }
    Ok(())
}

/// In the last two, some attempts come by other ways than these system calls.
const WORKLOADS: [&str; 6] = [
    "four_binds",
    "bind_errors",
    "connects",
    "connect_errors",
    "fastopen",
    "io_uring",
];

/// The same calls, in the same order: all that strace saw, and what portwatch says came so.
fn compare(stream: &Stream, pid: u32, text: &str) -> Result<()> {
    let calls = text.lines().filter_map(Call::parse);
    let calls = calls.collect::<Result<Vec<_>>>()?;
    ensure!(!calls.is_empty(), "strace saw nothing");
    let attempts = stream.of(pid);
    let attempts: Vec<&Attempt> = attempts
        .filter(|it| it.via.as_deref() == Some("syscall") && it.op != Op::Listen)
        .collect();
    let same =
        calls.len() == attempts.len() && calls.iter().zip(&attempts).all(|(call, it)| call.is(it));
    ensure!(same, "strace saw\n{text}and portwatch {attempts:#?}");
    Ok(())
}

/// One line of strace's.
struct Call {
    op: String,
    /// Where strace shows it
    address: Option<(IpAddr, u16)>,
    /// `0`, or the error's name
    result: String,
}

impl Call {
    /// `PID bind(FD, {…}, LENGTH) = -1 EACCES (Permission denied)`; not of signals and ends
    fn parse(line: &str) -> Option<Result<Self>> {
        let (_, call) = line.split_once(' ')?;
        let (op, rest) = call.trim_start().split_once('(')?;
        let (arguments, result) = rest.rsplit_once(" = ")?;
        let result = result.strip_prefix("-1 ").unwrap_or(result);
        Some(Ok(Self {
            op: op.to_owned(),
            address: match address(arguments).transpose() {
                Ok(address) => address,
                Err(error) => return Some(Err(error)),
            },
            result: result.split(' ').next().unwrap_or_default().to_owned(),
        }))
    }

    fn is(&self, attempt: &Attempt) -> bool {
        let reported = attempt.addr.zip(attempt.port);
        self.op == attempt.op.to_string()
            && self.result == attempt.errno.as_deref().unwrap_or("0")
            && (self.address.is_none() || self.address == reported)
    }
}

fn address(arguments: &str) -> Option<Result<(IpAddr, u16)>> {
    let port = between(arguments, "_port=htons(", ")")?;
    let ip = between(arguments, "inet_addr(\"", "\"")
        .or_else(|| between(arguments, "inet_pton(AF_INET6, \"", "\""))?;
    let parse = || Ok((ip.parse()?, port.parse()?));
    Some(parse())
}

fn between<'a>(text: &'a str, start: &str, end: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(start)?;
    Some(rest.split_once(end)?.0)
}
