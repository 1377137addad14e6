//! The kernel's sockets, read at the offsets that the running kernel's BTF gives.

use portwatch_common::{
    event::{Attempt, known, options},
    settings::Offset,
};

use crate::{
    maps::{present, setting},
    memory::{Memory, Probed},
    task::user_ns_level,
};

pub(crate) const AF_INET: u16 = 2;
pub(crate) const AF_INET6: u16 = 10;

/// The `struct sock` behind a `struct socket`.
#[inline(always)]
pub(crate) fn of_socket<M: Memory>(socket: u64) -> Option<u64> {
    M::read(socket, present(setting!(offsets.socket_sk))?)
}

/// Whether a descriptor leads to the socket: one that the kernel keeps for itself has no file
/// (`sock_create_kern`, net/socket.c).
#[inline(always)]
pub(crate) fn has_file<M: Memory>(socket: u64) -> Option<bool> {
    let file: u64 = M::read(socket, present(setting!(offsets.socket_file))?)?;
    Some(file != 0)
}

/// By which the descriptors that lead to it are known.
#[inline(always)]
pub(crate) fn identify<M: Memory>(attempt: &mut Attempt, socket: u64) -> Option<()> {
    attempt.inode = inode::<M>(socket)?;
    attempt.known |= known::INODE;
    Some(())
}

/// The number of the inode of a `struct socket`'s file.
#[inline(always)]
pub(crate) fn inode<M: Memory>(socket: u64) -> Option<u32> {
    let file: u64 = M::read(socket, present(setting!(offsets.socket_file))?)?;
    inode_number::<M>(M::read(file, present(setting!(offsets.file_inode))?)?)
}

/// The number of a `struct inode`. The kernel numbers sockets with 32 bits (`get_next_ino`, fs/inode.c).
#[inline(always)]
pub(crate) fn inode_number<M: Memory>(inode: u64) -> Option<u32> {
    let number: u64 = M::read(inode, present(setting!(offsets.inode_ino))?)?;
    Some(number as u32)
}

/// The socket's `AF_*`.
#[inline(always)]
pub(crate) fn family<M: Memory>(sk: u64) -> Option<u16> {
    M::read(sk, present(setting!(offsets.skc_family))?)
}

/// The `struct socket` that a `struct sock` belongs to.
#[inline(always)]
pub(crate) fn owner<M: Memory>(sk: u64) -> Option<u64> {
    M::read(sk, present(setting!(offsets.sk_socket))?)
}

/// What the socket is: protocol, network namespace, options. Written whole or not at all.
#[inline(always)]
pub(crate) fn describe<M: Memory>(attempt: &mut Attempt, sk: u64) -> Option<()> {
    let family = family::<M>(sk)?;
    let sock_type = sock_type::<M>(sk)?;
    let net: u64 = M::read(sk, present(setting!(offsets.skc_net))?)?;
    let netns = M::read(net, present(setting!(offsets.net_inum))?)?;
    let ifindex = device::<M>(sk)?;
    attempt.protocol = protocol::<M>(sk)?;
    attempt.family = family;
    attempt.sock_type = sock_type;
    attempt.netns = netns;
    attempt.ifindex = ifindex;
    attempt.options = (attempt.options & options::NONBLOCK) | options::<M>(sk);
    attempt.known |= known::SOCKET;
    threshold::<M>(attempt, net);
    Some(())
}

/// `SO_BINDTODEVICE`, 0 where there is none.
#[inline(always)]
pub(crate) fn device<M: Memory>(sk: u64) -> Option<u32> {
    M::read(sk, present(setting!(offsets.skc_bound_dev_if))?)
}

/// Who made the socket.
#[inline(always)]
pub(crate) fn uid<M: Memory>(sk: u64) -> Option<u32> {
    M::read(sk, present(setting!(offsets.sk_uid))?)
}

/// `TCP_*`.
#[inline(always)]
pub(crate) fn state<M: Memory>(sk: u64) -> Option<u8> {
    M::read(sk, present(setting!(offsets.skc_state))?)
}

/// The socket's `SOCK_*`.
#[inline(always)]
pub(crate) fn sock_type<M: Memory>(sk: u64) -> Option<u16> {
    M::read(sk, present(setting!(offsets.sk_type))?)
}

/// The inode of the socket's network namespace.
#[inline(always)]
pub(crate) fn netns<M: Memory>(sk: u64) -> Option<u32> {
    let net: u64 = M::read(sk, present(setting!(offsets.skc_net))?)?;
    M::read(net, present(setting!(offsets.net_inum))?)
}

/// `sk_protocol`: one byte until 5.5, two since (MPTCP is 262).
#[inline(always)]
pub(crate) fn protocol<M: Memory>(sk: u64) -> Option<u16> {
    let offset = present(setting!(offsets.sk_protocol))?;
    if setting!(offsets.sk_protocol_size) == 1 {
        M::read::<u8>(sk, offset).map(u16::from)
    } else {
        M::read(sk, offset)
    }
}

/// The port from which on everybody may bind in this network namespace.
#[inline(always)]
fn threshold<M: Memory>(attempt: &mut Attempt, net: u64) -> Option<()> {
    attempt.unprivileged_port_start = M::read(net, present(setting!(offsets.net_prot_sock))?)?;
    attempt.known |= known::THRESHOLD;
    Some(())
}

/// [`options`] bits, but for that of the call.
#[inline(always)]
pub(crate) fn options<M: Memory>(sk: u64) -> u16 {
    // They lie behind `struct sock`, where a typed pointer does not reach.
    let inet = present(setting!(offsets.inet_flags))
        .and_then(|byte| Probed::read::<u32>(sk, byte))
        .unwrap_or(0);
    common_options::<M>(sk)
        | when(inet & setting!(offsets.freebind), options::FREEBIND)
        | when(inet & setting!(offsets.transparent), options::TRANSPARENT)
        | when(
            inet & setting!(offsets.bind_address_no_port),
            options::BIND_ADDRESS_NO_PORT,
        )
}

/// Those of `struct sock_common`.
#[inline(always)]
pub(crate) fn common_options<M: Memory>(sk: u64) -> u16 {
    let byte_at = |offset| {
        present(offset)
            .and_then(|byte| M::read::<u8>(sk, byte))
            .map_or(0, u32::from)
    };
    let common = byte_at(setting!(offsets.sk_flags));
    let flags = byte_at(setting!(offsets.skc_flags));
    when(common & setting!(offsets.reuse), options::REUSEADDR)
        | when(common & setting!(offsets.reuseport), options::REUSEPORT)
        | when(common & setting!(offsets.ipv6only), options::V6ONLY)
        | when(flags & setting!(offsets.broadcast), options::BROADCAST)
}

#[inline(always)]
fn when(bits: u32, option: u16) -> u16 {
    if bits != 0 { option } else { 0 }
}

/// The local port, host byte order: 0 until the socket is bound.
#[inline(always)]
pub(crate) fn port<M: Memory>(sk: u64) -> Option<u16> {
    M::read(sk, present(setting!(offsets.skc_num))?)
}

/// The socket's own end, as getsockname() gives it (`inet_getname`, net/ipv4/af_inet.c;
/// `inet6_getname`, net/ipv6/af_inet6.c): the bound address, or the one that the kernel chose.
#[inline(always)]
pub(crate) fn local_end<M: Memory>(attempt: &mut Attempt, sk: u64) -> Option<()> {
    let port = port::<M>(sk)?;
    let family = family::<M>(sk)?;
    if family == AF_INET6 {
        attempt.local_addr = words(ipv6_end::<M>(sk)?);
    } else {
        let ipv4 = ipv4_end::<M>(sk)?.to_ne_bytes();
        attempt.local_addr[..4].copy_from_slice(&ipv4);
    }
    attempt.local_port = port;
    attempt.known |= known::LOCAL;
    Some(())
}

#[inline(always)]
fn ipv4_end<M: Memory>(sk: u64) -> Option<u32> {
    match M::read(sk, present(setting!(offsets.skc_rcv_saddr))?)? {
        0 => Probed::read(sk, present(setting!(offsets.inet_saddr))?),
        bound => Some(bound),
    }
}

#[inline(always)]
fn ipv6_end<M: Memory>(sk: u64) -> Option<[u64; 2]> {
    let bound = ipv6::<M>(sk, present(setting!(offsets.skc_v6_rcv_saddr))?)?;
    if bound[0] | bound[1] != 0 {
        return Some(bound);
    }
    let pinet6: u64 = Probed::read(sk, present(setting!(offsets.inet_pinet6))?)?;
    ipv6::<Probed>(pinet6, present(setting!(offsets.ipv6_saddr))?)
}

/// A `struct in6_addr`, in two loads: a typed pointer allows none of 16 bytes.
#[inline(always)]
fn ipv6<M: Memory>(base: u64, offset: usize) -> Option<[u64; 2]> {
    let parts: [Option<u32>; 4] = [
        M::read(base, offset),
        M::read(base, offset + 4),
        M::read(base, offset + 8),
        M::read(base, offset + 12),
    ];
    let join = |low: Option<u32>, high: Option<u32>| {
        let (low, high) = (low?.to_ne_bytes(), high?.to_ne_bytes());
        Some(u64::from_ne_bytes([
            low[0], low[1], low[2], low[3], high[0], high[1], high[2], high[3],
        ]))
    };
    Some([join(parts[0], parts[1])?, join(parts[2], parts[3])?])
}

#[inline(always)]
fn words(words: [u64; 2]) -> [u8; 16] {
    // SAFETY: 16 bytes are 16 bytes.
    unsafe { core::mem::transmute(words) }
}

/// The far end as a `struct sockaddr`: where a connect really went.
#[inline(always)]
pub(crate) fn far_end<M: Memory>(attempt: &mut Attempt, sk: u64) -> Option<()> {
    let family = family::<M>(sk)?;
    let port = peer_port::<M>(sk)?;
    attempt.effective[..2].copy_from_slice(&family.to_ne_bytes());
    attempt.effective[2..4].copy_from_slice(&port.to_ne_bytes());
    if family == AF_INET6 {
        attempt.effective[8..24].copy_from_slice(&peer_addr::<M>(sk, family)?);
    } else if family == AF_INET {
        let ip = peer_addr::<M>(sk, family)?;
        attempt.effective[4..8].copy_from_slice(&ip[..4]);
    }
    attempt.known |= known::EFFECTIVE;
    Some(())
}

/// The far end's port, network byte order.
#[inline(always)]
pub(crate) fn peer_port<M: Memory>(sk: u64) -> Option<u16> {
    M::read(sk, present(setting!(offsets.skc_dport))?)
}

/// The far end's address; the first 4 bytes for `AF_INET`.
#[inline(always)]
pub(crate) fn peer_addr<M: Memory>(sk: u64, family: u16) -> Option<[u8; 16]> {
    let (ipv4, ipv6) = (setting!(offsets.skc_daddr), setting!(offsets.skc_v6_daddr));
    address::<M>(sk, family, ipv4, ipv6)
}

/// The address that the socket is bound to, all zero for the wildcard; the first 4 bytes for `AF_INET`.
#[inline(always)]
pub(crate) fn bound_addr<M: Memory>(sk: u64, family: u16) -> Option<[u8; 16]> {
    let ipv4 = setting!(offsets.skc_rcv_saddr);
    address::<M>(sk, family, ipv4, setting!(offsets.skc_v6_rcv_saddr))
}

#[inline(always)]
fn address<M: Memory>(sk: u64, family: u16, ipv4: Offset, ipv6_at: Offset) -> Option<[u8; 16]> {
    if family == AF_INET6 {
        return Some(words(ipv6::<M>(sk, present(ipv6_at)?)?));
    }
    let ip: u32 = M::read(sk, present(ipv4)?)?;
    let mut bytes = [0; 16];
    bytes[..4].copy_from_slice(&ip.to_ne_bytes());
    Some(bytes)
}

/// The error that ended the socket's connection, a positive errno; 0 where there is none.
#[inline(always)]
pub(crate) fn error<M: Memory>(sk: u64) -> Option<u32> {
    M::read(sk, present(setting!(offsets.sk_err))?)
}

/// The socket as it is before the operation changes it.
#[inline(always)]
pub(crate) fn before<M: Memory>(attempt: &mut Attempt, socket: u64, sk: u64) -> Option<()> {
    let socket_state: u32 = M::read(socket, present(setting!(offsets.socket_state))?)?;
    attempt.socket_state_before = socket_state as u8;
    attempt.state_before = state::<M>(sk)?;
    attempt.port_before = port::<M>(sk)?;
    attempt.socket_uid = uid::<M>(sk)?;
    attempt.known |= known::BEFORE;
    port_range(attempt, sk)
}

/// `IP_LOCAL_PORT_RANGE`, since Linux 6.3. It lies behind `struct sock`, where a typed pointer does
/// not reach.
#[inline(always)]
fn port_range(attempt: &mut Attempt, sk: u64) -> Option<()> {
    let range: u32 = Probed::read(sk, present(setting!(offsets.inet_local_port_range))?)?;
    attempt.first_port = range as u16;
    attempt.last_port = (range >> 16) as u16;
    Some(())
}

/// The user namespace that owns the socket's network namespace: capabilities count there.
#[inline(always)]
pub(crate) fn net_user_ns<M: Memory>(attempt: &mut Attempt, sk: u64) -> Option<()> {
    let net: u64 = M::read(sk, present(setting!(offsets.skc_net))?)?;
    let namespace: u64 = M::read(net, present(setting!(offsets.net_user_ns))?)?;
    attempt.net_user_ns = M::read(namespace, present(setting!(offsets.user_ns_inum))?)?;
    attempt.net_user_ns_level = user_ns_level::<M>(namespace)?;
    attempt.net_user_ns_owner = M::read(namespace, present(setting!(offsets.user_ns_owner))?)?;
    attempt.known |= known::NET_USER_NS;
    Some(())
}
