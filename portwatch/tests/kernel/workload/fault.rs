//! Callers that come and go.

use std::net::SocketAddr;

use anyhow::{Result, ensure};

use super::super::{
    cgroup_bpf::{Cgroup, own_cgroup},
    sys,
    truth::Op,
};
use super::{
    CONTAINERS, MANY_NAMESPACES, SHORT_LIVES, TAKEN, child,
    recorder::{LOOPBACK, Recorder, Try, impossible},
    socket::Socket,
};

/// Processes that bind once and are gone.
pub(super) fn short_lives(recorder: &Recorder) -> Result<()> {
    for _ in 0..SHORT_LIVES {
        child::apart(|| bind(0, 0).map(drop))?;
    }
    recorder.total(SHORT_LIVES)
}

/// Containers that are gone as soon as they have bound: process, cgroup and network namespace.
pub(super) fn containers(recorder: &Recorder) -> Result<()> {
    if let Err(error) = own_cgroup() {
        return impossible(format!("{error:#}"));
    }
    for _ in 0..CONTAINERS {
        let cgroup = Cgroup::enter()?;
        child::apart(|| {
            sys::enter_empty_netns()?;
            taken_twice()
        })?;
        drop(cgroup);
    }
    recorder.total(2 * CONTAINERS)
}

/// Binds in network namespaces that are gone with the next one.
pub(super) fn many_namespaces(recorder: &Recorder) -> Result<()> {
    for _ in 0..MANY_NAMESPACES {
        sys::enter_empty_netns()?;
        taken_twice()?;
    }
    recorder.total(2 * MANY_NAMESPACES)
}

fn taken_twice() -> Result<()> {
    // Even where loopback is down: without any address every address can be bound.
    let _holder = bind(TAKEN, 0)?;
    // Its cause asks the namespace who has the port.
    bind(TAKEN, -libc::EADDRINUSE).map(drop)
}

fn bind(port: u16, expected: i32) -> Result<Socket> {
    let socket = Socket::udp4()?;
    let address = SocketAddr::new(LOOPBACK, port);
    let ret = Try::of("one of many", Op::Bind, &socket, address).make();
    ensure!(ret == expected, "bind returned {ret}");
    Ok(socket)
}
