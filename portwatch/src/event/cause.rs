//! Why an attempt ended as it did, what to do about it, and who holds the port.

use std::{net::IpAddr, path::PathBuf, sync::Arc};

use super::{Cgroup, Comm, Lookup, Time, Unseen};

/// Why an attempt ended as it did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cause {
    pub code: Code,
    /// One sentence, with the actual numbers in it
    pub text: String,
    /// What to do, the best first: the least dangerous of what helps
    pub fixes: Vec<Fix>,
    pub confidence: Confidence,
    /// What the cause was concluded from, in the kernel's terms
    pub evidence: Vec<String>,
    /// What would have stopped the call next, had this cause not been there
    pub next: Vec<String>,
    /// Of `EADDRINUSE`: whoever has the port
    pub holders: Vec<Holder>,
    /// Why the port may have more holders than these; `None` where these are all
    pub holders_unseen: Option<Unseen>,
    /// Where nothing that was seen tells several causes apart: all of them, the likeliest first,
    /// whose code is the cause's
    pub candidates: Vec<Candidate>,
}

/// One of several causes that fit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    pub code: Code,
    pub text: String,
}

/// One thing to do about a cause.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fix {
    /// In words: `let nginx open low ports`
    pub what: String,
    /// The exact command or setting, ready to paste; `None` where there is none (a change in a program)
    pub command: Option<String>,
    /// What else it allows; `None` where it allows nothing more
    pub opens: Option<String>,
}

/// What a cause rests on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Confidence {
    /// The kernel's own verdict at a station was seen
    Observed,
    /// From the socket and the credentials as they were at the call
    Derived,
    /// Looked up afterwards: things may have changed
    Checked,
    /// The likeliest of several that nothing tells apart
    Likely,
}

impl Confidence {
    pub const ALL: [Self; 4] = [Self::Observed, Self::Derived, Self::Checked, Self::Likely];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Observed => "observed",
            Self::Derived => "derived",
            Self::Checked => "checked",
            Self::Likely => "likely",
        }
    }
}

/// A socket that has a port, and whose it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// Not there: no process has it open, as of `TIME_WAIT`, orphans and the kernel's own sockets
    pub process: Lookup<HoldingProcess>,
    /// Owner of the socket, host's numbering
    pub uid: Option<u32>,
    pub state: SocketState,
    pub ip: IpAddr,
    pub port: u16,
    /// The far end, where it is connected
    pub peer: Option<(IpAddr, u16)>,
    /// In sockfs; `None` where it has none
    pub inode: Option<u64>,
    /// When portwatch saw it bound
    pub since: Option<Time>,
    /// Who was seen to bind it then, whoever holds it now
    pub bound_by: Option<Binder>,
    /// Proven to be the kernel's own socket: NFS, WireGuard, VXLAN …
    pub kernel: bool,
    /// What decides whether a port can be shared; `None` where it could not be read
    pub reuseaddr: Option<bool>,
    pub reuseport: Option<bool>,
    pub v6only: Option<bool>,
    /// `SO_BINDTODEVICE`
    pub ifindex: Option<u32>,
    /// Accept queue of a listener; `None` also where it was not looked at
    pub queue: Option<AcceptQueue>,
}

/// The connections of a listener that wait for accept(), as sock_diag(7) shows them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AcceptQueue {
    pub waiting: u32,
    /// Length that listen() asked for, at most `net.core.somaxconn`
    pub backlog: u32,
}

impl AcceptQueue {
    /// The queue has one place more than the backlog (`sk_acceptq_is_full`, include/net/sock.h). While
    /// it is full, Linux drops each SYN (`tcp_conn_request`, net/ipv4/tcp_input.c), and resets none:
    /// `tcp_abort_on_overflow` is about the end of a handshake that began before (`tcp_check_req`,
    /// net/ipv4/tcp_minisocks.c).
    pub const fn is_full(self) -> bool {
        self.waiting > self.backlog
    }
}

/// Sockets on a port, and whether these are all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holders {
    pub found: Vec<Holder>,
    /// Why there may be more; `None` where the look was complete and permitted
    pub unseen: Option<Unseen>,
}

impl Holders {
    pub const NOT_ASKED: Self = Self::not_seen(Unseen::NotAsked);

    /// All that there are.
    pub const fn all(found: Vec<Holder>) -> Self {
        Self {
            found,
            unseen: None,
        }
    }

    pub const fn not_seen(why: Unseen) -> Self {
        Self {
            found: Vec::new(),
            unseen: Some(why),
        }
    }

    /// The first that `is_it` holds of.
    pub fn find(&self, is_it: impl Fn(&Holder) -> bool) -> Lookup<&Holder> {
        let found = self.found.iter().find(|holder| is_it(holder));
        match (found, self.unseen) {
            (Some(holder), _) => Lookup::Found(holder),
            (None, Some(why)) => Lookup::NotSeen(why),
            (None, None) => Lookup::NotThere,
        }
    }
}

impl Default for Holders {
    fn default() -> Self {
        Self::NOT_ASKED
    }
}

/// A process that has a socket open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HoldingProcess {
    pub tgid: u32,
    /// Its descriptor of the socket, if that was seen
    pub fd: Option<i32>,
    pub comm: Comm,
    pub exe: Option<PathBuf>,
    pub cgroup: Option<Arc<Cgroup>>,
}

/// A process that was seen to bind a socket. It may have ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Binder {
    pub tgid: u32,
    pub comm: Comm,
}

/// What a socket is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SocketState {
    /// Has a port, and neither listens nor is connected
    Bound,
    Listen,
    Established,
    SynSent,
    SynRecv,
    FinWait1,
    FinWait2,
    TimeWait,
    CloseWait,
    LastAck,
    Closing,
}

impl SocketState {
    pub const ALL: [Self; 11] = [
        Self::Bound,
        Self::Listen,
        Self::Established,
        Self::SynSent,
        Self::SynRecv,
        Self::FinWait1,
        Self::FinWait2,
        Self::TimeWait,
        Self::CloseWait,
        Self::LastAck,
        Self::Closing,
    ];

    /// From the kernel's number (`TCP_*`, include/net/tcp_states.h).
    pub const fn from_kernel(state: u8) -> Option<Self> {
        Some(match state {
            1 => Self::Established,
            2 => Self::SynSent,
            3 | 12 => Self::SynRecv,
            4 => Self::FinWait1,
            5 => Self::FinWait2,
            6 => Self::TimeWait,
            // TCP_CLOSE of a socket that has a port, TCP_BOUND_INACTIVE
            7 | 13 => Self::Bound,
            8 => Self::CloseWait,
            9 => Self::LastAck,
            10 => Self::Listen,
            11 => Self::Closing,
            _ => return None,
        })
    }

    pub const fn name(self) -> &'static str {
        match self {
            Self::Bound => "bound",
            Self::Listen => "listen",
            Self::Established => "established",
            Self::SynSent => "syn_sent",
            Self::SynRecv => "syn_recv",
            Self::FinWait1 => "fin_wait1",
            Self::FinWait2 => "fin_wait2",
            Self::TimeWait => "time_wait",
            Self::CloseWait => "close_wait",
            Self::LastAck => "last_ack",
            Self::Closing => "closing",
        }
    }
}

macro_rules! codes {
    ($($(#[$doc:meta])* $code:ident $name:literal)*) => {
        /// The causes that portwatch can name. The words are part of the stream's format.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Code { $($(#[$doc])* $code,)* }

        impl Code {
            pub const ALL: &[Self] = &[$(Self::$code),*];

            pub const fn name(self) -> &'static str {
                match self { $(Self::$code => $name,)* }
            }
        }
    };
}

codes! {
    // Any operation, before a protocol is reached
    SeccompDenied "seccomp_denied"
    BadDescriptor "bad_descriptor"
    NotASocket "not_a_socket"
    BadPointer "bad_pointer"
    BadAddressLength "bad_address_length"
    OutOfMemory "out_of_memory"
    LandlockDenied "landlock_denied"
    ApparmorDenied "apparmor_denied"
    SelinuxDenied "selinux_denied"
    SmackDenied "smack_denied"
    TomoyoDenied "tomoyo_denied"
    BpfLsmDenied "bpf_lsm_denied"
    /// A security module, and it was not seen which
    LsmDenied "lsm_denied"
    CgroupBpfDenied "cgroup_bpf_denied"
    WrongFamily "wrong_family"
    // bind: the address
    AddressNotLocal "address_not_local"
    AddressInOtherNamespace "address_in_other_namespace"
    AddressInVrf "address_in_vrf"
    AddressTentative "address_tentative"
    AddressDadFailed "address_dad_failed"
    AddressOnOtherInterface "address_on_other_interface"
    Ipv6Disabled "ipv6_disabled"
    /// No socket of that family can be made
    KernelWithoutIpv6 "kernel_without_ipv6"
    /// Multicast for a ping socket, a mapped address for a raw one …
    AddressNotUsable "address_not_usable"
    MulticastStream "multicast_stream"
    MappedV6Only "mapped_v6only"
    LinkLocalWithoutScope "link_local_without_scope"
    InterfaceGone "interface_gone"
    // bind: the port
    LowPortNoCapability "low_port_no_capability"
    /// Full capabilities, in a user namespace that does not own the network namespace
    LowPortForeignUserNamespace "low_port_foreign_user_namespace"
    /// The capability is there: a security module refused its use
    LowPortCapabilityDenied "low_port_capability_denied"
    PortInUse "port_in_use"
    /// One of the two sockets lacks `SO_REUSEADDR`
    PortInUseReuseaddrOneSide "port_in_use_reuseaddr_one_side"
    /// Both have it, but the holder listens
    PortInUseReuseaddrListening "port_in_use_reuseaddr_listening"
    PortInUseReuseportOneSide "port_in_use_reuseport_one_side"
    PortInUseReuseportOtherUser "port_in_use_reuseport_other_user"
    /// An IPv6 wildcard socket takes the IPv4 port too
    PortInUseDualStack "port_in_use_dual_stack"
    PortInUseTimeWait "port_in_use_time_wait"
    /// The local end of a connection
    PortInUseConnection "port_in_use_connection"
    PortInUseKernel "port_in_use_kernel"
    /// Nobody has it any more
    PortInUseHolderGone "port_in_use_holder_gone"
    PingIdentifierInUse "ping_identifier_in_use"
    EphemeralPortsExhausted "ephemeral_ports_exhausted"
    /// Those of the socket's own range, `IP_LOCAL_PORT_RANGE`
    OwnPortRangeExhausted "own_port_range_exhausted"
    // The state of the socket
    AlreadyBound "already_bound"
    SocketNotClosed "socket_not_closed"
    AlreadyConnecting "already_connecting"
    AlreadyConnected "already_connected"
    SocketListening "socket_listening"
    // connect: the route
    NoRoute "no_route"
    RouteUnreachable "route_unreachable"
    RouteProhibited "route_prohibited"
    RouteBlackhole "route_blackhole"
    MulticastDestination "multicast_destination"
    SourceAddressGone "source_address_gone"
    LoopbackSource "loopback_source"
    MappedSource "mapped_source"
    NoSourceAddress "no_source_address"
    BroadcastNotAllowed "broadcast_not_allowed"
    IpsecBlocked "ipsec_blocked"
    TupleInUse "tuple_in_use"
    // connect: the answer
    ConnectInProgress "connect_in_progress"
    SendTimeoutExpired "send_timeout_expired"
    NobodyListens "nobody_listens"
    RejectedByFirewall "rejected_by_firewall"
    /// Refused, and it was not seen by what
    ConnectionRefused "connection_refused"
    /// Established, and reset before the call returned
    ConnectionReset "connection_reset"
    PacketDenied "packet_denied"
    ConnectTimedOut "connect_timed_out"
    /// No answer, and the listener on this host has no room
    AcceptQueueFull "accept_queue_full"
    NeighbourUnreachable "neighbour_unreachable"
    HostUnreachable "host_unreachable"
    NetworkUnreachable "network_unreachable"
    ProtocolUnreachable "protocol_unreachable"
    /// An ICMP error that has an errno of its own
    IcmpError "icmp_error"
    AdminProhibited "admin_prohibited"
    Interrupted "interrupted"
    DisconnectedMeanwhile "disconnected_meanwhile"
    ConnectionAborted "connection_aborted"
    /// The program closed the socket before there was an answer
    GivenUp "given_up"
    // Successes that would surprise
    LowPortAllowedBySysctl "low_port_allowed_by_sysctl"
    LowPortAllowedByCapability "low_port_allowed_by_capability"
    LowPortOwnNamespace "low_port_own_namespace"
    PortShared "port_shared"
    NonlocalAddressAllowed "nonlocal_address_allowed"
    NoPortYet "no_port_yet"
    // macOS
    MacosLowPortAddress "macos_low_port_address"
    MacosWildcardExempt "macos_wildcard_exempt"
    MacosRestrictedPort "macos_restricted_port"
    MacosPolicyDenied "macos_policy_denied"
    /// Nothing of the above fits: only what the kernel returned, and from where, is known
    Unexplained "unexplained"
}
