//! On systems other than Linux only the question is known, and nobody answers it.

#[path = "kernel.rs"]
pub mod kernel;
