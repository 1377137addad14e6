//! The lines of the stream, one type for each kind: docs/EVENTS.md, and no field else.

use std::{collections::BTreeMap, fmt, net::IpAddr};

use anyhow::{Result, ensure};
use jiff::Timestamp;
use serde::Deserialize;

use super::truth::Op;

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
    pub(crate) ring_bytes: u64,
    pub(crate) hooks: Vec<String>,
    missing: Vec<Missing>,
    pub(crate) degradations: Vec<Degradation>,
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
pub(crate) struct Degradation {
    pub(crate) what: String,
    why: String,
    pub(crate) remedy: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(
    dead_code,
    reason = "fields are read to see that they are there, and of that type"
)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each tells of something else"
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
    pub(crate) exe: Option<String>,
    cmdline: Option<Vec<String>>,
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
    pub(crate) inode: Option<u64>,
    pub(crate) ret: Option<i32>,
    pub(crate) errno: Option<String>,
    pub(crate) outcome: String,
    pub(crate) latency_ns: Option<u64>,
    pub(crate) netns: Option<u64>,
    pub(crate) cgroup_id: Option<u64>,
    pub(crate) cgroup: Option<String>,
    container: Option<Container>,
    unit: Option<String>,
    ifindex: Option<u32>,
    ifname: Option<String>,
    pub(crate) options: Option<Vec<String>>,
    pub(crate) effective_addr: Option<IpAddr>,
    pub(crate) effective_port: Option<u16>,
    pub(crate) privileged: Option<bool>,
    #[serde(default)]
    pub(crate) repeat: bool,
    #[serde(default)]
    pub(crate) deferred: bool,
    #[serde(default)]
    pub(crate) seccomp: bool,
    pub(crate) stages: Option<Stages>,
    before: Option<Before>,
    #[serde(default)]
    pub(crate) reset: bool,
    pub(crate) cause: Option<Cause>,
}

/// Why it ended as it did.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(
    dead_code,
    reason = "fields are read to see that they are there, and of that type"
)]
pub(crate) struct Cause {
    pub(crate) code: String,
    pub(crate) text: String,
    pub(crate) fix: Vec<Fix>,
    pub(crate) confidence: String,
    pub(crate) evidence: Vec<String>,
    #[serde(default)]
    pub(crate) next: Vec<String>,
    #[serde(default)]
    pub(crate) holder: Vec<Holder>,
    pub(crate) holder_unseen: Option<String>,
    #[serde(default)]
    candidates: Vec<Candidate>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(
    dead_code,
    reason = "fields are read to see that they are there, and of that type"
)]
struct Candidate {
    code: String,
    text: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(
    dead_code,
    reason = "fields are read to see that they are there, and of that type"
)]
pub(crate) struct Fix {
    what: String,
    pub(crate) command: Option<String>,
    opens: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(
    dead_code,
    reason = "fields are read to see that they are there, and of that type"
)]
pub(crate) struct Holder {
    pub(crate) pid: Option<u32>,
    pub(crate) fd: Option<i32>,
    pub(crate) comm: Option<String>,
    pub(crate) exe: Option<String>,
    pub(crate) process: Option<String>,
    pub(crate) uid: Option<u32>,
    user: Option<String>,
    container: Option<Container>,
    pub(crate) unit: Option<String>,
    pub(crate) state: String,
    pub(crate) addr: IpAddr,
    pub(crate) port: u16,
    peer_addr: Option<IpAddr>,
    peer_port: Option<u16>,
    pub(crate) inode: Option<u64>,
    pub(crate) since: Option<Time>,
    pub(crate) bound_by_pid: Option<u32>,
    pub(crate) bound_by_comm: Option<String>,
    pub(crate) kernel: bool,
    pub(crate) reuseaddr: Option<bool>,
    pub(crate) reuseport: Option<bool>,
    v6only: Option<bool>,
    ifindex: Option<u32>,
    pub(crate) waiting: Option<u32>,
    pub(crate) backlog: Option<u32>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(
    dead_code,
    reason = "fields are read to see that they are there, and of that type"
)]
struct Container {
    runtime: Option<String>,
    id: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Stages {
    lsm: Option<i32>,
    pub(crate) lsm_name: Option<String>,
    cgroup: Option<i32>,
    operation: Option<i32>,
    get_port: Option<i32>,
    connect: Option<i32>,
    #[serde(default)]
    pub(crate) syn_sent: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Before {
    state: Option<u8>,
    socket_state: Option<u8>,
    port: Option<u16>,
    uid: Option<u32>,
    unprivileged_port_start: Option<u32>,
    net_user_ns: Option<u32>,
    net_user_ns_level: Option<u32>,
    net_user_ns_owner: Option<u32>,
    user_ns: Option<u32>,
    user_ns_level: Option<u32>,
    cap_effective: Option<String>,
}

/// How a connect ended that was pending.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(
    dead_code,
    reason = "fields are read to see that they are there, and of that type"
)]
pub(crate) struct Ending {
    v: u64,
    kind: String,
    /// Of the attempt
    pub(crate) seq: u64,
    time: Time,
    op: Op,
    via: Option<String>,
    pub(crate) pid: u32,
    tid: u32,
    ppid: Option<u32>,
    comm: String,
    exe: Option<String>,
    cmdline: Option<Vec<String>>,
    uid: u32,
    euid: Option<u32>,
    gid: u32,
    user: Option<String>,
    family: Option<String>,
    family_number: Option<u16>,
    proto: Option<String>,
    addr: Option<IpAddr>,
    port: Option<u16>,
    scope_id: Option<u32>,
    effective_addr: Option<IpAddr>,
    effective_port: Option<u16>,
    local_addr: Option<IpAddr>,
    local_port: Option<u16>,
    fd: Option<i32>,
    inode: Option<u64>,
    pub(crate) ret: Option<i32>,
    pub(crate) errno: Option<String>,
    pub(crate) outcome: String,
    latency_ns: u64,
    netns: Option<u64>,
    cgroup_id: Option<u64>,
    cgroup: Option<String>,
    container: Option<Container>,
    unit: Option<String>,
    ifindex: Option<u32>,
    ifname: Option<String>,
    options: Option<Vec<String>>,
    privileged: Option<bool>,
    #[serde(default)]
    pub(crate) reset: bool,
    pub(crate) cause: Option<Cause>,
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
    pub(crate) r#where: String,
}

/// What no longer works.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(
    dead_code,
    reason = "fields are read to see that they are there, and of that type"
)]
pub(crate) struct Degraded {
    v: u64,
    kind: String,
    time: Time,
    what: String,
    why: String,
    remedy: Option<String>,
}

pub(crate) type Counts = BTreeMap<String, u64>;

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
    pub(crate) attempts: BTreeMap<String, Counts>,
    pub(crate) pending: Counts,
    pub(crate) repeats: u64,
    pub(crate) errnos: Counts,
    pub(crate) lost: u64,
    pub(crate) losses: Counts,
}

impl Attempt {
    /// What must be true of every attempt by itself.
    pub(crate) fn check(&self) -> Result<()> {
        let outcome = match self.ret {
            Some(0) if self.deferred => "pending",
            Some(0) => "ok",
            Some(ret) if ret == -libc::EINPROGRESS => "pending",
            Some(ret) if ret == -libc::EINTR && self.op == Op::Connect => "pending",
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
        let is_ok = self.outcome == "ok";
        let took_privilege = self.privileged == Some(true) && self.euid != Some(0);
        ensure!(
            !is_ok || (self.stages.is_none() && (self.before.is_none() || took_privilege)),
            "an attempt that is ok explains itself: {:?}, {:?}",
            self.stages,
            self.before
        );
        ensure!(
            self.family_number.is_some() == (self.family.as_deref() == Some("other")),
            "family_number {:?} with family {:?}",
            self.family_number,
            self.family
        );
        Ok(())
    }
}

impl Attempt {
    /// The stations that returned something, and what.
    pub(crate) fn stages(&self) -> Option<String> {
        let stages = self.stages.as_ref()?;
        let Stages {
            lsm,
            lsm_name,
            cgroup,
            operation,
            get_port,
            connect,
            syn_sent,
        } = stages;
        let by = lsm_name.as_ref().map(|name| format!(" by {name}"));
        let returned = [
            (String::from("cgroup "), cgroup),
            (String::from("operation "), operation),
            (String::from("get_port "), get_port),
            (String::from("connect "), connect),
        ];
        let returned = returned
            .into_iter()
            .filter_map(|(name, ret)| ret.map(|ret| name + &ret.to_string()));
        let lsm = lsm.map(|ret| format!("lsm {ret}{}", by.unwrap_or_default()));
        let syn_sent = syn_sent.then(|| String::from("syn sent"));
        let said: Vec<_> = lsm.into_iter().chain(returned).chain(syn_sent).collect();
        Some(said.join(", "))
    }

    /// What the kernel decided by.
    pub(crate) fn before(&self) -> Option<String> {
        let Before {
            state,
            socket_state,
            port,
            uid,
            unprivileged_port_start,
            net_user_ns,
            net_user_ns_level,
            net_user_ns_owner,
            user_ns,
            user_ns_level,
            cap_effective,
        } = self.before.as_ref()?;
        let numbers = [
            ("state", state.map(u32::from)),
            ("socket_state", socket_state.map(u32::from)),
            ("port", port.map(u32::from)),
            ("uid", *uid),
            ("port_start", *unprivileged_port_start),
            ("net_user_ns", *net_user_ns),
            ("level", *net_user_ns_level),
            ("owner", *net_user_ns_owner),
            ("user_ns", *user_ns),
            ("level", *user_ns_level),
        ];
        let numbers = numbers
            .into_iter()
            .filter_map(|(name, number)| number.map(|number| format!("{name} {number}")));
        let capabilities = cap_effective.as_ref().map(|held| format!("cap {held}"));
        Some(numbers.chain(capabilities).collect::<Vec<_>>().join(", "))
    }
}

impl Ending {
    /// Whether it can be the end of that attempt.
    pub(crate) fn check(&self, attempt: &Attempt) -> Result<()> {
        let was_open = attempt.outcome == "pending";
        ensure!(
            was_open && attempt.op == Op::Connect && !attempt.repeat,
            "attempt {} had its outcome already",
            self.seq
        );
        let outcome = match self.ret {
            Some(0) => "ok",
            Some(_) => "failed",
            None => "abandoned",
        };
        let failed = self.ret.is_some_and(|ret| ret != 0);
        ensure!(
            self.outcome == outcome && self.errno.is_some() == failed,
            "outcome {:?} and errno {:?} with ret {:?}",
            self.outcome,
            self.errno,
            self.ret
        );
        self.check_who(attempt)
    }

    /// It says who made the attempt, and what was asked for, as that does.
    fn check_who(&self, attempt: &Attempt) -> Result<()> {
        let same = self.op == attempt.op
            && (self.pid, self.tid, self.ppid) == (attempt.pid, attempt.tid, attempt.ppid)
            && (self.uid, self.euid, self.gid) == (attempt.uid, attempt.euid, attempt.gid)
            && (&self.comm, &self.exe, &self.user) == (&attempt.comm, &attempt.exe, &attempt.user)
            && (&self.via, &self.proto, self.fd) == (&attempt.via, &attempt.proto, attempt.fd)
            && (self.addr, self.port) == (attempt.addr, attempt.port)
            && (self.local_addr, self.local_port) == (attempt.local_addr, attempt.local_port)
            && (self.netns, self.cgroup_id) == (attempt.netns, attempt.cgroup_id)
            && (&self.cgroup, &self.unit) == (&attempt.cgroup, &attempt.unit);
        ensure!(same, "{self:?} is of another than {attempt}");
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
