//! Protocols that connect in their own way.

use std::net::{Ipv4Addr, SocketAddr};

use anyhow::{Context as _, Result};
use rustix::{
    fs::{OFlags, fcntl_getfl, fcntl_setfl},
    net::{AddressFamily, SocketType, ipproto, listen},
};

use super::super::{sys, truth::Op};
use super::{
    connect::listener,
    recorder::{LOOPBACK, Recorder, Try, impossible},
    socket::Socket,
};

const CLOSED: u16 = 7002;

/// Multipath TCP: the socket that was asked, once, and not the subflows too.
pub(super) fn mptcp(recorder: &Recorder) -> Result<()> {
    sys::enter_own_netns()?;
    let (_listener, address) = listener(recorder, 8)?;
    let open = |family| Socket::open(family, SocketType::STREAM, Some(ipproto::MPTCP), "mptcp");
    let granted = match open(AddressFamily::INET) {
        Ok(socket) => socket,
        Err(error) => return impossible(format!("no Multipath TCP: {error}")),
    };
    recorder.connect("granted", &granted, address, 0)?;
    let refused = open(AddressFamily::INET)?;
    let closed = SocketAddr::new(LOOPBACK, CLOSED);
    let what = Try::of("refused", Op::Connect, &refused, closed);
    let mut truth = recorder.attempted(&what, -libc::ECONNREFUSED)?;
    truth.stages = Some("operation -111, connect 0, syn sent".to_owned());
    recorder.write(truth)?;
    let mapped = SocketAddr::new(Ipv4Addr::LOCALHOST.to_ipv6_mapped().into(), address.port());
    let ipv6 = open(AddressFamily::INET6)?;
    recorder.connect("an IPv4 address in an IPv6 one", &ipv6, mapped, 0)?;
    let hasty = open(AddressFamily::INET)?;
    fcntl_setfl(&hasty, fcntl_getfl(&hasty)? | OFlags::NONBLOCK)?;
    let what = Try::of("will be refused", Op::Connect, &hasty, closed);
    let mut truth = recorder.attempted(&what, -libc::EINPROGRESS)?;
    truth.stages = Some("operation -115, connect 0, syn sent".to_owned());
    recorder.write(truth)
}

/// SCTP, whose connect is a module's.
pub(super) fn sctp(recorder: &Recorder) -> Result<()> {
    sys::enter_own_netns()?;
    let open = || {
        let (family, kind) = (AddressFamily::INET, SocketType::STREAM);
        Socket::open(family, kind, Some(ipproto::SCTP), "sctp")
    };
    let listener = match open() {
        Ok(socket) => socket,
        Err(error) => return impossible(format!("no SCTP: {error}")),
    };
    recorder.bind("to listen", &listener, SocketAddr::new(LOOPBACK, 0), 0)?;
    listen(&listener, 8).context("listen")?;
    let address = SocketAddr::new(LOOPBACK, listener.local()?.port());
    let (taken, granted, refused) = (open()?, open()?, open()?);
    recorder.bind("taken", &taken, address, -libc::EADDRINUSE)?;
    recorder.connect("granted", &granted, address, 0)?;
    let closed = SocketAddr::new(LOOPBACK, CLOSED);
    recorder.connect("refused", &refused, closed, -libc::ECONNREFUSED)
}
