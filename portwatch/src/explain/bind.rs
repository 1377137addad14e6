//! What the protocol's bind refuses (kernel: net/ipv4/af_inet.c, net/ipv6/af_inet6.c).

use std::net::{IpAddr, Ipv6Addr};

use super::{
    address,
    case::{Case, TCP_CLOSE, TCP_ESTABLISHED, TCP_LISTEN},
    draft::{Draft, Others},
    fix, gate, in_use, length,
    privilege::{self, Privilege},
    scope,
};
use crate::{
    errno::Errno,
    event::{Code, Confidence, Family, Op, Proto},
};

pub(super) fn explain(case: &Case<'_>, errno: Errno) -> Option<Draft> {
    if case.attempt.op == Op::Listen {
        return of_listen(case, errno);
    }
    match errno {
        Errno::EACCES => eacces(case),
        Errno::EPERM => eperm(case),
        Errno::EADDRINUSE => Some(in_use::explain(case)),
        Errno::EADDRNOTAVAIL => address::explain(case).map(|draft| draft.next(after_address(case))),
        Errno::EINVAL => einval(case),
        Errno::EAFNOSUPPORT => Some(wrong_family(case)),
        Errno::ENODEV => Some(interface_gone(case)),
        Errno::ENOMEM | Errno::ENOBUFS => Some(out_of_memory(case, errno)),
        _ => None,
    }
}

/// listen() on a socket that is not bound looks for a port, and does nothing else of a bind.
fn of_listen(case: &Case<'_>, errno: Errno) -> Option<Draft> {
    match errno {
        Errno::EADDRINUSE => Some(in_use::explain(case)),
        Errno::ENOMEM | Errno::ENOBUFS => Some(out_of_memory(case, errno)),
        _ => None,
    }
}

/// IPv6 looks at the port before the address, IPv4 the other way round.
fn eacces(case: &Case<'_>) -> Option<Draft> {
    if let Some(draft) = privilege::explain(case) {
        let address = case
            .ip()
            .filter(IpAddr::is_ipv6)
            .and_then(|_| address::next(case));
        return Some(draft.next(address).next(in_use::next(case)));
    }
    let (port, below) = privilege::perhaps_needed(case)?;
    let lacks = format!("{below} and {} lacks CAP_NET_BIND_SERVICE", case.who());
    let judges = gate::judges(case).join(" or ");
    let judges = if judges.is_empty() {
        "a security module"
    } else {
        &judges
    };
    let (refused, others) = match case.attempt.stages.operation {
        Some(_) => (
            (
                Code::LowPortCapabilityDenied,
                format!("{judges} refused the use of that capability"),
            ),
            Others::None,
        ),
        None => (
            (
                Code::LsmDenied,
                format!("{judges} or a BPF program refused the call"),
            ),
            Others::Possible,
        ),
    };
    let causes = [(Code::LowPortNoCapability, lacks), refused];
    Some(Draft::one_of(causes, others).fixes(privilege::grants(case, port)))
}

/// No protocol's bind returns it.
fn eperm(case: &Case<'_>) -> Option<Draft> {
    case.attempt.stages.operation.is_none().then(|| {
        Draft::one_of(
            [
                (
                    Code::CgroupBpfDenied,
                    "a BPF program on the cgroup refused it (systemd's SocketBindDeny=, a container's network)",
                ),
                (Code::SeccompDenied, "a seccomp filter refused it"),
                (Code::LsmDenied, "a security module refused it (TOMOYO, BPF)"),
            ],
            Others::Possible,
        )
        .fix(fix::command(
            "see the programs on each cgroup, and who attached them",
            "sudo bpftool cgroup tree",
        ))
    })
}

/// What a bind to an address that is not there would have met next: IPv4 looks at the port after
/// the address.
fn after_address(case: &Case<'_>) -> Vec<String> {
    let low = case
        .ip()
        .filter(IpAddr::is_ipv4)
        .and_then(|_| privilege::needed(case));
    let may = privilege::privilege(case).map(|known| known.value);
    let denied = low
        .filter(|_| may != Some(Privilege::Has))
        .map(|(port, threshold)| {
            let below = privilege::below(port, threshold.value);
            match may {
                Some(_) => format!(
                    "EACCES: {below} and {} has no CAP_NET_BIND_SERVICE",
                    case.who()
                ),
                None => format!(
                    "EACCES, unless {} has CAP_NET_BIND_SERVICE: {below}",
                    case.who()
                ),
            }
        });
    denied.into_iter().chain(in_use::next(case)).collect()
}

/// In the kernel's order; of the families only a raw socket says so (`rawv6_bind`, net/ipv6/raw.c).
fn einval(case: &Case<'_>) -> Option<Draft> {
    length::explain(case)
        .or_else(|| multicast_stream(case))
        .or_else(|| state(case))
        .or_else(|| mapped_v6only(case))
        .or_else(|| scope::explain(case))
        .or_else(|| families_differ(case))
}

fn derived(code: Code, text: impl Into<String>, advice: &str) -> Draft {
    Draft::new(code, Confidence::Derived, text).fix(fix::advice(advice))
}

fn ipv6(case: &Case<'_>) -> Option<Ipv6Addr> {
    match case.ip()? {
        IpAddr::V6(ip) => Some(ip),
        IpAddr::V4(_) => None,
    }
}

fn multicast_stream(case: &Case<'_>) -> Option<Draft> {
    let ip = ipv6(case).filter(|ip| ip.is_multicast() && case.is_tcp())?;
    Some(derived(
        Code::MulticastStream,
        format!("{ip} is a multicast address, and TCP connects two hosts"),
        "use a UDP socket, or an address of this host",
    ))
}

fn state(case: &Case<'_>) -> Option<Draft> {
    let already = |port: u16, confidence| {
        let text =
            format!("the socket is bound to port {port} already, and a socket can be bound once");
        Draft::new(Code::AlreadyBound, confidence, text)
            .fix(fix::advice("make a new socket for another port"))
    };
    let Some(before) = case.before() else {
        // A bind that fails leaves the socket's own end as it was.
        let port = case.attempt.local?.port.filter(|&port| port != 0)?;
        return Some(already(port, Confidence::Checked));
    };
    if before.port != 0 && case.attempt.proto != Some(Proto::Raw) {
        return Some(already(before.port, Confidence::Derived));
    }
    (before.state != TCP_CLOSE).then(|| {
        let doing = match before.state {
            TCP_ESTABLISHED => "connected",
            TCP_LISTEN => "listening",
            _ => "in use by a connection",
        };
        derived(
            Code::SocketNotClosed,
            format!("the socket is {doing} already, and can be bound only before"),
            "call bind() before connect() or listen(), or make a new socket",
        )
    })
}

fn mapped_v6only(case: &Case<'_>) -> Option<Draft> {
    let ip = ipv6(case).filter(|ip| ip.to_ipv4_mapped().is_some())?;
    case.option(|options| options.v6only).filter(|&only| only)?;
    Some(derived(
        Code::MappedV6Only,
        format!("{ip} is an IPv4 address, and the socket has IPV6_V6ONLY"),
        "turn IPV6_V6ONLY off before bind(), or use an IPv4 socket",
    ))
}

/// A whole address of the other internet family than the socket's.
pub(super) fn families_differ(case: &Case<'_>) -> Option<Draft> {
    let is_ipv6 = match case.attempt.family? {
        Family::Ipv4 => false,
        Family::Ipv6 => true,
        Family::Unspec | Family::Other(_) => return None,
    };
    (case.is_ipv6_socket()? != is_ipv6).then(|| wrong_family(case))
}

pub(super) fn wrong_family(case: &Case<'_>) -> Draft {
    let passed = match case.attempt.family {
        Some(Family::Ipv4) => "an IPv4 address".to_owned(),
        Some(Family::Ipv6) => "an IPv6 address".to_owned(),
        Some(Family::Unspec) => "an address of no family (AF_UNSPEC)".to_owned(),
        Some(Family::Other(number)) => format!("an address of family {number}"),
        None => "an address of another family".to_owned(),
    };
    let socket = match case.is_ipv6_socket() {
        Some(true) => "an IPv6 socket",
        Some(false) => "an IPv4 socket",
        None => "a socket that does not take it",
    };
    derived(
        Code::WrongFamily,
        format!("{passed} was passed to {socket}"),
        "make the socket and the address of the same family; an IPv6 socket takes IPv4 addresses as ::ffff:a.b.c.d",
    )
}

fn interface_gone(case: &Case<'_>) -> Draft {
    let scope = case.asked().map_or(0, |asked| asked.scope_id);
    let index = case.attempt.ifindex.or((scope != 0).then_some(scope));
    let index = index.map_or_else(String::new, |index| format!(" {index}"));
    let mut text = format!("there is no interface{index} in the socket's network namespace");
    if case.facts.interface.is_found() {
        text.push_str(" at the time of the call; there is one now");
    }
    derived(
        Code::InterfaceGone,
        text,
        "look the interface's number up anew (if_nametoindex): it changes when an interface is made again",
    )
    .fix(fix::command("see the interfaces there are", case.in_namespace("ip -br link")))
}

pub(super) fn out_of_memory(case: &Case<'_>, errno: Errno) -> Draft {
    let text = format!(
        "the kernel had no memory for {}(): {errno}",
        case.attempt.op.name()
    );
    Draft::new(Code::OutOfMemory, Confidence::Derived, text).fix(fix::command(
        "see whether memory, or that of the cgroup, ran out",
        "sudo dmesg | grep -iE 'allocation failure|out of memory|oom'",
    ))
}
