//! What connect() refuses before there is an answer: the socket's state, the route, the port.

use std::net::IpAddr;

use super::{
    answer::{self, Answer},
    bind,
    case::{Case, SS_CONNECTING, TCP_ESTABLISHED, TCP_LISTEN, interface},
    draft::Draft,
    facts::{Address, RouteKind},
    fix, in_use,
};
use crate::{
    errno::Errno,
    event::{Code, Confidence, Family, Proto, Via},
};

pub(super) fn explain(case: &Case<'_>, errno: Errno) -> Option<Draft> {
    if is_answer(case, errno) {
        let attempt = case.attempt;
        return answer::explain(
            case,
            Answer {
                errno,
                reset: attempt.reset,
                latency: attempt.latency,
            },
        );
    }
    match errno {
        Errno::EALREADY | Errno::EISCONN => Some(busy(case, errno)),
        Errno::EINTR | Errno::ERESTARTSYS => Some(interrupted(case)),
        Errno::EPIPE => Some(disconnected(case)),
        Errno::ECONNABORTED => Some(aborted(case)),
        Errno::EAFNOSUPPORT => Some(family(case)),
        Errno::EINVAL => einval(case),
        Errno::EACCES => eacces(case),
        Errno::EPERM => eperm(case),
        Errno::ENETUNREACH => Some(net_unreachable(case)),
        Errno::EHOSTUNREACH => Some(host_unreachable(case)),
        Errno::EADDRNOTAVAIL => Some(no_local_end(case)),
        Errno::EAGAIN => autobind(case),
        Errno::ECONNREFUSED => Some(packet_denied(case)),
        Errno::ENOMEM | Errno::ENOBUFS => Some(bind::out_of_memory(case, errno)),
        _ => None,
    }
}

/// Whether the error came from the network, and not from the call's own steps.
fn is_answer(case: &Case<'_>, errno: Errno) -> bool {
    const ONLY_ANSWERS: [Errno; 7] = [
        Errno::ETIMEDOUT,
        Errno::EHOSTDOWN,
        Errno::ENONET,
        Errno::ENOPROTOOPT,
        Errno::EPROTO,
        Errno::ECONNREFUSED,
        Errno::EOPNOTSUPP,
    ];
    let stages = &case.attempt.stages;
    // `tcp_v4_connect` and `tcp_v6_connect` never wait: what they return is no answer.
    let sent = case.attempt.reset || stages.syn_sent || stages.connect == Some(0);
    let refused_at_once = stages.connect.is_some_and(|ret| ret != 0);
    let outcome = [
        Errno::EINTR,
        Errno::ERESTARTSYS,
        Errno::EPIPE,
        Errno::EINPROGRESS,
    ];
    !refused_at_once
        && !outcome.contains(&errno)
        && (sent || case.is_tcp() && ONLY_ANSWERS.contains(&errno))
}

/// Whether the error is one of the call's own steps: TCP's connect was seen to return it, or the
/// protocol does not wait for an answer.
fn is_of_the_call(case: &Case<'_>) -> bool {
    let waits_not = matches!(
        case.attempt.proto,
        Some(Proto::Raw | Proto::Ip(1 | 17 | 58 | 115 | 136))
    );
    waits_not || case.attempt.stages.connect.is_some_and(|ret| ret != 0)
}

/// `EINPROGRESS`
pub(super) fn in_progress(case: &Case<'_>) -> Draft {
    let target = case.target();
    let waits = case.option(|options| options.nonblock) == Some(false);
    if waits && !matches!(case.attempt.via, Some(Via::FastOpen | Via::IoUring)) {
        let text = format!(
            "the time that the socket may wait (SO_SNDTIMEO) was over before {target} had answered; the connect goes on"
        );
        return Draft::new(Code::SendTimeoutExpired, Confidence::Derived, text).fix(fix::advice(
            "wait with poll() for the socket to be writable, or set a longer SO_SNDTIMEO",
        ));
    }
    let text =
        format!("the connect to {target} is under way, and the call did not wait for its end");
    Draft::new(Code::ConnectInProgress, Confidence::Observed, text)
}

/// `EALREADY`, `EISCONN`
fn busy(case: &Case<'_>, errno: Errno) -> Draft {
    let state = case
        .before()
        .map(|before| (before.state, before.socket_state));
    let (code, text, advice) = match (errno, state) {
        (Errno::EALREADY, _) | (_, Some((_, SS_CONNECTING))) => (
            Code::AlreadyConnecting,
            "a connect on this socket is under way already",
            "wait with poll() for the socket to be writable, then ask for SO_ERROR",
        ),
        (_, Some((TCP_LISTEN, _))) => (
            Code::SocketListening,
            "the socket listens, and a listening socket cannot connect",
            "make a new socket for the connection",
        ),
        (_, Some((TCP_ESTABLISHED, _))) => (
            Code::AlreadyConnected,
            "the socket is connected already",
            "make a new socket for another connection",
        ),
        (_, Some(_)) => (
            Code::AlreadyConnected,
            "the socket has been connected already, and that connection is not closed yet",
            "make a new socket for another connection",
        ),
        (_, None) => {
            return Draft::one_of(errno, &["the socket is connected already", "it listens"])
                .fix(fix::advice("make a new socket for another connection"));
        }
    };
    Draft::new(code, Confidence::Derived, text).fix(fix::advice(advice))
}

fn interrupted(case: &Case<'_>) -> Draft {
    let text = format!(
        "a signal interrupted the wait for {}; the connect goes on",
        case.target()
    );
    Draft::new(Code::Interrupted, Confidence::Observed, text).fix(fix::advice(
        "wait with poll() for the socket to be writable, then ask for SO_ERROR; do not call connect() again",
    ))
}

fn disconnected(case: &Case<'_>) -> Draft {
    let text = format!(
        "another thread disconnected the socket while {} waited for {}",
        case.name(),
        case.target()
    );
    Draft::new(Code::DisconnectedMeanwhile, Confidence::Derived, text)
        .fix(fix::advice("let one thread at a time use the socket"))
}

fn aborted(case: &Case<'_>) -> Draft {
    let text = format!(
        "the connection to {} was closed on this side before there was an answer",
        case.target()
    );
    Draft::new(Code::ConnectionAborted, Confidence::Derived, text).fix(fix::advice(
        "look for another thread or process that closes or shuts down the socket",
    ))
}

/// `EAFNOSUPPORT`
fn family(case: &Case<'_>) -> Draft {
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
    case.facts.route.as_ref().map(|route| route.kind)
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
fn einval(case: &Case<'_>) -> Option<Draft> {
    if case.attempt.requested.is_none() {
        return Some(bind::bad_length(case));
    }
    // A `sockaddr_in` is too short for an IPv6 socket; UDP's takes it.
    if case.is_tcp()
        && case.attempt.family == Some(Family::Ipv4)
        && case.is_ipv6_socket() == Some(true)
    {
        return Some(bind::wrong_family(case));
    }
    if let Some(draft) = bind::link_local(case) {
        return Some(draft);
    }
    if let Some(source) = bound_ip(case).filter(is_loopback)
        && case.ip().is_some_and(|ip| !is_loopback(&ip))
    {
        let text = format!(
            "the socket is bound to {source}, and loopback addresses reach only this host, not {}",
            case.target()
        );
        return Some(
            Draft::new(Code::LoopbackSource, Confidence::Derived, text).fix(fix::advice(
                "bind the socket to another address, or to none",
            )),
        );
    }
    match route(case) {
        Some(RouteKind::Blackhole) => Some(by_route(
            case,
            Code::RouteBlackhole,
            Confidence::Checked,
            "a blackhole route swallows everything for",
        )),
        Some(_) => None,
        None => Some(
            Draft::one_of(
                Errno::EINVAL,
                &[
                    "a blackhole route or rule for the destination",
                    "the length passed with the address is too short",
                    "the socket is in a state in which it cannot connect",
                ],
            )
            .fixes(fix::look_at_route(case)),
        ),
    }
}

fn is_loopback(ip: &IpAddr) -> bool {
    ip.to_canonical().is_loopback()
}

/// `EACCES`
fn eacces(case: &Case<'_>) -> Option<Draft> {
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
        Some(RouteKind::Prohibit) => Some(prohibited(Confidence::Checked)),
        _ if everywhere && allowed == Some(false) && case.is_udp() => {
            Some(broadcast(Confidence::Derived))
        }
        Some(RouteKind::Broadcast) if allowed == Some(false) => {
            Some(broadcast(Confidence::Checked))
        }
        // TCP has no other reason, nor has UDP with IPv6, or with SO_BROADCAST.
        _ if reached && (case.is_tcp() || allowed == Some(true) || is_ipv6(case)) => {
            Some(prohibited(Confidence::Derived))
        }
        _ => Some(
            Draft::one_of(
                Errno::EACCES,
                &[
                    "a route or rule prohibits the destination",
                    "it is a broadcast address, and the socket has no SO_BROADCAST",
                    "a security module or a BPF program refused the call",
                    "a router answered that it is prohibited (IPv6)",
                ],
            )
            .fixes(fix::look_at_route(case)),
        ),
    }
}

fn is_ipv6(case: &Case<'_>) -> bool {
    case.ip().is_some_and(|ip| ip.to_canonical().is_ipv6())
}

/// `EPERM`
fn eperm(case: &Case<'_>) -> Option<Draft> {
    let look = fix::command(
        "see the IPsec policies",
        case.in_namespace("ip xfrm policy"),
    );
    let stages = &case.attempt.stages;
    if stages.connect.or(stages.operation).is_some() {
        let text = format!("an IPsec policy blocks {}", case.target());
        return Some(Draft::new(Code::IpsecBlocked, Confidence::Derived, text).fix(look));
    }
    Some(
        Draft::one_of(
            Errno::EPERM,
            &[
                "a BPF program on the cgroup (a container's network)",
                "seccomp",
                "an IPsec policy that blocks the destination",
                "a security module (TOMOYO, BPF)",
            ],
        )
        .fix(fix::command(
            "see the programs on each cgroup, and who attached them",
            "sudo bpftool cgroup tree",
        ))
        .fix(look),
    )
}

/// `ENETUNREACH` of the call itself
fn net_unreachable(case: &Case<'_>) -> Draft {
    let target = case.target();
    let derived = |code, text: String| Draft::new(code, Confidence::Derived, text);
    let ip = case.ip();
    if case.is_tcp() && ip.is_some_and(|ip| ip.to_canonical().is_multicast()) {
        return derived(
            Code::MulticastDestination,
            format!("{target} is a multicast address, and TCP connects two hosts"),
        )
        .fix(fix::advice("use a UDP socket, or the address of one host"));
    }
    let mapped = matches!(ip, Some(IpAddr::V6(ip)) if ip.to_ipv4_mapped().is_some());
    if mapped && case.option(|options| options.v6only) == Some(true) {
        return derived(
            Code::MappedV6Only,
            format!("{target} is an IPv4 address, and the socket has IPV6_V6ONLY"),
        )
        .fix(fix::advice("turn IPV6_V6ONLY off, or use an IPv4 socket"));
    }
    let source = bound_ip(case);
    let is_gone =
        |address: &Address| address.assigned.is_none() && address.nonlocal_bind != Some(true);
    if let (Some(source), true) = (source, case.facts.address.as_ref().is_some_and(is_gone)) {
        return source_gone(case, source);
    }
    match (route(case), source) {
        (Some(RouteKind::Unreachable), _) => by_route(
            case,
            Code::RouteUnreachable,
            Confidence::Checked,
            "a route or rule says unreachable for",
        ),
        (Some(RouteKind::None), _) => no_route(case, Confidence::Checked),
        (Some(RouteKind::Broadcast), _) if case.is_tcp() => Draft::new(
            Code::MulticastDestination,
            Confidence::Checked,
            format!("{target} is a broadcast address, and TCP connects two hosts"),
        )
        .fix(fix::advice("use a UDP socket, or the address of one host")),
        (_, None) if is_of_the_call(case) => no_route(case, Confidence::Derived),
        (_, source) => unreachable_somehow(case, source),
    }
}

fn unreachable_somehow(case: &Case<'_>, source: Option<IpAddr>) -> Draft {
    let mut causes = vec![format!("there is no usable route to {}", case.target())];
    if let Some(source) = source {
        causes.push(format!(
            "{source}, which the socket is bound to, is no address of this host any more"
        ));
    }
    if !is_of_the_call(case) {
        causes.push("a router or firewall answered that the network is unreachable".to_owned());
    }
    let causes: Vec<_> = causes.iter().map(String::as_str).collect();
    Draft::one_of(Errno::ENETUNREACH, &causes).fixes(fix::look_at_route(case))
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
        "the socket is bound to {source}, which is no address of its network namespace any more, so nothing can be sent to {}",
        case.target()
    );
    Draft::new(Code::SourceAddressGone, Confidence::Checked, text)
        .fix(fix::advice("bind the socket anew, or to no address"))
        .fixes(fix::look_at_route(case))
}

/// `EHOSTUNREACH` of the call itself
fn host_unreachable(case: &Case<'_>) -> Draft {
    let unreachable = |confidence| {
        by_route(
            case,
            Code::RouteUnreachable,
            confidence,
            "a route or rule says unreachable for",
        )
    };
    match route(case) {
        Some(RouteKind::Unreachable) => unreachable(Confidence::Checked),
        _ if is_of_the_call(case) => unreachable(Confidence::Derived),
        _ => Draft::one_of(
            Errno::EHOSTUNREACH,
            &[
                "a route says unreachable",
                "the next hop does not answer ARP or neighbour discovery",
                "a router or firewall answered that the host is unreachable",
            ],
        )
        .fixes(fix::look_at_route(case))
        .fix(fix::command(
            "see which neighbours do not answer",
            case.in_namespace("ip neigh"),
        )),
    }
}

/// `EADDRNOTAVAIL`
fn no_local_end(case: &Case<'_>) -> Draft {
    if let Some(port) = case.bound_port() {
        return tuple_in_use(case, port);
    }
    let no_source = |confidence| {
        let text = format!(
            "this host has no IPv6 address that could be the source of packets to {}",
            case.target()
        );
        Draft::new(Code::NoSourceAddress, confidence, text).fix(fix::command(
            "see the addresses there are",
            case.in_namespace("ip -6 -br addr"),
        ))
    };
    let stages = &case.attempt.stages;
    // A source address is found before the port is looked for.
    let has_source = case
        .facts
        .route
        .as_ref()
        .map(|route| route.source.is_some());
    match (is_ipv6(case), has_source) {
        (false, _) if case.before().is_some() => in_use::exhausted(case),
        (true, _) if stages.syn_sent => in_use::exhausted(case),
        (true, _) if stages.connect.is_some() || case.is_udp() => no_source(Confidence::Derived),
        (true, Some(false)) => no_source(Confidence::Checked),
        _ => Draft::one_of(
            Errno::EADDRNOTAVAIL,
            &[
                "no local port is free for this destination",
                "the socket's own port has a connection to this destination already",
                "no local address can be the source (IPv6)",
            ],
        )
        .fix(fix::command(
            "see what uses the ports up",
            case.in_namespace("ss -tan"),
        )),
    }
}

fn tuple_in_use(case: &Case<'_>, port: u16) -> Draft {
    let text = format!(
        "a connection from port {port} to {} exists already, perhaps in TIME_WAIT",
        case.target()
    );
    Draft::new(Code::TupleInUse, Confidence::Derived, text)
        .fix(fix::advice(
            "bind the socket to no port, and let the kernel choose",
        ))
        .fix(fix::command(
            "see the connections from this port",
            case.in_namespace(&format!("ss -tanp 'sport = :{port}'")),
        ))
}

/// `EAGAIN`: a port of its own could not be found (`inet_autobind`).
fn autobind(case: &Case<'_>) -> Option<Draft> {
    let failed = case.attempt.stages.get_port.is_some_and(|ret| ret != 0);
    if failed {
        return Some(in_use::exhausted(case));
    }
    Some(
        Draft::one_of(
            Errno::EAGAIN,
            &[
                "no local port is free (net.ipv4.ip_local_port_range)",
                "an IPsec policy waits for its keys",
            ],
        )
        .fix(fix::command(
            "see what uses the ports up",
            case.in_namespace("ss -uan"),
        )),
    )
}

/// `ECONNREFUSED` of the call itself: the only error of sending that `tcp_connect` returns.
fn packet_denied(case: &Case<'_>) -> Draft {
    if case.attempt.stages.connect.is_some_and(|ret| ret != 0) {
        let text = format!(
            "a security module's packet label denied the SYN to {} (SELinux or AppArmor, secmark)",
            case.target()
        );
        return Draft::new(Code::PacketDenied, Confidence::Derived, text).fix(fix::command(
            "see the denial",
            "sudo ausearch -m avc -ts recent | audit2why",
        ));
    }
    Draft::unexplained(case, Errno::ECONNREFUSED)
}

/// `wlan0`, where the route names one.
pub(super) fn leaves_by(case: &Case<'_>) -> Option<String> {
    case.facts.route.as_ref()?.interface.map(interface)
}
