//! The fexit source: functions are seen when they return, with their arguments and result.
//!
//! A bind that simply succeeds is one hook and no record in a map: the protocol's function has
//! the socket, the address and the result in one place, and [`caller`] tells the rest. Only
//! what fails, or what cgroup BPF programs touched, opens a record, to which each station adds
//! its verdict until the system call returns. A connect has a record from its entry, since it
//! takes time and may outlive the call.

use aya_ebpf::bindings::BPF_ANY;
use portwatch_common::{
    event::{Attempt, KIND_OUTCOME, Outcome, SOCKADDR_LEN, known, lsm, op, stage, via},
    settings::loss,
};

use crate::{
    attempt::{self, Inflight, Owner, Pending, ProtocolCall, now},
    caller::{Caller, caller},
    maps::{EVENTS, PASSED, PENDING, count_loss, setting},
    memory::Typed,
    sockaddr, socket, task,
};

/// `SS_CONNECTING` (include/uapi/linux/net.h): a connect on this socket is already under way.
const SS_CONNECTING: u8 = 2;
// include/net/tcp_states.h
const TCP_SYN_SENT: u32 = 2;
const TCP_SYN_RECV: u32 = 3;
const TCP_CLOSE: u32 = 7;
const IPPROTO_TCP: u16 = 6;

/// Whether this hook sees the outermost call: not a subflow's, nor SMC's TCP socket's, which the
/// kernel makes for itself while a process asks for something else.
#[inline(always)]
fn is_outermost(caller: Caller, socket: u64) -> bool {
    caller.via == via::KERNEL || socket::has_file::<Typed>(socket) != Some(false)
}

#[inline(always)]
fn is_wanted(caller: Caller) -> bool {
    caller.via != via::KERNEL || setting!(kernel) != 0
}

/// Opens a record for a call that is seen for the first time.
#[inline(always)]
fn open(caller: Caller, call: &ProtocolCall) -> Option<&'static mut Inflight> {
    let owner = if caller.has_syscall() {
        Owner::Syscall
    } else {
        Owner::Protocol
    };
    let inflight = Inflight::create(call.op, caller.via, owner)?;
    describe(inflight, caller, call);
    Some(inflight)
}

#[inline(always)]
fn describe(inflight: &mut Inflight, caller: Caller, call: &ProtocolCall) {
    inflight.user_addr = caller.user_addr;
    note_descriptor(&mut inflight.attempt, caller);
    inflight.note_call::<Typed>(call);
}

#[inline(always)]
fn note_descriptor(attempt: &mut Attempt, caller: Caller) {
    attempt.fd = caller.fd;
    attempt.known |= caller.known;
}

/// The current thread's record, if it is about this operation on this socket.
#[inline(always)]
fn current(op: u8, sk: u64) -> Option<&'static mut Inflight> {
    Inflight::current().filter(|inflight| inflight.attempt.op == op && inflight.sk == sk)
}

/// A protocol's bind returns.
#[inline(always)]
pub(crate) fn bind_returns(call: &ProtocolCall, ret: i32) {
    let caller = caller();
    if !is_wanted(caller) || !is_outermost(caller, call.socket) {
        return;
    }
    let Some(sk) = socket::of_socket::<Typed>(call.socket) else {
        return;
    };
    // The system call's return is to come, and may say more.
    let goes_on = ret != 0 && caller.has_syscall();
    if let Some(inflight) = current(op::BIND, sk) {
        if inflight.attempt.known & known::SOCKET == 0 {
            describe(inflight, caller, call);
        }
        bound(&mut inflight.attempt, call, sk, ret);
        if !goes_on {
            inflight.finish::<Typed>(ret);
            Inflight::remove();
        }
    } else if goes_on {
        if let Some(inflight) = open(caller, call) {
            bound(&mut inflight.attempt, call, sk, ret);
        }
    } else {
        attempt::emit::<Typed>(|attempt| {
            attempt::begin(attempt, op::BIND, caller.via);
            note_descriptor(attempt, caller);
            attempt::note_call::<Typed>(attempt, call);
            bound(attempt, call, sk, ret);
            attempt::returned(attempt, ret);
        });
    }
}

/// Notes what the operation did.
#[inline(always)]
fn bound(attempt: &mut Attempt, call: &ProtocolCall, sk: u64, ret: i32) {
    attempt.stages.reached |= stage::OPERATION;
    attempt.stages.operation = ret as i16;
    if attempt.stages.reached & stage::CGROUP != 0
        && sockaddr::copy_kernel(&mut attempt.effective, call.addr, call.addr_len)
    {
        attempt.known |= known::EFFECTIVE;
    }
    socket::local_end::<Typed>(attempt, sk);
    if ret != 0 {
        // A bind that fails leaves the socket as it was.
        attempt::note_before::<Typed>(attempt, call.socket);
    } else if attempt::takes_privilege(attempt) {
        socket::net_user_ns::<Typed>(attempt, sk);
    }
}

/// One security module's verdict is in; that of all of them follows.
#[inline(always)]
pub(crate) fn module_returns(op: u8, module: u8, ret: i32) {
    if ret != 0 {
        Inflight::announce_refusal(op, module);
    }
}

/// The security modules' verdict is in.
#[inline(always)]
pub(crate) fn lsm_returns(call: &ProtocolCall, ret: i32) {
    if ret == 0 {
        return;
    }
    let announced = Inflight::current().filter(|inflight| inflight.attempt.op == call.op);
    let module = announced.map_or(lsm::UNKNOWN, |inflight| inflight.attempt.lsm);
    let caller = caller();
    let Some(inflight) = open(caller, call) else {
        return;
    };
    inflight.attempt.stages.reached |= stage::LSM;
    inflight.attempt.stages.lsm = ret as i16;
    inflight.attempt.lsm = module;
    attempt::note_before::<Typed>(&mut inflight.attempt, call.socket);
    if !caller.has_syscall() {
        inflight.finish::<Typed>(ret);
        Inflight::remove();
    }
}

/// cgroup BPF programs are about to see the address, and may change it.
///
/// Also called for sendmsg(), getsockname() and others: only a bind has no record yet that
/// holds what was asked for.
#[inline(always)]
pub(crate) fn cgroup_enters(sk: u64, addr: u64) {
    let caller = caller();
    if Inflight::current().is_some() || !caller.has_syscall() {
        return;
    }
    let Some(socket) = socket::owner::<Typed>(sk) else {
        return;
    };
    open(
        caller,
        &ProtocolCall {
            op: op::BIND,
            socket,
            addr,
            addr_len: caller.user_len,
            nonblock: None,
        },
    );
}

/// The verdict of cgroup BPF programs on the address.
#[inline(always)]
pub(crate) fn cgroup_returns(ret: i32) {
    if let Some(inflight) = Inflight::current() {
        note_cgroup(inflight, ret);
    }
}

/// Their verdict on the bound socket. Where that is a refusal, the record waits for the bind
/// that it is about; sockets are also judged as they are made and released.
#[inline(always)]
pub(crate) fn cgroup_socket_returns(sk: u64, ret: i32) {
    if let Some(inflight) = Inflight::current() {
        note_cgroup(inflight, ret);
    } else if ret != 0
        && let Some(inflight) = await_bind(sk)
    {
        note_cgroup(inflight, ret);
    }
}

#[inline(always)]
fn note_cgroup(inflight: &mut Inflight, ret: i32) {
    let stages = &mut inflight.attempt.stages;
    stages.reached |= stage::CGROUP;
    // The later of two verdicts counts only if it is a refusal.
    if ret != 0 || stages.cgroup == 0 {
        stages.cgroup = ret as i16;
    }
}

/// A port was looked for. Where that failed, the record waits for the bind that asked for it.
#[inline(always)]
pub(crate) fn get_port_returns(sk: u64, ret: i32) {
    if ret == 0 {
        return;
    }
    if let Some(inflight) = Inflight::current() {
        note_port(inflight, ret);
    } else if let Some(inflight) = await_bind(sk) {
        note_port(inflight, ret);
    }
}

/// Opens a record for a bind of which so far only the socket is known.
#[inline(always)]
fn await_bind(sk: u64) -> Option<&'static mut Inflight> {
    let caller = caller();
    if !caller.has_syscall() {
        return None;
    }
    let inflight = Inflight::create(op::BIND, caller.via, Owner::Syscall)?;
    inflight.sk = sk;
    Some(inflight)
}

#[inline(always)]
fn note_port(inflight: &mut Inflight, ret: i32) {
    inflight.attempt.stages.reached |= stage::GET_PORT;
    inflight.attempt.stages.get_port = ret as i16;
}

/// The bind system call returns: what failed is submitted here, with all that was noted on the way.
#[inline(always)]
pub(crate) fn sys_bind_returns(fd: i32, user_addr: u64, addr_len: i32, ret: i32) {
    mark_syscall();
    if ret == 0 {
        return;
    }
    sys_returns(op::BIND, fd, user_addr, addr_len, ret);
}

/// The connect system call returns. All of them are submitted here: some protocols' connects
/// have no hook.
#[inline(always)]
pub(crate) fn sys_connect_returns(fd: i32, user_addr: u64, addr_len: i32, ret: i32) {
    mark_syscall();
    sys_returns(op::CONNECT, fd, user_addr, addr_len, ret);
}

#[inline(always)]
fn sys_returns(op: u8, fd: i32, user_addr: u64, addr_len: i32, ret: i32) {
    if let Some(inflight) = Inflight::current() {
        if inflight.attempt.op == op {
            match op {
                op::CONNECT => inflight.close::<Typed>(ret),
                _ => inflight.finish::<Typed>(ret),
            }
        }
        Inflight::remove();
        return;
    }
    // No socket was reached, or one whose protocol has no hook.
    if !sockaddr::may_be_internet(user_addr, addr_len) {
        return;
    }
    attempt::emit::<Typed>(|attempt| {
        attempt::begin(attempt, op, task::via_syscall::<Typed>());
        attempt::note_descriptor(attempt, fd);
        attempt.sockaddr_len = addr_len;
        attempt::copy_user_address(attempt, user_addr);
        attempt::returned(attempt, ret);
    });
}

/// A protocol's connect begins.
#[inline(always)]
pub(crate) fn connect_enters(call: &ProtocolCall) {
    let caller = caller();
    if !is_wanted(caller) || !is_outermost(caller, call.socket) {
        return;
    }
    let Some(inflight) = open(caller, call) else {
        return;
    };
    attempt::note_before::<Typed>(&mut inflight.attempt, call.socket);
    if inflight.attempt.socket_state_before == SS_CONNECTING {
        inflight.attempt.known |= known::REPEAT;
    }
}

/// A protocol's connect returns.
#[inline(always)]
pub(crate) fn connect_returns(socket: u64, ret: i32) {
    let Some(sk) = socket::of_socket::<Typed>(socket) else {
        return;
    };
    let Some(inflight) = current(op::CONNECT, sk) else {
        return;
    };
    let attempt = &mut inflight.attempt;
    attempt.stages.reached |= stage::OPERATION;
    attempt.stages.operation = ret as i16;
    let rewritten = attempt.stages.reached & stage::CGROUP != 0;
    if rewritten && ret == 0 && attempt.known & known::EFFECTIVE == 0 {
        socket::far_end::<Typed>(attempt, sk);
    }
    // What TCP has told stays: the end that the SYN left from, which a refusal takes away again,
    // and of MPTCP the subflow's, which this socket need not have.
    if attempt.known & known::LOCAL == 0 {
        socket::local_end::<Typed>(attempt, sk);
    }
    if inflight.owner == Owner::Protocol {
        inflight.close::<Typed>(ret);
        Inflight::remove();
    }
}

/// listen() begins. It matters where it binds the socket too.
#[inline(always)]
pub(crate) fn listen_enters(socket: u64) {
    let Some(sk) = socket::of_socket::<Typed>(socket) else {
        return;
    };
    if socket::port::<Typed>(sk) != Some(0) {
        return;
    }
    let caller = caller();
    if is_wanted(caller) && is_outermost(caller, socket) {
        open(
            caller,
            &ProtocolCall {
                op: op::LISTEN,
                socket,
                addr: 0,
                addr_len: 0,
                nonblock: None,
            },
        );
    }
}

/// listen() returns.
#[inline(always)]
pub(crate) fn listen_returns(socket: u64, ret: i32) {
    let Some(sk) = socket::of_socket::<Typed>(socket) else {
        return;
    };
    let Some(inflight) = current(op::LISTEN, sk) else {
        return;
    };
    inflight.attempt.stages.reached |= stage::OPERATION;
    inflight.attempt.stages.operation = ret as i16;
    socket::local_end::<Typed>(&mut inflight.attempt, sk);
    inflight.close::<Typed>(ret);
    Inflight::remove();
}

/// TCP has sent its SYN, or failed to.
#[inline(always)]
pub(crate) fn tcp_connect_returns(sk: u64, addr: u64, addr_len: i32, ret: i32) {
    match Inflight::current() {
        Some(inflight) if inflight.attempt.op == op::CONNECT => {
            note_tcp(inflight, sk, ret);
        }
        Some(_) => {}
        None => fast_open_returns(sk, addr, addr_len, ret),
    }
}

#[inline(always)]
fn note_tcp(inflight: &mut Inflight, sk: u64, ret: i32) {
    let attempt = &mut inflight.attempt;
    attempt.stages.reached |= stage::CONNECT;
    attempt.stages.connect = ret as i16;
    inflight.end_sk = sk;
    socket::local_end::<Typed>(attempt, sk);
    if attempt.stages.reached & stage::CGROUP != 0 {
        socket::far_end::<Typed>(attempt, sk);
    }
    if ret == 0 {
        attempt.stages.reached |= stage::SYN_SENT;
        await_outcome(inflight, sk);
    }
}

/// A connect that came with the first data, of which no other hook knows.
#[inline(always)]
fn fast_open_returns(sk: u64, addr: u64, addr_len: i32, ret: i32) {
    let caller = caller();
    let Some(socket) = socket::owner::<Typed>(sk) else {
        return;
    };
    if caller.via != via::FASTOPEN || !is_outermost(caller, socket) || is_inner_ipv4(sk, addr) {
        return;
    }
    let call = ProtocolCall {
        op: op::CONNECT,
        socket,
        addr,
        addr_len,
        nonblock: None,
    };
    let Some(inflight) = open(caller, &call) else {
        return;
    };
    note_tcp(inflight, sk, ret);
    if ret == 0 {
        // What sendto() will return is not this call's result.
        inflight.submit::<Typed>();
    } else {
        inflight.finish::<Typed>(ret);
    }
    Inflight::remove();
}

/// `tcp_v6_connect` calls `tcp_v4_connect` for a mapped address: an IPv6 socket, and an IPv4 address.
#[inline(always)]
fn is_inner_ipv4(sk: u64, addr: u64) -> bool {
    let mut start = [0; SOCKADDR_LEN];
    sockaddr::copy_kernel(&mut start, addr, 2)
        && socket::family::<Typed>(sk) != Some(u16::from_ne_bytes([start[0], start[1]]))
}

/// Remembers the connect until the socket's state tells how it ended.
#[inline(always)]
fn await_outcome(inflight: &Inflight, sk: u64) {
    let pending = Pending {
        start_ns: inflight.attempt.start_ns,
        tid: task::key() as u32,
        reset: 0,
    };
    if PENDING.insert(sk, pending, BPF_ANY.into()).is_err() {
        count_loss(loss::PENDING_FULL);
    }
}

/// A TCP socket changes its state: a pending connect may have ended.
#[inline(always)]
pub(crate) fn state_changes(sk: u64, from: u32, to: u32) {
    if (from, to) == (TCP_CLOSE, TCP_SYN_SENT) {
        note_syn_sent(sk);
        return;
    }
    if from != TCP_SYN_SENT && from != TCP_SYN_RECV || to == TCP_SYN_RECV {
        return;
    }
    let Some(pending) = PENDING.get_ptr_mut(sk) else {
        return;
    };
    // SAFETY: the entry stays until it is removed below, by whoever changes the state.
    let pending = unsafe { *pending };
    let outcome = Outcome {
        kind: KIND_OUTCOME,
        error: socket::error::<Typed>(sk).unwrap_or(0),
        start_ns: pending.start_ns,
        end_ns: now(),
        tid: pending.tid,
        state: to as u16,
        reset: pending.reset as u16,
    };
    if EVENTS.output::<Outcome>(&outcome, 0).is_err() {
        count_loss(loss::RING_FULL);
    }
    // Two changes of one socket do not overlap; it is there.
    let _ = PENDING.remove(sk);
}

/// TCP has found a route and a source address, and goes on to find a port and to send its SYN.
/// MPTCP's own socket takes that state before TCP is asked.
#[inline(always)]
fn note_syn_sent(sk: u64) {
    if socket::protocol::<Typed>(sk) == Some(IPPROTO_TCP)
        && let Some(inflight) = Inflight::current()
    {
        inflight.attempt.stages.reached |= stage::SYN_SENT;
    }
}

/// A reset has come for a TCP socket; what it ends is told by the change of state that follows.
#[inline(always)]
pub(crate) fn reset_comes(sk: u64) {
    if let Some(pending) = PENDING.get_ptr_mut(sk) {
        // SAFETY: the entry stays until the socket changes its state, which it does after this.
        unsafe { (*pending).reset = 1 };
    }
}

/// A system call of interest has come through to its function: seccomp let it.
#[inline(always)]
fn mark_syscall() {
    // The tracepoint that takes the mark away says nothing of 32-bit callers.
    if setting!(seccomp) != 0
        && task::is_compat::<Typed>() != Some(true)
        && PASSED.insert(task::key(), 0, BPF_ANY.into()).is_err()
    {
        count_loss(loss::INFLIGHT_FULL);
    }
}

/// A system call of interest returns, with its function called or not.
#[inline(always)]
pub(crate) fn syscall_exits(op: u8, ret: i32) {
    if setting!(seccomp) == 0 || PASSED.remove(task::key()).is_ok() || ret >= 0 {
        return;
    }
    let caller = caller();
    attempt::emit::<Typed>(|attempt| {
        attempt::begin(attempt, op, caller.via);
        note_descriptor(attempt, caller);
        attempt.sockaddr_len = caller.user_len;
        attempt::copy_user_address(attempt, caller.user_addr);
        attempt::returned(attempt, ret);
        attempt.known |= known::SECCOMP;
    });
}
