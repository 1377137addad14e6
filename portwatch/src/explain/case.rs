//! One attempt with what is known beside it, and what follows from both.

use std::{
    net::{IpAddr, SocketAddr},
    os::unix::ffi::OsStrExt as _,
    path::Path,
    time::Duration,
};

use super::{Facts, Namespace, conflict::Transport, quote};
use crate::event::{
    Attempt, Comm, Confidence, Container, Credentials, IfName, Options, Proto, Requested,
    SocketBefore,
};

/// Include/net/tcp_states.h; other protocols use them too.
pub(super) const TCP_ESTABLISHED: u8 = 1;
pub(super) const TCP_CLOSE: u8 = 7;
pub(super) const TCP_LISTEN: u8 = 10;
/// include/uapi/linux/net.h
pub(super) const SS_CONNECTING: u8 = 2;

#[derive(Clone, Copy)]
pub(super) struct Case<'a> {
    pub(super) attempt: &'a Attempt,
    pub(super) facts: &'a Facts,
}

/// A value, and what it rests on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Known<T> {
    pub(super) value: T,
    pub(super) confidence: Confidence,
}

impl<T> Known<T> {
    /// As it was at the call, or else as it was found afterwards.
    fn of(then: Option<T>, later: Option<T>) -> Option<Self> {
        let known = |confidence| move |value| Self { value, confidence };
        then.map(known(Confidence::Derived))
            .or_else(|| later.map(known(Confidence::Checked)))
    }
}

impl<'a> Case<'a> {
    /// The address that the protocol was given.
    pub(super) fn asked(&self) -> Option<Requested> {
        self.attempt.effective.or(self.attempt.requested)
    }

    pub(super) fn ip(&self) -> Option<IpAddr> {
        self.asked().map(|asked| asked.ip)
    }

    /// `0` included: the kernel is to choose.
    pub(super) fn port(&self) -> Option<u16> {
        self.asked().map(|asked| asked.port)
    }

    /// `127.0.0.1:80`, or what can be said instead.
    pub(super) fn target(&self) -> String {
        self.asked().map_or_else(
            || "the address".to_owned(),
            |asked| asked.socket_addr().to_string(),
        )
    }

    /// `nginx (uid 33)`; the effective user, which is the one that counts.
    pub(super) fn who(&self) -> String {
        let uid = self.attempt.euid.unwrap_or(self.attempt.uid);
        format!("{} (uid {uid})", self.name())
    }

    pub(super) fn name(&self) -> String {
        name_of(&self.attempt.comm)
    }

    pub(super) fn is_root(&self) -> bool {
        self.attempt.euid == Some(0)
    }

    pub(super) fn transport(&self) -> Option<Transport> {
        Transport::of(self.attempt.proto?)
    }

    pub(super) fn is_tcp(&self) -> bool {
        self.transport() == Some(Transport::Tcp)
    }

    pub(super) fn is_udp(&self) -> bool {
        matches!(self.transport(), Some(Transport::Udp | Transport::UdpLite))
    }

    /// A socket of `SOCK_DGRAM` and `IPPROTO_ICMP` or `IPPROTO_ICMPV6`.
    pub(super) fn is_ping(&self) -> bool {
        matches!(self.attempt.proto, Some(Proto::Ip(1 | 58)))
    }

    /// Whether it is an IPv6 socket, whatever address was passed.
    pub(super) fn is_ipv6_socket(&self) -> Option<bool> {
        self.attempt.local.map(|local| local.ip.is_ipv6())
    }

    /// Whether a security module returned an error.
    pub(super) fn is_refused_by_module(&self) -> bool {
        self.attempt.stages.lsm.is_some_and(|ret| ret != 0)
    }

    pub(super) fn before(&self) -> Option<SocketBefore> {
        self.attempt.before.socket
    }

    /// The port that the socket had before the call, where it had one.
    pub(super) fn bound_port(&self) -> Option<u16> {
        self.before()
            .map(|before| before.port)
            .filter(|&port| port != 0)
    }

    pub(super) fn option(&self, option: fn(Options) -> bool) -> Option<bool> {
        self.attempt.options.map(option)
    }

    /// `net.ipv4.ip_unprivileged_port_start`
    pub(super) fn threshold(&self) -> Option<Known<u32>> {
        Known::of(
            self.attempt.before.unprivileged_port_start,
            self.facts.unprivileged_port_start,
        )
    }

    pub(super) fn credentials(&self) -> Option<Known<Credentials>> {
        Known::of(self.attempt.before.credentials, self.facts.credentials)
    }

    /// From the call to the look at what is beside it.
    pub(super) fn delay(&self) -> Option<Duration> {
        let nanoseconds = self.facts.taken?.0.checked_sub(self.attempt.time.0)?;
        u64::try_from(nanoseconds).ok().map(Duration::from_nanos)
    }

    pub(super) fn container(&self) -> Option<&'a Container> {
        self.attempt.cgroup.as_deref()?.container.as_ref()
    }

    /// The systemd unit that the caller is in; not of a user's own service manager, whose units can
    /// be given no privileges, and not what runs a container.
    pub(super) fn service(&self) -> Option<&'a str> {
        let cgroup = self.attempt.cgroup.as_deref()?;
        let unit = cgroup.unit.as_deref()?;
        (unit.ends_with(".service")
            && !cgroup.path.contains("/user@")
            && cgroup.container.is_none())
        .then_some(unit)
    }

    /// What the caller runs, where that is a file with a path that holds on the host.
    pub(super) fn executable(&self) -> Option<&'a Path> {
        let exe = self.attempt.process.as_deref()?.exe.as_deref()?;
        let deleted = exe.as_os_str().as_bytes().ends_with(b" (deleted)");
        (exe.is_absolute() && !deleted && self.container().is_none()).then_some(exe)
    }

    /// A command of an administrator that must run in the attempt's network namespace.
    pub(super) fn in_namespace(&self, command: &str) -> String {
        let enter = || format!("sudo nsenter -t {} -n {command}", self.attempt.tgid);
        match &self.facts.namespace {
            Some(Namespace::Named(name)) => {
                format!(
                    "sudo ip netns exec {} {command}",
                    quote::word(name.as_bytes())
                )
            }
            Some(Namespace::Other) => enter(),
            None if self.container().is_some() => enter(),
            Some(Namespace::Own) | None => format!("sudo {command}"),
        }
    }
}

pub(super) fn name_of(comm: &Comm) -> String {
    let name = quote::shown(comm.as_bytes());
    if name.is_empty() {
        "the process".to_owned()
    } else {
        name
    }
}

pub(super) fn interface(name: IfName) -> String {
    quote::shown(name.as_bytes())
}

/// `10.0.0.1:80`, without the port where there is none.
pub(super) fn endpoint(ip: IpAddr, port: Option<u16>) -> String {
    port.map_or_else(
        || ip.to_string(),
        |port| SocketAddr::new(ip, port).to_string(),
    )
}
