//! Binds that succeed and are not shown, as the programs remember them: they may explain what others
//! meet.

#![expect(
    clippy::inline_always,
    clippy::cast_possible_truncation,
    reason = "the programs pack and mix in registers; of a word the low part is meant"
)]

/// Name of the array of [`Slot`]s.
pub const LAST_BINDS: &str = "LAST_BINDS";
/// Ports that are remembered at most. Two ports may share a slot: then the last bind counts.
pub const LAST_BINDS_ENTRIES: u32 = 1 << SLOT_BITS;
const SLOT_BITS: u32 = 13;

const SOCK_RAW: u16 = 3;
const IPPROTO_TCP: u16 = 6;
const IPPROTO_MPTCP: u16 = 262;

/// A port of a network namespace: the last bind to it takes the place of others.
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

    /// Never 0, which is what a slot begins with.
    #[inline(always)]
    const fn word(self) -> u64 {
        self.port as u64 | (self.protocol as u64) << 16 | (self.netns as u64) << 32
    }

    /// Index of the port's slot. Whoever does not know the seed cannot aim at the slot of another
    /// port: multiply-shift hashing, in which two ports meet for at most two seeds in 8,192.
    #[inline(always)]
    pub const fn slot(self, seed: u64) -> u32 {
        (self.word().wrapping_mul(seed | 1) >> (u64::BITS - SLOT_BITS)) as u32
    }
}

/// The seed, from the two halves in which the settings have it.
#[inline(always)]
pub const fn seed([low, high]: [u32; 2]) -> u64 {
    low as u64 | (high as u64) << 32
}

/// Stands for a descriptor that is not known.
pub const NO_FD: i32 = -1;

/// A bind, or a binding listen, that succeeded, of a socket that has a descriptor. It may be gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LastBind {
    /// `CLOCK_MONOTONIC`, nanoseconds
    pub time_ns: u64,
    /// When the thread group began, `CLOCK_BOOTTIME`, nanoseconds; 0 where that is not known
    pub process_start_ns: u64,
    /// Thread group id, initial pid namespace
    pub tgid: u32,
    /// [`NO_FD`] where that is not known
    pub fd: i32,
    /// Inode of the socket's file
    pub inode: u32,
}

/// A bind and its port, behind a check word of both.
///
/// Programs write a slot in place, without a lock, and two CPUs may write the same one at once.
/// Readers tell by the check word whether they have the words of one bind, in whatever order
/// they were written and read.
pub type Slot = [u64; 6];

/// The slot for a bind.
#[inline(always)]
pub const fn encode(port: Port, bind: &LastBind, seed: u64) -> Slot {
    let mut slot = [
        0,
        port.word(),
        bind.time_ns,
        bind.process_start_ns,
        bind.tgid as u64 | (bind.fd.cast_unsigned() as u64) << 32,
        bind.inode as u64,
    ];
    slot[0] = check(&slot, seed);
    slot
}

/// The last bind to a port, if its slot has that: not another port's, nor parts of two.
pub const fn decode(slot: &Slot, port: Port, seed: u64) -> Option<LastBind> {
    let &[found, key, time_ns, process_start_ns, by, inode] = slot;
    if key != port.word() || found != check(slot, seed) {
        return None;
    }
    Some(LastBind {
        time_ns,
        process_start_ns,
        tgid: by as u32,
        fd: ((by >> 32) as u32).cast_signed(),
        inode: inode as u32,
    })
}

/// A keyed hash of all words but the first. Each step is a bijection: one word that differs always
/// shows, and several go unnoticed once in 2^64. Without the seed nobody can make parts that fit.
#[inline(always)]
const fn check(slot: &Slot, seed: u64) -> u64 {
    let hash = mix(mix(mix(seed, slot[1]), slot[2]), slot[3]);
    mix(mix(hash, slot[4]), slot[5])
}

#[inline(always)]
const fn mix(hash: u64, word: u64) -> u64 {
    let product = (hash ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    product ^ (product >> 32)
}

#[cfg(test)]
mod tests;
