//! The kprobe and tracepoint sources: every call lies between an entry and a return.
//!
//! The outermost hook that sees a call opens its record and owns it; hooks further in only
//! add to it. A kprobe's arguments are plain numbers, so kernel memory is read through helpers;
//! a kretprobe has none, so what it needs of them is kept in the record.

use portwatch_common::event::{op, via};

use crate::{
    attempt::{self, Inflight, Owner, ProtocolCall},
    caller::{Caller, TELLS_COMPAT_RETURNS, caller},
    memory::Probed,
    request, socket, station, task,
};

/// A bind or connect system call, as it begins.
pub(crate) struct SystemCall {
    pub(crate) op: u8,
    pub(crate) fd: i32,
    /// The address, in the caller's memory
    pub(crate) addr: u64,
    pub(crate) addr_len: i32,
}

/// A system call begins. Gives its record, where it is of interest.
#[inline(always)]
pub(crate) fn enter_syscall(call: &SystemCall) -> Option<&'static mut Inflight> {
    submit_stale();
    let via = task::via_syscall::<Probed>();
    // The protocol's hooks make a record of a call whose return is not seen, as of one by io_uring.
    if !TELLS_COMPAT_RETURNS && via == via::COMPAT32 && call.op == op::CONNECT {
        return None;
    }
    let inflight = Inflight::create::<Probed>(call.op, via, Owner::Issuer)?;
    inflight.user_addr = call.addr;
    inflight.attempt.sockaddr_len = call.addr_len;
    attempt::note_descriptor(&mut inflight.attempt, call.fd);
    attempt::copy_user_address(&mut inflight.attempt, call.addr);
    Some(inflight)
}

/// The same, by the first of two programs.
#[inline(always)]
pub(crate) fn enter_syscall_first(call: &SystemCall) {
    if let Some(inflight) = enter_syscall(call) {
        inflight.await_second();
    }
}

/// The same, by the second. Gives whether it had to do what the first was skipped for.
#[inline(always)]
pub(crate) fn enter_syscall_again(call: &SystemCall) -> bool {
    let is_there = Inflight::current().is_some_and(Inflight::meet_second);
    !is_there && enter_syscall(call).is_some()
}

/// The return of a record that is still there was never seen: its result stays unknown, the
/// attempt is not lost.
#[inline(always)]
fn submit_stale() {
    if let Some(stale) = Inflight::current() {
        stale.submit::<Probed>();
    }
}

/// The thread ends: what is still on its record gets no return any more.
#[inline(always)]
pub(crate) fn thread_exits() {
    submit_stale();
}

/// The system call returns. Gives whether there was a record of it.
#[inline(always)]
pub(crate) fn exit_syscall(op: u8, ret: i32) -> bool {
    let Some(inflight) = Inflight::current_of(op) else {
        return false;
    };
    if inflight.owner != Owner::Issuer {
        return false;
    }
    // Memory that was not resident at entry is now: the kernel has read it itself.
    let user_addr = inflight.user_addr;
    attempt::copy_user_address(&mut inflight.attempt, user_addr);
    end_connect(inflight, ret);
    inflight.close::<Probed>(ret);
    true
}

/// What a connect's function returns that has no return probe, the system call returns too.
#[inline(always)]
pub(crate) fn end_connect(inflight: &mut Inflight, ret: i32) {
    if inflight.attempt.op != op::CONNECT || inflight.depth == 0 {
        return;
    }
    let sk = inflight.sk;
    // What TCP has told stays: the end that the SYN left from, which a refusal takes away again.
    if inflight.end_sk == 0 {
        socket::local_end::<Probed>(&mut inflight.attempt, sk);
    }
    station::note_operation(&mut inflight.attempt, ret);
    station::note_deferral::<Probed>(&mut inflight.attempt, sk, ret);
}

/// `io_uring` issues a request.
#[inline(always)]
pub(crate) fn enter_ring(op: u8, request: u64) {
    submit_stale();
    if let Some(inflight) = Inflight::create::<Probed>(op, via::IO_URING, Owner::Issuer) {
        request::note(inflight, request);
    }
}

/// Its function returns.
#[inline(always)]
pub(crate) fn exit_ring(op: u8, ret: i32) {
    if let Some(inflight) = Inflight::issued(op) {
        let result = request::result(inflight.request, ret);
        if result != request::GOES_ON {
            end_connect(inflight, result);
        }
        request::close::<Probed>(inflight, result);
    }
}

/// The security modules are asked about a system call, or about what `io_uring` does.
#[inline(always)]
pub(crate) fn enter_lsm(call: &ProtocolCall) {
    match Inflight::current_of(call.op) {
        Some(inflight) if inflight.owner == Owner::Issuer => inflight.remember(call),
        _ => {
            submit_stale();
            open(caller::<Probed>(call.op, call.socket), call);
        }
    }
}

/// One security module's verdict is in; that of all of them follows.
#[inline(always)]
pub(crate) fn exit_module(module: u8, ret: i32) {
    if ret != 0
        && let Some(inflight) = Inflight::current()
    {
        inflight.attempt.lsm = module;
    }
}

/// The security modules' verdict is in. Where they let pass what nobody was seen to issue, the
/// protocol's entry opens a record of its own.
#[inline(always)]
pub(crate) fn exit_lsm(op: u8, ret: i32) {
    let Some(inflight) = Inflight::current_of(op) else {
        return;
    };
    if ret != 0 {
        station::note_refusal(&mut inflight.attempt, ret);
        let call = inflight.call();
        note_call(inflight, &call);
    }
    if inflight.owner == Owner::Protocol {
        if ret == 0 {
            inflight.forget();
        } else {
            inflight.close::<Probed>(ret);
        }
    }
}

/// A protocol's bind or connect begins: within a system call, or by itself.
#[inline(always)]
pub(crate) fn enter_protocol(call: &ProtocolCall) {
    match Inflight::current() {
        Some(inflight) if encloses(inflight, call) => nest(inflight, call),
        _ => {
            submit_stale();
            open_protocol(call);
        }
    }
}

/// Whether a call that begins is part of the one on record. Of a connect that came by no system
/// call the return may not have been seen (`inet_stream_connect` has no return probe), and no
/// connect of that kind lies within another.
#[inline(always)]
fn encloses(inflight: &Inflight, call: &ProtocolCall) -> bool {
    match inflight.owner {
        Owner::Issuer => true,
        Owner::Protocol => inflight.attempt.op == call.op && call.op == op::BIND,
    }
}

#[inline(always)]
fn nest(inflight: &mut Inflight, call: &ProtocolCall) {
    if inflight.attempt.op != call.op {
        return;
    }
    inflight.depth += 1;
    if inflight.depth == 1 {
        request::learn(inflight, call);
        inflight.remember(call);
        note_call(inflight, call);
    }
}

/// The call and its socket, as they are before the protocol does anything.
#[inline(always)]
fn note_call(inflight: &mut Inflight, call: &ProtocolCall) {
    inflight.note_call::<Probed>(call);
    station::note_before::<Probed>(&mut inflight.attempt, call);
    // An end that was there before stays where a call changes nothing.
    let sk = inflight.sk;
    socket::local_end::<Probed>(&mut inflight.attempt, sk);
}

#[inline(always)]
fn open_protocol(call: &ProtocolCall) {
    let caller = caller::<Probed>(call.op, call.socket);
    if caller.is_wanted()
        && caller.is_outermost::<Probed>(call.socket)
        && let Some(inflight) = open(caller, call)
    {
        inflight.depth = 1;
        note_call(inflight, call);
    }
}

/// Opens a record for a call that came by no system call whose entry is hooked.
#[inline(always)]
fn open(caller: Caller, call: &ProtocolCall) -> Option<&'static mut Inflight> {
    let inflight = Inflight::create::<Probed>(call.op, caller.via, Owner::Protocol)?;
    caller.note_descriptor(&mut inflight.attempt);
    inflight.remember(call);
    Some(inflight)
}

/// SCTP's connect begins, whose return is that of the system call: nothing tells how one of
/// `io_uring` ends.
#[inline(always)]
pub(crate) fn enter_sctp_connect(call: &ProtocolCall) {
    match Inflight::current_of(call.op) {
        Some(inflight) => nest(inflight, call),
        None if caller::<Probed>(call.op, call.socket).has_return() => open_protocol(call),
        None => {}
    }
}

/// SCTP binds or connects by a socket option: `via` says which of its calls does so.
#[inline(always)]
pub(crate) fn enter_option(via: u8, op: u8, sk: u64, addr: u64, addr_len: i32) {
    // What lies within another call is a part of that.
    if Inflight::current().is_none()
        && let Some(socket) = socket::owner::<Probed>(sk)
        && caller::<Probed>(op, socket).via == via
    {
        open_protocol(&ProtocolCall::without_flags(op, socket, addr, addr_len));
    }
}

/// It has done so.
#[inline(always)]
pub(crate) fn exit_option(via: u8, op: u8, ret: i32) {
    if let Some(inflight) = Inflight::current()
        && inflight.attempt.via == via
    {
        exit_protocol(op, ret);
    }
}

/// A protocol's bind or listen, or a connect that cannot wait, returns.
#[inline(always)]
pub(crate) fn exit_protocol(op: u8, ret: i32) {
    let Some(inflight) = Inflight::current_of(op) else {
        return;
    };
    inflight.depth = inflight.depth.saturating_sub(1);
    if inflight.depth > 0 {
        return;
    }
    let sk = inflight.sk;
    if op == op::BIND {
        let (addr, len) = (inflight.addr, inflight.attempt.sockaddr_len);
        station::note_effective(&mut inflight.attempt, addr, len);
    } else if ret == 0 && station::passed_cgroup(&inflight.attempt) {
        socket::far_end::<Probed>(&mut inflight.attempt, sk);
    }
    socket::local_end::<Probed>(&mut inflight.attempt, sk);
    station::note_operation(&mut inflight.attempt, ret);
    socket::describe::<Probed>(&mut inflight.attempt, sk);
    if inflight.owner == Owner::Protocol {
        inflight.close::<Probed>(ret);
    }
}

/// listen() begins. It matters where it binds the socket too.
#[inline(always)]
pub(crate) fn enter_listen(socket: u64) {
    if socket::of_socket::<Probed>(socket).and_then(socket::port::<Probed>) == Some(0) {
        enter_protocol(&ProtocolCall::listen(socket));
    }
}

/// The verdict of cgroup BPF programs, on the address or on the bound socket.
#[inline(always)]
pub(crate) fn exit_cgroup(ret: i32) {
    if let Some(inflight) = Inflight::current() {
        station::note_cgroup(&mut inflight.attempt, ret);
    }
}

/// TCP begins to connect: for itself, as a subflow of MPTCP, or with the first data.
#[inline(always)]
pub(crate) fn enter_tcp_connect(sk: u64, addr: u64, addr_len: i32) {
    let inflight = match Inflight::current() {
        Some(inflight) => inflight,
        None => match open_fast(sk, addr, addr_len) {
            Some(inflight) => inflight,
            None => return,
        },
    };
    inflight.end_sk = sk;
    inflight.tcp_depth += 1;
}

/// A connect that comes with the first data, of which no other hook knows.
#[inline(always)]
fn open_fast(sk: u64, addr: u64, addr_len: i32) -> Option<&'static mut Inflight> {
    let socket = socket::owner::<Probed>(sk)?;
    let mut caller = caller::<Probed>(op::CONNECT, socket);
    if !caller.is_fast_open() || !caller.is_outermost::<Probed>(socket) {
        return None;
    }
    caller.via = via::FASTOPEN;
    let call = ProtocolCall::without_flags(op::CONNECT, socket, addr, addr_len);
    let inflight = open(caller, &call)?;
    note_call(inflight, &call);
    Some(inflight)
}

/// TCP has sent its SYN, or failed to: from here on the local end is known.
///
/// Of a call that came by no system call this is also the last that is seen: an error is
/// its result, and without one the result is still open.
#[inline(always)]
pub(crate) fn exit_tcp_connect(ret: i32) {
    let Some(inflight) = Inflight::current_of(op::CONNECT) else {
        return;
    };
    inflight.tcp_depth = inflight.tcp_depth.saturating_sub(1);
    // `tcp_v6_connect` calls `tcp_v4_connect` for an IPv4 address in an IPv6 one.
    if inflight.tcp_depth > 0 {
        return;
    }
    let sk = inflight.end_sk;
    station::note_tcp::<Probed>(inflight, sk, ret);
    match inflight.owner {
        // The return of the ring's function may be missed, where others that wait hold the instances.
        Owner::Issuer if inflight.attempt.via != via::IO_URING => {}
        _ if ret != 0 => inflight.close::<Probed>(ret),
        _ => inflight.submit::<Probed>(),
    }
}

/// A 32-bit caller's system call returns, of which the system call tracepoints say nothing.
#[cfg(bpf_target_arch = "x86_64")]
#[inline(always)]
pub(crate) fn exit_compat(op: u8, ret: i32) {
    if let Some(inflight) = Inflight::current()
        && inflight.attempt.via == via::COMPAT32
    {
        exit_syscall(op, ret);
    }
}
