//! What XNU decides otherwise. Error numbers are Darwin's.
//!
//! Low ports: bsd/netinet/in_pcb.c, `in_pcbbind`, and bsd/netinet6/in6_pcb.c, `in6_pcbbind`. Since
//! 10.14 the wildcard address is exempt from the check; any other local address is not.

use super::{case::Case, draft::Draft, facts::Version, fix};
use crate::{
    errno::Errno,
    event::{Code, Confidence, Op},
};

/// `IPPORT_RESERVED`
const RESERVED: u16 = 1024;
const WILDCARD_EXEMPT_SINCE: Version = Version {
    major: 10,
    minor: 14,
};
/// bsd/net/restricted_in_port.c
const RESTRICTED_PORT: u16 = 55_555;
const RESTRICTED_SINCE: Version = Version {
    major: 10,
    minor: 15,
};
/// The first that asks before a program may reach its own network
const LOCAL_NETWORK_PRIVACY_SINCE: Version = Version {
    major: 15,
    minor: 0,
};

pub(super) fn failure(case: &Case<'_>, version: Version, errno: Errno) -> Option<Draft> {
    let name = errno.darwin_name()?;
    match (case.attempt.op, name) {
        (Op::Bind | Op::Listen, "EACCES") => low_port(case, version),
        (Op::Bind | Op::Listen, "EADDRINUSE") => Some(in_use(case, version)),
        (Op::Bind | Op::Listen, "EADDRNOTAVAIL") => Some(not_local(case)),
        (Op::Connect, "EHOSTUNREACH") => Some(host_unreachable(case, version)),
        (Op::Connect, "ECONNREFUSED") => Some(plain(
            case,
            Code::ConnectionRefused,
            "was refused: nobody listens there, or a firewall rejects it",
        )),
        (Op::Connect, "ETIMEDOUT") => Some(plain(
            case,
            Code::ConnectTimedOut,
            "did not answer: the packets are dropped here or on the way, or the host is down",
        )),
        (Op::Connect, "ENETUNREACH") => Some(plain(case, Code::NoRoute, "has no route")),
        (Op::Connect, "EINPROGRESS") => Some(plain(
            case,
            Code::ConnectInProgress,
            "has not answered yet, and the call did not wait",
        )),
        (_, "EPERM") => Some(Draft::one_of(
            errno,
            &[
                "the app's sandbox lacks com.apple.security.network.server or .client",
                "another MAC policy, or a socket filter, refused it",
            ],
        )),
        _ => None,
    }
}

fn is_wildcard(case: &Case<'_>) -> bool {
    case.ip()
        .is_some_and(|ip| ip.to_canonical().is_unspecified())
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
    if port == RESTRICTED_PORT && case.is_tcp() && version >= RESTRICTED_SINCE {
        let text = format!(
            "TCP port {port} is kept for programs with an entitlement of Apple's (lights-out management): nobody has it, and not even root gets it"
        );
        return Draft::new(Code::MacosRestrictedPort, Confidence::Derived, text)
            .fix(fix::advice("take another port"));
    }
    let proto = if case.is_udp() { "UDP" } else { "TCP" };
    let text =
        format!("port {port} is in use, or kept back by the system (userspace networking, pf)");
    Draft::new(Code::PortInUse, Confidence::Derived, text).fix(fix::command(
        format!("see who has port {port}"),
        format!("sudo lsof -nP -i{proto}:{port}"),
    ))
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
    let asked_for = version >= LOCAL_NETWORK_PRIVACY_SINCE && !case.is_root();
    let local = case.ip().is_some_and(|ip| match ip.to_canonical() {
        std::net::IpAddr::V4(ip) => ip.is_private() || ip.is_link_local(),
        std::net::IpAddr::V6(ip) => ip.is_unique_local() || ip.is_unicast_link_local(),
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
    let other = case.attempt.euid.is_some_and(|euid| euid != 0);
    (other && is_wildcard(case) && version >= WILDCARD_EXEMPT_SINCE).then(|| {
        let text = format!(
            "{} may open port {port} because it asked for the wildcard address: since macOS 10.14 everybody may",
            case.who()
        );
        Draft::new(Code::MacosWildcardExempt, Confidence::Derived, text)
    })
}
