//! Address lengths that are refused, whatever the address says.

use super::{bind, case::Case, draft::Draft, fix};
use crate::event::{Code, Confidence, Family, Op, Proto};

/// `struct sockaddr_storage` (`move_addr_to_kernel`, net/socket.c)
const LONGEST: i32 = 128;

/// `sa_family`, which every station reads first
const FAMILY: Least = Least {
    bytes: 2,
    what: "an address needs at least 2 (its family)",
};
/// `__inet_bind` (net/ipv4/af_inet.c), `tcp_v4_connect` (net/ipv4/tcp_ipv4.c),
/// `__ip4_datagram_connect` (net/ipv4/datagram.c)
const IPV4: Least = Least {
    bytes: 16,
    what: "an IPv4 address needs 16 (sockaddr_in)",
};
/// `SIN6_LEN_RFC2133` (include/linux/in6.h): the scope id may be left out
const IPV6: Least = Least {
    bytes: 24,
    what: "an IPv6 address needs at least 24 (sockaddr_in6: 28 with its scope id)",
};
/// `sctp_sockaddr_af` (net/sctp/socket.c), `ping_check_bind_addr` (net/ipv4/ping.c)
const WHOLE_IPV6: Least = Least {
    bytes: 28,
    what: "an IPv6 address needs 28 here (sockaddr_in6)",
};

/// The least length that is taken.
#[derive(Clone, Copy)]
struct Least {
    bytes: i32,
    what: &'static str,
}

const SCTP: Proto = Proto::Ip(132);
const L2TP: Proto = Proto::Ip(115);

/// `EINVAL` for a length outside of what the call's stations take.
pub(super) fn explain(case: &Case<'_>) -> Option<Draft> {
    let passed = case.attempt.address_len?;
    if passed < 0 {
        return Some(bad(case, passed, "a length cannot be negative"));
    }
    if passed > LONGEST {
        return Some(bad(case, passed, "no address is longer than 128"));
    }
    let least = least(case);
    if passed >= least.bytes {
        return None;
    }
    // A whole IPv4 address is no short IPv6 one.
    let families = bind::families_differ(case).filter(|_| passed >= IPV4.bytes);
    Some(families.unwrap_or_else(|| bad(case, passed, least.what)))
}

fn bad(case: &Case<'_>, passed: i32, rule: &str) -> Draft {
    let op = case.attempt.op.name();
    let text = format!("the length passed with the address to {op}() is {passed}, and {rule}");
    Draft::new(Code::BadAddressLength, Confidence::Derived, text)
        .fix(fix::advice("pass the size of the sockaddr that was filled"))
}

/// By the socket's family, as far as the protocol does not go by the address's own.
fn least(case: &Case<'_>) -> Least {
    let connects = case.attempt.op == Op::Connect;
    let by_address = case.is_refused_by_module() || case.attempt.proto == Some(SCTP);
    let is_ipv6 = match (case.is_ipv6_socket(), case.attempt.family) {
        (_, Some(Family::Unspec)) if connects && !by_address => return FAMILY,
        (_, Some(Family::Ipv4 | Family::Unspec)) if by_address => Some(false),
        (_, Some(Family::Ipv6)) if by_address => Some(true),
        // `__ip6_datagram_connect` (net/ipv6/datagram.c) hands it to IPv4.
        (Some(true), Some(Family::Ipv4)) if connects && !case.is_tcp() => Some(false),
        (Some(is_ipv6), _) => Some(is_ipv6),
        (None, Some(Family::Ipv4)) => Some(false),
        (None, Some(Family::Ipv6)) => Some(true),
        (None, _) => None,
    };
    match (is_ipv6, case.attempt.proto) {
        (_, Some(L2TP)) | (None, _) => FAMILY,
        (Some(false), _) => IPV4,
        (Some(true), Some(SCTP)) => WHOLE_IPV6,
        (Some(true), _) if case.is_ping() && !connects => WHOLE_IPV6,
        (Some(true), _) => IPV6,
    }
}
