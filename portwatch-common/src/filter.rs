//! The part of the user's filter that the kernel's side decides, and how it decides.
//!
//! Both sides run the code below: the programs as they see a call, the tests against the filter
//! itself. It only ever drops what the filter would drop: what is not known passes, and so does
//! what found no place in a [`Block`], since userspace applies the whole filter again.
//!
//! A [`Block`] is frozen before the programs load, so the verifier knows each number in it and
//! removes the tests that were not asked for.
#![expect(
    clippy::inline_always,
    reason = "the verifier follows typed pointers and known values within one function"
)]

use core::ptr::read_volatile;

use crate::event::{Attempt, SOCKADDR_LEN, known, op};

/// Values that a test can want, and as many that it can refuse.
pub const VALUES: usize = 8;

/// Protocol of raw sockets, whatever number they have.
pub const RAW: u32 = 0x1_0000;

/// Values of [`Block::outcome`].
pub mod outcome {
    pub const OK: u32 = 0;
    pub const FAILED: u32 = 1;
    pub const PENDING: u32 = 2;
}

/// Values of [`Block::role`].
pub mod role {
    pub const SERVER: u32 = 0;
    pub const CLIENT: u32 = 1;
}

const AF_INET: u64 = 2;
const AF_INET6: u64 = 10;
const SOCK_RAW: u16 = 3;
const EINPROGRESS: i32 = -115;
/// The largest error number (include/linux/err.h).
const MAX_ERRNO: i32 = 4095;

/// One of the wanted values if there are any, and none of the unwanted. 0 values of each: no test.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct List<T> {
    pub wanted_count: u32,
    pub unwanted_count: u32,
    pub wanted: [T; VALUES],
    pub unwanted: [T; VALUES],
}

/// Numbers from the first to the last, both included.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    pub first: u32,
    pub last: u32,
}

/// The bits under `mask` are those of `value`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bits {
    pub value: [u32; 4],
    pub mask: [u32; 4],
}

/// Addresses as of IPv6, an IPv4 address within it (`::ffff:10.0.0.1`).
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Net {
    pub bits: Bits,
    /// Not 0: none that was given as an IPv4 address
    pub ipv6_only: u32,
}

/// Tests that every attempt has to pass, and what else there is to decide. All zero: none.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Block {
    /// Not 0: there is something to decide
    pub given: u32,
    /// Not 0: binds that succeed are sent aside for causes, whoever made them
    pub keeps_binds: u32,
    /// Not 0: callers in a cgroup that userspace has ruled out are dropped
    pub cgroups: u32,
    /// Not 0: so are processes that userspace has found in none of the wanted trees
    pub trees: u32,
    /// Not 0: so are callers whose cgroup, or mount namespace, is not in the user's own map
    pub cgroup_set: u32,
    pub mntns_set: u32,
    pub pid: List<Span>,
    pub user: List<Span>,
    pub comm: List<Bits>,
    pub port: List<Span>,
    pub lport: List<Span>,
    pub dport: List<Span>,
    pub addr: List<Net>,
    pub family: List<Span>,
    pub proto: List<Span>,
    pub op: List<Span>,
    pub outcome: List<Span>,
    pub errno: List<Span>,
    pub netns: List<Span>,
    pub role: List<Span>,
}

/// A number of an attempt: known, known to be none, or not known here.
///
/// One word and no enum: of that the compiler would leave half undefined, which the verifier
/// refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Number(u64);

impl Number {
    pub const UNKNOWN: Self = Self(u64::MAX);
    pub const NONE: Self = Self(u64::MAX - 1);

    #[inline(always)]
    pub const fn of(number: u32) -> Self {
        Self(number as u64)
    }

    #[inline(always)]
    const fn is(self, number: u64) -> bool {
        self.0 == number
    }
}

/// What becomes of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Drop,
    /// Only to be remembered
    Aside,
    Pass,
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

/// One number of the block, whose value the compiler must not take from what the object holds.
#[inline(always)]
fn set(number: &u32) -> u32 {
    // SAFETY: a reference to a u32.
    unsafe { read_volatile(number) }
}

/// Whether one of the first `count` values is it.
#[inline(always)]
fn any<T>(values: &[T; VALUES], count: u32, is: impl Fn(&T) -> bool) -> bool {
    let mut index: u32 = 0;
    while index < count && (index as usize) < VALUES {
        // The verifier would not see that a checked index cannot fail.
        let value = values.as_ptr().wrapping_add(index as usize);
        // SAFETY: the index is below the length.
        if is(unsafe { &*value }) {
            return true;
        }
        index += 1;
    }
    false
}

impl<T: Copy> List<T> {
    /// No test.
    pub const fn none(unused: T) -> Self {
        Self {
            wanted_count: 0,
            unwanted_count: 0,
            wanted: [unused; VALUES],
            unwanted: [unused; VALUES],
        }
    }
}

impl<T> List<T> {
    #[inline(always)]
    fn is_given(&self) -> bool {
        set(&self.wanted_count) | set(&self.unwanted_count) != 0
    }

    /// Of a value that there is.
    #[inline(always)]
    fn holds(&self, is: impl Fn(&T) -> bool) -> bool {
        let (wanted, unwanted) = (set(&self.wanted_count), set(&self.unwanted_count));
        (wanted == 0 || any(&self.wanted, wanted, &is)) && !any(&self.unwanted, unwanted, &is)
    }

    /// Of one that there is not: it is among no values.
    #[inline(always)]
    fn holds_none(&self) -> bool {
        set(&self.wanted_count) == 0
    }
}

impl List<Span> {
    #[inline(always)]
    fn allows(&self, number: impl FnOnce() -> Number) -> bool {
        if !self.is_given() {
            return true;
        }
        match number() {
            Number::UNKNOWN => true,
            Number::NONE => self.holds_none(),
            Number(number) => self.holds(|span| {
                u64::from(set(&span.first)) <= number && number <= u64::from(set(&span.last))
            }),
        }
    }
}

impl Bits {
    #[inline(always)]
    fn has(&self, words: [u32; 4]) -> bool {
        let mut differs = 0;
        let mut index = 0;
        while index < 4 {
            differs |= (words[index] ^ set(&self.value[index])) & set(&self.mask[index]);
            index += 1;
        }
        differs == 0
    }
}

impl Block {
    /// Nothing to decide.
    pub const NONE: Self = {
        let spans = List::none(Span { first: 0, last: 0 });
        let bits = Bits {
            value: [0; 4],
            mask: [0; 4],
        };
        Self {
            given: 0,
            keeps_binds: 0,
            cgroups: 0,
            trees: 0,
            cgroup_set: 0,
            mntns_set: 0,
            pid: spans,
            user: spans,
            comm: List::none(bits),
            port: spans,
            lport: spans,
            dport: spans,
            addr: List::none(Net { bits, ipv6_only: 0 }),
            family: spans,
            proto: spans,
            op: spans,
            outcome: spans,
            errno: spans,
            netns: spans,
            role: spans,
        }
    };

    /// Whether there is anything to decide.
    #[inline(always)]
    pub fn is_given(&self) -> bool {
        set(&self.given) != 0
    }

    /// Whether a call that begins may come to pass, or aside.
    #[inline(always)]
    pub fn admits(&self, caller: &impl Caller, op: u8) -> bool {
        self.may_keep(op) || self.allows_caller(caller, op)
    }

    /// What becomes of a call that is under way, by what is known of it until now.
    #[inline(always)]
    pub fn may_pass(&self, caller: &impl Caller, call: &impl Call) -> bool {
        self.allows_caller(caller, call.op()) && self.allows_call(call)
    }

    /// What becomes of a call that is over.
    #[inline(always)]
    pub fn judge(&self, caller: &impl Caller, call: &impl Call) -> Verdict {
        let ret = call.ret();
        if self.allows_result(ret) && self.may_pass(caller, call) {
            Verdict::Pass
        } else if ret == Some(0) && self.may_keep(call.op()) && self.may_matter(call) {
            Verdict::Aside
        } else {
            Verdict::Drop
        }
    }

    #[inline(always)]
    fn may_keep(&self, op: u8) -> bool {
        set(&self.keeps_binds) != 0 && op != op::CONNECT
    }

    /// Whether an attempt that passes could come upon the port that this bind took: it asks for
    /// the same port, in the same network namespace. Its own port need not be that, if it is a
    /// connect.
    #[inline(always)]
    fn may_matter(&self, call: &impl Call) -> bool {
        self.port.allows(|| port_taken(call))
            && self.dport.allows(|| port_taken(call))
            && self.netns.allows(|| call.netns())
    }

    #[inline(always)]
    fn allows_caller(&self, caller: &impl Caller, op: u8) -> bool {
        self.op.allows(|| Number::of(u32::from(op)))
            && self.pid.allows(|| Number::of(caller.tgid()))
            && self.user.allows(|| caller.user())
            && self.allows_comm(caller)
            && !(set(&self.cgroups) != 0 && caller.is_ruled_out())
            && !(set(&self.trees) != 0 && caller.is_out_of_tree())
            && (set(&self.cgroup_set) == 0 || caller.is_in_cgroup_set())
            && (set(&self.mntns_set) == 0 || caller.is_in_mntns_set())
    }

    #[inline(always)]
    fn allows_comm(&self, caller: &impl Caller) -> bool {
        if !self.comm.is_given() {
            return true;
        }
        let comm = caller.comm();
        self.comm.holds(|bits| bits.has(comm))
    }

    #[inline(always)]
    fn allows_call(&self, call: &impl Call) -> bool {
        self.allows_asked(call)
            && self.proto.allows(|| call.protocol())
            && self.netns.allows(|| call.netns())
    }

    #[inline(always)]
    fn allows_asked(&self, call: &impl Call) -> bool {
        self.port.allows(|| port(call))
            && self.lport.allows(|| match call.op() {
                op::CONNECT => call.local_port(),
                _ => port(call),
            })
            && self.dport.allows(|| match call.op() {
                op::CONNECT => port(call),
                _ => Number::NONE,
            })
            && self.allows_addr(call)
            && self.family.allows(|| call.asked().family)
            && self.role.allows(|| role_of(call))
    }

    #[inline(always)]
    fn allows_addr(&self, call: &impl Call) -> bool {
        if !self.addr.is_given() {
            return true;
        }
        let Asked { family, port } = call.asked();
        if port == Number::NONE {
            return self.addr.holds_none();
        }
        let is_ipv4 = family.is(AF_INET);
        let ip = call.ip(is_ipv4);
        self.addr
            .holds(|net| !(is_ipv4 && set(&net.ipv6_only) != 0) && net.bits.has(ip))
    }

    #[inline(always)]
    fn allows_result(&self, ret: Option<i32>) -> bool {
        self.outcome.allows(|| {
            Number::of(match ret {
                Some(0) => outcome::OK,
                Some(EINPROGRESS) | None => outcome::PENDING,
                Some(_) => outcome::FAILED,
            })
        }) && self.errno.allows(|| match ret {
            Some(ret) if (-MAX_ERRNO..0).contains(&ret) => Number::of(ret.unsigned_abs()),
            _ => Number::NONE,
        })
    }
}

/// The port asked for; of a bind to port 0, and of a listen, the one given.
#[inline(always)]
fn port(call: &impl Call) -> Number {
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
fn port_taken(call: &impl Call) -> Number {
    match call.local_port() {
        Number::UNKNOWN => port(call),
        port => port,
    }
}

#[inline(always)]
fn role_of(call: &impl Call) -> Number {
    match (call.op(), call.asked().port) {
        (op::LISTEN, _) => Number::of(role::SERVER),
        (op::CONNECT, _) | (_, Number(0)) => Number::of(role::CLIENT),
        (_, Number::NONE) => Number::NONE,
        _ => Number::of(role::SERVER),
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
