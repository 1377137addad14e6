//! Compares what was reported with what was done: every attempt once, every field as it was.

use std::fmt::Write as _;

use anyhow::{Result, bail, ensure};

use super::{
    driver::Done,
    knowledge::{Field, Knows, knows, sees},
    record::Attempt,
    source::Source,
    stream::Stream,
    sys, table,
    truth::{Caller, Op, Socket, Truth},
};

/// How far portwatch's clock may be from the workload's, in nanoseconds.
const CLOCK_SLACK: i64 = 10_000_000;

/// Exactly the attempts of the workload were reported, in their order.
///
/// Between threads there is no order; each thread's attempts are compared by themselves.
pub(crate) fn same_attempts(source: Source, done: &Done, stream: &Stream) -> Result<()> {
    let mut truths: Vec<&Truth> = done.truths.iter().collect();
    truths.retain(|truth| sees(stream, truth));
    let mut reported: Vec<&Attempt> = stream.of(done.pid).collect();
    truths.sort_by_key(|truth| truth.caller.tid);
    reported.sort_by_key(|attempt| attempt.tid);
    if truths.len() != reported.len() {
        bail!("{}", missing_or_more(&truths, &reported, stream));
    }
    same_fields(source, &truths, &reported)
}

/// Those that were written down were reported, in their order; there may be more.
pub(crate) fn first_attempts(source: Source, done: &Done, stream: &Stream) -> Result<()> {
    let truths: Vec<&Truth> = done.truths.iter().collect();
    let reported: Vec<&Attempt> = stream.of(done.pid).collect();
    if truths.len() > reported.len() {
        bail!("{}", missing_or_more(&truths, &reported, stream));
    }
    same_fields(source, &truths, &reported)
}

fn same_fields(source: Source, truths: &[&Truth], reported: &[&Attempt]) -> Result<()> {
    let mut differences = String::new();
    for (truth, attempt) in truths.iter().zip(reported) {
        table::ensure_it_has(truth)?;
        difference(source, truth, attempt, &mut differences);
    }
    ensure!(
        differences.is_empty(),
        "reported is not what was done:\n{differences}"
    );
    Ok(())
}

fn missing_or_more(truths: &[&Truth], reported: &[&Attempt], stream: &Stream) -> String {
    let mut text = format!(
        "{} attempts were made, {} reported, {} lost",
        truths.len(),
        reported.len(),
        stream.lost()
    );
    for lost in &stream.losses {
        let _ = write!(text, "\n  lost:     {lost:?}");
    }
    for truth in truths {
        let _ = write!(text, "\n  made:     {}", made(truth));
    }
    for attempt in reported {
        let _ = write!(text, "\n  reported: {attempt}");
    }
    text
}

fn made(truth: &Truth) -> String {
    let Truth {
        case,
        op,
        addr,
        port,
        ret,
        fd,
        via,
        caller,
        ..
    } = truth;
    format!(
        "{op} by {via} fd {fd:?} to {addr:?} port {port:?} by {} returned {ret:?} ({case})",
        caller.tid
    )
}

/// Appends what is different, if anything is.
fn difference(source: Source, truth: &Truth, attempt: &Attempt, text: &mut String) {
    let mut wrong: Vec<String> = rows(truth, attempt)
        .into_iter()
        .filter(|row| !row.is_right(source, truth))
        .map(|row| format!("{:?} is {:?}, was {:?}", row.field, row.reported, row.truth))
        .collect();
    wrong.extend(wrong_time(truth, attempt));
    wrong.extend(wrong_latency(source, truth, attempt));
    if !wrong.is_empty() {
        let _ = writeln!(text, "  {}", made(truth));
        for line in wrong {
            let _ = writeln!(text, "    {line}");
        }
    }
}

/// One field, both sides as text.
struct Row {
    field: Field,
    truth: Option<String>,
    reported: Option<String>,
}

impl Row {
    fn new<T: ToString, R: ToString>(field: Field, truth: Option<T>, reported: Option<R>) -> Self {
        Self {
            field,
            truth: truth.map(|value| value.to_string()),
            reported: reported.map(|value| value.to_string()),
        }
    }

    fn is_right(&self, source: Source, truth: &Truth) -> bool {
        if knows(source, truth, self.field) == Knows::Never {
            return self.reported.is_none();
        }
        self.reported == self.truth
            || (self.reported.is_none() && self.may_be_null(source, truth))
            || self.was_passing(truth)
    }

    /// A connect that failed had an end while it lasted, which is as good as what it left.
    fn was_passing(&self, truth: &Truth) -> bool {
        let Some(socket) = &truth.socket else {
            return false;
        };
        let is_lost = match self.field {
            Field::LocalAddr => socket.local_addr.is_unspecified(),
            Field::LocalPort => socket.local_port == Some(0),
            _ => false,
        };
        is_lost && truth.op == Op::Connect && truth.ret != Some(0)
    }

    fn may_be_null(&self, source: Source, truth: &Truth) -> bool {
        let knowledge = match truth.socket.as_ref() {
            Some(socket) if self.is_out_of_reach(socket) => Knows::Perhaps,
            _ => knows(source, truth, self.field),
        };
        match knowledge {
            Knows::Always => false,
            Knows::WhileItLasts => !truth.settled,
            Knows::Perhaps | Knows::Never => true,
        }
    }

    /// Whether the kernel itself did not get that far, or there is nothing to know.
    fn is_out_of_reach(&self, socket: &Socket) -> bool {
        match self.field {
            Field::LocalAddr | Field::LocalPort => !socket.reached || !socket.is_bound(),
            Field::Proto | Field::Inode | Field::Netns | Field::Options | Field::Privileged => {
                !socket.reached
            }
            _ => false,
        }
    }
}

fn rows(truth: &Truth, attempt: &Attempt) -> Vec<Row> {
    let mut rows = caller_rows(&truth.caller, attempt);
    rows.extend(call_rows(truth, attempt));
    rows.extend(socket_rows(truth, attempt));
    rows.extend(verdict_rows(truth, attempt));
    rows
}

fn caller_rows(caller: &Caller, attempt: &Attempt) -> Vec<Row> {
    let user = sys::user_name(caller.euid);
    vec![
        Row::new(Field::Tid, Some(caller.tid), Some(attempt.tid)),
        Row::new(Field::Ppid, Some(caller.ppid), attempt.ppid),
        Row::new(Field::Comm, Some(&caller.comm), Some(&attempt.comm)),
        Row::new(Field::Uid, Some(caller.uid), Some(attempt.uid)),
        Row::new(Field::Euid, Some(caller.euid), attempt.euid),
        Row::new(Field::Gid, Some(caller.gid), Some(attempt.gid)),
        Row::new(Field::User, user, attempt.user.as_ref()),
    ]
}

fn call_rows(truth: &Truth, attempt: &Attempt) -> Vec<Row> {
    let family = truth.family.as_ref();
    let number = truth.family_number;
    let errno = truth.ret.and_then(errno_name);
    vec![
        Row::new(Field::Op, Some(truth.op), Some(attempt.op)),
        Row::new(Field::Via, Some(&truth.via), attempt.via.as_ref()),
        Row::new(Field::Family, family, attempt.family.as_ref()),
        Row::new(Field::FamilyNumber, number, attempt.family_number),
        Row::new(Field::Addr, truth.addr, attempt.addr),
        Row::new(Field::Port, truth.port, attempt.port),
        Row::new(Field::ScopeId, truth.scope_id, attempt.scope_id),
        Row::new(Field::Fd, truth.fd, attempt.fd),
        Row::new(Field::Ret, truth.ret, attempt.ret),
        Row::new(Field::Errno, errno, attempt.errno.as_ref()),
    ]
}

/// What stations on the way said, or changed. Not every workload knows the stations.
fn verdict_rows(truth: &Truth, attempt: &Attempt) -> Vec<Row> {
    let changed = truth.effective;
    let before = attempt.before();
    let decided_by = truth.before.clone().or_else(|| before.clone());
    let (addr, port) = (attempt.effective_addr, attempt.effective_port);
    let mut rows = vec![
        Row::new(Field::EffectiveAddr, changed.map(|it| it.ip()), addr),
        Row::new(Field::EffectivePort, changed.map(|it| it.port()), port),
        Row::new(Field::Privileged, truth.privileged, attempt.privileged),
        Row::new(Field::Repeat, said(truth.repeat), said(attempt.repeat)),
        Row::new(Field::Seccomp, said(truth.seccomp), said(attempt.seccomp)),
        Row::new(Field::Before, decided_by, before),
    ];
    rows.extend(station_rows(truth, attempt));
    rows
}

/// What each station said, word by word.
fn station_rows(truth: &Truth, attempt: &Attempt) -> Vec<Row> {
    let reported = attempt.stages().unwrap_or_default();
    let stages = truth.stages.as_ref().unwrap_or(&reported);
    let said = |stages: &str, station: &str| {
        let mut words = stages.split(", ");
        words
            .find(|word| word.starts_with(station))
            .map(str::to_owned)
    };
    [
        (Field::Lsm, "lsm"),
        (Field::Cgroup, "cgroup"),
        (Field::Operation, "operation"),
        (Field::GetPort, "get_port"),
        (Field::TcpConnect, "connect"),
        (Field::SynSent, "syn sent"),
    ]
    .map(|(field, station)| Row::new(field, said(stages, station), said(&reported, station)))
    .into()
}

/// What is not said is either not so or not known.
fn said(is_so: bool) -> Option<&'static str> {
    is_so.then_some("true")
}

fn socket_rows(truth: &Truth, attempt: &Attempt) -> Vec<Row> {
    let socket = truth.socket.as_ref();
    let proto = socket.map(|socket| &socket.proto);
    let addr = socket.map(|socket| socket.local_addr);
    let port = socket.and_then(|socket| socket.local_port);
    let inode = socket.and_then(|socket| socket.inode);
    let netns = socket.map(|socket| socket.netns);
    let options = socket.map(|socket| listed(truth.op, &socket.options));
    let reported = attempt.options.as_ref();
    let reported = reported.map(|options| listed(truth.op, options));
    vec![
        Row::new(Field::Proto, proto, attempt.proto.as_ref()),
        Row::new(Field::LocalAddr, addr, attempt.local_addr),
        Row::new(Field::LocalPort, port, attempt.local_port),
        Row::new(Field::Inode, inode, attempt.inode),
        Row::new(Field::Netns, netns, attempt.netns),
        Row::new(Field::Options, options, reported),
    ]
}

/// In one order. `bind()` has no flags, so it says nothing of waiting.
fn listed(op: Op, options: &[String]) -> String {
    let mut options: Vec<&str> = options.iter().map(String::as_str).collect();
    options.retain(|&option| op == Op::Connect || option != "nonblock");
    options.sort_unstable();
    options.join(" ")
}

fn wrong_time(truth: &Truth, attempt: &Attempt) -> Option<String> {
    let Truth { began, ended, .. } = truth;
    let time = i64::try_from(attempt.time.0.as_nanosecond()).unwrap_or(i64::MAX);
    let is_right = (began - CLOCK_SLACK..=ended + CLOCK_SLACK).contains(&time);
    (!is_right).then(|| format!("Time is {time}, was between {began} and {ended}"))
}

fn wrong_latency(source: Source, truth: &Truth, attempt: &Attempt) -> Option<String> {
    let most = (truth.ended - truth.began + CLOCK_SLACK).cast_unsigned();
    let is_right = match attempt.latency_ns {
        Some(latency) => (1..=most).contains(&latency),
        None => knows(source, truth, Field::Latency) != Knows::Always,
    };
    (!is_right).then(|| format!("Latency is {:?}, was at most {most}", attempt.latency_ns))
}

/// The names of the errors that occur in these tests, include/uapi/asm-generic/errno*.h.
fn errno_name(ret: i32) -> Option<String> {
    let name = match -ret {
        0 => return None,
        libc::EACCES => "EACCES",
        libc::EALREADY => "EALREADY",
        libc::EADDRINUSE => "EADDRINUSE",
        libc::EADDRNOTAVAIL => "EADDRNOTAVAIL",
        libc::EAFNOSUPPORT => "EAFNOSUPPORT",
        libc::EBADF => "EBADF",
        libc::ECONNREFUSED => "ECONNREFUSED",
        libc::EFAULT => "EFAULT",
        libc::EINPROGRESS => "EINPROGRESS",
        libc::EINVAL => "EINVAL",
        libc::EINTR => "EINTR",
        libc::EISCONN => "EISCONN",
        libc::ENETUNREACH => "ENETUNREACH",
        libc::ENOTSOCK => "ENOTSOCK",
        libc::EPERM => "EPERM",
        other => return Some(format!("error {other}, which no test provokes")),
    };
    Some(name.to_owned())
}
