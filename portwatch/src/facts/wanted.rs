//! Which look-ups help to explain an error.

use std::net::IpAddr;

use super::Way;
use crate::event::{Attempt, Op, Proto};

/// What is to be looked up about an attempt.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Wanted {
    pub(super) lsms: bool,
    pub(super) ports: bool,
    pub(super) holders: Option<(Proto, u16)>,
    pub(super) address: Option<IpAddr>,
    /// The interface that the address is wanted on
    pub(super) ifindex: Option<u32>,
    pub(super) route: Option<Way>,
    pub(super) interface: Option<u32>,
}

impl Wanted {
    /// By the operation and its error. Where the answer is in the attempt already, nothing is.
    pub(super) fn by(attempt: &Attempt, ret: i32) -> Self {
        let errno = -ret;
        let lsms = attempt.stages.lsm.is_some_and(|verdict| verdict != 0)
            || matches!(errno, libc::EACCES | libc::EPERM);
        let refused = attempt.seccomp
            || [attempt.stages.lsm, attempt.stages.cgroup]
                .iter()
                .any(|verdict| verdict.is_some_and(|verdict| verdict != 0));
        if refused {
            return Self {
                lsms,
                ..Self::default()
            };
        }
        let looked_up = match attempt.op {
            Op::Bind | Op::Listen => Self::of_bind(attempt, errno),
            Op::Connect => Self::of_connect(attempt, errno),
        };
        Self {
            lsms,
            ..looked_up.unwrap_or_default()
        }
    }

    fn of_bind(attempt: &Attempt, errno: i32) -> Option<Self> {
        let asked = attempt.effective.or(attempt.requested)?;
        let ifindex = interface(attempt);
        Some(match errno {
            libc::EADDRINUSE => Self {
                ports: true,
                // Port 0: there was none left.
                holders: attempt
                    .proto
                    .map(|proto| (proto, asked.port))
                    .filter(|&(_, port)| port != 0),
                ..Self::default()
            },
            libc::EADDRNOTAVAIL => Self {
                address: Some(asked.ip),
                ifindex,
                ..Self::default()
            },
            libc::ENODEV => Self {
                interface: ifindex,
                ..Self::default()
            },
            _ => Self::default(),
        })
    }

    fn of_connect(attempt: &Attempt, errno: i32) -> Option<Self> {
        let asked = attempt.effective.or(attempt.requested)?;
        let source = attempt
            .local
            .map(|local| local.ip)
            .filter(|ip| !ip.is_unspecified());
        let way = Way {
            destination: asked.ip,
            source,
            interface: interface(attempt),
            uid: attempt
                .before
                .socket
                .and_then(|socket| socket.uid)
                .or(attempt.euid),
        };
        let ports = matches!(errno, libc::EADDRNOTAVAIL | libc::EAGAIN);
        let route = matches!(
            errno,
            libc::ENETUNREACH
                | libc::EHOSTUNREACH
                | libc::EACCES
                | libc::EINVAL
                | libc::ETIMEDOUT
                | libc::EADDRNOTAVAIL
        );
        Some(Self {
            ports,
            // A socket keeps the address that it was bound to when the host loses it.
            address: source.filter(|_| route),
            ifindex: None,
            route: route.then_some(way),
            interface: interface(attempt).filter(|_| errno == libc::ENODEV),
            ..Self::default()
        })
    }

    /// Whether anything but what is known already is wanted.
    pub(super) fn looks_up(self) -> bool {
        let Self { lsms, .. } = self;
        self != Self {
            lsms,
            ..Self::default()
        }
    }
}

/// Where the socket is bound to an interface, or the address has a scope.
fn interface(attempt: &Attempt) -> Option<u32> {
    let scope = attempt.requested.map(|asked| asked.scope_id);
    attempt.ifindex.or(scope.filter(|&scope| scope != 0))
}
