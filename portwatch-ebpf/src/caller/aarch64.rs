//! aarch64, and its 32-bit calls (arm).

use super::{Registers, load};
use crate::memory::Memory;

pub(super) const KNOWN: bool = true;

/// `__arm64_sys_connect` serves both kinds of callers, and may wait: a return probe on it would soon
/// have no more instances, for want of which calls are missed.
pub(crate) const TELLS_COMPAT_RETURNS: bool = false;

pub(super) mod number {
    //! The calls of interest: include/uapi/asm-generic/unistd.h and arch/arm/tools/syscall.tbl
    pub(crate) const BIND: u64 = 200;
    pub(crate) const CONNECT: u64 = 203;
    pub(crate) const LISTEN: u64 = 201;
    pub(crate) const IO_URING_ENTER: u64 = 426;
    /// setsockopt, getsockopt (`SCTP_SOCKOPT_CONNECTX3`), which have the level next to the descriptor
    pub(crate) const OPTIONS: [u64; 2] = [208, 209];
    pub(crate) const COMPAT_OPTIONS: [u64; 2] = [294, 295];
    /// write, sendto, sendmsg, writev, sendmmsg
    pub(crate) const SENDS: [u64; 5] = [64, 206, 211, 66, 269];
    /// Only the old ABI has it, which aarch64 kernels do not run
    pub(crate) const COMPAT_SOCKETCALL: Option<u64> = None;
    pub(crate) const COMPAT_BIND: u64 = 282;
    pub(crate) const COMPAT_CONNECT: u64 = 283;
    pub(crate) const COMPAT_LISTEN: u64 = 284;
    /// write, sendto, sendmsg, writev, sendmmsg
    pub(crate) const COMPAT_SENDS: [u64; 5] = [4, 290, 296, 146, 374];
    pub(crate) const OF_ANOTHER_ABI: u64 = 0;
}

/// The size of the stack, at whose end they lie, is chosen as the kernel is built: without the helper that tells
/// they are not known.
#[inline(always)]
pub(super) const fn on_stack() -> Option<u64> {
    None
}

impl Registers {
    /// `struct pt_regs` (arch/arm64/include/asm/ptrace.h): `syscallno`; `orig_x0`, since x0 holds
    /// the result once there is one, x1 and x2, which are r0 to r2 of a 32-bit call.
    #[inline(always)]
    pub(super) fn of<M: Memory>(registers: u64) -> Self {
        let number: i32 = load::<M, _>(registers, 280);
        let load = load::<M, u64>;
        let arguments = [
            load(registers, 272),
            load(registers, 8),
            load(registers, 16),
        ];
        Self {
            number: number as u64,
            arguments,
            compat_arguments: arguments,
        }
    }
}
