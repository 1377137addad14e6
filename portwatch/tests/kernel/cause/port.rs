//! Other sockets that have the port.

use libc::{EADDRINUSE, EADDRNOTAVAIL, EAGAIN};
use portwatch::event::{
    Code,
    Confidence::{Checked, Derived, Likely},
    Op::{self, Bind, Connect, Listen},
};

use super::{Answer, Row, Since};

const IP_LOCAL_PORT_RANGE: Since = Since {
    major: 6,
    minor: 3,
    what: "`IP_LOCAL_PORT_RANGE`",
};

pub(crate) const PORTS: &[Row] = &[
    used("another socket listens", Code::PortInUse),
    used("another socket is bound and idle", Code::PortInUse),
    used("another socket has every address", Code::PortInUse),
    used("another socket, of UDP", Code::PortInUse),
    used(
        "only the other socket has SO_REUSEADDR",
        Code::PortInUseReuseaddrOneSide,
    ),
    used(
        "only this socket has SO_REUSEADDR",
        Code::PortInUseReuseaddrOneSide,
    ),
    used(
        "both have SO_REUSEADDR, and the other listens",
        Code::PortInUseReuseaddrListening,
    ),
    used(
        "only the other socket has SO_REUSEPORT",
        Code::PortInUseReuseportOneSide,
    ),
    used(
        "only this socket has SO_REUSEPORT",
        Code::PortInUseReuseportOneSide,
    ),
    used(
        "both have SO_REUSEPORT, and another owner",
        Code::PortInUseReuseportOtherUser,
    ),
    used(
        "an IPv6 socket has the IPv4 port too",
        Code::PortInUseDualStack,
    ),
    used(
        "an IPv4 socket is in the way of [::]",
        Code::PortInUseDualStack,
    ),
    used("a connection in TIME_WAIT", Code::PortInUseTimeWait),
    used("the local end of a connection", Code::PortInUseConnection),
    // That no process has it open is all that can be seen: it could be in flight between two.
    used("a VXLAN interface's socket", Code::PortInUse),
    used("a process that is gone by now", Code::PortInUseHolderGone),
    Row::new(
        "another ping socket with that identifier",
        Bind,
        -EADDRINUSE,
        Code::PingIdentifierInUse,
        Derived,
    ),
    exhausted("bind: no port left", Bind, -EADDRINUSE),
    exhausted("connect: no port left", Connect, -EADDRNOTAVAIL).sure(Derived, Derived, Likely),
    exhausted("connect: no port left for UDP", Connect, -EAGAIN).sure(Derived, Derived, Likely),
    exhausted("listen: no port left", Listen, -EADDRINUSE).tracepoint(Answer::Unseen),
    own_range(
        "bind: no port left of the socket's own range",
        Bind,
        -EADDRINUSE,
    ),
    own_range(
        "connect: no port left of the socket's own range",
        Connect,
        -EADDRNOTAVAIL,
    )
    .sure(Derived, Derived, Likely),
    Row::new("both have SO_REUSEPORT", Bind, 0, Code::PortShared, Checked),
    // With that alone, nobody looks who else has the port.
    Row::silent("both have SO_REUSEADDR, of UDP", Bind),
    Row::new("IP_BIND_ADDRESS_NO_PORT", Bind, 0, Code::NoPortYet, Derived)
        .tracepoint(Answer::Silent),
    Row::silent(
        "another socket on that port in another network namespace",
        Bind,
    ),
];

const fn used(case: &'static str, code: Code) -> Row {
    Row::new(case, Bind, -EADDRINUSE, code, Checked)
}

const fn exhausted(case: &'static str, op: Op, ret: i32) -> Row {
    Row::new(case, op, ret, Code::EphemeralPortsExhausted, Derived)
}

const fn own_range(case: &'static str, op: Op, ret: i32) -> Row {
    Row::new(case, op, ret, Code::OwnPortRangeExhausted, Derived).since(IP_LOCAL_PORT_RANGE)
}
