//! The calls: each op at most once for a descriptor, so that its record can be told.

use std::{
    fmt,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4},
    os::fd::{AsFd, AsRawFd as _, OwnedFd, RawFd},
};

use rustix::{
    fs::{Mode, OFlags, open},
    io::{self, Errno},
    net::{
        AddressFamily, Protocol, SocketFlags, SocketType, bind, connect, getsockname, ipproto,
        listen, socket_with,
    },
    time::{ClockId, clock_gettime},
};

use crate::event::{Attempt, Op};

/// What is tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Call {
    /// On a descriptor that is not open for such calls (`O_PATH`): the system call alone
    BindNowhere,
    ConnectNowhere,
    /// To port 0 of loopback
    Bind(Socket),
    /// To the port that was given to the one above, on which nobody listens. Where there is none, since loopback is down, to an
    /// address of another family, which is refused before a route is looked for
    Connect(Socket),
    /// On a socket whose connect was refused: it has no port, and is refused one
    ListenRefused,
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BindNowhere => f.write_str("bind() on a descriptor that is no socket"),
            Self::ConnectNowhere => f.write_str("connect() on a descriptor that is no socket"),
            Self::Bind(socket) => write!(f, "bind() on {socket}"),
            Self::Connect(socket) => write!(f, "connect() on {socket}"),
            Self::ListenRefused => f.write_str("listen() on a TCP socket"),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Socket {
    Tcp4,
    Tcp6,
    Udp4,
    Mptcp,
}

impl fmt::Display for Socket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp4 => "a TCP socket",
            Self::Tcp6 => "a TCP socket of IPv6",
            Self::Udp4 => "a UDP socket",
            Self::Mptcp => "a Multipath TCP socket",
        })
    }
}

impl Socket {
    const ALL: [Self; 4] = [Self::Tcp4, Self::Tcp6, Self::Udp4, Self::Mptcp];

    /// It never waits: a firewall may swallow what is sent on loopback.
    fn open(self) -> io::Result<OwnedFd> {
        let (family, kind, protocol): (_, _, Option<Protocol>) = match self {
            Self::Tcp4 => (AddressFamily::INET, SocketType::STREAM, None),
            Self::Tcp6 => (AddressFamily::INET6, SocketType::STREAM, None),
            Self::Udp4 => (AddressFamily::INET, SocketType::DGRAM, None),
            Self::Mptcp => (
                AddressFamily::INET,
                SocketType::STREAM,
                Some(ipproto::MPTCP),
            ),
        };
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        socket_with(family, kind, flags, protocol)
    }

    const fn loopback(self) -> SocketAddr {
        match self {
            Self::Tcp4 | Self::Udp4 | Self::Mptcp => any_port_of_ipv4(),
            Self::Tcp6 => any_port_of_ipv6(),
        }
    }

    const fn foreign(self) -> SocketAddr {
        match self {
            Self::Tcp4 | Self::Udp4 | Self::Mptcp => any_port_of_ipv6(),
            Self::Tcp6 => any_port_of_ipv4(),
        }
    }
}

const fn any_port_of_ipv4() -> SocketAddr {
    SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0)
}

const fn any_port_of_ipv6() -> SocketAddr {
    SocketAddr::new(std::net::IpAddr::V6(Ipv6Addr::LOCALHOST), 0)
}

/// A call that was made.
pub(super) struct Made {
    pub(super) call: Call,
    op: Op,
    fd: RawFd,
    /// 0 or a negative errno
    pub(super) ret: i32,
}

impl Made {
    /// Whether a record of the same thread is about it.
    pub(super) fn is(&self, attempt: &Attempt) -> bool {
        attempt.op == self.op && attempt.fd == Some(self.fd)
    }
}

/// All that were made.
pub(super) struct Calls {
    pub(super) made: Vec<Made>,
    /// What was asked for on a descriptor that is no socket
    pub(super) mark: SocketAddrV4,
}

impl Calls {
    /// Makes the calls that are wanted, and those that they follow upon. What this system does not
    /// offer is left out. When this returns, all descriptors are closed, and with them every
    /// connect has ended.
    pub(super) fn make(wanted: &dyn Fn(Call) -> bool) -> Self {
        let mut calls = Self {
            made: Vec::new(),
            mark: mark(),
        };
        let mut open = Vec::new();
        open.extend(calls.nowhere());
        for socket in Socket::ALL {
            if wanted(Call::Bind(socket)) || wanted(Call::Connect(socket)) {
                open.extend(calls.on(socket).into_iter().flatten());
            }
        }
        drop(open);
        calls
    }

    fn nowhere(&mut self) -> io::Result<OwnedFd> {
        let path = open("/", OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
        self.note(Call::BindNowhere, Op::Bind, &path, bind(&path, &self.mark));
        let ret = connect(&path, &self.mark);
        self.note(Call::ConnectNowhere, Op::Connect, &path, ret);
        Ok(path)
    }

    /// Those on one kind of socket; the sockets stay open, so that no descriptor comes twice.
    fn on(&mut self, socket: Socket) -> io::Result<[OwnedFd; 2]> {
        let [holder, caller] = [socket.open()?, socket.open()?];
        let bound = bind(&holder, &socket.loopback());
        self.note(Call::Bind(socket), Op::Bind, &holder, bound);
        let given = bound.and_then(|()| local(&holder));
        let ret = connect(&caller, &given.unwrap_or(socket.foreign()));
        self.note(Call::Connect(socket), Op::Connect, &caller, ret);
        // Until it is connected again such a socket cannot listen (`inet_listen`, net/ipv4/
        // af_inet.c), so that none is opened to the world. Has the refusal come, it has no port.
        let refused = ret == Err(Errno::INPROGRESS) && local(&caller)?.port() == 0;
        if socket == Socket::Tcp4 && refused {
            let ret = listen(&caller, 1);
            self.note(Call::ListenRefused, Op::Listen, &caller, ret);
        }
        Ok([holder, caller])
    }

    fn note(&mut self, call: Call, op: Op, fd: impl AsFd, ret: io::Result<()>) {
        self.made.push(Made {
            call,
            op,
            fd: fd.as_fd().as_raw_fd(),
            ret: ret.map_or_else(|error| -error.raw_os_error(), |()| 0),
        });
    }
}

fn local(socket: &OwnedFd) -> io::Result<SocketAddr> {
    getsockname(socket)?.try_into()
}

/// An address that nobody else asks for at this moment, made of the time.
fn mark() -> SocketAddrV4 {
    let now = clock_gettime(ClockId::Monotonic);
    let fraction = u32::try_from(now.tv_nsec).unwrap_or_default();
    let [.., low, middle, high] = fraction.to_be_bytes();
    let [seconds @ .., _, _, _, _, _, _] = now.tv_sec.to_le_bytes();
    SocketAddrV4::new(
        Ipv4Addr::new(127, low, middle, high),
        u16::from_ne_bytes(seconds),
    )
}
