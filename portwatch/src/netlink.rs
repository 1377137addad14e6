//! Netlink (netlink(7), include/uapi/linux/netlink.h): questions to the kernel, and its answers.
//!
//! Three questions are all that is asked (sockets, addresses, routes), and each answer is a
//! header with attributes: less than the crates for it would bring. What comes back is taken
//! for untrusted: a length that does not fit ends the reading.

use std::{
    ops::ControlFlow,
    os::fd::{AsFd as _, OwnedFd},
    time::Duration,
};

use rustix::{
    io::Errno,
    net::{
        AddressFamily, Protocol, RecvFlags, SendFlags, SocketFlags, SocketType,
        netlink::{self, SocketAddrNetlink},
        recvfrom, send, socket_with,
        sockopt::{Timeout, set_socket_timeout},
    },
};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::event::Unseen;

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// The kernel's answer: this error
    Refused(Errno),
    /// It could not be asked, or did not answer in time
    Failed(Errno),
}

/// `struct nlmsghdr`
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
struct Header {
    len: u32,
    kind: u16,
    flags: u16,
    sequence: u32,
    port: u32,
}

const HEADER: usize = size_of::<Header>();

// Kinds of messages of every protocol.
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;

const NLM_F_REQUEST: u16 = 0x1;
const NLM_F_DUMP: u16 = 0x300;
/// What was dumped changed meanwhile.
const NLM_F_DUMP_INTR: u16 = 0x10;

/// No dump writes more at once (net/netlink/af_netlink.c, `netlink_dump`).
const BUFFER: usize = 32 * 1024;

/// How long one answer may take. Dumps are written when they are read, so this is for kernels
/// that are stuck.
const PATIENCE: Duration = Duration::from_millis(100);

/// How often a dump is made that changed meanwhile; then it has to do.
const TURNS: u32 = 3;

/// A socket to the kernel, of the network namespace that the thread was in.
#[derive(Debug)]
pub(crate) struct Netlink {
    socket: OwnedFd,
    sequence: u32,
    buffer: Box<[u8]>,
}

impl Netlink {
    /// To the part of the kernel that answers about addresses and routes, whose number is 0.
    pub(crate) fn to_route() -> Result<Self, Failure> {
        Self::open(None)
    }

    /// To the part that answers about sockets.
    pub(crate) fn to_sock_diag() -> Result<Self, Failure> {
        Self::open(Some(netlink::SOCK_DIAG))
    }

    fn open(protocol: Option<Protocol>) -> Result<Self, Failure> {
        let socket = socket_with(
            AddressFamily::NETLINK,
            SocketType::RAW,
            SocketFlags::CLOEXEC,
            protocol,
        )
        .map_err(Failure::Failed)?;
        set_socket_timeout(&socket, Timeout::Recv, Some(PATIENCE)).map_err(Failure::Failed)?;
        Ok(Self {
            socket,
            sequence: 0,
            buffer: vec![0; BUFFER].into(),
        })
    }

    /// Lets a dump be limited by what the question says, and refuses questions that make no sense
    /// (`NETLINK_GET_STRICT_CHK`).
    pub(crate) fn be_strict(&mut self) -> Result<(), Failure> {
        strict::set(self.socket.as_fd()).map_err(Failure::Failed)
    }

    /// Asks for one thing; the answer's body.
    pub(crate) fn ask(&mut self, kind: u16, question: &[u8]) -> Result<Vec<u8>, Failure> {
        self.send(kind, 0, question)?;
        let mut answer = None;
        self.receive(|message| {
            answer = Some(message.body.to_owned());
            ControlFlow::Break(())
        })
        .map(drop)?;
        answer.ok_or(Failure::Failed(Errno::BADMSG))
    }

    /// Asks for many things, up to `limit` of those that `parse` makes something of.
    pub(crate) fn dump<T>(
        mut self,
        kind: u16,
        question: &[u8],
        limit: usize,
        parse: impl Fn(&[u8]) -> Option<T>,
    ) -> Result<Dump<T>, Failure> {
        let mut turn = 1;
        loop {
            let mut found = Vec::new();
            let mut changed = false;
            self.send(kind, NLM_F_DUMP, question)?;
            let end = self.receive(|message| {
                changed |= message.flags & NLM_F_DUMP_INTR != 0;
                found.extend(parse(message.body));
                if found.len() >= limit {
                    ControlFlow::Break(())
                } else {
                    ControlFlow::Continue(())
                }
            })?;
            if end.is_break() || !changed || turn == TURNS {
                let whole = end.is_continue() && !changed;
                return Ok(Dump { found, whole });
            }
            turn += 1;
        }
    }

    fn send(&mut self, kind: u16, flags: u16, question: &[u8]) -> Result<(), Failure> {
        self.sequence += 1;
        let len = HEADER + question.len();
        let header = Header {
            len: u32::try_from(len).map_err(|_| Failure::Failed(Errno::MSGSIZE))?,
            kind,
            flags: NLM_F_REQUEST | flags,
            sequence: self.sequence,
            port: 0,
        };
        let bytes = [header.as_bytes(), question].concat();
        send(&self.socket, &bytes, SendFlags::empty())
            .map(drop)
            .map_err(Failure::Failed)
    }

    /// Passes on the messages of an answer until it ends, or enough was seen: then the rest is
    /// still in the socket.
    fn receive(
        &mut self,
        mut take: impl FnMut(&Message<'_>) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, Failure> {
        loop {
            let (len, whole, from) =
                match recvfrom(&self.socket, &mut *self.buffer, RecvFlags::TRUNC) {
                    Err(Errno::INTR) => continue,
                    other => other.map_err(Failure::Failed)?,
                };
            let from = from.and_then(|from| SocketAddrNetlink::try_from(from).ok());
            // Whoever has CAP_NET_ADMIN may send here too; the kernel is port 0.
            if from.is_none_or(|from| from.pid() != 0) {
                continue;
            }
            if whole > len {
                return Err(Failure::Failed(Errno::MSGSIZE));
            }
            let answers = messages(self.buffer.get(..len).unwrap_or_default());
            for message in answers.filter(|message| message.sequence == self.sequence) {
                match message.kind {
                    NLMSG_DONE => return message.end(),
                    NLMSG_ERROR => return Err(message.error()),
                    _ if take(&message).is_break() => return Ok(ControlFlow::Break(())),
                    _ => {}
                }
            }
        }
    }
}

/// What a dump found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Dump<T> {
    pub(crate) found: Vec<T>,
    /// There is no more. Where what was dumped changed meanwhile, some may be missing, or be there
    /// twice
    pub(crate) whole: bool,
}

impl Failure {
    /// Why nothing was seen.
    pub(crate) const fn unseen(self) -> Unseen {
        match self {
            Self::Refused(Errno::PERM | Errno::ACCESS)
            | Self::Failed(Errno::PERM | Errno::ACCESS) => Unseen::Permission,
            Self::Failed(Errno::AGAIN) => Unseen::Time,
            Self::Refused(_) | Self::Failed(_) => Unseen::NotSupported,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message<'a> {
    pub kind: u16,
    flags: u16,
    sequence: u32,
    pub body: &'a [u8],
}

impl Message<'_> {
    /// A dump that fails ends with the negative error (`netlink_dump`, net/netlink/af_netlink.c).
    fn end(&self) -> Result<ControlFlow<()>, Failure> {
        match i32::read_from_prefix(self.body) {
            Ok((..=-1, _)) => Err(self.error()),
            _ => Ok(ControlFlow::Continue(())),
        }
    }

    /// `struct nlmsgerr` begins with the negative error.
    fn error(&self) -> Failure {
        match i32::read_from_prefix(self.body) {
            Ok((error @ -4095..=-1, _)) => Failure::Refused(Errno::from_raw_os_error(-error)),
            _ => Failure::Failed(Errno::BADMSG),
        }
    }
}

/// The messages of an answer, as far as they are whole.
pub fn messages(mut bytes: &[u8]) -> impl Iterator<Item = Message<'_>> {
    std::iter::from_fn(move || {
        let (header, _) = Header::read_from_prefix(bytes).ok()?;
        let len = usize::try_from(header.len).ok()?;
        let body = bytes.get(HEADER..len)?;
        bytes = bytes.get(aligned(len)..).unwrap_or_default();
        Some(Message {
            kind: header.kind,
            flags: header.flags,
            sequence: header.sequence,
            body,
        })
    })
}

/// Messages and attributes begin at multiples of four bytes.
const fn aligned(len: usize) -> usize {
    len.next_multiple_of(4)
}

/// The attributes of a message, by their numbers.
pub fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    /// `NLA_F_NESTED` and `NLA_F_NET_BYTEORDER`
    const FLAGS: u16 = 0xC000;
    std::iter::from_fn(move || {
        let (len, rest) = u16::read_from_prefix(bytes).ok()?;
        let (kind, _) = u16::read_from_prefix(rest).ok()?;
        let len = usize::from(len);
        let value = bytes.get(4..len)?;
        bytes = bytes.get(aligned(len)..).unwrap_or_default();
        Some((kind & !FLAGS, value))
    })
}

/// Writes an attribute at the end of a message.
pub(crate) fn push_attribute(message: &mut Vec<u8>, kind: u16, value: &[u8]) {
    // Values are addresses and numbers: their length always fits.
    let len = u16::try_from(4 + value.len()).unwrap_or(u16::MAX);
    message.extend(len.to_ne_bytes());
    message.extend(kind.to_ne_bytes());
    message.extend(value);
    message.resize(aligned(message.len()), 0);
}

#[expect(unsafe_code, reason = "rustix has no name for this option")]
mod strict {
    use std::os::fd::{AsRawFd as _, BorrowedFd};

    use rustix::io::Errno;

    pub(super) fn set(socket: BorrowedFd<'_>) -> Result<(), Errno> {
        let on: libc::c_int = 1;
        let length = libc::socklen_t::try_from(size_of_val(&on)).map_err(|_| Errno::INVAL)?;
        // SAFETY: the kernel reads an int from there.
        let result = unsafe {
            libc::setsockopt(
                socket.as_raw_fd(),
                libc::SOL_NETLINK,
                libc::NETLINK_GET_STRICT_CHK,
                (&raw const on).cast(),
                length,
            )
        };
        match result {
            0 => Ok(()),
            _ => {
                Err(Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::INVAL))
            }
        }
    }
}

#[cfg(test)]
mod tests;
