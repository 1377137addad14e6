//! Attempts.

use std::{io, path::Path, time::Duration};

use serde::Serialize;

use super::{
    Container, VERSION,
    cause::Cause,
    foreign,
    line::{Line, Put, fields},
    value,
};
use crate::{
    errno::Errno,
    event::{self, Family, Outcome, Proto},
    users::Users,
};

/// Writes an attempt, field by field as docs/EVENTS.md has them.
pub(super) fn print(
    out: &mut Vec<u8>,
    attempt: &event::Attempt,
    seq: u64,
    users: &mut Users,
) -> io::Result<()> {
    let asked = attempt.requested;
    let process = attempt.process.as_deref();
    let exe = process.and_then(|process| process.exe.as_deref());
    let cgroup = attempt.cgroup.as_deref();
    let container = cgroup.and_then(|cgroup| cgroup.container.as_ref());
    let mut line = Line::begin(out, VERSION);
    fields! { line:
        "kind" put "attempt";
        "seq" put seq;
        "time" put attempt.time;
        // Of others than Linux, whose names of errors `errno` has and whose numbers `ret`
        "system" known foreign(attempt.system).as_deref();
        "op" put attempt.op.name();
        "via" put attempt.via.map(event::Via::name);
        "pid" put attempt.tgid;
        "tid" put attempt.tid;
        "ppid" put attempt.ppid;
        "comm" put String::from_utf8_lossy(attempt.comm.as_bytes());
        "exe" known exe.map(Path::to_string_lossy);
        "cmdline" known process.and_then(|process| process.cmdline.as_deref());
        "uid" put attempt.uid;
        "euid" put attempt.euid;
        "gid" put attempt.gid;
        "user" put attempt.euid.and_then(|uid| users.name(uid));
        "family" put attempt.family.map(Family::name);
        "family_number" known attempt.family.and_then(other_number);
        "proto" put attempt.proto.map(Named);
        "addr" put asked.map(|asked| asked.ip);
        "port" put asked.map(|asked| asked.port);
        "scope_id" known asked.map(|asked| asked.scope_id).filter(|&id| id != 0);
        "effective_addr" known attempt.effective.map(|end| end.ip);
        "effective_port" known attempt.effective.map(|end| end.port);
        "local_addr" put attempt.local.map(|end| end.ip);
        "local_port" put attempt.local.and_then(|end| end.port);
        "fd" put attempt.fd;
        "ret" put attempt.ret;
        "errno" known attempt.errno();
        "outcome" put attempt.outcome().name();
        "latency_ns" put attempt.latency.and_then(nanoseconds);
        "netns" put attempt.netns;
        "cgroup_id" put attempt.cgroup_id;
        "cgroup" known cgroup.map(|cgroup| cgroup.path.as_str());
    }
    line.object(",\"container\":", container.map(Container::of))?;
    fields! { line:
        "unit" known cgroup.and_then(|cgroup| cgroup.unit.as_deref());
        "ifindex" known attempt.ifindex;
        "ifname" known attempt.ifname.as_ref().map(|name| String::from_utf8_lossy(name.as_bytes()));
        "options" put attempt.options;
        "privileged" known attempt.privileged;
        "repeat" flag attempt.repeat;
        "seccomp" flag attempt.seccomp;
    }
    line.object(",\"stages\":", Stages::of(attempt))?;
    line.object(",\"before\":", Before::of(attempt))?;
    line.flag(",\"reset\":", attempt.reset);
    let cause = attempt.cause.as_deref();
    line.object(",\"cause\":", cause.map(|cause| Cause::of(cause, users)))?;
    line.end();
    Ok(())
}

/// A protocol by its name, or, of one without a name, by its number: `proto-99`.
struct Named(Proto);

impl Put for Named {
    fn put(self, out: &mut Vec<u8>) {
        match (self.0.name(), self.0) {
            (Some(name), _) => name.put(out),
            (None, Proto::Ip(number)) => format!("proto-{number}").as_str().put(out),
            (None, Proto::Raw) => None::<&str>.put(out),
        }
    }
}

impl Put for Errno {
    fn put(self, out: &mut Vec<u8>) {
        match self.name() {
            Some(name) => name.put(out),
            None => self.to_string().as_str().put(out),
        }
    }
}

fn nanoseconds(time: Duration) -> Option<u64> {
    u64::try_from(time.as_nanos()).ok()
}

const fn other_number(family: Family) -> Option<u16> {
    match family {
        Family::Other(number) => Some(number),
        Family::Ipv4 | Family::Ipv6 | Family::Unspec => None,
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
