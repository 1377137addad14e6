//! What is passed to a call, and what of that can be read.

use std::{net::SocketAddr, os::fd::RawFd};

use anyhow::Result;

use super::super::{
    sys,
    truth::{self, Op},
};
use super::socket::Socket;

/// What is passed as the address.
#[derive(Clone, Copy)]
pub(super) enum Address {
    Ip(SocketAddr),
    /// With a length that is not its own
    Sized(SocketAddr, i32),
    /// 16 bytes of an address of that family
    Family(u16),
    /// A pointer to nothing readable
    Nowhere(usize),
    /// Of a `listen()`, which has none
    Backlog(usize),
}

/// The descriptor that is passed.
#[derive(Clone, Copy)]
pub(super) enum Descriptor<'a> {
    Socket(&'a Socket),
    /// Not an internet socket
    Other(RawFd),
}

impl Descriptor<'_> {
    pub(super) fn fd(self) -> RawFd {
        match self {
            Self::Socket(socket) => socket.raw_fd(),
            Self::Other(fd) => fd,
        }
    }

    pub(super) fn truth(self, address: Address) -> Result<Option<truth::Socket>> {
        match self {
            Self::Socket(socket) => socket.truth(address.reaches_protocol()).map(Some),
            Self::Other(_) => Ok(None),
        }
    }
}

impl Address {
    pub(super) fn pass(self, op: Op, fd: RawFd) -> i32 {
        match self {
            Self::Ip(ip) => pass_bytes(op, fd, &sys::sockaddr(ip), None),
            Self::Sized(ip, len) => pass_bytes(
                op,
                fd,
                &padded(&sys::sockaddr(ip)),
                Some(len.cast_unsigned()),
            ),
            Self::Family(family) => {
                pass_bytes(op, fd, &padded(&family.to_ne_bytes()), Some(sys::IPV4_LEN))
            }
            Self::Nowhere(pointer) => sys::attempt(op, fd, pointer, sys::IPV4_LEN),
            Self::Backlog(backlog) => sys::attempt(op, fd, backlog, 0),
        }
    }

    /// The family of what portwatch can read.
    pub(super) fn family(self) -> Option<String> {
        let name = match self {
            Self::Family(0) => "unspec",
            Self::Family(_) => "other",
            _ => match self.readable()? {
                SocketAddr::V4(_) => "ipv4",
                SocketAddr::V6(_) => "ipv6",
            },
        };
        Some(name.to_owned())
    }

    pub(super) fn other_family(self) -> Option<u16> {
        match self {
            Self::Family(number @ 1..) => Some(number),
            _ => None,
        }
    }

    /// The address, if all of it lies within the length that is passed.
    ///
    /// A length below zero or above `struct sockaddr_storage` hides nothing, it is just refused.
    pub(super) fn readable(self) -> Option<SocketAddr> {
        match self {
            Self::Ip(ip) => Some(ip),
            Self::Sized(ip @ SocketAddr::V4(_), len) if !(0..8).contains(&len) => Some(ip),
            Self::Sized(ip @ SocketAddr::V6(_), len) if !(0..24).contains(&len) => Some(ip),
            _ => None,
        }
    }

    /// Whether the kernel takes a copy of it, and so comes to ask the protocol.
    fn reaches_protocol(self) -> bool {
        match self {
            Self::Ip(_) | Self::Family(_) | Self::Backlog(_) => true,
            Self::Sized(_, len) => (0..=128).contains(&len),
            Self::Nowhere(_) => false,
        }
    }
}

/// With zeros behind it, so that whatever length is claimed, this process may read that much.
fn padded(bytes: &[u8]) -> [u8; 256] {
    let mut padded = [0; 256];
    padded[..bytes.len()].copy_from_slice(bytes);
    padded
}

fn pass_bytes(op: Op, fd: RawFd, bytes: &[u8], len: Option<u32>) -> i32 {
    let own = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    sys::attempt(
        op,
        fd,
        bytes.as_ptr().expose_provenance(),
        len.unwrap_or(own),
    )
}
