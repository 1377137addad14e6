//! Where the way to an address leads. No packet is sent: the ways are only asked for.

use std::net::UdpSocket;

use anyhow::{Context as _, Result, ensure};
use portwatch::{
    event::{IfName, Lookup},
    explain::{Neighbour, Route, RouteKind},
    facts::{Namespace, Way},
};

use super::{interface, ip, prepared};

fn route(namespace: &Namespace, destination: &str) -> Result<Route> {
    let way = Way {
        destination: destination.parse()?,
        source: None,
        interface: None,
        uid: None,
    };
    let (found, _) = namespace.route(way);
    found
        .found()
        .with_context(|| format!("no answer about {destination}"))
}

pub(super) fn refuses() -> Result<()> {
    let (namespace, ()) = prepared(|| {
        for (kind, number) in [("prohibit", 1), ("blackhole", 2), ("unreachable", 3)] {
            ip(&format!("route add {kind} 10.{number}.0.0/16"))?;
            ip(&format!("-6 route add {kind} fd0{number}::/16"))?;
        }
        Ok(())
    })?;
    for (destination, kind) in [
        ("10.1.0.1", RouteKind::Prohibit),
        ("10.2.0.1", RouteKind::Blackhole),
        ("10.3.0.1", RouteKind::Unreachable),
        ("10.4.0.1", RouteKind::None),
        ("fd01::1", RouteKind::Prohibit),
        ("fd02::1", RouteKind::Blackhole),
        ("fd03::1", RouteKind::Unreachable),
        ("fd04::1", RouteKind::None),
        ("::ffff:10.1.0.1", RouteKind::Prohibit),
    ] {
        let found = route(&namespace, destination)?;
        ensure!(found.kind == kind, "{destination}: {found:?}");
    }
    Ok(())
}

pub(super) fn leads_on() -> Result<()> {
    let (namespace, ()) = prepared(|| {
        ip("addr add 10.0.0.1/24 dev lo")?;
        ip("route add 10.9.0.0/16 dev lo")
    })?;
    let lo = IfName::new(b"lo");
    let found = route(&namespace, "127.0.0.1")?;
    ensure!(
        (found.kind, found.interface) == (RouteKind::Local, lo),
        "{found:?}"
    );
    let found = route(&namespace, "::1")?;
    ensure!(
        (found.kind, found.interface) == (RouteKind::Local, lo),
        "{found:?}"
    );
    let found = route(&namespace, "10.9.0.1")?;
    ensure!(
        (found.kind, found.interface) == (RouteKind::Unicast, lo),
        "{found:?}"
    );
    ensure!(found.source == Some([10, 0, 0, 1].into()), "{found:?}");
    ensure!(found.gateway.is_none(), "{found:?}");
    let found = route(&namespace, "224.0.0.1").map(|found| found.kind)?;
    ensure!(
        found == RouteKind::None,
        "no interface for multicast: {found:?}"
    );
    let foreign = Way {
        destination: [10, 9, 0, 1].into(),
        source: Some([10, 5, 0, 1].into()),
        interface: None,
        uid: None,
    };
    let found = namespace.route(foreign).0.found().context("no answer")?;
    ensure!(
        found.kind == RouteKind::None,
        "not with a source of others: {found:?}"
    );
    Ok(())
}

/// The socket waits until the kernel has given up asking; the question goes no further than to the
/// link's other end. (TCP would send once more, and the kernel ask again.)
pub(super) fn next_hop_does_not_answer() -> Result<()> {
    let (namespace, error) = prepared(|| {
        interface("near", "veth")?;
        for link in ["near", "veth0"] {
            ip(&format!("link set {link} up"))?;
        }
        ip("addr add 10.0.0.1/24 dev near")?;
        let socket = UdpSocket::bind("10.0.0.1:0")?;
        super::super::sys::set_flag(&socket, libc::IPPROTO_IP, libc::IP_RECVERR)?;
        socket.connect("10.0.0.2:9")?;
        socket.send(b"anybody?")?;
        Ok(socket.recv(&mut [0]).err())
    })?;
    let error = error.context("somebody answered")?;
    ensure!(error.raw_os_error() == Some(libc::EHOSTUNREACH), "{error}");
    for (destination, failed) in [
        ([10, 0, 0, 2], Lookup::Found(Neighbour::Failed)),
        ([10, 0, 0, 3], Lookup::NotThere),
        ([127, 0, 0, 1], Lookup::NotThere),
    ] {
        let way = Way {
            destination: destination.into(),
            source: None,
            interface: None,
            uid: None,
        };
        let (route, found) = namespace.route(way);
        ensure!(found == failed, "{destination:?}: {route:?}, {found:?}");
    }
    Ok(())
}
