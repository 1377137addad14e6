//! Where the way to an address leads. No packet is sent: the ways are only asked for.

use anyhow::{Context as _, Result, ensure};
use portwatch::{
    event::IfName,
    explain::{Route, RouteKind},
    facts::{Namespace, Way},
};

use super::{ip, prepared};

fn route(namespace: &Namespace, destination: &str) -> Result<Route> {
    let way = Way {
        destination: destination.parse()?,
        source: None,
        interface: None,
        uid: None,
    };
    let found = namespace.route(way).map(|(route, _)| route);
    found.with_context(|| format!("no answer about {destination}"))
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
    let (found, _) = namespace.route(foreign).context("no answer")?;
    ensure!(
        found.kind == RouteKind::None,
        "not with a source of others: {found:?}"
    );
    Ok(())
}
