//! Filters: what a filtered run shows is what an unfiltered one beside it shows, filtered.

use std::net::IpAddr;

use anyhow::{Result, ensure};

use super::{
    super::{
        driver::{Pace, Workload},
        portwatch,
        record::Attempt,
        source::Source,
        stream::Stream,
        sys,
        truth::Op,
        workload::{CLOSED, TAKEN, USER},
    },
    Impossible,
};

pub(super) fn by_pid(source: Source) -> Result<()> {
    filtered(
        source,
        |pid| vec!["-p".to_owned(), pid.to_string()],
        |pid, attempt| attempt.pid == pid,
    )
}

pub(super) fn by_uid(source: Source) -> Result<()> {
    filtered(
        source,
        |_| vec!["-u".to_owned(), USER.to_string()],
        |_, attempt| attempt.uid == USER,
    )
}

pub(super) fn by_user_name(source: Source) -> Result<()> {
    let name = sys::user_name(USER).ok_or_else(|| Impossible(format!("no user has uid {USER}")))?;
    filtered(
        source,
        |_| vec!["-u".to_owned(), name.clone()],
        |_, attempt| attempt.uid == USER,
    )
}

pub(super) fn by_ports(source: Source) -> Result<()> {
    let ports = format!("{TAKEN},{CLOSED}");
    let matches =
        |_, attempt: &Attempt| attempt.port == Some(TAKEN) || attempt.port == Some(CLOSED);
    filtered(source, |_| vec!["-P".to_owned(), ports.clone()], matches)
}

pub(super) fn failed(source: Source) -> Result<()> {
    filtered(
        source,
        |_| vec!["-x".to_owned()],
        |_, attempt| attempt.outcome == "failed",
    )
}

pub(super) fn by_expression(source: Source) -> Result<()> {
    filtered(
        source,
        |pid| {
            let expr = format!("op=connect and (pid={pid} or errno=ECONNREFUSED)");
            vec!["--filter".to_owned(), expr]
        },
        |pid, attempt| {
            let refused = attempt.errno.as_deref() == Some("ECONNREFUSED");
            attempt.op == Op::Connect && (attempt.pid == pid || refused)
        },
    )
}

/// Both workloads come of this process; the user's is left out.
pub(super) fn by_process_tree(source: Source) -> Result<()> {
    filtered(
        source,
        |pid| {
            let list = format!("{},!{pid}", std::process::id());
            vec!["--ppid-tree".to_owned(), list]
        },
        |pid, attempt| attempt.pid != pid,
    )
}

pub(super) fn by_unit_that_nothing_runs_in(source: Source) -> Result<()> {
    let stream = portwatch::start(source, &["--unit", "ngnix", "--cgroup", "/"])?.stop()?;
    let degradations = stream.starts.iter().flat_map(|start| &start.degradations);
    let said: Vec<_> = degradations.map(|it| it.what.as_str()).collect();
    ensure!(
        said.contains(&"nothing runs in unit=ngnix.service now"),
        "{said:?}"
    );
    Ok(())
}

/// Runs the same mixture as root and as an ordinary user. The pid given is the user's.
fn filtered(
    source: Source,
    args: impl Fn(u32) -> Vec<String>,
    matches: impl Fn(u32, &Attempt) -> bool,
) -> Result<()> {
    let of_root = Workload::prepare("mixture", Pace::Burst)?;
    let of_user = Workload::prepare("mixture_of_user", Pace::Burst)?;
    let pids @ [_, user] = [of_root.pid(), of_user.pid()];
    let args = args(user);
    let all = portwatch::start(source, &[])?;
    let some = portwatch::start(source, &args.iter().map(String::as_str).collect::<Vec<_>>())?;
    of_root.run_watched_by(&mut [])?;
    of_user.run_watched_by(&mut [])?;
    let (some, all) = (some.stop()?, all.stop()?);
    let foreign = some.attempts.iter().find(|attempt| !matches(user, attempt));
    ensure!(foreign.is_none(), "{args:?} let through {foreign:?}");
    let (shown, expected) = (
        keys(&some, pids, |_| true),
        keys(&all, pids, |attempt| matches(user, attempt)),
    );
    ensure!(
        shown == expected,
        "{args:?} shows\n{shown:#?}\nwhere all, filtered, is\n{expected:#?}"
    );
    let total = keys(&all, pids, |_| true).len();
    ensure!(
        !shown.is_empty() && shown.len() < total,
        "{args:?} shows {} of {total}",
        shown.len()
    );
    Ok(())
}

pub(super) type Key = (
    u32,
    Op,
    Option<IpAddr>,
    Option<u16>,
    Option<i32>,
    Option<i32>,
);

/// The attempts of both workloads, without what differs between two who watch.
pub(super) fn keys(
    stream: &Stream,
    pids: [u32; 2],
    matches: impl Fn(&Attempt) -> bool,
) -> Vec<Key> {
    let ours = stream
        .attempts
        .iter()
        .filter(|attempt| pids.contains(&attempt.pid) && matches(attempt));
    ours.map(|attempt| {
        (
            attempt.pid,
            attempt.op,
            attempt.addr,
            attempt.port,
            attempt.fd,
            attempt.ret,
        )
    })
    .collect()
}
