//! Random filters, and random attempts for them, for the tests of this module and of those above.

use std::{net::IpAddr, sync::Arc};

use ipnet::IpNet;
use proptest::{collection::vec, option, prelude::*, sample::select};

use super::{Expr, Field, Glob, Names, Role, Span, Test, Value};
use crate::{
    errno::Errno,
    event::{
        Attempt, Cgroup, Comm, Container, Family, Local, Op, Outcome, Proto, Requested,
        sample::attempt,
    },
};

/// A host where `alice` is user 1000, `blue` is network namespace 7, and `web` a container.
pub(crate) struct Somewhere;

impl Names for Somewhere {
    fn user(&self, name: &str) -> Option<u32> {
        (name == "alice").then_some(1000)
    }

    fn netns(&self, name: &str) -> Result<u32, String> {
        (name == "blue")
            .then_some(7)
            .ok_or_else(|| "there is no such namespace".to_owned())
    }

    fn container(&self, name: &str) -> Option<String> {
        (name == "web").then(|| "ab".repeat(32))
    }
}

pub(crate) fn expr() -> impl Strategy<Value = Expr> {
    test().prop_map(Expr::Is).prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            inner.clone().prop_map(|expr| Expr::Not(Box::new(expr))),
            vec(inner.clone(), 2..4).prop_map(Expr::All),
            vec(inner, 2..4).prop_map(Expr::Any),
        ]
    })
}

pub(crate) fn test() -> impl Strategy<Value = Test> {
    select(Field::ALL.to_vec()).prop_flat_map(test_of)
}

pub(crate) fn test_of(field: Field) -> impl Strategy<Value = Test> {
    let lists = (vec(value(field), 0..4), vec(value(field), 0..3));
    let lists = lists.prop_filter("a list has a value", |(wanted, unwanted)| {
        !wanted.is_empty() || !unwanted.is_empty()
    });
    lists.prop_map(move |(wanted, unwanted)| Test {
        field,
        wanted,
        unwanted,
    })
}

/// Small ranges, so that attempts match often.
fn value(field: Field) -> BoxedStrategy<Value> {
    match field {
        Field::Pid => span(1_u32..9).prop_map(Value::Pid).boxed(),
        Field::PpidTree => (1_u32..9).prop_map(Value::PpidTree).boxed(),
        Field::User => span(0_u32..5).prop_map(Value::User).boxed(),
        Field::Comm => name()
            .prop_map(|name| Value::Comm(Glob::new(&name)))
            .boxed(),
        Field::Port => span(1_u16..9).prop_map(Value::Port).boxed(),
        Field::Lport => span(1_u16..9).prop_map(Value::Lport).boxed(),
        Field::Dport => span(1_u16..9).prop_map(Value::Dport).boxed(),
        Field::Addr => net().prop_map(Value::Addr).boxed(),
        Field::Family => family().prop_map(Value::Family).boxed(),
        Field::Proto => proto().prop_map(Value::Proto).boxed(),
        Field::Op => select(Op::ALL.to_vec()).prop_map(Value::Op).boxed(),
        Field::Outcome => select(Outcome::ALL.to_vec())
            .prop_map(Value::Outcome)
            .boxed(),
        Field::Errno => errno().prop_map(Value::Errno).boxed(),
        Field::Netns => (1_u32..5).prop_map(Value::Netns).boxed(),
        Field::Cgroup => path().prop_map(|path| Value::Cgroup(path.into())).boxed(),
        Field::Container => id().prop_map(|id| Value::Container(id.into())).boxed(),
        Field::Unit => name()
            .prop_map(|name| Value::Unit(Glob::new(&format!("{name}.service"))))
            .boxed(),
        Field::Role => select(Role::ALL.to_vec()).prop_map(Value::Role).boxed(),
    }
}

fn span<T: Copy + Ord + std::fmt::Debug>(
    numbers: std::ops::Range<T>,
) -> impl Strategy<Value = Span<T>>
where
    std::ops::Range<T>: Strategy<Value = T> + Clone,
{
    (numbers.clone(), numbers).prop_map(|(a, b)| Span {
        first: a.min(b),
        last: a.max(b),
    })
}

/// What a hostile process calls itself, and what users mean.
fn name() -> impl Strategy<Value = String> {
    prop_oneof!["[ab*?]{0,3}", r#"[ab*?\\"',!() ]{0,6}"#, any::<String>()]
}

fn id() -> impl Strategy<Value = String> {
    prop_oneof!["[0-9a-f]{1,3}", r#"[ab\\"',!() ]{1,6}"#, any::<String>()]
        .prop_filter("it is no name of Somewhere", |id| {
            !id.is_empty() && id != "web"
        })
}

fn path() -> impl Strategy<Value = String> {
    vec(r#"[ab]|[ab\\"',!() ]{1,3}"#, 0..3).prop_map(|names| {
        names
            .iter()
            .fold(String::new(), |path, name| path + "/" + name)
    })
}

fn ip() -> impl Strategy<Value = IpAddr> {
    let usual = ["127.0.0.1", "10.0.0.1", "::1", "::ffff:10.0.0.1", "::"];
    let usual: Vec<IpAddr> = usual.iter().map(|ip| ip.parse().unwrap()).collect();
    prop_oneof![select(usual), any::<IpAddr>()]
}

fn net() -> impl Strategy<Value = IpNet> {
    (ip(), 0_u8..=128).prop_map(|(ip, prefix)| {
        let longest = IpNet::from(ip).max_prefix_len();
        IpNet::new(ip, prefix.min(longest)).unwrap().trunc()
    })
}

fn family() -> impl Strategy<Value = Family> {
    let other = (20_u16..30).prop_map(Family::Other);
    prop_oneof![
        select(vec![Family::Ipv4, Family::Ipv6, Family::Unspec]),
        other
    ]
}

fn proto() -> impl Strategy<Value = Proto> {
    prop_oneof![
        Just(Proto::Raw),
        Just(Proto::Ip(6)),
        any::<u16>().prop_map(Proto::Ip)
    ]
}

fn errno() -> impl Strategy<Value = Errno> {
    ret().prop_filter_map("it is an error", Errno::from_ret)
}

fn ret() -> impl Strategy<Value = i32> {
    prop_oneof![Just(0), Just(-13), Just(-115), -4095..=0_i32]
}

pub(crate) fn attempts() -> BoxedStrategy<Attempt> {
    let process = (
        1_u32..9,
        option::of(1_u32..9),
        0_u32..5,
        option::of(0_u32..5),
    );
    let parents = option::of(vec(1_u32..9, 0..4));
    let names = (
        any::<[u8; 16]>(),
        option::of(cgroup()),
        option::of(1_u32..5),
    );
    let call = (
        select(Op::ALL.to_vec()),
        option::of(ret()),
        option::of(family()),
    );
    let asked = option::of((ip(), 0_u16..9));
    let socket = (
        option::of(proto()),
        asked,
        option::of((ip(), option::of(0_u16..9))),
    );
    let strategy = (process, parents, names, call, socket).prop_map(
        |((tgid, ppid, uid, euid), parents, names, (op, ret, family), (proto, asked, local))| {
            let (comm, cgroup, netns) = names;
            let (family, asked) = passed(op, family, asked);
            Attempt {
                tgid,
                ppid,
                uid,
                euid,
                ancestors: parents.map(Arc::from),
                comm: Comm::new(comm),
                cgroup: cgroup.map(Arc::new),
                netns,
                op,
                ret,
                family,
                proto,
                requested: asked.map(|(ip, port)| Requested {
                    ip,
                    port,
                    scope_id: 0,
                }),
                local: local.map(|(ip, port)| Local { ip, port }),
                ..attempt()
            }
        },
    );
    strategy.boxed()
}

/// A listen passes no address, and an address is of its family.
fn passed(
    op: Op,
    family: Option<Family>,
    asked: Option<(IpAddr, u16)>,
) -> (Option<Family>, Option<(IpAddr, u16)>) {
    match (op, family) {
        (Op::Listen, _) => (None, None),
        (_, Some(Family::Unspec | Family::Other(_))) => (family, None),
        _ => {
            let of = |(ip, _): &(IpAddr, u16)| match ip {
                IpAddr::V4(_) => Family::Ipv4,
                IpAddr::V6(_) => Family::Ipv6,
            };
            (asked.as_ref().map(of).or(family), asked)
        }
    }
}

fn cgroup() -> impl Strategy<Value = Cgroup> {
    (
        path(),
        option::of(name()),
        option::of("[0-9a-f]{64}|[ab]{1,3}"),
    )
        .prop_map(|(path, unit, id)| Cgroup {
            path,
            unit: unit.map(|name| format!("{name}.service")),
            container: id.map(|id| Container { runtime: None, id }),
        })
}
