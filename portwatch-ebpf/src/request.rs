//! Requests of `io_uring`, as its own functions get them that issue one: `io_connect`, `io_bind` and
//! `io_listen` (`io_uring/net.c`).
//!
//! Those say who asks. The thread's registers do not: a request may run on its thread within any system
//! call, as task work.

use portwatch_common::event::{Attempt, known, op, stage};

use crate::{
    attempt::{Inflight, ProtocolCall, copy_user_address},
    maps::{RING_ADDRESSES, present, setting},
    memory::{Memory as _, Probed},
    sockaddr,
    task::CurrentTask,
};

// What an issue function returns of a request that is not over (`io_uring/io_uring.h`): the ring tries again
// (`EAGAIN`, since 6.15 `IOU_RETRY`), something else completes it (`IOU_ISSUE_SKIP_COMPLETE`), or a worker is to
// do it (`IOU_REQUEUE`).
pub(crate) const GOES_ON: i32 = -11;
const EIOCBQUEUED: i32 = -529;
const REQUEUE: i32 = -3072;
/// More than any of the structs has bytes in which a request keeps its address.
const MOST: u64 = 1024;

/// Notes a `struct io_kiocb`, and the address that it asks for.
#[inline(always)]
pub(crate) fn note(inflight: &mut Inflight, request: u64) {
    inflight.request = request;
    let attempt = &mut inflight.attempt;
    let noted = match attempt.op {
        op::CONNECT => note_length(attempt, request, setting!(offsets.ring_connect_len)),
        op::BIND => note_length(attempt, request, setting!(offsets.ring_bind_len)),
        _ => None,
    };
    if noted.is_some() && !copy_kept(attempt, request) && attempt.op == op::CONNECT {
        copy_users(attempt, request);
    }
}

#[inline(always)]
fn note_length(attempt: &mut Attempt, request: u64, offset: u32) -> Option<()> {
    attempt.sockaddr_len = Probed::read(request, present(offset)?)?;
    Some(())
}

/// Where a request keeps its address, a protocol's function tells that is called with it: kernels differ.
#[inline(always)]
pub(crate) fn learn(inflight: &mut Inflight, call: &ProtocolCall) {
    if inflight.request == 0 {
        return;
    }
    inflight.addr = call.addr;
    // SAFETY: it was written just now. Read back it is a number, with which the verifier allows to reckon.
    let addr = unsafe { (&raw const inflight.addr).read_volatile() };
    let distance = addr.wrapping_sub(kept(inflight.request));
    if distance < MOST
        && let Some(learnt) = RING_ADDRESSES.get_ptr_mut(call.op.into())
    {
        // SAFETY: the slot is never removed; all who write to it write the same.
        unsafe { *learnt = distance as u32 + 1 };
    }
}

/// What was made when the request was prepared, with the kernel's own copy of the address; 0 where there is
/// no such thing.
#[inline(always)]
fn kept(request: u64) -> u64 {
    present(setting!(offsets.ring_async_data))
        .and_then(|data| Probed::read(request, data))
        .unwrap_or(0)
}

#[inline(always)]
fn copy_kept(attempt: &mut Attempt, request: u64) -> bool {
    let learnt = RING_ADDRESSES.get(attempt.op.into()).copied().unwrap_or(0);
    let kept = kept(request);
    if learnt == 0 || kept == 0 {
        return false;
    }
    let from = kept.wrapping_add((learnt - 1).into());
    let copied = sockaddr::copy_kernel(&mut attempt.sockaddr, from, attempt.sockaddr_len);
    if copied {
        attempt.known |= known::SOCKADDR;
    }
    copied
}

/// The caller's own, which the function is about to read.
#[inline(always)]
fn copy_users(attempt: &mut Attempt, request: u64) {
    if let Some(offset) = present(setting!(offsets.ring_connect_addr))
        && let Some(from) = Probed::read(request, offset)
    {
        copy_user_address(attempt, from);
    }
}

/// What came of a request whose function has returned that, or [`GOES_ON`]: no `Option`, of which the compiler
/// would leave half undefined, which the verifier refuses.
#[inline(always)]
pub(crate) fn result(request: u64, ret: i32) -> i32 {
    match ret {
        GOES_ON | EIOCBQUEUED | REQUEUE => GOES_ON,
        0 => present(setting!(offsets.ring_result))
            .and_then(|offset| Probed::read(request, offset))
            .unwrap_or(GOES_ON),
        error => error,
    }
}

/// The function that issued a request returns, and closes its record.
#[inline(always)]
pub(crate) fn close<M: CurrentTask>(inflight: &mut Inflight, result: i32) {
    let attempt = &inflight.attempt;
    if attempt.known & known::SOCKET == 0 && has_no_end(inflight, result) {
        return inflight.forget();
    }
    let result = if attempt.stages.reached & stage::OPERATION != 0 {
        attempt.stages.operation.into()
    } else {
        result
    };
    if result == GOES_ON {
        inflight.submit::<M>();
    } else {
        inflight.close::<M>(result);
    }
}

/// Whether a request that reached no protocol is no attempt that failed. As of a system call: a listen that binds
/// nothing, and what another family has granted; and the ring learning how a connect ended that was under way.
#[inline(always)]
fn has_no_end(inflight: &Inflight, result: i32) -> bool {
    inflight.attempt.op == op::LISTEN || result == 0 || is_under_way(inflight)
}

/// Whether a connect has begun before (since 6.4; until then the protocol is always asked again).
#[inline(always)]
fn is_under_way(inflight: &Inflight) -> bool {
    inflight.attempt.op == op::CONNECT
        && present(setting!(offsets.ring_in_progress))
            .and_then(|offset| Probed::read::<u8>(inflight.request, offset))
            .is_some_and(|in_progress| in_progress != 0)
}
