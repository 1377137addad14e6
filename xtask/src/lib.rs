//! What `xtask` and its programs in the test VMs (bin/) have in common: the words they exchange.
#![forbid(unsafe_code)]

pub mod figures;
pub mod wire;
