//! The kernel's tables of sockets as /proc/net shows them, for kernels whose diag modules are not
//! there (net/ipv4/tcp_ipv4.c, `tcp4_seq_show`; net/ipv4/udp.c, `udp4_seq_show`).
//!
//! TCP sockets that are bound and idle are in none of these files.

use std::{
    fs::File,
    io::{self, BufRead as _, BufReader},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use super::diag::Entry;
use crate::event::SocketState;

/// The sockets of the thread's network namespace on a local port, at most so many; and whether that
/// is all.
pub(super) fn on_port(table: u8, port: u16, limit: usize) -> io::Result<(Vec<Entry>, bool)> {
    let names = names(table).ok_or(io::ErrorKind::Unsupported)?;
    let mut found = Vec::new();
    for name in names {
        let file = match File::open(format!("/proc/thread-self/net/{name}")) {
            // A kernel without IPv6.
            Err(error) if error.kind() == io::ErrorKind::NotFound && name.ends_with('6') => {
                continue;
            }
            other => other?,
        };
        for line in BufReader::new(file).lines() {
            let entry = parse(&line?).filter(|entry| entry.port == port);
            if found.len() >= limit && entry.is_some() {
                return Ok((found, false));
            }
            found.extend(entry);
        }
    }
    Ok((found, true))
}

/// The files for a protocol.
const fn names(table: u8) -> Option<[&'static str; 2]> {
    match table {
        6 => Some(["tcp", "tcp6"]),
        17 => Some(["udp", "udp6"]),
        136 => Some(["udplite", "udplite6"]),
        _ => None,
    }
}

/// One line: `sl local_address rem_address st tx:rx tr:when retrnsmt uid timeout inode …`.
pub fn parse(line: &str) -> Option<Entry> {
    let mut words = line.split_ascii_whitespace().skip(1);
    let (ip, port) = endpoint(words.next()?)?;
    let (peer, peer_port) = endpoint(words.next()?)?;
    let state = u8::from_str_radix(words.next()?, 16).ok()?;
    let mut words = words.skip(3);
    let uid = words.next()?.parse().ok()?;
    let inode = words.nth(1)?.parse().ok()?;
    Some(Entry {
        state: SocketState::from_kernel(state)?,
        ip,
        port,
        peer: (peer_port != 0).then_some((peer, peer_port)),
        ifindex: None,
        uid,
        inode,
        v6only: None,
        queue: None,
    })
}

/// `0100007F:1F90`: words of 32 bits as they lie in memory, then the port.
fn endpoint(text: &str) -> Option<(IpAddr, u16)> {
    let (address, port) = text.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let word = |index: usize| {
        let digits = address.get(index * 8..index * 8 + 8)?;
        Some(u32::from_str_radix(digits, 16).ok()?.to_ne_bytes())
    };
    let ip = match address.len() {
        8 => Ipv4Addr::from(word(0)?).into(),
        32 => {
            let mut bytes = [0; 16];
            for (index, part) in bytes.chunks_exact_mut(4).enumerate() {
                part.copy_from_slice(&word(index)?);
            }
            Ipv6Addr::from(bytes).into()
        }
        _ => return None,
    };
    Some((ip, port))
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, UdpSocket};

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_listening_socket_is_read() {
        let line = "   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 4711 1 0000000000000000 100 0 0 10 0";
        let entry = parse(line).unwrap();
        assert_eq!(entry.ip, Ipv4Addr::LOCALHOST);
        assert_eq!((entry.port, entry.peer), (8080, None));
        assert_eq!((entry.uid, entry.inode), (1000, 4711));
        assert_eq!(entry.state, SocketState::Listen);
    }

    #[test]
    fn the_kernels_own_files_are_read() {
        let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
        let udp = UdpSocket::bind("[::1]:0").unwrap();
        for (table, address) in [
            (6, tcp.local_addr().unwrap()),
            (17, udp.local_addr().unwrap()),
        ] {
            let (found, whole) = on_port(table, address.port(), 8).unwrap();
            assert!(whole);
            assert!(
                found.iter().any(|entry| entry.ip == address.ip()),
                "{found:?}"
            );
        }
        assert!(on_port(132, 80, 8).is_err());
    }

    #[test]
    fn more_than_are_wanted_are_not_all() {
        let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = tcp.local_addr().unwrap().port();
        assert_eq!(on_port(6, port, 0).unwrap(), (Vec::new(), false));
    }

    proptest! {
        #[test]
        fn no_line_is_too_strange(line: String) {
            let found = parse(&line);
            prop_assert!(found.is_none() || line.contains(':'));
        }
    }
}
