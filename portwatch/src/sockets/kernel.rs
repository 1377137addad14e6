//! Sockets as the kernel's side tells of them: a source that runs BPF programs can ask faster, and
//! see more, than /proc shows.

use std::{fmt::Debug, io, net::IpAddr};

use crate::event::{Options, Time};

/// The kernel's side of a source, for look-ups. Each call may take milliseconds: it is not for the
/// thread that reads the ring.
pub trait Kernel: Debug + Send {
    /// Every open descriptor of every process that leads to an internet socket on one of these local
    /// ports, in whatever network namespace: one pass answers for all of them. At most `limit` rows;
    /// complete where fewer came.
    ///
    /// # Errors
    ///
    /// Where the kernel has no such iterator, or refuses it.
    fn descriptors(&mut self, ports: Ports<'_>, limit: usize) -> io::Result<Vec<Descriptor>>;

    /// Whether [`Self::descriptors`] sees the processes of the whole machine, or only those of
    /// portwatch's own pid namespace.
    fn sees_all_processes(&self) -> bool;

    /// The last bind (or binding listen) to that port that succeeded and was not shown. `protocol` is
    /// the socket's `IPPROTO_*`.
    ///
    /// # Errors
    ///
    /// Where the map cannot be read.
    fn last_bind(&self, netns: u32, protocol: u16, port: u16) -> io::Result<Option<LastBind>>;
}

/// The ports that a pass looks for.
#[derive(Clone, Copy, Debug)]
pub enum Ports<'a> {
    /// Sockets of any state on one of these
    These(&'a [u16]),
    /// Sockets on any port that keep it for themselves: they listen, or are bound and not connected
    /// (`TCP_LISTEN`, `TCP_CLOSE`)
    Kept,
}

/// A descriptor that leads to a socket, with the socket as it is now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Descriptor {
    pub tgid: u32,
    /// The thread whose descriptor it is: one can have a table of its own (`CLONE_FILES`)
    pub tid: u32,
    pub fd: i32,
    /// Of the socket's file, as in `socket:[4711]`
    pub inode: u32,
    /// Inode of the socket's network namespace
    pub netns: u32,
    /// `IPPROTO_*`
    pub protocol: u16,
    /// `SOCK_*`
    pub sock_type: u16,
    /// `TCP_*` (include/net/tcp_states.h)
    pub state: u8,
    pub ip: IpAddr,
    pub port: u16,
    pub peer: Option<(IpAddr, u16)>,
    /// Who made the socket, host's numbering
    pub uid: Option<u32>,
    pub ifindex: Option<u32>,
    /// Those of every socket: `reuseaddr`, `reuseport`, `v6only`, `broadcast`; the others are not told
    pub options: Options,
}

/// A bind that succeeded and was not shown. The socket may be gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LastBind {
    pub inode: u32,
    pub tgid: u32,
    /// When the thread group began, nanoseconds since boot
    pub process_start: Option<u64>,
    pub fd: Option<i32>,
    pub time: Time,
}
