//! What portwatch has no business with, and names that mean harm.

use std::{
    ffi::CString,
    io,
    net::SocketAddr,
    os::fd::{AsRawFd as _, OwnedFd},
};

use anyhow::{Context as _, Result, ensure};
use rustix::net::{AddressFamily, SocketType, socket};

use super::super::{sys, truth::Op};
use super::{
    recorder::{LOOPBACK, Recorder},
    socket::Socket,
};

/// Attempts that are none of the internet, and at last one that is.
pub(super) fn families(recorder: &Recorder) -> Result<()> {
    sys::enter_own_netns()?;
    let sockets = [unix_stream()?, unix_datagram()?, netlink()?, packet()?];
    let vsock = vsock(recorder)?;
    recorder.bind(
        "the only one of the internet",
        &Socket::tcp4()?,
        SocketAddr::new(LOOPBACK, 0),
        0,
    )?;
    drop((sockets, vsock));
    Ok(())
}

fn unix_stream() -> Result<OwnedFd> {
    let fd = socket(AddressFamily::UNIX, SocketType::STREAM, None)?;
    // An abstract name: no file is left behind.
    let address = address(AddressFamily::UNIX, b"\0portwatch-test");
    demand(
        "AF_UNIX bind",
        sys::attempt(Op::Bind, fd.as_raw_fd(), start_of(&address), 17),
        0,
    )?;
    let client = socket(AddressFamily::UNIX, SocketType::STREAM, None)?;
    let refused = sys::attempt(Op::Connect, client.as_raw_fd(), start_of(&address), 17);
    demand("AF_UNIX connect", refused, -libc::ECONNREFUSED)?;
    Ok(fd)
}

fn unix_datagram() -> Result<OwnedFd> {
    let fd = socket(AddressFamily::UNIX, SocketType::DGRAM, None)?;
    let nobody = address(AddressFamily::UNSPEC, b"");
    demand(
        "AF_UNIX disconnect",
        sys::attempt(Op::Connect, fd.as_raw_fd(), start_of(&nobody), 16),
        0,
    )?;
    Ok(fd)
}

fn netlink() -> Result<OwnedFd> {
    let fd = socket(AddressFamily::NETLINK, SocketType::RAW, None)?;
    let address = address(AddressFamily::NETLINK, b"");
    demand(
        "AF_NETLINK bind",
        sys::attempt(Op::Bind, fd.as_raw_fd(), start_of(&address), 12),
        0,
    )?;
    Ok(fd)
}

fn packet() -> Result<OwnedFd> {
    let fd = socket(AddressFamily::PACKET, SocketType::RAW, None)?;
    let address = address(AddressFamily::PACKET, b"");
    demand(
        "AF_PACKET bind",
        sys::attempt(Op::Bind, fd.as_raw_fd(), start_of(&address), 20),
        0,
    )?;
    Ok(fd)
}

/// Present only with virtual machines.
fn vsock(recorder: &Recorder) -> Result<Option<OwnedFd>> {
    let fd = match socket(AddressFamily::VSOCK, SocketType::STREAM, None) {
        Ok(fd) => fd,
        Err(error) => {
            recorder.skip("AF_VSOCK", &error.into())?;
            return Ok(None);
        }
    };
    // `struct sockaddr_vm` with VMADDR_PORT_ANY and VMADDR_CID_ANY
    let mut rest = [0; 14];
    rest[2..10].fill(0xff);
    let address = address(AddressFamily::VSOCK, &rest);
    demand(
        "AF_VSOCK bind",
        sys::attempt(Op::Bind, fd.as_raw_fd(), start_of(&address), 16),
        0,
    )?;
    Ok(Some(fd))
}

fn address(family: AddressFamily, rest: &[u8]) -> [u8; 128] {
    let mut bytes = [0; 128];
    bytes[..2].copy_from_slice(&family.as_raw().to_ne_bytes());
    bytes[2..2 + rest.len()].copy_from_slice(rest);
    bytes
}

fn start_of(bytes: &[u8]) -> usize {
    bytes.as_ptr().expose_provenance()
}

fn demand(case: &str, ret: i32, expected: i32) -> Result<()> {
    let error = io::Error::from_raw_os_error(-ret);
    ensure!(
        ret == expected,
        "{case} returned {ret} ({error}), the case needs {expected}"
    );
    Ok(())
}

/// Thread names that would do something to a terminal, or break a format.
const HOSTILE: [&[u8]; 8] = [
    b"\x1b[31mred\x1b[0m",
    b"\x1b]0;title\x07",
    b"two\nlines\r\t\"q\\",
    b"\xff\xfe\xc3(\xe2\x82",
    b"\xe2\x80\xaegnp.exe",
    b"\xc2\x9b31mC1\x7f\x08",
    b"\xe2\x80\xa8line\xe2\x80\xa9",
    b"{\"kind\":\"x\"},[",
];

/// Attempts of a thread with such names.
pub(super) fn hostile_names(recorder: &Recorder) -> Result<()> {
    for name in HOSTILE {
        rustix::thread::set_name(&CString::new(name).context("a name with a NUL")?)?;
        let case = name.escape_ascii().to_string();
        recorder.bind(&case, &Socket::udp4()?, SocketAddr::new(LOOPBACK, 0), 0)?;
    }
    Ok(())
}
