//! What the routing tables refuse, or the addresses at both ends (net/ipv4/route.c,
//! net/ipv6/route.c, and what `tcp_v4_connect` and `ip4_datagram_connect` make of it).

use std::net::IpAddr;

use super::{
    super::{
        absence::NO_SOURCE,
        bind,
        case::{Case, interface},
        draft::{Draft, Others},
        facts::{Address, RouteKind},
        fix, length, scope,
    },
    is_ipv6, is_of_the_call,
};
use crate::{
    errno::Errno,
    event::{Code, Confidence},
};

/// `EAFNOSUPPORT`
pub(super) fn family(case: &Case<'_>) -> Draft {
    let mapped = |ip| matches!(ip, IpAddr::V6(ip) if ip.to_ipv4_mapped().is_some());
    let own = case
        .attempt
        .local
        .map(|local| local.ip)
        .filter(|&ip| mapped(ip));
    match (own, case.ip()) {
        (Some(own), Some(ip)) if ip.is_ipv6() && !mapped(ip) => {
            let text = format!(
                "the socket is bound to {own}, an IPv4 address, and {ip} is an IPv6 address"
            );
            Draft::new(Code::MappedSource, Confidence::Derived, text).fix(fix::advice(
                "bind the socket to an IPv6 address, or to none",
            ))
        }
        _ => bind::wrong_family(case),
    }
}

/// The socket's own address, where it was bound to one.
fn bound_ip(case: &Case<'_>) -> Option<IpAddr> {
    let ip = case.attempt.local?.ip;
    (!ip.is_unspecified()).then_some(ip)
}

fn route(case: &Case<'_>) -> Option<RouteKind> {
    case.facts.route.as_ref().found().map(|route| route.kind)
}

fn by_route(case: &Case<'_>, code: Code, confidence: Confidence, what: &str) -> Draft {
    let ip = case
        .ip()
        .map_or_else(|| "the address".to_owned(), |ip| ip.to_string());
    Draft::new(code, confidence, format!("{what} {ip}"))
        .fixes(fix::look_at_route(case))
        .fix(fix::command(
            "see the rules that choose the table of routes",
            case.in_namespace("ip rule"),
        ))
}

/// In the kernel's order.
pub(super) fn einval(case: &Case<'_>) -> Option<Draft> {
    length::explain(case)
        .or_else(|| scope::explain(case))
        .or_else(|| loopback_source(case))
        .or_else(|| blackhole(case))
}

fn loopback_source(case: &Case<'_>) -> Option<Draft> {
    let source = bound_ip(case).filter(is_loopback)?;
    case.ip().filter(|ip| !is_loopback(ip))?;
    let text = format!(
        "the socket is bound to {source}, and loopback addresses reach only this host, not {}",
        case.target()
    );
    Some(
        Draft::new(Code::LoopbackSource, Confidence::Derived, text).fix(fix::advice(
            "bind the socket to another address, or to none",
        )),
    )
}

fn blackhole(case: &Case<'_>) -> Option<Draft> {
    match route(case) {
        Some(RouteKind::Blackhole) => Some(by_route(
            case,
            Code::RouteBlackhole,
            Confidence::Checked,
            "a blackhole route swallows everything for",
        )),
        Some(_) => None,
        None => Some(
            Draft::one_of(perhaps_invalid(case), Others::Possible).fixes(fix::look_at_route(case)),
        ),
    }
}

/// What can return `EINVAL` where the route was not looked up.
fn perhaps_invalid(case: &Case<'_>) -> impl Iterator<Item = (Code, &'static str)> {
    let length = (
        Code::BadAddressLength,
        "the length passed with the address is too short",
    );
    let unknown = case.attempt.address_len.is_none();
    [
        Some((
            Code::RouteBlackhole,
            "a blackhole route or rule swallows everything for the destination",
        )),
        unknown.then_some(length),
        Some((
            Code::SocketNotClosed,
            "the socket is in a state in which it cannot connect",
        )),
    ]
    .into_iter()
    .flatten()
}

fn is_loopback(ip: &IpAddr) -> bool {
    ip.to_canonical().is_loopback()
}

/// `EACCES`
pub(super) fn eacces(case: &Case<'_>) -> Draft {
    let prohibited = |confidence| {
        by_route(
            case,
            Code::RouteProhibited,
            confidence,
            "a route or rule prohibits sending to",
        )
    };
    let broadcast = |confidence| {
        let text = format!(
            "{} is a broadcast address, and the socket has no SO_BROADCAST",
            case.target()
        );
        Draft::new(Code::BroadcastNotAllowed, confidence, text).fix(fix::advice(
            "set SO_BROADCAST in the program, or send to one host",
        ))
    };
    let allowed = case.option(|options| options.broadcast);
    let everywhere = matches!(case.ip(), Some(IpAddr::V4(ip)) if ip.is_broadcast());
    let reached = is_of_the_call(case) && case.before().is_some();
    match route(case) {
        Some(RouteKind::Prohibit) => prohibited(Confidence::Checked),
        _ if everywhere && allowed == Some(false) && case.is_udp() => {
            broadcast(Confidence::Derived)
        }
        Some(RouteKind::Broadcast) if allowed == Some(false) => broadcast(Confidence::Checked),
        // TCP has no other reason, nor has UDP with IPv6, or with SO_BROADCAST.
        _ if reached && (case.is_tcp() || allowed == Some(true) || is_ipv6(case)) => {
            prohibited(Confidence::Derived)
        }
        _ => match perhaps_prohibited(case) {
            causes if causes.is_empty() => Draft::unexplained(case, Errno::EACCES),
            causes => Draft::one_of(causes, Others::Possible).fixes(fix::look_at_route(case)),
        },
    }
}

/// What can return `EACCES`, without what is known not to be so.
fn perhaps_prohibited(case: &Case<'_>) -> Vec<(Code, &'static str)> {
    let kind = route(case);
    let lacks_option = case.option(|options| options.broadcast) != Some(true);
    let is_v4 = matches!(case.ip(), Some(IpAddr::V4(_)));
    let may_be_broadcast = is_v4 && lacks_option && !case.is_tcp();
    let looks_like_broadcast = matches!(case.ip(), Some(IpAddr::V4(ip)) if ip.octets()[3] == 255);
    let broadcast = (
        Code::BroadcastNotAllowed,
        "it is a broadcast address, and the socket has no SO_BROADCAST",
    );
    let likely = may_be_broadcast && (looks_like_broadcast || kind == Some(RouteKind::Broadcast));
    let unlikely = may_be_broadcast && !likely && kind.is_none();
    let prohibited = (
        Code::RouteProhibited,
        "a route or rule prohibits the destination",
    );
    let module = (
        Code::LsmDenied,
        "a security module or a BPF program refused the call",
    );
    let router = (
        Code::AdminProhibited,
        "a router answered that it is prohibited",
    );
    let unseen = case.attempt.stages.operation.is_none();
    [
        likely.then_some(broadcast),
        kind.is_none().then_some(prohibited),
        unseen.then_some(module),
        unlikely.then_some(broadcast),
        is_ipv6(case).then_some(router),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// `EPERM`
pub(super) fn eperm(case: &Case<'_>) -> Draft {
    let look = fix::command(
        "see the IPsec policies",
        case.in_namespace("ip xfrm policy"),
    );
    let stages = &case.attempt.stages;
    if stages.connect.or(stages.operation).is_some() {
        let text = format!("an IPsec policy blocks {}", case.target());
        return Draft::new(Code::IpsecBlocked, Confidence::Derived, text).fix(look);
    }
    Draft::one_of(
        [
            (
                Code::CgroupBpfDenied,
                "a BPF program on the cgroup refused it (a container's network)",
            ),
            (Code::SeccompDenied, "a seccomp filter refused it"),
            (Code::IpsecBlocked, "an IPsec policy blocks the destination"),
            (
                Code::LsmDenied,
                "a security module refused it (TOMOYO, BPF)",
            ),
        ],
        Others::Possible,
    )
    .fix(fix::command(
        "see the programs on each cgroup, and who attached them",
        "sudo bpftool cgroup tree",
    ))
    .fix(look)
}

/// `ENETUNREACH`
pub(super) fn net_unreachable(case: &Case<'_>) -> Draft {
    if let Some(draft) = wrong_destination(case) {
        return draft;
    }
    let source = bound_ip(case);
    let Address {
        assigned,
        nonlocal_bind,
        ..
    } = &case.facts.address;
    if let Some(source) = source
        && assigned.is_not_there()
        && *nonlocal_bind != Some(true)
    {
        return source_gone(case, source);
    }
    match route(case) {
        Some(RouteKind::Unreachable) => unreachable(case, Confidence::Checked),
        Some(RouteKind::None) => no_route(case, Confidence::Checked),
        _ if source.is_none() && is_of_the_call(case) => no_route(case, Confidence::Derived),
        _ => unreachable_somehow(case, source.filter(|_| is_of_the_call(case))),
    }
}

/// Destinations that the socket can have no route to.
fn wrong_destination(case: &Case<'_>) -> Option<Draft> {
    let target = case.target();
    let ip = case.ip()?;
    let mapped = matches!(ip, IpAddr::V6(ip) if ip.to_ipv4_mapped().is_some());
    if mapped && case.option(|options| options.v6only) == Some(true) {
        let text = format!("{target} is an IPv4 address, and the socket has IPV6_V6ONLY");
        return Some(
            Draft::new(Code::MappedV6Only, Confidence::Derived, text)
                .fix(fix::advice("turn IPV6_V6ONLY off, or use an IPv4 socket")),
        );
    }
    let multicast = ip.to_canonical().is_multicast();
    let broadcast = route(case) == Some(RouteKind::Broadcast);
    let (kind, confidence) = match (multicast, broadcast) {
        (true, _) => ("multicast", Confidence::Derived),
        (false, true) => ("broadcast", Confidence::Checked),
        (false, false) => return None,
    };
    case.is_tcp().then(|| {
        let text = format!("{target} is a {kind} address, and TCP connects two hosts");
        Draft::new(Code::MulticastDestination, confidence, text)
            .fix(fix::advice("use a UDP socket, or the address of one host"))
    })
}

fn unreachable(case: &Case<'_>, confidence: Confidence) -> Draft {
    by_route(
        case,
        Code::RouteUnreachable,
        confidence,
        "a route or rule says unreachable for",
    )
}

fn unreachable_somehow(case: &Case<'_>, source: Option<IpAddr>) -> Draft {
    let mut causes = Vec::new();
    let no_route = format!("there is no usable route to {}", case.target());
    let is_unknown = route(case).is_none();
    if is_unknown {
        causes.push((Code::NoRoute, no_route));
    }
    // One that the host still has was not lacking.
    if let Some(source) = source
        && !case.facts.address.assigned.is_found()
    {
        let text =
            format!("{source}, which the socket is bound to, is no address of this host any more");
        causes.push((Code::SourceAddressGone, text));
        if !is_unknown {
            let text = format!("there was no usable route to {} yet", case.target());
            causes.push((Code::NoRoute, text));
        }
    }
    if !is_of_the_call(case) {
        let text = "a router or firewall answered that the network is unreachable".to_owned();
        causes.push((Code::NetworkUnreachable, text));
    }
    if causes.is_empty() {
        return Draft::unexplained(case, Errno::ENETUNREACH);
    }
    Draft::one_of(causes, Others::Possible).fixes(fix::look_at_route(case))
}

fn no_route(case: &Case<'_>, confidence: Confidence) -> Draft {
    by_route(
        case,
        Code::NoRoute,
        confidence,
        "the socket's network namespace has no usable route to",
    )
    .fix(fix::command(
        "see whether the interface that should lead there is up",
        case.in_namespace("ip -br addr"),
    ))
}

fn source_gone(case: &Case<'_>, source: IpAddr) -> Draft {
    let text = format!(
        "the socket is bound to {source}, {NO_SOURCE}, so nothing can be sent to {}",
        case.target()
    );
    Draft::new(Code::SourceAddressGone, Confidence::Checked, text)
        .fix(fix::advice("bind the socket anew, or to no address"))
        .fixes(fix::look_at_route(case))
}

/// `EHOSTUNREACH` of the call itself
pub(super) fn host_unreachable(case: &Case<'_>) -> Draft {
    match route(case) {
        Some(RouteKind::Unreachable) => unreachable(case, Confidence::Checked),
        _ if is_of_the_call(case) => unreachable(case, Confidence::Derived),
        kind => Draft::one_of(
            [
                (
                    Code::NeighbourUnreachable,
                    "the next hop does not answer ARP or neighbour discovery",
                ),
                (
                    Code::HostUnreachable,
                    "a router or firewall answered that the host is unreachable",
                ),
                (Code::RouteUnreachable, "a route says unreachable"),
            ]
            .into_iter()
            .filter(|(code, _)| kind.is_none() || *code != Code::RouteUnreachable),
            Others::Possible,
        )
        .fixes(fix::look_at_route(case))
        .fix(fix::command(
            "see which neighbours do not answer",
            case.in_namespace("ip neigh"),
        )),
    }
}

/// `wlan0`, where the route names one.
pub(in crate::explain) fn leaves_by(case: &Case<'_>) -> Option<String> {
    case.facts.route.as_ref().found()?.interface.map(interface)
}
