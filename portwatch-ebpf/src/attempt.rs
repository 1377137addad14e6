//! The one record per thread, from a call's entry to its return.
//!
//! The outermost hook that sees a call opens the record and owns it; hooks further in only
//! add to it. Whoever closes it submits it and removes it from the map.

use aya_ebpf::{bindings::BPF_ANY, helpers::generated::bpf_ktime_get_ns};
use portwatch_common::{
    event::{Attempt, KIND_ATTEMPT, known, options, via},
    settings::loss,
};

use crate::{
    maps::{EVENTS, INFLIGHT, count_loss, setting},
    sockaddr, socket, task,
};

// The errors of a call that reached no socket: `sockfd_lookup_light` and
// `move_addr_to_kernel`, net/socket.c.
const EBADF: i32 = -9;
const EFAULT: i32 = -14;
const ENOTSOCK: i32 = -88;
const AF_UNSPEC: u16 = 0;
const AF_INET: u16 = 2;
const AF_INET6: u16 = 10;

/// A call under way.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Inflight {
    pub(crate) attempt: Attempt,
    /// The caller's address, in its own memory; 0 where there was no system call
    user_addr: u64,
    /// The `struct sock` that the outermost protocol hook saw
    sk: u64,
    /// The one that gets the local end: of MPTCP a subflow, else the same
    end_sk: u64,
    /// Protocol hooks that were entered and have not returned
    depth: u32,
    owner: Owner,
}

/// Which hook opened the record, and so closes it.
#[repr(u32)]
#[derive(Clone, Copy, PartialEq, Eq)]
enum Owner {
    Syscall,
    Protocol,
}

/// What a protocol hook is called with.
pub(crate) struct ProtocolCall {
    pub(crate) op: u8,
    /// `struct socket`
    pub(crate) socket: u64,
    /// The kernel's copy of the address
    pub(crate) addr: u64,
    pub(crate) addr_len: i32,
    /// `O_NONBLOCK` is set; `None` for calls without flags
    pub(crate) nonblock: Option<bool>,
}

#[inline(always)]
fn new(op: u8, via: u8, owner: Owner) -> Inflight {
    // SAFETY: integers and byte arrays, for which zero is a value; `Owner::Syscall` is 0.
    let mut inflight: Inflight = unsafe { core::mem::zeroed() };
    inflight.attempt.kind = KIND_ATTEMPT;
    inflight.attempt.op = op;
    inflight.attempt.via = via;
    // SAFETY: the helper takes no arguments.
    inflight.attempt.start_ns = unsafe { bpf_ktime_get_ns() };
    inflight.owner = owner;
    inflight
}

/// The current thread's record.
#[inline(always)]
fn current() -> Option<&'static mut Inflight> {
    let record = INFLIGHT.get_ptr_mut(task::key())?;
    // SAFETY: only its own thread touches a record, and only outside interrupts.
    Some(unsafe { &mut *record })
}

#[inline(always)]
fn insert(inflight: &Inflight) {
    if INFLIGHT
        .insert(task::key(), inflight, BPF_ANY.into())
        .is_err()
    {
        count_loss(loss::INFLIGHT_FULL);
    }
}

/// A bind or connect system call begins.
#[inline(always)]
pub(crate) fn enter_syscall(op: u8, fd: i32, user_addr: u64, addr_len: i32) {
    if let Some(stale) = current() {
        // Its return was never seen: the result stays unknown, the attempt is not lost.
        submit(stale);
    }
    let mut inflight = new(op, task::via_syscall(), Owner::Syscall);
    inflight.user_addr = user_addr;
    inflight.attempt.fd = fd;
    inflight.attempt.sockaddr_len = addr_len;
    inflight.attempt.known = known::FD;
    copy_user_address(&mut inflight);
    insert(&inflight);
}

/// The system call returns.
#[inline(always)]
pub(crate) fn exit_syscall(op: u8, ret: i32) {
    let Some(inflight) = current() else { return };
    if inflight.attempt.op == op && inflight.owner == Owner::Syscall {
        // Memory that was not resident at entry is now: the kernel has read it itself.
        copy_user_address(inflight);
        close(inflight, ret);
    }
}

#[inline(always)]
fn copy_user_address(inflight: &mut Inflight) {
    if inflight.attempt.known & known::SOCKADDR == 0
        && sockaddr::copy_user(
            &mut inflight.attempt.sockaddr,
            inflight.user_addr,
            inflight.attempt.sockaddr_len,
        )
    {
        inflight.attempt.known |= known::SOCKADDR;
    }
}

/// A protocol's bind or connect begins: within a system call, or by itself.
#[inline(always)]
pub(crate) fn enter_protocol(call: &ProtocolCall) {
    match current() {
        Some(inflight) if inflight.attempt.op == call.op => nest(inflight, call),
        Some(_) => {}
        None => open_protocol(call),
    }
}

#[inline(always)]
fn nest(inflight: &mut Inflight, call: &ProtocolCall) {
    inflight.depth += 1;
    if inflight.sk == 0 {
        note_call(inflight, call);
    }
}

#[inline(always)]
fn open_protocol(call: &ProtocolCall) {
    if setting!(kernel) == 0 && task::is_kernel_thread() {
        return;
    }
    let mut inflight = new(call.op, task::via_without_syscall(), Owner::Protocol);
    inflight.depth = 1;
    inflight.attempt.sockaddr_len = call.addr_len;
    note_call(&mut inflight, call);
    insert(&inflight);
}

/// The kernel's copy of the address supersedes what was read from the caller's memory,
/// which another thread may have changed.
#[inline(always)]
fn note_call(inflight: &mut Inflight, call: &ProtocolCall) {
    let attempt = &mut inflight.attempt;
    if sockaddr::copy_kernel(&mut attempt.sockaddr, call.addr, call.addr_len) {
        attempt.known |= known::SOCKADDR;
    }
    if let Some(nonblock) = call.nonblock {
        attempt.known |= known::NONBLOCK;
        if nonblock {
            attempt.options |= options::NONBLOCK;
        }
    }
    inflight.sk = socket::of_socket(call.socket).unwrap_or(0);
    inflight.end_sk = inflight.sk;
    socket::describe(&mut inflight.attempt, inflight.sk);
}

/// A protocol's bind, or a connect that cannot wait, returns.
#[inline(always)]
pub(crate) fn exit_protocol(op: u8, ret: i32) {
    let Some(inflight) = current() else { return };
    if inflight.attempt.op != op {
        return;
    }
    inflight.depth = inflight.depth.saturating_sub(1);
    if inflight.depth == 0 {
        let sk = inflight.sk;
        socket::local_end(&mut inflight.attempt, sk);
        if inflight.owner == Owner::Protocol {
            close(inflight, ret);
        }
    }
}

/// TCP begins to connect, for itself or as a subflow of MPTCP.
#[inline(always)]
pub(crate) fn enter_tcp_connect(sk: u64) {
    if let Some(inflight) = current() {
        inflight.end_sk = sk;
    }
}

/// TCP has sent its SYN, or failed to: from here on the local end is known.
///
/// Of a call that came by no system call this is also the last that is seen: an error is
/// its result, and without one the result is still open.
#[inline(always)]
pub(crate) fn exit_tcp_connect(ret: i32) {
    let Some(inflight) = current() else { return };
    let sk = inflight.end_sk;
    socket::local_end(&mut inflight.attempt, sk);
    match inflight.owner {
        Owner::Syscall => {}
        Owner::Protocol if ret != 0 => close(inflight, ret),
        Owner::Protocol => submit(inflight),
    }
}

/// A 32-bit caller's system call returns, of which the system call tracepoints say nothing.
#[inline(always)]
pub(crate) fn exit_compat(op: u8, ret: i32) {
    if let Some(inflight) = current()
        && inflight.attempt.via == via::COMPAT32
    {
        exit_syscall(op, ret);
    }
}

#[inline(always)]
fn close(inflight: &mut Inflight, ret: i32) {
    let attempt = &mut inflight.attempt;
    attempt.ret = ret;
    // SAFETY: the helper takes no arguments.
    attempt.latency_ns = unsafe { bpf_ktime_get_ns() } - attempt.start_ns;
    attempt.known |= known::RET | known::LATENCY;
    submit(inflight);
}

/// Sends the record on its way and forgets it.
#[inline(always)]
fn submit(inflight: &mut Inflight) {
    if is_internet(&inflight.attempt) {
        task::describe(&mut inflight.attempt);
        if EVENTS.output::<Attempt>(&inflight.attempt, 0).is_err() {
            count_loss(loss::RING_FULL);
        }
    }
    // It is there: its own thread is the only one that removes it.
    let _ = INFLIGHT.remove(task::key());
}

/// Whether the attempt is about an internet address: `AF_UNIX` and others are nobody's business here.
///
/// Where no internet socket was reached the address decides. Where that has no family or
/// could not be read, the error must be one that comes before the socket; without protocol
/// hooks nobody here can tell, and userspace looks at the descriptor.
#[inline(always)]
fn is_internet(attempt: &Attempt) -> bool {
    if attempt.known & known::SOCKET != 0 {
        return true;
    }
    let readable = attempt.known & known::SOCKADDR != 0 && attempt.sockaddr_len >= 2;
    match u16::from_ne_bytes([attempt.sockaddr[0], attempt.sockaddr[1]]) {
        AF_INET | AF_INET6 if readable => true,
        family if readable && family != AF_UNSPEC => false,
        _ => setting!(protocol_hooks) == 0 || matches!(attempt.ret, EBADF | EFAULT | ENOTSOCK),
    }
}
