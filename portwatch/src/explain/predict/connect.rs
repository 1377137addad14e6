//! connect() on Linux, as far as this host decides about it: `tcp_v4_connect` (net/ipv4/tcp_ipv4.c),
//! `tcp_v6_connect` (net/ipv6/tcp_ipv6.c), and those of datagrams.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::{
    Check, Situation, Station,
    bind::{before_the_protocol, could_not, needs_scope, unseen, whose},
    shown,
};
use crate::{
    errno::Errno,
    event::{Holder, Lookup, SocketState},
    explain::{Route, RouteKind, absence},
};

pub(super) fn checks(situation: &Situation) -> Vec<Check> {
    let mut checks = before_the_protocol(situation);
    checks.extend(multicast(situation));
    checks.extend(scope(situation));
    checks.extend(mapped(situation));
    checks.push(route(situation));
    checks.push(local_port(situation));
    checks.push(answer(situation));
    checks
}

/// Of IPv4, the route says it.
fn multicast(situation: &Situation) -> Option<Check> {
    let stream = situation.is_stream();
    let multicast = situation.to.ip.is_ipv6() && situation.to.ip.is_multicast();
    (stream && multicast).then(|| {
        let detail = "a stream socket connects to no multicast address";
        Check::no(Station::Multicast, Errno::ENETUNREACH, detail)
    })
}

fn mapped(situation: &Situation) -> Option<Check> {
    let IpAddr::V6(ip) = situation.to.ip else {
        return None;
    };
    ip.to_ipv4_mapped()?;
    Some(if situation.options.v6only {
        let detail = "an IPv4 address on a socket that is limited to IPv6";
        Check::no(Station::Mapped, Errno::ENETUNREACH, detail)
    } else {
        Check::ok(Station::Mapped, "an IPv4 address on an IPv6 socket")
    })
}

fn scope(situation: &Situation) -> Option<Check> {
    let IpAddr::V6(ip) = situation.to.ip else {
        return None;
    };
    if !needs_scope(ip) || situation.is_stream() && ip.is_multicast() {
        return None;
    }
    let device = situation.device.and_then(|device| device.index);
    let station = Station::Interface;
    Some(match (situation.to.scope_id, device) {
        (0, None) => Check::no(
            station,
            Errno::EINVAL,
            "a link-local address needs one: ADDRESS%INTERFACE, or --device",
        ),
        (scope @ 1.., Some(device)) if scope != device => Check::no(
            station,
            Errno::EINVAL,
            "the address has another than the socket",
        ),
        (0, Some(index)) | (index, _) => Check::ok(station, format!("interface {index}")),
    })
}

fn route(situation: &Situation) -> Check {
    let station = Station::Route;
    let route = match situation.facts.route.as_ref() {
        Lookup::Found(route) => route,
        missing => return could_not(station, unseen(&missing)),
    };
    let stream = situation.is_stream();
    match route.kind {
        RouteKind::None => Check::no(station, Errno::ENETUNREACH, "none leads there"),
        RouteKind::Unreachable => Check::no(
            station,
            Errno::EHOSTUNREACH,
            "there is one that says unreachable",
        ),
        RouteKind::Prohibit => Check::no(station, Errno::EACCES, "there is one that says prohibit"),
        RouteKind::Blackhole => {
            Check::no(station, Errno::EINVAL, "there is one that says blackhole")
        }
        RouteKind::Broadcast | RouteKind::Multicast if stream => Check::no(
            station,
            Errno::ENETUNREACH,
            "TCP knows no such destinations",
        ),
        RouteKind::Broadcast if !situation.options.broadcast => Check::no(
            station,
            Errno::EACCES,
            "a broadcast address, without SO_BROADCAST",
        ),
        RouteKind::Local => Check::ok(station, "an address of this host"),
        RouteKind::Unicast | RouteKind::Broadcast | RouteKind::Multicast => {
            Check::ok(station, way(route))
        }
    }
}

/// `by eth0, through 10.0.0.1, from 10.0.0.7`
fn way(route: &Route) -> String {
    let Route {
        kind: _,
        interface,
        gateway,
        source,
    } = route;
    let steps = [
        interface.map(|name| format!("by {}", shown(name))),
        gateway.map(|gateway| format!("through {gateway}")),
        source.map(|source| format!("from {source}")),
    ];
    let steps: Vec<_> = steps.into_iter().flatten().collect();
    if steps.is_empty() {
        return "there is one".to_owned();
    }
    steps.join(", ")
}

fn local_port(situation: &Situation) -> Check {
    match situation.facts.ports {
        Some(ports) => Check::ok(
            Station::LocalPort,
            format!("one of {} to {}", ports.first, ports.last),
        ),
        None => Check::ok(Station::LocalPort, "one of net.ipv4.ip_local_port_range"),
    }
}

/// On this host, whoever listens answers, or the kernel refuses.
fn answer(situation: &Situation) -> Check {
    let station = Station::Answer;
    if !situation.is_stream() {
        return Check::ok(station, "a datagram socket asks for none");
    }
    let route = situation.facts.route.as_ref().found();
    if route.map(|route| route.kind) != Some(RouteKind::Local) {
        return Check::maybe(station, "what the far end says is not known");
    }
    let to = destination(situation.to.ip);
    let at = SocketAddr::new(situation.to.ip, situation.to.port);
    match situation.facts.holders.find(|holder| listens(holder, to)) {
        Lookup::Found(holder) => Check::ok(station, format!("{} listens", whose(holder))),
        Lookup::NotSeen(why) => could_not(station, why),
        Lookup::NotThere => Check::no(
            station,
            Errno::ECONNREFUSED,
            format!("{} {at}", absence::NO_LISTENER),
        ),
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

/// Whether a connection to that address reaches the socket.
fn listens(holder: &Holder, to: IpAddr) -> bool {
    let takes = match (holder.ip.to_canonical(), to) {
        (IpAddr::V6(Ipv6Addr::UNSPECIFIED), IpAddr::V4(_)) => holder.v6only != Some(true),
        (IpAddr::V6(Ipv6Addr::UNSPECIFIED), IpAddr::V6(_))
        | (IpAddr::V4(Ipv4Addr::UNSPECIFIED), IpAddr::V4(_)) => true,
        (at, to) => at == to,
    };
    takes && holder.state == SocketState::Listen
}
