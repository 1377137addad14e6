//! The second witness of a bind.
//!
//! The kernel skips a program for whoever comes to it on a CPU where another task was put aside within it. The
//! programs at a bind's security hook, at its protocol's and at its system call are seldom skipped all: the first
//! keeps the socket, the second says that it has run, and the third speaks for it where it has not.

use core::mem;

use aya_ebpf::bindings::BPF_LOCAL_STORAGE_GET_F_CREATE;
use portwatch_common::{event::op, settings::witnessed};

use crate::{
    attempt::ProtocolCall,
    maps::{WITNESSED, WITNESSES},
    memory::{Probed, Typed},
    sockaddr, socket, thread,
};

const IPPROTO_MPTCP: u16 = 262;
/// Bytes that an address of `AF_INET6` has at least (`SIN6_LEN_RFC2133`, include/net/ipv6.h)
const IPV6_LEN: i32 = 24;
/// Its bind has no program.
const IPPROTO_SMC: u16 = 256;

/// What is known of a thread's bind.
#[repr(C)]
pub(crate) struct Witness {
    /// The `struct socket` that the security modules let pass
    socket: u64,
    /// Of its file: by then another socket may lie there
    inode: u32,
    /// The socket's `AF_*` and `IPPROTO_*`
    family: u16,
    protocol: u16,
    step: Step,
    unused: u32,
}

/// How far a bind has come, as far as programs have run. A thread's storage begins as zeroes.
#[repr(u32)]
#[derive(Clone, Copy, PartialEq, Eq)]
enum Step {
    Unseen = 0,
    /// The security modules let it pass.
    Permitted,
    /// The protocol's program has run, or there is none.
    Settled,
}

/// The security modules have let a bind pass. Sockets of other families may take an internet address, too: of
/// theirs there is nothing to tell.
#[inline(always)]
pub(crate) fn is_permitted(call: &ProtocolCall) {
    if call.op != op::BIND {
        return;
    }
    let Some(sk) = socket::of_socket::<Typed>(call.socket) else {
        return;
    };
    let family = socket::family::<Typed>(sk).unwrap_or(0);
    if !matches!(family, socket::AF_INET | socket::AF_INET6) {
        if let Some(witness) = find(0) {
            witness.step = Step::Settled;
        }
    } else if let Some(witness) = current() {
        witness.socket = call.socket;
        witness.inode = socket::inode::<Typed>(call.socket).unwrap_or(0);
        witness.family = family;
        witness.protocol = socket::protocol::<Typed>(sk).unwrap_or(0);
        witness.step = Step::Permitted;
    }
}

/// The program at the protocol's bind of that `struct socket` runs. Of a socket that the kernel keeps for another
/// one, the other's is still to come.
#[inline(always)]
pub(crate) fn has_run(socket: u64) {
    if let Some(witness) = current()
        && (witness.socket == socket || witness.step != Step::Permitted)
    {
        witness.step = Step::Settled;
    }
}

/// The system call returns: gives what is known of a bind whose protocol's program did not run.
#[inline(always)]
pub(crate) fn take(user_addr: u64, addr_len: i32, ret: i32) -> Option<&'static Witness> {
    // Without one nobody could have said that the program has run.
    let witness = find(0)?;
    match witness.take_step() {
        Step::Permitted => Some(witness),
        // It has come past the security modules, whose program was skipped, too: where there is one, it has kept
        // a socket of this thread's before.
        Step::Unseen
            if ret == 0
                && witness.socket != 0
                && sockaddr::may_be_internet(user_addr, addr_len) =>
        {
            witness.forget(addr_len);
            Some(witness)
        }
        Step::Unseen | Step::Settled => None,
    }
}

/// `io_uring`'s function returns, which has a record of its own: likewise, as far as it is known.
#[inline(always)]
pub(crate) fn take_known() -> Option<&'static Witness> {
    let witness = find(0)?;
    (witness.take_step() == Step::Permitted).then_some(witness)
}

/// The current thread's. Where there is no memory for it, a skipped run stays a loss.
#[inline(always)]
fn current() -> Option<&'static mut Witness> {
    find(BPF_LOCAL_STORAGE_GET_F_CREATE)
}

#[inline(always)]
fn find(flags: u32) -> Option<&'static mut Witness> {
    if !thread::in_storage() {
        return None;
    }
    let witness = WITNESSES.get(flags.into())?;
    // SAFETY: only its own thread touches it, and only outside interrupts.
    Some(unsafe { &mut *witness })
}

/// Counts a run that was skipped, of a program whose work another has done.
#[inline(always)]
pub(crate) fn count(counter: u32) {
    if let Some(count) = WITNESSED.get_ptr_mut(counter) {
        // SAFETY: a slot of a per-CPU array belongs to this program until it returns.
        unsafe { *count += 1 };
    }
}

impl Witness {
    /// What is known is of another bind: the address's length tells the family.
    #[inline(always)]
    fn forget(&mut self, addr_len: i32) {
        self.inode = 0;
        self.protocol = 0;
        self.family = if addr_len < IPV6_LEN {
            socket::AF_INET
        } else {
            socket::AF_INET6
        };
    }

    #[inline(always)]
    fn take_step(&mut self) -> Step {
        mem::replace(&mut self.step, Step::Unseen)
    }

    /// Counts that the run of a program was skipped and nothing was lost by it.
    #[inline(always)]
    pub(crate) fn count(&self) {
        let counter = match (self.protocol, self.family) {
            (IPPROTO_SMC, _) => return,
            (IPPROTO_MPTCP, _) => witnessed::MPTCP_BIND,
            (_, socket::AF_INET6) => witnessed::INET6_BIND,
            _ => witnessed::INET_BIND,
        };
        count(counter);
    }

    /// The bind, if its socket is still there.
    #[inline(always)]
    pub(crate) fn call(&self, addr_len: i32) -> Option<ProtocolCall> {
        let is_there = self.inode != 0 && socket::inode::<Probed>(self.socket) == Some(self.inode);
        is_there.then(|| ProtocolCall::without_flags(op::BIND, self.socket, 0, addr_len))
    }
}
