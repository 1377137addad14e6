//! BPF programs at the hooks of the security modules, which refuse this process what others may do.

use std::{
    fs,
    os::fd::{AsRawFd as _, OwnedFd},
};

use anyhow::{Context as _, Result};
use portwatch::source::btf::{self, Btf};
use rustix::thread::CapabilitySet;

use super::cgroup_bpf::{Instruction, bpf_descriptor, load_program};

// include/uapi/linux/bpf.h
const RAW_TRACEPOINT_OPEN: i32 = 17;
const TYPE_LSM: u32 = 29;
const LSM_MAC: u32 = 27;
const GET_CURRENT_PID_TGID: i32 = 14;

/// A hook, by the function that stands for it (include/linux/lsm_hook_defs.h).
#[derive(Clone, Copy)]
pub(crate) enum Hook {
    Bind,
    Connect,
    /// When that capability is asked for
    Capable(CapabilitySet),
}

/// The part of `union bpf_attr` for attaching one: the program knows where
#[repr(C)]
struct Open {
    name: u64,
    program: i32,
    padding: u32,
}

/// Refuses this process what passes there, until the descriptor is closed.
pub(crate) fn refuse(hook: Hook) -> Result<OwnedFd> {
    let function = function_id(hook.function())?;
    let program = load_program(&hook.program()?, TYPE_LSM, LSM_MAC, function)
        .context("cannot load an LSM program")?;
    let attributes = Open {
        name: 0,
        program: program.as_raw_fd(),
        padding: 0,
    };
    bpf_descriptor(RAW_TRACEPOINT_OPEN, &attributes).context("cannot attach an LSM program")
}

impl Hook {
    const fn function(self) -> &'static str {
        match self {
            Self::Bind => "bpf_lsm_socket_bind",
            Self::Connect => "bpf_lsm_socket_connect",
            Self::Capable(_) => "bpf_lsm_capable",
        }
    }

    /// 0 for all processes but this one, which is refused with `EPERM`.
    fn program(self) -> Result<Vec<Instruction>> {
        let pid = i32::try_from(std::process::id())?;
        let condition = match self {
            Self::Bind | Self::Connect => vec![],
            // `capable(cred, ns, cap, opts)`
            Self::Capable(capability) => vec![
                Instruction::load(1, 6, 2 * 8),
                Instruction::skip_unless(1, i32::try_from(capability.bits().trailing_zeros())?, 2),
            ],
        };
        let skipped = i16::try_from(condition.len())? + 2;
        let begin = [
            Instruction::copy(6, 1),
            Instruction::call(GET_CURRENT_PID_TGID),
            Instruction::shift_right(0, 32),
            Instruction::skip_unless(0, pid, skipped),
        ];
        let end = [
            Instruction::set_long(0, -libc::EPERM),
            Instruction::EXIT,
            Instruction::set_long(0, 0),
            Instruction::EXIT,
        ];
        Ok([&begin[..], &condition, &end].concat())
    }
}

/// The function's place among the kernel's types.
fn function_id(name: &'static str) -> Result<u32> {
    let types = fs::read(btf::VMLINUX).context("no type information")?;
    let btf = Btf::parse(&types, &[], &[name])?;
    let function = btf.functions().first();
    Ok(function.with_context(|| format!("no function {name}"))?.id)
}
