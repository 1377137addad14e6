//! Which look-ups help to explain an error.

use std::net::IpAddr;

use super::Way;
use crate::{
    event::{Attempt, Op, Proto},
    explain::listener::destination,
};

/// What is to be looked up about an attempt.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a look-up of its own"
)]
pub struct Wanted {
    pub(super) lsms: bool,
    /// How to get into the network namespace
    pub(super) namespace: bool,
    pub(super) ports: bool,
    pub(super) holders: Option<(Proto, u16)>,
    /// The same, where the route leads to this host
    pub(super) holders_here: Option<(Proto, u16)>,
    /// The accept queue of whoever listens
    pub(super) queue: bool,
    /// What the source did not see of what a low port takes
    pub(super) privilege: bool,
    pub(super) address: Option<IpAddr>,
    /// Where else the address is, if not here
    pub(super) elsewhere: bool,
    /// The interface that the address is wanted on
    pub(super) ifindex: Option<u32>,
    pub(super) route: Option<Way>,
    pub(super) interface: Option<u32>,
}

impl Wanted {
    /// By the operation and its error. Where the answer is in the attempt already, nothing is.
    pub(super) fn by(attempt: &Attempt, ret: i32) -> Option<Self> {
        if ret >= 0 {
            return Self::of_success(attempt);
        }
        let errno = -ret;
        let denied = matches!(errno, libc::EACCES | libc::EPERM);
        let verdicts = [attempt.stages.lsm, attempt.stages.cgroup];
        let refused = attempt.seccomp || verdicts.into_iter().any(is_error);
        let wanted = match attempt.op {
            _ if refused => None,
            Op::Bind | Op::Listen => Self::of_bind(attempt, errno),
            Op::Connect => Self::of_connect(attempt, errno),
        };
        Some(Self {
            namespace: true,
            lsms: denied || is_error(attempt.stages.lsm),
            ..wanted.unwrap_or_default()
        })
    }

    /// An address that need not be the host's, or a port that others may have too: these are few.
    fn of_success(attempt: &Attempt) -> Option<Self> {
        let options = attempt.options.filter(|_| attempt.op == Op::Bind)?;
        let anywhere = options.freebind || options.transparent;
        if !anywhere && !options.reuseport {
            return None;
        }
        let asked = attempt.requested?;
        let ip = asked.ip.to_canonical();
        let address = (anywhere && !ip.is_unspecified() && !ip.is_loopback()).then_some(asked.ip);
        let shared = options.reuseport && asked.port != 0;
        (address.is_some() || shared).then(|| Self {
            address,
            ifindex: address.and_then(|_| interface(attempt)),
            holders: attempt
                .proto
                .filter(|_| shared)
                .map(|proto| (proto, asked.port)),
            ..Self::default()
        })
    }

    fn of_bind(attempt: &Attempt, errno: i32) -> Option<Self> {
        let asked = attempt.effective.or(attempt.requested)?;
        let ifindex = interface(attempt);
        // Port 0: there was none left.
        let holders = attempt
            .proto
            .map(|proto| (proto, asked.port))
            .filter(|&(_, port)| port != 0);
        Some(match errno {
            libc::EADDRINUSE => Self {
                // None of them is left.
                ports: holders.is_none() || attempt.op == Op::Listen,
                holders,
                ..Self::default()
            },
            libc::EADDRNOTAVAIL => Self {
                address: Some(asked.ip),
                elsewhere: true,
                ifindex,
                ..Self::default()
            },
            // Which of the two comes first depends on the family; whether the other would have
            // come next is worth knowing.
            libc::EACCES => Self {
                address: Some(asked.ip).filter(IpAddr::is_ipv6),
                ifindex,
                holders,
                privilege: attempt.before.credentials.is_none()
                    || attempt.before.unprivileged_port_start.is_none(),
                ..Self::default()
            },
            libc::ENODEV => Self {
                interface: ifindex,
                ..Self::default()
            },
            _ => return None,
        })
    }

    fn of_connect(attempt: &Attempt, errno: i32) -> Option<Self> {
        let asked = attempt.effective.or(attempt.requested)?;
        let source = attempt
            .local
            .map(|local| local.ip)
            .filter(|ip| !ip.is_unspecified());
        let owner = attempt.before.socket.and_then(|socket| socket.uid);
        let way = Way {
            destination: destination(asked.ip),
            source,
            interface: interface(attempt),
            uid: owner.or(attempt.euid),
        };
        let routed = Self {
            route: Some(way),
            // A socket keeps the address that it was bound to when the host loses it.
            address: source,
            ..Self::default()
        };
        Some(match errno {
            libc::ENETUNREACH | libc::EHOSTUNREACH | libc::EACCES | libc::EINVAL => routed,
            libc::EADDRNOTAVAIL => Self {
                ports: true,
                ..routed
            },
            libc::EAGAIN => Self {
                ports: true,
                ..Self::default()
            },
            // Who listens here may have no room.
            libc::ETIMEDOUT => Self {
                holders_here: attempt.proto.map(|proto| (proto, asked.port)),
                queue: true,
                ..routed
            },
            // Somebody may listen on another address of this host.
            libc::ECONNREFUSED => Self {
                holders_here: attempt.proto.map(|proto| (proto, asked.port)),
                address: None,
                ..routed
            },
            libc::ENODEV => Self {
                interface: interface(attempt),
                ..Self::default()
            },
            _ => return None,
        })
    }

    /// The port whose holders may be wanted.
    pub(super) fn proto_and_port(self) -> Option<(Proto, u16)> {
        self.holders.or(self.holders_here)
    }

    /// Whether all that is wanted of a namespace is who holds a port.
    pub(super) fn only_holders(self) -> bool {
        let Self {
            lsms,
            namespace,
            ports,
            holders,
            ..
        } = self;
        holders.is_some()
            && self
                == Self {
                    lsms,
                    namespace,
                    ports,
                    holders,
                    ..Self::default()
                }
    }

    /// Whether the namespace has to be entered.
    pub(super) fn enters(self) -> bool {
        let Self {
            lsms, namespace, ..
        } = self;
        self != Self {
            lsms,
            namespace,
            ..Self::default()
        }
    }
}

fn is_error(verdict: Option<i32>) -> bool {
    verdict.is_some_and(|verdict| verdict != 0)
}

/// Where the socket is bound to an interface, or the address has a scope.
fn interface(attempt: &Attempt) -> Option<u32> {
    let scope = attempt.requested.map(|asked| asked.scope_id);
    attempt.ifindex.or(scope.filter(|&scope| scope != 0))
}
