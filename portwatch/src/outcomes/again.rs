//! Calls that a signal interrupted, and that the kernel begins anew: one call for their caller, two
//! for who watches.

use std::{collections::VecDeque, time::Duration};

use crate::{
    errno::Errno,
    event::{Attempt, AttemptId, Local, Requested, Stages},
};

/// Calls that are remembered; the oldest goes, and what follows it is shown as a repeated connect.
const MOST: usize = 1024;

/// Calls that may be begun anew.
#[derive(Debug, Default)]
pub(super) struct Interrupted(VecDeque<Call>);

/// What a call that is begun anew has in common with the one that it was.
#[derive(Debug)]
struct Call {
    id: AttemptId,
    tid: u32,
    fd: Option<i32>,
    requested: Option<Requested>,
    local: Option<Local>,
    inode: Option<u32>,
}

impl Interrupted {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn put(&mut self, attempt: &Attempt) {
        if self.0.len() >= MOST {
            self.0.pop_front();
        }
        self.0.push_back(Call {
            id: attempt.id,
            tid: attempt.tid,
            fd: attempt.fd,
            requested: attempt.requested,
            local: attempt.local,
            inode: attempt.inode,
        });
    }

    /// The call that this one goes on with, if it does: it is remembered no more.
    pub(super) fn take(
        &mut self,
        again: &Attempt,
        is_fresh: impl Fn(AttemptId) -> bool,
    ) -> Option<AttemptId> {
        // Whoever asks again, and does not wait, asks anew.
        if again.errno() == Some(Errno::EALREADY) {
            return None;
        }
        let goes_on = |call: &Call| {
            call.tid == again.tid
                && call.fd == again.fd
                && call.requested == again.requested
                && is_same_socket(call, again, &is_fresh)
        };
        let index = self.0.iter().position(goes_on)?;
        Some(self.0.remove(index)?.id)
    }
}

/// Most sources tell of a socket that it was connecting before the call. Where that is not known the
/// socket is the same by its inode or its own end, or if nobody had the time to make another one.
fn is_same_socket(call: &Call, again: &Attempt, is_fresh: impl Fn(AttemptId) -> bool) -> bool {
    if again.repeat || again.before.socket.is_some() {
        return again.repeat;
    }
    match (call.inode, again.inode, call.local, again.local) {
        (Some(first), Some(second), ..) => first == second,
        (.., Some(first), Some(second)) => first == second,
        _ => is_fresh(call.id),
    }
}

/// One attempt of the two: the first, as the second ended.
pub(super) fn merged(first: Attempt, again: &Attempt) -> Attempt {
    let between = again.time.0.saturating_sub(first.time.0).max(0);
    let between = Duration::from_nanos(between.unsigned_abs());
    Attempt {
        ret: again.ret,
        interrupted: again.interrupted,
        latency: again.latency.map(|latency| between + latency),
        // What was looked up after one of them.
        proto: first.proto.or(again.proto),
        netns: first.netns.or(again.netns),
        options: first.options.or(again.options),
        local: again.local.or(first.local),
        inode: again.inode.or(first.inode),
        reset: first.reset || again.reset,
        stages: Stages {
            operation: again.stages.operation.or(first.stages.operation),
            ..first.stages
        },
        ..first
    }
}
