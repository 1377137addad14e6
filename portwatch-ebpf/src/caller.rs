//! Who asks: what `io_uring` issues says so itself, and the rest is read from the registers that the
//! caller entered the kernel with.
//!
//! A hook deep inside the network stack learns here what the outermost one would have known:
//! which system call it is, the descriptor, the caller's own address. So a call that simply
//! succeeds needs no hook at its entry.

use aya_ebpf::helpers::generated::{
    bpf_get_current_task_btf, bpf_probe_read_user, bpf_task_pt_regs,
};
use portwatch_common::event::{Attempt, known, op, via};

pub(crate) use machine::TELLS_COMPAT_RETURNS;

use crate::{
    attempt::{Inflight, Owner},
    maps::setting,
    memory::{Memory, Probed, Typed},
    socket, task,
};

#[cfg_attr(bpf_target_arch = "x86_64", path = "caller/x86_64.rs")]
#[cfg_attr(bpf_target_arch = "aarch64", path = "caller/aarch64.rs")]
#[cfg_attr(
    not(any(bpf_target_arch = "x86_64", bpf_target_arch = "aarch64")),
    path = "caller/elsewhere.rs"
)]
mod machine;

use machine::number;

const IPPROTO_SCTP: u32 = 132;

/// How the current call came to the kernel, and what it was given.
#[derive(Clone, Copy)]
pub(crate) struct Caller {
    /// [`via`]
    pub(crate) via: u8,
    /// The operation, where whoever issued it returns when it is over
    op: u8,
    pub(crate) fd: i32,
    /// [`known`] bits of what is held here: not an `Option`, of which the compiler would leave
    /// half undefined, which the verifier refuses
    pub(crate) known: u32,
    /// The address in the caller's memory; 0 where there is none
    pub(crate) user_addr: u64,
    /// The length that the caller gave it
    pub(crate) user_len: i32,
}

impl Caller {
    /// Whether a hook sees whoever issued the operation return.
    #[inline(always)]
    pub(crate) fn has_return(self) -> bool {
        self.op != 0
    }

    /// Which return closes its record.
    #[inline(always)]
    pub(crate) fn owner(self) -> Owner {
        if self.has_return() {
            Owner::Issuer
        } else {
            Owner::Protocol
        }
    }

    /// A connect that comes with the first data, of which no hook but TCP's knows; all others are known
    /// before TCP is asked.
    #[inline(always)]
    pub(crate) fn is_fast_open(self) -> bool {
        self.via == via::FASTOPEN || self.via == via::IO_URING && !self.has_return()
    }

    /// The kernel's own attempts count only if they were asked for.
    #[inline(always)]
    pub(crate) fn is_wanted(self) -> bool {
        self.via != via::KERNEL || setting!(kernel) != 0
    }

    /// Whether a hook that sees that socket sees the outermost call: not a subflow's, nor SMC's
    /// TCP socket's, which the kernel makes for itself while a process asks for something else.
    #[inline(always)]
    pub(crate) fn is_outermost<M: Memory>(self, socket: u64) -> bool {
        self.via == via::KERNEL || socket::has_file::<M>(socket) != Some(false)
    }

    #[inline(always)]
    pub(crate) fn note_descriptor(self, attempt: &mut Attempt) {
        attempt.fd = self.fd;
        attempt.known |= self.known;
    }

    const fn without_arguments(via: u8) -> Self {
        Self::issued(via, 0)
    }

    const fn issued(via: u8, op: u8) -> Self {
        Self {
            via,
            op,
            fd: 0,
            known: 0,
            user_addr: 0,
            user_len: 0,
        }
    }
}

/// The issuer of that operation on that `struct socket`. Only for programs of kernels that have BTF.
#[inline(always)]
pub(crate) fn caller<M: Memory>(op: u8, socket: u64) -> Caller {
    if Inflight::issued(op).is_some() {
        return Caller::issued(via::IO_URING, op);
    }
    let caller = from_registers(op);
    // The kernel's own sockets have none: it does so for the thread, which asked by io_uring before.
    let is_thread = caller.via == via::KERNEL && !task::is_of_the_kernel::<Typed>();
    if is_thread && socket::has_file::<M>(socket) == Some(true) {
        return Caller::without_arguments(via::IO_URING);
    }
    caller
}

#[inline(always)]
fn from_registers(op: u8) -> Caller {
    match task::via_without_syscall::<Typed>() {
        via::UNKNOWN => {}
        via => return Caller::without_arguments(via),
    }
    if !machine::KNOWN {
        return Caller::without_arguments(via::UNKNOWN);
    }
    if setting!(task_registers) == 0 {
        return match machine::on_stack() {
            Some(registers) => by(op, &Registers::of::<Probed>(registers)),
            None => Caller::without_arguments(via::UNKNOWN),
        };
    }
    by(op, &Registers::read())
}

#[inline(always)]
fn by(op: u8, registers: &Registers) -> Caller {
    match task::is_compat::<Typed>() {
        Some(true) => compat(op, registers),
        _ => native(op, registers),
    }
}

/// The registers of interest, by their role in a system call.
struct Registers {
    number: u64,
    arguments: [u64; 3],
    /// Those of a 32-bit call
    compat_arguments: [u64; 3],
}

impl Registers {
    #[inline(always)]
    fn read() -> Self {
        // SAFETY: the helper takes no arguments.
        let task = unsafe { bpf_get_current_task_btf() };
        // SAFETY: the verifier knows what the helper before returns.
        Self::of::<Typed>(unsafe { bpf_task_pt_regs(task) } as u64)
    }
}

/// The register at that byte of a `struct pt_regs`: the kernel's own stack is always mapped.
#[cfg(any(bpf_target_arch = "x86_64", bpf_target_arch = "aarch64"))]
#[inline(always)]
fn load<M: Memory, T: Copy + Default>(registers: u64, byte: usize) -> T {
    M::read(registers, byte).unwrap_or_default()
}

#[inline(always)]
fn native(op: u8, registers: &Registers) -> Caller {
    let arguments = registers.arguments;
    match registers.number & !number::OF_ANOTHER_ABI {
        number::BIND if op == op::BIND => with_address(via::SYSCALL, op, arguments),
        number::CONNECT if op == op::CONNECT => with_address(via::SYSCALL, op, arguments),
        number::LISTEN if op == op::LISTEN => with_address(via::SYSCALL, op, arguments),
        number::IO_URING_ENTER => Caller::without_arguments(via::IO_URING),
        option if number::OPTIONS.contains(&option) => {
            with_descriptor(option_of(op, arguments), arguments)
        }
        send if op == op::CONNECT && number::SENDS.contains(&send) => {
            with_descriptor(via::FASTOPEN, arguments)
        }
        _ => Caller::without_arguments(via::KERNEL),
    }
}

#[inline(always)]
fn compat(op: u8, registers: &Registers) -> Caller {
    let arguments = registers.compat_arguments;
    match registers.number {
        call if number::COMPAT_SOCKETCALL == Some(call) => {
            socketcall(op, arguments[0], arguments[1])
        }
        number::COMPAT_BIND if op == op::BIND => with_address(via::COMPAT32, op, arguments),
        number::COMPAT_CONNECT if op == op::CONNECT => with_address(via::COMPAT32, op, arguments),
        number::COMPAT_LISTEN if op == op::LISTEN => with_address(via::COMPAT32, op, arguments),
        number::IO_URING_ENTER => Caller::without_arguments(via::IO_URING),
        option if number::COMPAT_OPTIONS.contains(&option) => {
            with_descriptor(option_of(op, arguments), arguments)
        }
        send if op == op::CONNECT && number::COMPAT_SENDS.contains(&send) => {
            with_descriptor(via::FASTOPEN, arguments)
        }
        _ => Caller::without_arguments(via::KERNEL),
    }
}

/// What SCTP does by a socket option of its own.
#[inline(always)]
fn option_of(op: u8, [_, level, _]: [u64; 3]) -> u8 {
    match op {
        op::BIND if level as u32 == IPPROTO_SCTP => via::BINDX,
        op::CONNECT if level as u32 == IPPROTO_SCTP => via::CONNECTX,
        _ => via::KERNEL,
    }
}

/// bind, connect and listen: the first two have the address next to the descriptor.
#[inline(always)]
fn with_address(via: u8, op: u8, [first, second, third]: [u64; 3]) -> Caller {
    Caller {
        via,
        op,
        fd: first as i32,
        known: known::FD,
        user_addr: second,
        user_len: third as i32,
    }
}

/// Calls of which only the descriptor is of interest; of the kernel's own not even that.
#[inline(always)]
fn with_descriptor(via: u8, [first, _, _]: [u64; 3]) -> Caller {
    let caller = Caller::without_arguments(via);
    match via {
        via::KERNEL => caller,
        _ => Caller {
            fd: first as i32,
            known: known::FD,
            ..caller
        },
    }
}

/// socketcall(2): the arguments lie in the caller's memory, as 32-bit words
/// (include/uapi/linux/net.h, `SYS_BIND` …).
#[inline(always)]
fn socketcall(op: u8, call: u64, arguments: u64) -> Caller {
    let via = match (call as u32, op) {
        (2, op::BIND) | (3, op::CONNECT) | (4, op::LISTEN) => via::COMPAT32,
        // SYS_SENDTO, SYS_SENDMSG, SYS_SENDMMSG
        (11 | 16 | 20, op::CONNECT) => via::FASTOPEN,
        _ => return Caller::without_arguments(via::KERNEL),
    };
    let mut words = [0u32; 3];
    let from = (arguments as u32 as usize) as *const _;
    // SAFETY: twelve bytes are written to twelve bytes; the helper checks the source.
    let status = unsafe { bpf_probe_read_user(words.as_mut_ptr().cast(), 12, from) };
    let arguments = words.map(u64::from);
    match via {
        via::FASTOPEN if status != 0 => Caller::without_arguments(via),
        via::FASTOPEN => with_descriptor(via, arguments),
        _ if status != 0 => Caller::issued(via, op),
        _ => with_address(via, op, arguments),
    }
}
