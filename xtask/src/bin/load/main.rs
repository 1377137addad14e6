//! Measures, in a test VM or on the machine at hand, what a tracer can take, and what it takes when
//! there is nothing to do.
#![forbid(unsafe_code)]

#[cfg(target_os = "linux")]
mod pacer;
#[cfg(target_os = "linux")]
mod trials;

#[cfg(target_os = "linux")]
fn main() -> anyhow::Result<()> {
    trials::run()
}

#[cfg(not(target_os = "linux"))]
fn main() {}
