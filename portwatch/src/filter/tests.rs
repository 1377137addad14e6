use std::sync::Arc;

use proptest::prelude::*;

use super::{
    sample::{Somewhere, attempts, expr},
    *,
};
use crate::event::{
    Cgroup, Comm, Container, Family, Local, Op, Proto, Requested, Runtime, sample::attempt,
};

fn parsed(text: &str) -> Expr {
    Expr::parse(text, &Somewhere).unwrap_or_else(|error| panic!("{error}"))
}

fn filter(text: &str) -> Filter {
    let mut filter = Filter::default();
    filter.and(parsed(text));
    filter
}

fn passes(text: &str, attempt: &Attempt) -> bool {
    filter(text).passes(attempt)
}

fn error(text: &str) -> String {
    Expr::parse(text, &Somewhere).unwrap_err().to_string()
}

/// Asks for an address and a port.
fn asks(ip: &str, port: u16) -> Attempt {
    Attempt {
        requested: Some(Requested {
            ip: ip.parse().unwrap(),
            port,
            scope_id: 0,
        }),
        ..attempt()
    }
}

fn with_local(port: Option<u16>, attempt: Attempt) -> Attempt {
    let ip = [127, 0, 0, 1].into();
    Attempt {
        local: Some(Local { ip, port }),
        ..attempt
    }
}

fn connects(attempt: Attempt) -> Attempt {
    Attempt {
        op: Op::Connect,
        ..attempt
    }
}

fn holds(expr: &Expr, attempt: &Attempt) -> bool {
    let holds = expr.holds(attempt, SoFar::Returned);
    holds.expect("a call that has returned is known whole")
}

#[test]
fn an_empty_filter_lets_everything_pass() {
    assert!(Filter::default().passes(&attempt()));
    assert_eq!(Filter::default().to_string(), "");
    assert_eq!(Filter::default().needs(), Needs::default());
}

#[test]
fn a_list_is_any_of_the_wanted_and_none_of_the_unwanted() {
    let port = |port| asks("127.0.0.1", port);
    assert!(passes("port=80,443", &port(443)));
    assert!(!passes("port=80,443", &port(8080)));
    assert!(passes("port=8000-8100,!8010", &port(8000)));
    assert!(passes("port=8000-8100,!8010", &port(8100)));
    assert!(!passes("port=8000-8100,!8010", &port(8010)));
    assert!(passes("port=!22", &port(80)));
    assert!(!passes("port=!22", &port(22)));
    assert!(!passes("port=!20-25,22", &port(22)));
}

#[test]
fn what_is_not_known_is_no_value() {
    let unknown = Attempt {
        requested: None,
        ..attempt()
    };
    assert!(!passes("port=1-65535", &unknown));
    assert!(passes("port=!1-65535", &unknown));
    assert!(passes("port!=80", &unknown));
    assert!(!passes("netns=7", &unknown));
    assert!(!passes("addr=0.0.0.0/0,::/0", &unknown));
}

#[test]
fn and_binds_more_tightly_than_or() {
    let text = "pid=1 or pid=10 and port=81";
    assert!(!passes(text, &attempt()));
    assert!(passes("pid=10 or pid=1 and port=81", &attempt()));
    assert!(passes("(pid=1 or pid=10) and port=80", &attempt()));
    assert!(passes("not pid=1 and not not port=80", &attempt()));
    assert_eq!(parsed(text), parsed("pid=1 or (pid=10 and port=81)"));
    assert_eq!(parsed("not pid=1"), parsed("pid!=1"));
}

#[test]
fn the_user_is_the_effective_one_or_else_the_real_one() {
    assert!(passes("user=0", &attempt()));
    assert!(!passes("uid=1000", &attempt()));
    let unknown = Attempt {
        euid: None,
        ..attempt()
    };
    assert!(passes("user=alice", &unknown));
    assert!(passes("user=1000-1999", &unknown));
}

#[test]
fn the_port_of_a_bind_to_port_0_is_the_one_that_was_given() {
    let ephemeral = with_local(Some(40000), asks("127.0.0.1", 0));
    assert!(passes("port=40000", &ephemeral));
    assert!(passes("lport=40000", &ephemeral));
    assert!(!passes("port=40000", &with_local(Some(40000), attempt())));
    // A connect that asks for port 0 asks for port 0.
    assert!(!passes("port=40000", &connects(ephemeral)));
    let listen = Attempt {
        op: Op::Listen,
        requested: None,
        ..with_local(Some(40000), attempt())
    };
    assert!(passes("port=40000 and lport=40000", &listen));
    // The end that the socket had before is not what this bind asked for.
    let unreadable = Attempt {
        op: Op::Bind,
        ..listen
    };
    assert!(!passes("port=40000", &unreadable));
}

#[test]
fn local_and_far_ports_are_told_apart() {
    let connect = with_local(Some(40000), connects(attempt()));
    assert!(passes("port=80 and dport=80 and lport=40000", &connect));
    assert!(!passes("lport=80", &connect));
    assert!(passes("lport=80", &attempt()));
    assert!(!passes("dport=80", &attempt()));
}

#[test]
fn addresses_are_matched_by_network_mapped_ones_as_what_they_mean() {
    assert!(passes("addr=127.0.0.0/8", &asks("127.9.9.9", 80)));
    assert!(!passes("addr=127.0.0.0/8", &asks("128.0.0.1", 80)));
    assert!(passes("addr=fe80::/10", &asks("fe80::1", 80)));
    assert!(passes("addr=10.0.0.0/8", &asks("::ffff:10.1.1.1", 80)));
    assert!(passes("addr=::ffff:0:0/96", &asks("::ffff:10.1.1.1", 80)));
    assert!(!passes("addr=::ffff:0:0/96", &asks("10.1.1.1", 80)));
    assert_eq!(parsed("addr=10.1.1.1/8").to_string(), "addr=10.0.0.0/8");
    assert_eq!(parsed("addr=10.1.1.1").to_string(), "addr=10.1.1.1");
}

#[test]
fn loopback_is_the_hosts_own_of_either_family() {
    let loopback = |ip| Expr::loopback().holds(&asks(ip, 80), SoFar::Returned) == Some(true);
    assert!(loopback("127.0.0.1") && loopback("::1") && loopback("::ffff:127.0.0.1"));
    assert!(!loopback("0.0.0.0") && !loopback("::") && !loopback("10.0.0.1"));
}

#[test]
fn calls_are_matched_by_family_protocol_operation_and_result() {
    let udp = Attempt {
        family: Some(Family::Ipv6),
        proto: Some(Proto::Ip(17)),
        ..attempt()
    };
    assert!(passes("family=ipv6 and proto=udp and op=bind", &udp));
    assert!(passes("family=10 and proto=17", &udp));
    assert!(!passes(
        "family=ipv4,unspec or proto=raw or op=connect,listen",
        &udp
    ));
    for errno in ["EACCES", "eacces", "13", "-13"] {
        assert!(passes(&format!("errno={errno}"), &udp), "{errno}");
    }
    assert!(passes("errno=!EPERM and outcome=failed", &udp));
    let pending = Attempt {
        ret: Some(-115),
        ..udp
    };
    assert!(passes("outcome=pending and errno=EINPROGRESS", &pending));
    assert!(!passes("outcome=failed,ok", &pending));
}

#[test]
fn a_process_tree_is_the_process_and_all_below_it() {
    let child = Attempt {
        ppid: Some(9),
        ancestors: Some(Arc::new([9, 5, 1])),
        ..attempt()
    };
    for root in [10, 9, 5, 1] {
        assert!(passes(&format!("ppid-tree={root}"), &child), "{root}");
    }
    assert!(!passes("ppid-tree=7", &child));
}

#[test]
fn names_are_patterns() {
    let nginx = Attempt {
        comm: Comm::new(*b"nginx: worker\0\0\0"),
        ..attempt()
    };
    assert!(passes("comm=nginx*", &nginx));
    assert!(passes(r#"comm="nginx: worker""#, &nginx));
    assert!(passes(r"comm=nginx:\ worker", &nginx));
    assert!(!passes("comm=nginx", &nginx));
    assert!(!passes(r"comm=nginx\*", &nginx));
}

#[test]
fn cgroups_containers_and_units_are_those_of_the_caller() {
    let id = "3f25".repeat(16);
    let inside = Attempt {
        cgroup: Some(Arc::new(Cgroup {
            path: "/system.slice/nginx.service/a".to_owned(),
            unit: Some("nginx.service".to_owned()),
            container: Some(Container {
                runtime: Some(Runtime::Docker),
                id: id.clone(),
            }),
        })),
        ..attempt()
    };
    let all = [
        "cgroup=/system.slice",
        "cgroup=/system.slice/nginx.service/",
        "cgroup=/sys/fs/cgroup/system.slice",
        "cgroup=/",
        "cgroup=/sys/fs/cgroup",
        "unit=nginx",
        "unit=nginx.service",
        "unit=ngi*",
        "container=3f25",
        &format!("container={id}"),
    ];
    for text in all {
        assert!(passes(text, &inside), "{text}");
        assert!(!passes(text, &attempt()), "{text}");
        assert!(filter(text).needs().cgroup, "{text}");
    }
    for text in [
        "cgroup=/system",
        "unit=ngin",
        "container=3f26",
        "container=web",
    ] {
        assert!(!passes(text, &inside), "{text}");
    }
}

#[test]
fn what_is_asked_of_cgroups_that_nothing_runs_in_is_told() {
    let present = [Arc::new(Cgroup {
        path: "/system.slice/nginx.service".to_owned(),
        unit: Some("nginx.service".to_owned()),
        container: None,
    })];
    let absent = |text: &str| filter(text).absent(&present);
    assert_eq!(absent("unit=nginx and cgroup=/system.slice"), [""; 0]);
    assert_eq!(absent("unit!=ngnix and port=80"), [""; 0]);
    assert_eq!(absent("unit=ngnix or port=80"), [""; 0]);
    assert_eq!(
        absent("unit=nginx,ngnix and container=db and cgroup=/user.slice"),
        ["unit=ngnix.service", "container=db", "cgroup=/user.slice"]
    );
}

#[test]
fn a_short_name_of_a_container_is_no_beginning_of_an_id() {
    let lxc = Attempt {
        cgroup: Some(Arc::new(Cgroup {
            container: Some(Container {
                runtime: Some(Runtime::Lxc),
                id: "deadbeef".to_owned(),
            }),
            ..Cgroup::default()
        })),
        ..attempt()
    };
    assert!(passes("container=deadbeef", &lxc));
    assert!(!passes("container=dead", &lxc));
}

#[test]
fn a_server_binds_a_port_of_its_choice_or_listens() {
    assert!(passes("role=server", &attempt()));
    assert!(passes("role=client", &asks("0.0.0.0", 0)));
    assert!(passes("role=client", &connects(attempt())));
    let listen = Attempt {
        op: Op::Listen,
        requested: None,
        ..attempt()
    };
    assert!(passes("role=server", &listen));
    let unreadable = Attempt {
        requested: None,
        ..attempt()
    };
    assert!(passes("role!=server and role!=client", &unreadable));
}

#[test]
fn what_needs_a_look_up_is_said() {
    assert_eq!(filter("port=80 and user=0").needs(), Needs::default());
    let deep = filter("port=80 or not (pid=1 and ppid-tree=7)").needs();
    assert!(deep.ancestors && !deep.cgroup);
}

#[test]
fn required_are_the_tests_that_stand_alone() {
    let filter =
        filter("port=80 and (pid=1 or pid=2) and (op=bind and user!=0) and not addr=::1,!::2");
    let required: Vec<_> = filter.required().map(|test| test.to_string()).collect();
    assert_eq!(required, ["port=80", "op=bind", "user=!0"]);
}

#[test]
fn spaces_mean_nothing_and_quotes_protect() {
    let plain = parsed("port=80,!22 and(pid=1 or comm=a)");
    let spaced = parsed("  port = 80 , ! 22   and ( pid=1 or  comm = \"a\" ) ");
    assert_eq!(plain, spaced);
    assert_eq!(
        parsed(r#"comm="a,b) or pid=1""#).to_string(),
        r#"comm="a,b) or pid=1""#
    );
    assert_eq!(parsed(r#"comm="\"\\""#).to_string(), r#"comm=\"\\"#);
    assert_eq!(parsed(r#"comm="!a""#).to_string(), r#"comm="!a""#);
}

#[test]
fn in_an_option_only_commas_and_marks_at_the_beginning_have_a_meaning() {
    let test = |text| {
        Test::parse(Field::Comm, text, &Somewhere)
            .unwrap()
            .to_string()
    };
    assert_eq!(
        test("Web Content, (sd-pam)"),
        r#"comm="Web Content","(sd-pam)""#
    );
    assert_eq!(test(r#"!a b ,"c ""#), r#"comm="c ",!"a b""#);
}

#[test]
fn errors_point_at_the_place_and_say_what_was_expected() {
    insta::assert_snapshot!(error("port=80 and (user=1000 or errno=EACCESS)"), @r#"
    expected the name of an error (EACCES) or its number; did you mean `EACCES`?
      port=80 and (user=1000 or errno=EACCESS)
                                      ^^^^^^^
    "#);
    insta::assert_snapshot!(error("port=80 and prot=tcp"), @r#"
    there is no field `prot`; did you mean `proto`?
      port=80 and prot=tcp
                  ^^^^
    "#);
    insta::assert_snapshot!(error("(port=80"), @r#"
    expected `and`, `or` or `)`
      (port=80
              ^
    "#);
    insta::assert_snapshot!(error("port=80 port=81"), @r#"
    expected `and`, `or` or the end
      port=80 port=81
              ^^^^
    "#);
    insta::assert_snapshot!(error("port=80,"), @r#"
    expected a port from 1 to 65535, or a range of them (8000-8100)
      port=80,
              ^
    "#);
    insta::assert_snapshot!(error("port=8100-8000"), @r#"
    expected a port from 1 to 65535, or a range of them (8000-8100)
      port=8100-8000
           ^^^^^^^^^
    "#);
    insta::assert_snapshot!(error("port<80"), @r#"
    expected `=` or `!=`; a range is 1024-65535
      port<80
          ^
    "#);
    insta::assert_snapshot!(error("comm=\"née\n and port=80"), @r#"
    this quote is not closed
      comm="née  and port=80
           ^^^^^^^^^^^^^^^^^
    "#);
    insta::assert_snapshot!(error("comm=née or user=nobody-here"), @r#"
    there is no user `nobody-here` on this host; a number works without a name
      comm=née or user=nobody-here
                       ^^^^^^^^^^^
    "#);
    insta::assert_snapshot!(error("not ("), @r#"
    expected `not`, `(` or one of pid, ppid-tree, user, comm, port, lport, dport, addr, family, proto, op, outcome, errno, netns, cgroup, container, unit, role
      not (
           ^
    "#);
    insta::assert_snapshot!(error("netns=red"), @r#"
    there is no such namespace
      netns=red
            ^^^
    "#);
}

#[test]
fn a_typo_gets_a_suggestion() {
    for (text, meant) in [
        ("proto=tpc", "tcp"),
        ("op=conect", "connect"),
        ("outcome=fail", "failed"),
        ("role=sever", "server"),
        ("family=ip4", "ipv4"),
        ("errno=econnrefsued", "ECONNREFUSED"),
        ("prt=80", "port"),
        ("uuid=0", "uid"),
        ("failed", "outcome=failed"),
        ("no-loopback", "addr!=127.0.0.0/8,::1"),
    ] {
        let error = error(text);
        let suggestion = format!("; did you mean `{meant}`?");
        assert!(
            error.lines().next().unwrap().ends_with(&suggestion),
            "{error}"
        );
    }
}

#[test]
fn names_may_be_in_capitals() {
    for (typed, meant) in [
        ("proto=TCP,Raw", "proto=tcp,raw"),
        ("op=BIND", "op=bind"),
        ("outcome=Failed", "outcome=failed"),
        ("errno=eacces", "errno=EACCES"),
        ("family=IPv6", "family=ipv6"),
        ("role=Server", "role=server"),
    ] {
        assert_eq!(Expr::parse(typed, &Somewhere).unwrap().to_string(), meant);
    }
}

#[test]
fn values_that_cannot_be_are_refused() {
    for text in [
        "port=0",
        "port=0-80",
        "port=65536",
        "port=+80",
        "port=http",
        "port=80-",
        "port=-80",
        "pid=0",
        "ppid-tree=1-2",
        "user=4294967296",
        "addr=10.0.0.0/33",
        "addr=10.0.0",
        "addr=localhost",
        "proto=tpc",
        "op=accept",
        "errno=0",
        "errno=4096",
        "family=ip",
        "outcome=bad",
        "cgroup=system.slice",
        "role=none",
        "comm=",
        "port=80!=81",
    ] {
        assert!(Expr::parse(text, &Somewhere).is_err(), "{text}");
    }
}

#[test]
fn nesting_has_an_end() {
    for (open, close) in [("(", ")"), ("not ", "")] {
        let nested = |times: usize| format!("{}pid=1{}", open.repeat(times), close.repeat(times));
        assert!(Expr::parse(&nested(60), &Somewhere).is_ok());
        let error = error(&nested(100_000));
        assert!(error.starts_with("this is nested too deeply"), "{error}");
    }
}

proptest! {
    #[test]
    fn what_is_printed_is_the_same_expression(expr in expr()) {
        let text = expr.to_string();
        prop_assert_eq!(Expr::parse(&text, &Somewhere), Ok(expr), "{}", text);
    }

    #[test]
    fn what_is_printed_is_the_same_filter(terms in proptest::collection::vec(expr(), 1..4)) {
        let mut whole = Filter::default();
        for term in terms {
            whole.and(term);
        }
        prop_assert_eq!(&filter(&whole.to_string()), &whole);
    }

    #[test]
    fn logic_holds(a in expr(), b in expr(), attempt in attempts()) {
        let not = |expr: &Expr| Expr::Not(Box::new(expr.clone()));
        let all = Expr::All(vec![a.clone(), b.clone()]);
        let any = Expr::Any(vec![a.clone(), b.clone()]);
        let (left, right) = (holds(&a, &attempt), holds(&b, &attempt));
        prop_assert_eq!(holds(&all, &attempt), left && right);
        prop_assert_eq!(holds(&any, &attempt), left || right);
        prop_assert_eq!(holds(&not(&all), &attempt), holds(&Expr::Any(vec![not(&a), not(&b)]), &attempt));
        prop_assert_eq!(holds(&not(&any), &attempt), holds(&Expr::All(vec![not(&a), not(&b)]), &attempt));
        prop_assert_eq!(holds(&not(&not(&a)), &attempt), left);
    }

    #[test]
    fn what_passes_has_passed_what_is_required(expr in expr(), attempt in attempts()) {
        let mut filter = Filter::default();
        filter.and(expr.clone());
        prop_assert_eq!(filter.passes(&attempt), holds(&expr, &attempt));
        let required = filter.required().all(|test| holds(&Expr::Is(test.into_owned()), &attempt));
        prop_assert!(required || !filter.passes(&attempt));
    }

    #[test]
    fn no_text_is_too_strange(
        any in any::<String>(),
        soup in r#"((and|or|not|port|comm|errno|=|!=|!|,|\(|\)|"|\\|80|-|é| ){1,3}){0,20}"#,
    ) {
        for text in [any, soup] {
            match Expr::parse(&text, &Somewhere) {
                Ok(expr) => prop_assert_eq!(Expr::parse(&expr.to_string(), &Somewhere), Ok(expr)),
                Err(error) => prop_assert_eq!(error.to_string().split('\n').count(), 3),
            }
            for field in Field::ALL {
                drop(Test::parse(field, &text, &Somewhere).map_err(|error| error.to_string()));
            }
        }
    }
}

proptest! {
    /// As when a command line is edited: a valid expression that lost, gained or changed something.
    #[test]
    fn a_damaged_expression_is_read_or_its_fault_pointed_at(
        expr in expr(),
        at in any::<prop::sample::Index>(),
        lost in 0..6_usize,
        gained in r#"([\PC\x00-\x1f]|and|\(|\)|"|\\|,|!|=){0,4}"#,
    ) {
        let text = expr.to_string();
        let characters: Vec<char> = text.chars().collect();
        let (before, after) = characters.split_at(at.index(characters.len()));
        let after = after.iter().skip(lost);
        let damaged: String = before.iter().copied().chain(gained.chars()).chain(after.copied()).collect();
        if let Err(error) = Expr::parse(&damaged, &Somewhere) {
            let said = error.to_string();
            let lines: Vec<_> = said.split('\n').collect();
            prop_assert_eq!(lines.len(), 3, "{}", said);
            prop_assert!(lines[2].trim().chars().all(|mark| mark == '^'), "{}", said);
            prop_assert!(!lines[2].trim().is_empty() && !said.contains('\x1b'), "{}", said);
        }
    }
}

/// What was typed is quoted in the problem too.
#[test]
fn no_control_character_reaches_the_terminal() {
    for text in [
        "user=\"a\nb\"",
        "port=\"\u{1b}\"",
        "errno=\"\u{7}E\"",
        "proto=\"\n\"",
    ] {
        let said = Expr::parse(text, &Somewhere).unwrap_err().to_string();
        assert_eq!(said.split('\n').count(), 3, "{said:?}");
        let lines = said.replace('\n', "");
        assert!(!lines.contains(char::is_control), "{said:?}");
    }
}

/// Deeper or longer than anybody types: said, and never the end of the stack.
#[test]
fn endless_expressions_are_refused_or_read() {
    for (text, read) in [
        ("(".repeat(100_000), false),
        ("not ".repeat(100_000) + "port=80", false),
        (vec!["port=80"; 20_000].join(" or "), true),
        (format!("port={}", vec!["80"; 50_000].join(",")), true),
    ] {
        assert_eq!(Expr::parse(&text, &Somewhere).is_ok(), read);
    }
}
