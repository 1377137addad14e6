//! Binds that succeed and are not shown, kept where causes of others can ask for them.

use aya_ebpf::{bindings::BPF_ANY, helpers::bpf_get_current_pid_tgid};
use portwatch_common::{
    bound::{LastBind, Port, known},
    event::{self, Attempt},
};

use crate::{
    attempt::{ProtocolCall, now},
    caller::Caller,
    maps::LAST_BINDS,
    memory::Typed,
    socket,
    task::{self, CurrentTask},
};

/// A bind that has just returned and has no record.
#[inline(always)]
pub(crate) fn remember(caller: Caller, call: &ProtocolCall, sk: u64) -> Option<()> {
    let family = socket::family::<Typed>(sk)?;
    let port = Port::of(
        socket::netns::<Typed>(sk)?,
        socket::sock_type::<Typed>(sk)?,
        socket::protocol::<Typed>(sk)?,
        socket::port::<Typed>(sk)?,
    )?;
    // What no descriptor leads to, no look-up could verify.
    let inode = socket::inode::<Typed>(call.socket)?;
    let bind = LastBind {
        known: when(caller.known & event::known::FD != 0, known::FD),
        fd: caller.fd,
        inode,
        family,
        options: socket::options::<Typed>(sk),
        addr: socket::bound_addr::<Typed>(sk, family)?,
        ..by_current::<Typed>()
    };
    insert(&port, &bind);
    Some(())
}

/// A bind that has returned and has a record.
#[inline(always)]
pub(crate) fn remember_record<M: CurrentTask>(attempt: &Attempt) -> Option<()> {
    let Attempt {
        netns,
        sock_type,
        protocol,
        local_port,
        ..
    } = *attempt;
    let needed = event::known::SOCKET | event::known::LOCAL | event::known::INODE;
    if attempt.known & needed != needed {
        return None;
    }
    let port = Port::of(netns, sock_type, protocol, local_port)?;
    let bind = LastBind {
        known: when(attempt.known & event::known::FD != 0, known::FD),
        fd: attempt.fd,
        inode: attempt.inode,
        family: attempt.family,
        options: attempt.options,
        addr: attempt.local_addr,
        ..by_current::<M>()
    };
    insert(&port, &bind);
    Some(())
}

#[inline(always)]
fn when(is_known: bool, bit: u32) -> u32 {
    if is_known { bit } else { 0 }
}

#[inline(always)]
fn by_current<M: CurrentTask>() -> LastBind {
    LastBind {
        time_ns: now(),
        process_start_ns: task::process_start::<M>().unwrap_or(0),
        tgid: (bpf_get_current_pid_tgid() >> 32) as u32,
        known: 0,
        fd: 0,
        inode: 0,
        family: 0,
        options: 0,
        reserved: 0,
        addr: [0; 16],
    }
}

#[inline(always)]
fn insert(port: &Port, bind: &LastBind) {
    // An LRU map makes room; where it finds none at once, a cause has less to go by.
    let _ = LAST_BINDS.insert(port, bind, BPF_ANY.into());
}
