//! Where the way to an address leads (`ip route get`).

use std::net::IpAddr;

use rustix::io::Errno;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::address::{interface_name, ip_from};
use crate::{
    event::{Lookup, Unseen},
    explain::{Neighbour as NextHop, Route, RouteKind},
    netlink::{Failure, Netlink, attributes, push_attribute},
};

/// A way to be looked up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Way {
    pub destination: IpAddr,
    /// The socket's own address, where it is bound to one
    pub source: Option<IpAddr>,
    pub interface: Option<u32>,
    /// Owner of the socket: rules can be for some users only
    pub uid: Option<u32>,
}

const RTM_GETROUTE: u16 = 26;
const RT_TABLE_LOCAL: u8 = 255;

// include/uapi/linux/rtnetlink.h
const RTA_DST: u16 = 1;
const RTA_SRC: u16 = 2;
const RTA_OIF: u16 = 4;
const RTA_GATEWAY: u16 = 5;
const RTA_PREFSRC: u16 = 7;
const RTA_VIA: u16 = 18;
const RTA_UID: u16 = 25;

/// `struct rtmsg`
#[derive(Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
struct Message {
    family: u8,
    destination_len: u8,
    source_len: u8,
    tos: u8,
    table: u8,
    protocol: u8,
    scope: u8,
    kind: u8,
    flags: u32,
}

impl Way {
    /// The route in the thread's network namespace, and what is known of its next hop.
    pub(super) fn look_up(self) -> (Lookup<Route>, Lookup<NextHop>) {
        let unseen = |why| (Lookup::NotSeen(why), Lookup::NotSeen(why));
        let mut socket = match Netlink::to_route() {
            Ok(socket) => socket,
            Err(failure) => return unseen(failure.unseen()),
        };
        let found = match socket.ask(RTM_GETROUTE, &self.question()) {
            Ok(answer) => parse(&answer),
            Err(Failure::Refused(errno)) => {
                refusal(errno).map(|kind| (Route::refusing(kind), None))
            }
            Err(failure @ Failure::Failed(_)) => return unseen(failure.unseen()),
        };
        let Some((route, ifindex)) = found else {
            return unseen(Unseen::NotSupported);
        };
        let hop = route.gateway.unwrap_or(self.destination.to_canonical());
        let neighbour = match ifindex {
            Some(ifindex) => neighbour(&mut socket, ifindex, hop),
            None => Lookup::NotThere,
        };
        (Lookup::Found(route), neighbour)
    }

    fn question(self) -> Vec<u8> {
        // An IPv6 socket reaches IPv4 addresses by IPv4's routes.
        let destination = self.destination.to_canonical();
        let source = self
            .source
            .map(|source| source.to_canonical())
            .filter(|source| source.is_ipv4() == destination.is_ipv4());
        let len = if destination.is_ipv4() { 32 } else { 128 };
        let message = Message {
            family: family(destination),
            destination_len: len,
            source_len: if source.is_some() { len } else { 0 },
            ..Message::default()
        };
        let mut question = message.as_bytes().to_owned();
        push_ip(&mut question, RTA_DST, destination);
        if let Some(source) = source {
            push_ip(&mut question, RTA_SRC, source);
        }
        for (kind, value) in [(RTA_OIF, self.interface), (RTA_UID, self.uid)] {
            if let Some(value) = value {
                push_attribute(&mut question, kind, &value.to_ne_bytes());
            }
        }
        question
    }
}

fn push_ip(question: &mut Vec<u8>, kind: u16, ip: IpAddr) {
    match ip {
        IpAddr::V4(ip) => push_attribute(question, kind, &ip.octets()),
        IpAddr::V6(ip) => push_attribute(question, kind, &ip.octets()),
    }
}

/// Routes that refuse do it with an error of their own (net/ipv4/fib_semantics.c, `fib_props`;
/// net/ipv6/route.c, `fib6_error`).
fn refusal(errno: Errno) -> Option<RouteKind> {
    match errno {
        Errno::INVAL => Some(RouteKind::Blackhole),
        Errno::HOSTUNREACH => Some(RouteKind::Unreachable),
        Errno::ACCESS => Some(RouteKind::Prohibit),
        Errno::NETUNREACH => Some(RouteKind::None),
        _ => None,
    }
}

impl Route {
    const fn refusing(kind: RouteKind) -> Self {
        Self {
            kind,
            interface: None,
            gateway: None,
            source: None,
        }
    }
}

/// The route, and the number of the interface that it leaves by.
fn parse(answer: &[u8]) -> Option<(Route, Option<u32>)> {
    let (message, rest) = Message::read_from_prefix(answer).ok()?;
    let attribute =
        |wanted| attributes(rest).find_map(|(kind, value)| (kind == wanted).then_some(value));
    let interface = attribute(RTA_OIF).and_then(|value| u32::read_from_bytes(value).ok());
    // An IPv4 route may lead over an IPv6 router: then its family comes first (`struct rtvia`).
    let via = || attribute(RTA_VIA).and_then(|value| ip_from(value.get(2..)?));
    let route = Route {
        kind: kind(message.kind)?,
        interface: interface.and_then(interface_name),
        gateway: attribute(RTA_GATEWAY).and_then(ip_from).or_else(via),
        source: attribute(RTA_PREFSRC).and_then(ip_from),
    };
    Some((route, interface))
}

/// Whether the thread's network namespace has the table of local IPv4 routes, which the kernel makes
/// with the first address (`inet_dump_fib`, net/ipv4/fib_frontend.c, says it since 4.20).
pub(super) fn has_local_table() -> Option<bool> {
    let message = Message {
        family: family(IpAddr::from([0; 4])),
        table: RT_TABLE_LOCAL,
        ..Message::default()
    };
    let mut socket = Netlink::to_route().ok()?;
    socket.be_strict().ok()?;
    match socket.dump(RTM_GETROUTE, message.as_bytes(), 1, |_| Some(())) {
        Ok(_) => Some(true),
        Err(Failure::Refused(Errno::NOENT)) => Some(false),
        Err(_) => None,
    }
}

/// `struct ndmsg` (include/uapi/linux/neighbour.h)
#[derive(Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
struct Neighbour {
    family: u8,
    pad: [u8; 3],
    ifindex: u32,
    state: u16,
    flags: u8,
    kind: u8,
}

/// How the last attempt to find a neighbour ended. Not there: nobody tried, or it is not over. (A
/// neighbour can be asked for by its address since 5.0.)
fn neighbour(socket: &mut Netlink, ifindex: u32, hop: IpAddr) -> Lookup<NextHop> {
    const RTM_GETNEIGH: u16 = 30;
    const NDA_DST: u16 = 1;
    const NUD_INCOMPLETE: u16 = 0x01;
    const NUD_FAILED: u16 = 0x20;
    let message = Neighbour {
        family: family(hop),
        ifindex,
        ..Neighbour::default()
    };
    let mut question = message.as_bytes().to_owned();
    push_ip(&mut question, NDA_DST, hop);
    let answer = match socket.ask(RTM_GETNEIGH, &question) {
        Ok(answer) => answer,
        Err(Failure::Refused(Errno::NOENT)) => return Lookup::NotThere,
        Err(failure) => return Lookup::NotSeen(failure.unseen()),
    };
    match Neighbour::read_from_prefix(&answer) {
        Ok((Neighbour { state, .. }, _)) if state == 0 || state & NUD_INCOMPLETE != 0 => {
            Lookup::NotThere
        }
        Ok((Neighbour { state, .. }, _)) if state & NUD_FAILED != 0 => {
            Lookup::Found(NextHop::Failed)
        }
        Ok(_) => Lookup::Found(NextHop::Known),
        Err(_) => Lookup::NotSeen(Unseen::NotSupported),
    }
}

fn family(ip: IpAddr) -> u8 {
    let family = if ip.is_ipv4() {
        libc::AF_INET
    } else {
        libc::AF_INET6
    };
    u8::try_from(family).unwrap_or_default()
}

/// `RTN_*`
const fn kind(number: u8) -> Option<RouteKind> {
    Some(match number {
        // Anycast routes are local ones to whoever has them, and to others like any other.
        1 | 4 => RouteKind::Unicast,
        2 => RouteKind::Local,
        3 => RouteKind::Broadcast,
        5 => RouteKind::Multicast,
        6 => RouteKind::Blackhole,
        7 => RouteKind::Unreachable,
        8 => RouteKind::Prohibit,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    #[test]
    fn a_route_over_a_router_is_read() {
        let message = Message {
            family: 2,
            kind: 1,
            ..Message::default()
        };
        let mut answer = message.as_bytes().to_owned();
        push_ip(&mut answer, RTA_GATEWAY, [10, 0, 0, 1].into());
        push_ip(&mut answer, RTA_PREFSRC, [10, 0, 0, 9].into());
        assert_eq!(
            parse(&answer),
            Some((
                Route {
                    kind: RouteKind::Unicast,
                    interface: None,
                    gateway: Some([10, 0, 0, 1].into()),
                    source: Some([10, 0, 0, 9].into()),
                },
                None
            ))
        );
    }

    #[test]
    fn what_is_cut_short_or_unknown_is_no_route() {
        assert_eq!(parse(&[0; 11]), None);
        assert_eq!(parse(&[0; 12]), None);
    }

    #[test]
    fn a_mapped_address_goes_by_ipv4() {
        let way = Way {
            destination: "::ffff:10.0.0.1".parse().unwrap(),
            source: Some("fd00::1".parse().unwrap()),
            interface: None,
            uid: None,
        };
        let question = way.question();
        assert_eq!(question[..3], [2, 32, 0]);
        assert_eq!(
            attributes(&question[12..]).collect::<Vec<_>>(),
            [(RTA_DST, &[10, 0, 0, 1][..])]
        );
    }

    proptest! {
        #[test]
        fn no_answer_is_too_strange(bytes in vec(any::<u8>(), 0..100)) {
            prop_assert!(parse(&bytes).is_none() || (1..=8).contains(&bytes[7]));
        }
    }
}
