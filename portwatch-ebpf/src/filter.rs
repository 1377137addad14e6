//! The user's filter, as far as it is decided here (portwatch-common has how).
//!
//! What is asked of the caller is asked before a record is opened; the rest when the call is
//! over, and before the ring is asked for room.

use core::marker::PhantomData;

use aya_ebpf::helpers::{
    bpf_get_current_cgroup_id, bpf_get_current_comm, bpf_get_current_pid_tgid,
};
use portwatch_common::{
    event::{Attempt, SOCKADDR_LEN},
    filter::{self, Asked, Block, Call, Caller, Number, Verdict},
};

use crate::{
    attempt::ProtocolCall,
    maps::{ARMED, CGROUP_SET, MNTNS_SET, OUT_OF_TREE, RULED_OUT, settings},
    memory::{Memory as _, Typed},
    sockaddr, socket,
    task::{self, CurrentTask},
};

/// The filter, where there is one and it counts: not for the calls by which portwatch tries its
/// hooks.
#[inline(always)]
fn active() -> Option<&'static Block> {
    // SAFETY: the global is a valid `Settings` for as long as the program is loaded.
    let block = unsafe { &(*settings()).filter };
    let is_active = block.is_given() && ARMED.get(0).is_some_and(|&armed| armed != 0);
    is_active.then_some(block)
}

/// Whether a call that the current task begins is of interest.
#[inline(always)]
pub(crate) fn admits<M: CurrentTask>(op: u8) -> bool {
    active().is_none_or(|filter| filter.admits(&Current::<M>(PhantomData), op))
}

/// Whether a call that has just reached its protocol may come to pass. What this says no to, the
/// system call's return says no to as well.
#[inline(always)]
pub(crate) fn may_begin<M: CurrentTask>(call: &ProtocolCall) -> bool {
    active().is_none_or(|filter| filter.may_pass(&Current::<M>(PhantomData), &Entered(call)))
}

/// Whether the call on record may still come to pass: if not, its end is nobody's business.
#[inline(always)]
pub(crate) fn may_pass<M: CurrentTask>(attempt: &Attempt) -> bool {
    active().is_none_or(|filter| record_may_pass::<M>(filter, attempt))
}

/// What becomes of the call on record, which is over.
#[inline(always)]
pub(crate) fn judge_record<M: CurrentTask>(attempt: &Attempt) -> Verdict {
    match active() {
        Some(filter) => record_verdict::<M>(filter, attempt),
        None => Verdict::Pass,
    }
}

/// What becomes of a call that is over and has no record.
#[inline(always)]
pub(crate) fn judge<M: CurrentTask>(call: &impl Call) -> Verdict {
    match active() {
        Some(filter) => filter.judge(&Current::<M>(PhantomData), call),
        None => Verdict::Pass,
    }
}

/// What becomes of a system call that is over and reached no socket.
#[inline(always)]
pub(crate) fn judge_unreached<M: CurrentTask>(unreached: &Unreached) -> Verdict {
    match active() {
        Some(filter) => unreached_verdict::<M>(filter, unreached),
        None => Verdict::Pass,
    }
}

// Functions of their own: they are called from many places, and need no types to be followed.

#[inline(never)]
fn record_may_pass<M: CurrentTask>(filter: &Block, attempt: &Attempt) -> bool {
    filter.may_pass(&Current::<M>(PhantomData), attempt)
}

#[inline(never)]
fn record_verdict<M: CurrentTask>(filter: &Block, attempt: &Attempt) -> Verdict {
    filter.judge(&Current::<M>(PhantomData), attempt)
}

#[inline(never)]
fn unreached_verdict<M: CurrentTask>(filter: &Block, unreached: &Unreached) -> Verdict {
    filter.judge(&Current::<M>(PhantomData), unreached)
}

/// The current task.
struct Current<M>(PhantomData<M>);

impl<M: CurrentTask> Caller for Current<M> {
    #[inline(always)]
    fn tgid(&self) -> u32 {
        (bpf_get_current_pid_tgid() >> 32) as u32
    }

    #[inline(always)]
    fn user(&self) -> Number {
        match task::identity::<M>() {
            Some((euid, _)) => Number::of(euid),
            None => Number::UNKNOWN,
        }
    }

    #[inline(always)]
    fn comm(&self) -> [u32; 4] {
        let comm = bpf_get_current_comm().unwrap_or_default();
        // SAFETY: 16 bytes are 16 bytes.
        unsafe { core::mem::transmute::<[u8; 16], [u32; 4]>(comm) }
    }

    #[inline(always)]
    fn is_ruled_out(&self) -> bool {
        RULED_OUT.get_ptr(cgroup()).is_some()
    }

    /// One whose start cannot be read is taken for no other.
    #[inline(always)]
    fn is_out_of_tree(&self) -> bool {
        let key = |start| [u64::from(self.tgid()), start];
        task::process_start::<M>().is_some_and(|start| OUT_OF_TREE.get_ptr(key(start)).is_some())
    }

    #[inline(always)]
    fn is_in_cgroup_set(&self) -> bool {
        CGROUP_SET.get_ptr(cgroup()).is_some()
    }

    /// One that cannot be read is in no map.
    #[inline(always)]
    fn is_in_mntns_set(&self) -> bool {
        task::mntns::<M>().is_some_and(|inode| MNTNS_SET.get_ptr(u64::from(inode)).is_some())
    }
}

/// The current task's.
#[inline(always)]
fn cgroup() -> u64 {
    // SAFETY: the helper takes no arguments.
    unsafe { bpf_get_current_cgroup_id() }
}

/// A protocol's function that is called, before any record of it is there. What the system call's
/// return would know no more of, if none is opened, must not decide here.
pub(crate) struct Entered<'a>(pub(crate) &'a ProtocolCall);

impl Call for Entered<'_> {
    #[inline(always)]
    fn op(&self) -> u8 {
        self.0.op
    }

    #[inline(always)]
    fn asked(&self) -> Asked {
        asked_of(self.0)
    }

    #[inline(always)]
    fn ip(&self, is_ipv4: bool) -> [u32; 4] {
        ip_of(self.0, is_ipv4)
    }

    #[inline(always)]
    fn ret(&self) -> Option<i32> {
        None
    }
}

/// What the kernel's copy of the address says.
#[inline(always)]
fn asked_of(call: &ProtocolCall) -> Asked {
    // `struct sockaddr` is part of the kernel's ABI; no more of it than this has a type that fits.
    let family = Typed::read(call.addr, 0);
    let port = Typed::read(call.addr, 2);
    match (family, port) {
        (Some(family), Some(port)) => Asked::of(family, port, call.addr_len),
        _ => Asked::NONE,
    }
}

#[inline(always)]
fn ip_of(call: &ProtocolCall, is_ipv4: bool) -> [u32; 4] {
    let mut bytes = [0; SOCKADDR_LEN];
    // A length that is known here: the verifier has not followed the call's own. What cannot be read
    // is no address that anybody asks for.
    sockaddr::copy_kernel(&mut bytes, call.addr, filter::ip_end(is_ipv4));
    filter::ip(&bytes, is_ipv4)
}

/// A protocol's function that has returned, and no cgroup BPF program has changed its address.
pub(crate) struct Returned<'a> {
    pub(crate) call: &'a ProtocolCall,
    pub(crate) sk: u64,
    pub(crate) ret: i32,
}

impl Call for Returned<'_> {
    #[inline(always)]
    fn op(&self) -> u8 {
        self.call.op
    }

    #[inline(always)]
    fn asked(&self) -> Asked {
        asked_of(self.call)
    }

    #[inline(always)]
    fn ip(&self, is_ipv4: bool) -> [u32; 4] {
        ip_of(self.call, is_ipv4)
    }

    #[inline(always)]
    fn protocol(&self) -> Number {
        let of = (
            socket::sock_type::<Typed>(self.sk),
            socket::protocol::<Typed>(self.sk),
        );
        match of {
            (Some(sock_type), Some(protocol)) => filter::protocol(sock_type, protocol),
            _ => Number::UNKNOWN,
        }
    }

    #[inline(always)]
    fn netns(&self) -> Number {
        socket::netns::<Typed>(self.sk).map_or(Number::UNKNOWN, Number::of)
    }

    #[inline(always)]
    fn local_port(&self) -> Number {
        let of = (
            socket::sock_type::<Typed>(self.sk),
            socket::port::<Typed>(self.sk),
        );
        match of {
            (Some(sock_type), Some(port)) => filter::local_port(sock_type, port),
            _ => Number::UNKNOWN,
        }
    }

    #[inline(always)]
    fn ret(&self) -> Option<i32> {
        Some(self.ret)
    }
}

/// A system call that has returned, without a socket being seen.
pub(crate) struct Unreached {
    pub(crate) op: u8,
    /// In the caller's memory
    pub(crate) addr: u64,
    pub(crate) addr_len: i32,
    pub(crate) ret: i32,
}

impl Call for Unreached {
    #[inline(always)]
    fn op(&self) -> u8 {
        self.op
    }

    #[inline(always)]
    fn asked(&self) -> Asked {
        let mut bytes = [0; SOCKADDR_LEN];
        if sockaddr::copy_user(&mut bytes, self.addr, self.addr_len) {
            Asked::read(&bytes, self.addr_len)
        } else {
            Asked::NONE
        }
    }

    #[inline(always)]
    fn ip(&self, is_ipv4: bool) -> [u32; 4] {
        let mut bytes = [0; SOCKADDR_LEN];
        sockaddr::copy_user(&mut bytes, self.addr, filter::ip_end(is_ipv4));
        filter::ip(&bytes, is_ipv4)
    }

    #[inline(always)]
    fn ret(&self) -> Option<i32> {
        Some(self.ret)
    }
}
