//! bind() on Linux: `__inet_bind` (net/ipv4/af_inet.c) and `__inet6_bind` (net/ipv6/af_inet6.c),
//! then the protocol's search for the port.
//!
//! IPv4 looks at the address before the port, IPv6 at the port before the address.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{Check, Reach, Situation, Station, attempt, family, shown};
use crate::{
    errno::Errno,
    event::{Holder, IfName, Lookup, Unseen},
    explain::{
        RouteKind, absence,
        conflict::{Claim, Transport, conflict},
        scope,
    },
};

/// `CAP_NET_BIND_SERVICE` (include/uapi/linux/capability.h)
const NET_BIND_SERVICE: u64 = 1 << 10;

/// Security modules that have a hook for bind or connect (security/*/, `socket_bind`).
const MEDIATING: [&str; 6] = ["selinux", "smack", "tomoyo", "apparmor", "landlock", "bpf"];

pub(super) fn checks(situation: &Situation) -> Vec<Check> {
    let mut checks = before_the_protocol(situation);
    match situation.to.ip {
        IpAddr::V4(ip) => {
            checks.push(ipv4_address(situation, ip));
            checks.push(port(situation));
        }
        IpAddr::V6(ip) => {
            if ip.is_multicast() && situation.is_stream() {
                let detail = "a stream socket takes no multicast address";
                checks.push(Check::no(Station::Multicast, Errno::EINVAL, detail));
            }
            checks.push(port(situation));
            checks.extend(ipv6_checks(situation, ip));
        }
    }
    checks.push(in_use(situation));
    checks
}

/// What looks at a call before the protocol does, whatever it asks for.
pub(super) fn before_the_protocol(situation: &Situation) -> Vec<Check> {
    let mut checks = Vec::new();
    checks.extend(family::check(situation));
    if let Some(device) = situation.device
        && device.index.is_none()
    {
        let detail = format!("there is no interface {}", shown(device.name));
        checks.push(Check::no(Station::Interface, Errno::ENODEV, detail));
    }
    checks.extend([
        seccomp(situation),
        security_modules(situation),
        cgroup_programs(situation),
    ]);
    checks
}

fn seccomp(situation: &Situation) -> Check {
    match situation.subject.seccomp {
        Some(false) => Check::ok(Station::Seccomp, "no filter"),
        Some(true) => Check::maybe(Station::Seccomp, "only a try tells: there is a filter"),
        None => Check::maybe(Station::Seccomp, "not known whether there is a filter"),
    }
}

fn security_modules(situation: &Situation) -> Check {
    let mediating: Vec<_> = situation
        .facts
        .lsms
        .iter()
        .map(String::as_str)
        .filter(|name| MEDIATING.contains(name))
        .collect();
    // The capability module always runs: none means that securityfs is not mounted.
    if situation.facts.lsms.is_empty() {
        return Check::maybe(Station::SecurityModules, "not known which ones run");
    }
    if mediating.is_empty() {
        return Check::ok(Station::SecurityModules, "none that looks at sockets");
    }
    let detail = format!("only a try tells: {}", mediating.join(", "));
    Check::maybe(Station::SecurityModules, detail)
}

fn cgroup_programs(situation: &Situation) -> Check {
    match situation.subject.cgroup_programs {
        Some(false) => Check::ok(Station::CgroupPrograms, "none attached"),
        Some(true) => Check::maybe(
            Station::CgroupPrograms,
            "only a try tells: BPF programs are attached",
        ),
        None => Check::maybe(
            Station::CgroupPrograms,
            "not known whether BPF programs are attached",
        ),
    }
}

/// `inet_addr_valid_or_nonlocal`, with the kinds of addresses as `inet_addr_type_table` has them.
fn ipv4_address(situation: &Situation, ip: Ipv4Addr) -> Check {
    let station = Station::Address;
    if ip.is_unspecified() {
        return Check::ok(station, "the wildcard: every address");
    }
    if let Some(why) = situation.nonlocal() {
        return Check::ok(station, why);
    }
    if ip.is_broadcast() {
        return Check::ok(station, "a broadcast address");
    }
    if ip.is_multicast() {
        return Check::ok(station, "a multicast address");
    }
    if situation.facts.address.takes_any(ip.into()) {
        let why = "any will do: this network namespace has never had an IPv4 address";
        return Check::ok(station, why);
    }
    let assigned = situation.facts.address.assigned.found();
    let route = situation.facts.route.as_ref();
    // An interface that is down keeps its addresses, and has no routes to them.
    match route.found().map(|route| route.kind) {
        Some(RouteKind::Local) => Check::ok(
            station,
            assigned.map_or_else(
                || "routed to this host itself".to_owned(),
                |assigned| on_interface(assigned.ifname),
            ),
        ),
        Some(RouteKind::Broadcast) => Check::ok(station, "a broadcast address"),
        Some(_) => not_local(),
        None => could_not(station, unseen(&route)),
    }
}

fn not_local() -> Check {
    let detail = absence::NO_ADDRESS;
    Check::no(Station::Address, Errno::EADDRNOTAVAIL, detail)
}

fn on_interface(name: Option<IfName>) -> String {
    match name {
        Some(name) => format!("assigned to {}", shown(name)),
        None => "assigned to an interface".to_owned(),
    }
}

fn port(situation: &Situation) -> Check {
    let station = Station::Port;
    let port = situation.to.port;
    let Some(start) = situation.network.unprivileged_port_start else {
        return Check::unknown(station, "ip_unprivileged_port_start is not known");
    };
    if port == 0 {
        return Check::ok(station, "0: the kernel picks one");
    }
    if situation.is_privileged_port() == Some(false) {
        return Check::ok(
            station,
            format!("not below {start} (ip_unprivileged_port_start)"),
        );
    }
    let low = format!("below {start} (ip_unprivileged_port_start)");
    match (
        situation.is_capable(NET_BIND_SERVICE),
        situation.network.reach,
    ) {
        (Some(true), _) => Check::ok(station, format!("{low}, with CAP_NET_BIND_SERVICE")),
        (Some(false), Reach::Elsewhere) => Check::no(
            station,
            Errno::EACCES,
            format!(
                "{low}, and no capability counts: the namespace belongs to another user namespace"
            ),
        ),
        (Some(false), _) => Check::no(
            station,
            Errno::EACCES,
            format!("{low}, and no CAP_NET_BIND_SERVICE"),
        ),
        (None, _) => Check::unknown(
            station,
            format!("{low}, and it is not known whether CAP_NET_BIND_SERVICE is there"),
        ),
    }
}

/// What `__inet6_bind` asks once the port has passed.
fn ipv6_checks(situation: &Situation, ip: Ipv6Addr) -> Vec<Check> {
    if let Some(mapped) = ip.to_ipv4_mapped() {
        let first = if situation.options.v6only {
            let detail = "an IPv4 address on a socket that is limited to IPv6";
            Check::no(Station::Mapped, Errno::EINVAL, detail)
        } else {
            Check::ok(Station::Mapped, "an IPv4 address on an IPv6 socket")
        };
        return vec![first, ipv4_address(situation, mapped)];
    }
    let mut checks = Vec::new();
    checks.extend(interface(situation, ip));
    checks.push(ipv6_address(situation, ip));
    checks
}

/// Whether the address needs an interface, and there is one.
fn interface(situation: &Situation, ip: Ipv6Addr) -> Option<Check> {
    let station = Station::Interface;
    let kind = scope::kind(ip)?;
    Some(match (situation.interface(), situation.facts.interface) {
        (None, _) => no_interface(kind),
        (Some(index), Lookup::NotThere) => Check::no(
            station,
            Errno::ENODEV,
            format!("there is no interface {index}"),
        ),
        (Some(index), Lookup::Found(())) => Check::ok(station, format!("interface {index}")),
        (Some(index), Lookup::NotSeen(_)) => Check::unknown(
            station,
            format!("not known whether there is an interface {index}"),
        ),
    })
}

pub(super) fn no_interface(kind: &str) -> Check {
    let detail = format!("{kind} needs one: ADDRESS%INTERFACE, or --device");
    Check::no(Station::Interface, Errno::EINVAL, detail)
}

/// `ipv6_chk_addr` (net/ipv6/addrconf.c): an address that duplicate address detection has not
/// passed does not count, and one of a link or a host only on its own interface.
fn ipv6_address(situation: &Situation, ip: Ipv6Addr) -> Check {
    let station = Station::Address;
    if ip.is_unspecified() {
        return Check::ok(station, "the wildcard: every address");
    }
    if ip.is_multicast() {
        return Check::ok(station, "a multicast address");
    }
    if let Some(why) = situation.nonlocal() {
        return Check::ok(station, why);
    }
    let assigned = match situation.facts.address.assigned {
        Lookup::Found(assigned) => assigned,
        Lookup::NotThere => return not_local(),
        Lookup::NotSeen(why) => return could_not(station, why),
    };
    let refused = |detail: &str| Check::no(station, Errno::EADDRNOTAVAIL, detail);
    let narrow = ip.is_unicast_link_local() || ip.is_loopback();
    match situation.interface() {
        _ if assigned.dad_failed => refused("another host has it: duplicate address detection"),
        _ if assigned.tentative => refused("duplicate address detection is not over"),
        Some(index) if narrow && index != assigned.ifindex => {
            refused("it is on another interface than the socket")
        }
        _ => Check::ok(station, on_interface(assigned.ifname)),
    }
}

fn in_use(situation: &Situation) -> Check {
    let station = Station::InUse;
    if situation.to.port == 0 {
        return match situation.facts.ports {
            Some(ports) => Check::ok(station, format!("one of {} to {}", ports.first, ports.last)),
            None => Check::ok(station, "one of net.ipv4.ip_local_port_range"),
        };
    }
    let holders = &situation.facts.holders;
    let Some(wanted) = Claim::of_attempt(&attempt::that_returned(situation, 0)) else {
        return could_not(station, Unseen::NotSupported);
    };
    let in_the_way = |certain: bool| {
        holders.find(|holder| {
            let held = Claim::of_holder(holder, wanted.transport);
            conflict(&wanted, &held).is_some_and(|conflict| conflict.certain || !certain)
        })
    };
    if let Lookup::Found(holder) = in_the_way(true) {
        return Check::no(
            station,
            Errno::EADDRINUSE,
            format!("{} has it", whose(holder)),
        );
    }
    match in_the_way(false) {
        Lookup::Found(holder) => {
            let detail = format!(
                "{} may be in the way: its options could not be read",
                whose(holder)
            );
            Check::unknown(station, detail)
        }
        Lookup::NotSeen(why) => {
            let detail = format!(
                "there may be sockets on it that were not seen: {}",
                why.reason()
            );
            Check::unknown(station, detail)
        }
        Lookup::NotThere => match holders.found.first() {
            None => Check::ok(station, absence::NOBODY),
            Some(holder) => Check::ok(station, format!("not in the way: {}", whose(holder))),
        },
    }
}

/// What decides could not be looked up.
pub(super) fn could_not(station: Station, why: Unseen) -> Check {
    Check::unknown(station, format!("could not be looked up: {}", why.reason()))
}

/// Why a look-up found nothing. A complete one cannot tell of what it did not find either.
pub(super) const fn unseen<T>(answer: &Lookup<T>) -> Unseen {
    match answer {
        Lookup::NotSeen(why) => *why,
        Lookup::Found(_) | Lookup::NotThere => Unseen::NotSupported,
    }
}

/// `nginx (pid 812, 0.0.0.0:80, listen)`
pub(super) fn whose(holder: &Holder) -> String {
    let at = std::net::SocketAddr::new(holder.ip, holder.port);
    let state = holder.state.name();
    match &holder.process {
        Lookup::Found(process) => format!(
            "{} (pid {}, {at}, {state})",
            String::from_utf8_lossy(process.comm.as_bytes()),
            process.tgid
        ),
        _ if holder.kernel => format!("{} ({at}, {state})", absence::KERNEL),
        Lookup::NotThere => format!("a socket {} ({at}, {state})", absence::NO_PROCESS),
        Lookup::NotSeen(Unseen::Permission) => {
            let owner = holder
                .uid
                .map_or_else(String::new, |uid| format!(" of uid {uid}"));
            format!("a process{owner} that you may not look into ({at}, {state})")
        }
        Lookup::NotSeen(why) => {
            format!(
                "a process that was not seen: {} ({at}, {state})",
                why.reason()
            )
        }
    }
}

impl Situation {
    pub(super) fn is_stream(&self) -> bool {
        Transport::of(self.proto) == Some(Transport::Tcp)
    }

    /// `inet_port_requires_bind_service` (include/net/ip.h)
    pub(super) fn is_privileged_port(&self) -> Option<bool> {
        let start = self.network.unprivileged_port_start?;
        let port = self.to.port;
        Some(port != 0 && u32::from(port) < start)
    }

    /// Why any address would do, if it would: `inet_can_nonlocal_bind` (include/net/inet_sock.h)
    /// and `ipv6_can_nonlocal_bind` (include/net/ipv6.h).
    fn nonlocal(&self) -> Option<&'static str> {
        if self.options.freebind {
            Some("IP_FREEBIND: any address will do")
        } else if self.options.transparent {
            Some("IP_TRANSPARENT: any address will do")
        } else if self.facts.address.nonlocal_bind == Some(true) {
            Some("ip_nonlocal_bind is set: any address will do")
        } else {
            None
        }
    }

    /// The interface that an IPv6 bind goes by: a scope takes the place of the device.
    fn interface(&self) -> Option<u32> {
        let device = self.device.and_then(|device| device.index);
        match (self.to.ip, self.to.scope_id) {
            (IpAddr::V6(ip), scope @ 1..) if scope::kind(ip).is_some() => Some(scope),
            _ => device,
        }
    }

    /// `ns_capable` of the network namespace's owner; `None` where that is not known.
    fn is_capable(&self, capability: u64) -> Option<bool> {
        let held = self.subject.cap_effective.map(|set| set & capability != 0);
        match self.network.reach {
            Reach::Below { made_by } if made_by == Some(self.subject.euid) => Some(true),
            Reach::Same | Reach::Below { .. } => held,
            Reach::Elsewhere => Some(false),
            Reach::Unknown => None,
        }
    }
}
