//! Attempts, as docs/EVENTS.md has them, read back.

use std::{net::IpAddr, sync::Arc, time::Duration};

use serde::{Deserialize, Deserializer, de};

use super::{
    cause::Cause,
    record::{Container, Users, bytes, cgroup, comm, id, named, system, time},
};
use crate::{
    errno,
    event::{
        self, Before, Credentials, Family, IfName, Local, Lsm, Op, Options, Process, Proto,
        Requested, SocketBefore, Stages, System, Time, Via,
    },
};

#[derive(Deserialize)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each tells of something else"
)]
pub(super) struct Attempt {
    seq: u64,
    #[serde(deserialize_with = "time")]
    time: Time,
    /// Linux where it is not said
    #[serde(default, deserialize_with = "system")]
    system: System,
    op: String,
    via: Option<String>,
    pid: u32,
    tid: u32,
    ppid: Option<u32>,
    comm: String,
    exe: Option<String>,
    cmdline: Option<Box<[String]>>,
    uid: u32,
    euid: Option<u32>,
    gid: Option<u32>,
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
    inode: Option<u32>,
    ret: Option<i32>,
    latency_ns: Option<u64>,
    netns: Option<u32>,
    cgroup_id: Option<u64>,
    cgroup: Option<String>,
    container: Option<Container>,
    unit: Option<String>,
    ifindex: Option<u32>,
    ifname: Option<String>,
    options: Option<Vec<String>>,
    privileged: Option<bool>,
    #[serde(default)]
    repeat: bool,
    #[serde(default)]
    deferred: bool,
    #[serde(default)]
    seccomp: bool,
    stages: Option<RecordedStages>,
    before: Option<RecordedBefore>,
    #[serde(default)]
    reset: bool,
    cause: Option<Cause>,
}

impl Attempt {
    pub(super) fn event(self, users: &mut Users) -> Result<event::Attempt, String> {
        let op = named(&Op::ALL, Op::name, Some(&self.op));
        users.extend(self.euid.map(|uid| (uid, self.user)));
        let process = Process {
            exe: self.exe.map(Into::into),
            cmdline: self.cmdline,
        };
        let family = self.family.as_deref();
        Ok(event::Attempt {
            id: id(self.seq),
            time: self.time,
            system: self.system,
            op: op.ok_or_else(|| format!("the operation `{}` is not known", self.op))?,
            via: named(&Via::ALL, Via::name, self.via.as_deref()),
            tgid: self.pid,
            tid: self.tid,
            ppid: self.ppid,
            ancestors: None,
            process_start: None,
            comm: comm(&self.comm)?,
            process: (process != Process::default()).then(|| Arc::new(process)),
            uid: self.uid,
            euid: self.euid,
            gid: self.gid,
            family: family.and_then(|name| family_of(name, self.family_number)),
            proto: self.proto.as_deref().and_then(Proto::named),
            requested: end(self.addr, self.port, self.scope_id),
            address_len: None,
            effective: end(self.effective_addr, self.effective_port, None),
            local: self.local_addr.map(|ip| Local {
                ip,
                port: self.local_port,
            }),
            fd: self.fd,
            inode: self.inode,
            ret: self.ret.map(errno::to_caller),
            latency: self.latency_ns.map(Duration::from_nanos),
            netns: self.netns,
            cgroup_id: self.cgroup_id,
            cgroup: cgroup(self.cgroup, self.unit, self.container),
            ifindex: self.ifindex,
            ifname: self.ifname.and_then(|name| IfName::new(&bytes(&name))),
            options: self.options.as_deref().map(options),
            port_range: None,
            privileged: self.privileged,
            repeat: self.repeat,
            interrupted: self.ret.is_some_and(errno::is_restart),
            deferred: self.deferred,
            seccomp: self.seccomp,
            stages: self.stages.map(Into::into).unwrap_or_default(),
            before: self.before.map(Into::into).unwrap_or_default(),
            reset: self.reset,
            cause: self.cause.and_then(|cause| cause.event(users)),
        })
    }
}

fn end(ip: Option<IpAddr>, port: Option<u16>, scope_id: Option<u32>) -> Option<Requested> {
    Some(Requested {
        ip: ip?,
        port: port?,
        scope_id: scope_id.unwrap_or(0),
    })
}

fn family_of(name: &str, number: Option<u16>) -> Option<Family> {
    match name {
        "ipv4" => Some(Family::Ipv4),
        "ipv6" => Some(Family::Ipv6),
        "unspec" => Some(Family::Unspec),
        _ => number.map(Family::Other),
    }
}

fn options(names: &[String]) -> Options {
    let has = |wanted: &str| names.iter().any(|name| name == wanted);
    Options {
        reuseaddr: has("reuseaddr"),
        reuseport: has("reuseport"),
        freebind: has("freebind"),
        transparent: has("transparent"),
        bind_address_no_port: has("bind_address_no_port"),
        v6only: has("v6only"),
        nonblock: has("nonblock"),
        broadcast: has("broadcast"),
    }
}

#[derive(Deserialize)]
struct RecordedStages {
    lsm: Option<i32>,
    lsm_name: Option<String>,
    cgroup: Option<i32>,
    operation: Option<i32>,
    get_port: Option<i32>,
    connect: Option<i32>,
    #[serde(default)]
    syn_sent: bool,
}

impl From<RecordedStages> for Stages {
    fn from(stages: RecordedStages) -> Self {
        let RecordedStages {
            lsm,
            lsm_name,
            cgroup,
            operation,
            get_port,
            connect,
            syn_sent,
        } = stages;
        Self {
            lsm,
            lsm_name: named(&Lsm::ALL, Lsm::name, lsm_name.as_deref()),
            cgroup,
            operation,
            get_port,
            connect,
            syn_sent,
        }
    }
}

#[derive(Deserialize)]
struct RecordedBefore {
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
    #[serde(default, deserialize_with = "hex")]
    cap_effective: Option<u64>,
}

fn hex<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?;
    let number = |text: String| u64::from_str_radix(&text, 16).map_err(de::Error::custom);
    text.map(number).transpose()
}

impl From<RecordedBefore> for Before {
    fn from(before: RecordedBefore) -> Self {
        let RecordedBefore {
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
        } = before;
        let socket = || {
            Some(SocketBefore {
                state: state?,
                socket_state: socket_state?,
                port: port?,
                uid,
            })
        };
        let credentials = || {
            Some(Credentials {
                cap_effective: cap_effective?,
                user_ns: user_ns?,
                level: user_ns_level,
            })
        };
        Self {
            socket: socket(),
            net_user_ns,
            net_user_ns_level,
            net_user_ns_owner,
            unprivileged_port_start,
            credentials: credentials(),
        }
    }
}
