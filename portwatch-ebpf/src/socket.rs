//! The kernel's sockets, read at the offsets that the running kernel's BTF gives.

use aya_ebpf::helpers::bpf_probe_read_kernel;
use portwatch_common::event::{Attempt, known, options};

use crate::maps::{present, present_bits, setting};

const AF_INET6: u16 = 10;

/// One field of a kernel struct. `None` where the struct is gone or there was none.
#[inline(always)]
pub(crate) fn read<T>(base: u64, offset: usize) -> Option<T> {
    if base == 0 {
        return None;
    }
    let field = (base as usize).wrapping_add(offset) as *const T;
    // SAFETY: the helper checks the address and fails where nothing is mapped.
    unsafe { bpf_probe_read_kernel(field) }.ok()
}

/// The `struct sock` behind a `struct socket`.
#[inline(always)]
pub(crate) fn of_socket(socket: u64) -> Option<u64> {
    read(socket, present(setting!(offsets.socket_sk))?)
}

/// What the socket is: protocol, network namespace, options. Written whole or not at all.
#[inline(always)]
pub(crate) fn describe(attempt: &mut Attempt, sk: u64) -> Option<()> {
    let family = read(sk, present(setting!(offsets.skc_family))?)?;
    let sock_type = read(sk, present(setting!(offsets.sk_type))?)?;
    let net: u64 = read(sk, present(setting!(offsets.skc_net))?)?;
    let netns = read(net, present(setting!(offsets.net_inum))?)?;
    let ifindex = read(sk, present(setting!(offsets.skc_bound_dev_if))?)?;
    attempt.protocol = protocol(sk)?;
    attempt.family = family;
    attempt.sock_type = sock_type;
    attempt.netns = netns;
    attempt.ifindex = ifindex;
    attempt.options = (attempt.options & options::NONBLOCK) | socket_options(sk);
    attempt.known |= known::SOCKET;
    Some(())
}

/// `sk_protocol`: one byte until 5.5, two since (MPTCP is 262).
#[inline(always)]
fn protocol(sk: u64) -> Option<u16> {
    let offset = present(setting!(offsets.sk_protocol))?;
    if setting!(offsets.sk_protocol_size) == 1 {
        read::<u8>(sk, offset).map(u16::from)
    } else {
        read(sk, offset)
    }
}

#[inline(always)]
fn socket_options(sk: u64) -> u16 {
    bit(sk, setting!(offsets.reuse), options::REUSEADDR)
        | bit(sk, setting!(offsets.reuseport), options::REUSEPORT)
        | bit(sk, setting!(offsets.ipv6only), options::V6ONLY)
        | bit(sk, setting!(offsets.freebind), options::FREEBIND)
        | bit(sk, setting!(offsets.transparent), options::TRANSPARENT)
        | bit(
            sk,
            setting!(offsets.bind_address_no_port),
            options::BIND_ADDRESS_NO_PORT,
        )
}

/// `option` where the bit field is not 0.
#[inline(always)]
fn bit(sk: u64, field: portwatch_common::settings::BitField, option: u16) -> u16 {
    let set = present_bits(field)
        .and_then(|(byte, mask)| read::<u8>(sk, byte).map(|value| value & mask != 0));
    if set == Some(true) { option } else { 0 }
}

/// The socket's own end, as getsockname() gives it (`inet_getname`, net/ipv4/af_inet.c;
/// `inet6_getname`, net/ipv6/af_inet6.c): the bound address, or the one that the kernel chose.
#[inline(always)]
pub(crate) fn local_end(attempt: &mut Attempt, sk: u64) -> Option<()> {
    let port = read(sk, present(setting!(offsets.skc_num))?)?;
    let family: u16 = read(sk, present(setting!(offsets.skc_family))?)?;
    if family == AF_INET6 {
        attempt.local_addr = ipv6_end(sk)?;
    } else {
        let ipv4 = ipv4_end(sk)?;
        attempt.local_addr[..4].copy_from_slice(&ipv4);
    }
    attempt.local_port = port;
    attempt.known |= known::LOCAL;
    Some(())
}

#[inline(always)]
fn ipv4_end(sk: u64) -> Option<[u8; 4]> {
    let bound: [u8; 4] = read(sk, present(setting!(offsets.skc_rcv_saddr))?)?;
    if u32::from_ne_bytes(bound) != 0 {
        return Some(bound);
    }
    read(sk, present(setting!(offsets.inet_saddr))?)
}

#[inline(always)]
fn ipv6_end(sk: u64) -> Option<[u8; 16]> {
    let bound: [u64; 2] = read(sk, present(setting!(offsets.skc_v6_rcv_saddr))?)?;
    if bound[0] | bound[1] != 0 {
        // SAFETY: 16 bytes are 16 bytes.
        return Some(unsafe { core::mem::transmute::<[u64; 2], [u8; 16]>(bound) });
    }
    let pinet6: u64 = read(sk, present(setting!(offsets.inet_pinet6))?)?;
    read(pinet6, present(setting!(offsets.ipv6_saddr))?)
}
