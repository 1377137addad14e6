//! What has become of a local address (`ip address`, `ip link`).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::{
    event::{IfName, Lookup, Unseen},
    explain::Assigned,
    netlink::{Dump, Failure, Netlink, attributes},
};

const RTM_GETLINK: u16 = 18;
const RTM_GETADDR: u16 = 22;

// include/uapi/linux/if_addr.h
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFA_FLAGS: u16 = 8;
const IFA_F_OPTIMISTIC: u32 = 0x04;
const IFA_F_DADFAILED: u32 = 0x08;
const IFA_F_TENTATIVE: u32 = 0x40;

// include/uapi/linux/if_link.h
const IFLA_IFNAME: u16 = 3;
const IFLA_MASTER: u16 = 10;
const IFLA_LINKINFO: u16 = 18;
const IFLA_INFO_KIND: u16 = 1;

/// Interfaces that have the same address, at most: link-local ones are often alike.
const SAME: usize = 64;

/// `struct ifaddrmsg`
#[derive(Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
struct AddressMessage {
    family: u8,
    prefix_len: u8,
    flags: u8,
    scope: u8,
    ifindex: u32,
}

/// `struct ifinfomsg`
#[derive(Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
struct LinkMessage {
    family: u8,
    pad: u8,
    kind: u16,
    ifindex: u32,
    flags: u32,
    change: u32,
}

/// The interface of the thread's network namespace that has the address: `preferred`, if that
/// does.
pub(super) fn assigned(ip: IpAddr, preferred: Option<u32>) -> Lookup<Assigned> {
    let ip = ip.to_canonical();
    let family = if ip.is_ipv4() {
        libc::AF_INET
    } else {
        libc::AF_INET6
    };
    let question = AddressMessage {
        family: u8::try_from(family).unwrap_or_default(),
        ..AddressMessage::default()
    };
    let dump = Netlink::to_route().and_then(|socket| {
        socket.dump(RTM_GETADDR, question.as_bytes(), SAME, |body| {
            parse(body).filter(|(address, _)| *address == ip)
        })
    });
    match dump {
        Ok(dump) => choose(&dump, preferred).map(with_link),
        Err(failure) => Lookup::NotSeen(failure.unseen()),
    }
}

fn choose(dump: &Dump<(IpAddr, Assigned)>, preferred: Option<u32>) -> Lookup<Assigned> {
    let found = || dump.found.iter().map(|&(_, assigned)| assigned);
    let chosen = found()
        .find(|assigned| Some(assigned.ifindex) == preferred)
        .or_else(|| found().next());
    match chosen {
        Some(assigned) => Lookup::Found(assigned),
        None if dump.whole => Lookup::NotThere,
        None => Lookup::NotSeen(Unseen::Time),
    }
}

fn with_link(assigned: Assigned) -> Assigned {
    let link = Link::get(assigned.ifindex);
    Assigned {
        ifname: link.as_ref().and_then(|link| link.name),
        vrf: link.and_then(|link| link.vrf()),
        ..assigned
    }
}

/// An address, and the interface that has it (RTM_NEWADDR, rtnetlink(7)).
pub fn parse(body: &[u8]) -> Option<(IpAddr, Assigned)> {
    let (message, rest) = AddressMessage::read_from_prefix(body).ok()?;
    let attribute =
        |wanted| attributes(rest).find_map(|(kind, value)| (kind == wanted).then_some(value));
    // Where there is a far end, IFA_ADDRESS is that.
    let ip = attribute(IFA_LOCAL).or_else(|| attribute(IFA_ADDRESS));
    let flags = attribute(IFA_FLAGS)
        .and_then(|value| u32::read_from_bytes(value).ok())
        .unwrap_or_else(|| message.flags.into());
    Some((
        ip_from(ip?)?,
        Assigned {
            ifindex: message.ifindex,
            ifname: None,
            // An optimistic address can be used meanwhile.
            tentative: flags & (IFA_F_TENTATIVE | IFA_F_OPTIMISTIC) == IFA_F_TENTATIVE,
            dad_failed: flags & IFA_F_DADFAILED != 0,
            vrf: None,
        },
    ))
}

/// An address of either family, by its length.
pub(super) fn ip_from(bytes: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(bytes).map(|bytes| Ipv4Addr::from(bytes).into());
    let v6 = || <[u8; 16]>::try_from(bytes).map(|bytes| Ipv6Addr::from(bytes).into());
    v4.or_else(|_| v6()).ok()
}

/// An interface.
#[derive(Debug, PartialEq, Eq)]
pub struct Link {
    name: Option<IfName>,
    master: Option<u32>,
    is_vrf: bool,
}

impl Link {
    fn get(ifindex: u32) -> Option<Self> {
        Self::ask(ifindex).ok().flatten()
    }

    fn ask(ifindex: u32) -> Result<Option<Self>, Failure> {
        let question = LinkMessage {
            ifindex,
            ..LinkMessage::default()
        };
        let answer = Netlink::to_route()?.ask(RTM_GETLINK, question.as_bytes())?;
        Ok(Self::parse(&answer))
    }

    /// RTM_NEWLINK
    pub fn parse(answer: &[u8]) -> Option<Self> {
        let (_, rest) = LinkMessage::read_from_prefix(answer).ok()?;
        let mut link = Self {
            name: None,
            master: None,
            is_vrf: false,
        };
        for (kind, value) in attributes(rest) {
            match kind {
                IFLA_IFNAME => link.name = IfName::new(value.strip_suffix(b"\0").unwrap_or(value)),
                IFLA_MASTER => link.master = u32::read_from_bytes(value).ok(),
                IFLA_LINKINFO => {
                    link.is_vrf = attributes(value)
                        .any(|(kind, value)| kind == IFLA_INFO_KIND && value.starts_with(b"vrf"));
                }
                _ => {}
            }
        }
        Some(link)
    }

    /// The VRF that the interface is in, or is.
    fn vrf(&self) -> Option<IfName> {
        if self.is_vrf {
            return self.name;
        }
        let master = Self::get(self.master?)?;
        master.name.filter(|_| master.is_vrf)
    }
}

pub(super) fn interface_name(ifindex: u32) -> Option<IfName> {
    Link::get(ifindex)?.name
}

/// Whether the thread's network namespace has the interface.
pub(super) fn interface(ifindex: u32) -> Lookup<()> {
    match Link::ask(ifindex) {
        Ok(_) => Lookup::Found(()),
        Err(Failure::Refused(rustix::io::Errno::NODEV)) => Lookup::NotThere,
        Err(failure) => Lookup::NotSeen(failure.unseen()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;
    use crate::netlink::push_attribute;

    fn address(flags: u32) -> Vec<u8> {
        let message = AddressMessage {
            family: 10,
            prefix_len: 64,
            flags: 0,
            scope: 0,
            ifindex: 3,
        };
        let mut body = message.as_bytes().to_owned();
        push_attribute(&mut body, IFA_ADDRESS, &Ipv6Addr::LOCALHOST.octets());
        push_attribute(&mut body, IFA_FLAGS, &flags.to_ne_bytes());
        body
    }

    #[test]
    fn flags_tell_what_keeps_an_address_from_use() {
        for (flags, tentative, dad_failed) in [
            (0x80, false, false),
            (0xC0, true, false),
            (0x44, false, false),
            (0x48, true, true),
        ] {
            let (ip, assigned) = parse(&address(flags)).unwrap();
            assert_eq!(ip, Ipv6Addr::LOCALHOST);
            assert_eq!(
                (assigned.tentative, assigned.dad_failed),
                (tentative, dad_failed)
            );
            assert_eq!(assigned.ifindex, 3);
        }
    }

    #[test]
    fn of_a_link_with_two_ends_the_near_one_counts() {
        let mut body = AddressMessage::default().as_bytes().to_owned();
        push_attribute(&mut body, IFA_ADDRESS, &[10, 0, 0, 2]);
        push_attribute(&mut body, IFA_LOCAL, &[10, 0, 0, 1]);
        assert_eq!(parse(&body).unwrap().0, Ipv4Addr::new(10, 0, 0, 1));
    }

    #[test]
    fn what_is_cut_short_is_no_address() {
        let whole = address(0);
        for len in 0..28 {
            assert_eq!(parse(&whole[..len]), None, "{len}");
        }
        assert!(parse(&whole).is_some());
    }

    #[test]
    fn the_loopback_interface_has_its_address() {
        let found = assigned(Ipv4Addr::LOCALHOST.into(), None).found().unwrap();
        assert_eq!(found.ifname, IfName::new(b"lo"));
        assert_eq!(
            (found.tentative, found.dad_failed, found.vrf),
            (false, false, None)
        );
        assert_eq!(interface(found.ifindex), Lookup::Found(()));
        assert_eq!(interface(0x7FFF_FFFF), Lookup::NotThere);
        // Of the documentation's addresses no machine has one.
        let nobodys = Ipv4Addr::new(192, 0, 2, 77).into();
        assert_eq!(assigned(nobodys, None), Lookup::NotThere);
    }

    #[test]
    fn addresses_that_were_not_all_seen_prove_nothing() {
        let none = |whole| Dump {
            found: Vec::new(),
            whole,
        };
        assert_eq!(choose(&none(true), None), Lookup::NotThere);
        assert_eq!(choose(&none(false), None), Lookup::NotSeen(Unseen::Time));
    }

    proptest! {
        #[test]
        fn no_answer_is_too_strange(bytes in vec(any::<u8>(), 0..100)) {
            let headers = (size_of::<AddressMessage>(), size_of::<LinkMessage>());
            prop_assert!(parse(&bytes).is_none() || bytes.len() > headers.0);
            prop_assert_eq!(Link::parse(&bytes).is_some(), bytes.len() >= headers.1);
        }
    }
}
