//! A network namespace, and what can be asked of it.

use std::{fs, io, net::IpAddr};

use super::{Way, address, route};
use crate::{
    event::{IfName, Lookup, Unseen},
    explain::{Address, Elsewhere, Neighbour, Ports, Route},
    netns::{self, Namespaces, Place},
};

/// A network namespace, held open. Each question enters it; `None` also where that is not allowed.
#[derive(Debug)]
pub struct Namespace(netns::Namespace);

impl From<netns::Namespace> for Namespace {
    fn from(namespace: netns::Namespace) -> Self {
        Self(namespace)
    }
}

impl AsRef<netns::Namespace> for Namespace {
    fn as_ref(&self) -> &netns::Namespace {
        &self.0
    }
}

/// Namespaces that are asked whether they have an address.
const ASKED: usize = 64;

/// Interfaces that are asked whether they have IPv6.
const INTERFACES: usize = 256;

impl Namespace {
    /// The one that portwatch is in.
    pub fn own() -> io::Result<Self> {
        netns::Namespace::own().map(Self)
    }

    /// The one that a process is in.
    pub fn of_pid(pid: u32) -> io::Result<Self> {
        netns::Namespace::of_process(pid).map(Self)
    }

    pub const fn inode(&self) -> u32 {
        self.0.inode()
    }

    /// Inode of the user namespace that owns it: capabilities count there.
    pub fn owner(&self) -> Option<u32> {
        self.0.owner()
    }

    /// # Errors
    ///
    /// Where portwatch may not enter it.
    pub fn try_enter(&self) -> io::Result<()> {
        self.0.visit(|| ())
    }

    /// Looks in it.
    fn look<T: Send>(&self, look: impl FnOnce() -> Lookup<T> + Send) -> Lookup<T> {
        match self.0.visit(look) {
            Ok(answer) => answer,
            Err(error) => Lookup::NotSeen(Unseen::from(&error)),
        }
    }

    /// `net.ipv4.ip_local_port_range`: the ports that the kernel gives out by itself.
    pub fn ports(&self) -> Option<Ports> {
        let text = self.setting("ipv4/ip_local_port_range")?;
        let mut words = text.split_ascii_whitespace();
        let mut port = || words.next()?.parse().ok();
        Some(Ports {
            first: port()?,
            last: port()?,
        })
    }

    /// `net.ipv4.ip_unprivileged_port_start`, which is for IPv6 too.
    pub fn threshold(&self) -> Option<u32> {
        self.setting("ipv4/ip_unprivileged_port_start")?
            .parse()
            .ok()
    }

    /// `ip_nonlocal_bind` of the address's family: whether addresses of others can be bound.
    pub fn nonlocal_bind(&self, ip: IpAddr) -> Option<bool> {
        let name = match ip.to_canonical() {
            IpAddr::V4(_) => "ipv4/ip_nonlocal_bind",
            IpAddr::V6(_) => "ipv6/ip_nonlocal_bind",
        };
        Some(self.setting(name)? != "0")
    }

    fn setting(&self, name: &str) -> Option<String> {
        self.0.visit(|| setting(name)).ok()?
    }

    /// What has become of an address, on `ifindex` if it is there more than once. Other
    /// namespaces are not looked at.
    pub fn address(&self, ip: IpAddr, ifindex: Option<u32>) -> Address {
        let is_ipv6 = ip.to_canonical().is_ipv6();
        Address {
            assigned: self.look(|| address::assigned(ip, ifindex)),
            elsewhere: Vec::new(),
            nonlocal_bind: self.nonlocal_bind(ip),
            local_table: if is_ipv6 { None } else { self.local_table() },
            ipv6_disabled_on: if is_ipv6 {
                self.without_ipv6()
            } else {
                Vec::new()
            },
        }
    }

    /// Whether it knows which IPv4 addresses are local.
    fn local_table(&self) -> Option<bool> {
        self.0.visit(route::has_local_table).ok()?
    }

    /// Interfaces that have IPv6 turned off.
    fn without_ipv6(&self) -> Vec<IfName> {
        let look = || {
            fs::read_dir("/proc/sys/net/ipv6/conf")
                .into_iter()
                .flatten()
                .flatten()
                .take(INTERFACES)
                .filter_map(|entry| entry.file_name().into_string().ok())
                .filter(|name| name != "all" && name != "default")
                .filter(|name| {
                    setting(&format!("ipv6/conf/{name}/disable_ipv6")).as_deref() == Some("1")
                })
                .filter_map(|name| IfName::new(name.as_bytes()))
                .collect()
        };
        self.0.visit(look).unwrap_or_default()
    }

    /// Other namespaces that have the address, of those that have a name or a process.
    pub fn elsewhere(&self, ip: IpAddr, namespaces: &mut Namespaces) -> Vec<Elsewhere> {
        // Every namespace has those.
        if ip.to_canonical().is_loopback() {
            return Vec::new();
        }
        let has_it = |place: &Place| {
            let namespace = place.open().map(Self);
            namespace.is_ok_and(|it| it.look(|| address::assigned(ip, None)).is_found())
        };
        let (places, _) = namespaces.search();
        let mut others: Vec<_> = places
            .iter()
            .filter(|(inode, _)| **inode != self.inode())
            .collect();
        others.sort_by_key(|(inode, _)| **inode);
        others
            .into_iter()
            .take(ASKED)
            .filter(|(_, place)| has_it(place))
            .map(|(&netns, place)| Elsewhere {
                netns,
                tgid: place.tgid,
                name: place.name(),
            })
            .collect()
    }

    /// Where the way leads, and what is known of the next hop.
    pub fn route(&self, way: Way) -> (Lookup<Route>, Lookup<Neighbour>) {
        self.0.visit(|| way.look_up()).unwrap_or_else(|error| {
            let why = Unseen::from(&error);
            (Lookup::NotSeen(why), Lookup::NotSeen(why))
        })
    }

    pub fn interface(&self, ifindex: u32) -> Lookup<()> {
        self.look(|| address::interface(ifindex))
    }
}

/// A file of /proc/sys/net, of the thread's network namespace.
fn setting(name: &str) -> Option<String> {
    let text = fs::read_to_string(format!("/proc/sys/net/{name}")).ok()?;
    Some(text.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use super::*;

    #[test]
    fn ones_own_namespace_answers_without_privileges() {
        let own = Namespace::own().unwrap();
        let ports = own.ports().unwrap();
        assert!(ports.first <= ports.last, "{ports:?}");
        assert!(own.threshold().is_some());
        assert!(own.nonlocal_bind(Ipv4Addr::LOCALHOST.into()).is_some());
        assert_eq!(own.interface(1), Lookup::Found(()));
        assert!(own.try_enter().is_ok());
    }

    #[test]
    fn every_namespace_has_the_loopback_addresses() {
        let own = Namespace::own().unwrap();
        for ip in [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()] {
            assert_eq!(own.elsewhere(ip, &mut Namespaces::default()), []);
        }
    }
}
