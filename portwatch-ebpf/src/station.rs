//! What the stations of a call say, whoever hears them.

use portwatch_common::event::{Attempt, known, op, stage};

use crate::{
    attempt::{self, Inflight, ProtocolCall},
    filter, pending, sockaddr, socket,
    task::CurrentTask,
};

/// `SS_CONNECTING` (include/uapi/linux/net.h): a connect on this socket is already under way.
const SS_CONNECTING: u8 = 2;

/// The security modules refused.
#[inline(always)]
pub(crate) fn note_refusal(attempt: &mut Attempt, ret: i32) {
    attempt.stages.reached |= stage::LSM;
    attempt.stages.lsm = ret as i16;
}

/// The verdict of cgroup BPF programs, on the address or on the bound socket.
#[inline(always)]
pub(crate) fn note_cgroup(attempt: &mut Attempt, ret: i32) {
    let stages = &mut attempt.stages;
    stages.reached |= stage::CGROUP;
    // The later of two verdicts counts only if it is a refusal.
    if ret != 0 || stages.cgroup == 0 {
        stages.cgroup = ret as i16;
    }
}

/// Whether cgroup BPF programs saw the address, and may have changed it.
#[inline(always)]
pub(crate) fn passed_cgroup(attempt: &Attempt) -> bool {
    attempt.stages.reached & stage::CGROUP != 0
}

/// A port was looked for in vain.
#[inline(always)]
pub(crate) fn note_port(attempt: &mut Attempt, ret: i32) {
    attempt.stages.reached |= stage::GET_PORT;
    attempt.stages.get_port = ret as i16;
}

/// The protocol's operation has ended.
#[inline(always)]
pub(crate) fn note_operation(attempt: &mut Attempt, ret: i32) {
    attempt.stages.reached |= stage::OPERATION;
    attempt.stages.operation = ret as i16;
}

/// The address that a bind was given in the end: cgroup BPF programs write to the kernel's copy.
#[inline(always)]
pub(crate) fn note_effective(attempt: &mut Attempt, addr: u64, len: i32) {
    if passed_cgroup(attempt) && sockaddr::copy_kernel(&mut attempt.effective, addr, len) {
        attempt.known |= known::EFFECTIVE;
    }
}

/// The socket as it is before the call changes it.
#[inline(always)]
pub(crate) fn note_before<M: CurrentTask>(attempt: &mut Attempt, call: &ProtocolCall) {
    attempt::note_before::<M>(attempt, call.socket);
    if call.op == op::CONNECT && attempt.socket_state_before == SS_CONNECTING {
        attempt.known |= known::REPEAT;
    }
}

/// TCP has sent its SYN, or failed to.
#[inline(always)]
pub(crate) fn note_tcp<M: CurrentTask>(inflight: &mut Inflight, sk: u64, ret: i32) {
    let attempt = &mut inflight.attempt;
    attempt.stages.reached |= stage::CONNECT;
    attempt.stages.connect = ret as i16;
    socket::local_end::<M>(attempt, sk);
    if passed_cgroup(attempt) {
        socket::far_end::<M>(attempt, sk);
    }
    if ret == 0 {
        attempt.stages.reached |= stage::SYN_SENT;
        if filter::may_pass::<M>(attempt) {
            pending::await_outcome(inflight, sk);
        }
    }
}
