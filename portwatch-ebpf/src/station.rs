//! What the stations of a call say, whoever hears them.

use portwatch_common::event::{Attempt, known, op, stage};

use crate::{
    attempt::{self, Inflight, ProtocolCall},
    filter,
    memory::Memory,
    pending, sockaddr, socket,
    task::CurrentTask,
};

// include/net/tcp_states.h
const TCP_SYN_SENT: u8 = 2;
const EAGAIN: i32 = -11;
const EADDRINUSE: i32 = -98;
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

/// The protocol's operation has ended, and the socket's own end is known.
#[inline(always)]
pub(crate) fn note_operation(attempt: &mut Attempt, ret: i32) {
    attempt.stages.reached |= stage::OPERATION;
    attempt.stages.operation = ret as i16;
    if searched_in_vain(attempt, ret) {
        attempt.stages.reached |= stage::GET_PORT;
        attempt.stages.get_port = ret as i16;
    }
}

/// A connect has returned 0 while its socket still waits: the SYN goes with the first data
/// (`tcp_fastopen_defer_connect`, net/ipv4/tcp_fastopen.c). Its end is told as that of any other.
#[inline(always)]
pub(crate) fn note_deferral<M: Memory>(attempt: &mut Attempt, sk: u64, ret: i32) {
    if ret == 0
        && attempt.stages.reached & stage::SYN_SENT != 0
        && socket::state::<M>(sk) == Some(TCP_SYN_SENT)
    {
        attempt.known |= known::DEFERRED;
    }
}

/// Whether it was the search for a port (`inet_csk_get_port` …) that failed. It has no hook of its
/// own, by which every bind would have to pass: what it says, nothing else says but a cgroup's BPF
/// program, whose verdict is known.
///
/// `EADDRINUSE` of a bind (`__inet_bind`, net/ipv4/af_inet.c) or of a listen
/// (`inet_csk_listen_start`, net/ipv4/inet_connection_sock.c). Of a connect `EAGAIN`, where the
/// socket was left without a port (`inet_autobind`): TCP chooses one by other means, and an IPsec
/// policy that waits for its keys says so only when there is one.
#[inline(always)]
fn searched_in_vain(attempt: &Attempt, ret: i32) -> bool {
    let stages = &attempt.stages;
    stages.cgroup == 0
        && match attempt.op {
            op::CONNECT => {
                ret == EAGAIN
                    && stages.reached & stage::CONNECT == 0
                    && attempt.known & known::LOCAL != 0
                    && attempt.local_port == 0
            }
            _ => ret == EADDRINUSE,
        }
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
