//! Internet sockets that know what they are.

use std::{
    io,
    net::SocketAddr,
    os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd, RawFd},
};

use anyhow::Result;
use rustix::net::{AddressFamily, Protocol, SocketType, ipproto, sockopt};

use super::super::{sys, truth};

/// A socket, and portwatch's word for its protocol.
pub(super) struct Socket {
    fd: OwnedFd,
    proto: &'static str,
}

impl Socket {
    pub(super) fn open(
        family: AddressFamily,
        kind: SocketType,
        protocol: Option<Protocol>,
        proto: &'static str,
    ) -> io::Result<Self> {
        let fd = rustix::net::socket(family, kind, protocol)?;
        Ok(Self { fd, proto })
    }

    /// One that is there already.
    pub(super) fn of(fd: OwnedFd, proto: &'static str) -> Self {
        Self { fd, proto }
    }

    pub(super) fn tcp4() -> io::Result<Self> {
        Self::open(
            AddressFamily::INET,
            SocketType::STREAM,
            Some(ipproto::TCP),
            "tcp",
        )
    }

    pub(super) fn tcp6() -> io::Result<Self> {
        Self::open(
            AddressFamily::INET6,
            SocketType::STREAM,
            Some(ipproto::TCP),
            "tcp",
        )
    }

    pub(super) fn udp4() -> io::Result<Self> {
        Self::open(
            AddressFamily::INET,
            SocketType::DGRAM,
            Some(ipproto::UDP),
            "udp",
        )
    }

    /// A UDP socket of the family of that address.
    pub(super) fn udp(address: SocketAddr) -> io::Result<Self> {
        if address.is_ipv4() {
            return Self::udp4();
        }
        let (family, protocol) = (AddressFamily::INET6, Some(ipproto::UDP));
        Self::open(family, SocketType::DGRAM, protocol, "udp")
    }

    /// A TCP socket of the family of that address.
    pub(super) fn tcp(address: SocketAddr) -> io::Result<Self> {
        if address.is_ipv4() {
            Self::tcp4()
        } else {
            Self::tcp6()
        }
    }

    pub(super) fn raw_fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }

    pub(super) fn local(&self) -> Result<SocketAddr> {
        Ok(SocketAddr::try_from(rustix::net::getsockname(&self.fd)?)?)
    }

    /// What it is now.
    pub(super) fn truth(&self, reached: bool) -> Result<truth::Socket> {
        let local = self.local()?;
        Ok(truth::Socket {
            proto: self.proto.to_owned(),
            local_addr: local.ip(),
            local_port: (self.proto != "raw").then_some(local.port()),
            inode: Some(rustix::fs::fstat(&self.fd)?.st_ino),
            netns: sys::netns()?,
            options: self.options(local)?,
            reached,
        })
    }

    fn options(&self, local: SocketAddr) -> Result<Vec<String>> {
        let nonblock = rustix::fs::fcntl_getfl(&self.fd)?.contains(rustix::fs::OFlags::NONBLOCK);
        let v6only = local.is_ipv6() && sockopt::ipv6_v6only(&self.fd)?;
        let options = [
            (sockopt::socket_reuseaddr(&self.fd)?, "reuseaddr"),
            (sockopt::socket_reuseport(&self.fd)?, "reuseport"),
            (v6only, "v6only"),
            (nonblock, "nonblock"),
            (sockopt::socket_broadcast(&self.fd)?, "broadcast"),
        ];
        Ok(options
            .into_iter()
            .filter(|(set, _)| *set)
            .map(|(_, name)| name.to_owned())
            .collect())
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}
