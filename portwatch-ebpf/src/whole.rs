//! Runs that are not interrupted by another task's.
//!
//! The kernel counts that a program is under way on a CPU, and skips it for whoever else comes to it there
//! meanwhile (`__bpf_prog_enter_recur`, kernel/bpf/trampoline.c; of system call tracepoints since Linux 7.2
//! `trace_call_bpf_faultable`, kernel/trace/bpf_trace.c). On a preemptible kernel a task can be
//! put aside in the middle of such a run, and all that run on its CPU until it goes on are not seen.

use core::mem::{MaybeUninit, transmute};

use portwatch_common::kfunc;

/// Keeps the task on its CPU from where it is begun to where it is dropped; of no effect where the kernel has
/// not all of the functions.
pub(crate) struct Whole(());

type WithFlags = unsafe extern "C" fn(*mut u64);

/// The kernel's function of that number, of a type that the loader and the verifier hold it to.
macro_rules! function {
    ($type:ty, $number:expr) => {{
        // SAFETY: what the loader puts in the place of a call of that number is of that type, or nothing.
        unsafe { transmute::<usize, $type>($number as usize) }
    }};
}

impl Whole {
    #[inline(always)]
    pub(crate) fn begin() -> Self {
        let disable = function!(unsafe extern "C" fn(), kfunc::PREEMPT_DISABLE);
        // SAFETY: `drop` enables it again, which the verifier checks.
        unsafe { disable() };
        Self(())
    }
}

impl Drop for Whole {
    /// Interrupts are off while preemption is enabled: else the kernel would give the CPU to another task at once,
    /// still within the run.
    #[inline(always)]
    fn drop(&mut self) {
        let mut flags = MaybeUninit::<u64>::uninit();
        let save = function!(WithFlags, kfunc::IRQ_SAVE);
        let enable = function!(unsafe extern "C" fn(), kfunc::PREEMPT_ENABLE);
        let restore = function!(WithFlags, kfunc::IRQ_RESTORE);
        let flags = flags.as_mut_ptr();
        // SAFETY: it writes the flags, for which there is room.
        unsafe { save(flags) };
        // SAFETY: `begin` disabled it.
        unsafe { enable() };
        // SAFETY: the flags are what was saved.
        unsafe { restore(flags) };
    }
}
