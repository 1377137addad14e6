//! The kprobe and tracepoint sources: every call lies between an entry and a return.
//!
//! The outermost hook that sees a call opens its record and owns it; hooks further in only
//! add to it. A kprobe's arguments are plain numbers, so kernel memory is read through helpers.

use portwatch_common::event::{op, via};

use crate::{
    attempt::{self, Inflight, Owner, ProtocolCall},
    maps::setting,
    memory::Probed,
    socket, task,
};

/// A bind or connect system call begins.
#[inline(always)]
pub(crate) fn enter_syscall(op: u8, fd: i32, user_addr: u64, addr_len: i32) {
    if let Some(stale) = Inflight::current() {
        // Its return was never seen: the result stays unknown, the attempt is not lost.
        stale.submit::<Probed>();
    }
    let via = task::via_syscall::<Probed>();
    let Some(inflight) = Inflight::create(op, via, Owner::Syscall) else {
        return;
    };
    inflight.user_addr = user_addr;
    inflight.attempt.sockaddr_len = addr_len;
    attempt::note_descriptor(&mut inflight.attempt, fd);
    attempt::copy_user_address(&mut inflight.attempt, user_addr);
}

/// The system call returns.
#[inline(always)]
pub(crate) fn exit_syscall(op: u8, ret: i32) {
    let Some(inflight) = Inflight::current() else {
        return;
    };
    if inflight.attempt.op == op && inflight.owner == Owner::Syscall {
        // Memory that was not resident at entry is now: the kernel has read it itself.
        let user_addr = inflight.user_addr;
        attempt::copy_user_address(&mut inflight.attempt, user_addr);
        close(inflight, ret);
    }
}

/// A protocol's bind or connect begins: within a system call, or by itself.
#[inline(always)]
pub(crate) fn enter_protocol(call: &ProtocolCall) {
    match Inflight::current() {
        Some(inflight) if encloses(inflight, call) => nest(inflight, call),
        Some(stale) => {
            // Its return was never seen: the result stays unknown, the attempt is not lost.
            stale.submit::<Probed>();
            open_protocol(call);
        }
        None => open_protocol(call),
    }
}

/// Whether a call that begins is part of the one on record. Of a connect that came by no system
/// call the return may not have been seen (`inet_stream_connect` has no return probe), and no
/// connect of that kind lies within another.
#[inline(always)]
fn encloses(inflight: &Inflight, call: &ProtocolCall) -> bool {
    match inflight.owner {
        Owner::Syscall => true,
        Owner::Protocol => inflight.attempt.op == call.op && call.op == op::BIND,
    }
}

#[inline(always)]
fn nest(inflight: &mut Inflight, call: &ProtocolCall) {
    if inflight.attempt.op != call.op {
        return;
    }
    inflight.depth += 1;
    if inflight.sk == 0 {
        note_call(inflight, call);
    }
}

/// The call and its socket, as they are before the protocol does anything.
#[inline(always)]
fn note_call(inflight: &mut Inflight, call: &ProtocolCall) {
    inflight.note_call::<Probed>(call);
    attempt::note_before::<Probed>(&mut inflight.attempt, call.socket);
    note_end(inflight);
}

/// The local end as it is: one that was there before stays where a call changes nothing.
#[inline(always)]
fn note_end(inflight: &mut Inflight) {
    let sk = inflight.end_sk;
    socket::local_end::<Probed>(&mut inflight.attempt, sk);
}

#[inline(always)]
fn open_protocol(call: &ProtocolCall) {
    if setting!(kernel) == 0 && task::is_kernel_thread::<Probed>() {
        return;
    }
    let via = task::via_without_syscall::<Probed>();
    if let Some(inflight) = Inflight::create(call.op, via, Owner::Protocol) {
        inflight.depth = 1;
        note_call(inflight, call);
    }
}

/// A protocol's bind, or a connect that cannot wait, returns.
#[inline(always)]
pub(crate) fn exit_protocol(op: u8, ret: i32) {
    let Some(inflight) = Inflight::current() else {
        return;
    };
    if inflight.attempt.op != op {
        return;
    }
    inflight.depth = inflight.depth.saturating_sub(1);
    if inflight.depth == 0 {
        let sk = inflight.sk;
        socket::local_end::<Probed>(&mut inflight.attempt, sk);
        socket::describe::<Probed>(&mut inflight.attempt, sk);
        if inflight.owner == Owner::Protocol {
            close(inflight, ret);
        }
    }
}

/// TCP begins to connect, for itself or as a subflow of MPTCP.
#[inline(always)]
pub(crate) fn enter_tcp_connect(sk: u64) {
    if let Some(inflight) = Inflight::current() {
        inflight.end_sk = sk;
    }
}

/// TCP has sent its SYN, or failed to: from here on the local end is known.
///
/// Of a call that came by no system call this is also the last that is seen: an error is
/// its result, and without one the result is still open.
#[inline(always)]
pub(crate) fn exit_tcp_connect(ret: i32) {
    let Some(inflight) = Inflight::current() else {
        return;
    };
    note_end(inflight);
    match inflight.owner {
        Owner::Syscall => {}
        Owner::Protocol if ret != 0 => close(inflight, ret),
        Owner::Protocol => {
            inflight.submit::<Probed>();
            Inflight::remove();
        }
    }
}

/// A 32-bit caller's system call returns, of which the system call tracepoints say nothing.
#[inline(always)]
pub(crate) fn exit_compat(op: u8, ret: i32) {
    if let Some(inflight) = Inflight::current()
        && inflight.attempt.via == via::COMPAT32
    {
        exit_syscall(op, ret);
    }
}

#[inline(always)]
fn close(inflight: &mut Inflight, ret: i32) {
    inflight.close::<Probed>(ret);
    Inflight::remove();
}
