//! One row each of the tables by which causes are told: the attempt and the facts, and what must
//! come of them.

mod answer;
mod bind;
mod connect;
mod gate;
mod in_use;
mod length;
mod macos;
mod privilege;
mod properties;
mod scope;
mod success;
mod wording;

use std::{path::PathBuf, sync::Arc, time::Duration};

use super::*;
use crate::event::{
    AcceptQueue, Before, Binder, Cgroup, Code, Comm, Confidence, Container, Credentials, Family,
    Holder, Holders, HoldingProcess, IfName, Local, Lookup, Options, PortRange, Process, Proto,
    Requested, Runtime, SocketBefore, SocketState, Stages, Time, Unseen, Version, sample,
};

const TCP: Proto = Proto::Ip(6);
const UDP: Proto = Proto::Ip(17);
const PING: Proto = Proto::Ip(1);
const INITIAL: u32 = 0xefff_fffd;
const ALL_CAPS: u64 = 0x1ff_ffff_ffff;
const TCP_CLOSE: u8 = 7;

const EPERM: i32 = -1;
const EACCES: i32 = -13;
const EINVAL: i32 = -22;
const EADDRINUSE: i32 = -98;
const EADDRNOTAVAIL: i32 = -99;

const OBSERVED: Confidence = Confidence::Observed;
const DERIVED: Confidence = Confidence::Derived;
const CHECKED: Confidence = Confidence::Checked;
const LIKELY: Confidence = Confidence::Likely;

fn comm(name: &str) -> Comm {
    Comm::cut(name.as_bytes())
}

fn asked(ip: &str, port: u16) -> Requested {
    Requested {
        ip: ip.parse().unwrap(),
        port,
        scope_id: 0,
    }
}

/// What fexit tells of a call that got to the protocol: `server`, uid 1000 without capabilities,
/// with a new TCP socket of the address's family, in the initial namespaces.
fn attempt(op: Op, ip: &str, port: u16, ret: i32) -> Attempt {
    let requested = asked(ip, port);
    let (family, any, length) = if requested.ip.is_ipv4() {
        (Family::Ipv4, "0.0.0.0", 16)
    } else {
        (Family::Ipv6, "::", 28)
    };
    Attempt {
        op,
        comm: comm("server"),
        euid: Some(1000),
        family: Some(family),
        proto: Some(TCP),
        requested: Some(requested),
        address_len: Some(length),
        local: Some(Local {
            ip: any.parse().unwrap(),
            port: Some(0),
        }),
        ret: Some(ret),
        netns: Some(4_026_531_840),
        options: Some(Options::default()),
        stages: Stages {
            operation: Some(ret),
            ..Stages::default()
        },
        before: Before {
            socket: Some(SocketBefore {
                state: TCP_CLOSE,
                socket_state: 1,
                port: 0,
                uid: Some(1000),
            }),
            net_user_ns: Some(INITIAL),
            net_user_ns_level: Some(0),
            net_user_ns_owner: Some(0),
            unprivileged_port_start: Some(1024),
            credentials: Some(credentials(0, INITIAL)),
        },
        ..sample::attempt()
    }
}

fn bind(ip: &str, port: u16, ret: i32) -> Attempt {
    attempt(Op::Bind, ip, port, ret)
}

/// TCP's own connect refused it.
fn connect(ip: &str, ret: i32) -> Attempt {
    let mut attempt = attempt(Op::Connect, ip, 80, ret);
    attempt.stages.connect = Some(ret);
    attempt
}

/// The SYN was sent, and this is what came of it.
fn answered(ip: &str, ret: i32) -> Attempt {
    let mut attempt = connect(ip, ret);
    attempt.stages.connect = Some(0);
    attempt.stages.syn_sent = true;
    attempt
}

fn credentials(cap_effective: u64, user_ns: u32) -> Credentials {
    Credentials {
        cap_effective,
        user_ns,
        level: Some(u32::from(user_ns != INITIAL)),
    }
}

/// Only what the system call's tracepoints and a later look tell.
fn unseen(attempt: Attempt) -> Attempt {
    Attempt {
        stages: Stages::default(),
        before: Before::default(),
        ..attempt
    }
}

fn with(mut attempt: Attempt, change: impl FnOnce(&mut Attempt)) -> Attempt {
    change(&mut attempt);
    attempt
}

fn runs(attempt: Attempt, exe: &str) -> Attempt {
    with(attempt, |attempt| {
        attempt.process = Some(Arc::new(Process {
            exe: Some(PathBuf::from(exe)),
            cmdline: None,
        }));
    })
}

fn in_unit(attempt: Attempt, unit: &str) -> Attempt {
    with(attempt, |attempt| {
        attempt.cgroup = Some(Arc::new(Cgroup {
            path: format!("/system.slice/{unit}"),
            unit: Some(unit.to_owned()),
            container: None,
        }));
    })
}

fn in_container(attempt: Attempt, runtime: Runtime) -> Attempt {
    with(attempt, |attempt| {
        attempt.cgroup = Some(Arc::new(Cgroup {
            path: "/system.slice/docker-0123.scope".to_owned(),
            unit: Some("docker-0123.scope".to_owned()),
            container: Some(Container {
                runtime: Some(runtime),
                id: "0123".to_owned(),
            }),
        }));
    })
}

/// `nginx`, pid 7, of root.
fn holder(ip: &str, port: u16, state: SocketState) -> Holder {
    Holder {
        process: Lookup::Found(HoldingProcess {
            tgid: 7,
            fd: None,
            comm: comm("nginx"),
            exe: None,
            cgroup: None,
        }),
        uid: Some(0),
        state,
        ip: ip.parse().unwrap(),
        port,
        peer: None,
        inode: Some(1),
        since: None,
        bound_by: None,
        kernel: false,
        reuseaddr: Some(false),
        reuseport: Some(false),
        v6only: Some(false),
        ifindex: None,
        queue: None,
    }
}

fn none() -> Facts {
    Facts::default()
}

fn held(holder: Holder) -> Facts {
    Facts {
        holders: Holders::all(vec![holder]),
        ..Facts::default()
    }
}

fn at(address: Address) -> Facts {
    Facts {
        address,
        ..Facts::default()
    }
}

/// An address that no interface has.
fn nowhere() -> Address {
    Address {
        assigned: Lookup::NotThere,
        ..Address::default()
    }
}

fn assigned() -> Assigned {
    Assigned {
        ifindex: 2,
        ifname: IfName::new(b"eth0"),
        tentative: false,
        dad_failed: false,
        vrf: None,
    }
}

fn on(assigned: Assigned) -> Facts {
    at(Address {
        assigned: Lookup::Found(assigned),
        ..Address::default()
    })
}

fn routed(kind: RouteKind) -> Facts {
    Facts {
        route: Lookup::Found(Route {
            kind,
            interface: None,
            gateway: None,
            source: None,
        }),
        ..Facts::default()
    }
}

/// What comes of an attempt: code, confidence, and the first command among the fixes.
#[track_caller]
fn expect(
    attempt: &Attempt,
    facts: &Facts,
    code: Code,
    confidence: Confidence,
    command: &str,
) -> Cause {
    let cause = *explain(attempt, facts).expect("a cause");
    let first = cause.fixes.iter().find_map(|fix| fix.command.as_deref());
    assert_eq!(
        (cause.code, cause.confidence, first.unwrap_or("")),
        (code, confidence, command),
        "{cause:#?}"
    );
    cause
}
