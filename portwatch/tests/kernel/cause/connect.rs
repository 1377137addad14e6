//! What ends a connect before a packet leaves: the socket's state, and the route.

use libc::{
    EACCES, EADDRNOTAVAIL, EAFNOSUPPORT, EALREADY, EHOSTUNREACH, EINVAL, EISCONN, ENETUNREACH,
    EPERM,
};
use portwatch::event::{
    Code,
    Confidence::{Checked, Derived, Likely, Observed},
    Op::{Bind, Connect},
};

use super::{Answer, Row};

pub(crate) const STATES: &[Row] = &[
    Row::new(
        "bind: bound already",
        Bind,
        -EINVAL,
        Code::AlreadyBound,
        Derived,
    )
    .sure(Derived, Derived, Checked),
    Row::new(
        "bind: connected already, of UDP",
        Bind,
        -EINVAL,
        Code::AlreadyBound,
        Derived,
    )
    .sure(Derived, Derived, Checked),
    Row::new(
        "bind: connected already, a raw socket",
        Bind,
        -EINVAL,
        Code::SocketNotClosed,
        Derived,
    )
    .tracepoint(Answer::Says(Code::Unexplained, Observed)),
    Row::new(
        "connect: connecting already",
        Connect,
        -EALREADY,
        Code::AlreadyConnecting,
        Derived,
    ),
    Row::new(
        "connect: connected already",
        Connect,
        -EISCONN,
        Code::AlreadyConnected,
        Derived,
    )
    .otherwise(Code::AlreadyConnected, Likely),
    Row::new(
        "connect: listening",
        Connect,
        -EISCONN,
        Code::SocketListening,
        Derived,
    )
    .otherwise(Code::AlreadyConnected, Likely),
];

pub(crate) const ROUTES: &[Row] = &[
    routed("no route", -ENETUNREACH, Code::NoRoute),
    routed("no route, UDP", -ENETUNREACH, Code::NoRoute),
    routed("no IPv6 route", -ENETUNREACH, Code::NoRoute),
    routed("a throw route", -ENETUNREACH, Code::NoRoute),
    routed(
        "an unreachable route",
        -EHOSTUNREACH,
        Code::RouteUnreachable,
    ),
    routed(
        "an unreachable IPv6 route",
        -EHOSTUNREACH,
        Code::RouteUnreachable,
    ),
    // The kernel gives the same error as for no route, whoever asks.
    routed("a rule that says unreachable", -ENETUNREACH, Code::NoRoute),
    routed("a prohibit route", -EACCES, Code::RouteProhibited),
    routed("a prohibit route for IPv6", -EACCES, Code::RouteProhibited),
    routed("a prohibit route, UDP", -EACCES, Code::RouteProhibited),
    routed("a rule that says prohibit", -EACCES, Code::RouteProhibited),
    routed("a blackhole route", -EINVAL, Code::RouteBlackhole),
    routed("a rule that says blackhole", -EINVAL, Code::RouteBlackhole),
    seen(
        "a multicast destination",
        -ENETUNREACH,
        Code::MulticastDestination,
    ),
    routed(
        "a broadcast destination",
        -ENETUNREACH,
        Code::MulticastDestination,
    ),
    routed(
        "the source address is gone",
        -ENETUNREACH,
        Code::SourceAddressGone,
    ),
    seen(
        "from 127.0.0.1 to another host",
        -EINVAL,
        Code::LoopbackSource,
    ),
    seen(
        "from a mapped address to an IPv6 one",
        -EAFNOSUPPORT,
        Code::MappedSource,
    ),
    seen(
        "to a mapped address with IPV6_V6ONLY",
        -ENETUNREACH,
        Code::MappedV6Only,
    ),
    seen(
        "to a link-local address without a scope",
        -EINVAL,
        Code::LinkLocalWithoutScope,
    ),
    seen(
        "to a link-local multicast address without a scope, UDP",
        -EINVAL,
        Code::LinkLocalWithoutScope,
    ),
    seen(
        "to a link-local address by another interface than the socket's",
        -EINVAL,
        Code::AddressOnOtherInterface,
    )
    .otherwise(Code::Unexplained, Observed),
    routed(
        "no IPv6 address to come from",
        -EADDRNOTAVAIL,
        Code::NoSourceAddress,
    )
    .sure(Derived, Derived, Checked),
    routed(
        "UDP to a broadcast address without SO_BROADCAST",
        -EACCES,
        Code::BroadcastNotAllowed,
    ),
    seen("an IPsec policy that blocks", -EPERM, Code::IpsecBlocked)
        .otherwise(Code::CgroupBpfDenied, Likely),
    seen(
        "the same two ends as another connection",
        -EADDRNOTAVAIL,
        Code::TupleInUse,
    )
    .otherwise(Code::EphemeralPortsExhausted, Likely),
    Row::new(
        "a flow label that nobody leased",
        Connect,
        -EINVAL,
        Code::Unexplained,
        Observed,
    ),
];

/// What the routes say is looked up.
const fn routed(case: &'static str, ret: i32, code: Code) -> Row {
    Row::new(case, Connect, ret, code, Checked)
}

/// What the address and the socket say by themselves.
const fn seen(case: &'static str, ret: i32, code: Code) -> Row {
    Row::new(case, Connect, ret, code, Derived)
}
