//! What `xtask` and the test VMs' PID 1 (bin/init.rs) have in common: the words they exchange.
#![forbid(unsafe_code)]

pub mod wire;
