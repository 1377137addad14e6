//! An attempt for the tests of what lies above, which change what matters to them.

use super::{Attempt, AttemptId, Before, Comm, Op, Requested, Stages, System, Time};

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
        effective: None,
        privileged: None,
        repeat: false,
        interrupted: false,
        seccomp: false,
        stages: Stages::default(),
        before: Before::default(),
        reset: false,
        cause: None,
    }
}
