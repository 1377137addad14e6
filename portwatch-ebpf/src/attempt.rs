//! The record of a call under way, whoever opened it, and its way out.

use aya_ebpf::{helpers::generated::bpf_ktime_get_ns, maps::HashMap};
use portwatch_common::{
    event::{Attempt, KIND_ATTEMPT, known, op, options, via},
    filter::Verdict,
    settings::loss,
};

use crate::{
    bound, filter,
    maps::{CALLS, EVENTS, INFLIGHT, count_loss, setting},
    sockaddr, socket,
    task::{self, CurrentTask},
    thread::{self, Kept, TaskStorage},
};

// The errors of a call that reached no socket: `sockfd_lookup_light` and
// `move_addr_to_kernel`, net/socket.c.
const EBADF: i32 = -9;
const EFAULT: i32 = -14;
const ENOTSOCK: i32 = -88;
// Those that a want of capabilities may have caused.
const EPERM: i32 = -1;
const EACCES: i32 = -13;
/// What an internet socket says to an address of another family.
const EAFNOSUPPORT: i32 = -97;
const AF_UNSPEC: u16 = 0;
const AF_INET: u16 = 2;
const AF_INET6: u16 = 10;

/// A call under way.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Inflight {
    pub(crate) attempt: Attempt,
    /// The caller's address, in its own memory; 0 where there was no system call
    pub(crate) user_addr: u64,
    /// The `struct socket` and the kernel's copy of the address, for returns that have no arguments
    pub(crate) socket: u64,
    pub(crate) addr: u64,
    /// Likewise the `struct io_kiocb` that asks for it
    pub(crate) request: u64,
    /// The `struct sock` that the outermost protocol hook saw
    pub(crate) sk: u64,
    /// The one that TCP connects: of MPTCP a subflow, else the same
    pub(crate) end_sk: u64,
    /// Protocol hooks that were entered and have not returned, and likewise TCP's connects
    pub(crate) depth: u32,
    pub(crate) tcp_depth: u32,
    pub(crate) owner: Owner,
    /// [`CLOSED`], [`OPEN`] or [`ENTERED`]
    open: u32,
}

/// No call is under way.
const CLOSED: u32 = 0;
const OPEN: u32 = 1;
/// Opened by the first of two programs at a system call's entry; the second is to come.
const ENTERED: u32 = 2;

/// Which hook closes the record.
#[repr(u32)]
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Owner {
    /// The return of whoever issued the call: of its system call, or of `io_uring`'s function
    Issuer,
    /// The return of the protocol's function
    Protocol,
}

/// What a protocol hook is called with.
pub(crate) struct ProtocolCall {
    pub(crate) op: u8,
    /// `struct socket`
    pub(crate) socket: u64,
    /// The kernel's copy of the address; 0 where the call has none
    pub(crate) addr: u64,
    pub(crate) addr_len: i32,
    /// `O_NONBLOCK` is set; `None` for calls without flags
    pub(crate) nonblock: Option<bool>,
}

impl ProtocolCall {
    /// A call that has no flags.
    #[inline(always)]
    pub(crate) const fn without_flags(op: u8, socket: u64, addr: u64, addr_len: i32) -> Self {
        Self {
            op,
            socket,
            addr,
            addr_len,
            nonblock: None,
        }
    }

    /// A listen(), which has no address either.
    #[inline(always)]
    pub(crate) const fn listen(socket: u64) -> Self {
        Self::without_flags(op::LISTEN, socket, 0, 0)
    }
}

/// An entry of the table as it begins. It lies in read-only memory: the stack has no room for it.
static BLANK: Inflight = Inflight {
    // SAFETY: integers and byte arrays, for which zero is a value.
    attempt: unsafe { core::mem::transmute::<[u64; ATTEMPT_WORDS], Attempt>([0; ATTEMPT_WORDS]) },
    user_addr: 0,
    socket: 0,
    addr: 0,
    request: 0,
    sk: 0,
    end_sk: 0,
    depth: 0,
    tcp_depth: 0,
    owner: Owner::Issuer,
    open: CLOSED,
};

const ATTEMPT_WORDS: usize = size_of::<Attempt>() / 8;
const WORDS: usize = size_of::<Inflight>() / 8;

impl Kept for Inflight {
    #[inline(always)]
    fn storage() -> &'static TaskStorage<Self> {
        &CALLS
    }

    #[inline(always)]
    fn table() -> &'static HashMap<u64, Self> {
        &INFLIGHT
    }

    #[inline(always)]
    fn blank() -> &'static Self {
        &BLANK
    }
}

impl Inflight {
    /// Opens a record for the current thread, in the place of any that was left behind; none
    /// where the filter says that it is of no interest.
    #[inline(always)]
    pub(crate) fn create<M: CurrentTask>(
        op: u8,
        via: u8,
        owner: Owner,
    ) -> Option<&'static mut Self> {
        if !filter::admits::<M>(op) {
            return None;
        }
        let Some(inflight) = Self::blank() else {
            count_loss(loss::INFLIGHT_FULL);
            return None;
        };
        begin(&mut inflight.attempt, op, via);
        inflight.owner = owner;
        Some(inflight)
    }

    /// Notes which security module refused a call: on its record, or for the hook that opens that
    /// next. Where there is no room, that hook counts the loss.
    #[inline(always)]
    pub(crate) fn announce_refusal(op: u8, module: u8) {
        if let Some(inflight) = Self::issued(op) {
            inflight.attempt.lsm = module;
        } else if let Some(inflight) = Self::blank() {
            inflight.attempt.op = op;
            inflight.attempt.lsm = module;
        }
    }

    /// A new record of nothing, if there is room.
    #[inline(always)]
    fn blank() -> Option<&'static mut Self> {
        let record = Self::find_or_make()?;
        if thread::in_storage() {
            clear::<WORDS>(record.cast());
        }
        // SAFETY: only its own thread touches a record, and only outside interrupts.
        let record = unsafe { &mut *record };
        record.open = OPEN;
        Some(record)
    }

    /// The current thread's record.
    #[inline(always)]
    pub(crate) fn current() -> Option<&'static mut Self> {
        let record = Self::find()?;
        // SAFETY: only its own thread touches a record, and only outside interrupts.
        let record = unsafe { &mut *record };
        (record.open != CLOSED).then_some(record)
    }

    /// The current thread's record, if it is about that operation.
    #[inline(always)]
    pub(crate) fn current_of(op: u8) -> Option<&'static mut Self> {
        Self::current().filter(|inflight| inflight.attempt.op == op)
    }

    /// The current thread's record of a request that `io_uring` issues, if it is for that operation.
    #[inline(always)]
    pub(crate) fn issued(op: u8) -> Option<&'static mut Self> {
        Self::current_of(op).filter(|inflight| {
            inflight.attempt.via == via::IO_URING && inflight.owner == Owner::Issuer
        })
    }

    /// The first of two programs has opened it.
    #[inline(always)]
    pub(crate) fn await_second(&mut self) {
        self.open = ENTERED;
    }

    /// The second meets it. Gives whether the first has opened it just now.
    #[inline(always)]
    pub(crate) fn meet_second(&mut self) -> bool {
        let was = self.open;
        self.open = OPEN;
        was == ENTERED
    }

    /// The call is no longer under way.
    #[inline(always)]
    pub(crate) fn forget(&mut self) {
        self.open = CLOSED;
        Self::give_back();
    }

    /// Notes the call, and the socket that it is about.
    #[inline(always)]
    pub(crate) fn note_call<M: CurrentTask>(&mut self, call: &ProtocolCall) {
        note_call::<M>(&mut self.attempt, call);
        if let Some(sk) = socket::of_socket::<M>(call.socket) {
            self.sk = sk;
        }
    }

    /// Keeps what returns need that have no arguments.
    #[inline(always)]
    pub(crate) fn remember(&mut self, call: &ProtocolCall) {
        self.socket = call.socket;
        self.addr = call.addr;
        self.attempt.sockaddr_len = call.addr_len;
    }

    /// What was kept of the call.
    #[inline(always)]
    pub(crate) fn call(&self) -> ProtocolCall {
        let Attempt {
            op, sockaddr_len, ..
        } = self.attempt;
        ProtocolCall::without_flags(op, self.socket, self.addr, sockaddr_len)
    }

    /// The call has returned: submits the record, which dates from the call's entry.
    #[inline(always)]
    pub(crate) fn close<M: CurrentTask>(&mut self, ret: i32) {
        let attempt = &mut self.attempt;
        attempt.latency_ns = now() - attempt.start_ns;
        attempt.known |= known::LATENCY;
        self.finish::<M>(ret);
    }

    /// The call has returned; when it began was not seen.
    #[inline(always)]
    pub(crate) fn finish<M: CurrentTask>(&mut self, ret: i32) {
        returned(&mut self.attempt, ret);
        self.submit::<M>();
    }

    /// Sends the record on its way, as far as it is known. Another takes its place.
    #[inline(always)]
    pub(crate) fn submit<M: CurrentTask>(&mut self) {
        let attempt = &mut self.attempt;
        if is_internet(attempt) {
            match filter::judge_record::<M>(attempt) {
                Verdict::Pass => send::<M>(attempt),
                Verdict::Remember => {
                    bound::remember_record::<M>(attempt);
                }
                Verdict::Drop => {}
            }
        }
        self.forget();
    }
}

/// Writes zeroes.
#[inline(always)]
fn clear<const WORDS: usize>(words: *mut u64) {
    for word in 0..WORDS {
        let word = words.wrapping_add(word);
        // SAFETY: callers name what is that many words long, and aligned as they are.
        unsafe { word.write(0) };
    }
}

#[inline(always)]
fn send<M: CurrentTask>(attempt: &mut Attempt) {
    describe_caller::<M>(attempt);
    if EVENTS.output::<Attempt>(attempt, 0).is_err() {
        count_loss(loss::RING_FULL);
    }
}

/// Writes an attempt straight into the ring, for a call that is over and passes the filter.
#[inline(always)]
pub(crate) fn emit<M: CurrentTask>(write: impl FnOnce(&mut Attempt)) {
    let Some(mut entry) = EVENTS.reserve::<Attempt>(0) else {
        count_loss(loss::RING_FULL);
        return;
    };
    clear::<ATTEMPT_WORDS>(entry.as_mut_ptr().cast());
    // SAFETY: all of it was written just now.
    let attempt = unsafe { entry.assume_init_mut() };
    write(attempt);
    if is_internet(attempt) {
        describe_caller::<M>(attempt);
        entry.submit(0);
    } else {
        entry.discard(0);
    }
}

#[inline(always)]
pub(crate) fn begin(attempt: &mut Attempt, op: u8, via: u8) {
    attempt.kind = KIND_ATTEMPT;
    attempt.op = op;
    attempt.via = via;
    attempt.start_ns = now();
}

#[inline(always)]
pub(crate) fn returned(attempt: &mut Attempt, ret: i32) {
    attempt.ret = ret;
    attempt.known |= known::RET;
}

#[inline(always)]
pub(crate) fn note_descriptor(attempt: &mut Attempt, fd: i32) {
    attempt.fd = fd;
    attempt.known |= known::FD;
}

/// Reads the address from the caller's memory, unless it is known.
#[inline(always)]
pub(crate) fn copy_user_address(attempt: &mut Attempt, from: u64) {
    if attempt.known & known::SOCKADDR == 0
        && sockaddr::copy_user(&mut attempt.sockaddr, from, attempt.sockaddr_len)
    {
        attempt.known |= known::SOCKADDR;
    }
}

/// The kernel's copy of the address supersedes what was read from the caller's memory,
/// which another thread may have changed.
#[inline(always)]
pub(crate) fn note_call<M: CurrentTask>(attempt: &mut Attempt, call: &ProtocolCall) {
    attempt.sockaddr_len = call.addr_len;
    if call.addr != 0 && sockaddr::copy_kernel(&mut attempt.sockaddr, call.addr, call.addr_len) {
        attempt.known |= known::SOCKADDR;
    }
    if let Some(nonblock) = call.nonblock {
        attempt.known |= known::NONBLOCK;
        if nonblock {
            attempt.options |= options::NONBLOCK;
        }
    }
    if let Some(sk) = socket::of_socket::<M>(call.socket) {
        socket::describe::<M>(attempt, sk);
        socket::identify::<M>(attempt, call.socket);
    }
}

/// The socket as it is before the operation changes it, and whose network namespace it is in.
///
/// By the hook's argument: a pointer that has been in a map is a number to the verifier.
#[inline(always)]
pub(crate) fn note_before<M: CurrentTask>(attempt: &mut Attempt, socket: u64) {
    let Some(sk) = socket::of_socket::<M>(socket) else {
        return;
    };
    socket::before::<M>(attempt, socket, sk);
    socket::net_user_ns::<M>(attempt, sk);
}

/// Adds what is known of the caller.
#[inline(always)]
fn describe_caller<M: CurrentTask>(attempt: &mut Attempt) {
    task::describe::<M>(attempt);
    if matters(attempt) {
        task::credentials::<M>(attempt);
    }
}

#[inline(always)]
pub(crate) fn now() -> u64 {
    // SAFETY: the helper takes no arguments.
    unsafe { bpf_ktime_get_ns() }
}

/// Whether the caller's capabilities decided about the call: it was not permitted, or permitted
/// to an ordinary user where that takes a privilege.
#[inline(always)]
fn matters(attempt: &Attempt) -> bool {
    matches!(attempt.ret, EPERM | EACCES)
        || attempt.ret == 0 && attempt.euid != 0 && takes_privilege(attempt)
}

/// Whether the attempt is a bind to a port that not everybody may bind.
#[inline(always)]
pub(crate) fn takes_privilege(attempt: &Attempt) -> bool {
    let port = u16::from_be_bytes([attempt.sockaddr[2], attempt.sockaddr[3]]);
    attempt.op == op::BIND && port != 0 && u32::from(port) < attempt.unprivileged_port_start
}

/// Whether the attempt is about an internet address: `AF_UNIX` and others are nobody's business here.
///
/// Where no internet socket was reached the address decides. Where that has no family or
/// could not be read, the error must be one that comes before the socket; without protocol
/// hooks nobody here can tell, and userspace looks at the descriptor.
#[inline(always)]
fn is_internet(attempt: &Attempt) -> bool {
    if attempt.known & known::SOCKET != 0 {
        return matches!(attempt.family, AF_INET | AF_INET6);
    }
    let len = attempt.sockaddr_len;
    // A negative length is refused, but the address it came with was read.
    let readable = attempt.known & known::SOCKADDR != 0 && !(0..2).contains(&len);
    match u16::from_ne_bytes([attempt.sockaddr[0], attempt.sockaddr[1]]) {
        AF_INET | AF_INET6 if readable => true,
        family if readable && family != AF_UNSPEC => {
            setting!(protocol_hooks) == 0 && attempt.ret == EAFNOSUPPORT
        }
        _ => setting!(protocol_hooks) == 0 || matches!(attempt.ret, EBADF | EFAULT | ENOTSOCK),
    }
}
