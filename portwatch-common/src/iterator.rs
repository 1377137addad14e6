//! What the iterator over open descriptors sends: a row for each that leads to a socket on a port
//! that is sought.

/// Name of the program (portwatch-ebpf/src/hooks/iterator.rs).
pub const PROGRAM: &str = "it_files";
/// Name of the array whose one slot holds [`Sought`].
pub const SOUGHT: &str = "SOUGHT";

/// A bit for each port.
pub const PORT_WORDS: usize = 65536 / 64;

/// Which sockets are sent.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sought {
    /// Not 0: those that listen, or are bound and not connected, on any port
    pub kept: u64,
    /// Otherwise those of any state on these local ports
    pub ports: [u64; PORT_WORDS],
}

// SAFETY: `repr(C)`, made of u64 only: no padding, and every bit pattern is a value.
#[cfg(all(feature = "user", target_os = "linux"))]
unsafe impl aya::Pod for Sought {}

impl Sought {
    pub const NOTHING: Self = Self {
        kept: 0,
        ports: [0; PORT_WORDS],
    };

    /// Adds a port.
    pub const fn add(&mut self, port: u16) {
        let (word, bit) = place(port);
        self.ports[word] |= bit;
    }
}

/// Where the bit of a port is.
pub const fn place(port: u16) -> (usize, u64) {
    ((port >> 6) as usize, 1 << (port & 63))
}

/// An open descriptor, and the socket behind it as it is now.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(
    feature = "user",
    derive(
        zerocopy::FromBytes,
        zerocopy::Immutable,
        zerocopy::KnownLayout,
        zerocopy::IntoBytes
    )
)]
pub struct Row {
    /// Thread group id and thread id, initial pid namespace. The thread is the first that has the
    /// descriptor: threads can have tables of their own (`unshare(CLONE_FILES)`)
    pub tgid: u32,
    pub tid: u32,
    pub fd: u32,
    /// Inode of the socket's file, as in `socket:[4711]`
    pub inode: u32,
    /// Inode of the socket's network namespace
    pub netns: u32,
    /// `SO_BINDTODEVICE`, 0 where there is none
    pub ifindex: u32,
    /// `sk_uid`: a uid of the initial user namespace
    pub uid: u32,
    /// The socket's `AF_*`
    pub family: u16,
    /// The socket's `IPPROTO_*`
    pub protocol: u16,
    /// The socket's `SOCK_*`
    pub sock_type: u16,
    /// Host byte order
    pub port: u16,
    /// Host byte order; 0 where the socket has no peer
    pub peer_port: u16,
    /// [`crate::event::options`] bits of `struct sock_common`; the others are not told
    pub options: u16,
    /// `TCP_*` (include/net/tcp_states.h)
    pub state: u32,
    /// Network byte order; the first 4 bytes for `AF_INET`
    pub addr: [u8; 16],
    pub peer_addr: [u8; 16],
}

const _: () = assert!(size_of::<Row>() == 76);
