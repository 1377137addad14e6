//! Callers that come and go.

use std::net::SocketAddr;

use anyhow::{Result, ensure};

use super::super::{sys, truth::Op};
use super::{
    MANY_NAMESPACES, SHORT_LIVES, TAKEN, child,
    recorder::{LOOPBACK, Recorder, Try},
    socket::Socket,
};

/// Processes that bind once and are gone.
pub(super) fn short_lives(recorder: &Recorder) -> Result<()> {
    for _ in 0..SHORT_LIVES {
        child::apart(|| bind(0, 0).map(drop))?;
    }
    recorder.total(SHORT_LIVES)
}

/// Binds in network namespaces that are gone with the next one.
pub(super) fn many_namespaces(recorder: &Recorder) -> Result<()> {
    for _ in 0..MANY_NAMESPACES {
        sys::enter_empty_netns()?;
        // Even where loopback is down: without any address every address can be bound.
        let _holder = bind(TAKEN, 0)?;
        // Its cause asks the namespace who has the port.
        bind(TAKEN, -libc::EADDRINUSE)?;
    }
    recorder.total(2 * MANY_NAMESPACES)
}

fn bind(port: u16, expected: i32) -> Result<Socket> {
    let socket = Socket::udp4()?;
    let address = SocketAddr::new(LOOPBACK, port);
    let ret = Try::of("one of many", Op::Bind, &socket, address).make();
    ensure!(ret == expected, "bind returned {ret}");
    Ok(socket)
}
