//! Connects that no route takes, or that have no end to start from.

use std::{
    ffi::c_int,
    net::{Ipv6Addr, SocketAddrV6},
};

use anyhow::{Context as _, Result};
use rustix::net::{listen, sockopt};

use super::{
    super::super::sys,
    Recorder, Scene, Socket, at, bound,
    network::{Neighbour, ip, link},
    row, try_of,
};

pub(super) const SCENES: &[Scene] = &[
    none,
    of_a_kind,
    of_a_kind_by_rule,
    to_many,
    source_gone,
    from_loopback,
    mapped,
    without_scope,
    by_another_interface,
    without_a_source,
    ipsec,
    same_tuple,
    flow_label,
];

const FAR: &str = "192.0.2.1:80";
const FAR6: &str = "[2001:db8::1]:80";

fn none(recorder: &Recorder) -> Result<()> {
    row(recorder, "no route", &Socket::tcp4()?, FAR)?;
    row(recorder, "no route, UDP", &Socket::udp4()?, FAR)?;
    row(recorder, "no IPv6 route", &Socket::tcp6()?, FAR6)
}

fn of_a_kind(recorder: &Recorder) -> Result<()> {
    ip("route add throw 192.0.2.1\n\
        route add unreachable 192.0.2.2\n\
        route add prohibit 192.0.2.3\n\
        route add blackhole 192.0.2.4\n\
        route add unreachable 2001:db8::2\n\
        route add prohibit 2001:db8::3\n")?;
    row(recorder, "a throw route", &Socket::tcp4()?, FAR)?;
    row(
        recorder,
        "an unreachable route",
        &Socket::tcp4()?,
        "192.0.2.2:80",
    )?;
    row(
        recorder,
        "a prohibit route",
        &Socket::tcp4()?,
        "192.0.2.3:80",
    )?;
    row(
        recorder,
        "a prohibit route, UDP",
        &Socket::udp4()?,
        "192.0.2.3:80",
    )?;
    row(
        recorder,
        "a blackhole route",
        &Socket::tcp4()?,
        "192.0.2.4:80",
    )?;
    row(
        recorder,
        "an unreachable IPv6 route",
        &Socket::tcp6()?,
        "[2001:db8::2]:80",
    )?;
    row(
        recorder,
        "a prohibit route for IPv6",
        &Socket::tcp6()?,
        "[2001:db8::3]:80",
    )
}

fn of_a_kind_by_rule(recorder: &Recorder) -> Result<()> {
    ip("rule add to 192.0.2.2 unreachable\n\
        rule add to 192.0.2.3 prohibit\n\
        rule add to 192.0.2.4 blackhole\n")?;
    row(
        recorder,
        "a rule that says unreachable",
        &Socket::tcp4()?,
        "192.0.2.2:80",
    )?;
    row(
        recorder,
        "a rule that says prohibit",
        &Socket::tcp4()?,
        "192.0.2.3:80",
    )?;
    row(
        recorder,
        "a rule that says blackhole",
        &Socket::tcp4()?,
        "192.0.2.4:80",
    )
}

fn to_many(recorder: &Recorder) -> Result<()> {
    ip("route add 224.0.0.0/4 dev lo\n")?;
    row(
        recorder,
        "a multicast destination",
        &Socket::tcp4()?,
        "224.0.0.1:80",
    )?;
    row(
        recorder,
        "a broadcast destination",
        &Socket::tcp4()?,
        "127.255.255.255:80",
    )?;
    let case = "UDP to a broadcast address without SO_BROADCAST";
    row(recorder, case, &Socket::udp4()?, "127.255.255.255:80")
}

fn source_gone(recorder: &Recorder) -> Result<()> {
    ip("address add 192.0.2.7/32 dev lo\n")?;
    let socket = bound(recorder, Socket::tcp4()?, "192.0.2.7:7000")?;
    ip("address del 192.0.2.7/32 dev lo\n")?;
    row(
        recorder,
        "the source address is gone",
        &socket,
        "127.0.0.1:80",
    )
}

/// A way out that leads to nobody.
fn way_out() -> Result<Neighbour> {
    let neighbour = Neighbour::new()?;
    neighbour.ip("link set far up\n")?;
    ip("link set near up\naddress add 192.0.2.9/24 dev near\n")?;
    Ok(neighbour)
}

fn from_loopback(recorder: &Recorder) -> Result<()> {
    let _neighbour = way_out()?;
    let socket = bound(recorder, Socket::tcp4()?, "127.0.0.1:7000")?;
    row(recorder, "from 127.0.0.1 to another host", &socket, FAR)
}

fn mapped(recorder: &Recorder) -> Result<()> {
    let socket = bound(recorder, Socket::tcp6()?, "[::ffff:127.0.0.1]:7000")?;
    row(
        recorder,
        "from a mapped address to an IPv6 one",
        &socket,
        "[::1]:80",
    )?;
    let v6only = Socket::tcp6()?;
    sockopt::set_ipv6_v6only(&v6only, true)?;
    row(
        recorder,
        "to a mapped address with IPV6_V6ONLY",
        &v6only,
        "[::ffff:127.0.0.1]:80",
    )
}

fn without_scope(recorder: &Recorder) -> Result<()> {
    let case = "to a link-local address without a scope";
    row(recorder, case, &Socket::tcp6()?, "[fe80::1]:80")?;
    let case = "to a link-local multicast address without a scope, UDP";
    let group = "[ff02::fb]:80";
    row(recorder, case, &Socket::udp(at(group)?)?, group)
}

fn by_another_interface(recorder: &Recorder) -> Result<()> {
    link("other type dummy")?;
    let socket = Socket::tcp6()?;
    sys::bind_to_device(&socket.raw_fd(), "lo")?;
    let other = rustix::net::netdevice::name_to_index(&socket, "other")?;
    let case = "to a link-local address by another interface than the socket's";
    row(recorder, case, &socket, &format!("[fe80::1%{other}]:80"))
}

/// A route, and no address on any interface.
fn without_a_source(recorder: &Recorder) -> Result<()> {
    let neighbour = Neighbour::new()?;
    neighbour.ip("link set far up\n")?;
    sys::set_net("ipv6/conf/lo/disable_ipv6", "1")?;
    ip("link set near addrgenmode none\n\
        link set near up\n\
        route add 2001:db8::/64 dev near\n")?;
    row(
        recorder,
        "no IPv6 address to come from",
        &Socket::tcp6()?,
        FAR6,
    )
}

fn ipsec(recorder: &Recorder) -> Result<()> {
    let _neighbour = way_out()?;
    ip("xfrm policy add dir out src 0.0.0.0/0 dst 192.0.2.0/24 action block\n")?;
    row(
        recorder,
        "an IPsec policy that blocks",
        &Socket::tcp4()?,
        FAR,
    )
}

fn same_tuple(recorder: &Recorder) -> Result<()> {
    let listener = bound(recorder, Socket::tcp4()?, "127.0.0.1:7000")?;
    listen(&listener, 8)?;
    let [one, other] = [Socket::tcp4()?, Socket::tcp4()?];
    for socket in [&one, &other] {
        sockopt::set_socket_reuseaddr(socket, true)?;
        recorder.bind("before", socket, at("127.0.0.1:7001")?, 0)?;
    }
    recorder.connect("before", &one, at("127.0.0.1:7000")?, 0)?;
    let case = "the same two ends as another connection";
    row(recorder, case, &other, "127.0.0.1:7000")
}

/// Labels must be leased as soon as somebody has one for himself (`fl6_sock_lookup`,
/// net/ipv6/ip6_flowlabel.c).
fn flow_label(recorder: &Recorder) -> Result<()> {
    const LEASED: u32 = 0x54321;
    const OTHER: u32 = 0x12345;
    let lessee = Socket::tcp6()?;
    lease_alone(&lessee, LEASED)?;
    let socket = Socket::tcp6()?;
    sys::set_flag(&socket, libc::IPPROTO_IPV6, libc::IPV6_FLOWINFO_SEND)?;
    let address = SocketAddrV6::new(Ipv6Addr::LOCALHOST, 80, OTHER, 0);
    let (what, ret) = try_of("a flow label that nobody leased", &socket, address.into())?;
    recorder.write(recorder.attempted(&what, ret)?)
}

/// `IPV6_FL_A_GET` with `IPV6_FL_F_CREATE`, for `IPV6_FL_S_EXCL` (include/uapi/linux/in6.h).
fn lease_alone(socket: &Socket, label: u32) -> Result<()> {
    const IPV6_FLOWLABEL_MGR: c_int = 32;
    const GET: u8 = 0;
    const EXCLUSIVE: u8 = 1;
    const CREATE: u16 = 1;
    let mut request = Ipv6Addr::LOCALHOST.octets().to_vec();
    request.extend(label.to_be_bytes());
    request.extend([GET, EXCLUSIVE]);
    request.extend(CREATE.to_ne_bytes());
    // For as long as the socket is there.
    request.extend([0; 8]);
    sys::set_option(socket, libc::IPPROTO_IPV6, IPV6_FLOWLABEL_MGR, &request)
        .context("cannot lease a flow label")
}
