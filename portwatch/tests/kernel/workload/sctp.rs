//! SCTP's `sctp_bindx()` and `sctp_connectx()`, which are socket options (lksctp's sctp_bindx.c).

use std::{
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    os::fd::RawFd,
};

use anyhow::{Context as _, Result};
use rustix::net::{AddressFamily, SocketType, ipproto, listen};

use super::super::{sys, truth::Op};
use super::{
    recorder::{LOOPBACK, Recorder, Try, impossible},
    socket::Socket,
};

// include/uapi/linux/sctp.h
const BINDX_ADD: i32 = 100;
const CONNECTX: i32 = 110;
const ADDRINUSE: i32 = -libc::EADDRINUSE;
const CLOSED: SocketAddr = SocketAddr::new(LOOPBACK, 7002);

pub(super) fn by_options(recorder: &Recorder) -> Result<()> {
    sys::enter_own_netns()?;
    let listener = match open() {
        Ok(socket) => socket,
        Err(error) => return impossible(format!("no SCTP: {error}")),
    };
    let (first, second) = (on_port(1, 7000), on_port(2, 7000));
    option(recorder, "one address", &listener, Op::Bind, first, 0)?;
    option(recorder, "one more", &listener, Op::Bind, second, 0)?;
    listen(&listener, 8).context("listen")?;
    let taken = open()?;
    option(recorder, "taken", &taken, Op::Bind, first, ADDRINUSE)?;
    let (granted, refused) = (open()?, open()?);
    option(recorder, "granted", &granted, Op::Connect, first, 0)?;
    let ret = -libc::ECONNREFUSED;
    option(recorder, "refused", &refused, Op::Connect, CLOSED, ret)?;
    by_system_call(recorder)
}

/// What of an ordinary connect only SCTP's own function tells.
fn by_system_call(recorder: &Recorder) -> Result<()> {
    let refused = open()?;
    let what = Try::of("by system call", Op::Connect, &refused, CLOSED);
    let mut truth = recorder.attempted(&what, -libc::ECONNREFUSED)?;
    truth.stages = Some("operation -111".to_owned());
    recorder.write(truth)
}

fn open() -> io::Result<Socket> {
    let (family, kind) = (AddressFamily::INET, SocketType::STREAM);
    Socket::open(family, kind, Some(ipproto::SCTP), "sctp")
}

const fn on_port(host: u8, port: u16) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::new(127, 0, 0, host)), port)
}

fn option(
    recorder: &Recorder,
    case: &str,
    socket: &Socket,
    op: Op,
    address: SocketAddr,
    expected: i32,
) -> Result<()> {
    let what = Try::of(case, op, socket, address);
    let (name, via) = match op {
        Op::Bind => (BINDX_ADD, "bindx"),
        Op::Connect | Op::Listen => (CONNECTX, "connectx"),
    };
    let mut truth = recorder.measure(&what, expected, || set(socket.raw_fd(), name, address))?;
    via.clone_into(&mut truth.via);
    truth.stages = match expected {
        0 => None,
        ADDRINUSE => Some(format!("operation {ADDRINUSE}, get_port {ADDRINUSE}")),
        _ => Some(format!("operation {expected}")),
    };
    recorder.write(truth)
}

/// 0 or more is success: of a connectx, the number of the association.
fn set(fd: RawFd, option: i32, address: SocketAddr) -> i32 {
    let address = sys::sockaddr(address);
    // SAFETY: the option is one address, as long as is said.
    let result = unsafe {
        libc::setsockopt(
            fd,
            libc::IPPROTO_SCTP,
            option,
            address.as_ptr().cast(),
            sys::IPV4_LEN,
        )
    };
    if result >= 0 {
        0
    } else {
        -io::Error::last_os_error().raw_os_error().unwrap_or(0)
    }
}
