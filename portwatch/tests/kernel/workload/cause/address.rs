//! Addresses that cannot be bound, or can although they are not this host's.

use std::{fs, time::Instant};

use anyhow::{Context as _, Result, ensure};
use rustix::net::{AddressFamily, SocketType, ipproto, sockopt};

use super::{
    super::{super::sys, child::Companion},
    Recorder, Scene, Socket, at,
    network::{Neighbour, PATIENCE, ip, link},
    row,
};

pub(super) const SCENES: &[Scene] = &[
    nobodys,
    of_another_namespace,
    in_a_vrf,
    being_checked,
    of_a_neighbour_too,
    of_another_interface,
    without_ipv6,
    for_other_sockets,
    of_a_kind_that_is_not_bound,
    allowed,
];

fn nobodys(recorder: &Recorder) -> Result<()> {
    let (ip4, ip6) = ("192.0.2.1:7000", "[2001:db8::1]:7000");
    row(
        recorder,
        "an IPv4 address that nobody has",
        &Socket::tcp4()?,
        ip4,
    )?;
    row(
        recorder,
        "an IPv6 address that nobody has",
        &Socket::tcp6()?,
        ip6,
    )
}

fn of_another_namespace(recorder: &Recorder) -> Result<()> {
    let _other = Companion::start(|| {
        sys::enter_own_netns()?;
        ip("address add 192.0.2.7/32 dev lo")
    })?;
    let case = "an address of another network namespace";
    row(recorder, case, &Socket::tcp4()?, "192.0.2.7:7000")
}

fn in_a_vrf(recorder: &Recorder) -> Result<()> {
    link("red type vrf table 100")?;
    ip("link set red up\n\
        link add leg type dummy\n\
        link set leg master red\n\
        link set leg up\n\
        address add 192.0.2.1/24 dev leg\n\
        address add 2001:db8::1/64 dev leg nodad\n")?;
    row(
        recorder,
        "an IPv4 address in a VRF",
        &Socket::tcp4()?,
        "192.0.2.1:7000",
    )?;
    row(
        recorder,
        "an IPv6 address in a VRF",
        &Socket::tcp6()?,
        "[2001:db8::1]:7000",
    )
}

/// So many probes that it is not over while this lasts.
fn being_checked(recorder: &Recorder) -> Result<()> {
    let neighbour = Neighbour::new()?;
    neighbour.ip("link set far up\n")?;
    sys::set_net("ipv6/conf/near/dad_transmits", "1000")?;
    ip("link set near up\naddress add 2001:db8::1/64 dev near\n")?;
    let case = "an address that is being checked for duplicates";
    row(recorder, case, &Socket::tcp6()?, "[2001:db8::1]:7000")
}

fn of_a_neighbour_too(recorder: &Recorder) -> Result<()> {
    let neighbour = Neighbour::new()?;
    neighbour.ip("link set far up\naddress add 2001:db8::1/64 dev far nodad\n")?;
    // Else the first probe waits for up to a second (addrconf_dad_kick, net/ipv6/addrconf.c).
    sys::set_net("ipv6/conf/near/router_solicitation_delay", "0")?;
    ip("link set near up\n")?;
    neighbour.wait_for_carrier()?;
    ip("address add 2001:db8::1/64 dev near\n")?;
    wait_for_dad_failure()?;
    let case = "an address that a neighbour has too";
    row(recorder, case, &Socket::tcp6()?, "[2001:db8::1]:7000")
}

/// Until the kernel has flagged 2001:db8::1 (`IFA_F_DADFAILED`, include/uapi/linux/if_addr.h).
fn wait_for_dad_failure() -> Result<()> {
    const DADFAILED: u32 = 0x08;
    let begin = Instant::now();
    loop {
        let addresses = fs::read_to_string("/proc/net/if_inet6")?;
        let address = addresses.lines().find(|line| line.starts_with("20010db8"));
        let flags = address.and_then(|line| line.split_whitespace().nth(4));
        let flags = u32::from_str_radix(flags.context("the address is gone")?, 16)?;
        if flags & DADFAILED != 0 {
            return Ok(());
        }
        ensure!(
            begin.elapsed() < PATIENCE,
            "no duplicate was found: {addresses}"
        );
        std::thread::yield_now();
    }
}

fn of_another_interface(recorder: &Recorder) -> Result<()> {
    link("one type veth peer name two")?;
    ip("link set one up\nlink set two up\naddress add fe80::1/64 dev one nodad\n")?;
    let two = rustix::net::netdevice::name_to_index(Socket::udp4()?, "two")?;
    let case = "a link-local address of another interface";
    row(
        recorder,
        case,
        &Socket::tcp6()?,
        &format!("[fe80::1%{two}]:7000"),
    )
}

fn without_ipv6(recorder: &Recorder) -> Result<()> {
    sys::set_net("ipv6/conf/all/disable_ipv6", "1")?;
    row(
        recorder,
        "::1 with IPv6 turned off",
        &Socket::tcp6()?,
        "[::1]:7000",
    )
}

fn for_other_sockets(recorder: &Recorder) -> Result<()> {
    sys::set_net("ipv4/ping_group_range", "0 0")?;
    let ping = Socket::open(
        AddressFamily::INET,
        SocketType::DGRAM,
        Some(ipproto::ICMP),
        "icmp",
    )?;
    row(
        recorder,
        "a multicast address for a ping socket",
        &ping,
        "224.0.0.1:7",
    )?;
    let raw = Socket::open(
        AddressFamily::INET6,
        SocketType::RAW,
        Some(ipproto::TCP),
        "raw",
    )?;
    let case = "a mapped address for a raw IPv6 socket";
    row(recorder, case, &raw, "[::ffff:127.0.0.1]:0")
}

fn of_a_kind_that_is_not_bound(recorder: &Recorder) -> Result<()> {
    row(
        recorder,
        "a multicast address for TCP",
        &Socket::tcp6()?,
        "[ff02::1]:7000",
    )?;
    let v6only = Socket::tcp6()?;
    sockopt::set_ipv6_v6only(&v6only, true)?;
    let case = "a mapped address with IPV6_V6ONLY";
    row(recorder, case, &v6only, "[::ffff:127.0.0.1]:7000")?;
    let case = "a link-local address without a scope";
    row(recorder, case, &Socket::tcp6()?, "[fe80::1]:7000")?;
    let group = "[ff02::fb]:7000";
    let case = "a link-local multicast address without a scope, UDP";
    row(recorder, case, &Socket::udp(at(group)?)?, group)?;
    row(
        recorder,
        "a scope that is no interface",
        &Socket::tcp6()?,
        "[fe80::1%4242]:7000",
    )
}

fn allowed(recorder: &Recorder) -> Result<()> {
    let freebind = Socket::tcp4()?;
    sys::set_flag(&freebind, libc::IPPROTO_IP, libc::IP_FREEBIND)?;
    row(recorder, "IP_FREEBIND", &freebind, "192.0.2.1:7000")?;
    row(
        recorder,
        "an address of this host",
        &Socket::tcp4()?,
        "127.0.0.1:7000",
    )?;
    sys::set_net("ipv4/ip_nonlocal_bind", "1")?;
    row(
        recorder,
        "an address of nobody, with ip_nonlocal_bind",
        &Socket::tcp4()?,
        "192.0.2.2:7000",
    )
}
