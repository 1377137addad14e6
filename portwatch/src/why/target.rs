//! `[ADDR:]PORT`, as it was typed.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, ToSocketAddrs as _},
};

use crate::event::Op;

/// What is asked about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    pub port: u16,
    /// One question each
    pub addresses: Vec<Place>,
}

/// An address, and the interface that was typed behind it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    pub ip: IpAddr,
    /// `fe80::1%eth0`
    pub zone: Option<String>,
}

/// Which addresses are wanted: `-4`, `-6`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Only {
    #[default]
    Both,
    Ipv4,
    Ipv6,
}

/// Why an address cannot be asked about.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoTarget {
    #[error("`{0}` is no port; ask for 80, 127.0.0.1:80, [::1]:80 or localhost:80")]
    Port(String),
    #[error("`{0}` has no port; ask for 80, 127.0.0.1:80, [::1]:80 or localhost:80")]
    Bare(String),
    #[error("the host `{0}` is not known")]
    Host(String),
    #[error("`{0}` has no such address")]
    Family(String),
    #[error("a connect needs a port above 0")]
    NoPort,
}

impl Target {
    /// A port alone means every address: the wildcards for a bind, loopback for a connect.
    pub fn parse(typed: &str, op: Op, only: Only) -> Result<Self, NoTarget> {
        let (host, port) = split(typed)?;
        let port: u16 = port.parse().map_err(|_| NoTarget::Port(typed.to_owned()))?;
        if op == Op::Connect && port == 0 {
            return Err(NoTarget::NoPort);
        }
        let mut addresses = match host {
            None => every(op),
            Some(host) => places(host)?,
        };
        addresses.retain(|place| only.admits(place.ip));
        if addresses.is_empty() {
            return Err(NoTarget::Family(typed.to_owned()));
        }
        Ok(Self { port, addresses })
    }
}

impl Only {
    const fn admits(self, ip: IpAddr) -> bool {
        match self {
            Self::Both => true,
            Self::Ipv4 => ip.is_ipv4(),
            Self::Ipv6 => ip.is_ipv6(),
        }
    }
}

/// Host and port; no host for a port alone, `:80` and `*:80`.
fn split(typed: &str) -> Result<(Option<&str>, &str), NoTarget> {
    let bare = || NoTarget::Bare(typed.to_owned());
    if let Some(rest) = typed.strip_prefix('[') {
        let (host, rest) = rest.split_once(']').ok_or_else(bare)?;
        return Ok((Some(host), rest.strip_prefix(':').ok_or_else(bare)?));
    }
    if typed.parse::<IpAddr>().is_ok() {
        return Err(bare());
    }
    Ok(match typed.rsplit_once(':') {
        None => (None, typed),
        Some(("" | "*", port)) => (None, port),
        Some((host, port)) => (Some(host), port),
    })
}

fn every(op: Op) -> Vec<Place> {
    if op == Op::Connect {
        return loopback();
    }
    vec![
        Place::from(IpAddr::from(Ipv4Addr::UNSPECIFIED)),
        Place::from(IpAddr::from(Ipv6Addr::UNSPECIFIED)),
    ]
}

fn loopback() -> Vec<Place> {
    vec![
        Place::from(IpAddr::from(Ipv4Addr::LOCALHOST)),
        Place::from(IpAddr::from(Ipv6Addr::LOCALHOST)),
    ]
}

fn places(host: &str) -> Result<Vec<Place>, NoTarget> {
    if let Ok(ip) = host.parse::<IpAddr>() {
        return Ok(vec![ip.into()]);
    }
    if let Some((ip, zone)) = host.split_once('%')
        && let Ok(ip) = ip.parse::<Ipv6Addr>()
        && !zone.is_empty()
    {
        return Ok(vec![Place {
            ip: ip.into(),
            zone: Some(zone.to_owned()),
        }]);
    }
    // Always loopback (RFC 6761, 6.3), whatever a resolver says.
    if host.eq_ignore_ascii_case("localhost") {
        return Ok(loopback());
    }
    let unknown = || NoTarget::Host(host.to_owned());
    let found = (host, 0).to_socket_addrs().map_err(|_| unknown())?;
    let mut places: Vec<Place> = Vec::new();
    for address in found {
        let place = Place::from(address.ip());
        if !places.contains(&place) {
            places.push(place);
        }
    }
    if places.is_empty() {
        return Err(unknown());
    }
    Ok(places)
}

impl From<IpAddr> for Place {
    fn from(ip: IpAddr) -> Self {
        Self { ip, zone: None }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.ip)?;
        match &self.zone {
            Some(zone) => write!(f, "%{zone}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(typed: &str) -> Result<String, NoTarget> {
        let target = Target::parse(typed, Op::Bind, Only::Both)?;
        let places: Vec<_> = target.addresses.iter().map(ToString::to_string).collect();
        Ok(format!("{} {}", places.join(","), target.port))
    }

    #[test]
    fn a_port_alone_means_every_address() {
        for typed in ["80", ":80", "*:80"] {
            assert_eq!(parsed(typed).unwrap(), "0.0.0.0,:: 80", "{typed}");
        }
        let connect = Target::parse("80", Op::Connect, Only::Ipv6).unwrap();
        assert_eq!(
            connect.addresses,
            [Place::from(IpAddr::from(Ipv6Addr::LOCALHOST))]
        );
    }

    #[test]
    fn addresses_are_taken_as_they_are_written() {
        for (typed, expected) in [
            ("127.0.0.1:80", "127.0.0.1 80"),
            ("[::1]:80", "::1 80"),
            ("[fe80::1%eth0]:80", "fe80::1%eth0 80"),
            ("[::ffff:127.0.0.1]:0", "::ffff:127.0.0.1 0"),
            ("localhost:8080", "127.0.0.1,::1 8080"),
        ] {
            assert_eq!(parsed(typed).unwrap(), expected, "{typed}");
        }
    }

    #[test]
    fn what_has_no_port_is_refused() {
        for typed in [
            "",
            "http",
            "127.0.0.1",
            "::1",
            "[::1]",
            "[::1",
            "[::1]80",
            "localhost:",
            "1:70000",
            "-1",
        ] {
            assert!(parsed(typed).is_err(), "{typed}");
        }
        assert_eq!(
            Target::parse("0", Op::Connect, Only::Both),
            Err(NoTarget::NoPort)
        );
    }

    #[test]
    fn one_family_can_be_asked_for_alone() {
        let only = |typed, only| Target::parse(typed, Op::Bind, only);
        assert_eq!(only("80", Only::Ipv4).unwrap().addresses.len(), 1);
        let none = only("127.0.0.1:80", Only::Ipv6);
        assert_eq!(none, Err(NoTarget::Family("127.0.0.1:80".to_owned())));
    }
}
