//! Functions of the kernel that programs call where it has them (kfuncs, Documentation/bpf/kfuncs.rst).
//!
//! A program calls one by a number of its own, as it would a helper; the loader puts the function of the
//! running kernel in its place, or, where there is none, nothing.

/// The first of the numbers; helpers have far smaller ones.
const FIRST: u32 = 0x7077_0000;

/// `void bpf_preempt_disable(void)`, since 6.12
pub const PREEMPT_DISABLE: u32 = FIRST;
/// `void bpf_preempt_enable(void)`
pub const PREEMPT_ENABLE: u32 = FIRST + 1;
/// `void bpf_local_irq_save(unsigned long *flags)`, since 6.14
pub const IRQ_SAVE: u32 = FIRST + 2;
/// `void bpf_local_irq_restore(unsigned long *flags)`
pub const IRQ_RESTORE: u32 = FIRST + 3;

/// Their names in the kernel's type information, each at the place of its number.
pub const NAMES: [&str; 4] = [
    "bpf_preempt_disable",
    "bpf_preempt_enable",
    "bpf_local_irq_save",
    "bpf_local_irq_restore",
];

/// The function of that number, by its place in [`NAMES`].
#[must_use]
pub const fn index(number: u32) -> Option<usize> {
    let index = number.wrapping_sub(FIRST) as usize;
    if index < NAMES.len() {
        Some(index)
    } else {
        None
    }
}
