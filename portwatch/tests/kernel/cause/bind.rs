//! What a bind is refused for, or granted by, beside other sockets: its address and its privilege.

use libc::{EACCES, EADDRNOTAVAIL, EINVAL, ENODEV};
use portwatch::event::{
    Code,
    Confidence::{Checked, Derived, Likely},
    Op::Bind,
};

use super::{Answer, Row};

pub(crate) const ADDRESSES: &[Row] = &[
    unavailable("an IPv4 address that nobody has", Code::AddressNotLocal),
    unavailable("an IPv6 address that nobody has", Code::AddressNotLocal),
    unavailable(
        "an address of another network namespace",
        Code::AddressInOtherNamespace,
    ),
    unavailable("an IPv4 address in a VRF", Code::AddressInVrf),
    unavailable("an IPv6 address in a VRF", Code::AddressInVrf),
    unavailable(
        "an address that is being checked for duplicates",
        Code::AddressTentative,
    ),
    unavailable(
        "an address that a neighbour has too",
        Code::AddressDadFailed,
    ),
    unavailable(
        "a link-local address of another interface",
        Code::AddressOnOtherInterface,
    ),
    unavailable("::1 with IPv6 turned off", Code::Ipv6Disabled),
    unusable("a multicast address for a ping socket"),
    unusable("a mapped address for a raw IPv6 socket"),
    Row::new(
        "a multicast address for TCP",
        Bind,
        -EINVAL,
        Code::MulticastStream,
        Derived,
    ),
    Row::new(
        "a mapped address with IPV6_V6ONLY",
        Bind,
        -EINVAL,
        Code::MappedV6Only,
        Derived,
    ),
    Row::new(
        "a link-local address without a scope",
        Bind,
        -EINVAL,
        Code::LinkLocalWithoutScope,
        Derived,
    ),
    Row::new(
        "a link-local multicast address without a scope, UDP",
        Bind,
        -EINVAL,
        Code::LinkLocalWithoutScope,
        Derived,
    ),
    Row::new(
        "a scope that is no interface",
        Bind,
        -ENODEV,
        Code::InterfaceGone,
        Derived,
    ),
    Row::new(
        "IP_FREEBIND",
        Bind,
        0,
        Code::NonlocalAddressAllowed,
        Checked,
    ),
    // Of binds that succeed, only those with an option for it are looked at.
    Row::silent("an address of nobody, with ip_nonlocal_bind", Bind),
    Row::silent("an address of this host", Bind),
];

pub(crate) const PRIVILEGES: &[Row] = &[
    low("a low port by an ordinary user", Code::LowPortNoCapability),
    low(
        "a low port by an ordinary user on IPv6",
        Code::LowPortNoCapability,
    ),
    low(
        "port 2000 with ip_unprivileged_port_start at 3000",
        Code::LowPortNoCapability,
    ),
    // Whose the network namespace is, only the kernel tells.
    low(
        "a low port by root of another user namespace",
        Code::LowPortForeignUserNamespace,
    )
    .otherwise(Code::LowPortNoCapability, Likely),
    low(
        "a low port with the capability, and a BPF program at its hook",
        Code::LowPortCapabilityDenied,
    ),
    low(
        "a low port with the capability, and an AppArmor profile without it",
        Code::LowPortCapabilityDenied,
    ),
    allowed(
        "port 80 with ip_unprivileged_port_start at 80",
        Code::LowPortAllowedBySysctl,
    ),
    allowed(
        "a low port with CAP_NET_BIND_SERVICE",
        Code::LowPortAllowedByCapability,
    ),
    allowed(
        "a low port in namespaces of one's own",
        Code::LowPortOwnNamespace,
    ),
    Row::silent("a low port by root", Bind),
];

const fn unavailable(case: &'static str, code: Code) -> Row {
    Row::new(case, Bind, -EADDRNOTAVAIL, code, Checked)
}

const fn unusable(case: &'static str) -> Row {
    Row::new(case, Bind, -EADDRNOTAVAIL, Code::AddressNotUsable, Derived)
}

const fn low(case: &'static str, code: Code) -> Row {
    Row::new(case, Bind, -EACCES, code, Derived).sure(Derived, Derived, Checked)
}

/// A success that would surprise.
const fn allowed(case: &'static str, code: Code) -> Row {
    Row::new(case, Bind, 0, code, Derived).tracepoint(Answer::Silent)
}
