//! Sockets of other processes, looked at from outside.
//!
//! The tracepoint source knows a call's arguments and result and nothing of the socket. What
//! the descriptor leads to is looked up here, right after the call: by then it may be closed
//! or be another socket, so what does not fit the attempt is not taken.

mod borrow;
pub mod diag;
pub mod holder;
pub mod kernel;
mod known;
mod owner;
pub mod table;

use std::{net::IpAddr, os::fd::AsFd};

use rustix::net::{
    Protocol, SocketAddrAny, SocketType, getpeername, getsockname, ipproto, sockopt,
};

use self::borrow::Borrowed;
use crate::{
    event::{
        Attempt, Family, Local, Lookup, Op, Options, Outcome, PortRange, Proto, Requested, Unseen,
    },
    netns::Namespace,
    nsfs,
};

/// The socket is bound already (include/uapi/asm-generic/errno-base.h).
const EINVAL: u16 = 22;

/// What a look at the descriptor says about an attempt.
#[derive(Debug)]
pub enum Look {
    /// The socket has the address that the attempt gave it
    Proven(Seen),
    /// It may be the socket of the attempt, if the descriptor has not been used anew since
    Likely(Seen),
    /// The descriptor is no internet socket: this attempt is not one of ours
    NotInternet,
    /// Gone, closed, or not the socket of the attempt
    Unknown,
}

/// Looks at the socket behind the attempt's descriptor.
pub fn look(attempt: &Attempt) -> Look {
    match socket_of(attempt) {
        Lookup::Found(socket) if !socket.is_internet() => not_internet(attempt),
        Lookup::Found(socket) => match Seen::of(&socket) {
            Some(seen) => seen.compare(attempt),
            None => Look::Unknown,
        },
        Lookup::NotThere | Lookup::NotSeen(_) => Look::Unknown,
    }
}

/// The socket behind the attempt's descriptor.
fn socket_of(attempt: &Attempt) -> Lookup<Borrowed> {
    let Some(fd) = attempt.fd else {
        return Lookup::NotSeen(Unseen::NotSupported);
    };
    // A thread may have descriptors of its own; one that has ended most likely had its process's.
    let link = borrow::link(attempt.tid, fd).or_look(|| borrow::link(attempt.tgid, fd));
    match link {
        Lookup::Found(inode) => Borrowed::new(attempt.tgid, fd, inode),
        // The call failed with ENOTSOCK, or the number means something else by now.
        Lookup::NotThere => Lookup::NotThere,
        Lookup::NotSeen(why) => Lookup::NotSeen(why),
    }
}

/// An address of the internet that was tried on another kind of socket is still an attempt;
/// one without a family is the other protocol's own business.
const fn not_internet(attempt: &Attempt) -> Look {
    match attempt.family {
        Some(Family::Ipv4 | Family::Ipv6) => Look::Unknown,
        _ => Look::NotInternet,
    }
}

/// A socket as it is now.
#[derive(Debug)]
pub struct Seen {
    proto: Proto,
    local: Local,
    peer: Option<(IpAddr, u16)>,
    options: Options,
    port_range: Option<PortRange>,
    netns: Option<u32>,
    inode: Option<u32>,
}

impl Seen {
    /// Adds protocol, local end, network namespace and options to an attempt that lacks them.
    pub fn describe(self, attempt: &mut Attempt) {
        let Self {
            proto,
            local,
            peer: _,
            options,
            port_range,
            netns,
            inode,
        } = self;
        attempt.proto = Some(proto);
        attempt.local = Some(local);
        attempt.options = Some(options);
        attempt.port_range = port_range;
        attempt.netns = netns;
        attempt.inode = inode;
    }

    fn of(socket: &Borrowed) -> Option<Self> {
        let socket_type = sockopt::socket_type(socket).ok()?;
        let protocol = sockopt::socket_protocol(socket).ok()?;
        let (ip, port) = internet(getsockname(socket).ok()?)?;
        let raw = socket_type == SocketType::RAW;
        Some(Self {
            proto: proto(socket_type, protocol),
            local: Local {
                ip,
                port: (!raw).then_some(port),
            },
            peer: getpeername(socket).ok().flatten().and_then(internet),
            options: options(socket),
            port_range: socket.port_range(),
            netns: namespace_inode(socket),
            inode: inode(socket),
        })
    }

    /// Whether this is the socket of the attempt, as the call left it.
    fn compare(self, attempt: &Attempt) -> Look {
        let Some(asked) = attempt.requested else {
            return Look::Likely(self);
        };
        let verdict = match (attempt.op, attempt.outcome()) {
            (Op::Bind | Op::Listen, Outcome::Ok) => self.was_bound(asked),
            (Op::Bind | Op::Listen, _) => self.was_not_bound(attempt),
            (Op::Connect, outcome) => self.was_connected(asked, outcome),
        };
        match verdict {
            Some(true) => Look::Proven(self),
            Some(false) => Look::Unknown,
            None => Look::Likely(self),
        }
    }

    /// A bind that succeeded left the address; of port 0 nobody knows which port it became.
    fn was_bound(&self, asked: Requested) -> Option<bool> {
        match self.local.port {
            _ if self.local.ip != asked.ip => Some(false),
            Some(0) => Some(false),
            Some(port) if asked.port != 0 => Some(port == asked.port),
            _ => None,
        }
    }

    /// A bind that failed left no address, unless there was one before.
    fn was_not_bound(&self, attempt: &Attempt) -> Option<bool> {
        let bound = self.local.port.is_some_and(|port| port != 0);
        let before = attempt
            .errno()
            .is_some_and(|errno| errno.number() == EINVAL);
        if bound && !before { Some(false) } else { None }
    }

    /// A connect that succeeded left a peer. Its address may be another than was asked for
    /// (the wildcard address means this host), its port may not.
    fn was_connected(&self, asked: Requested, outcome: Outcome) -> Option<bool> {
        match self.peer {
            Some(_) if self.proto == Proto::Raw => None,
            Some((_, port)) => Some(port == asked.port),
            None if outcome == Outcome::Ok => Some(false),
            None => None,
        }
    }
}

fn proto(socket_type: SocketType, protocol: Option<Protocol>) -> Proto {
    if socket_type == SocketType::RAW {
        return Proto::Raw;
    }
    let number = protocol.map_or(0, |protocol| protocol.as_raw().get());
    let default = if socket_type == SocketType::STREAM {
        ipproto::TCP
    } else {
        ipproto::UDP
    };
    let number = if number == 0 {
        default.as_raw().get()
    } else {
        number
    };
    Proto::Ip(u16::try_from(number).unwrap_or(u16::MAX))
}

fn internet(address: SocketAddrAny) -> Option<(IpAddr, u16)> {
    let address = std::net::SocketAddr::try_from(address).ok()?;
    Some((address.ip(), address.port()))
}

/// The options that a descriptor tells; `reuseaddr` and the like of sockets that do not have them are false.
fn options(socket: &Borrowed) -> Options {
    let set = |option: rustix::io::Result<bool>| option.unwrap_or(false);
    let flags = rustix::fs::fcntl_getfl(socket).unwrap_or(rustix::fs::OFlags::empty());
    Options {
        reuseaddr: set(sockopt::socket_reuseaddr(socket)),
        reuseport: set(sockopt::socket_reuseport(socket)),
        freebind: set(sockopt::ip_freebind(socket)),
        transparent: false,
        bind_address_no_port: false,
        v6only: set(sockopt::ipv6_v6only(socket)),
        nonblock: flags.contains(rustix::fs::OFlags::NONBLOCK),
        broadcast: set(sockopt::socket_broadcast(socket)),
    }
}

/// The inode of the socket's file, as in `socket:[4711]`.
fn inode(socket: &Borrowed) -> Option<u32> {
    u32::try_from(rustix::fs::fstat(socket).ok()?.st_ino).ok()
}

/// The inode of the network namespace that the socket belongs to.
fn namespace_inode(socket: impl AsFd) -> Option<u32> {
    nsfs::inode(nsfs::of_socket(socket).ok()?)
}

/// The network namespace of the attempt's socket, if its descriptor still leads to one there: no
/// process need be in it.
pub fn namespace_of(attempt: &Attempt) -> Option<Namespace> {
    let socket = socket_of(attempt).found()?;
    let namespace = Namespace::new(nsfs::of_socket(&socket).ok()?).ok()?;
    (Some(namespace.inode()) == attempt.netns).then_some(namespace)
}
