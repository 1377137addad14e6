//! What `bind()` can be asked, and what it answers.

use std::{
    fs::File,
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
    USER,
    recorder::{Address, Descriptor, LOOPBACK, Recorder, Socket},
};

const IPV6_LOOPBACK: IpAddr = IpAddr::V6(Ipv6Addr::LOCALHOST);
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
    for Offer {
        protocol,
        proto,
        kind,
        everywhere,
    } in OFFERS
    {
        for (family, address) in [
            (AddressFamily::INET, LOOPBACK),
            (AddressFamily::INET6, IPV6_LOOPBACK),
        ] {
            let protocol = if protocol == Some(ipproto::ICMP) && address.is_ipv6() {
                Some(ipproto::ICMPV6)
            } else {
                protocol
            };
            let proto = if proto == "icmp" && address.is_ipv6() {
                "icmpv6"
            } else {
                proto
            };
            match Socket::open(family, kind, protocol, proto) {
                Ok(socket) => recorder.bind(proto, &socket, SocketAddr::new(address, 0), 0)?,
                Err(error) if everywhere => return Err(error).context(proto),
                Err(error) => recorder.skip(proto, &error)?,
            }
        }
    }
    Ok(())
}

/// A protocol and its socket.
struct Offer {
    protocol: Option<Protocol>,
    proto: &'static str,
    kind: SocketType,
    /// Every kernel has it.
    everywhere: bool,
}

const OFFERS: [Offer; 7] = [
    Offer {
        protocol: Some(ipproto::TCP),
        proto: "tcp",
        kind: SocketType::STREAM,
        everywhere: true,
    },
    Offer {
        protocol: Some(ipproto::UDP),
        proto: "udp",
        kind: SocketType::DGRAM,
        everywhere: true,
    },
    Offer {
        protocol: Some(ipproto::ICMP),
        proto: "icmp",
        kind: SocketType::DGRAM,
        everywhere: true,
    },
    Offer {
        protocol: Some(ipproto::ICMP),
        proto: "raw",
        kind: SocketType::RAW,
        everywhere: true,
    },
    Offer {
        protocol: Some(ipproto::UDPLITE),
        proto: "udplite",
        kind: SocketType::DGRAM,
        everywhere: false,
    },
    Offer {
        protocol: Some(ipproto::MPTCP),
        proto: "mptcp",
        kind: SocketType::STREAM,
        everywhere: false,
    },
    Offer {
        protocol: Some(ipproto::SCTP),
        proto: "sctp",
        kind: SocketType::STREAM,
        everywhere: false,
    },
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
    rustix::net::bind(&second, &SocketAddr::from(([127, 0, 0, 2], 0)))?;
    recorder.total(1)?;
    recorder.settle()
}
