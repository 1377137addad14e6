//! Calls that somebody beside the protocol refuses.

use std::{fs, os::fd::OwnedFd};

use anyhow::{Context as _, Result};

use super::{
    super::{
        super::{
            cgroup_bpf::{self, Cgroup, Verdict},
            lsm_bpf::{self, Hook},
        },
        connect::listener,
        denied::{
            BY_TCP, LANDLOCK_NETWORK, filter_system_calls, landlock_version, no_new_privileges,
            restrict,
        },
        recorder::{Address, Descriptor},
    },
    Recorder, Scene, Socket, at, lacking, named,
    network::feed,
    raw_row, row, try_of,
};

pub(super) const SCENES: &[Scene] = &[landlock, bpf, apparmor, cgroup, cgroup_after, seccomp];

const HERE: &str = "127.0.0.1:7000";

fn landlock(recorder: &Recorder) -> Result<()> {
    match landlock_version() {
        Ok(LANDLOCK_NETWORK..) => restrict(BY_TCP)?,
        Ok(version) => return Err(lacking(format!("Landlock {version} knows no network"))),
        Err(error) => return Err(lacking(format!("no Landlock: {error}"))),
    }
    row(
        recorder,
        "bind: Landlock, no port allowed",
        &Socket::tcp4()?,
        HERE,
    )?;
    row(
        recorder,
        "connect: Landlock, no port allowed",
        &Socket::tcp4()?,
        HERE,
    )?;
    let (socket, half) = (Socket::tcp4()?, Address::Sized(at(HERE)?, 8));
    raw_row(
        recorder,
        "connect: Landlock, and half an IPv4 address",
        Descriptor::Socket(&socket),
        half,
    )?;
    row(
        recorder,
        "bind: Landlock, and an IPv6 address for an IPv4 socket",
        &socket,
        "[::1]:7000",
    )
}

fn bpf(recorder: &Recorder) -> Result<()> {
    for (hook, case) in [
        (Hook::Bind, "bind: a BPF program at the security hook"),
        (Hook::Connect, "connect: a BPF program at the security hook"),
    ] {
        let _program = bpf_program(hook)?;
        row(recorder, case, &Socket::tcp4()?, HERE)?;
    }
    Ok(())
}

/// A BPF program that refuses this process something; some machines let nobody load one.
pub(super) fn bpf_program(hook: Hook) -> Result<OwnedFd> {
    need_module("bpf")?;
    lsm_bpf::refuse(hook).map_err(|error| lacking(format!("{error:#}")))
}

/// Without the network, not even a look at a socket is allowed: it must do without.
fn apparmor(recorder: &Recorder) -> Result<()> {
    let socket = Socket::tcp4()?;
    let descriptor = Descriptor::Other(socket.raw_fd());
    let address = Address::Ip(at(HERE)?);
    confine("file, deny network inet,")?;
    raw_row(
        recorder,
        "bind: an AppArmor profile without network",
        descriptor,
        address,
    )?;
    raw_row(
        recorder,
        "connect: an AppArmor profile without network",
        descriptor,
        address,
    )
}

/// Confines this process to an AppArmor profile of these rules.
pub(super) fn confine(rules: &str) -> Result<()> {
    need_module("apparmor")?;
    let name = format!("portwatch-test-{}", std::process::id());
    let profile = format!("profile {name} {{ {rules} }}\n");
    // Else it takes the rules for those of an old kernel, which had none for the network.
    let features = "--policy-features=/sys/kernel/security/apparmor/features";
    let arguments = ["--add", "--skip-cache", "--quiet", features];
    feed("apparmor_parser", &arguments, &profile)?;
    fs::write(
        "/proc/self/attr/apparmor/current",
        format!("changeprofile {name}"),
    )
    .context("cannot change to the profile")
}

/// Whether a security module runs here.
fn need_module(name: &str) -> Result<()> {
    let modules = fs::read_to_string("/sys/kernel/security/lsm").unwrap_or_default();
    if modules.trim().split(',').any(|module| module == name) {
        Ok(())
    } else {
        Err(lacking(format!(
            "{name} is not among the security modules: {modules}"
        )))
    }
}

fn cgroup(recorder: &Recorder) -> Result<()> {
    let cgroup = Cgroup::enter().map_err(|error| lacking(format!("{error:#}")))?;
    let (_listener, listening) = listener(recorder, 8)?;
    for (hook, case, address) in [
        (
            cgroup_bpf::Hook::Bind,
            "bind: a cgroup BPF program",
            at(HERE)?,
        ),
        (
            cgroup_bpf::Hook::Connect,
            "connect: a cgroup BPF program",
            listening,
        ),
    ] {
        let _attached = cgroup.attach(hook, Verdict::Refuse)?;
        let socket = Socket::tcp4()?;
        let (what, ret) = try_of(case, &socket, address)?;
        recorder.write(recorder.attempted(&what, ret)?)?;
    }
    Ok(())
}

fn cgroup_after(recorder: &Recorder) -> Result<()> {
    let cgroup = Cgroup::enter().map_err(|error| lacking(format!("{error:#}")))?;
    let _attached = cgroup.attach(cgroup_bpf::Hook::PostBind, Verdict::Refuse)?;
    let case = "bind: a cgroup BPF program that sees the port";
    row(recorder, case, &Socket::tcp4()?, HERE)
}

fn seccomp(recorder: &Recorder) -> Result<()> {
    no_new_privileges()?;
    filter_system_calls()?;
    for case in ["bind: a seccomp filter", "connect: a seccomp filter"] {
        let (row, op) = named(case)?;
        let socket = Socket::tcp4()?;
        let what = super::Try::of(case, op, &socket, at(HERE)?);
        let mut truth = recorder.attempted(&what, row.ret)?;
        truth.seccomp = true;
        recorder.write(truth)?;
    }
    Ok(())
}
