//! The fexit source: functions are seen when they return, with their arguments and result.
//!
//! A bind that simply succeeds is one hook and no record in a map: the protocol's function has
//! the socket, the address and the result in one place, and [`caller`] tells the rest. Only
//! what fails, or what cgroup BPF programs touched, opens a record, to which each station adds
//! its verdict until the system call returns. A connect has a record from its entry, since it
//! takes time and may outlive the call.

use aya_ebpf::maps::HashMap;
use portwatch_common::{
    event::{Attempt, SOCKADDR_LEN, known, lsm, op, via},
    filter::Verdict,
    settings::loss,
};

use crate::{
    attempt::{self, Inflight, Owner, ProtocolCall},
    bound, bracket,
    caller::{Caller, caller},
    filter::{self, Returned, Unreached},
    maps::{MARKED, MARKS, NOTED_BINDS, count_loss, setting},
    memory::{Probed, Typed},
    request, sockaddr, socket, station,
    task::{self, CurrentTask},
    thread::{Kept, TaskStorage},
    whole::Whole,
    witness,
};

/// Opens a record for a call that is seen for the first time, or goes on with that of a request.
#[inline(always)]
fn open(caller: Caller, call: &ProtocolCall) -> Option<&'static mut Inflight> {
    let inflight = match Inflight::issued(call.op) {
        Some(inflight) => inflight,
        None => Inflight::create::<Typed>(call.op, caller.via, caller.owner())?,
    };
    describe(inflight, caller, call);
    Some(inflight)
}

#[inline(always)]
fn describe(inflight: &mut Inflight, caller: Caller, call: &ProtocolCall) {
    request::learn(inflight, call);
    inflight.user_addr = caller.user_addr;
    caller.note_descriptor(&mut inflight.attempt);
    inflight.note_call::<Typed>(call);
}

/// The current thread's record, if it is about this operation on this socket, or was opened
/// before the socket was seen.
#[inline(always)]
fn current(op: u8, sk: u64) -> Option<&'static mut Inflight> {
    Inflight::current_of(op).filter(|inflight| inflight.sk == sk || inflight.sk == 0)
}

/// A record of a bind is about to be opened before its protocol returns.
#[inline(always)]
fn note_bind() {
    if let Some(noted) = NOTED_BINDS.get_ptr_mut(0) {
        // SAFETY: the slot is never removed; all who write to it write the same.
        unsafe { *noted = 1 };
    }
}

/// The current thread's record of a bind of that socket, if one was opened on its way.
#[inline(always)]
fn noted_bind(sk: u64) -> Option<&'static mut Inflight> {
    let noted = NOTED_BINDS.get(0).is_some_and(|&noted| noted != 0);
    if noted { current(op::BIND, sk) } else { None }
}

/// A protocol's bind returns.
#[inline(always)]
pub(crate) fn bind_returns(call: &ProtocolCall, ret: i32) {
    witness::has_run(call.socket);
    let Some(sk) = socket::of_socket::<Typed>(call.socket) else {
        return;
    };
    let inflight = noted_bind(sk);
    let returned = Returned { call, sk, ret };
    // Of what nothing was noted on its way the filter needs no more.
    let verdict = match inflight {
        None => verdict(&returned),
        Some(_) => Verdict::Pass,
    };
    if verdict == Verdict::Drop {
        return;
    }
    let caller = caller::<Typed>(op::BIND, call.socket);
    if !caller.is_wanted() || !caller.is_outermost::<Typed>(call.socket) {
        return;
    }
    let inflight = match inflight {
        Some(inflight) => {
            if inflight.attempt.known & known::SOCKET == 0 {
                describe(inflight, caller, call);
            }
            inflight
        }
        None if ret == 0 => return succeeds(caller, &returned, verdict),
        None => match open(caller, call) {
            Some(inflight) => inflight,
            None => return,
        },
    };
    note_bound::<Typed>(&mut inflight.attempt, call, sk, ret);
    // The return of whoever issued it is to come, and may say more.
    let goes_on = ret != 0 && caller.has_return();
    if !goes_on {
        inflight.finish::<Typed>(ret);
    }
}

/// A bind that simply succeeds: all is known in one place.
#[inline(always)]
fn succeeds(caller: Caller, returned: &Returned<'_>, verdict: Verdict) {
    let &Returned { call, sk, ret } = returned;
    if verdict == Verdict::Remember {
        bound::remember(caller, call, sk);
        return;
    }
    attempt::emit::<Typed>(|attempt| {
        attempt::begin(attempt, op::BIND, caller.via);
        caller.note_descriptor(attempt);
        attempt::note_call::<Typed>(attempt, call);
        note_bound::<Typed>(attempt, call, sk, ret);
        attempt::returned(attempt, ret);
    });
}

/// What the filter makes of a bind of which there is no record. One that fails is judged when all is
/// known, by its system call's return if it has one.
#[inline(always)]
fn verdict(returned: &Returned<'_>) -> Verdict {
    if returned.ret == 0 {
        filter::judge::<Typed>(returned)
    } else if filter::may_begin::<Typed>(returned.call) {
        Verdict::Pass
    } else {
        Verdict::Drop
    }
}

/// Notes what the operation did.
#[inline(always)]
fn note_bound<M: CurrentTask>(attempt: &mut Attempt, call: &ProtocolCall, sk: u64, ret: i32) {
    attempt.sockaddr_len = call.addr_len;
    station::note_effective(attempt, call.addr, call.addr_len);
    socket::local_end::<M>(attempt, sk);
    station::note_operation(attempt, ret);
    if ret != 0 {
        // A bind that fails leaves the socket as it was.
        station::note_before::<M>(attempt, call);
    } else if attempt::takes_privilege(attempt) {
        socket::net_user_ns::<M>(attempt, sk);
    }
}

/// One security module's verdict is in; that of all of them follows.
#[inline(always)]
pub(crate) fn module_returns(op: u8, module: u8, ret: i32) {
    if ret != 0 && filter::admits::<Typed>(op) {
        Inflight::announce_refusal(op, module);
    }
}

/// The security modules' verdict is in.
#[inline(always)]
pub(crate) fn lsm_returns(call: &ProtocolCall, ret: i32) {
    if ret == 0 {
        return witness::is_permitted(call);
    }
    let announced = Inflight::current_of(call.op);
    let module = announced.map_or(lsm::UNKNOWN, |inflight| inflight.attempt.lsm);
    let caller = caller::<Typed>(call.op, call.socket);
    let Some(inflight) = open(caller, call) else {
        return;
    };
    station::note_refusal(&mut inflight.attempt, ret);
    inflight.attempt.lsm = module;
    station::note_before::<Typed>(&mut inflight.attempt, call);
    if !caller.has_return() {
        inflight.finish::<Typed>(ret);
    }
}

/// cgroup BPF programs are about to see the address, and may change it.
///
/// Also called for sendmsg(), getsockname() and others: only a bind has no record yet that
/// holds what was asked for.
#[inline(always)]
pub(crate) fn cgroup_enters(sk: u64, addr: u64) {
    let Some(socket) = socket::owner::<Typed>(sk) else {
        return;
    };
    let caller = caller::<Typed>(op::BIND, socket);
    // How long it is, the bind's return tells; the kernel's copy has room for the longest.
    let call = ProtocolCall::without_flags(op::BIND, socket, addr, SOCKADDR_LEN as i32);
    match Inflight::current() {
        Some(inflight) if inflight.sk == 0 && inflight.attempt.op == op::BIND => {
            describe(inflight, caller, &call);
        }
        None if caller.has_return() => {
            note_bind();
            open(caller, &call);
        }
        _ => {}
    }
}

/// `io_uring` issues a request.
#[inline(always)]
pub(crate) fn ring_enters(op: u8, request: u64) {
    if op == op::BIND {
        note_bind();
    }
    if let Some(inflight) = Inflight::create::<Typed>(op, via::IO_URING, Owner::Issuer) {
        request::note(inflight, request);
    }
}

/// Its function returns. A bind that succeeded, and a listen, were submitted by their protocol's.
#[inline(always)]
pub(crate) fn ring_returns(op: u8, ret: i32) {
    if let Some(inflight) = Inflight::issued(op) {
        let result = request::result(inflight.request, ret);
        request::close::<Typed>(inflight, result);
    }
    if op == op::BIND
        && let Some(witness) = witness::take_known()
    {
        witness.count();
    }
}

/// The verdict of cgroup BPF programs on the address.
#[inline(always)]
pub(crate) fn cgroup_returns(ret: i32) {
    if let Some(inflight) = Inflight::current() {
        station::note_cgroup(&mut inflight.attempt, ret);
    }
}

/// Their verdict on the bound socket. Where that is a refusal, the record waits for the bind
/// that it is about; sockets are also judged as they are made and released.
#[inline(always)]
pub(crate) fn cgroup_socket_returns(sk: u64, ret: i32) {
    if let Some(inflight) = Inflight::current() {
        station::note_cgroup(&mut inflight.attempt, ret);
    } else if ret != 0
        && let Some(inflight) = await_bind(sk)
    {
        station::note_cgroup(&mut inflight.attempt, ret);
    }
}

/// Opens a record for a bind of which so far only the socket is known.
#[inline(always)]
fn await_bind(sk: u64) -> Option<&'static mut Inflight> {
    let caller = caller::<Typed>(op::BIND, 0);
    if !caller.has_return() {
        return None;
    }
    note_bind();
    let inflight = Inflight::create::<Typed>(op::BIND, caller.via, caller.owner())?;
    inflight.sk = sk;
    Some(inflight)
}

/// The bind system call returns: what failed is submitted here, with all that was noted on the way, and
/// what the protocol's program was skipped for.
#[inline(always)]
pub(crate) fn sys_bind_returns(fd: i32, user_addr: u64, addr_len: i32, ret: i32) {
    let _whole = Whole::begin();
    mark_syscall();
    let witness = witness::take(user_addr, addr_len, ret);
    // The protocol's hook has seen a bind that succeeded.
    if ret == 0 && witness.is_none() {
        return;
    }
    if let Some(witness) = witness {
        witness.count();
    }
    let call = witness.and_then(|witness| witness.call(addr_len));
    sys_returns(op::BIND, fd, user_addr, addr_len, ret, call.as_ref());
}

/// The connect system call returns. All of them are submitted here: some protocols' connects
/// have no hook.
#[inline(always)]
pub(crate) fn sys_connect_returns(fd: i32, user_addr: u64, addr_len: i32, ret: i32) {
    mark_syscall();
    sys_returns(op::CONNECT, fd, user_addr, addr_len, ret, None);
}

#[inline(always)]
fn sys_returns(
    op: u8,
    fd: i32,
    user_addr: u64,
    addr_len: i32,
    ret: i32,
    bind: Option<&ProtocolCall>,
) {
    match Inflight::current() {
        Some(inflight) if is_of(inflight, op, fd) => {
            // Of SCTP, whose function a kprobe is on.
            bracket::end_connect(inflight, ret);
            return match op {
                op::CONNECT => inflight.close::<Typed>(ret),
                _ => inflight.finish::<Typed>(ret),
            };
        }
        // The return of another call was not seen.
        Some(stale) => stale.forget(),
        None => {}
    }
    // No socket was reached, or one whose protocol has no hook.
    if !sockaddr::may_be_internet(user_addr, addr_len) {
        return;
    }
    let unreached = Unreached {
        op,
        addr: user_addr,
        addr_len,
        ret,
    };
    emit_unreached(&unreached, |attempt| {
        attempt::begin(attempt, op, task::via_syscall::<Typed>());
        attempt::note_descriptor(attempt, fd);
        attempt.sockaddr_len = addr_len;
        attempt::copy_user_address(attempt, user_addr);
        if let Some(call) = bind {
            note_witnessed(attempt, call, ret);
        }
        attempt::returned(attempt, ret);
    });
}

/// The bind's socket by a pointer that was kept, which is a number to the verifier.
#[inline(always)]
fn note_witnessed(attempt: &mut Attempt, call: &ProtocolCall, ret: i32) {
    attempt::note_call::<Probed>(attempt, call);
    if let Some(sk) = socket::of_socket::<Probed>(call.socket) {
        note_bound::<Probed>(attempt, call, sk, ret);
    }
}

/// Whether a record is of a system call with that descriptor, as far as it is known.
#[inline(always)]
fn is_of(inflight: &Inflight, op: u8, fd: i32) -> bool {
    let attempt = &inflight.attempt;
    let is_same = attempt.known & known::FD == 0 || attempt.fd == fd;
    attempt.op == op && attempt.via != via::IO_URING && is_same
}

/// Sends a call that reached no socket, if the filter lets it pass.
#[inline(always)]
fn emit_unreached(unreached: &Unreached, write: impl FnOnce(&mut Attempt)) {
    if filter::judge_unreached::<Typed>(unreached) == Verdict::Pass {
        attempt::emit::<Typed>(write);
    }
}

/// A protocol's connect begins.
#[inline(always)]
pub(crate) fn connect_enters(call: &ProtocolCall) {
    if !filter::may_begin::<Typed>(call) {
        return;
    }
    let caller = caller::<Typed>(op::CONNECT, call.socket);
    if caller.is_wanted()
        && caller.is_outermost::<Typed>(call.socket)
        && let Some(inflight) = open(caller, call)
    {
        station::note_before::<Typed>(&mut inflight.attempt, call);
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
    let is_open = attempt.known & known::EFFECTIVE == 0;
    if ret == 0 && is_open && station::passed_cgroup(attempt) {
        socket::far_end::<Typed>(attempt, sk);
    }
    // What TCP has told stays: the end that the SYN left from, which a refusal takes away again,
    // and of MPTCP the subflow's, which this socket need not have.
    if attempt.known & known::LOCAL == 0 {
        socket::local_end::<Typed>(attempt, sk);
    }
    station::note_operation(attempt, ret);
    station::note_deferral::<Typed>(attempt, sk, ret);
    if inflight.owner == Owner::Protocol {
        inflight.close::<Typed>(ret);
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
    let caller = caller::<Typed>(op::LISTEN, socket);
    if caller.is_wanted() && caller.is_outermost::<Typed>(socket) {
        open(caller, &ProtocolCall::listen(socket));
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
    socket::local_end::<Typed>(&mut inflight.attempt, sk);
    station::note_operation(&mut inflight.attempt, ret);
    inflight.close::<Typed>(ret);
}

/// TCP has sent its SYN, or failed to.
#[inline(always)]
pub(crate) fn tcp_connect_returns(sk: u64, addr: u64, addr_len: i32, ret: i32) {
    match Inflight::current() {
        Some(inflight) if inflight.attempt.op == op::CONNECT => {
            station::note_tcp::<Typed>(inflight, sk, ret);
        }
        Some(_) => {}
        None => fast_open_returns(sk, addr, addr_len, ret),
    }
}

/// A connect that came with the first data, of which no other hook knows.
#[inline(always)]
fn fast_open_returns(sk: u64, addr: u64, addr_len: i32, ret: i32) {
    let Some(socket) = socket::owner::<Typed>(sk) else {
        return;
    };
    let mut caller = caller::<Typed>(op::CONNECT, socket);
    let is_outermost = caller.is_outermost::<Typed>(socket);
    if !caller.is_fast_open() || !is_outermost || is_inner_ipv4(sk, addr) {
        return;
    }
    caller.via = via::FASTOPEN;
    let call = ProtocolCall::without_flags(op::CONNECT, socket, addr, addr_len);
    let Some(inflight) = open(caller, &call) else {
        return;
    };
    station::note_tcp::<Typed>(inflight, sk, ret);
    if ret == 0 {
        // What sendto() will return is not this call's result.
        inflight.submit::<Typed>();
    } else {
        inflight.finish::<Typed>(ret);
    }
}

/// `tcp_v6_connect` calls `tcp_v4_connect` for a mapped address: an IPv6 socket, and an IPv4 address.
#[inline(always)]
fn is_inner_ipv4(sk: u64, addr: u64) -> bool {
    let mut start = [0; SOCKADDR_LEN];
    sockaddr::copy_kernel(&mut start, addr, 2)
        && socket::family::<Typed>(sk) != Some(u16::from_ne_bytes([start[0], start[1]]))
}

/// How far a thread's call has come.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Marks {
    /// 1 where seccomp let it through, and it has not returned
    passed: u32,
    unused: u32,
}

static UNMARKED: Marks = Marks {
    passed: 0,
    unused: 0,
};

impl Kept for Marks {
    #[inline(always)]
    fn storage() -> &'static TaskStorage<Self> {
        &MARKS
    }

    #[inline(always)]
    fn table() -> &'static HashMap<u64, Self> {
        &MARKED
    }

    #[inline(always)]
    fn blank() -> &'static Self {
        &UNMARKED
    }
}

/// A system call of interest has come through to its function: seccomp let it.
#[inline(always)]
fn mark_syscall() {
    // The tracepoint that takes the mark away says nothing of 32-bit callers.
    if setting!(seccomp) == 0 || task::is_compat::<Typed>() == Some(true) {
        return;
    }
    match Marks::find_or_make() {
        // SAFETY: only its own thread touches its marks.
        Some(marks) => unsafe { (*marks).passed = 1 },
        None => count_loss(loss::INFLIGHT_FULL),
    }
}

/// Takes the mark away. Gives whether there was one.
#[inline(always)]
fn unmark_syscall() -> bool {
    let Some(marks) = Marks::find() else {
        return false;
    };
    // SAFETY: only its own thread touches its marks.
    let passed = unsafe { core::mem::take(&mut (*marks).passed) };
    Marks::give_back();
    passed != 0
}

/// A system call of interest returns, with its function called or not.
#[inline(always)]
pub(crate) fn syscall_exits(op: u8, ret: i32) {
    if setting!(seccomp) == 0 || unmark_syscall() || ret >= 0 {
        return;
    }
    let caller = caller::<Typed>(op, 0);
    let unreached = Unreached {
        op,
        addr: caller.user_addr,
        addr_len: caller.user_len,
        ret,
    };
    emit_unreached(&unreached, |attempt| {
        attempt::begin(attempt, op, caller.via);
        caller.note_descriptor(attempt);
        attempt.sockaddr_len = caller.user_len;
        attempt::copy_user_address(attempt, caller.user_addr);
        attempt::returned(attempt, ret);
        attempt.known |= known::SECCOMP;
    });
}
