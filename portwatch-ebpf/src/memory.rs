//! Two ways to read a kernel struct's field, chosen at compile time by who asks.

use core::ptr::read_volatile;

use aya_ebpf::helpers::bpf_probe_read_kernel;

use crate::maps::setting;

/// How kernel memory is read.
pub(crate) trait Memory {
    /// One field of the struct at `base`. `None` where there is no struct or nothing is mapped.
    fn read<T: Copy>(base: u64, offset: usize) -> Option<T>;
}

/// Through a helper that checks the address: for pointers that the verifier knows nothing of.
pub(crate) struct Probed;

/// By a plain load: for pointers that the verifier has followed from a hook's arguments, and
/// for fields of the struct that it knows them to point to. Costs one instruction, and needs
/// no helper that lockdown could refuse.
pub(crate) struct Typed;

impl Memory for Probed {
    #[inline(always)]
    fn read<T: Copy>(base: u64, offset: usize) -> Option<T> {
        // Where that is forbidden, a program in which the helper can be reached does not load.
        if setting!(memory) == 0 || base == 0 {
            return None;
        }
        let field = (base as usize).wrapping_add(offset) as *const T;
        // SAFETY: the helper checks the address and fails where nothing is mapped.
        unsafe { bpf_probe_read_kernel(field) }.ok()
    }
}

impl Memory for Typed {
    #[inline(always)]
    fn read<T: Copy>(base: u64, offset: usize) -> Option<T> {
        if base == 0 {
            return None;
        }
        let field = (base as usize).wrapping_add(offset) as *const T;
        // SAFETY: the verifier checks the type and the offset; a load that faults gives zero.
        Some(unsafe { read_volatile(field) })
    }
}
