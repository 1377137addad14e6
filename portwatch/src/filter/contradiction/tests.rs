use proptest::prelude::*;

use super::*;
use crate::filter::sample::{Somewhere, attempts, expr, test};

fn filter(text: &str) -> Filter {
    let mut filter = Filter::default();
    filter.and(Expr::parse(text, &Somewhere).unwrap());
    filter
}

/// The tests that exclude each other.
fn contradiction(text: &str) -> Option<Vec<String>> {
    let found = filter(text).contradiction()?;
    Some(found.tests.iter().map(ToString::to_string).collect())
}

/// Expressions, each with the tests of it that exclude each other.
const IMPOSSIBLE: &[(&str, &[&str])] = &[
    ("port=80,!80", &["port=80,!80"]),
    ("port=80-90,!1-85,!86-100", &["port=80-90,!1-85,!86-100"]),
    ("user=0 and port=80 and user=5", &["user=0", "user=5"]),
    ("pid=7 and op=bind and dport=80", &["op=bind", "dport=80"]),
    ("op=listen and dport=80", &["op=listen", "dport=80"]),
    ("role=server and op=connect", &["role=server", "op=connect"]),
    ("role=server and dport=80", &["role=server", "dport=80"]),
    (
        "op=bind and lport=80 and port=81",
        &["op=bind", "lport=80", "port=81"],
    ),
    ("port=80 and dport=443", &["port=80", "dport=443"]),
    ("op=listen and addr=::1", &["op=listen", "addr=::1"]),
    ("op=listen and family=ipv4", &["op=listen", "family=ipv4"]),
    ("family=ipv4 and addr=::1", &["family=ipv4", "addr=::1"]),
    (
        "family=ipv4 and addr=::ffff:10.0.0.1",
        &["family=ipv4", "addr=::ffff:10.0.0.1"],
    ),
    (
        "family=unspec and addr=10.0.0.0/8",
        &["family=unspec", "addr=10.0.0.0/8"],
    ),
    (
        "addr=10.0.0.0/9 and addr=10.128.0.0/9",
        &["addr=10.0.0.0/9", "addr=10.128.0.0/9"],
    ),
    (
        "addr=127.0.0.1 and addr!=127.0.0.0/8,::1",
        &["addr=127.0.0.1", "addr=!127.0.0.0/8,!::1"],
    ),
    (
        "outcome=failed and outcome=ok",
        &["outcome=failed", "outcome=ok"],
    ),
    (
        "outcome=ok and errno=EACCES",
        &["outcome=ok", "errno=EACCES"],
    ),
    (
        "outcome=pending and errno=EACCES",
        &["outcome=pending", "errno=EACCES"],
    ),
    (
        "outcome!=failed and errno=EACCES",
        &["outcome=!failed", "errno=EACCES"],
    ),
    (
        "errno=EACCES and errno=EPERM",
        &["errno=EACCES", "errno=EPERM"],
    ),
    ("proto=tcp,!6", &["proto=tcp,!tcp"]),
    ("op=bind and op!=bind", &["op=bind", "op=!bind"]),
    ("op!=bind,connect,listen", &["op=!bind,!connect,!listen"]),
    (
        "not (op=bind or op=connect or op=listen)",
        &["op=!bind", "op=!connect", "op=!listen"],
    ),
    ("comm=victoria-metrics*", &["comm=victoria-metrics*"]),
    ("comm=\"????????????????\"", &["comm=????????????????"]),
    ("comm=*nginx*,!*nginx*", &["comm=*nginx*,!*nginx*"]),
    ("comm=nginx*,!ngin*", &["comm=nginx*,!ngin*"]),
    ("comm=a* and comm=b*", &["comm=a*", "comm=b*"]),
    (
        "comm=abcdefgh* and comm=*stuvwxyz",
        &["comm=abcdefgh*", "comm=*stuvwxyz"],
    ),
    ("unit=a and unit=b*", &["unit=a.service", "unit=b*"]),
    ("cgroup=/a/b and cgroup!=/a", &["cgroup=/a/b", "cgroup=!/a"]),
    ("cgroup=/a and cgroup=/ab", &["cgroup=/a", "cgroup=/ab"]),
    ("container=3f,!3f", &["container=3f,!3f"]),
    (
        "container=3f and container=4f",
        &["container=3f", "container=4f"],
    ),
    ("pid=4194304", &["pid=4194304"]),
    ("pid=1-5,!2,!1-5", &["pid=1-5,!2,!1-5"]),
    ("ppid-tree=5000000", &["ppid-tree=5000000"]),
    ("ppid-tree=7,!7", &["ppid-tree=7,!7"]),
    ("pid=7 and ppid-tree!=7", &["pid=7", "ppid-tree=!7"]),
    ("netns=0", &["netns=0"]),
    ("netns=7 and netns=8", &["netns=7", "netns=8"]),
];

#[test]
fn what_no_attempt_can_pass_is_named_without_the_rest() {
    for (text, expected) in IMPOSSIBLE {
        let expected: Vec<_> = expected.iter().map(|test| (*test).to_owned()).collect();
        assert_eq!(contradiction(text), Some(expected), "{text}");
    }
}

#[test]
fn what_may_be_is_let_through() {
    for text in [
        "port=80",
        "port=80,443,!443",
        "port!=1-65535",
        "op=bind and dport!=80",
        "op=bind,connect and dport=80",
        "op=connect and lport=80 and port=81",
        "op=listen and port=80 and role=server",
        "op=bind and role=client and port=80",
        "family=ipv6 and addr=10.0.0.0/8",
        "family=ipv4,ipv6 and addr=::1",
        "addr!=::1 and family=ipv6",
        "family=unspec and op=connect",
        "family=0 and port!=80",
        "outcome=failed and errno=EINPROGRESS",
        "outcome=ok and errno=EINPROGRESS",
        "outcome=ok and errno=EINTR",
        "outcome=ok and errno!=EACCES",
        "comm=victoria-metri?",
        "comm=victoria-metric",
        "comm=victoria-metric*",
        "comm=nginx,victoria-metrics",
        "comm=a*,!ab*",
        "comm=a* and comm=*b",
        "comm=abcdefgh* and comm=*hijklmno",
        "comm!=*",
        "container=3f and container=3f25",
        "container=3f25,!3f",
        "cgroup=/ and cgroup=/a",
        "pid=4194303",
        "pid=7 and ppid-tree=9",
        "ppid-tree=7 and ppid-tree=9",
        "proto=tcp and proto!=udp",
        "port=80,!80 or port=81",
        "not (op=bind and dport=80)",
    ] {
        assert_eq!(contradiction(text), None, "{text}");
    }
}

#[test]
fn a_value_that_no_attempt_has_is_found_among_others() {
    let beyond = filter("comm=nginx,victoria-metrics or netns!=0").beyond_limits();
    let beyond: Vec<_> = beyond
        .iter()
        .map(|(field, value, limit)| (field.name(), value.to_string(), *limit))
        .collect();
    let expected = [
        ("comm", "victoria-metrics".to_owned(), Limit::Comm),
        ("netns", "0".to_owned(), Limit::Netns),
    ];
    assert_eq!(beyond, expected);
}

fn all(exprs: Vec<Expr>) -> Filter {
    let mut filter = Filter::default();
    for expr in exprs {
        filter.and(expr);
    }
    filter
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]

    #[test]
    fn what_is_refused_lets_no_attempt_pass(
        tests in prop::collection::vec(test(), 1..4),
        rest in prop::option::of(expr()),
        attempts in prop::collection::vec(attempts(), 16),
    ) {
        let exprs = tests.into_iter().map(Expr::Is).chain(rest).collect();
        let filter = all(exprs);
        if let Some(found) = filter.contradiction() {
            let alone = all(found.tests.into_iter().map(Expr::Is).collect());
            prop_assert!(alone.contradiction().is_some());
            for attempt in attempts {
                prop_assert!(!filter.passes(&attempt), "{filter} {attempt:?}");
                prop_assert!(!alone.passes(&attempt), "{alone} {attempt:?}");
            }
        }
    }

    #[test]
    fn a_filter_that_an_attempt_passes_is_no_contradiction(
        expr in expr(),
        attempt in attempts(),
    ) {
        let filter = all(vec![expr]);
        if filter.passes(&attempt) {
            prop_assert_eq!(filter.contradiction(), None);
        }
    }
}
