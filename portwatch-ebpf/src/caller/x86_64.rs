//! x86-64, and its 32-bit calls (i386).

use super::{Registers, load};
use crate::{
    maps::{present, setting},
    memory::{Memory, Probed},
    task::CurrentTask as _,
};

pub(super) const KNOWN: bool = true;

/// A hook of its own sees 32-bit calls return (`ia32_conn_exit`).
pub(crate) const TELLS_COMPAT_RETURNS: bool = true;

pub(super) mod number {
    //! The calls of interest: arch/x86/entry/syscalls/syscall_64.tbl and syscall_32.tbl
    pub(crate) const BIND: u64 = 49;
    pub(crate) const CONNECT: u64 = 42;
    pub(crate) const LISTEN: u64 = 50;
    pub(crate) const IO_URING_ENTER: u64 = 426;
    /// setsockopt, getsockopt (`SCTP_SOCKOPT_CONNECTX3`), which have the level next to the descriptor
    pub(crate) const OPTIONS: [u64; 2] = [54, 55];
    pub(crate) const COMPAT_OPTIONS: [u64; 2] = [366, 365];
    /// write, sendto, sendmsg, writev, sendmmsg
    pub(crate) const SENDS: [u64; 5] = [1, 44, 46, 20, 307];
    pub(crate) const COMPAT_SOCKETCALL: Option<u64> = Some(102);
    pub(crate) const COMPAT_BIND: u64 = 361;
    pub(crate) const COMPAT_CONNECT: u64 = 362;
    pub(crate) const COMPAT_LISTEN: u64 = 363;
    /// write, sendto, sendmsg, writev, sendmmsg
    pub(crate) const COMPAT_SENDS: [u64; 5] = [4, 369, 370, 146, 345];
    /// Set in the number of a call of the x32 ABI (`__X32_SYSCALL_BIT`)
    pub(crate) const OF_ANOTHER_ABI: u64 = 0x4000_0000;
}

/// `THREAD_SIZE`, of kernels without KASAN (arch/x86/include/asm/page_64_types.h)
const STACK: u64 = 16 * 1024;
/// `sizeof(struct pt_regs)`, and where it has `cs`
const REGISTERS: u64 = 168;
const CODE_SEGMENT: usize = 136;
/// `USER_RPL`: the caller came from outside the kernel (arch/x86/include/asm/segment.h).
const USER: u64 = 3;

/// The caller's registers, for kernels without a helper that tells: they are at the end of its task's stack
/// (`task_pt_regs`, arch/x86/include/asm/processor.h). `None` if what lies there are no caller's.
#[inline(always)]
pub(super) fn on_stack() -> Option<u64> {
    let stack: u64 = Probed::read(Probed::current(), present(setting!(offsets.task_stack))?)?;
    let registers = stack.wrapping_add(STACK - REGISTERS);
    let segment: u64 = Probed::read(registers, CODE_SEGMENT)?;
    (segment & USER == USER).then_some(registers)
}

impl Registers {
    /// `struct pt_regs` is part of the kernel's ABI (arch/x86/include/uapi/asm/ptrace.h):
    /// `orig_rax`; rdi, rsi, rdx; ebx, ecx, edx.
    #[inline(always)]
    pub(super) fn of<M: Memory>(registers: u64) -> Self {
        let load = load::<M, u64>;
        Self {
            number: load(registers, 120),
            arguments: [
                load(registers, 112),
                load(registers, 104),
                load(registers, 96),
            ],
            compat_arguments: [
                load(registers, 40),
                load(registers, 88),
                load(registers, 96),
            ],
        }
    }
}
