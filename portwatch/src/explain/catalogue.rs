//! Every cause in general: which errors it comes with, in which calls, and what helps.

use super::macos;
use crate::{
    errno::Errno,
    event::{self, Code, Op, Version},
};

/// A cause in general.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    pub code: Code,
    /// None for a success that would surprise
    pub errnos: &'static [Errno],
    pub ops: &'static [Op],
    pub system: System,
    /// One sentence
    pub what: &'static str,
    /// What usually helps
    pub fix: &'static str,
}

/// Where a cause exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum System {
    Both,
    Linux,
    MacOs,
}

impl System {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Both => "Linux, macOS",
            Self::Linux => "Linux",
            Self::MacOs => "macOS",
        }
    }
}

/// The causes that this error can have there.
pub fn of(errno: Errno, system: event::System) -> impl Iterator<Item = Entry> {
    all().filter(move |entry| entry.is_on(system) && entry.errnos_on(system).contains(&errno))
}

/// Causes that end in other errors on macOS (bsd/kern/uipc_syscalls.c, uipc_socket.c,
/// bsd/netinet/in_pcb.c, tcp_usrreq.c).
const DARWIN: [(Code, &[Errno]); 5] = [
    (Code::BadPointer, &[Errno::EFAULT, Errno::EDESTADDRREQ]),
    (
        Code::BadAddressLength,
        &[Errno::EINVAL, Errno::ENAMETOOLONG],
    ),
    (Code::MulticastStream, &[Errno::EAFNOSUPPORT]),
    (Code::SocketListening, &[Errno::EOPNOTSUPP]),
    (Code::TupleInUse, &[Errno::EADDRINUSE]),
];

/// Causes that not every macOS has, and the first that does.
const SINCE: [(Code, Version); 2] = [
    (Code::MacosWildcardExempt, macos::WILDCARD_EXEMPT_SINCE),
    (Code::MacosRestrictedPort, macos::RESTRICTED_SINCE),
];

impl Entry {
    /// The errors that it comes with there.
    pub fn errnos_on(&self, system: event::System) -> &'static [Errno] {
        let mut other = DARWIN.iter().filter(|(code, _)| *code == self.code);
        match (system, other.next()) {
            (event::System::MacOs(_), Some((_, errnos))) => errnos,
            _ => self.errnos,
        }
    }

    /// Whether there is such a cause there.
    pub fn is_on(&self, system: event::System) -> bool {
        let begun = |version| {
            let mut since = SINCE.iter().filter(|(code, _)| *code == self.code);
            since.next().is_none_or(|(_, since)| version >= *since)
        };
        match (self.system, system) {
            (System::Both, _) | (System::Linux, event::System::Linux) => true,
            (System::MacOs, event::System::MacOs(version)) => begun(version),
            _ => false,
        }
    }
}

/// Every cause, in the order of the codes.
pub fn all() -> impl Iterator<Item = Entry> {
    Code::ALL.iter().copied().map(entry)
}

const BIND: &[Op] = &[Op::Bind];
const CONNECT: &[Op] = &[Op::Connect];
const BOTH: &[Op] = &[Op::Bind, Op::Connect];
const PORTS: &[Op] = &[Op::Bind, Op::Connect, Op::Listen];

macro_rules! entries {
    ($($code:ident [$($errno:ident)*] $ops:ident $system:ident $what:literal, $fix:literal;)*) => {
        /// What there is to say about a code.
        pub const fn entry(code: Code) -> Entry {
            match code {
                $(Code::$code => Entry {
                    code,
                    errnos: &[$(Errno::$errno),*],
                    ops: $ops,
                    system: System::$system,
                    what: $what,
                    fix: $fix,
                },)*
            }
        }
    };
}

entries! {
    SeccompDenied [EPERM EACCES ENOSYS] BOTH Linux
        "a seccomp filter answered the call, and the kernel's function never ran",
        "allow the call in the filter: SystemCallFilter= of the unit, the container's profile";
    BadDescriptor [EBADF] BOTH Both
        "the descriptor is not open",
        "look for where the program closed it, or for a socket() that failed";
    NotASocket [ENOTSOCK] BOTH Both
        "the descriptor is of something else than a socket",
        "look for a descriptor that was closed and whose number was used again";
    BadPointer [EFAULT] BOTH Both
        "the address lies outside the program's memory",
        "pass a pointer to a filled sockaddr";
    BadAddressLength [EINVAL] BOTH Both
        "the length passed with the address is too small for its family, or larger than any",
        "pass the size of the sockaddr that was filled";
    OutOfMemory [ENOMEM ENOBUFS] BOTH Both
        "the kernel had no memory for it",
        "look into dmesg, and at the limits of the cgroup";
    LandlockDenied [EACCES] BOTH Linux
        "Landlock: the program, or what started it, allowed itself no such port",
        "add the port to the ruleset; it cannot be lifted from outside";
    ApparmorDenied [EACCES] BOTH Linux
        "AppArmor's profile of the program has no rule for such a socket",
        "allow it in the profile (aa-logprof)";
    SelinuxDenied [EACCES] BOTH Linux
        "SELinux's policy does not let the program's domain have this port or address",
        "ausearch -m avc -ts recent | audit2why; semanage port, or a boolean";
    SmackDenied [EACCES] BOTH Linux
        "Smack has no rule for the program's label and the address's",
        "add a rule to /sys/fs/smackfs/load2";
    TomoyoDenied [EPERM] BOTH Linux
        "TOMOYO's policy for the program's domain does not list it",
        "add it with tomoyo-editpolicy";
    BpfLsmDenied [EPERM EACCES] BOTH Linux
        "a BPF program on a security hook refused it",
        "see which are loaded: bpftool prog show";
    LsmDenied [EACCES EPERM] BOTH Linux
        "a security module refused it, and it was not seen which",
        "look for the denial in the audit log or the kernel's";
    CgroupBpfDenied [EPERM] BOTH Linux
        "a BPF program on the cgroup refused it: systemd's SocketBindDeny=, a container's network",
        "systemctl show -p SocketBindDeny UNIT; bpftool cgroup tree";
    WrongFamily [EAFNOSUPPORT EINVAL] BOTH Both
        "the address is of another family than the socket",
        "make both of the same family";
    AddressNotLocal [EADDRNOTAVAIL] BIND Both
        "the address is not one of this host, or of the socket's network namespace",
        "bind to an address that ip -br addr lists, or to the wildcard; IP_FREEBIND if it is to come later";
    AddressInOtherNamespace [EADDRNOTAVAIL] BIND Linux
        "another network namespace has the address",
        "start the program there: ip netns exec, nsenter -n";
    AddressInVrf [EADDRNOTAVAIL] BIND Linux
        "the address is on an interface in a VRF, and the socket is not in it",
        "ip vrf exec VRF COMMAND, or SO_BINDTODEVICE";
    AddressTentative [EADDRNOTAVAIL] BIND Linux
        "duplicate address detection of this IPv6 address is not over",
        "start after network-online.target, or set IPV6_FREEBIND";
    AddressDadFailed [EADDRNOTAVAIL] BIND Linux
        "another host has this IPv6 address",
        "take it away from one of the two";
    AddressOnOtherInterface [EADDRNOTAVAIL EINVAL] BOTH Linux
        "the address is on another interface than the socket is bound to",
        "correct the scope id or SO_BINDTODEVICE";
    Ipv6Disabled [EADDRNOTAVAIL] BIND Linux
        "IPv6 is turned off on the interface that should have the address",
        "sysctl -w net.ipv6.conf.IF.disable_ipv6=0";
    KernelWithoutIpv6 [EAFNOSUPPORT] BOTH Linux
        "this kernel has no IPv6 (ipv6.disable=1, or built without it): socket() fails before there is a bind or connect",
        "use IPv4 addresses; or boot without ipv6.disable=1";
    AddressNotUsable [EADDRNOTAVAIL] BIND Linux
        "this kind of socket takes no such address: multicast for ping, a mapped one for raw",
        "bind to an address of this host";
    MulticastStream [EINVAL] BIND Both
        "TCP cannot be bound to a multicast address (of IPv6 alone on Linux)",
        "use UDP, or an address of this host";
    MappedV6Only [EINVAL ENETUNREACH] BOTH Linux
        "an IPv4 address for a socket that has IPV6_V6ONLY",
        "turn IPV6_V6ONLY off, or use an IPv4 socket";
    LinkLocalWithoutScope [EINVAL] BOTH Linux
        "an address of a link (fe80::/10, ff02::, ff01::) without the interface that it is meant on",
        "name the interface: fe80::1%eth0, ff02::fb%eth0";
    InterfaceGone [ENODEV] BIND Linux
        "no interface has the number that the scope id or SO_BINDTODEVICE gives",
        "look the number up anew: it changes when an interface is made again";
    LowPortNoCapability [EACCES] BIND Linux
        "the port is below net.ipv4.ip_unprivileged_port_start, and the caller has no CAP_NET_BIND_SERVICE",
        "AmbientCapabilities=CAP_NET_BIND_SERVICE in the unit, setcap on the program, or the sysctl";
    LowPortForeignUserNamespace [EACCES] BIND Linux
        "the caller has its capabilities in a user namespace that does not own the network namespace",
        "a network namespace of its own, or the sysctl";
    LowPortCapabilityDenied [EACCES] BIND Linux
        "the caller has CAP_NET_BIND_SERVICE, and a security module refused its use",
        "allow the capability in SELinux's policy or AppArmor's profile";
    PortInUse [EADDRINUSE] BIND Both
        "another socket has the port",
        "stop whoever has it (ss -tlnp; on macOS, lsof -nP -i), or take another port";
    PortInUseReuseaddrOneSide [EADDRINUSE] BIND Linux
        "only one of the two sockets has SO_REUSEADDR",
        "set it on both, before bind()";
    PortInUseReuseaddrListening [EADDRINUSE] BIND Linux
        "both sockets have SO_REUSEADDR, which does not help against one that listens",
        "stop whoever listens, or take another port";
    PortInUseReuseportOneSide [EADDRINUSE] BIND Linux
        "only one of the two sockets has SO_REUSEPORT",
        "set it on both, before bind()";
    PortInUseReuseportOtherUser [EADDRINUSE] BIND Linux
        "both sockets have SO_REUSEPORT, but belong to different users",
        "run both as the same user";
    PortInUseDualStack [EADDRINUSE] BIND Linux
        "an IPv6 wildcard socket without IPV6_V6ONLY takes the IPv4 port too",
        "set IPV6_V6ONLY on the IPv6 socket";
    PortInUseTimeWait [EADDRINUSE] BIND Linux
        "a connection from this port is left in TIME_WAIT",
        "set SO_REUSEADDR before bind()";
    PortInUseConnection [EADDRINUSE] BIND Linux
        "a connection has the port as its local end",
        "set SO_REUSEADDR in the server; keep the port out of ip_local_port_range (ip_local_reserved_ports)";
    PortInUseKernel [EADDRINUSE] BIND Linux
        "the kernel itself has the port: NFS, WireGuard, VXLAN …",
        "take another port, or reconfigure that service";
    PortInUseHolderGone [EADDRINUSE] BIND Linux
        "somebody had the port, and has it no more",
        "try again";
    PingIdentifierInUse [EADDRINUSE] BIND Linux
        "another ping socket has the identifier",
        "take another identifier, or 0";
    EphemeralPortsExhausted [EADDRINUSE EADDRNOTAVAIL EAGAIN] PORTS Linux
        "none of the ports that the kernel gives out is free",
        "keep connections open; widen net.ipv4.ip_local_port_range";
    OwnPortRangeExhausted [EADDRINUSE EADDRNOTAVAIL EAGAIN] PORTS Linux
        "none of the ports is free that the socket limits itself to (IP_LOCAL_PORT_RANGE)",
        "set a wider IP_LOCAL_PORT_RANGE in the program, or none";
    AlreadyBound [EINVAL] BIND Both
        "the socket is bound already",
        "make a new socket";
    SocketNotClosed [EINVAL] BIND Both
        "the socket is connected or listens already",
        "call bind() first";
    AlreadyConnecting [EALREADY EISCONN] CONNECT Both
        "a connect on this socket is under way",
        "wait with poll() for the socket to be writable";
    AlreadyConnected [EISCONN] CONNECT Both
        "the socket is connected already",
        "make a new socket";
    SocketListening [EISCONN] CONNECT Both
        "the socket listens",
        "make a new socket";
    NoRoute [ENETUNREACH] CONNECT Both
        "no route leads to the destination, or its interface is down",
        "ip route get ADDRESS";
    RouteUnreachable [EHOSTUNREACH ENETUNREACH] CONNECT Linux
        "a route or rule of the type unreachable",
        "ip route get ADDRESS; ip rule";
    RouteProhibited [EACCES] CONNECT Linux
        "a route or rule of the type prohibit",
        "ip route get ADDRESS; ip rule";
    RouteBlackhole [EINVAL] CONNECT Linux
        "a route or rule of the type blackhole",
        "ip route get ADDRESS; ip rule";
    MulticastDestination [ENETUNREACH] CONNECT Both
        "TCP to a multicast or broadcast address",
        "use UDP, or the address of one host";
    SourceAddressGone [ENETUNREACH] CONNECT Linux
        "the address that the socket is bound to is no longer one of this host",
        "bind anew, or to no address";
    LoopbackSource [EINVAL] CONNECT Linux
        "the socket is bound to a loopback address, and the destination is another host",
        "bind to another address, or to none";
    MappedSource [EAFNOSUPPORT] CONNECT Linux
        "the socket is bound to an IPv4 address, and the destination is an IPv6 one",
        "bind to an IPv6 address, or to none";
    NoSourceAddress [EADDRNOTAVAIL] CONNECT Linux
        "no IPv6 address of this host can be the source",
        "ip -6 addr";
    BroadcastNotAllowed [EACCES] CONNECT Both
        "a broadcast address, and the socket has no SO_BROADCAST",
        "set SO_BROADCAST";
    IpsecBlocked [EPERM] CONNECT Linux
        "an IPsec policy blocks the destination",
        "ip xfrm policy";
    TupleInUse [EADDRNOTAVAIL] CONNECT Both
        "a connection with the same two ends exists already",
        "bind to no port";
    ConnectInProgress [EINPROGRESS] CONNECT Both
        "the call does not wait, and the connect is under way",
        "nothing: the outcome follows";
    SendTimeoutExpired [EINPROGRESS] CONNECT Linux
        "SO_SNDTIMEO was over before there was an answer",
        "wait with poll(), or set a longer time";
    NobodyListens [ECONNREFUSED] CONNECT Linux
        "nobody listens there: the answer was a reset",
        "start the server, or correct the address or port";
    RejectedByFirewall [ECONNREFUSED] CONNECT Linux
        "refused, and not by a reset: a firewall's reject",
        "nft list ruleset, here and on the way";
    ConnectionRefused [ECONNREFUSED] CONNECT Both
        "refused, and it was not seen whether by a reset or a firewall",
        "see whether somebody listens: ss -tlnp";
    ConnectionReset [ECONNRESET] CONNECT Linux
        "the connection was established, and reset before connect() returned",
        "look into the server's log; a load balancer or firewall on the way can reset it too";
    PacketDenied [ECONNREFUSED] CONNECT Linux
        "a security module's packet label denied the SYN",
        "ausearch -m avc -ts recent | audit2why";
    ConnectTimedOut [ETIMEDOUT] CONNECT Both
        "no answer: dropped here or on the way, or the host is down",
        "look at the firewall, IPAddressDeny= of the unit, and the route";
    AcceptQueueFull [ETIMEDOUT] CONNECT Linux
        "the listener's accept queue is full: it does not call accept(), or too slowly",
        "see what the listening program does; a larger backlog and net.core.somaxconn come second";
    NeighbourUnreachable [EHOSTUNREACH] CONNECT Linux
        "the next hop does not answer ARP or neighbour discovery",
        "ip neigh; is it on, and on this network?";
    HostUnreachable [EHOSTUNREACH] CONNECT Both
        "the next hop does not answer, or a router or firewall says unreachable; on macOS also a program that may not reach the local network",
        "ip neigh; ip route get ADDRESS; on macOS, Local Network in the privacy settings";
    NetworkUnreachable [ENETUNREACH] CONNECT Linux
        "a router or firewall answered that the network is unreachable",
        "look at the routers on the way";
    ProtocolUnreachable [ENOPROTOOPT] CONNECT Linux
        "a host or firewall answered that the protocol is not available",
        "look at the firewall there";
    IcmpError [EHOSTDOWN ENONET EOPNOTSUPP EPROTO] CONNECT Linux
        "another error came back from a router (ICMP)",
        "look at the routers on the way";
    AdminProhibited [EACCES] CONNECT Linux
        "a router or firewall answered that it is prohibited (ICMPv6)",
        "look at the firewalls on the way";
    Interrupted [EINTR] CONNECT Linux
        "a signal ended the wait; the connect goes on",
        "wait with poll(); do not call connect() again";
    DisconnectedMeanwhile [EPIPE] CONNECT Linux
        "another thread disconnected the socket during the wait",
        "let one thread at a time use the socket";
    ConnectionAborted [ECONNABORTED] CONNECT Linux
        "the connection was closed on this side before there was an answer",
        "look for who closes the socket";
    GivenUp [] CONNECT Linux
        "the program closed the socket before there was an answer",
        "look at the firewall and the route, as for a timeout";
    LowPortAllowedBySysctl [] BIND Linux
        "net.ipv4.ip_unprivileged_port_start lets everybody open it",
        "nothing, if that is what you want; else raise it";
    LowPortAllowedByCapability [] BIND Linux
        "the caller is not root and has CAP_NET_BIND_SERVICE",
        "nothing, if that is what you want; else getcap, setcap -r";
    LowPortOwnNamespace [] BIND Linux
        "the network namespace belongs to a user namespace in which the caller has the capability",
        "nothing: no other network namespace is touched";
    PortShared [] BIND Linux
        "other sockets have the same port (SO_REUSEPORT, or UDP's SO_REUSEADDR)",
        "nothing, if they belong together";
    NonlocalAddressAllowed [] BIND Linux
        "bound to an address that is not there: IP_FREEBIND, IP_TRANSPARENT, ip_nonlocal_bind",
        "nothing, if the address is to come later";
    NoPortYet [] BIND Linux
        "IP_BIND_ADDRESS_NO_PORT: the port is chosen at connect()",
        "nothing";
    MacosLowPortAddress [EACCES] BIND MacOs
        "a port below 1024 is for root only; since 10.14 not at the wildcard address",
        "bind to the wildcard address (since 10.14), or let launchd open it";
    MacosWildcardExempt [] BIND MacOs
        "since 10.14 everybody may open low ports at the wildcard address",
        "nothing";
    MacosRestrictedPort [EADDRINUSE] BIND MacOs
        "TCP port 55555 is kept for programs with an entitlement of Apple's",
        "take another port";
    MacosPolicyDenied [EPERM] BOTH MacOs
        "the app's sandbox, another MAC policy or a socket filter refused it",
        "give a sandboxed app com.apple.security.network.server or .client; look for filters: systemextensionsctl list";
    Unexplained [] PORTS Both
        "what the kernel returned, and from where",
        "run with --source fexit, which sees more, and look at the evidence";
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, fs, path::Path};

    use super::*;

    fn row(entry: &Entry) -> String {
        let errnos: Vec<_> = entry
            .errnos
            .iter()
            .map(|errno| format!("`{errno}`"))
            .collect();
        let errnos = match &errnos[..] {
            [] => "–".to_owned(),
            some => some.join(", "),
        };
        let ops: Vec<_> = entry.ops.iter().map(|op| op.name()).collect();
        format!(
            "| `{}` | {errnos} | {} | {} | {} | {} |",
            entry.code.name(),
            ops.join(", "),
            entry.system.name(),
            entry.what.replace('|', "\\|"),
            entry.fix.replace('|', "\\|")
        )
    }

    #[test]
    fn the_document_lists_every_cause() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/CAUSES.md");
        let text = fs::read_to_string(path).unwrap();
        let lines: BTreeSet<_> = text.lines().collect();
        let missing: Vec<_> = all()
            .map(|entry| row(&entry))
            .filter(|row| !lines.contains(&row[..]))
            .collect();
        assert!(
            missing.is_empty(),
            "not in docs/CAUSES.md:\n{}",
            missing.join("\n")
        );
    }

    #[test]
    fn an_error_has_the_causes_that_list_it() {
        let linux = event::System::Linux;
        let codes: Vec<_> = of(Errno::EPERM, linux).map(|entry| entry.code).collect();
        assert!(codes.contains(&Code::CgroupBpfDenied) && codes.contains(&Code::IpsecBlocked));
        assert!(!codes.contains(&Code::LowPortNoCapability));
    }
}
