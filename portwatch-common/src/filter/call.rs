//! What a filter asks of a call, and of who makes it.

use super::{outcome, role};
use crate::event::{Attempt, SOCKADDR_LEN, known, op};

/// Protocol of raw sockets, whatever number they have.
pub const RAW: u32 = 0x1_0000;

pub(super) const AF_INET: u64 = 2;
const AF_INET6: u64 = 10;
const SOCK_RAW: u16 = 3;
const EINTR: i32 = -4;
const EINPROGRESS: i32 = -115;
/// The largest error number (include/linux/err.h).
const MAX_ERRNO: i32 = 4095;

/// A number of an attempt: known, known to be none, or not known here.
///
/// One word and no enum: of that the compiler would leave half undefined, which the verifier
/// refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Number(pub(super) u64);

impl Number {
    pub const UNKNOWN: Self = Self(u64::MAX);
    pub const NONE: Self = Self(u64::MAX - 1);

    #[inline(always)]
    pub const fn of(number: u32) -> Self {
        Self(number as u64)
    }

    #[inline(always)]
    pub(super) const fn is(self, number: u64) -> bool {
        self.0 == number
    }
}

/// Who calls. Each value is asked for only where a test needs it.
pub trait Caller {
    fn tgid(&self) -> u32;
    /// The effective user
    fn user(&self) -> Number;
    /// As in [`Attempt::comm`], in words
    fn comm(&self) -> [u32; 4];
    /// Userspace has ruled out the cgroup
    fn is_ruled_out(&self) -> bool;
    /// Userspace has found the process in none of the wanted trees
    fn is_out_of_tree(&self) -> bool;
    /// The user's own map has the cgroup
    fn is_in_cgroup_set(&self) -> bool;
    /// The user's own map has the mount namespace
    fn is_in_mntns_set(&self) -> bool;
}

/// What is called, on what, and what came of it. Each value is asked for only where a test needs it.
/// Of a socket that is not looked at nothing is known.
pub trait Call {
    fn op(&self) -> u8;
    fn asked(&self) -> Asked;
    /// The address, if there is one, as of IPv6
    fn ip(&self, is_ipv4: bool) -> [u32; 4];
    /// [`RAW`] or `IPPROTO_*`
    #[inline(always)]
    fn protocol(&self) -> Number {
        Number::UNKNOWN
    }
    #[inline(always)]
    fn netns(&self) -> Number {
        Number::UNKNOWN
    }
    #[inline(always)]
    fn local_port(&self) -> Number {
        Number::UNKNOWN
    }
    /// `None` where the call has not returned, or nobody saw it return
    fn ret(&self) -> Option<i32>;

    /// True if it returned 0 and its end is still to come.
    #[inline(always)]
    fn is_deferred(&self) -> bool {
        false
    }
}

/// The address asked for, but for the IP address itself.
#[derive(Clone, Copy, Debug)]
pub struct Asked {
    pub family: Number,
    /// Where there is one, there is an IP address too
    pub port: Number,
}

impl Asked {
    /// None was given, or none that can be read.
    pub const NONE: Self = Self {
        family: Number::NONE,
        port: Number::NONE,
    };

    /// What a `struct sockaddr` begins with says, of which `len` bytes were passed: a negative length
    /// is refused, but the address that it came with still says what was meant.
    #[inline(always)]
    pub fn of(family: u16, port_be: u16, len: i32) -> Self {
        let len = if len < 0 { i32::MAX } else { len };
        if len < 2 {
            return Self::NONE;
        }
        let family = Number::of(u32::from(family));
        let has_port = family.is(AF_INET) && len >= ip_end(true)
            || family.is(AF_INET6) && len >= ip_end(false);
        let port = if has_port {
            Number::of(u32::from(u16::from_be(port_be)))
        } else {
            Number::NONE
        };
        Self { family, port }
    }

    /// The same from a copy of it.
    #[inline(always)]
    pub fn read(sockaddr: &[u8; SOCKADDR_LEN], len: i32) -> Self {
        let half = |at: usize| u16::from_ne_bytes([sockaddr[at], sockaddr[at + 1]]);
        Self::of(half(0), half(2), len)
    }
}

/// Bytes of a `struct sockaddr` up to the end of its IP address.
#[inline(always)]
pub const fn ip_end(is_ipv4: bool) -> i32 {
    if is_ipv4 { 8 } else { 24 }
}

/// The IP address of a `struct sockaddr` that has one, as of IPv6.
#[inline(always)]
pub fn ip(sockaddr: &[u8; SOCKADDR_LEN], is_ipv4: bool) -> [u32; 4] {
    let word = |at: usize| {
        let bytes = sockaddr;
        u32::from_ne_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
    };
    if is_ipv4 {
        [0, 0, 0xFFFF_u32.to_be(), word(4)]
    } else {
        [word(8), word(12), word(16), word(20)]
    }
}

/// True if the call's return does not tell how a connect ends: a signal ends the wait alone.
#[inline(always)]
fn is_open(call: &impl Call) -> bool {
    call.op() == op::CONNECT
        && match call.ret() {
            Some(0) => call.is_deferred(),
            Some(ret) => ret == EINPROGRESS || ret == EINTR || is_restart(ret),
            None => true,
        }
}

/// True if the kernel begins the call anew; false if its caller gets `EINTR` (include/linux/errno.h:
/// `ERESTARTSYS`, `ERESTARTNOINTR`, `ERESTARTNOHAND`, `ERESTART_RESTARTBLOCK`).
#[inline(always)]
fn is_restart(ret: i32) -> bool {
    (-516..=-512).contains(&ret) && ret != -515
}

/// How the call ended; of a connect that goes on nobody knows here.
#[inline(always)]
pub(super) fn outcome_of(call: &impl Call) -> Number {
    if is_open(call) {
        return Number::UNKNOWN;
    }
    Number::of(match call.ret() {
        Some(0) => outcome::OK,
        Some(EINPROGRESS) | None => outcome::PENDING,
        Some(_) => outcome::FAILED,
    })
}

#[inline(always)]
pub(super) fn errno_of(call: &impl Call) -> Number {
    if is_open(call) {
        return Number::UNKNOWN;
    }
    match call.ret() {
        Some(ret) if is_restart(ret) => Number::of(EINTR.unsigned_abs()),
        Some(ret) if (-MAX_ERRNO..0).contains(&ret) => Number::of(ret.unsigned_abs()),
        _ => Number::NONE,
    }
}

#[inline(always)]
pub(super) fn local_port_of(call: &impl Call) -> Number {
    match call.op() {
        op::CONNECT => call.local_port(),
        _ => port(call),
    }
}

#[inline(always)]
pub(super) fn remote_port_of(call: &impl Call) -> Number {
    match call.op() {
        op::CONNECT => port(call),
        _ => Number::NONE,
    }
}

/// The port asked for; of a bind to port 0, and of a listen, the one given.
#[inline(always)]
pub(super) fn port(call: &impl Call) -> Number {
    let asked = call.asked();
    let given = call.op() == op::LISTEN || call.op() == op::BIND && asked.port.is(0);
    match asked.port {
        Number::NONE | Number(0) if given => call.local_port(),
        Number(0) => Number::NONE,
        port => port,
    }
}

/// The port that a bind took. Where the socket was not read it is the one asked for, if any was.
#[inline(always)]
pub(super) fn port_taken(call: &impl Call) -> Number {
    match call.local_port() {
        Number::UNKNOWN => port(call),
        port => port,
    }
}

/// The role of each call of that operation, if it is the same.
#[inline(always)]
pub(super) fn only_role_of(op: u8) -> Number {
    match op {
        op::LISTEN => Number::of(role::SERVER),
        op::CONNECT => Number::of(role::CLIENT),
        _ => Number::UNKNOWN,
    }
}

#[inline(always)]
pub(super) fn role_of(call: &impl Call) -> Number {
    match (only_role_of(call.op()), call.asked().port) {
        (Number::UNKNOWN, Number(0)) => Number::of(role::CLIENT),
        (Number::UNKNOWN, Number::NONE) => Number::NONE,
        (Number::UNKNOWN, _) => Number::of(role::SERVER),
        (role, _) => role,
    }
}

/// A record says of the call what userspace will read from it. Where it has no socket, userspace
/// looks for one.
impl Call for Attempt {
    #[inline(always)]
    fn op(&self) -> u8 {
        self.op
    }

    #[inline(always)]
    fn asked(&self) -> Asked {
        if self.known & known::SOCKADDR == 0 {
            return Asked::NONE;
        }
        Asked::read(&self.sockaddr, self.sockaddr_len)
    }

    #[inline(always)]
    fn ip(&self, is_ipv4: bool) -> [u32; 4] {
        ip(&self.sockaddr, is_ipv4)
    }

    #[inline(always)]
    fn protocol(&self) -> Number {
        if self.known & known::SOCKET == 0 {
            Number::UNKNOWN
        } else {
            protocol(self.sock_type, self.protocol)
        }
    }

    #[inline(always)]
    fn netns(&self) -> Number {
        if self.known & known::SOCKET == 0 {
            Number::UNKNOWN
        } else {
            Number::of(self.netns)
        }
    }

    #[inline(always)]
    fn local_port(&self) -> Number {
        if self.known & known::SOCKET == 0 {
            Number::UNKNOWN
        } else if self.known & known::LOCAL == 0 {
            Number::NONE
        } else {
            local_port(self.sock_type, self.local_port)
        }
    }

    #[inline(always)]
    fn ret(&self) -> Option<i32> {
        if self.known & known::RET == 0 {
            None
        } else {
            Some(self.ret)
        }
    }

    #[inline(always)]
    fn is_deferred(&self) -> bool {
        self.known & known::DEFERRED != 0
    }
}

/// What a socket of that type goes by.
#[inline(always)]
pub fn protocol(sock_type: u16, protocol: u16) -> Number {
    Number::of(if sock_type == SOCK_RAW {
        RAW
    } else {
        u32::from(protocol)
    })
}

/// Of a raw socket the kernel keeps the protocol where others have the port.
#[inline(always)]
pub fn local_port(sock_type: u16, port: u16) -> Number {
    if sock_type == SOCK_RAW {
        Number::NONE
    } else {
        Number::of(u32::from(port))
    }
}
