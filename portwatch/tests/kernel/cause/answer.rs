//! How a connect ends after its first packet was sent.

use libc::{
    EACCES, ECONNABORTED, ECONNREFUSED, ECONNRESET, EHOSTUNREACH, EINPROGRESS, ENETUNREACH,
    ENOPROTOOPT, EPIPE, ETIMEDOUT,
};
use portwatch::event::{
    Code,
    Confidence::{self, Checked, Derived, Likely, Observed},
    Op::Connect,
};

use super::{Answer, Row};

pub(crate) const ANSWERS: &[Row] = &[
    refused("nobody listens", Code::NobodyListens, Observed),
    refused(
        "a firewall answers with a reset",
        Code::NobodyListens,
        Observed,
    ),
    answered(
        "a firewall answers with a reset, and somebody listens",
        -ECONNREFUSED,
        Code::RejectedByFirewall,
        Checked,
    ),
    answered(
        "NAT leads to a port where nobody listens, and somebody does on the first",
        -ECONNREFUSED,
        Code::RejectedByFirewall,
        Checked,
    ),
    // tracepoint does not see which interface the socket that connects is bound to.
    answered(
        "a listener hears only on another interface",
        -ECONNREFUSED,
        Code::NobodyListens,
        Checked,
    )
    .otherwise(Code::NobodyListens, Likely),
    answered(
        "a firewall resets what has just been established",
        -ECONNRESET,
        Code::ConnectionReset,
        Derived,
    ),
    refused(
        "a firewall rejects: port unreachable",
        Code::RejectedByFirewall,
        Derived,
    ),
    refused(
        "a firewall rejects on IPv6: port unreachable",
        Code::RejectedByFirewall,
        Derived,
    ),
    told(
        "a firewall rejects: host unreachable",
        -EHOSTUNREACH,
        Code::HostUnreachable,
        Observed,
    ),
    told(
        "a firewall rejects: administratively",
        -EHOSTUNREACH,
        Code::HostUnreachable,
        Observed,
    ),
    told(
        "a firewall rejects: network unreachable",
        -ENETUNREACH,
        Code::NetworkUnreachable,
        Derived,
    ),
    answered(
        "a firewall rejects: protocol unreachable",
        -ENOPROTOOPT,
        Code::ProtocolUnreachable,
        Derived,
    ),
    told(
        "a firewall rejects on IPv6: administratively",
        -EACCES,
        Code::AdminProhibited,
        Derived,
    ),
    told(
        "a firewall rejects on IPv6: no route",
        -ENETUNREACH,
        Code::NetworkUnreachable,
        Derived,
    ),
    told(
        "a firewall rejects on IPv6: address unreachable",
        -EHOSTUNREACH,
        Code::HostUnreachable,
        Observed,
    ),
    answered(
        "a firewall drops what leaves",
        -ETIMEDOUT,
        Code::ConnectTimedOut,
        Observed,
    ),
    answered(
        "the listener's queue is full",
        -ETIMEDOUT,
        Code::AcceptQueueFull,
        Checked,
    ),
    answered(
        "the listener's queue is full, with tcp_abort_on_overflow",
        -ETIMEDOUT,
        Code::AcceptQueueFull,
        Checked,
    ),
    told(
        "no neighbour has the address",
        -EHOSTUNREACH,
        Code::NeighbourUnreachable,
        Checked,
    ),
    answered(
        "the socket does not wait",
        -EINPROGRESS,
        Code::ConnectInProgress,
        Observed,
    ),
    answered(
        "the socket waits only so long",
        -EINPROGRESS,
        Code::SendTimeoutExpired,
        Derived,
    ),
    answered("a signal comes", -libc::EINTR, Code::Interrupted, Observed),
    answered(
        "another thread disconnects the socket",
        -EPIPE,
        Code::DisconnectedMeanwhile,
        Derived,
    ),
    answered(
        "somebody destroys the socket",
        -ECONNABORTED,
        Code::ConnectionAborted,
        Derived,
    ),
    Row::silent("somebody listens", Connect),
];

/// What did not wait, and ended like this.
pub(crate) const ENDS: &[Row] = &[
    ended(
        "later: nobody listens",
        -ECONNREFUSED,
        Code::NobodyListens,
        Observed,
    ),
    ended(
        "later: a firewall rejects",
        -ECONNREFUSED,
        Code::RejectedByFirewall,
        Derived,
    ),
    ended(
        "later: a firewall rejects: host unreachable",
        -EHOSTUNREACH,
        Code::HostUnreachable,
        Observed,
    ),
    ended(
        "later: nobody answers",
        -ETIMEDOUT,
        Code::ConnectTimedOut,
        Observed,
    ),
    ended(
        "later: the listener's queue is full",
        -ETIMEDOUT,
        Code::AcceptQueueFull,
        Checked,
    ),
    ended("later: the socket is closed", 0, Code::GivenUp, Observed),
    ended(
        "later: the socket is closed, and the listener's queue is full",
        0,
        Code::AcceptQueueFull,
        Checked,
    ),
];

const fn answered(case: &'static str, ret: i32, code: Code, confidence: Confidence) -> Row {
    Row::new(case, Connect, ret, code, confidence)
}

/// tracepoint does not see whether it was the call itself that failed. A route that was looked up
/// leaves one cause of `ENETUNREACH`, and two of the others.
const fn told(case: &'static str, ret: i32, code: Code, confidence: Confidence) -> Row {
    let row = answered(case, ret, code, confidence);
    match -ret {
        ENETUNREACH => row.otherwise(Code::NetworkUnreachable, Checked),
        EHOSTUNREACH => row.otherwise(Code::NeighbourUnreachable, Likely),
        _ => row.otherwise(Code::LsmDenied, Likely),
    }
}

/// tracepoint does not see resets.
const fn refused(case: &'static str, code: Code, confidence: Confidence) -> Row {
    answered(case, -ECONNREFUSED, code, confidence).otherwise(Code::ConnectionRefused, Observed)
}

const fn ended(case: &'static str, ret: i32, code: Code, confidence: Confidence) -> Row {
    Row::new(case, Connect, ret, code, confidence).tracepoint(Answer::Unseen)
}
