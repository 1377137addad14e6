//! portwatch's eBPF programs.
//!
//! [`hooks`] has the entry points, each a line or two that call [`attempt`], which keeps
//! the one record per thread from a call's entry to its return. [`socket`], [`task`] and
//! [`sockaddr`] read memory; [`maps`] is what userspace sees.
#![no_std]
#![no_main]

mod attempt;
mod hooks;
mod maps;
mod sockaddr;
mod socket;
mod task;

/// The helpers that read memory are for programs that say this.
#[unsafe(no_mangle)]
#[unsafe(link_section = "license")]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    // The verifier refuses a program in which this could be reached.
    loop {}
}
