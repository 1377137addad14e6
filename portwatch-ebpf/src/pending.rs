//! Connects that TCP has begun, until the socket's state tells how they ended.

use aya_ebpf::bindings::BPF_ANY;
use portwatch_common::{
    event::{KIND_OUTCOME, Outcome, stage},
    settings::loss,
};

use crate::{
    attempt::{Inflight, now},
    maps::{EVENTS, PENDING, count_loss},
    memory::Typed,
    socket, task,
};

/// A connect that TCP has begun.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Pending {
    start_ns: u64,
    /// The `struct sock` that a reset has come for. Not a flag: the map may give the entry to another
    /// socket just before this is written.
    reset_of: u64,
    tid: u32,
    unused: u32,
}

// include/net/tcp_states.h
const TCP_SYN_SENT: u32 = 2;
const TCP_SYN_RECV: u32 = 3;
const TCP_CLOSE: u32 = 7;
const IPPROTO_TCP: u16 = 6;

/// Remembers the connect until the socket's state tells how it ended.
#[inline(always)]
pub(crate) fn await_outcome(inflight: &Inflight, sk: u64) {
    let pending = Pending {
        start_ns: inflight.attempt.start_ns,
        reset_of: 0,
        tid: task::key() as u32,
        unused: 0,
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
    let Some(pending) = pending(sk) else {
        return;
    };
    let outcome = Outcome {
        kind: KIND_OUTCOME,
        error: socket::error::<Typed>(sk).unwrap_or(0),
        start_ns: pending.start_ns,
        end_ns: now(),
        tid: pending.tid,
        state: to as u16,
        reset: (pending.reset_of == sk).into(),
    };
    if EVENTS.output::<Outcome>(&outcome, 0).is_err() {
        count_loss(loss::RING_FULL);
    }
    // Two changes of one socket do not overlap: it is there, or was evicted just now.
    let _ = PENDING.remove(sk);
}

/// The entry of a socket, if it has one.
#[inline(always)]
fn pending(sk: u64) -> Option<Pending> {
    let entry = PENDING.get_ptr(sk)?;
    // SAFETY: entries are never freed, and any bytes are a value of one.
    let pending = unsafe { entry.read() };
    // While it was read the map may have given it to another socket: then it is not found again.
    (PENDING.get_ptr(sk) == Some(entry)).then_some(pending)
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
        // SAFETY: entries are never freed. One that was given to another socket is spoilt for nothing.
        unsafe { (*pending).reset_of = sk };
    }
}
