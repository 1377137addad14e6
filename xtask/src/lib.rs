//! What `xtask` and its programs in the test VMs (bin/) have in common: the words they exchange.
#![forbid(unsafe_code)]

pub mod figures;
#[cfg(target_os = "linux")]
pub mod guest;
pub mod trial;
pub mod wire;
