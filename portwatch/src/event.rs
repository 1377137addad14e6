//! The stream: what portwatch says about a machine's bind and connect attempts.
//!
//! Plain values without I/O. Printers turn them into text or JSON (docs/EVENTS.md has the
//! fields); a field that is not known is `None`, never a guess.

mod cause;
mod lookup;
mod origin;
#[cfg(test)]
pub(crate) mod sample;
mod system;
mod watch;

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

pub use self::{
    cause::{
        AcceptQueue, Binder, Candidate, Cause, Code, Confidence, Fix, Holder, Holders,
        HoldingProcess, SocketState,
    },
    lookup::{Lookup, Unseen},
    origin::{Cgroup, Container, IfName, Process, Runtime},
    system::{System, Version},
    watch::{Degradation, Degraded, LossReason, Lost, MissingHook, Place, Start, Summary, Unended},
};
use crate::errno::Errno;

/// One item of the stream, before it has a sequence number.
#[derive(Clone, Debug)]
pub enum Event {
    Start(Box<Start>),
    Attempt(Attempt),
    /// An attempt that was told of before is still pending: for whoever waits for its end
    Pending(StillPending),
    Outcome(OutcomeOf),
    Lost(Lost),
    Degraded(Degraded),
    Summary(Box<Summary>),
}

/// Nanoseconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time(pub i64);

/// One bind() or connect() call, from its entry to its return.
#[expect(
    clippy::struct_excessive_bools,
    reason = "each tells of something else"
)]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    pub id: AttemptId,
    /// When the call began
    pub time: Time,
    /// Whose kernel it was made on
    pub system: System,
    pub op: Op,
    pub via: Option<Via>,
    /// Thread group (what users call the pid) and thread, in the host's numbering
    pub tgid: u32,
    pub tid: u32,
    /// Thread group of the parent
    pub ppid: Option<u32>,
    /// Its parents' thread groups, the nearest first, as far as they are known; looked up only
    /// where a filter asks for them
    pub ancestors: Option<Arc<[u32]>>,
    /// When the thread group began, nanoseconds since boot (`CLOCK_BOOTTIME`)
    pub process_start: Option<u64>,
    pub comm: Comm,
    /// What the process runs
    pub process: Option<Arc<Process>>,
    /// Real and effective ids, host numbering
    pub uid: u32,
    pub euid: Option<u32>,
    pub gid: Option<u32>,
    /// Family of the address that was passed
    pub family: Option<Family>,
    pub proto: Option<Proto>,
    /// What was asked for
    pub requested: Option<Requested>,
    /// Length that was passed with the address, in bytes; `None` where it was not seen
    pub address_len: Option<i32>,
    /// What the protocol was given instead, where a cgroup BPF program rewrote it
    pub effective: Option<Requested>,
    /// The socket's own end after the call
    pub local: Option<Local>,
    /// The descriptor as passed
    pub fd: Option<i32>,
    /// Of the socket's file, as in `socket:[4711]`: every descriptor of the socket has it
    pub inode: Option<u32>,
    /// 0 or a negative errno, in the system's own numbers
    pub ret: Option<i32>,
    pub latency: Option<Duration>,
    /// Inode of the socket's network namespace
    pub netns: Option<u32>,
    /// cgroup v2 id of the caller
    pub cgroup_id: Option<u64>,
    pub cgroup: Option<Arc<Cgroup>>,
    /// `SO_BINDTODEVICE`
    pub ifindex: Option<u32>,
    pub ifname: Option<IfName>,
    pub options: Option<Options>,
    /// `IP_LOCAL_PORT_RANGE`, where the socket has one
    pub port_range: Option<PortRange>,
    /// Of a bind: whether the port is one that needs a privilege in the socket's network namespace
    pub privileged: Option<bool>,
    /// The socket was connecting already: no new attempt
    pub repeat: bool,
    /// A signal ended the call, and the kernel begins it anew unless a handler keeps it from that
    /// (`ERESTARTSYS`)
    pub interrupted: bool,
    /// The call returned 0 before its SYN was sent, which goes with the first data
    /// (`TCP_FASTOPEN_CONNECT`): how it ends is still to come
    pub deferred: bool,
    /// Denied by seccomp before the call's own function was entered
    pub seccomp: bool,
    pub stages: Stages,
    pub before: Before,
    /// TCP's answer was a reset (`RST`): nobody listens. False also where that was not seen
    pub reset: bool,
    /// Why it failed, or why it succeeded where that would surprise
    pub cause: Option<Arc<Cause>>,
}

/// Which attempt an outcome belongs to; unique while portwatch runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AttemptId {
    pub start_ns: u64,
    pub tid: u32,
}

/// What each station of the call returned, as far as it was seen: 0 or a negative errno.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stages {
    pub lsm: Option<i32>,
    /// Which security module it was
    pub lsm_name: Option<Lsm>,
    pub cgroup: Option<i32>,
    pub operation: Option<i32>,
    pub get_port: Option<i32>,
    pub connect: Option<i32>,
    /// TCP was in `SYN_SENT`: the destination was routed and a source address found. A port that
    /// was lacking is found out after that. False also where it was not seen
    pub syn_sent: bool,
}

/// A Linux security module that can refuse bind and connect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lsm {
    Apparmor,
    Bpf,
    Landlock,
    Selinux,
    Smack,
    Tomoyo,
}

impl Lsm {
    pub const ALL: [Self; 6] = [
        Self::Apparmor,
        Self::Bpf,
        Self::Landlock,
        Self::Selinux,
        Self::Smack,
        Self::Tomoyo,
    ];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Apparmor => "apparmor",
            Self::Bpf => "bpf",
            Self::Landlock => "landlock",
            Self::Selinux => "selinux",
            Self::Smack => "smack",
            Self::Tomoyo => "tomoyo",
        }
    }
}

/// What the kernel decided by: the state before the call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Before {
    pub socket: Option<SocketBefore>,
    /// Inode of the user namespace that owns the socket's network namespace
    pub net_user_ns: Option<u32>,
    /// How deep it lies below the initial one, which has 0
    pub net_user_ns_level: Option<u32>,
    /// Who made it, host's numbering: has all capabilities in it, from the user namespace above
    pub net_user_ns_owner: Option<u32>,
    /// `net.ipv4.ip_unprivileged_port_start` of the socket's network namespace
    pub unprivileged_port_start: Option<u32>,
    pub credentials: Option<Credentials>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SocketBefore {
    /// `TCP_*` (include/net/tcp_states.h)
    pub state: u8,
    /// `SS_*` (include/uapi/linux/net.h)
    pub socket_state: u8,
    /// The port it was bound to, 0 for none
    pub port: u16,
    /// Owner of the socket, host's numbering: whoever made it, not who calls
    pub uid: Option<u32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Credentials {
    /// `CapEff`
    pub cap_effective: u64,
    /// Inode of the caller's user namespace
    pub user_ns: u32,
    /// How deep it lies below the initial one, which has 0
    pub level: Option<u32>,
}

impl Attempt {
    /// How it ended, as far as the call's return tells: pending where it does not. A connect that a
    /// signal interrupts goes on.
    pub fn outcome(&self) -> Outcome {
        match self.ret {
            Some(0) if self.deferred => Outcome::Pending,
            Some(0) => Outcome::Ok,
            Some(_) => match (self.op, self.errno()) {
                (_, Some(Errno::EINPROGRESS)) | (Op::Connect, Some(Errno::EINTR)) => {
                    Outcome::Pending
                }
                _ => Outcome::Failed,
            },
            None => Outcome::Pending,
        }
    }

    /// Whether it is a connect whose end the call's return does not tell.
    pub fn is_open(&self) -> bool {
        self.op == Op::Connect && !self.repeat && self.outcome() == Outcome::Pending
    }

    /// Whether the source is to tell that end: TCP has begun to connect, and its socket is followed.
    pub fn is_followed(&self) -> bool {
        self.is_open() && self.stages.connect == Some(0)
    }

    pub fn errno(&self) -> Option<Errno> {
        self.ret.and_then(|ret| self.system.errno(ret))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Op {
    Bind,
    Connect,
    /// listen() on a socket that was not bound, which binds it
    Listen,
}

impl Op {
    pub const ALL: [Self; 3] = [Self::Bind, Self::Connect, Self::Listen];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Bind => "bind",
            Self::Connect => "connect",
            Self::Listen => "listen",
        }
    }
}

/// How an attempt came to the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Via {
    Syscall,
    Compat32,
    IoUring,
    /// With the first data: sendto() and the like with `MSG_FASTOPEN`
    FastOpen,
    /// By a socket option of SCTP: `sctp_bindx()`, of which each address is an attempt
    Bindx,
    /// Likewise, `sctp_connectx()`
    Connectx,
    Kernel,
}

impl Via {
    pub const ALL: [Self; 5] = [
        Self::Syscall,
        Self::Compat32,
        Self::IoUring,
        Self::FastOpen,
        Self::Kernel,
    ];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Syscall => "syscall",
            Self::Compat32 => "compat32",
            Self::IoUring => "io_uring",
            Self::FastOpen => "fastopen",
            Self::Bindx => "bindx",
            Self::Connectx => "connectx",
            Self::Kernel => "kernel",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    Ok,
    Failed,
    Pending,
    /// The socket of a pending connect was closed before there was an answer
    Abandoned,
}

impl Outcome {
    pub const ALL: [Self; 4] = [Self::Ok, Self::Failed, Self::Pending, Self::Abandoned];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Failed => "failed",
            Self::Pending => "pending",
            Self::Abandoned => "abandoned",
        }
    }
}

/// The family of the address that was passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    Ipv4,
    Ipv6,
    /// `AF_UNSPEC`: connect() with it dissolves an association
    Unspec,
    Other(u16),
}

impl Family {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ipv4 => "ipv4",
            Self::Ipv6 => "ipv6",
            Self::Unspec => "unspec",
            Self::Other(_) => "other",
        }
    }
}

/// The address that was passed, as far as it could be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Requested {
    pub ip: IpAddr,
    pub port: u16,
    /// IPv6 scope id, 0 where there is none
    pub scope_id: u32,
}

impl Requested {
    pub const fn socket_addr(self) -> SocketAddr {
        SocketAddr::new(self.ip, self.port)
    }
}

/// The ports that the kernel may choose from for one socket, both ends included; 0 for an end
/// without a limit of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortRange {
    pub first: u16,
    pub last: u16,
}

impl PortRange {
    /// `None` for the range of a socket that has none.
    pub fn new(first: u16, last: u16) -> Option<Self> {
        (first != 0 || last != 0).then_some(Self { first, last })
    }
}

/// The socket's own end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Local {
    pub ip: IpAddr,
    /// `None` for sockets that have no ports (raw)
    pub port: Option<u16>,
}

/// The socket's protocol: an `IPPROTO_*` number, or raw.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Proto {
    /// A `SOCK_RAW` socket, whatever its protocol number
    Raw,
    /// `IPPROTO_*`
    Ip(u16),
}

impl Proto {
    fn with_names() -> impl Iterator<Item = Self> {
        const NAMED: [u16; 10] = [1, 6, 17, 33, 58, 115, 132, 136, 256, 262];
        NAMED.into_iter().map(Self::Ip).chain([Self::Raw])
    }

    /// Every name that a protocol has.
    pub fn names() -> impl Iterator<Item = &'static str> {
        Self::with_names().filter_map(Self::name)
    }

    /// By its name, or as one without a name is shown: `proto-99`.
    pub fn named(name: &str) -> Option<Self> {
        let mut named = Self::with_names().filter(|proto| proto.name() == Some(name));
        named.next().or_else(|| {
            let number = name.strip_prefix("proto-")?;
            number.parse().ok().map(Self::Ip)
        })
    }

    /// `tcp`; `None` for a number without a name (include/uapi/linux/in.h).
    pub const fn name(self) -> Option<&'static str> {
        Some(match self {
            Self::Raw => "raw",
            Self::Ip(1) => "icmp",
            Self::Ip(6) => "tcp",
            Self::Ip(17) => "udp",
            Self::Ip(33) => "dccp",
            Self::Ip(58) => "icmpv6",
            Self::Ip(115) => "l2tp",
            Self::Ip(132) => "sctp",
            Self::Ip(136) => "udplite",
            Self::Ip(256) => "smc",
            Self::Ip(262) => "mptcp",
            Self::Ip(_) => return None,
        })
    }
}

/// Socket options that decide about ports, as the call ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is an independent option of the socket"
)]
pub struct Options {
    pub reuseaddr: bool,
    pub reuseport: bool,
    pub freebind: bool,
    pub transparent: bool,
    pub bind_address_no_port: bool,
    pub v6only: bool,
    pub nonblock: bool,
    pub broadcast: bool,
}

impl Options {
    /// The names of those that are set, in a fixed order.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        let Self {
            reuseaddr,
            reuseport,
            freebind,
            transparent,
            bind_address_no_port,
            v6only,
            nonblock,
            broadcast,
        } = self;
        [
            (reuseaddr, "reuseaddr"),
            (reuseport, "reuseport"),
            (freebind, "freebind"),
            (transparent, "transparent"),
            (bind_address_no_port, "bind_address_no_port"),
            (v6only, "v6only"),
            (nonblock, "nonblock"),
            (broadcast, "broadcast"),
        ]
        .into_iter()
        .filter_map(|(set, name)| set.then_some(name))
    }
}

/// A thread's command name: up to 15 bytes that the process itself chose, of any value but NUL.
///
/// It has no `Display`: whoever shows it decides how to make it harmless.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Comm([u8; 16]);

impl Comm {
    /// From the kernel's `task_struct.comm`: ends at the first NUL.
    pub const fn new(raw: [u8; 16]) -> Self {
        Self(raw)
    }

    /// From a name of any length, cut as the kernel cuts it (`strscpy` in `__set_task_comm`).
    pub fn cut(name: &[u8]) -> Self {
        let mut raw = [0; 16];
        let length = name.len().min(raw.len() - 1);
        raw[..length].copy_from_slice(&name[..length]);
        Self(raw)
    }

    pub fn as_bytes(&self) -> &[u8] {
        self.0.split(|&byte| byte == 0).next().unwrap_or_default()
    }
}

impl fmt::Debug for Comm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.as_bytes().escape_ascii())
    }
}

/// How a connect that was pending ended, as the source tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended {
    pub id: AttemptId,
    pub time: Time,
    /// From the call's entry
    pub latency: Duration,
    pub end: End,
    /// A reset (`RST`) ended it. False also where that was not seen
    pub reset: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    Connected,
    /// A negative errno
    Failed(i32),
    /// The socket was closed, or connected to nothing, before there was an answer
    Abandoned,
}

impl End {
    /// Of a call that has returned so.
    pub const fn of(ret: i32) -> Self {
        if ret == 0 {
            Self::Connected
        } else {
            Self::Failed(ret)
        }
    }

    /// 0 or a negative errno, where there was one.
    pub const fn ret(self) -> Option<i32> {
        match self {
            Self::Connected => Some(0),
            Self::Failed(ret) => Some(ret),
            Self::Abandoned => None,
        }
    }

    pub const fn outcome(self) -> Outcome {
        match self {
            Self::Connected => Outcome::Ok,
            Self::Failed(_) => Outcome::Failed,
            Self::Abandoned => Outcome::Abandoned,
        }
    }
}

/// A connect that is pending for long, or whose end will not be told any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StillPending {
    /// Number of the attempt
    pub seq: u64,
    pub attempt: Attempt,
}

/// How a connect that was pending ended, as it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutcomeOf {
    /// Number of the attempt
    pub seq: u64,
    pub attempt: Attempt,
    pub ended: Ended,
    /// It was told of as pending before
    pub lasted: bool,
    pub cause: Option<Arc<Cause>>,
}

impl OutcomeOf {
    pub const fn new(seq: u64, attempt: Attempt, ended: Ended) -> Self {
        Self {
            seq,
            attempt,
            ended,
            lasted: false,
            cause: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_protocol_leads_back_to_it() {
        for proto in (0..=u16::MAX).map(Proto::Ip).chain([Proto::Raw]) {
            if let Some(name) = proto.name() {
                assert_eq!(Proto::named(name), Some(proto));
            }
        }
        assert_eq!(Proto::named("proto-99"), Some(Proto::Ip(99)));
        assert_eq!(Proto::named("tcpp"), None);
    }
}
