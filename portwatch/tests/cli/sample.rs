//! An event of each kind, with every field that can be there.

use std::{sync::Arc, time::Duration};

use portwatch::{
    errno::Errno,
    event::{
        AcceptQueue, Attempt, AttemptId, Before, Binder, Candidate, Cause, Cgroup, Code, Comm,
        Confidence, Container, Credentials, Degradation, Degraded, End, Ended, Event, Family, Fix,
        Holder, HoldingProcess, IfName, Local, Lookup, LossReason, Lost, Lsm, MissingHook, Op,
        Options, Outcome, OutcomeOf, Place, Process, Proto, Requested, Runtime, SocketBefore,
        SocketState, Stages, Start, Summary, System, Time, Unended, Unseen, Version, Via,
    },
};

const MACOS: System = System::MacOs(Version {
    major: 14,
    minor: 0,
});

/// One of each kind, with every field that can be there.
pub(super) fn events() -> [(&'static str, Event); 6] {
    let start = Start {
        time: Time(0),
        system: MACOS,
        backend: "kprobe".into(),
        ring_bytes: Some(4 << 20),
        hooks: vec!["kprobe:inet_bind".to_owned()],
        missing: vec![MissingHook {
            hook: "kprobe:inet6_bind".to_owned(),
            why: "no such function".to_owned(),
            unseen: "IPv6 sockets".into(),
        }],
        degradations: vec![Degradation {
            what: "less".to_owned(),
            why: "because".to_owned(),
            remedy: None,
        }],
        kernel: "6.1.0".to_owned(),
        filters: vec!["--failed".to_owned()],
        pid: 1,
    };
    let outcome = OutcomeOf {
        seq: 1,
        attempt: attempt(),
        ended: Ended {
            id: AttemptId::default(),
            time: Time(0),
            latency: Duration::from_micros(1),
            end: End::Failed(-111),
            reset: true,
        },
        lasted: false,
        cause: Some(Arc::new(cause())),
    };
    let lost = Lost {
        time: Time(0),
        count: 1,
        reason: LossReason::RingFull,
        place: Place::Cpu(0),
    };
    let degraded = Degraded {
        time: Time(0),
        degradation: start.degradations[0].clone(),
    };
    [
        ("start", Event::Start(Box::new(start))),
        ("attempt", Event::Attempt(attempt())),
        ("outcome", Event::Outcome(outcome)),
        ("lost", Event::Lost(lost)),
        ("degraded", Event::Degraded(degraded)),
        ("summary", Event::Summary(Box::new(summary()))),
    ]
}

fn summary() -> Summary {
    Summary {
        time: Time(0),
        run_time: Duration::from_secs(1),
        unended: Unended {
            not_over: 1,
            ..Unended::default()
        },
        repeats: 0,
        attempts: [((Op::Bind, Outcome::Failed), 1)].into(),
        errnos: Errno::from_ret(-13)
            .map(|errno| (errno, 1))
            .into_iter()
            .collect(),
        lost: [(LossReason::RingFull, 1)].into(),
    }
}

const ASKED: Requested = Requested {
    ip: std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST),
    port: 80,
    scope_id: 2,
};

fn before() -> Before {
    Before {
        socket: Some(SocketBefore {
            state: 7,
            socket_state: 1,
            port: 0,
            uid: Some(1000),
        }),
        net_user_ns: Some(1),
        net_user_ns_level: Some(0),
        net_user_ns_owner: Some(0),
        unprivileged_port_start: Some(1024),
        credentials: Some(Credentials {
            cap_effective: 0,
            user_ns: 1,
            level: Some(0),
        }),
    }
}

pub(super) fn attempt() -> Attempt {
    Attempt {
        system: MACOS,
        id: AttemptId::default(),
        process_start: None,
        address_len: Some(16),
        effective: Some(ASKED),
        port_range: None,
        privileged: Some(true),
        interrupted: false,
        repeat: true,
        deferred: true,
        seccomp: true,
        stages: Stages {
            lsm: Some(0),
            lsm_name: Some(Lsm::Landlock),
            cgroup: Some(0),
            operation: Some(-13),
            get_port: Some(0),
            connect: Some(0),
            syn_sent: true,
        },
        before: before(),
        time: Time(0),
        op: Op::Bind,
        via: Some(Via::Syscall),
        tgid: 7,
        tid: 7,
        ppid: Some(1),
        ancestors: None,
        comm: Comm::new(*b"nc\0\0\0\0\0\0\0\0\0\0\0\0\0\0"),
        process: Some(Arc::new(Process {
            exe: Some("/usr/bin/nc".into()),
            cmdline: Some(["nc".to_owned()].into()),
        })),
        uid: 1000,
        euid: Some(1000),
        gid: Some(1000),
        family: Some(Family::Other(9)),
        proto: Some(Proto::Ip(6)),
        requested: Some(ASKED),
        local: Some(Local {
            ip: [0, 0, 0, 0].into(),
            port: Some(0),
        }),
        fd: Some(3),
        inode: Some(4711),
        ret: Some(-13),
        latency: Some(Duration::from_micros(1)),
        netns: Some(1),
        cgroup_id: Some(1),
        cgroup: Some(Arc::new(cgroup())),
        ifindex: Some(1),
        ifname: IfName::new(b"lo"),
        options: Some(options()),
        reset: true,
        cause: Some(Arc::new(cause())),
    }
}

fn cause() -> Cause {
    Cause {
        code: Code::PortInUse,
        text: "it is".to_owned(),
        fixes: vec![Fix {
            what: "stop it".to_owned(),
            command: Some("kill 7".to_owned()),
            opens: Some("nothing".to_owned()),
        }],
        confidence: Confidence::Checked,
        evidence: vec!["a look".to_owned()],
        next: vec!["the port is low".to_owned()],
        holders: vec![Holder {
            process: Lookup::Found(HoldingProcess {
                tgid: 7,
                fd: Some(3),
                comm: Comm::new([b'n'; 16]),
                exe: Some("/usr/bin/nc".into()),
                cgroup: Some(Arc::new(cgroup())),
            }),
            uid: Some(1000),
            state: SocketState::Established,
            ip: ASKED.ip,
            port: 80,
            peer: Some((ASKED.ip, 80)),
            inode: Some(1),
            since: Some(Time(0)),
            bound_by: Some(Binder {
                tgid: 7,
                comm: Comm::new([b'n'; 16]),
            }),
            kernel: false,
            reuseaddr: Some(true),
            reuseport: Some(true),
            v6only: Some(true),
            ifindex: Some(1),
            queue: Some(AcceptQueue {
                waiting: 2,
                backlog: 1,
            }),
        }],
        holders_unseen: Some(Unseen::Time),
        candidates: vec![Candidate {
            code: Code::PortInUse,
            text: "it is".to_owned(),
        }],
    }
}

fn cgroup() -> Cgroup {
    Cgroup {
        path: "/".to_owned(),
        unit: Some("nc.service".to_owned()),
        container: Some(Container {
            runtime: Some(Runtime::Docker),
            id: "0".repeat(64),
        }),
    }
}

pub(super) const fn options() -> Options {
    Options {
        reuseaddr: true,
        reuseport: true,
        freebind: true,
        transparent: true,
        bind_address_no_port: true,
        v6only: true,
        nonblock: true,
        broadcast: true,
    }
}
