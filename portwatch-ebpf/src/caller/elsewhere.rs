//! Other processors, whose registers are not known: the loader does not offer the fexit source.

use super::Registers;
use crate::memory::Memory;

pub(super) const KNOWN: bool = false;

/// Left as on x86-64: 32-bit calls are not recognised.
pub(crate) const TELLS_COMPAT_RETURNS: bool = true;

pub(super) mod number {
    //! No call has these numbers.
    const NONE: u64 = u64::MAX;
    pub(crate) const BIND: u64 = NONE;
    pub(crate) const CONNECT: u64 = NONE - 1;
    pub(crate) const LISTEN: u64 = NONE - 2;
    pub(crate) const IO_URING_ENTER: u64 = NONE - 3;
    pub(crate) const OPTIONS: [u64; 2] = [NONE; 2];
    pub(crate) const COMPAT_OPTIONS: [u64; 2] = [NONE; 2];
    pub(crate) const SENDS: [u64; 5] = [NONE; 5];
    pub(crate) const COMPAT_SOCKETCALL: Option<u64> = None;
    pub(crate) const COMPAT_BIND: u64 = BIND;
    pub(crate) const COMPAT_CONNECT: u64 = CONNECT;
    pub(crate) const COMPAT_LISTEN: u64 = LISTEN;
    pub(crate) const COMPAT_SENDS: [u64; 5] = [NONE; 5];
    pub(crate) const OF_ANOTHER_ABI: u64 = 0;
}

#[inline(always)]
pub(super) const fn on_stack() -> Option<u64> {
    None
}

impl Registers {
    #[inline(always)]
    pub(super) fn of<M: Memory>(_registers: u64) -> Self {
        Self {
            number: u64::MAX,
            arguments: [0; 3],
            compat_arguments: [0; 3],
        }
    }
}
