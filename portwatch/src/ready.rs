//! What the runtime waits for: descriptors, and times that may not be set.

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

/// Waits until then; for ever where there is no such time.
pub async fn at(time: Option<std::time::Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time.into()).await,
        None => std::future::pending().await,
    }
}
