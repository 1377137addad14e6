//! Whether this host has an address: its kernel is asked, by a bind of UDP to a port of its choice.
//!
//! That sends nothing, and the address is looked at as in the bind that is asked about
//! (bsd/netinet/in_pcb.c, `in_pcbbind`, `ifa_ifwithaddr`).

use std::{
    io::ErrorKind,
    net::{IpAddr, SocketAddr, SocketAddrV6, UdpSocket},
};

use crate::event::Requested;

/// `None` where that cannot be told.
pub(super) fn has(address: Requested) -> Option<bool> {
    let at = match address.ip.to_canonical() {
        IpAddr::V4(ip) => SocketAddr::from((ip, 0)),
        IpAddr::V6(ip) => SocketAddrV6::new(ip, 0, 0, address.scope_id).into(),
    };
    match UdpSocket::bind(at) {
        Ok(_) => Some(true),
        Err(error) if error.kind() == ErrorKind::AddrNotAvailable => Some(false),
        Err(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_knows_its_addresses() {
        let has = |ip: &str| {
            has(Requested {
                ip: ip.parse().unwrap(),
                port: 80,
                scope_id: 0,
            })
        };
        assert_eq!(has("127.0.0.1"), Some(true));
        assert_eq!(has("::ffff:127.0.0.1"), Some(true));
        assert_eq!(has("198.51.100.1"), Some(false));
        // A link-local address without its interface.
        assert_eq!(has("fe80::1"), None);
    }
}
