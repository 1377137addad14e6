//! bind() on macOS, as XNU decides about it (bsd/netinet/in_pcb.c `in_pcbbind`,
//! bsd/netinet6/in6_pcb.c `in6_pcbbind`). From afar nothing is known of the Mac itself; on it,
//! whether it has the address.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{
    super::macos::{RESERVED, RESTRICTED_PORT, RESTRICTED_SINCE, WILDCARD_EXEMPT_SINCE},
    Check, Situation, Station,
};
use crate::{errno::Errno, event::Version};

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
    match situation.facts.host_has_address {
        Some(true) => Check::ok(station, "an address of the Mac"),
        Some(false) => Check::no(station, Errno::EADDRNOTAVAIL, "not an address of the Mac"),
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
    if ip.is_unspecified() && version >= WILDCARD_EXEMPT_SINCE {
        let detail = "below 1024, but free for everybody on the wildcard address since 10.14";
        return Check::ok(station, detail);
    }
    if situation.subject.euid == 0 {
        return Check::ok(station, "below 1024, for root");
    }
    let detail = if version >= WILDCARD_EXEMPT_SINCE {
        "below 1024 on a specific address: for root only"
    } else {
        "below 1024: for root only (the wildcard address too, before 10.14)"
    };
    Check::no(station, Errno::EACCES, detail)
}

/// `current_task_can_use_restricted_in_port`: refused to root too, as if it were in use.
fn restricted(situation: &Situation, version: Version) -> Option<Check> {
    let concerned = situation.is_stream() && situation.to.port == RESTRICTED_PORT;
    (concerned && version >= RESTRICTED_SINCE).then(|| {
        let detail = "macOS keeps it for lights-out management: refused as if it were in use";
        Check::no(Station::Restricted, Errno::EADDRINUSE, detail)
    })
}
