//! The entry points: each cites what it is attached to, and calls the module of its source.

mod fexit;
mod iterator;
mod kprobe;
mod tracepoint;

/// `O_NONBLOCK` (include/uapi/asm-generic/fcntl.h)
const O_NONBLOCK: u64 = 0o4000;
