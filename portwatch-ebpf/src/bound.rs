//! Binds that succeed and are not shown, kept where causes of others can ask for them.

use aya_ebpf::helpers::bpf_get_current_pid_tgid;
use portwatch_common::{
    bound::{self, LastBind, NO_FD, Port},
    event::{Attempt, known},
};

use crate::{
    attempt::{ProtocolCall, now},
    caller::Caller,
    maps::{LAST_BINDS, setting},
    memory::Typed,
    socket,
    task::{self, CurrentTask},
};

/// A bind that has just returned and has no record.
#[inline(always)]
pub(crate) fn remember(caller: Caller, call: &ProtocolCall, sk: u64) -> Option<()> {
    let port = Port::of(
        socket::netns::<Typed>(sk)?,
        socket::sock_type::<Typed>(sk)?,
        socket::protocol::<Typed>(sk)?,
        socket::port::<Typed>(sk)?,
    )?;
    // What no descriptor leads to, no look-up could verify.
    let inode = socket::inode::<Typed>(call.socket)?;
    let bind = LastBind {
        fd: descriptor(caller.known, caller.fd),
        inode,
        ..by_current::<Typed>()
    };
    write(port, &bind);
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
    let needed = known::SOCKET | known::LOCAL | known::INODE;
    if attempt.known & needed != needed {
        return None;
    }
    let port = Port::of(netns, sock_type, protocol, local_port)?;
    let bind = LastBind {
        fd: descriptor(attempt.known, attempt.fd),
        inode: attempt.inode,
        ..by_current::<M>()
    };
    write(port, &bind);
    Some(())
}

#[inline(always)]
fn descriptor(bits: u32, fd: i32) -> i32 {
    if bits & known::FD != 0 { fd } else { NO_FD }
}

#[inline(always)]
fn by_current<M: CurrentTask>() -> LastBind {
    LastBind {
        time_ns: now(),
        process_start_ns: task::process_start::<M>().unwrap_or(0),
        tgid: (bpf_get_current_pid_tgid() >> 32) as u32,
        fd: NO_FD,
        inode: 0,
    }
}

/// Whatever was in the port's slot is forgotten, be it another port's.
#[inline(always)]
fn write(port: Port, bind: &LastBind) {
    let seed = bound::seed(setting!(seed));
    if let Some(slot) = LAST_BINDS.get_ptr_mut(port.slot(seed)) {
        // SAFETY: the slot is never removed, and any bytes are a value of it.
        unsafe { slot.write(bound::encode(port, bind, seed)) };
    }
}
