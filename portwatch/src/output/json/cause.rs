//! Causes and holders, as docs/EVENTS.md has them.

use std::{borrow::Cow, net::IpAddr, path::Path};

use serde::Serialize;

use super::{Container, value};
use crate::{
    event::{self, Time},
    users::Users,
};

#[derive(Serialize)]
pub(super) struct Cause<'a> {
    code: &'static str,
    text: &'a str,
    fix: Vec<Fix<'a>>,
    confidence: &'static str,
    evidence: &'a [String],
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    next: &'a [String],
    #[serde(skip_serializing_if = "Vec::is_empty")]
    holder: Vec<Holder<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    holder_unseen: Option<&'static str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    candidates: Vec<Candidate<'a>>,
}

#[derive(Serialize)]
struct Candidate<'a> {
    code: &'static str,
    text: &'a str,
}

impl<'a> Cause<'a> {
    pub(super) fn of(cause: &'a event::Cause, users: &mut Users) -> Self {
        let event::Cause {
            code,
            text,
            fixes,
            confidence,
            evidence,
            next,
            holders,
            holders_unseen,
            candidates,
        } = cause;
        let candidate = |candidate: &'a event::Candidate| Candidate {
            code: candidate.code.name(),
            text: &candidate.text,
        };
        Self {
            code: code.name(),
            text,
            fix: fixes.iter().map(Fix::of).collect(),
            confidence: confidence.name(),
            evidence,
            next,
            holder: holders
                .iter()
                .map(|holder| Holder::of(holder, users))
                .collect(),
            holder_unseen: holders_unseen.map(event::Unseen::name),
            candidates: candidates.iter().map(candidate).collect(),
        }
    }
}

#[derive(Serialize)]
struct Fix<'a> {
    what: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    command: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    opens: Option<&'a str>,
}

impl<'a> Fix<'a> {
    fn of(fix: &'a event::Fix) -> Self {
        let event::Fix {
            what,
            command,
            opens,
        } = fix;
        Self {
            what,
            command: command.as_deref(),
            opens: opens.as_deref(),
        }
    }
}

#[derive(Serialize)]
struct Holder<'a> {
    pid: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fd: Option<i32>,
    comm: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    exe: Option<Cow<'a, str>>,
    uid: Option<u32>,
    user: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    container: Option<Container<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    unit: Option<&'a str>,
    state: &'static str,
    addr: IpAddr,
    port: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    peer_addr: Option<IpAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    peer_port: Option<u16>,
    inode: Option<u64>,
    #[serde(serialize_with = "value::maybe_rfc3339")]
    since: Option<Time>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bound_by_pid: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bound_by_comm: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    process: Option<&'static str>,
    kernel: bool,
    reuseaddr: Option<bool>,
    reuseport: Option<bool>,
    v6only: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ifindex: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    waiting: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    backlog: Option<u32>,
}

impl<'a> Holder<'a> {
    fn of(holder: &'a event::Holder, users: &mut Users) -> Self {
        let event::Holder {
            process,
            uid,
            state,
            ip,
            port,
            peer,
            inode,
            since,
            bound_by,
            kernel,
            reuseaddr,
            reuseport,
            v6only,
            ifindex,
            queue,
        } = holder;
        let lookup = process.as_ref();
        let process = lookup.found();
        let cgroup = process.and_then(|process| process.cgroup.as_deref());
        Self {
            pid: process.map(|process| process.tgid),
            fd: process.and_then(|process| process.fd),
            comm: process.map(|process| String::from_utf8_lossy(process.comm.as_bytes())),
            exe: process
                .and_then(|process| process.exe.as_deref())
                .map(Path::to_string_lossy),
            uid: *uid,
            user: uid.and_then(|uid| users.name(uid)).map(ToOwned::to_owned),
            container: cgroup
                .and_then(|cgroup| cgroup.container.as_ref())
                .map(Container::of),
            unit: cgroup.and_then(|cgroup| cgroup.unit.as_deref()),
            state: state.name(),
            addr: *ip,
            port: *port,
            peer_addr: peer.map(|(ip, _)| ip),
            peer_port: peer.map(|(_, port)| port),
            inode: *inode,
            since: *since,
            bound_by_pid: bound_by.map(|binder| binder.tgid),
            bound_by_comm: bound_by
                .as_ref()
                .map(|binder| String::from_utf8_lossy(binder.comm.as_bytes())),
            process: lookup.word(),
            kernel: *kernel,
            reuseaddr: *reuseaddr,
            reuseport: *reuseport,
            v6only: *v6only,
            ifindex: *ifindex,
            waiting: queue.map(|queue| queue.waiting),
            backlog: queue.map(|queue| queue.backlog),
        }
    }
}
