//! The system call under way, read from the registers that the caller entered the kernel with.
//!
//! A hook deep inside the network stack learns here what the outermost one would have known:
//! which system call it is, the descriptor, the caller's own address. So a call that simply
//! succeeds needs no hook at its entry.

use aya_ebpf::helpers::generated::{
    bpf_get_current_task_btf, bpf_probe_read_user, bpf_task_pt_regs,
};
use portwatch_common::event::{Attempt, known, op, via};

use crate::{
    maps::setting,
    memory::{Memory, Typed},
    socket, task,
};

const IPPROTO_SCTP: u32 = 132;

/// How the current call came to the kernel, and what it was given.
#[derive(Clone, Copy)]
pub(crate) struct Caller {
    /// [`via`]
    pub(crate) via: u8,
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
    /// By io_uring, or from inside the kernel: no system call of its own returns.
    #[inline(always)]
    pub(crate) fn has_syscall(self) -> bool {
        matches!(self.via, via::SYSCALL | via::COMPAT32)
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
        Self {
            via,
            fd: 0,
            known: 0,
            user_addr: 0,
            user_len: 0,
        }
    }
}

/// The registers of interest, by their role in a system call.
struct Registers {
    number: u64,
    arguments: [u64; 3],
    /// Those of a 32-bit call
    compat_arguments: [u64; 3],
}

mod number {
    //! The calls of interest: arch/x86/entry/syscalls/syscall_64.tbl and syscall_32.tbl
    pub(super) const BIND: u64 = 49;
    pub(super) const CONNECT: u64 = 42;
    pub(super) const LISTEN: u64 = 50;
    pub(super) const IO_URING_ENTER: u64 = 426;
    /// setsockopt, getsockopt (`SCTP_SOCKOPT_CONNECTX3`), which have the level next to the descriptor
    pub(super) const OPTIONS: [u64; 2] = [54, 55];
    pub(super) const COMPAT_OPTIONS: [u64; 2] = [366, 365];
    /// write, sendto, sendmsg, writev, sendmmsg
    pub(super) const SENDS: [u64; 5] = [1, 44, 46, 20, 307];
    pub(super) const COMPAT_SOCKETCALL: u64 = 102;
    pub(super) const COMPAT_BIND: u64 = 361;
    pub(super) const COMPAT_CONNECT: u64 = 362;
    pub(super) const COMPAT_LISTEN: u64 = 363;
    /// write, sendto, sendmsg, writev, sendmmsg
    pub(super) const COMPAT_SENDS: [u64; 5] = [4, 369, 370, 146, 345];
    /// Set in the number of a call of the x32 ABI (`__X32_SYSCALL_BIT`)
    pub(super) const X32: u64 = 0x4000_0000;
}

/// Who asks for that operation. Only for programs of kernels that have BTF (`bpf_task_pt_regs`,
/// since 5.15).
#[inline(always)]
pub(crate) fn caller(op: u8) -> Caller {
    match task::via_without_syscall::<Typed>() {
        via::UNKNOWN => {}
        via => return Caller::without_arguments(via),
    }
    if cfg!(not(bpf_target_arch = "x86_64")) {
        return Caller::without_arguments(via::UNKNOWN);
    }
    match task::is_compat::<Typed>() {
        Some(true) => compat(op, &registers()),
        _ => native(op, &registers()),
    }
}

#[cfg(bpf_target_arch = "x86_64")]
#[inline(always)]
fn registers() -> Registers {
    // SAFETY: the helper takes no arguments.
    let task = unsafe { bpf_get_current_task_btf() };
    // SAFETY: the verifier knows what the helper before returns.
    let registers = unsafe { bpf_task_pt_regs(task) } as *const aya_ebpf::bindings::pt_regs;
    // `struct pt_regs` of x86-64 is part of the kernel's ABI (arch/x86/include/uapi/asm/ptrace.h).
    let load = |register: *const u64| {
        // SAFETY: the verifier knows the type; the kernel's own stack is always mapped.
        unsafe { register.read_volatile() }
    };
    Registers {
        number: load(registers.wrapping_byte_add(120).cast()),
        arguments: [
            load(registers.wrapping_byte_add(112).cast()),
            load(registers.wrapping_byte_add(104).cast()),
            load(registers.wrapping_byte_add(96).cast()),
        ],
        compat_arguments: [
            load(registers.wrapping_byte_add(40).cast()),
            load(registers.wrapping_byte_add(88).cast()),
            load(registers.wrapping_byte_add(96).cast()),
        ],
    }
}

/// Elsewhere they are not known, and the loader does not offer the fexit source.
#[cfg(not(bpf_target_arch = "x86_64"))]
#[inline(always)]
fn registers() -> Registers {
    Registers {
        number: u64::MAX,
        arguments: [0; 3],
        compat_arguments: [0; 3],
    }
}

#[inline(always)]
fn native(op: u8, registers: &Registers) -> Caller {
    let via = match registers.number & !number::X32 {
        number::BIND | number::CONNECT | number::LISTEN => via::SYSCALL,
        option if number::OPTIONS.contains(&option) => option_of(op, registers.arguments),
        number::IO_URING_ENTER => via::IO_URING,
        send if op == op::CONNECT && number::SENDS.contains(&send) => via::FASTOPEN,
        _ => via::KERNEL,
    };
    with_arguments(via, registers.arguments)
}

#[inline(always)]
fn compat(op: u8, registers: &Registers) -> Caller {
    let arguments = registers.compat_arguments;
    match registers.number {
        number::COMPAT_SOCKETCALL => socketcall(op, arguments[0], arguments[1]),
        number::COMPAT_BIND | number::COMPAT_CONNECT | number::COMPAT_LISTEN => {
            with_arguments(via::COMPAT32, arguments)
        }
        number::IO_URING_ENTER => Caller::without_arguments(via::IO_URING),
        option if number::COMPAT_OPTIONS.contains(&option) => {
            with_arguments(option_of(op, arguments), arguments)
        }
        send if op == op::CONNECT && number::COMPAT_SENDS.contains(&send) => {
            with_arguments(via::FASTOPEN, arguments)
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

/// All of the calls with a descriptor have it first; bind and connect have the address next.
#[inline(always)]
fn with_arguments(via: u8, [first, second, third]: [u64; 3]) -> Caller {
    match via {
        via::SYSCALL | via::COMPAT32 => Caller {
            via,
            fd: first as i32,
            known: known::FD,
            user_addr: second,
            user_len: third as i32,
        },
        via::FASTOPEN | via::BINDX | via::CONNECTX => Caller {
            fd: first as i32,
            known: known::FD,
            ..Caller::without_arguments(via)
        },
        _ => Caller::without_arguments(via),
    }
}

/// socketcall(2): the arguments lie in the caller's memory, as 32-bit words
/// (include/uapi/linux/net.h, `SYS_BIND` …).
#[inline(always)]
fn socketcall(op: u8, call: u64, arguments: u64) -> Caller {
    let via = match call as u32 {
        2..=4 => via::COMPAT32,
        // SYS_SENDTO, SYS_SENDMSG, SYS_SENDMMSG
        11 | 16 | 20 if op == op::CONNECT => via::FASTOPEN,
        _ => return Caller::without_arguments(via::KERNEL),
    };
    let mut words = [0u32; 3];
    let from = (arguments as u32 as usize) as *const _;
    // SAFETY: twelve bytes are written to twelve bytes; the helper checks the source.
    let status = unsafe { bpf_probe_read_user(words.as_mut_ptr().cast(), 12, from) };
    if status == 0 {
        with_arguments(via, words.map(u64::from))
    } else {
        Caller::without_arguments(via)
    }
}
