//! What is known beside the attempt itself: gathered by others, some of it after the call.

use std::{net::IpAddr, sync::Arc};

use crate::event::{Credentials, Holders, IfName, Lookup, Time, Unseen};

/// What was looked up for one attempt. Everything may be missing; what is missing is not guessed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// When this was looked up
    pub taken: Option<Time>,
    /// Where the attempt's network namespace is, for commands that must run in it
    pub namespace: Option<Namespace>,
    /// `net.ipv4.ip_unprivileged_port_start` of the attempt's network namespace, for sources
    /// that do not see it
    pub unprivileged_port_start: Option<u32>,
    /// The caller's (`CapEff` of /proc/PID/status, /proc/PID/ns/user), for sources that do not
    /// see them
    pub credentials: Option<Credentials>,
    /// The attempt's source tells of resets: where it says of none, there was none
    pub resets_seen: bool,
    /// The security modules that run (`/sys/kernel/security/lsm`), in their order
    pub lsms: Vec<String>,
    /// Sockets on the port that was asked for, in the attempt's network namespace
    pub holders: Holders,
    /// The ports that the kernel gives out by itself
    pub ports: Option<Ports>,
    /// Of a bind: what has become of the address
    pub address: Address,
    /// Of a bind: whether the host has the address, where no more is known of it
    pub host_has_address: Option<bool>,
    /// Of a connect: where the way to the destination leads
    pub route: Lookup<Route>,
    /// Of a connect: whether the next hop answers ARP or neighbour discovery
    pub neighbour: Lookup<Neighbour>,
    /// Of a scope id, or of `SO_BINDTODEVICE`: whether there is such an interface
    pub interface: Lookup<()>,
}

/// What is known where nothing was looked up: all that most attempts need.
static NONE: Facts = Facts {
    taken: None,
    namespace: None,
    unprivileged_port_start: None,
    credentials: None,
    resets_seen: false,
    lsms: Vec::new(),
    holders: Holders::NOT_ASKED,
    ports: None,
    address: Address::NOT_ASKED,
    host_has_address: None,
    route: Lookup::NotSeen(Unseen::NotAsked),
    neighbour: Lookup::NotSeen(Unseen::NotAsked),
    interface: Lookup::NotSeen(Unseen::NotAsked),
};

impl Facts {
    pub const fn none() -> &'static Self {
        &NONE
    }
}

/// What comes of asking for facts.
#[derive(Debug)]
pub enum Asked {
    /// All that there will be
    Known(Arc<Facts>),
    /// They are being looked up
    Waiting(Ticket),
}

/// Which question an answer belongs to: they grow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

/// What the neighbour table says of the next hop (`NUD_*`, include/uapi/linux/neighbour.h).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Neighbour {
    /// The last attempt to find it failed (`NUD_FAILED`)
    Failed,
    /// Any other state that an attempt has come to
    Known,
}

/// How to get into a network namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Namespace {
    /// portwatch's own, which is where commands typed beside it run
    Own,
    /// Its name below /run/netns
    Named(String),
    /// Only through a process that is in it
    Other,
}

/// `net.ipv4.ip_local_port_range`, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ports {
    pub first: u16,
    pub last: u16,
}

/// What has become of a local address.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Address {
    /// It is assigned to an interface of the attempt's network namespace
    pub assigned: Lookup<Assigned>,
    /// Other network namespaces that have it, as far as they were seen
    pub elsewhere: Vec<Elsewhere>,
    /// `net.ipv4.ip_nonlocal_bind`, or the one of IPv6
    pub nonlocal_bind: Option<bool>,
    /// Of IPv4: whether the network namespace knows which addresses are local. Until it has had an
    /// address it does not, and takes each for one that can be bound (`__inet_dev_addr_type`,
    /// net/ipv4/fib_frontend.c)
    pub local_table: Option<bool>,
    /// Of IPv6: interfaces that have IPv6 turned off (`disable_ipv6`)
    pub ipv6_disabled_on: Vec<IfName>,
}

impl Address {
    /// Whether a bind takes an address that the host does not have, since nothing is checked yet.
    pub(super) fn takes_any(&self, ip: IpAddr) -> bool {
        self.local_table == Some(false) && ip.to_canonical().is_ipv4()
    }

    const NOT_ASKED: Self = Self {
        assigned: Lookup::NotSeen(Unseen::NotAsked),
        elsewhere: Vec::new(),
        nonlocal_bind: None,
        local_table: None,
        ipv6_disabled_on: Vec::new(),
    };
}

/// An address on an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Assigned {
    pub ifindex: u32,
    pub ifname: Option<IfName>,
    /// `IFA_F_TENTATIVE`: duplicate address detection is not over
    pub tentative: bool,
    /// `IFA_F_DADFAILED`: somebody else has the address
    pub dad_failed: bool,
    /// Of the VRF that the interface is in
    pub vrf: Option<IfName>,
}

/// A network namespace that has the address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Elsewhere {
    /// Inode of the namespace
    pub netns: u32,
    /// A process in it
    pub tgid: Option<u32>,
    /// Its name below /run/netns
    pub name: Option<String>,
}

/// What the routing tables say of a destination (`ip route get`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    pub kind: RouteKind,
    /// The interface it leaves by
    pub interface: Option<IfName>,
    pub gateway: Option<IpAddr>,
    /// The source address the kernel would take
    pub source: Option<IpAddr>,
}

/// `RTN_*` (include/uapi/linux/rtnetlink.h), as far as it decides about a connect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RouteKind {
    Unicast,
    /// An address of this host
    Local,
    Broadcast,
    Multicast,
    Blackhole,
    Unreachable,
    Prohibit,
    /// No route fits
    None,
}
