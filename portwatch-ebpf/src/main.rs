//! portwatch's eBPF programs.
//!
//! [`hooks`] has the entry points, each a line or two that call [`trampoline`] (the fexit
//! source) or [`bracket`] (the kprobe and tracepoint sources). Both keep what they see of a
//! call in an [`attempt`], which lies with its [`thread`], and submit that: what each [`station`]
//! said, and, if it is [`pending`], how it ended. [`caller`], [`socket`], [`task`], [`sockaddr`] and,
//! of `io_uring`, [`request`] read what it is about, by way of [`memory`]; [`filter`] says which are
//! wanted, [`bound`] keeps what may explain others; [`whole`] keeps a run from being put aside, and
//! [`witness`] speaks for one that was skipped; [`maps`] is what userspace sees.
//! Apart from all that, [`files`] goes through open descriptors when it is asked to.
#![no_std]
#![no_main]
#![expect(
    clippy::inline_always,
    reason = "the verifier follows typed pointers and known values within one function"
)]
#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    reason = "registers are 64 bits wide, what they hold is not; a check would cost a branch"
)]
#![expect(
    clippy::needless_pass_by_value,
    reason = "the macros hand a hook its context by value"
)]

mod attempt;
mod bound;
mod bracket;
mod caller;
mod files;
mod filter;
mod hooks;
mod maps;
mod memory;
mod modules;
mod pending;
mod request;
mod sockaddr;
mod socket;
mod station;
mod task;
mod thread;
mod trampoline;
mod whole;
mod witness;

/// The helpers that read memory are for programs that say this.
#[unsafe(no_mangle)]
#[unsafe(link_section = "license")]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    // The verifier refuses a program in which this could be reached.
    loop {}
}
