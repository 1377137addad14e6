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

mod call;

use core::ptr::read_volatile;

use self::call::{
    AF_INET, errno_of, local_port_of, only_role_of, outcome_of, port, port_taken, remote_port_of,
    role_of,
};
pub use self::call::{Asked, Call, Caller, Number, RAW, ip, ip_end, local_port, protocol};
use crate::event::op;

/// Values that a test can want, and as many that it can refuse.
pub const VALUES: usize = 8;

/// Bits of [`Block::given`]: what there is to decide.
pub mod given {
    /// Of each list the bit that says that it is not empty
    pub const PID: u32 = 1 << 0;
    pub const USER: u32 = 1 << 1;
    pub const COMM: u32 = 1 << 2;
    pub const PORT: u32 = 1 << 3;
    pub const LPORT: u32 = 1 << 4;
    pub const DPORT: u32 = 1 << 5;
    pub const ADDR: u32 = 1 << 6;
    pub const FAMILY: u32 = 1 << 7;
    pub const PROTO: u32 = 1 << 8;
    pub const OP: u32 = 1 << 9;
    pub const OUTCOME: u32 = 1 << 10;
    pub const ERRNO: u32 = 1 << 11;
    pub const NETNS: u32 = 1 << 12;
    pub const ROLE: u32 = 1 << 13;
    /// Callers in a cgroup that userspace has ruled out are dropped
    pub const CGROUPS: u32 = 1 << 14;
    /// So are processes that userspace has found in none of the wanted trees
    pub const TREES: u32 = 1 << 15;
    /// So are callers whose cgroup, or mount namespace, is not in the user's own map
    pub const CGROUP_SET: u32 = 1 << 16;
    pub const MNTNS_SET: u32 = 1 << 17;
    /// No test: binds that succeed are remembered for causes, whoever made them
    pub const REMEMBER: u32 = 1 << 18;
}

/// Values of [`Block::outcome`].
pub mod outcome {
    pub const OK: u32 = 0;
    pub const FAILED: u32 = 1;
    pub const PENDING: u32 = 2;
    /// Of no call that has just returned
    pub const ABANDONED: u32 = 3;
}

/// Values of [`Block::role`].
pub mod role {
    pub const SERVER: u32 = 0;
    pub const CLIENT: u32 = 1;
}

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
    /// [`given`] bits
    pub given: u32,
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

/// What becomes of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Drop,
    /// Only to be remembered
    Remember,
    Pass,
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
    fn allows(&self, number: Number) -> bool {
        match number {
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
        self.tests().0 & !given::REMEMBER != 0
    }

    #[inline(always)]
    fn tests(&self) -> Tests {
        Tests(set(&self.given))
    }

    /// True if any call of that operation may come to pass, or be remembered.
    #[inline(always)]
    pub fn wants(&self, op: u8) -> bool {
        let tests = self.tests();
        tests.may_keep(op)
            || (tests.lack(given::OP) || self.op.allows(Number::of(u32::from(op))))
                && (tests.lack(given::ROLE) || self.role.allows(only_role_of(op)))
    }

    /// True if a call that begins may come to pass, or be remembered.
    #[inline(always)]
    pub fn admits(&self, caller: &impl Caller, op: u8) -> bool {
        let tests = self.tests();
        tests.may_keep(op) || self.allows_caller(tests, caller, op)
    }

    /// What becomes of a call that is under way, by what is known of it until now.
    #[inline(always)]
    pub fn may_pass(&self, caller: &impl Caller, call: &impl Call) -> bool {
        let tests = self.tests();
        self.allows_caller(tests, caller, call.op()) && self.allows_call(tests, call)
    }

    /// What becomes of a call that is over.
    #[inline(always)]
    pub fn judge(&self, caller: &impl Caller, call: &impl Call) -> Verdict {
        let tests = self.tests();
        let ret = call.ret();
        if self.allows_result(tests, call)
            && self.allows_caller(tests, caller, call.op())
            && self.allows_call(tests, call)
        {
            Verdict::Pass
        } else if ret == Some(0) && tests.may_keep(call.op()) && self.may_matter(tests, call) {
            Verdict::Remember
        } else {
            Verdict::Drop
        }
    }

    /// Whether an attempt that passes could come upon the port that this bind took: it asks for
    /// the same port, in the same network namespace. Its own port need not be that, if it is a
    /// connect.
    #[inline(always)]
    fn may_matter(&self, tests: Tests, call: &impl Call) -> bool {
        (tests.lack(given::PORT) || self.port.allows(port_taken(call)))
            && (tests.lack(given::DPORT)
                // A bind has none, and may pass.
                || self.dport.holds_none()
                || self.dport.allows(port_taken(call)))
            && (tests.lack(given::NETNS) || self.netns.allows(call.netns()))
    }

    #[inline(always)]
    fn allows_caller(&self, tests: Tests, caller: &impl Caller, op: u8) -> bool {
        (tests.lack(given::OP) || self.op.allows(Number::of(u32::from(op))))
            && (tests.lack(given::PID) || self.pid.allows(Number::of(caller.tgid())))
            && (tests.lack(given::USER) || self.user.allows(caller.user()))
            && (tests.lack(given::COMM) || self.allows_comm(caller))
            && (tests.lack(given::CGROUPS) || !caller.is_ruled_out())
            && (tests.lack(given::TREES) || !caller.is_out_of_tree())
            && (tests.lack(given::CGROUP_SET) || caller.is_in_cgroup_set())
            && (tests.lack(given::MNTNS_SET) || caller.is_in_mntns_set())
    }

    #[inline(always)]
    fn allows_comm(&self, caller: &impl Caller) -> bool {
        let comm = caller.comm();
        self.comm.holds(|bits| bits.has(comm))
    }

    #[inline(always)]
    fn allows_call(&self, tests: Tests, call: &impl Call) -> bool {
        self.allows_asked(tests, call)
            && (tests.lack(given::PROTO) || self.proto.allows(call.protocol()))
            && (tests.lack(given::NETNS) || self.netns.allows(call.netns()))
    }

    #[inline(always)]
    fn allows_asked(&self, tests: Tests, call: &impl Call) -> bool {
        (tests.lack(given::PORT) || self.port.allows(port(call)))
            && (tests.lack(given::LPORT) || self.lport.allows(local_port_of(call)))
            && (tests.lack(given::DPORT) || self.dport.allows(remote_port_of(call)))
            && (tests.lack(given::ADDR) || self.allows_addr(call))
            && (tests.lack(given::FAMILY) || self.family.allows(call.asked().family))
            && (tests.lack(given::ROLE) || self.role.allows(role_of(call)))
    }

    #[inline(always)]
    fn allows_addr(&self, call: &impl Call) -> bool {
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
    fn allows_result(&self, tests: Tests, call: &impl Call) -> bool {
        (tests.lack(given::OUTCOME) || self.outcome.allows(outcome_of(call)))
            && (tests.lack(given::ERRNO) || self.errno.allows(errno_of(call)))
    }
}

/// Which tests there are: read once for a call, and held in a register.
#[derive(Clone, Copy)]
struct Tests(u32);

impl Tests {
    #[inline(always)]
    const fn lack(self, test: u32) -> bool {
        self.0 & test == 0
    }

    #[inline(always)]
    const fn may_keep(self, op: u8) -> bool {
        !self.lack(given::REMEMBER) && op != op::CONNECT
    }
}
