//! The sockets of a network namespace, from the kernel's own tables (sock_diag(7),
//! include/uapi/linux/inet_diag.h).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::{
    event::{Proto, SocketState},
    netlink::{Dump, Failure, Netlink, attributes},
};

/// A socket on a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    pub state: SocketState,
    pub ip: IpAddr,
    pub port: u16,
    /// The far end, where it is connected
    pub peer: Option<(IpAddr, u16)>,
    pub ifindex: Option<u32>,
    pub uid: u32,
    /// 0 where the socket is no file (any more)
    pub inode: u32,
    pub v6only: Option<bool>,
    /// Of a listener: connections that wait for accept(), and how many may
    pub queue: Option<(u32, u32)>,
}

/// The protocol in whose table a socket's port is; `None` of protocols without ports.
///
/// MPTCP and SMC sockets take their ports with TCP sockets of their own. (An MPTCP socket lends
/// these its inode, `mptcp_subflow_create_socket`.)
pub(super) fn table(proto: Proto) -> Option<u8> {
    const MPTCP: u16 = 262;
    const SMC: u16 = 256;
    match proto {
        Proto::Ip(MPTCP | SMC) => Some(TCP),
        // DCCP, SCTP, UDP-Lite
        Proto::Ip(number @ (6 | 17 | 33 | 132 | 136)) => u8::try_from(number).ok(),
        _ => None,
    }
}

pub(super) const TCP: u8 = 6;
const UDP: u8 = 17;

/// Which states are wanted: a bit for each.
#[derive(Clone, Copy, Debug)]
pub(super) enum States {
    /// Those that keep a port for themselves: they listen, or are bound and idle
    Keeping,
    /// All others: connections, and what is left of them
    Passing,
}

impl States {
    const fn bits(self) -> u32 {
        /// TCP_CLOSE, which UDP sockets are in when they are bound; TCP_LISTEN; and, since 6.8,
        /// TCP_BOUND_INACTIVE, without which TCP sockets that are only bound are not shown.
        const KEEPING: u32 = 1 << 7 | 1 << 10 | 1 << 13;
        match self {
            Self::Keeping => KEEPING,
            Self::Passing => !KEEPING,
        }
    }
}

/// The sockets of the thread's network namespace on a local port, those first that keep it: a dump
/// of the whole table.
pub(super) fn on_port(table: u8, port: u16, limit: usize) -> Result<Dump<Entry>, Failure> {
    let mut all = Dump {
        found: Vec::new(),
        whole: true,
    };
    for states in [States::Keeping, States::Passing] {
        for family in [AF_INET, AF_INET6] {
            let limit = limit.saturating_sub(all.found.len());
            let request = Request::new(family, table, port, states);
            let socket = Netlink::to_sock_diag()?;
            // The kernel compares the port too, but not of sockets that are bound and idle.
            let on_port = |body: &[u8]| parse(body).filter(|entry| entry.port == port);
            let dump = socket.dump(SOCK_DIAG_BY_FAMILY, request.as_bytes(), limit, on_port)?;
            all.found.extend(dump.found);
            all.whole &= dump.whole;
        }
    }
    Ok(all)
}

/// Whether the table of TCP has the sockets that are only bound: since Linux 6.8, which shows them as
/// `TCP_BOUND_INACTIVE` (net/ipv4/inet_diag.c). False where there is no such table.
pub(super) fn shows_idle_binds() -> bool {
    let release = rustix::system::uname();
    is_since_6_8(&release.release().to_string_lossy()) && is_there(TCP)
}

fn is_since_6_8(release: &str) -> bool {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit());
    let mut next = || numbers.next()?.parse::<u32>().ok();
    (next(), next()) >= (Some(6), Some(8))
}

/// The tables that the kernel does not tell of, by the module that would (`tcp_diag`, `udp_diag`; both
/// need `inet_diag`): each is asked for sockets in no state at all, which goes through none.
pub fn missing() -> Vec<&'static str> {
    const MODULES: [(u8, &str); 2] = [(TCP, "tcp_diag"), (UDP, "udp_diag")];
    let missing = MODULES.into_iter().filter(|&(table, _)| !is_there(table));
    missing.map(|(_, module)| module).collect()
}

fn is_there(table: u8) -> bool {
    let request = Request {
        states: 0,
        ..Request::new(AF_INET, table, 0, States::Keeping)
    };
    let asked = Netlink::to_sock_diag()
        .and_then(|socket| socket.dump(SOCK_DIAG_BY_FAMILY, request.as_bytes(), 1, parse));
    asked.is_ok()
}

const SOCK_DIAG_BY_FAMILY: u16 = 20;
const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;

/// `struct inet_diag_sockid`
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
struct Id {
    source_port: [u8; 2],
    destination_port: [u8; 2],
    source: [u8; 16],
    destination: [u8; 16],
    interface: u32,
    cookie: [u32; 2],
}

/// `struct inet_diag_req_v2`
#[derive(Debug, IntoBytes, Immutable)]
#[repr(C)]
struct Request {
    family: u8,
    protocol: u8,
    extensions: u8,
    pad: u8,
    states: u32,
    id: Id,
}

impl Request {
    fn new(family: u8, protocol: u8, port: u16, states: States) -> Self {
        Self {
            family,
            protocol,
            extensions: 0,
            pad: 0,
            states: states.bits(),
            id: Id {
                source_port: port.to_be_bytes(),
                ..Id::default()
            },
        }
    }
}

/// `struct inet_diag_msg`
#[derive(Debug, FromBytes, Immutable, KnownLayout)]
#[repr(C)]
struct Reply {
    family: u8,
    state: u8,
    timer: u8,
    retransmits: u8,
    id: Id,
    expires: u32,
    receive_queue: u32,
    send_queue: u32,
    uid: u32,
    inode: u32,
}

/// One socket of an answer.
pub fn parse(body: &[u8]) -> Option<Entry> {
    let (reply, rest) = Reply::read_from_prefix(body).ok()?;
    let address = |bytes| address(reply.family, bytes);
    let peer = u16::from_be_bytes(reply.id.destination_port);
    let state = SocketState::from_kernel(reply.state)?;
    let listens = state == SocketState::Listen;
    Some(Entry {
        state,
        ip: address(reply.id.source)?,
        port: u16::from_be_bytes(reply.id.source_port),
        peer: (peer != 0).then_some((address(reply.id.destination)?, peer)),
        ifindex: (reply.id.interface != 0).then_some(reply.id.interface),
        uid: reply.uid,
        inode: reply.inode,
        v6only: v6only(rest),
        // `tcp_diag_get_info` (net/ipv4/tcp_diag.c)
        queue: listens.then_some((reply.receive_queue, reply.send_queue)),
    })
}

fn address(family: u8, bytes: [u8; 16]) -> Option<IpAddr> {
    let [a, b, c, d, ..] = bytes;
    match family {
        AF_INET => Some(Ipv4Addr::new(a, b, c, d).into()),
        AF_INET6 => Some(Ipv6Addr::from(bytes).into()),
        _ => None,
    }
}

fn v6only(bytes: &[u8]) -> Option<bool> {
    const INET_DIAG_SKV6ONLY: u16 = 11;
    let (_, value) = attributes(bytes).find(|(kind, _)| *kind == INET_DIAG_SKV6ONLY)?;
    Some(*value.first()? != 0)
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    #[test]
    fn idle_binds_are_shown_since_6_8() {
        for old in ["", "6", "6.1.0-44-cloud-amd64", "5.15.0", "6.7.12"] {
            assert!(!is_since_6_8(old), "{old}");
        }
        for new in ["6.8.0", "6.12.117+deb12-cloud-amd64", "7.0", "10.1.2"] {
            assert!(is_since_6_8(new), "{new}");
        }
    }

    #[test]
    fn structures_have_the_kernels_sizes() {
        assert_eq!(size_of::<Request>(), 56);
        assert_eq!(size_of::<Reply>(), 72);
    }

    fn reply(family: u8, state: u8) -> Vec<u8> {
        let mut bytes = vec![0; 72];
        bytes[0] = family;
        bytes[1] = state;
        bytes[4..6].copy_from_slice(&8080_u16.to_be_bytes());
        bytes[64..68].copy_from_slice(&1000_u32.to_ne_bytes());
        bytes[68..72].copy_from_slice(&4711_u32.to_ne_bytes());
        bytes
    }

    #[test]
    fn a_listening_socket_is_read() {
        let mut bytes = reply(AF_INET6, 10);
        bytes[8 + 15] = 1;
        bytes[40..44].copy_from_slice(&3_u32.to_ne_bytes());
        crate::netlink::push_attribute(&mut bytes, 11, &[1]);
        assert_eq!(
            parse(&bytes),
            Some(Entry {
                state: SocketState::Listen,
                ip: Ipv6Addr::LOCALHOST.into(),
                port: 8080,
                peer: None,
                ifindex: Some(3),
                uid: 1000,
                inode: 4711,
                v6only: Some(true),
                queue: Some((0, 0)),
            })
        );
    }

    #[test]
    fn a_connection_has_a_far_end() {
        let mut bytes = reply(AF_INET, 1);
        bytes[6..8].copy_from_slice(&443_u16.to_be_bytes());
        bytes[24..28].copy_from_slice(&[10, 0, 0, 9]);
        let entry = parse(&bytes).unwrap();
        assert_eq!(entry.peer, Some((Ipv4Addr::new(10, 0, 0, 9).into(), 443)));
        assert_eq!(
            (entry.state, entry.v6only),
            (SocketState::Established, None)
        );
    }

    #[test]
    fn what_is_cut_short_or_unknown_is_no_socket() {
        let whole = reply(AF_INET, 10);
        for len in 0..whole.len() {
            assert_eq!(parse(&whole[..len]), None);
        }
        assert_eq!(parse(&reply(1, 10)), None);
        assert_eq!(parse(&reply(AF_INET, 99)), None);
    }

    #[test]
    fn ports_are_shared_with_tcp_by_what_is_built_on_it() {
        assert_eq!(table(Proto::Ip(262)), Some(TCP));
        assert_eq!(table(Proto::Ip(17)), Some(17));
        assert_eq!(table(Proto::Ip(1)), None);
        assert_eq!(table(Proto::Raw), None);
    }

    proptest! {
        #[test]
        fn no_reply_is_too_strange(bytes in vec(any::<u8>(), 0..120)) {
            if let Some(entry) = parse(&bytes) {
                prop_assert_eq!(entry.port, u16::from_be_bytes([bytes[4], bytes[5]]));
            }
        }
    }
}
