//! Descriptors that the runtime waits for.

use std::{
    io,
    os::fd::{AsFd, AsRawFd},
};

use tokio::io::{Interest, unix::AsyncFd};

/// Registers `inner` with the runtime. Must run inside one.
pub fn register<T: AsFd + AsRawFd>(inner: T, interest: Interest) -> io::Result<AsyncFd<T>> {
    #[expect(
        unsafe_code,
        reason = "tokio cannot see that the descriptor stays open"
    )]
    // SAFETY: a type that implements `AsFd` keeps its descriptor open, and the same, for as long as it lives.
    let registered = unsafe { AsyncFd::register_with_interest(inner, interest) };
    registered.map_err(Into::into)
}
