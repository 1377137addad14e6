//! Becomes another program, as an ordinary user with a few capabilities.

use std::{ffi::OsString, os::unix::process::CommandExt as _, process::Command};

use anyhow::{Context as _, Result};
use rustix::thread::{
    CapabilitySet, CapabilitySets, configure_capability_in_ambient_set, set_capabilities,
    set_keep_capabilities,
};

use super::{super::sys, USER};

/// Arguments: the capabilities' bits as a decimal number, the program, its arguments.
pub(super) fn exec(mut args: impl Iterator<Item = OsString>) -> Result<()> {
    let bits = args
        .next()
        .and_then(|bits| bits.to_str()?.parse().ok())
        .context("no capabilities given")?;
    let program = args.next().context("no program given")?;
    let wanted = CapabilitySet::from_bits_retain(bits);
    set_keep_capabilities(true)?;
    sys::become_user(USER)?;
    set_capabilities(
        None,
        CapabilitySets {
            effective: wanted,
            permitted: wanted,
            inheritable: wanted,
        },
    )?;
    for capability in wanted.iter() {
        configure_capability_in_ambient_set(capability, true)?;
    }
    Err(Command::new(program).args(args).exec()).context("exec")
}
