//! From the user's filter to the part of it that the programs decide. Pure.
//!
//! What finds no place is left out, so that more attempts pass: of wanted values all or none, of
//! unwanted ones as many as fit. Of several tests of one field the first counts whole, of the
//! others what is still free.

use ipnet::IpNet;
use portwatch_common::{
    event::COMM_LEN,
    filter::{Bits, Block, List, Net, RAW, Span, VALUES, given, outcome, role},
};

use crate::{
    event::{Family, Op, Outcome, Proto},
    filter::{self, Field, Filter, Glob, Pinned, Role, Test, Value},
    source::{Kind, Request},
};

/// What the programs of a source are to decide.
pub(super) fn of(kind: Kind, request: &Request) -> Block {
    let own = compile(kind, &request.filter, request.keeps_binds);
    with_pinned(own, &request.pinned)
}

/// What they are to decide of the filter itself; with `keeps_binds` they remember binds that
/// succeed all the same, which `tracepoint` knows too little of.
fn compile(kind: Kind, filter: &Filter, keeps_binds: bool) -> Block {
    let mut block = Block::NONE;
    for (is_given, bit) in [
        (keeps_binds && kind != Kind::Tracepoint, given::REMEMBER),
        (!filter.of_cgroup().is_empty(), given::CGROUPS),
        (!filter.of_tree().is_empty(), given::TREES),
    ] {
        block.given |= when(is_given, bit);
    }
    for test in filter.required() {
        if decides(kind, test.field()) {
            block.given |= add(&mut block, &test);
        }
    }
    block
}

/// Adds the maps that others keep, which are never asked again in user space.
fn with_pinned(mut block: Block, pinned: &Pinned) -> Block {
    for (map, bit) in [
        (&pinned.cgroups, given::CGROUP_SET),
        (&pinned.mntns, given::MNTNS_SET),
    ] {
        block.given |= when(map.is_some(), bit);
    }
    block
}

/// Of a process the tracepoint source needs all attempts or none: it looks at descriptors after the
/// call, and goes by those that follow whether they have been used since.
fn decides(kind: Kind, field: Field) -> bool {
    kind != Kind::Tracepoint || field == Field::Pid
}

/// Adds a test; the bit that says so, or 0 where it is left to userspace.
fn add(block: &mut Block, test: &Test) -> u32 {
    let (spans, bit) = match test.field() {
        Field::Comm => return put(&mut block.comm, test, name, given::COMM),
        Field::Addr => return put(&mut block.addr, test, net, given::ADDR),
        Field::Pid => (&mut block.pid, given::PID),
        Field::User => (&mut block.user, given::USER),
        Field::Port => (&mut block.port, given::PORT),
        Field::Lport => (&mut block.lport, given::LPORT),
        Field::Dport => (&mut block.dport, given::DPORT),
        Field::Family => (&mut block.family, given::FAMILY),
        Field::Proto => (&mut block.proto, given::PROTO),
        Field::Op => (&mut block.op, given::OP),
        Field::Outcome => (&mut block.outcome, given::OUTCOME),
        Field::Errno => (&mut block.errno, given::ERRNO),
        Field::Netns => (&mut block.netns, given::NETNS),
        Field::Role => (&mut block.role, given::ROLE),
        // Of these the programs know nothing, but what `Source::rule_out` tells them.
        Field::PpidTree | Field::Cgroup | Field::Container | Field::Unit => return 0,
    };
    put(spans, test, span, bit)
}

/// Puts a test's values where there is room; 0 instead of the bit if nothing came of it.
fn put<T>(list: &mut List<T>, test: &Test, of: impl Fn(&Value) -> Option<T>, bit: u32) -> u32 {
    let wanted: Option<Vec<T>> = test.wanted().iter().map(&of).collect();
    let wanted = wanted.filter(|wanted| wanted.len() <= VALUES && list.wanted_count == 0);
    let before = (list.wanted_count, list.unwanted_count);
    for value in wanted.into_iter().flatten() {
        push(&mut list.wanted, &mut list.wanted_count, value);
    }
    for value in test.unwanted().iter().filter_map(of) {
        push(&mut list.unwanted, &mut list.unwanted_count, value);
    }
    when(before != (list.wanted_count, list.unwanted_count), bit)
}

const fn when(is_given: bool, bit: u32) -> u32 {
    if is_given { bit } else { 0 }
}

fn push<T>(values: &mut [T; VALUES], count: &mut u32, value: T) {
    if let Some(place) = values.get_mut(*count as usize) {
        *place = value;
        *count += 1;
    }
}

fn span(value: &Value) -> Option<Span> {
    let only = |number: u32| {
        Some(Span {
            first: number,
            last: number,
        })
    };
    match value {
        Value::Pid(span) | Value::User(span) => Some(between(*span)),
        Value::Port(span) | Value::Lport(span) | Value::Dport(span) => Some(between(*span)),
        Value::Netns(inode) => only(*inode),
        Value::Family(family) => only(match family {
            Family::Unspec => 0,
            Family::Ipv4 => 2,
            Family::Ipv6 => 10,
            Family::Other(number) => u32::from(*number),
        }),
        Value::Proto(proto) => only(match proto {
            Proto::Raw => RAW,
            Proto::Ip(number) => u32::from(*number),
        }),
        Value::Op(op) => only(u32::from(match op {
            Op::Bind => portwatch_common::event::op::BIND,
            Op::Connect => portwatch_common::event::op::CONNECT,
            Op::Listen => portwatch_common::event::op::LISTEN,
        })),
        Value::Outcome(outcome) => only(match outcome {
            Outcome::Ok => outcome::OK,
            Outcome::Failed => outcome::FAILED,
            Outcome::Pending => outcome::PENDING,
            Outcome::Abandoned => outcome::ABANDONED,
        }),
        Value::Errno(errno) => only(errno.number().into()),
        Value::Role(role) => only(match role {
            Role::Server => role::SERVER,
            Role::Client => role::CLIENT,
        }),
        Value::Comm(_)
        | Value::Addr(_)
        | Value::PpidTree(_)
        | Value::Cgroup(_)
        | Value::Container(_)
        | Value::Unit(_) => None,
    }
}

fn between<T: Into<u32>>(span: filter::Span<T>) -> Span {
    Span {
        first: span.first.into(),
        last: span.last.into(),
    }
}

/// A name, or what names begin with.
fn name(value: &Value) -> Option<Bits> {
    let Value::Comm(glob) = value else {
        return None;
    };
    let (text, begins) = Glob::literal(glob)?;
    // What is not UTF-8 is shown as the replacement character; a name ends at a NUL.
    if text.contains([char::REPLACEMENT_CHARACTER, '\0']) || text.len() >= COMM_LEN {
        return None;
    }
    let mut bytes = [0; COMM_LEN];
    bytes[..text.len()].copy_from_slice(text.as_bytes());
    let mut mask = [0; COMM_LEN];
    mask[..text.len() + usize::from(!begins)].fill(0xFF);
    Some(Bits {
        value: words(bytes),
        mask: words(mask),
    })
}

fn net(value: &Value) -> Option<Net> {
    let Value::Addr(net) = value else {
        return None;
    };
    let (bytes, prefix, ipv6_only) = match net {
        IpNet::V4(net) => (
            net.network().to_ipv6_mapped().octets(),
            96 + net.prefix_len(),
            0,
        ),
        IpNet::V6(net) => (net.network().octets(), net.prefix_len(), 1),
    };
    let mask = u128::MAX.checked_shl(128 - u32::from(prefix)).unwrap_or(0);
    Some(Net {
        bits: Bits {
            value: words(bytes),
            mask: words(mask.to_be_bytes()),
        },
        ipv6_only,
    })
}

/// As they lie in memory.
fn words(bytes: [u8; 16]) -> [u32; 4] {
    let (words, _) = bytes.as_chunks();
    [0, 1, 2, 3].map(|index: usize| u32::from_ne_bytes(words[index]))
}

#[cfg(test)]
mod tests;
