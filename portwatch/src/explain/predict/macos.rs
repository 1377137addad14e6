//! bind() on macOS, as XNU decides about it (bsd/netinet/in_pcb.c `in_pcbbind`,
//! bsd/netinet6/in6_pcb.c `in6_pcbbind`), answered from afar: nothing is known of the Mac itself.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{Check, Situation, Station};
use crate::{errno::Errno, event::Version};

/// `IPPORT_RESERVED`, `IPV6PORT_RESERVED`
const RESERVED: u16 = 1024;

/// From here on the wildcard address needs no privilege (xnu-4903, in_pcb.c line 809).
const WILDCARD_EXEMPT: Version = Version {
    major: 10,
    minor: 14,
};

/// From here on there are ports that only some programs may have (xnu-6153,
/// bsd/net/restricted_in_port.c): on macOS one, of TCP, for lights-out management.
const RESTRICTED: Version = Version {
    major: 10,
    minor: 15,
};
const RESTRICTED_PORT: u16 = 55555;

pub(super) fn checks(situation: &Situation, version: Version) -> Vec<Check> {
    // A mapped address goes through in_pcbbind, as the IPv4 address that it is.
    let ip = situation.to.ip.to_canonical();
    let mut checks = Vec::new();
    if ip.is_multicast() && situation.is_stream() {
        let detail = "a stream socket takes no multicast address";
        checks.push(Check::no(Station::Multicast, Errno::EAFNOSUPPORT, detail));
    }
    checks.push(address(situation, ip));
    checks.push(port(situation, ip, version));
    checks.extend(restricted(situation, version));
    if situation.to.port != 0 {
        let detail = "whether another socket has it is not known here";
        checks.push(Check::maybe(Station::InUse, detail));
    }
    checks
}

/// Whether the Mac has the address; what every Mac has is known.
fn address(situation: &Situation, ip: IpAddr) -> Check {
    let station = Station::Address;
    if ip.is_unspecified() {
        return Check::ok(station, "the wildcard: every address");
    }
    if ip == Ipv4Addr::LOCALHOST || ip == Ipv6Addr::LOCALHOST {
        return Check::ok(station, "every Mac has it");
    }
    if ip.is_multicast() {
        return Check::ok(station, "a multicast address");
    }
    match situation
        .facts
        .address
        .as_ref()
        .map(|address| address.assigned)
    {
        Some(Some(_)) => Check::ok(station, "an address of the Mac"),
        Some(None) => Check::no(station, Errno::EADDRNOTAVAIL, "not an address of the Mac"),
        None => Check::maybe(station, "EADDRNOTAVAIL, if the Mac does not have it"),
    }
}

/// `priv_check_cred(cred, PRIV_NETINET_RESERVEDPORT)`: the effective user decides.
fn port(situation: &Situation, ip: IpAddr, version: Version) -> Check {
    let station = Station::Port;
    match situation.to.port {
        0 => return Check::ok(station, "0: the kernel picks one"),
        RESERVED.. => return Check::ok(station, "not below 1024"),
        _ => {}
    }
    if ip.is_unspecified() && version >= WILDCARD_EXEMPT {
        let detail = "below 1024, but free for everybody on the wildcard address since 10.14";
        return Check::ok(station, detail);
    }
    if situation.subject.euid == 0 {
        return Check::ok(station, "below 1024, for root");
    }
    let detail = if version >= WILDCARD_EXEMPT {
        "below 1024 on a specific address: for root only"
    } else {
        "below 1024: for root only (the wildcard address too, before 10.14)"
    };
    Check::no(station, Errno::EACCES, detail)
}

/// `current_task_can_use_restricted_in_port`: refused to root too, as if it were in use.
fn restricted(situation: &Situation, version: Version) -> Option<Check> {
    let concerned = situation.is_stream() && situation.to.port == RESTRICTED_PORT;
    (concerned && version >= RESTRICTED).then(|| {
        let detail = "macOS keeps it for lights-out management: refused as if it were in use";
        Check::no(Station::Restricted, Errno::EADDRINUSE, detail)
    })
}
