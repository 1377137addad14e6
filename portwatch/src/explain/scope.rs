//! IPv6 addresses that mean something only together with an interface.

use std::net::{IpAddr, Ipv6Addr};

use super::{case::Case, draft::Draft, fix};
use crate::event::{Code, Confidence, Op};

/// Length of a `sockaddr_in6` that has room for `sin6_scope_id` (include/uapi/linux/in6.h)
const WITH_SCOPE: i32 = 28;

/// The kinds of addresses that need an interface: link-local ones, and multicast of such a scope, or
/// of one interface (`__ipv6_addr_needs_scope_id`, include/net/ipv6.h; `ipv6_addr_scope2type`,
/// net/ipv6/addrconf_core.c).
pub(super) fn kind(ip: Ipv6Addr) -> Option<&'static str> {
    let multicast_scope = ip.octets()[1] & 0x0f;
    match (ip.is_multicast(), multicast_scope) {
        (true, 1) => Some("an interface-local multicast address"),
        (true, 2) => Some("a link-local multicast address"),
        _ if ip.is_unicast_link_local() => Some("a link-local address"),
        _ => None,
    }
}

/// `EINVAL` for an address whose interface is missing, or is another than the socket's
/// (`__inet6_bind`, net/ipv6/af_inet6.c; `tcp_v6_connect`, net/ipv6/tcp_ipv6.c;
/// `__ip6_datagram_connect`, net/ipv6/datagram.c).
pub(super) fn explain(case: &Case<'_>) -> Option<Draft> {
    let IpAddr::V6(ip) = case.ip()? else {
        return None;
    };
    let kind = kind(ip)?;
    let scope = case.asked().map_or(0, |asked| asked.scope_id);
    match (scope, case.attempt.ifindex) {
        (0, None) => Some(missing(case, ip, kind)),
        // A bind goes by the scope, whatever the socket had.
        (1.., Some(device)) if case.attempt.op == Op::Connect && scope != device => {
            Some(of_another(ip, scope, device))
        }
        _ => None,
    }
}

fn missing(case: &Case<'_>, ip: Ipv6Addr, kind: &str) -> Draft {
    let cut = match case.attempt.address_len {
        Some(passed) if passed < WITH_SCOPE => {
            format!(" (the length passed, {passed}, leaves out the scope id)")
        }
        _ => String::new(),
    };
    let text =
        format!("{ip} is {kind}, and neither the address nor the socket names the interface{cut}");
    Draft::new(Code::LinkLocalWithoutScope, Confidence::Derived, text).fix(fix::advice(format!(
        "name the interface in the address ({ip}%eth0, sin6_scope_id)"
    )))
}

fn of_another(ip: Ipv6Addr, scope: u32, device: u32) -> Draft {
    let text = format!(
        "{ip} is to be reached by interface {scope} (its scope id), and the socket is bound to interface {device}"
    );
    Draft::new(Code::AddressOnOtherInterface, Confidence::Derived, text)
        .fix(fix::advice("correct the scope id, or SO_BINDTODEVICE"))
}
