//! JSON Lines, as docs/EVENTS.md has them.
//!
//! The types here are the format; those in [`crate::event`] may change without it.

mod cause;
mod value;

use std::{
    borrow::Cow,
    collections::BTreeMap,
    io::{self, Write},
    net::IpAddr,
    path::Path,
    time::Duration,
};

use serde::Serialize;

use self::cause::Cause;
use crate::{
    errno::Errno,
    event::{self, End, Event, Family, LossReason, Op, Outcome, Proto, System, Time},
    users::Users,
};

/// Version of the format; field names do not change without a new one.
const VERSION: u8 = 1;

/// Writes one event as one line. `seq` numbers the attempts; other kinds have no number.
pub fn print<W: Write>(out: &mut W, seq: u64, event: &Event, users: &mut Users) -> io::Result<()> {
    match event {
        Event::Start(start) => line(out, &Start::of(start)),
        Event::Attempt(attempt) => line(out, &Attempt::of(attempt, seq, users)),
        Event::Outcome(outcome) => line(out, &OutcomeOf::of(outcome, users)),
        Event::Lost(lost) => line(out, &Lost::of(lost)),
        Event::Degraded(degraded) => line(out, &Degraded::of(degraded)),
        Event::Summary(summary) => line(out, &Summary::of(summary)),
    }
}

/// A cause by itself, as the stream has it.
pub fn cause_value(cause: &event::Cause, users: &mut Users) -> serde_json::Value {
    serde_json::to_value(Cause::of(cause, users)).expect("strings and numbers always serialise")
}

fn line<W: Write>(out: &mut W, value: &impl Serialize) -> io::Result<()> {
    serde_json::to_writer(&mut *out, value)?;
    out.write_all(b"\n")
}

#[derive(Serialize)]
struct Start<'a> {
    v: u8,
    kind: &'static str,
    #[serde(serialize_with = "value::rfc3339")]
    time: Time,
    /// As in an attempt
    #[serde(skip_serializing_if = "Option::is_none")]
    system: Option<String>,
    backend: &'a str,
    hooks: &'a [String],
    missing: Vec<Missing<'a>>,
    degradations: Vec<Degradation<'a>>,
    kernel: &'a str,
    filters: &'a [String],
    pid: u32,
}

#[derive(Serialize)]
struct Missing<'a> {
    hook: &'a str,
    why: &'a str,
    unseen: &'a str,
}

#[derive(Serialize)]
struct Degradation<'a> {
    what: &'a str,
    why: &'a str,
    remedy: Option<&'a str>,
}

impl<'a> Degradation<'a> {
    fn of(degradation: &'a event::Degradation) -> Self {
        let event::Degradation { what, why, remedy } = degradation;
        Self {
            what,
            why,
            remedy: remedy.as_deref(),
        }
    }
}

#[derive(Serialize)]
struct Degraded<'a> {
    v: u8,
    kind: &'static str,
    #[serde(serialize_with = "value::rfc3339")]
    time: Time,
    #[serde(flatten)]
    degradation: Degradation<'a>,
}

impl<'a> Degraded<'a> {
    fn of(degraded: &'a event::Degraded) -> Self {
        let event::Degraded { time, degradation } = degraded;
        Self {
            v: VERSION,
            kind: "degraded",
            time: *time,
            degradation: Degradation::of(degradation),
        }
    }
}

impl<'a> Start<'a> {
    fn of(start: &'a event::Start) -> Self {
        let event::Start {
            time,
            system,
            backend,
            hooks,
            missing,
            degradations,
            kernel,
            filters,
            pid,
        } = start;
        Self {
            v: VERSION,
            kind: "start",
            time: *time,
            system: foreign(*system),
            backend,
            hooks,
            missing: missing
                .iter()
                .map(|event::MissingHook { hook, why, unseen }| Missing { hook, why, unseen })
                .collect(),
            degradations: degradations.iter().map(Degradation::of).collect(),
            kernel,
            filters,
            pid: *pid,
        }
    }
}

#[derive(Serialize)]
struct Attempt<'a> {
    v: u8,
    kind: &'static str,
    seq: u64,
    #[serde(serialize_with = "value::rfc3339")]
    time: Time,
    /// Of others than Linux, whose names of errors `errno` has and whose numbers `ret`
    #[serde(skip_serializing_if = "Option::is_none")]
    system: Option<String>,
    op: &'static str,
    via: Option<&'static str>,
    pid: u32,
    tid: u32,
    ppid: Option<u32>,
    comm: Cow<'a, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    exe: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cmdline: Option<&'a [String]>,
    uid: u32,
    euid: Option<u32>,
    gid: Option<u32>,
    user: Option<&'a str>,
    family: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    family_number: Option<u16>,
    #[serde(serialize_with = "value::proto")]
    proto: Option<Proto>,
    addr: Option<IpAddr>,
    port: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    scope_id: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    effective_addr: Option<IpAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    effective_port: Option<u16>,
    local_addr: Option<IpAddr>,
    local_port: Option<u16>,
    fd: Option<i32>,
    ret: Option<i32>,
    #[serde(
        skip_serializing_if = "Option::is_none",
        serialize_with = "value::errno"
    )]
    errno: Option<Errno>,
    outcome: &'static str,
    latency_ns: Option<u64>,
    netns: Option<u32>,
    cgroup_id: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cgroup: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    container: Option<Container<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    unit: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ifindex: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ifname: Option<Cow<'a, str>>,
    #[serde(serialize_with = "value::options")]
    options: Option<event::Options>,
    #[serde(skip_serializing_if = "Option::is_none")]
    privileged: Option<bool>,
    #[serde(skip_serializing_if = "value::is_false")]
    repeat: bool,
    #[serde(skip_serializing_if = "value::is_false")]
    seccomp: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    stages: Option<Stages>,
    #[serde(skip_serializing_if = "Option::is_none")]
    before: Option<Before>,
    #[serde(skip_serializing_if = "value::is_false")]
    reset: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    cause: Option<Cause<'a>>,
}

fn foreign(system: System) -> Option<String> {
    (system != System::Linux).then(|| system.to_string())
}

#[derive(Serialize)]
struct Container<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    runtime: Option<&'static str>,
    id: &'a str,
}

impl<'a> Container<'a> {
    fn of(container: &'a event::Container) -> Self {
        let event::Container { runtime, id } = container;
        Self {
            runtime: runtime.map(event::Runtime::name),
            id,
        }
    }
}

/// Written for attempts that did not succeed: what each station returned, as far as it was seen.
#[derive(Serialize)]
struct Stages {
    #[serde(skip_serializing_if = "Option::is_none")]
    lsm: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    lsm_name: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cgroup: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    operation: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    get_port: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    connect: Option<i32>,
    #[serde(skip_serializing_if = "value::is_false")]
    syn_sent: bool,
}

impl Stages {
    fn of(attempt: &event::Attempt) -> Option<Self> {
        let stages @ event::Stages {
            lsm,
            lsm_name,
            cgroup,
            operation,
            get_port,
            connect,
            syn_sent,
        } = attempt.stages;
        let failed = attempt.outcome() != Outcome::Ok && stages != event::Stages::default();
        failed.then_some(Self {
            lsm,
            lsm_name: lsm_name.map(event::Lsm::name),
            cgroup,
            operation,
            get_port,
            connect,
            syn_sent,
        })
    }
}

/// Written for attempts that did not succeed, or that took a privilege to: what the kernel
/// decided by.
#[derive(Serialize)]
struct Before {
    #[serde(skip_serializing_if = "Option::is_none")]
    state: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    socket_state: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    port: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    uid: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    unprivileged_port_start: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    net_user_ns: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    net_user_ns_level: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    net_user_ns_owner: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_ns: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_ns_level: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "value::hex")]
    cap_effective: Option<u64>,
}

impl Before {
    fn of(attempt: &event::Attempt) -> Option<Self> {
        let before @ event::Before {
            socket,
            net_user_ns,
            net_user_ns_level,
            net_user_ns_owner,
            unprivileged_port_start,
            credentials,
        } = attempt.before;
        let is_ok = attempt.outcome() == Outcome::Ok;
        if is_ok && credentials.is_none() || before == event::Before::default() {
            return None;
        }
        let socket = socket.filter(|_| !is_ok);
        Some(Self {
            state: socket.map(|socket| socket.state),
            socket_state: socket.map(|socket| socket.socket_state),
            port: socket.map(|socket| socket.port),
            uid: socket.and_then(|socket| socket.uid),
            unprivileged_port_start,
            net_user_ns,
            net_user_ns_level,
            net_user_ns_owner,
            user_ns: credentials.map(|held| held.user_ns),
            user_ns_level: credentials.and_then(|held| held.level),
            cap_effective: credentials.map(|held| held.cap_effective),
        })
    }
}

impl<'a> Attempt<'a> {
    fn of(attempt: &'a event::Attempt, seq: u64, users: &'a mut Users) -> Self {
        let requested = attempt.requested;
        let cause = attempt.cause.as_deref();
        let cause = cause.map(|cause| Cause::of(cause, users));
        let process = attempt.process.as_deref();
        let cgroup = attempt.cgroup.as_deref();
        Self {
            v: VERSION,
            kind: "attempt",
            system: foreign(attempt.system),
            seq,
            time: attempt.time,
            op: attempt.op.name(),
            via: attempt.via.map(event::Via::name),
            pid: attempt.tgid,
            tid: attempt.tid,
            ppid: attempt.ppid,
            comm: String::from_utf8_lossy(attempt.comm.as_bytes()),
            exe: process
                .and_then(|process| process.exe.as_deref())
                .map(Path::to_string_lossy),
            cmdline: process.and_then(|process| process.cmdline.as_deref()),
            uid: attempt.uid,
            euid: attempt.euid,
            gid: attempt.gid,
            user: attempt.euid.and_then(|uid| users.name(uid)),
            family: attempt.family.map(Family::name),
            family_number: attempt.family.and_then(other_number),
            proto: attempt.proto,
            addr: requested.map(|asked| asked.ip),
            port: requested.map(|asked| asked.port),
            scope_id: requested.map(|asked| asked.scope_id).filter(|&id| id != 0),
            effective_addr: attempt.effective.map(|end| end.ip),
            effective_port: attempt.effective.map(|end| end.port),
            local_addr: attempt.local.map(|end| end.ip),
            local_port: attempt.local.and_then(|end| end.port),
            fd: attempt.fd,
            ret: attempt.ret,
            errno: attempt.errno(),
            outcome: attempt.outcome().name(),
            latency_ns: attempt.latency.and_then(nanoseconds),
            netns: attempt.netns,
            cgroup_id: attempt.cgroup_id,
            cgroup: cgroup.map(|cgroup| cgroup.path.as_str()),
            container: cgroup
                .and_then(|cgroup| cgroup.container.as_ref())
                .map(Container::of),
            unit: cgroup.and_then(|cgroup| cgroup.unit.as_deref()),
            ifindex: attempt.ifindex,
            ifname: attempt.ifname.as_ref().map(text),
            options: attempt.options,
            privileged: attempt.privileged,
            repeat: attempt.repeat,
            seccomp: attempt.seccomp,
            stages: Stages::of(attempt),
            before: Before::of(attempt),
            reset: attempt.reset,
            cause,
        }
    }
}

fn nanoseconds(time: Duration) -> Option<u64> {
    u64::try_from(time.as_nanos()).ok()
}

fn text(name: &event::IfName) -> Cow<'_, str> {
    String::from_utf8_lossy(name.as_bytes())
}

const fn other_number(family: Family) -> Option<u16> {
    match family {
        Family::Other(number) => Some(number),
        Family::Ipv4 | Family::Ipv6 | Family::Unspec => None,
    }
}

#[derive(Serialize)]
struct OutcomeOf<'a> {
    v: u8,
    kind: &'static str,
    /// Of the attempt
    seq: u64,
    #[serde(serialize_with = "value::rfc3339")]
    time: Time,
    ret: Option<i32>,
    #[serde(
        skip_serializing_if = "Option::is_none",
        serialize_with = "value::errno"
    )]
    errno: Option<Errno>,
    outcome: &'static str,
    latency_ns: u64,
    #[serde(skip_serializing_if = "value::is_false")]
    reset: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    cause: Option<Cause<'a>>,
}

impl<'a> OutcomeOf<'a> {
    fn of(outcome: &'a event::OutcomeOf, users: &mut Users) -> Self {
        let event::OutcomeOf {
            seq,
            attempt,
            ended,
            cause,
        } = outcome;
        let event::Ended {
            id: _,
            time,
            latency,
            end,
            reset,
        } = *ended;
        let (ret, outcome) = match end {
            End::Connected => (Some(0), "ok"),
            End::Failed(ret) => (Some(ret), "failed"),
            End::Abandoned => (None, "abandoned"),
        };
        Self {
            v: VERSION,
            kind: "outcome",
            seq: *seq,
            time,
            ret,
            errno: ret.and_then(|ret| attempt.system.errno(ret)),
            outcome,
            latency_ns: u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX),
            reset,
            cause: cause.as_deref().map(|cause| Cause::of(cause, users)),
        }
    }
}

#[derive(Serialize)]
struct Lost {
    v: u8,
    kind: &'static str,
    #[serde(serialize_with = "value::rfc3339")]
    time: Time,
    count: u64,
    reason: &'static str,
    r#where: String,
}

impl Lost {
    fn of(lost: &event::Lost) -> Self {
        let event::Lost {
            time,
            count,
            reason,
            place,
        } = lost;
        Self {
            v: VERSION,
            kind: "lost",
            time: *time,
            count: *count,
            reason: reason.name(),
            r#where: place.to_string(),
        }
    }
}

#[derive(Serialize)]
struct Summary {
    v: u8,
    kind: &'static str,
    #[serde(serialize_with = "value::rfc3339")]
    time: Time,
    run_time_ns: u64,
    /// By operation and outcome, zeros included
    attempts: BTreeMap<&'static str, BTreeMap<&'static str, u64>>,
    /// Calls that were no new attempts: a connect on a socket that was connecting
    repeats: u64,
    errnos: BTreeMap<String, u64>,
    /// In total
    lost: u64,
    /// By reason, as far as they occurred
    losses: BTreeMap<&'static str, u64>,
}

impl Summary {
    fn of(summary: &event::Summary) -> Self {
        let event::Summary {
            time,
            run_time,
            attempts,
            repeats,
            errnos,
            lost,
        } = summary;
        let by_outcome = |op| {
            [Outcome::Ok, Outcome::Failed, Outcome::Pending].map(|outcome| {
                (
                    outcome.name(),
                    attempts.get(&(op, outcome)).copied().unwrap_or(0),
                )
            })
        };
        Self {
            v: VERSION,
            kind: "summary",
            time: *time,
            run_time_ns: u64::try_from(run_time.as_nanos()).unwrap_or(u64::MAX),
            attempts: [Op::Bind, Op::Connect, Op::Listen]
                .map(|op| (op.name(), by_outcome(op).into()))
                .into(),
            repeats: *repeats,
            errnos: errnos
                .iter()
                .map(|(errno, &count)| (errno.to_string(), count))
                .collect(),
            lost: lost.values().sum(),
            losses: lost
                .iter()
                .map(|(&reason, &count)| (LossReason::name(reason), count))
                .collect(),
        }
    }
}

#[cfg(test)]
mod tests;
