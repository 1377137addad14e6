//! Binds that succeed and are not shown, as the programs remember them: they may explain what others
//! meet.

/// Name of the LRU hash map.
pub const LAST_BINDS: &str = "LAST_BINDS";
/// Beyond that those go that nobody has asked for or renewed for the longest time.
pub const LAST_BINDS_ENTRIES: u32 = 8192;

const SOCK_RAW: u16 = 3;
const IPPROTO_TCP: u16 = 6;
const IPPROTO_MPTCP: u16 = 262;

/// A port of a network namespace: the last bind to it takes the place of others.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Port {
    /// Inode
    pub netns: u32,
    /// `IPPROTO_*`, of those that share their ports the first
    pub protocol: u16,
    /// Host byte order
    pub port: u16,
}

impl Port {
    /// `None` for what has no ports, or has none yet.
    #[inline]
    pub const fn of(netns: u32, sock_type: u16, protocol: u16, port: u16) -> Option<Self> {
        if sock_type == SOCK_RAW || port == 0 {
            return None;
        }
        // MPTCP binds its first subflow, a TCP socket.
        let protocol = match protocol {
            IPPROTO_MPTCP => IPPROTO_TCP,
            other => other,
        };
        Some(Self {
            netns,
            protocol,
            port,
        })
    }
}

/// Bits of [`LastBind::known`].
pub mod known {
    pub const FD: u32 = 1 << 0;
}

/// A bind, or a binding listen, that succeeded, of a socket that has a descriptor. It may be gone.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LastBind {
    /// `CLOCK_MONOTONIC`, nanoseconds
    pub time_ns: u64,
    /// When the thread group began, `CLOCK_BOOTTIME`, nanoseconds; 0 where that is not known
    pub process_start_ns: u64,
    /// Thread group id, initial pid namespace
    pub tgid: u32,
    /// [`known`] bits
    pub known: u32,
    pub fd: i32,
    /// Inode of the socket's file
    pub inode: u32,
    /// The socket's `AF_*`
    pub family: u16,
    /// [`crate::event::options`] bits
    pub options: u16,
    /// 0
    pub reserved: u32,
    /// Network byte order; the first 4 bytes for `AF_INET`
    pub addr: [u8; 16],
}

const _: () = assert!(size_of::<Port>() == 8);
const _: () = assert!(size_of::<LastBind>() == 56);

// SAFETY: `repr(C)`, made of integers, without padding: every bit pattern is a value.
#[cfg(all(feature = "user", target_os = "linux"))]
unsafe impl aya::Pod for Port {}
// SAFETY: likewise.
#[cfg(all(feature = "user", target_os = "linux"))]
unsafe impl aya::Pod for LastBind {}
