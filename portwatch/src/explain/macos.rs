//! What XNU decides otherwise. Error numbers are Darwin's.
//!
//! Low ports: bsd/netinet/in_pcb.c, `in_pcbbind`, and bsd/netinet6/in6_pcb.c, `in6_pcbbind`. Since
//! 10.14 the wildcard address is exempt from the check; any other local address is not.

use std::net::IpAddr;

use super::{
    case::Case,
    draft::{Draft, Others},
    fix,
};
use crate::{
    errno::Errno,
    event::{Code, Confidence, Op, Version},
};

/// `IPPORT_RESERVED`, `IPV6PORT_RESERVED`
pub(super) const RESERVED: u16 = 1024;
/// xnu-4903, in_pcb.c line 809
pub(super) const WILDCARD_EXEMPT_SINCE: Version = Version {
    major: 10,
    minor: 14,
};
/// Ports that only some programs may have (xnu-6153, bsd/net/restricted_in_port.c): on macOS one,
/// of TCP, for lights-out management.
pub(super) const RESTRICTED_PORT: u16 = 55_555;
pub(super) const RESTRICTED_SINCE: Version = Version {
    major: 10,
    minor: 15,
};
/// The first that asks before a program may reach its own network
const LOCAL_NETWORK_PRIVACY_SINCE: Version = Version {
    major: 15,
    minor: 0,
};

pub(super) fn failure(case: &Case<'_>, version: Version, errno: Errno) -> Option<Draft> {
    let own = match case.attempt.op {
        Op::Bind | Op::Listen => bind(case, version, errno),
        Op::Connect => connect(case, version, errno),
    };
    own.or_else(|| either(case, errno))
}

fn bind(case: &Case<'_>, version: Version, errno: Errno) -> Option<Draft> {
    match errno {
        Errno::EACCES => low_port(case, version),
        Errno::EPERM if case.port() == Some(0) && is_user(case) => Some(no_port_granted()),
        Errno::EADDRINUSE => Some(in_use(case, version)),
        Errno::EADDRNOTAVAIL => Some(not_local(case)),
        Errno::EAFNOSUPPORT if case.ip().is_some_and(is_for_many) => Some(plain(
            case,
            Code::MulticastStream,
            "is an address of many hosts, which TCP cannot be bound to",
        )),
        Errno::EINVAL if case.asked().is_some() => Some(Draft::one_of(
            [
                (Code::AlreadyBound, "the socket is bound already"),
                (Code::BadAddressLength, LENGTH),
            ],
            Others::Possible,
        )),
        _ => None,
    }
}

fn connect(case: &Case<'_>, version: Version, errno: Errno) -> Option<Draft> {
    let (code, what) = match errno {
        Errno::EHOSTUNREACH => return Some(host_unreachable(case, version)),
        Errno::ECONNREFUSED => (
            Code::ConnectionRefused,
            "was refused: nobody listens there, or a firewall rejects it",
        ),
        Errno::ETIMEDOUT => (
            Code::ConnectTimedOut,
            "did not answer: the packets are dropped here or on the way, or the host is down",
        ),
        Errno::ENETUNREACH => (Code::NoRoute, "has no route"),
        Errno::EALREADY => (
            Code::AlreadyConnecting,
            "was asked for while a connect on this socket was under way",
        ),
        Errno::EISCONN => (
            Code::AlreadyConnected,
            "was asked for on a socket that is connected already",
        ),
        Errno::EOPNOTSUPP => (
            Code::SocketListening,
            "was asked for on a socket that listens, or that the system took out of use",
        ),
        Errno::EADDRINUSE => (
            Code::TupleInUse,
            "has a connection with the same two ends already",
        ),
        _ => return None,
    };
    Some(plain(case, code, what))
}

/// The call returned before there was an answer.
pub(super) fn pending(case: &Case<'_>, errno: Errno) -> Draft {
    if errno != Errno::EINPROGRESS {
        return Draft::unexplained(case, errno);
    }
    plain(
        case,
        Code::ConnectInProgress,
        "has not answered yet, and the call did not wait",
    )
}

/// Another length than the family's is refused (`in_pcbbind`, `in_pcbladdr`).
const LENGTH: &str = "the length passed with it is not exactly 16 (IPv4) or 28 (IPv6)";

/// What both calls can end in (bsd/kern/uipc_syscalls.c).
fn either(case: &Case<'_>, errno: Errno) -> Option<Draft> {
    let (code, text) = match errno {
        Errno::EPERM => return Some(policy(case)),
        Errno::EBADF => (Code::BadDescriptor, "the descriptor is not open"),
        Errno::ENOTSOCK => (
            Code::NotASocket,
            "the descriptor is of something else than a socket",
        ),
        Errno::EFAULT => (
            Code::BadPointer,
            "the address lies outside the program's memory",
        ),
        Errno::EDESTADDRREQ => (Code::BadPointer, "no address was passed (NULL)"),
        Errno::EINVAL if case.asked().is_none() => (Code::BadAddressLength, LENGTH),
        Errno::ENAMETOOLONG => (
            Code::BadAddressLength,
            "the length passed with the address is above 255",
        ),
        Errno::EAFNOSUPPORT => (
            Code::WrongFamily,
            "the address is of a family that the socket does not take",
        ),
        _ => return None,
    };
    Some(Draft::new(code, Confidence::Derived, text))
}

/// `mac_socket_check_bind`, `mac_socket_check_connect`, and filters beside them.
fn policy(case: &Case<'_>) -> Draft {
    let (entitlement, socket) = match case.attempt.op {
        Op::Connect => ("client", ", or the socket's own SO_RESTRICT_DENY_OUT"),
        Op::Bind | Op::Listen => ("server", ""),
    };
    let entitlement = format!("com.apple.security.network.{entitlement}");
    let text = format!(
        "a policy refused it: the app's sandbox, which lacks {entitlement}, another MAC policy, a socket filter{socket}"
    );
    Draft::new(Code::MacosPolicyDenied, Confidence::Derived, text).fix(fix::advice(format!(
        "if it is a sandboxed app of your own, give it {entitlement}"
    )))
}

/// `IP_PORTRANGE_LOW`, which bindresvport() sets, is the one place where the privilege's own error
/// is returned, and where the wildcard address is not exempt. DTrace does not show the option.
fn no_port_granted() -> Draft {
    let causes = [
        (
            Code::MacosPolicyDenied,
            "the app's sandbox lacks com.apple.security.network.server",
        ),
        (
            Code::MacosLowPortAddress,
            "a port below 1024 was asked for without a number (IP_PORTRANGE_LOW, bindresvport), which is for root only, at the wildcard address too",
        ),
        (
            Code::MacosPolicyDenied,
            "another MAC policy, or a socket filter, refused it",
        ),
    ];
    Draft::one_of(causes, Others::Possible).fix(fix::advice(
        "ask for a low port by its number at the wildcard address, or for one of the system's choice",
    ))
}

fn is_for_many(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(ip) => ip.is_multicast() || ip.is_broadcast(),
        IpAddr::V6(ip) => ip.is_multicast(),
    }
}

fn is_wildcard(case: &Case<'_>) -> bool {
    case.ip()
        .is_some_and(|ip| ip.to_canonical().is_unspecified())
}

/// Somebody else than root; by the real user where the effective one is not known.
fn is_user(case: &Case<'_>) -> bool {
    case.attempt.euid.unwrap_or(case.attempt.uid) != 0
}

fn is_low(port: u16) -> bool {
    (1..RESERVED).contains(&port)
}

fn low_port(case: &Case<'_>, version: Version) -> Option<Draft> {
    let asked = case.asked().filter(|asked| is_low(asked.port))?;
    let exempt = version >= WILDCARD_EXEMPT_SINCE;
    if case.is_root() || exempt && is_wildcard(case) {
        return None;
    }
    let target = case.target();
    let rule = if exempt {
        "for any address but the wildcard only root may open ports below 1024"
    } else {
        "before macOS 10.14 only root may open ports below 1024"
    };
    let text = format!("{rule}, and {} asked for {target}", case.who());
    let draft = Draft::new(Code::MacosLowPortAddress, Confidence::Derived, text);
    let any = if asked.ip.is_ipv6() {
        "[::]"
    } else {
        "0.0.0.0"
    };
    let port = asked.port;
    let draft = if exempt {
        draft.fix(fix::opening(
            fix::advice(format!(
                "bind to {any}:{port}, which everybody may, and refuse other hosts in the program"
            )),
            "the port can be reached through every interface",
        ))
    } else {
        draft
    };
    Some(
        draft
            .fix(fix::advice(format!(
                "let launchd open {target} and pass it on (Sockets, SockNodeName)"
            )))
            .fix(fix::advice(format!("take a port from {RESERVED} on"))),
    )
}

fn in_use(case: &Case<'_>, version: Version) -> Draft {
    let port = case.port().unwrap_or(0);
    if port == RESTRICTED_PORT && !case.is_udp() && version >= RESTRICTED_SINCE {
        let text = format!(
            "TCP port {port} is kept for programs with an entitlement of Apple's (lights-out management): nobody has it, and not even root gets it"
        );
        return Draft::new(Code::MacosRestrictedPort, Confidence::Derived, text)
            .fix(fix::advice("take another port"));
    }
    let proto = match case.attempt.proto {
        Some(_) if case.is_udp() => "UDP",
        Some(_) => "TCP",
        None => "",
    };
    let text =
        format!("port {port} is in use, or kept back by the system (userspace networking, pf)");
    let other = "if it is another user's, SO_REUSEADDR and SO_REUSEPORT do not help: only root may share with another user, unless both are at the wildcard address or the owner set SO_REUSESHAREUID";
    let draft = Draft::new(Code::PortInUse, Confidence::Derived, text).fix(fix::command(
        format!("see who has port {port}"),
        format!("sudo lsof -nP -i{proto}:{port}"),
    ));
    if is_user(case) {
        draft.seen(other)
    } else {
        draft
    }
}

/// The address is looked at before the port.
fn not_local(case: &Case<'_>) -> Draft {
    let low = case
        .port()
        .filter(|&port| is_low(port) && !case.is_root() && !is_wildcard(case));
    let next = low.map(|port| format!("EACCES: port {port} of a single address is for root only"));
    plain(
        case,
        Code::AddressNotLocal,
        "is not an address of this host",
    )
    .next(next)
    .fix(fix::command("see the addresses there are", "ifconfig -a"))
}

fn host_unreachable(case: &Case<'_>, version: Version) -> Draft {
    let draft = plain(
        case,
        Code::HostUnreachable,
        "cannot be reached: no answer to ARP or neighbour discovery, or something here or on the way refuses it",
    );
    let asked_for = version >= LOCAL_NETWORK_PRIVACY_SINCE && is_user(case);
    let local = case.ip().is_some_and(|ip| match ip.to_canonical() {
        IpAddr::V4(ip) => ip.is_private() || ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unique_local() || ip.is_unicast_link_local(),
    });
    if asked_for && local {
        draft.fix(fix::advice(
            "see whether the app that started this program may reach the local network (System Settings, Privacy & Security, Local Network)",
        ))
    } else {
        draft
    }
}

fn plain(case: &Case<'_>, code: Code, what: &str) -> Draft {
    Draft::new(
        code,
        Confidence::Derived,
        format!("{} {what}", case.target()),
    )
}

/// A low port of somebody who is not root.
pub(super) fn success(case: &Case<'_>, version: Version) -> Option<Draft> {
    let port = case.port().filter(|&port| is_low(port))?;
    (is_user(case) && is_wildcard(case) && version >= WILDCARD_EXEMPT_SINCE).then(|| {
        let text = format!(
            "{} may open port {port} because it asked for the wildcard address: since macOS 10.14 everybody may",
            case.who()
        );
        Draft::new(Code::MacosWildcardExempt, Confidence::Derived, text)
    })
}
