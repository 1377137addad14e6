//! The attempt that a situation would become.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{Caller, Reach, Situation, Subject};
use crate::{
    errno::Errno,
    event::{Attempt, AttemptId, Before, Credentials, Family, Local, SocketBefore, Stages, Time},
};

/// `TCP_CLOSE` (include/net/tcp_states.h) and `SS_UNCONNECTED` (include/uapi/linux/net.h): a new
/// socket.
const CLOSE: u8 = 7;
const UNCONNECTED: u8 = 1;

/// As if the call had been made on a new socket and returned `ret`. No station was seen, for
/// there was none: the cause is to rest on the state. A refusal is this host's own reset.
pub(super) fn that_returned(situation: &Situation, ret: i32) -> Attempt {
    let Situation {
        op,
        proto,
        to,
        options,
        device,
        caller,
        subject,
        ..
    } = situation;
    let Caller {
        comm,
        tgid,
        process,
        cgroup,
    } = caller;
    let (family, local) = unbound(to.ip);
    Attempt {
        id: AttemptId::default(),
        time: Time::default(),
        system: situation.system,
        op: *op,
        via: None,
        tgid: *tgid,
        tid: *tgid,
        ppid: None,
        ancestors: None,
        process_start: None,
        comm: *comm,
        process: process.clone(),
        uid: subject.euid,
        euid: Some(subject.euid),
        gid: None,
        family: Some(family),
        proto: Some(*proto),
        requested: Some(*to),
        address_len: None,
        effective: None,
        local: Some(local),
        fd: None,
        inode: None,
        ret: Some(ret),
        latency: None,
        netns: situation.network.netns,
        cgroup_id: None,
        cgroup: cgroup.clone(),
        ifindex: device.and_then(|device| device.index),
        ifname: device.map(|device| device.name),
        options: Some(*options),
        port_range: None,
        privileged: situation.is_privileged_port(),
        repeat: false,
        interrupted: false,
        deferred: false,
        seccomp: false,
        stages: Stages::default(),
        before: before(situation, subject),
        reset: situation.system.errno(ret) == Some(Errno::ECONNREFUSED),
        cause: None,
    }
}

/// The own end of a new socket of that family.
fn unbound(ip: IpAddr) -> (Family, Local) {
    let (family, ip) = match ip {
        IpAddr::V4(_) => (Family::Ipv4, Ipv4Addr::UNSPECIFIED.into()),
        IpAddr::V6(_) => (Family::Ipv6, Ipv6Addr::UNSPECIFIED.into()),
    };
    let port = Some(0);
    (family, Local { ip, port })
}

fn before(situation: &Situation, subject: &Subject) -> Before {
    let Subject {
        euid,
        cap_effective,
        user_ns,
        ..
    } = *subject;
    Before {
        socket: Some(SocketBefore {
            state: CLOSE,
            socket_state: UNCONNECTED,
            port: 0,
            uid: Some(euid),
        }),
        net_user_ns: situation.network.user_ns,
        net_user_ns_level: None,
        net_user_ns_owner: match situation.network.reach {
            Reach::Below { made_by } => made_by,
            Reach::Same | Reach::Elsewhere | Reach::Unknown => None,
        },
        unprivileged_port_start: situation.network.unprivileged_port_start,
        credentials: cap_effective
            .zip(user_ns)
            .map(|(cap_effective, user_ns)| Credentials {
                cap_effective,
                user_ns,
                level: None,
            }),
    }
}
