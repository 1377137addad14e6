//! Which sockets a connect to an address of this host reaches.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::event::{Attempt, Holder, SocketState};

/// The end that a connect on this host asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Destination {
    ip: IpAddr,
    port: u16,
    /// The interface by which its packets come in, if that is known
    comes_by: Option<u32>,
}

/// Packets to an address of the host itself come in by loopback, which has the same number in every
/// network namespace (include/net/net_namespace.h, `LOOPBACK_IFINDEX`).
const LOOPBACK: u32 = 1;

impl Destination {
    /// Of a socket that `SO_BINDTODEVICE` binds to that interface, or to none.
    pub fn new(ip: IpAddr, port: u16, device: Option<u32>) -> Self {
        let ip = destination(ip);
        // To another IPv6 address of the host they come in by the interface that has the address
        // (`ip6_rcv_core`, net/ipv6/ip6_input.c).
        let is_known = ip.is_ipv4() || ip.is_loopback();
        Self {
            ip,
            port,
            comes_by: is_known.then_some(device.unwrap_or(LOOPBACK)),
        }
    }

    /// `None` where the address is not known.
    pub fn of_attempt(attempt: &Attempt) -> Option<Self> {
        let asked = attempt.effective.or(attempt.requested)?;
        let to = Self::new(asked.ip, asked.port, attempt.ifindex);
        // A source that does not see the socket does not see its interface either.
        let is_seen = attempt.ifindex.is_some() || attempt.before.socket.is_some();
        Some(Self {
            comes_by: to.comes_by.filter(|_| is_seen),
            ..to
        })
    }

    /// Whether the socket listens for that address, by whatever interface.
    pub fn is_of(&self, holder: &Holder) -> bool {
        let takes = match (holder.ip.to_canonical(), self.ip) {
            (IpAddr::V6(Ipv6Addr::UNSPECIFIED), IpAddr::V4(_)) => holder.v6only != Some(true),
            (IpAddr::V6(Ipv6Addr::UNSPECIFIED), IpAddr::V6(_))
            | (IpAddr::V4(Ipv4Addr::UNSPECIFIED), IpAddr::V4(_)) => true,
            (at, to) => at == to,
        };
        takes && holder.state == SocketState::Listen && holder.port == self.port
    }

    /// The one interface that a listener hears on, where that is not the one by which the connect
    /// comes in (`inet_bound_dev_eq`, include/net/inet_sock.h).
    pub fn missed_interface(&self, holder: &Holder) -> Option<u32> {
        let comes_by = self.comes_by.unwrap_or(LOOPBACK);
        holder.ifindex.filter(|&hears_on| hears_on != comes_by)
    }

    /// Whether it is known by which interface the connect comes in.
    pub const fn comes_by_a_known_interface(&self) -> bool {
        self.comes_by.is_some()
    }

    /// Whether a connection gets to the socket, for all that is known.
    pub fn reaches(&self, holder: &Holder) -> bool {
        let is_missed = self.missed_interface(holder).is_some();
        self.is_of(holder) && !(is_missed && self.comes_by_a_known_interface())
    }
}

/// Where a connect to an address goes: the wildcard address means this host (`ip_route_connect`,
/// include/net/route.h; `tcp_v6_connect`).
pub fn destination(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    }
}
