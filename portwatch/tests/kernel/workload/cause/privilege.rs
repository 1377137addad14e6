//! Low ports: who may bind them, and who may not.

use std::fs;

use anyhow::{Context as _, Result, bail};
use rustix::{
    process::{DumpableBehavior, set_dumpable_behavior},
    thread::{
        CapabilitySet, CapabilitySets, UnshareFlags, set_capabilities, set_keep_capabilities,
    },
};

use super::{
    super::{
        super::{lsm_bpf::Hook, sys},
        USER,
    },
    Address, Descriptor, Recorder, Scene, Socket, at,
    denial::{bpf_program, confine},
    raw_row, row,
};

pub(super) const SCENES: &[Scene] = &[
    ordinary_user,
    raised_start,
    root_of_another_user_namespace,
    capability_denied_by_bpf,
    capability_denied_by_apparmor,
    lowered_start,
    capability,
    own_namespaces,
    root,
];

fn ordinary_user(recorder: &Recorder) -> Result<()> {
    sys::become_user(USER)?;
    row(
        recorder,
        "a low port by an ordinary user",
        &Socket::tcp4()?,
        "127.0.0.1:80",
    )?;
    let case = "a low port by an ordinary user on IPv6";
    row(recorder, case, &Socket::tcp6()?, "[::1]:80")
}

fn raised_start(recorder: &Recorder) -> Result<()> {
    sys::set_net("ipv4/ip_unprivileged_port_start", "3000")?;
    sys::become_user(USER)?;
    let case = "port 2000 with ip_unprivileged_port_start at 3000";
    row(recorder, case, &Socket::tcp4()?, "127.0.0.1:2000")
}

/// All capabilities, but in a namespace below the one that the network belongs to.
fn root_of_another_user_namespace(recorder: &Recorder) -> Result<()> {
    enter_user_namespace(UnshareFlags::NEWUSER, 0)?;
    let case = "a low port by root of another user namespace";
    row(recorder, case, &Socket::tcp4()?, "127.0.0.1:80")
}

fn capability_denied_by_bpf(recorder: &Recorder) -> Result<()> {
    let _program = bpf_program(Hook::Capable(CapabilitySet::NET_BIND_SERVICE))?;
    let case = "a low port with the capability, and a BPF program at its hook";
    row(recorder, case, &Socket::tcp4()?, "127.0.0.1:80")
}

fn capability_denied_by_apparmor(recorder: &Recorder) -> Result<()> {
    let socket = Socket::tcp4()?;
    confine("file, network, deny capability net_bind_service,")?;
    let case = "a low port with the capability, and an AppArmor profile without it";
    // Of its network namespace it may not even learn the number.
    let (descriptor, address) = (
        Descriptor::Other(socket.raw_fd()),
        Address::Ip(at("127.0.0.1:80")?),
    );
    raw_row(recorder, case, descriptor, address)
}

fn lowered_start(recorder: &Recorder) -> Result<()> {
    sys::set_net("ipv4/ip_unprivileged_port_start", "80")?;
    sys::become_user(USER)?;
    let case = "port 80 with ip_unprivileged_port_start at 80";
    row(recorder, case, &Socket::tcp4()?, "127.0.0.1:80")
}

fn capability(recorder: &Recorder) -> Result<()> {
    set_keep_capabilities(true)?;
    sys::become_user(USER)?;
    let only = CapabilitySet::NET_BIND_SERVICE;
    set_capabilities(
        None,
        CapabilitySets {
            effective: only,
            permitted: only,
            inheritable: CapabilitySet::empty(),
        },
    )?;
    row(
        recorder,
        "a low port with CAP_NET_BIND_SERVICE",
        &Socket::tcp4()?,
        "127.0.0.1:80",
    )
}

fn own_namespaces(recorder: &Recorder) -> Result<()> {
    sys::become_user(USER)?;
    // A process that changed its user may not write its own maps else (fs/proc/base.c).
    set_dumpable_behavior(DumpableBehavior::Dumpable)?;
    enter_user_namespace(UnshareFlags::NEWUSER | UnshareFlags::NEWNET, USER)?;
    row(
        recorder,
        "a low port in namespaces of one's own",
        &Socket::tcp4()?,
        "0.0.0.0:80",
    )
}

fn root(recorder: &Recorder) -> Result<()> {
    row(
        recorder,
        "a low port by root",
        &Socket::tcp4()?,
        "127.0.0.1:80",
    )
}

/// As root there, whoever that is outside.
fn enter_user_namespace(flags: UnshareFlags, user: u32) -> Result<()> {
    // SAFETY: of the flags only FILES is dangerous.
    let entered = unsafe { rustix::thread::unshare_unsafe(flags) };
    if let Err(error) = entered {
        bail!("unshare({flags:?}): {error}");
    }
    fs::write("/proc/self/setgroups", "deny").context("setgroups")?;
    fs::write("/proc/self/uid_map", format!("0 {user} 1")).context("uid_map")?;
    fs::write("/proc/self/gid_map", format!("0 {user} 1")).context("gid_map")
}
