//! Filters: what a filtered run shows is what an unfiltered one beside it shows, filtered.

use std::{io::Read as _, net::IpAddr, process::Command};

use anyhow::{Result, ensure};

use super::{
    super::{
        driver::{Pace, Workload},
        portwatch::{self, Started},
        process::Process,
        record::Attempt,
        source::{self, Source},
        stream::Stream,
        sys,
        truth::Op,
        workload::{CLOSED, TAKEN, USER},
    },
    Impossible,
    program::need,
};

pub(super) fn by_pid(source: Source) -> Result<()> {
    filtered(
        source,
        |pid| vec!["-p".to_owned(), pid.to_string()],
        |pid, attempt, _| attempt.pid == pid,
    )
}

pub(super) fn by_uid(source: Source) -> Result<()> {
    filtered(
        source,
        |_| vec!["-u".to_owned(), USER.to_string()],
        |_, attempt, _| attempt.uid == USER,
    )
}

pub(super) fn by_user_name(source: Source) -> Result<()> {
    let name = sys::user_name(USER).ok_or_else(|| Impossible(format!("no user has uid {USER}")))?;
    filtered(
        source,
        |_| vec!["-u".to_owned(), name.clone()],
        |_, attempt, _| attempt.uid == USER,
    )
}

pub(super) fn by_ports(source: Source) -> Result<()> {
    let ports = format!("{TAKEN},{CLOSED}");
    let matches = |_, attempt: &Attempt, _: End<'_>| {
        attempt.port == Some(TAKEN) || attempt.port == Some(CLOSED)
    };
    filtered(source, |_| vec!["-P".to_owned(), ports.clone()], matches)
}

pub(super) fn failed(source: Source) -> Result<()> {
    filtered(
        source,
        |_| vec!["-x".to_owned()],
        |_, _, (outcome, _)| outcome == "failed",
    )
}

pub(super) fn by_expression(source: Source) -> Result<()> {
    filtered(
        source,
        |pid| {
            let expr = format!("op=connect and (pid={pid} or errno=ECONNREFUSED)");
            vec!["--filter".to_owned(), expr]
        },
        |pid, attempt, (_, errno)| {
            let refused = errno == Some("ECONNREFUSED");
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
        |pid, attempt, _| attempt.pid != pid,
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

/// Values that no attempt has now, or not in this numbering.
pub(super) fn by_what_may_be_mistyped(source: Source) -> Result<()> {
    let said = |command: &mut Command| -> Result<Vec<String>> {
        let stream = Started::run(command)?.read().stop()?;
        let starts = stream.starts.iter();
        let degradations = starts.flat_map(|start| &start.degradations);
        Ok(degradations.map(|it| it.what.clone()).collect())
    };
    let sees_all = std::fs::metadata("/proc/1/ns/net").is_ok();
    for (args, expected) in [
        (
            ["--comm", "nginx,victoria-metrics"],
            "comm=victoria-metrics is in no attempt",
        ),
        (["--netns", "7"], "no process runs in netns=7 now"),
    ] {
        let said = said(&mut portwatch::command(source, &args)?)?;
        let is_said = said.iter().any(|what| what == expected);
        // Where processes hide their namespaces, portwatch must not claim that none is there.
        let can_be_said = sees_all || args[0] != "--netns";
        ensure!(is_said == can_be_said, "{said:?}");
    }
    let ended = {
        let mut child = Command::new("true").spawn()?;
        child.wait()?;
        format!("--pid={}", child.id())
    };
    let here = said(&mut portwatch::command(source, &[&ended])?)?;
    let expected = format!("no process has {} now", &ended[2..]);
    ensure!(here.contains(&expected), "{here:?}");
    Ok(())
}

/// The number is another process's there.
pub(super) fn by_pid_of_a_pid_namespace(source: Source) -> Result<()> {
    need(&["unshare"])?;
    if source::is_emulated() {
        return Err(Impossible("busybox's unshare has no --kill-child".into()).into());
    }
    let mut inside = Command::new("unshare");
    inside
        .args(["--pid", "--fork", "--kill-child", "--mount-proc"])
        .arg(source::binary()?)
        .args([
            "--json",
            "--source",
            source.name(),
            "--duration",
            "1",
            "--pid",
            "2",
        ]);
    let mut inside = Process::spawn(&mut inside)?;
    let mut stdout = String::new();
    inside.stdout()?.read_to_string(&mut stdout)?;
    inside.wait()?.expect_code(0)?;
    ensure!(
        stdout.contains("pid=2 is taken for the host's numbering"),
        "{stdout}"
    );
    Ok(())
}

/// Runs the same mixture as root and as an ordinary user. The pid given is the user's.
fn filtered(
    source: Source,
    args: impl Fn(u32) -> Vec<String>,
    matches: impl Fn(u32, &Attempt, End<'_>) -> bool,
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
    let foreign = some
        .attempts
        .iter()
        .find(|attempt| !matches(user, attempt, some.end_of(attempt)));
    ensure!(foreign.is_none(), "{args:?} let through {foreign:?}");
    let (shown, expected) = (
        keys(&some, pids, |_| true),
        keys(&all, pids, |attempt| {
            matches(user, attempt, all.end_of(attempt))
        }),
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

/// How an attempt ended, and by what error.
type End<'a> = (&'a str, Option<&'a str>);

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
    let mut keys: Vec<Key> = ours
        .map(|attempt| {
            (
                attempt.pid,
                attempt.op,
                attempt.addr,
                attempt.port,
                attempt.fd,
                attempt.ret,
            )
        })
        .collect();
    // What waits for its cause is overtaken by other threads.
    keys.sort_unstable();
    keys
}
