//! connect() on Linux, as far as this host decides about it: `tcp_v4_connect` (net/ipv4/tcp_ipv4.c),
//! `tcp_v6_connect` (net/ipv6/tcp_ipv6.c), and those of datagrams.

use std::net::{IpAddr, SocketAddr};

use super::{
    Check, Situation, Station,
    bind::{before_the_protocol, could_not, no_interface, unseen, whose},
    shown,
};
use crate::{
    errno::Errno,
    event::{AcceptQueue, Holder, Lookup},
    explain::{Route, RouteKind, absence, listener::Destination, scope},
};

pub(super) fn checks(situation: &Situation) -> Vec<Check> {
    let mut checks = before_the_protocol(situation);
    checks.extend(multicast(situation));
    checks.extend(interface(situation));
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

fn interface(situation: &Situation) -> Option<Check> {
    let IpAddr::V6(ip) = situation.to.ip else {
        return None;
    };
    let kind = scope::kind(ip).filter(|_| !(situation.is_stream() && ip.is_multicast()))?;
    let device = situation.device.and_then(|device| device.index);
    let station = Station::Interface;
    Some(match (situation.to.scope_id, device) {
        (0, None) => no_interface(kind),
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
    let holders = &situation.facts.holders;
    let device = situation.device.and_then(|device| device.index);
    let to = Destination::new(situation.to.ip, situation.to.port, device);
    let is_full = |holder: &Holder| holder.queue.is_some_and(AcceptQueue::is_full);
    let with_room = holders.find(|holder| to.reaches(holder) && !is_full(holder));
    match (with_room, holders.find(|holder| to.reaches(holder))) {
        (Lookup::Found(holder), _) => Check::ok(station, format!("{} listens", whose(holder))),
        (_, Lookup::Found(full)) => full_queue(full),
        _ => not_reached(situation, to),
    }
}

/// No listener hears it that is known: another one may hear on its own interface alone.
fn not_reached(situation: &Situation, to: Destination) -> Check {
    let station = Station::Answer;
    let holders = &situation.facts.holders;
    let at = SocketAddr::new(situation.to.ip, situation.to.port);
    let deaf = holders.found.iter().find(|holder| to.is_of(holder));
    match (holders.unseen, deaf) {
        (Some(why), _) => could_not(station, why),
        (None, Some(deaf)) => {
            let device = deaf.ifindex.unwrap_or_default();
            let detail = format!("{} listens only on interface {device}", whose(deaf));
            Check::no(station, Errno::ECONNREFUSED, detail)
        }
        (None, None) => Check::no(
            station,
            Errno::ECONNREFUSED,
            format!("{} {at}", absence::NO_LISTENER),
        ),
    }
}

/// Linux drops what comes, and the connect ends when it has asked often enough.
fn full_queue(holder: &Holder) -> Check {
    let detail = format!("the accept queue of {} is full", whose(holder));
    Check::no(Station::Answer, Errno::ETIMEDOUT, detail)
}
