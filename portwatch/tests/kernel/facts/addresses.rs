//! What has become of an address.

use std::net::IpAddr;

use anyhow::{Context as _, Result, ensure};
use portwatch::{
    event::{IfName, Lookup},
    explain::{Address, Assigned},
    facts::Namespace,
    netns::Namespaces,
};

use super::{interface, ip, prepared};
use crate::kernel::sys;

/// Of those that nobody has: made for documentation. None of it leaves the namespace.
const V4: &str = "192.0.2.1";
const V6: &str = "2001:db8::1";

fn parsed(address: &str) -> Result<IpAddr> {
    Ok(address.parse()?)
}

fn look(namespace: &Namespace, address: &str) -> Result<Address> {
    Ok(namespace.address(parsed(address)?, None))
}

fn assigned(namespace: &Namespace, address: &str) -> Result<Assigned> {
    let found = look(namespace, address)?.assigned.found();
    found.context("not assigned")
}

pub(super) fn is_assigned() -> Result<()> {
    let (namespace, ()) = prepared(|| {
        ip(&format!("addr add {V4}/32 dev lo"))?;
        sys::set_net("ipv4/ip_nonlocal_bind", "1")
    })?;
    let found = look(&namespace, V4)?;
    let lo = Assigned {
        ifindex: 1,
        ifname: IfName::new(b"lo"),
        tentative: false,
        dad_failed: false,
        vrf: None,
    };
    ensure!(found.assigned == Lookup::Found(lo), "{found:?}");
    ensure!(found.nonlocal_bind == Some(true), "{found:?}");
    let found = look(&namespace, "::ffff:192.0.2.1")?;
    ensure!(
        found.assigned == Lookup::Found(lo),
        "an IPv4 address all the same: {found:?}"
    );
    for other in ["192.0.2.2", V6] {
        ensure!(look(&namespace, other)?.assigned.is_not_there());
    }
    ensure!(look(&namespace, V6)?.nonlocal_bind == Some(false));
    Ok(())
}

pub(super) fn is_elsewhere() -> Result<()> {
    let (there, mut child) = prepared(|| {
        ip(&format!("addr add {V4}/32 dev lo"))?;
        // A namespace is found by a process that is in it.
        let mut sleep = std::process::Command::new("busybox");
        Ok(sleep.args(["sleep", "1000"]).spawn()?)
    })?;
    let (here, ()) = prepared(|| Ok(()))?;
    let mut namespaces = Namespaces::default();
    let mut elsewhere = |namespace: &Namespace, address: &str| -> Result<_> {
        let found = namespace.elsewhere(parsed(address)?, &mut namespaces);
        Ok(found
            .into_iter()
            .map(|at| (at.netns, at.tgid))
            .collect::<Vec<_>>())
    };
    let found = [
        elsewhere(&here, V4)?,
        elsewhere(&there, V4)?,
        elsewhere(&here, V6)?,
    ];
    child.kill()?;
    child.wait()?;
    let there = (there.inode(), Some(child.id()));
    ensure!(
        found == [vec![there], vec![], vec![]],
        "{there:?}: {found:?}"
    );
    Ok(())
}

pub(super) fn is_tentative() -> Result<()> {
    let (namespace, ()) = prepared(|| {
        // While the far end is down, nobody can be asked whether they have the address.
        interface("near", "veth")?;
        ip("link set near up")?;
        ip(&format!("-6 addr add {V6}/64 dev near"))
    })?;
    let found = assigned(&namespace, V6)?;
    ensure!(found.tentative && !found.dad_failed, "{found:?}");
    ensure!(found.ifname == IfName::new(b"near"), "{found:?}");
    Ok(())
}

pub(super) fn is_in_a_vrf() -> Result<()> {
    let (namespace, ()) = prepared(|| {
        interface("red", "vrf table 10")?;
        interface("d0", "dummy")?;
        ip("link set red up")?;
        ip("link set d0 master red")?;
        ip(&format!("addr add {V4}/24 dev d0"))?;
        ip("link set d0 up")
    })?;
    let found = assigned(&namespace, V4)?;
    ensure!(found.ifname == IfName::new(b"d0"), "{found:?}");
    ensure!(found.vrf == IfName::new(b"red"), "{found:?}");
    ensure!(namespace.interface(found.ifindex).is_found());
    ensure!(namespace.interface(found.ifindex + 1000).is_not_there());
    Ok(())
}

pub(super) fn without_ipv6() -> Result<()> {
    let (namespace, ()) = prepared(|| sys::set_net("ipv6/conf/lo/disable_ipv6", "1"))?;
    let found = look(&namespace, "::1")?;
    ensure!(found.assigned.is_not_there(), "{found:?}");
    let lo: Vec<_> = IfName::new(b"lo").into_iter().collect();
    ensure!(found.ipv6_disabled_on == lo, "{found:?}");
    ensure!(look(&namespace, V4)?.ipv6_disabled_on.is_empty());
    Ok(())
}
