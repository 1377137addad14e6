//! What `bind()` can be asked, and what it answers.

use std::{
    fs::File,
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    os::fd::AsRawFd as _,
};

use anyhow::{Context as _, Result, ensure};
use rustix::net::{AddressFamily, Protocol, SocketType, ipproto, sockopt};

use super::super::{
    sys,
    truth::{Line, Op},
};
use super::{
    SERVED, USER,
    recorder::{Address, Descriptor, IPV6_LOOPBACK, LOOPBACK, Recorder},
    socket::Socket,
};

const INET: AddressFamily = AddressFamily::INET;
const INET6: AddressFamily = AddressFamily::INET6;
/// A descriptor that is not open.
const NOT_OPEN: i32 = 9999;
/// Nothing is mapped there, whoever runs: the lowest page.
const UNMAPPED: usize = 16;
/// `AF_APPLETALK`, include/linux/socket.h
const APPLETALK: u16 = 5;

/// Port 80, which needs a privilege: refused, and granted once the namespace says it needs none.
pub(super) fn four_binds_of_an_ordinary_user(recorder: &Recorder) -> Result<()> {
    sys::enter_own_netns()?;
    sys::set_net("ipv4/ip_unprivileged_port_start", "1024")?;
    sys::become_user(USER)?;
    bind_port_80(recorder, "a privileged port", -libc::EACCES)?;
    recorder.ask(&Line::LowerPortStart(80))?;
    bind_port_80(recorder, "a port that is no longer privileged", 0)
}

fn bind_port_80(recorder: &Recorder, case: &str, expected: i32) -> Result<()> {
    let addresses: [IpAddr; 4] = [
        LOOPBACK,
        Ipv4Addr::UNSPECIFIED.into(),
        IPV6_LOOPBACK,
        Ipv6Addr::UNSPECIFIED.into(),
    ];
    for address in addresses {
        let address = SocketAddr::new(address, 80);
        let socket = Socket::tcp(address)?;
        recorder.bind(case, &socket, address, expected)?;
    }
    Ok(())
}

/// A socket of every protocol, bound to a port of the kernel's choice.
pub(super) fn every_protocol(recorder: &Recorder) -> Result<()> {
    sys::enter_own_netns()?;
    sys::set_net("ipv4/ping_group_range", "0 2147483647")?;
    // None is closed before the end, so that no descriptor comes to mean another one.
    let mut open = Vec::new();
    for offer in EVERYWHERE {
        open.push(bind_any(recorder, offer)?.with_context(|| format!("{offer:?}"))?);
    }
    for offer in SOMEWHERE {
        match bind_any(recorder, offer)? {
            Ok(socket) => open.push(socket),
            Err(error) => recorder.skip(offer.3, &error)?,
        }
    }
    Ok(())
}

/// The socket, if the kernel has its protocol.
fn bind_any(recorder: &Recorder, offer: Offer) -> Result<io::Result<Socket>> {
    let (family, kind, protocol, proto) = offer;
    let address = if family == INET {
        LOOPBACK
    } else {
        IPV6_LOOPBACK
    };
    let socket = match Socket::open(family, kind, Some(protocol), proto) {
        Ok(socket) => socket,
        Err(error) => return Ok(Err(error)),
    };
    recorder.bind(proto, &socket, SocketAddr::new(address, 0), 0)?;
    Ok(Ok(socket))
}

/// Arguments of `socket()`, and portwatch's word for the protocol.
type Offer = (AddressFamily, SocketType, Protocol, &'static str);

/// Every kernel has these.
const EVERYWHERE: [Offer; 8] = [
    (INET, SocketType::STREAM, ipproto::TCP, "tcp"),
    (INET6, SocketType::STREAM, ipproto::TCP, "tcp"),
    (INET, SocketType::DGRAM, ipproto::UDP, "udp"),
    (INET6, SocketType::DGRAM, ipproto::UDP, "udp"),
    (INET, SocketType::DGRAM, ipproto::ICMP, "icmp"),
    (INET6, SocketType::DGRAM, ipproto::ICMPV6, "icmpv6"),
    (INET, SocketType::RAW, ipproto::ICMP, "raw"),
    (INET6, SocketType::RAW, ipproto::ICMPV6, "raw"),
];

/// Some kernels have these.
const SOMEWHERE: [Offer; 6] = [
    (INET, SocketType::DGRAM, ipproto::UDPLITE, "udplite"),
    (INET6, SocketType::DGRAM, ipproto::UDPLITE, "udplite"),
    (INET, SocketType::STREAM, ipproto::MPTCP, "mptcp"),
    (INET6, SocketType::STREAM, ipproto::MPTCP, "mptcp"),
    (INET, SocketType::STREAM, ipproto::SCTP, "sctp"),
    (INET6, SocketType::STREAM, ipproto::SCTP, "sctp"),
];

/// Every error that `bind()` has for those who ask wrongly.
pub(super) fn errors(recorder: &Recorder) -> Result<()> {
    sys::enter_own_netns()?;
    let free = SocketAddr::new(LOOPBACK, 7000);
    errors_of_the_socket(recorder, free)?;
    errors_of_the_length(recorder, free)?;
    errors_of_the_descriptor(recorder, free)?;
    errors_of_the_pointer(recorder)
}

fn errors_of_the_socket(recorder: &Recorder, busy: SocketAddr) -> Result<()> {
    let holder = Socket::tcp4()?;
    sockopt::set_socket_reuseaddr(&holder, true)?;
    recorder.bind("a free port", &holder, busy, 0)?;
    recorder.bind(
        "the port is taken",
        &Socket::tcp4()?,
        busy,
        -libc::EADDRINUSE,
    )?;
    recorder.bind(
        "the socket has a port already",
        &holder,
        SocketAddr::new(LOOPBACK, 0),
        -libc::EINVAL,
    )?;
    // TEST-NET-2: nobody's address (RFC 5737), and binding to it sends nothing.
    let foreign = SocketAddr::from(([198, 51, 100, 1], 7003));
    recorder.bind(
        "not an address of this machine",
        &Socket::tcp4()?,
        foreign,
        -libc::EADDRNOTAVAIL,
    )?;
    let ipv6 = SocketAddr::new(IPV6_LOOPBACK, 7003);
    recorder.bind(
        "an IPv6 address on an IPv4 socket",
        &Socket::tcp4()?,
        ipv6,
        -libc::EAFNOSUPPORT,
    )
}

fn errors_of_the_length(recorder: &Recorder, address: SocketAddr) -> Result<()> {
    let socket = Socket::tcp4()?;
    for (case, length) in [
        ("cut behind the address", 8),
        ("no length", 0),
        ("too long", 200),
        ("a negative length", -1),
    ] {
        let address = Address::Sized(address, length);
        recorder.attempt(
            case,
            Op::Bind,
            Descriptor::Socket(&socket),
            address,
            -libc::EINVAL,
        )?;
    }
    Ok(())
}

fn errors_of_the_descriptor(recorder: &Recorder, address: SocketAddr) -> Result<()> {
    let null = File::open("/dev/null")?;
    let address = Address::Ip(address);
    recorder.attempt(
        "a closed descriptor",
        Op::Bind,
        Descriptor::Other(NOT_OPEN),
        address,
        -libc::EBADF,
    )?;
    recorder.attempt(
        "not a socket",
        Op::Bind,
        Descriptor::Other(null.as_raw_fd()),
        address,
        -libc::ENOTSOCK,
    )
}

fn errors_of_the_pointer(recorder: &Recorder) -> Result<()> {
    let socket = Socket::tcp4()?;
    for (case, pointer) in [
        ("a null pointer", 0),
        ("a bad pointer", UNMAPPED),
        ("a kernel pointer", usize::MAX - 0xfff),
    ] {
        let address = Address::Nowhere(pointer);
        recorder.attempt(
            case,
            Op::Bind,
            Descriptor::Socket(&socket),
            address,
            -libc::EFAULT,
        )?;
    }
    Ok(())
}

/// An address of another family on an internet socket: asked of the wrong one, but asked.
pub(super) fn foreign_family(recorder: &Recorder) -> Result<()> {
    let (socket, address) = (Socket::tcp4()?, Address::Family(APPLETALK));
    recorder.attempt(
        "a foreign family",
        Op::Bind,
        Descriptor::Socket(&socket),
        address,
        -libc::EAFNOSUPPORT,
    )
}

/// Before anybody can look at it the first socket is gone, and its descriptor stands for another.
pub(super) fn reused_descriptor(recorder: &Recorder) -> Result<()> {
    let first = Socket::tcp4()?;
    let fd = first.raw_fd();
    recorder.bind("closed at once", &first, SocketAddr::new(LOOPBACK, 0), 0)?;
    drop(first);
    let second = Socket::udp4()?;
    ensure!(
        second.raw_fd() == fd,
        "descriptor {} was given instead of {fd}",
        second.raw_fd()
    );
    rustix::net::bind(&second, &SocketAddr::new(LOOPBACK, 0))?;
    recorder.total(1)?;
    recorder.settle()
}

/// A port that somebody else has, in the network namespace that it was started in.
pub(super) fn taken(recorder: &Recorder) -> Result<()> {
    let address = SocketAddr::new(LOOPBACK, SERVED);
    recorder.bind("taken", &Socket::tcp4()?, address, -libc::EADDRINUSE)
}
