//! When two sockets cannot have the same port, and what would have let them.
//!
//! TCP decides in `inet_bind_conflict` (net/ipv4/inet_connection_sock.c), UDP in
//! `udp_lib_lport_inuse` (net/ipv4/udp.c), both with the addresses as `inet_rcv_saddr_equal`
//! compares them. Both sockets are in one network namespace. VRFs are not taken into account: TCP
//! keeps their ports apart where only one of the sockets is in one.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::event::{Attempt, Holder, Proto, SocketState};

/// Who keeps the table of ports: two transports never conflict.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    Tcp,
    Udp,
    UdpLite,
    /// With TCP's rules, and a table of its own
    Dccp,
}

impl Transport {
    /// `None` of protocols whose rules are others (SCTP, ping) or that have no ports.
    pub const fn of(proto: Proto) -> Option<Self> {
        match proto {
            // MPTCP and SMC bind a TCP socket of their own.
            Proto::Ip(6 | 256 | 262) => Some(Self::Tcp),
            Proto::Ip(17) => Some(Self::Udp),
            Proto::Ip(33) => Some(Self::Dccp),
            Proto::Ip(136) => Some(Self::UdpLite),
            Proto::Raw | Proto::Ip(_) => None,
        }
    }

    /// Whether sharing by `SO_REUSEADDR` ends as soon as one of the sockets listens.
    const fn has_listeners(self) -> bool {
        matches!(self, Self::Tcp | Self::Dccp)
    }
}

/// A socket's claim to a port, held or asked for. `None`: could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim {
    pub transport: Transport,
    /// As the socket's family has it: an IPv6 socket's IPv4 address is mapped
    pub ip: IpAddr,
    pub port: u16,
    pub v6only: Option<bool>,
    pub reuseaddr: Option<bool>,
    pub reuseport: Option<bool>,
    /// `SO_BINDTODEVICE`
    pub ifindex: Option<u32>,
    /// Owner of the socket: whoever made it, not who calls
    pub uid: Option<u32>,
    /// Of the socket that asks: `Bound`
    pub state: SocketState,
}

impl Claim {
    /// What a bind asks for. `None` where the address, the protocol or its rules are not known.
    pub fn of_attempt(attempt: &Attempt) -> Option<Self> {
        let asked = attempt.effective.or(attempt.requested)?;
        let options = attempt.options;
        Some(Self {
            transport: Transport::of(attempt.proto?)?,
            ip: asked.ip,
            port: asked.port,
            v6only: options.map(|options| options.v6only),
            reuseaddr: options.map(|options| options.reuseaddr),
            reuseport: options.map(|options| options.reuseport),
            ifindex: attempt.ifindex,
            uid: attempt.before.socket.and_then(|socket| socket.uid),
            state: SocketState::Bound,
        })
    }

    /// What a socket has.
    pub const fn of_holder(holder: &Holder, transport: Transport) -> Self {
        Self {
            transport,
            ip: holder.ip,
            port: holder.port,
            v6only: holder.v6only,
            reuseaddr: holder.reuseaddr,
            reuseport: holder.reuseport,
            ifindex: holder.ifindex,
            uid: holder.uid,
            state: holder.state,
        }
    }

    /// What could not be read taken as what makes a conflict least likely.
    fn at_best(self) -> Self {
        Self {
            v6only: self.v6only.or(Some(true)),
            reuseaddr: self.reuseaddr.or(Some(true)),
            reuseport: self.reuseport.or(Some(true)),
            ..self
        }
    }

    fn listens(&self) -> bool {
        self.transport.has_listeners() && self.state == SocketState::Listen
    }
}

/// Why two sockets cannot both have the port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    pub overlap: Overlap,
    pub rule: Rule,
    /// Whether it holds, whatever could not be read
    pub certain: bool,
    /// Each of these alone would have let both have it; fewest changes first, and those to the
    /// new socket before those to the held one
    pub ways_out: Vec<&'static [Change]>,
}

/// How the addresses overlap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overlap {
    Same,
    /// One of them stands for all addresses
    Wildcard,
    /// An IPv6 wildcard, not limited to IPv6, and an IPv4 address
    DualStack,
}

/// What kept the port from being shared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// No option that would help is known to be set on either
    NotShared,
    /// Set on one, and it would help if it were set on both
    ReuseaddrOneSide,
    /// Set on both, and the held one listens
    ReuseaddrListening,
    ReuseportOneSide,
    /// Set on both, which have different owners
    ReuseportOtherUser,
}

/// What one of the sockets would have to have otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    NewReuseaddr,
    NewReuseport,
    NewV6only,
    HeldReuseaddr,
    HeldReuseport,
    HeldV6only,
}

impl Change {
    fn apply(self, new: &mut Claim, held: &mut Claim) {
        let option = match self {
            Self::NewReuseaddr => &mut new.reuseaddr,
            Self::NewReuseport => &mut new.reuseport,
            Self::NewV6only => &mut new.v6only,
            Self::HeldReuseaddr => &mut held.reuseaddr,
            Self::HeldReuseport => &mut held.reuseport,
            Self::HeldV6only => &mut held.v6only,
        };
        *option = Some(true);
    }
}

/// What can be tried, the simplest first.
const WAYS_OUT: [&[Change]; 8] = [
    &[Change::NewReuseaddr],
    &[Change::NewReuseport],
    &[Change::NewV6only],
    &[Change::HeldReuseaddr],
    &[Change::HeldReuseport],
    &[Change::HeldV6only],
    &[Change::NewReuseaddr, Change::HeldReuseaddr],
    &[Change::NewReuseport, Change::HeldReuseport],
];

/// Why `new` cannot have the port while `held` has it. What could not be read is taken as what
/// makes a conflict most likely.
pub fn conflict(new: &Claim, held: &Claim) -> Option<Conflict> {
    let overlap = blocks(new, held)?;
    Some(Conflict {
        overlap,
        rule: rule(new, held),
        certain: is_certain(new, held),
        ways_out: WAYS_OUT
            .into_iter()
            .filter(|way| is_way_out(way, new, held))
            .collect(),
    })
}

fn is_certain(new: &Claim, held: &Claim) -> bool {
    let owner = new.uid.or(held.uid).or(Some(0));
    let [new, held] = [new, held].map(|claim| Claim {
        uid: claim.uid.or(owner),
        ..claim.at_best()
    });
    blocks(&new, &held).is_some()
}

fn is_way_out(way: &[Change], new: &Claim, held: &Claim) -> bool {
    let (mut new, mut held) = (*new, *held);
    for change in way {
        change.apply(&mut new, &mut held);
    }
    blocks(&new, &held).is_none()
}

/// The kernel's answer, with how the addresses overlap.
fn blocks(new: &Claim, held: &Claim) -> Option<Overlap> {
    let same_port = new.transport == held.transport && new.port == held.port;
    let same_device = match (new.ifindex, held.ifindex) {
        (Some(new), Some(held)) => new == held,
        (None, _) | (_, None) => true,
    };
    overlap(new, held).filter(|_| same_port && same_device && !may_share(new, held))
}

fn may_share(new: &Claim, held: &Claim) -> bool {
    let both = |option: fn(&Claim) -> Option<bool>| {
        option(new) == Some(true) && option(held) == Some(true)
    };
    let left_behind = held.transport.has_listeners() && held.state == SocketState::TimeWait;
    let same_owner = left_behind || new.uid.is_some() && new.uid == held.uid;
    both(|claim| claim.reuseaddr) && !held.listens() || both(|claim| claim.reuseport) && same_owner
}

fn rule(new: &Claim, held: &Claim) -> Rule {
    match (new.reuseport, held.reuseport) {
        (Some(true), Some(true)) => return Rule::ReuseportOtherUser,
        (Some(true), Some(false)) | (Some(false), Some(true)) => return Rule::ReuseportOneSide,
        _ => {}
    }
    match (new.reuseaddr, held.reuseaddr) {
        (Some(true), Some(true)) => Rule::ReuseaddrListening,
        (Some(true), Some(false)) | (Some(false), Some(true)) if !held.listens() => {
            Rule::ReuseaddrOneSide
        }
        _ => Rule::NotShared,
    }
}

/// An address as `inet_rcv_saddr_equal` sees it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum View {
    /// Of an IPv4 socket, or of an IPv6 socket that has a mapped address
    V4(Ipv4Addr),
    V6Any {
        only: bool,
    },
    V6(Ipv6Addr),
}

impl Claim {
    /// A bind to an IPv6 address limits the socket to IPv6 (`__inet6_bind`). A connection got its
    /// address otherwise: it is limited only if its listener was, from which it took that over, and
    /// else the IPv4 wildcard stands for it too.
    fn meets_connection(&self, held: &Self) -> bool {
        let is_connection = !matches!(held.state, SocketState::Bound | SocketState::Listen);
        let is_wildcard = self.ip == IpAddr::V4(Ipv4Addr::UNSPECIFIED);
        is_wildcard && is_connection && held.v6only != Some(true)
    }

    fn view(&self) -> View {
        match self.ip {
            IpAddr::V4(ip) => View::V4(ip),
            IpAddr::V6(Ipv6Addr::UNSPECIFIED) => View::V6Any {
                only: self.v6only == Some(true),
            },
            IpAddr::V6(ip) => ip.to_ipv4_mapped().map_or(View::V6(ip), View::V4),
        }
    }
}

fn overlap(new: &Claim, held: &Claim) -> Option<Overlap> {
    match (new.view(), held.view()) {
        (View::V4(new), View::V4(held)) if new == held => Some(Overlap::Same),
        (View::V4(new), View::V4(held)) => {
            (new.is_unspecified() || held.is_unspecified()).then_some(Overlap::Wildcard)
        }
        // Even if both are for IPv6 only.
        (View::V6Any { .. }, View::V6Any { .. }) => Some(Overlap::Same),
        (View::V6Any { only }, View::V4(_)) | (View::V4(_), View::V6Any { only }) => {
            (!only).then_some(Overlap::DualStack)
        }
        (View::V6Any { .. }, View::V6(_)) | (View::V6(_), View::V6Any { .. }) => {
            Some(Overlap::Wildcard)
        }
        (View::V6(new), View::V6(held)) => (new == held).then_some(Overlap::Same),
        (View::V4(_), View::V6(_)) => new.meets_connection(held).then_some(Overlap::DualStack),
        (View::V6(_), View::V4(_)) => None,
    }
}

#[cfg(test)]
mod tests;
