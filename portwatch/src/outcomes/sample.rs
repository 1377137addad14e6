//! Connects and their ends, for the tests of what waits for them.

use std::time::Duration;

use crate::event::{Attempt, AttemptId, End, Ended, Op, Requested, Stages, Time, sample::attempt};

pub(crate) const EINTR: i32 = -4;
pub(crate) const ECONNREFUSED: i32 = -111;
pub(crate) const EINPROGRESS: i32 = -115;

/// A connect that TCP has begun, by thread 11.
pub(crate) fn connect(start_ns: u64, ret: i32) -> Attempt {
    Attempt {
        id: id(start_ns),
        time: Time(start_ns.cast_signed()),
        op: Op::Connect,
        fd: Some(3),
        requested: Some(Requested {
            ip: [127, 0, 0, 1].into(),
            port: 9,
            scope_id: 0,
        }),
        ret: Some(ret),
        latency: Some(Duration::from_nanos(1)),
        stages: Stages {
            connect: Some(0),
            operation: Some(ret),
            ..Stages::default()
        },
        ..attempt()
    }
}

/// The same, ended by a signal.
pub(crate) fn interrupted(start_ns: u64) -> Attempt {
    Attempt {
        interrupted: true,
        ..connect(start_ns, EINTR)
    }
}

pub(crate) const fn id(start_ns: u64) -> AttemptId {
    AttemptId { start_ns, tid: 11 }
}

/// How the connect of that start ended: 0 or an error.
pub(crate) const fn ended(start_ns: u64, ret: i32) -> Ended {
    Ended {
        id: id(start_ns),
        time: Time(start_ns.cast_signed() + 5),
        latency: Duration::from_nanos(5),
        end: End::of(ret),
        reset: ret == ECONNREFUSED,
    }
}
