//! Tests that no attempt can pass together: a watch for them would stay silent for ever.
//!
//! Each field is asked which values the tests still admit; fields that depend on each other are
//! asked together. Alternatives (`or`) count as possible.

mod names;
mod ranges;
#[cfg(test)]
mod tests;

use std::{borrow::Cow, net::IpAddr};

use ipnet::IpNet;

use self::ranges::Ranges;
use super::{
    Expr, Filter, Test,
    field::{Field, Role, Span, Value},
    glob::COMM,
};
use crate::{
    errno::Errno,
    event::{Family, Op, Outcome},
};

/// The largest process id is one less (include/linux/threads.h, `PID_MAX_LIMIT`).
pub const PID_LIMIT: u32 = 4 * 1024 * 1024;

/// The fewest tests of a filter that exclude each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contradiction {
    pub tests: Vec<Test>,
}

/// A value that no attempt can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// Command names are cut
    Comm,
    Pid,
    Netns,
}

impl Filter {
    /// The fewest of its tests that no attempt can pass, if there are such.
    pub fn contradiction(&self) -> Option<Contradiction> {
        let mut tests = Vec::new();
        for term in &self.terms {
            gather(term, false, &mut tests);
        }
        if is_possible(&tests) {
            return None;
        }
        let mut at = 0;
        while at < tests.len() {
            let left_out = tests.remove(at);
            if is_possible(&tests) {
                tests.insert(at, left_out);
                at += 1;
            }
        }
        let tests = tests.into_iter().map(Cow::into_owned).collect();
        Some(Contradiction { tests })
    }

    /// Values of lists that no attempt can have, each with the reason.
    pub fn beyond_limits(&self) -> Vec<(Field, Value, Limit)> {
        let mut beyond = Vec::new();
        for term in &self.terms {
            term.visit(&mut |test| {
                for value in test.wanted.iter().chain(&test.unwanted) {
                    if let Some(limit) = value.limit() {
                        beyond.push((test.field, value.clone(), limit));
                    }
                }
            });
        }
        beyond
    }
}

impl Value {
    /// The limit that it is beyond.
    pub fn limit(&self) -> Option<Limit> {
        match self {
            Self::Comm(glob) if glob.least_bytes() > COMM => Some(Limit::Comm),
            Self::Pid(span) if span.first >= PID_LIMIT => Some(Limit::Pid),
            Self::PpidTree(pid) if *pid >= PID_LIMIT => Some(Limit::Pid),
            Self::Netns(0) => Some(Limit::Netns),
            _ => None,
        }
    }
}

/// Adds the tests that must hold where the expression does, or where it does not.
fn gather<'a>(expr: &'a Expr, negated: bool, tests: &mut Vec<Cow<'a, Test>>) {
    match (expr, negated) {
        (Expr::Is(test), false) => tests.push(Cow::Borrowed(test)),
        (Expr::Is(test), true) => tests.extend(test.opposite().map(Cow::Owned)),
        (Expr::Not(expr), _) => gather(expr, !negated, tests),
        (Expr::All(parts), false) | (Expr::Any(parts), true) => {
            for part in parts {
                gather(part, negated, tests);
            }
        }
        (Expr::All(_), true) | (Expr::Any(_), false) => {}
    }
}

fn is_possible(tests: &[Cow<'_, Test>]) -> bool {
    let tests: Vec<&Test> = tests.iter().map(|test| &**test).collect();
    let tests = Tests(&tests);
    tests.admit_a_process()
        && tests.admit_an_end()
        && tests.admit_a_call()
        && tests.admit_one_of(Field::Proto)
        && tests.admit_one_of(Field::Netns)
        && names::OF
            .into_iter()
            .all(|field| names::admit(&tests, field))
}

#[derive(Clone, Copy)]
struct Tests<'a>(&'a [&'a Test]);

impl<'a> Tests<'a> {
    fn of(self, field: Field) -> impl Iterator<Item = &'a Test> {
        self.0
            .iter()
            .copied()
            .filter(move |test| test.field == field)
    }

    /// Whether an attempt passes of which that is not known, or does not exist.
    fn admit_none(self, field: Field) -> bool {
        self.of(field).all(|test| test.wanted.is_empty())
    }

    /// The same, of a field whose values are words.
    fn admit(self, field: Field, value: &Value) -> bool {
        self.of(field).all(|test| {
            (test.wanted.is_empty() || test.wanted.contains(value))
                && !test.unwanted.contains(value)
        })
    }

    /// Any value at all passes.
    fn admit_one_of(self, field: Field) -> bool {
        self.admit_none(field)
            || self
                .wanted(field)
                .any(|value| self.admit(field, value) && value.limit().is_none())
    }

    fn wanted(self, field: Field) -> impl Iterator<Item = &'a Value> {
        self.of(field).flat_map(|test| &test.wanted)
    }

    fn unwanted(self, field: Field) -> impl Iterator<Item = &'a Value> {
        self.of(field).flat_map(|test| &test.unwanted)
    }

    /// Numbers that pass, of those that there are.
    fn left(self, field: Field, all: Ranges, of: impl Fn(&Value) -> Ranges) -> Ranges {
        let union = |values: &[Value]| {
            let values = values.iter().map(&of);
            values.fold(Ranges::none(), |all, more| all.or(&more))
        };
        self.of(field).fold(all, |left, test| {
            let wanted = union(&test.wanted);
            let left = if test.wanted.is_empty() {
                left
            } else {
                left.and(&wanted)
            };
            left.without(&union(&test.unwanted))
        })
    }

    fn admit_a_process(self) -> bool {
        let pids = Ranges::new(1, u128::from(PID_LIMIT) - 1);
        let roots = self.unwanted(Field::PpidTree);
        // A process belongs to its own tree.
        let outside = roots.fold(pids, |left, root| left.without(&numbers(root)));
        let users = Ranges::new(0, u128::from(u32::MAX));
        let excluded: Vec<_> = self.unwanted(Field::PpidTree).collect();
        let is_free = |root: &Value| !excluded.contains(&root) && root.limit().is_none();
        self.left(Field::Pid, outside, numbers).any()
            && self.left(Field::User, users, numbers).any()
            && self
                .of(Field::PpidTree)
                .all(|test| test.wanted.is_empty() || test.wanted.iter().any(is_free))
    }

    /// The outcome and the error. A connect goes on after some errors, and may end otherwise.
    fn admit_an_end(self) -> bool {
        let goes_on = |errno: &Errno| ENDS_LATER.contains(errno);
        let outcome = |outcome| self.admit(Field::Outcome, &Value::Outcome(outcome));
        let errno = |such: &dyn Fn(&Errno) -> bool| {
            self.wanted(Field::Errno).any(|value| {
                matches!(value, Value::Errno(errno) if such(errno))
                    && self.admit(Field::Errno, value)
            })
        };
        let none = self.admit_none(Field::Errno);
        (outcome(Outcome::Failed) && (none || errno(&|_| true)))
            || ((outcome(Outcome::Ok) || outcome(Outcome::Pending)) && (none || errno(&goes_on)))
            || (outcome(Outcome::Abandoned) && none)
    }

    /// The operation, its address and its ports.
    fn admit_a_call(self) -> bool {
        Call::each().any(|call| {
            self.admit(Field::Op, &Value::Op(call.op))
                && call.role.map_or_else(
                    || self.admit_none(Field::Role),
                    |role| self.admit(Field::Role, &Value::Role(role)),
                )
                && self.admit_ports(call)
                && self.admit_address(call)
        })
    }

    fn admit_ports(self, call: Call) -> bool {
        let left = |field| self.left(field, Ranges::new(1, u128::from(u16::MAX)), numbers);
        // Both are the same port, or there is none.
        let both = |one, other| left(one).and(&left(other)).any();
        let neither = |one, other| self.admit_none(one) && self.admit_none(other);
        let either = |one, other| {
            (call.port != Port::Certain && neither(one, other))
                || (call.port != Port::None && both(one, other))
        };
        if call.op == Op::Connect {
            let own = self.admit_none(Field::Lport) || left(Field::Lport).any();
            own && either(Field::Port, Field::Dport)
        } else {
            self.admit_none(Field::Dport) && either(Field::Port, Field::Lport)
        }
    }

    fn admit_address(self, call: Call) -> bool {
        let family = |family| self.admit(Field::Family, &Value::Family(family));
        match call.address {
            Some(Family::Ipv4) => {
                family(Family::Ipv4)
                    && self
                        .left(Field::Addr, Ranges::new(0, u32::MAX.into()), v4)
                        .any()
            }
            Some(Family::Ipv6) => {
                family(Family::Ipv6) && self.left(Field::Addr, Ranges::new(0, u128::MAX), v6).any()
            }
            _ if call.op == Op::Listen => {
                self.admit_none(Field::Family) && self.admit_none(Field::Addr)
            }
            _ => self.admit_one_of(Field::Family) && self.admit_none(Field::Addr),
        }
    }
}

/// A connect may still be under way when the call returns one of these.
const ENDS_LATER: [Errno; 3] = [Errno::EINPROGRESS, Errno::EALREADY, Errno::EINTR];

/// Kinds of calls, as far as the fields tell them apart.
#[derive(Clone, Copy)]
struct Call {
    op: Op,
    role: Option<Role>,
    /// `None` where no address was passed or none could be read
    address: Option<Family>,
    port: Port,
}

/// Whether the call asks for a port, or is given one.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Port {
    None,
    Perhaps,
    Certain,
}

impl Call {
    fn each() -> impl Iterator<Item = Self> {
        let call = |op, role, address, port| Self {
            op,
            role,
            address,
            port,
        };
        let with_address = [Family::Ipv4, Family::Ipv6]
            .into_iter()
            .flat_map(move |ip| {
                [
                    call(Op::Bind, Some(Role::Server), Some(ip), Port::Certain),
                    call(Op::Bind, Some(Role::Client), Some(ip), Port::Perhaps),
                    call(Op::Connect, Some(Role::Client), Some(ip), Port::Perhaps),
                ]
            });
        with_address.chain([
            call(Op::Bind, None, None, Port::None),
            call(Op::Connect, Some(Role::Client), None, Port::None),
            call(Op::Listen, Some(Role::Server), None, Port::Perhaps),
        ])
    }
}

fn numbers(value: &Value) -> Ranges {
    fn span<T: Copy + Into<u128>>(span: Span<T>) -> Ranges {
        Ranges::new(span.first.into(), span.last.into())
    }
    match value {
        Value::Pid(of) | Value::User(of) => span(*of),
        Value::Port(of) | Value::Lport(of) | Value::Dport(of) => span(*of),
        Value::PpidTree(of) => Ranges::new((*of).into(), (*of).into()),
        _ => Ranges::none(),
    }
}

/// IPv4 addresses of a network.
fn v4(value: &Value) -> Ranges {
    match value {
        Value::Addr(net @ IpNet::V4(_)) => of_net(net),
        _ => Ranges::none(),
    }
}

/// IPv6 addresses of a network: of one of IPv4, those that hold its addresses.
fn v6(value: &Value) -> Ranges {
    let Value::Addr(net) = value else {
        return Ranges::none();
    };
    let mapped = |ip: IpAddr| match ip {
        IpAddr::V4(ip) => number(ip.to_ipv6_mapped().into()),
        IpAddr::V6(ip) => number(ip.into()),
    };
    Ranges::new(mapped(net.network()), mapped(net.broadcast()))
}

fn of_net(net: &IpNet) -> Ranges {
    Ranges::new(number(net.network()), number(net.broadcast()))
}

fn number(ip: IpAddr) -> u128 {
    match ip {
        IpAddr::V4(ip) => u32::from(ip).into(),
        IpAddr::V6(ip) => ip.into(),
    }
}
