//! portwatch: every bind() and connect() attempt on this machine, live.
//!
//! docs/ARCHITECTURE.md shows how the modules lie on one another; each imports only downwards.
#![deny(unsafe_code)]

pub mod errno;
pub mod event;
