//! An attempt for the tests of what lies above, which change what matters to them.

use super::{
    Attempt, AttemptId, Before, Comm, Holder, Lookup, Op, Requested, SocketState, Stages, System,
    Time,
};

/// A failed bind of no particular interest.
pub(crate) fn attempt() -> Attempt {
    Attempt {
        id: AttemptId::default(),
        time: Time(0),
        system: System::Linux,
        op: Op::Bind,
        via: None,
        tgid: 10,
        tid: 11,
        ppid: None,
        ancestors: None,
        process_start: None,
        comm: Comm::new([0; 16]),
        process: None,
        uid: 1000,
        euid: Some(0),
        gid: Some(1000),
        family: None,
        proto: None,
        requested: Some(Requested {
            ip: [127, 0, 0, 1].into(),
            port: 80,
            scope_id: 0,
        }),
        local: None,
        fd: None,
        inode: None,
        ret: Some(-13),
        latency: None,
        netns: None,
        cgroup_id: None,
        cgroup: None,
        ifindex: None,
        ifname: None,
        options: None,
        address_len: None,
        effective: None,
        port_range: None,
        privileged: None,
        repeat: false,
        interrupted: false,
        deferred: false,
        seccomp: false,
        stages: Stages::default(),
        before: Before::default(),
        reset: false,
        cause: None,
    }
}

/// Nobody's listener on 127.0.0.1:80, of which no more is known.
pub(crate) fn holder() -> Holder {
    Holder {
        process: Lookup::NotThere,
        uid: None,
        state: SocketState::Listen,
        ip: [127, 0, 0, 1].into(),
        port: 80,
        peer: None,
        inode: None,
        since: None,
        bound_by: None,
        kernel: false,
        reuseaddr: None,
        reuseport: None,
        v6only: None,
        ifindex: None,
        queue: None,
    }
}
