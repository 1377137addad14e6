use std::net::SocketAddr;

use super::{
    Caller, Device, Expected, Network, Prediction, Reach, Situation, Subject, Verdict, predict,
};
use crate::{
    event::{
        AcceptQueue, Code, Comm, Holder, Holders, IfName, Lookup, Op, Options, Proto, Requested,
        SocketState, System, Unseen, Version,
    },
    explain::{Address, Assigned, Facts, Ports, Route, RouteKind},
};

const TCP: Proto = Proto::Ip(6);
const UDP: Proto = Proto::Ip(17);
const ALICE: u32 = 1000;
const NET_BIND_SERVICE: u64 = 1 << 10;
const MOJAVE: Version = Version {
    major: 10,
    minor: 14,
};
const HIGH_SIERRA: Version = Version {
    major: 10,
    minor: 13,
};

fn bind(to: &str) -> Situation {
    let to: SocketAddr = to.parse().unwrap();
    Situation {
        system: System::Linux,
        op: Op::Bind,
        proto: TCP,
        to: requested(to),
        options: Options::default(),
        device: None,
        caller: Caller {
            comm: Comm::new(*b"alice\0\0\0\0\0\0\0\0\0\0\0"),
            tgid: 0,
            process: None,
            cgroup: None,
        },
        subject: Subject {
            euid: ALICE,
            cap_effective: Some(0),
            user_ns: Some(1),
            seccomp: Some(false),
            cgroup_programs: Some(false),
        },
        network: Network {
            netns: Some(2),
            user_ns: Some(1),
            reach: Reach::Same,
            unprivileged_port_start: Some(1024),
            ipv6: true,
        },
        facts: Facts {
            holders: Holders::all(Vec::new()),
            address: Address {
                assigned: if to.ip().is_loopback() {
                    Lookup::Found(loopback())
                } else {
                    Lookup::NotThere
                },
                nonlocal_bind: Some(false),
                ..Address::default()
            },
            route: Lookup::Found(Route {
                kind: if to.ip().is_loopback() {
                    RouteKind::Local
                } else {
                    RouteKind::None
                },
                interface: None,
                gateway: None,
                source: None,
            }),
            ports: Some(Ports {
                first: 32768,
                last: 60999,
            }),
            ..Facts::default()
        },
    }
}

fn requested(to: SocketAddr) -> Requested {
    Requested {
        ip: to.ip(),
        port: to.port(),
        scope_id: match to {
            SocketAddr::V4(_) => 0,
            SocketAddr::V6(to) => to.scope_id(),
        },
    }
}

fn loopback() -> Assigned {
    Assigned {
        ifindex: 1,
        ifname: IfName::new(b"lo"),
        tentative: false,
        dad_failed: false,
        vrf: None,
    }
}

fn held(at: &str, state: SocketState) -> Holder {
    let at: SocketAddr = at.parse().unwrap();
    Holder {
        process: Lookup::NotThere,
        uid: Some(0),
        state,
        ip: at.ip(),
        port: at.port(),
        peer: None,
        inode: Some(1),
        since: None,
        bound_by: None,
        kernel: false,
        reuseaddr: Some(false),
        reuseport: Some(false),
        v6only: Some(false),
        ifindex: None,
        queue: None,
    }
}

impl Situation {
    fn with(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }

    fn result(&self) -> String {
        match predict(self).result {
            Expected::Ok => "ok".to_owned(),
            Expected::Fails(errno) => errno.to_string(),
            Expected::Unknown => "unknown".to_owned(),
        }
    }
}

/// The errors in the order in which the kernel would give them.
fn errors(prediction: &Prediction) -> Vec<String> {
    let errors = prediction
        .checks
        .iter()
        .filter_map(|check| match check.verdict {
            Verdict::No(errno) => Some(format!("{} {errno}", check.station.name())),
            _ => None,
        });
    errors.collect()
}

#[test]
fn the_four_binds_of_the_question() {
    for to in ["0.0.0.0:80", "127.0.0.1:80", "[::]:80", "[::1]:80"] {
        assert_eq!(bind(to).result(), "EACCES", "{to}");
        let free = bind(to).with(|it| it.network.unprivileged_port_start = Some(80));
        assert_eq!(free.result(), "ok", "{to}");
    }
}

#[test]
fn a_capability_counts_where_the_network_namespace_belongs() {
    let with = |capable: bool, reach| {
        bind("127.0.0.1:80")
            .with(|it| {
                it.subject.cap_effective = Some(if capable { NET_BIND_SERVICE } else { 0 });
                it.network.reach = reach;
            })
            .result()
    };
    let mine = Reach::Below {
        made_by: Some(ALICE),
    };
    let roots = Reach::Below { made_by: Some(0) };
    assert_eq!(with(true, Reach::Same), "ok");
    assert_eq!(with(false, Reach::Same), "EACCES");
    assert_eq!(with(false, mine), "ok");
    assert_eq!(with(false, roots), "EACCES");
    assert_eq!(with(true, roots), "ok");
    assert_eq!(with(true, Reach::Elsewhere), "EACCES");
    assert_eq!(with(true, Reach::Unknown), "unknown");
}

#[test]
fn ipv4_looks_at_the_address_first_and_ipv6_at_the_port() {
    let v4 = predict(&bind("198.51.100.1:80"));
    assert_eq!(errors(&v4), ["address EADDRNOTAVAIL", "port EACCES"]);
    let v6 = predict(&bind("[2001:db8::1]:80"));
    assert_eq!(errors(&v6), ["port EACCES", "address EADDRNOTAVAIL"]);
}

#[test]
fn some_addresses_need_not_be_assigned() {
    for to in [
        "0.0.0.0:8080",
        "255.255.255.255:8080",
        "224.0.0.1:8080",
        "[::]:8080",
    ] {
        assert_eq!(bind(to).result(), "ok", "{to}");
    }
    let foreign = || bind("198.51.100.1:8080");
    assert_eq!(foreign().result(), "EADDRNOTAVAIL");
    assert_eq!(
        foreign().with(|it| it.options.freebind = true).result(),
        "ok"
    );
    let routed = |kind| {
        foreign()
            .with(|it| it.facts.route.as_mut().found().unwrap().kind = kind)
            .result()
    };
    assert_eq!(routed(RouteKind::Local), "ok");
    assert_eq!(routed(RouteKind::Broadcast), "ok");
    assert_eq!(routed(RouteKind::Unicast), "EADDRNOTAVAIL");
    let sysctl = foreign().with(|it| it.facts.address.nonlocal_bind = Some(true));
    assert_eq!(sysctl.result(), "ok");
    for to in [
        "198.51.100.1:8080",
        "[::ffff:198.51.100.1]:8080",
        "[2001:db8::1]:8080",
    ] {
        let new = predict(&bind(to).with(|it| it.facts.address.local_table = Some(false)));
        let cause = new.cause.map(|cause| cause.code);
        let expected = match to {
            "[2001:db8::1]:8080" => Code::AddressNotLocal,
            _ => Code::NonlocalAddressAllowed,
        };
        assert_eq!(cause, Some(expected), "{to}");
    }
}

#[test]
fn ipv6_multicast_is_for_datagrams_and_needs_a_scope() {
    let to = "[ff02::1]:5353";
    assert_eq!(bind(to).result(), "EINVAL");
    assert_eq!(bind(to).with(|it| it.proto = UDP).result(), "EINVAL");
    let scoped = bind(to).with(|it| {
        it.proto = UDP;
        it.to.scope_id = 2;
        it.facts.interface = Lookup::Found(());
    });
    assert_eq!(scoped.result(), "ok");
    let gone = scoped.with(|it| it.facts.interface = Lookup::NotThere);
    assert_eq!(gone.result(), "ENODEV");
    let wide = bind("[ff0e::1]:5353").with(|it| it.proto = UDP);
    assert_eq!(wide.result(), "ok");
}

#[test]
fn a_link_local_address_is_on_one_interface() {
    let on = |scope| {
        bind("[fe80::1]:8080")
            .with(|it| {
                it.to.scope_id = scope;
                it.facts.interface = Lookup::Found(());
                it.facts.address.assigned = Lookup::Found(Assigned {
                    ifindex: 3,
                    ..loopback()
                });
            })
            .result()
    };
    assert_eq!(on(0), "EINVAL");
    assert_eq!(on(3), "ok");
    assert_eq!(on(4), "EADDRNOTAVAIL");
}

#[test]
fn an_address_that_detection_has_not_passed_does_not_count() {
    let when = |tentative, dad_failed| {
        bind("[::1]:8080")
            .with(|it| {
                let assigned = it.facts.address.assigned.as_mut().found().unwrap();
                (assigned.tentative, assigned.dad_failed) = (tentative, dad_failed);
            })
            .result()
    };
    assert_eq!(when(true, false), "EADDRNOTAVAIL");
    assert_eq!(when(false, true), "EADDRNOTAVAIL");
    assert_eq!(when(false, false), "ok");
}

#[test]
fn a_mapped_address_goes_by_the_rules_of_both_families() {
    let to = "[::ffff:127.0.0.1]:8080";
    assert_eq!(
        bind(to).with(|it| it.options.v6only = true).result(),
        "EINVAL"
    );
    let local = bind(to).with(|it| {
        it.facts.route.as_mut().found().unwrap().kind = RouteKind::Local;
    });
    assert_eq!(local.result(), "ok");
    let foreign = predict(&bind("[::ffff:198.51.100.1]:80"));
    assert_eq!(errors(&foreign), ["port EACCES", "address EADDRNOTAVAIL"]);
}

#[test]
fn a_device_that_is_not_there_is_refused_before_the_bind() {
    let device = |index| {
        bind("127.0.0.1:8080").with(|it| {
            it.device = Some(Device {
                name: IfName::new(b"eth9").unwrap(),
                index,
            });
        })
    };
    assert_eq!(device(None).result(), "ENODEV");
    assert_eq!(device(Some(9)).result(), "ok");
}

#[test]
fn a_holder_is_in_the_way_or_not_or_cannot_be_read() {
    let against = |holder: Holder| {
        bind("127.0.0.1:8080")
            .with(|it| {
                it.options.reuseaddr = true;
                it.facts.holders = Holders::all(vec![holder]);
            })
            .result()
    };
    assert_eq!(
        against(held("0.0.0.0:8080", SocketState::Listen)),
        "EADDRINUSE"
    );
    assert_eq!(against(held("127.0.0.2:8080", SocketState::Listen)), "ok");
    let reusing = |reuseaddr| Holder {
        reuseaddr,
        ..held("0.0.0.0:8080", SocketState::Bound)
    };
    assert_eq!(against(reusing(Some(true))), "ok");
    assert_eq!(against(reusing(None)), "unknown");
    for why in Unseen::ALL {
        let unseen = bind("127.0.0.1:8080").with(|it| it.facts.holders = Holders::not_seen(why));
        assert_eq!(unseen.result(), "unknown");
    }
}

#[test]
fn what_could_refuse_does_not_decide() {
    let watched = bind("127.0.0.1:8080").with(|it| {
        it.subject.seccomp = Some(true);
        it.subject.cgroup_programs = None;
        it.facts.lsms = vec!["capability".to_owned(), "landlock".to_owned()];
    });
    let prediction = predict(&watched);
    assert_eq!(prediction.result, Expected::Ok);
    let verdicts = prediction.checks.iter().map(|check| check.verdict);
    assert_eq!(
        verdicts
            .filter(|verdict| *verdict == Verdict::Maybe)
            .count(),
        3
    );
    let none = bind("127.0.0.1:8080").with(|it| it.facts.lsms = vec!["yama".to_owned()]);
    assert!(
        predict(&none)
            .checks
            .iter()
            .all(|check| check.verdict == Verdict::Ok)
    );
}

#[test]
fn a_kernel_without_ipv6_has_no_such_socket() {
    for (op, to, instead) in [
        (Op::Bind, "[::]:8080", "use 0.0.0.0"),
        (Op::Bind, "[::1]:8080", "use 127.0.0.1"),
        (Op::Connect, "[2001:db8::1]:80", "use an IPv4 address"),
        (Op::Bind, "[::ffff:10.0.0.1]:80", "use 10.0.0.1"),
    ] {
        let none = bind(to).with(|it| {
            it.op = op;
            it.network.ipv6 = false;
        });
        let prediction = predict(&none);
        assert_eq!(errors(&prediction)[0], "socket EAFNOSUPPORT");
        let cause = prediction.cause.unwrap();
        assert_eq!(cause.code, Code::KernelWithoutIpv6);
        assert!(
            cause.text.starts_with("this kernel has no IPv6"),
            "{}",
            cause.text
        );
        assert_eq!(cause.fixes[0].what, instead);
    }
    let other_system = on_macos("[::1]:8080", MOJAVE).with(|it| it.network.ipv6 = false);
    assert_eq!(other_system.result(), "ok");
}

/// No call was made: nothing can have been.
#[test]
fn a_prediction_is_no_report() {
    let many = [
        "127.0.0.1:80",
        "198.51.100.1:8080",
        "[::1]:80",
        "[fe80::1]:8080",
        "[ff02::1]:5353",
        "224.0.0.1:80",
        "[::ffff:127.0.0.1]:80",
    ];
    let calls = many.into_iter().flat_map(|to| {
        [
            (Op::Bind, TCP),
            (Op::Bind, UDP),
            (Op::Connect, TCP),
            (Op::Connect, UDP),
        ]
        .map(|(op, proto)| (to, op, proto))
    });
    for (to, op, proto) in calls {
        for with_ipv6 in [true, false] {
            let asked = bind(to).with(|it| {
                (it.op, it.proto, it.network.ipv6) = (op, proto, with_ipv6);
                it.options.v6only = true;
            });
            let Some(cause) = predict(&asked).cause else {
                continue;
            };
            for past in [" was ", " were ", " had ", "refused", "answered"] {
                assert!(!cause.text.contains(past), "{op:?} {to}: {}", cause.text);
            }
        }
    }
}

#[test]
fn nobody_would_answer_but_this_host() {
    let nobody = predict(&connect("127.0.0.1:9", RouteKind::Local));
    let cause = nobody.cause.unwrap();
    assert_eq!(cause.code, Code::NobodyListens);
    assert_eq!(
        cause.text,
        "nobody listens on 127.0.0.1:9: this host answers with a reset (RST)"
    );
}

fn connect(to: &str, kind: RouteKind) -> Situation {
    bind(to).with(|it| {
        it.op = Op::Connect;
        it.facts.route.as_mut().found().unwrap().kind = kind;
    })
}

#[test]
fn a_route_decides_about_a_connect() {
    for (kind, expected) in [
        (RouteKind::None, "ENETUNREACH"),
        (RouteKind::Unreachable, "EHOSTUNREACH"),
        (RouteKind::Prohibit, "EACCES"),
        (RouteKind::Blackhole, "EINVAL"),
        (RouteKind::Multicast, "ENETUNREACH"),
        (RouteKind::Unicast, "ok"),
        (RouteKind::Local, "ECONNREFUSED"),
    ] {
        assert_eq!(
            connect("198.51.100.1:80", kind).result(),
            expected,
            "{kind:?}"
        );
    }
    let datagram = |kind| connect("198.51.100.1:80", kind).with(|it| it.proto = UDP);
    assert_eq!(datagram(RouteKind::Local).result(), "ok");
    assert_eq!(datagram(RouteKind::Broadcast).result(), "EACCES");
    let allowed = datagram(RouteKind::Broadcast).with(|it| it.options.broadcast = true);
    assert_eq!(allowed.result(), "ok");
}

#[test]
fn a_local_connect_needs_a_listener_that_takes_the_address() {
    let to = |to: &str, listener: Holder| {
        connect(to, RouteKind::Local)
            .with(|it| it.facts.holders = Holders::all(vec![listener]))
            .result()
    };
    let listener = |at| held(at, SocketState::Listen);
    assert_eq!(to("127.0.0.1:80", listener("127.0.0.1:80")), "ok");
    assert_eq!(to("127.0.0.1:80", listener("0.0.0.0:80")), "ok");
    assert_eq!(to("0.0.0.0:80", listener("127.0.0.1:80")), "ok");
    assert_eq!(to("[::]:80", listener("[::1]:80")), "ok");
    assert_eq!(to("[::ffff:0.0.0.0]:80", listener("127.0.0.1:80")), "ok");
    assert_eq!(to("127.0.0.2:80", listener("127.0.0.1:80")), "ECONNREFUSED");
    assert_eq!(to("127.0.0.1:80", listener("[::]:80")), "ok");
    assert_eq!(to("[::1]:80", listener("0.0.0.0:80")), "ECONNREFUSED");
    assert_eq!(
        to("[::1]:80", held("[::1]:80", SocketState::Bound)),
        "ECONNREFUSED"
    );
    let only = Holder {
        v6only: Some(true),
        ..listener("[::]:80")
    };
    assert_eq!(to("127.0.0.1:80", only), "ECONNREFUSED");
}

#[test]
fn a_full_accept_queue_does_not_answer() {
    let to = |listeners: Vec<Holder>| {
        connect("127.0.0.1:80", RouteKind::Local)
            .with(|it| it.facts.holders = Holders::all(listeners))
    };
    let listener = |waiting, inode| Holder {
        inode: Some(inode),
        queue: Some(AcceptQueue {
            waiting,
            backlog: 1,
        }),
        ..held("127.0.0.1:80", SocketState::Listen)
    };
    assert_eq!(to(vec![listener(1, 1)]).result(), "ok");
    let full = predict(&to(vec![listener(2, 1)]));
    let cause = full.cause.unwrap();
    assert_eq!(cause.code, Code::AcceptQueueFull);
    assert!(!format!("{cause:?}").contains("firewall"), "{cause:?}");
    // Of several, another one may get it.
    assert_eq!(to(vec![listener(2, 1), listener(0, 2)]).result(), "ok");
}

#[test]
fn a_listener_on_another_device_is_not_reached() {
    let bound = Holder {
        ifindex: Some(7),
        ..held("0.0.0.0:80", SocketState::Listen)
    };
    let to = connect("127.0.0.1:80", RouteKind::Local)
        .with(|it| it.facts.holders = Holders::all(vec![bound]));
    let prediction = predict(&to);
    assert_eq!(errors(&prediction), ["answer ECONNREFUSED"]);
    let cause = prediction.cause.unwrap();
    assert!(cause.text.contains("SO_BINDTODEVICE"), "{}", cause.text);
    assert!(!cause.text.contains("nobody"), "{}", cause.text);
}

#[test]
fn an_ipv6_connect_may_need_a_scope() {
    let stream = |to| connect(to, RouteKind::None).result();
    let datagram = |to| {
        connect(to, RouteKind::None)
            .with(|it| it.proto = UDP)
            .result()
    };
    assert_eq!(stream("[fe80::1]:80"), "EINVAL");
    assert_eq!(stream("[ff02::1]:80"), "ENETUNREACH");
    assert_eq!(datagram("[ff02::1]:80"), "EINVAL");
    assert_eq!(datagram("[ff0e::1]:80"), "ENETUNREACH");
}

fn on_macos(to: &str, version: Version) -> Situation {
    bind(to).with(|it| {
        it.system = System::MacOs(version);
        it.facts = Facts::default();
    })
}

#[test]
fn macos_frees_the_wildcard_since_10_14() {
    for (to, before, since) in [
        ("0.0.0.0:80", "EACCES", "ok"),
        ("[::]:80", "EACCES", "ok"),
        ("[::ffff:0.0.0.0]:80", "EACCES", "ok"),
        ("127.0.0.1:80", "EACCES", "EACCES"),
        ("[::1]:80", "EACCES", "EACCES"),
        ("224.0.0.251:53", "EAFNOSUPPORT", "EAFNOSUPPORT"),
        ("127.0.0.1:1024", "ok", "ok"),
    ] {
        assert_eq!(on_macos(to, HIGH_SIERRA).result(), before, "{to}");
        assert_eq!(on_macos(to, MOJAVE).result(), since, "{to}");
        let root = on_macos(to, HIGH_SIERRA).with(|it| {
            it.subject.euid = 0;
            it.proto = UDP;
        });
        assert_eq!(root.result(), "ok", "{to}");
    }
}

#[test]
fn macos_looks_at_the_address_before_the_port() {
    let foreign = on_macos("198.51.100.1:80", MOJAVE).with(|it| {
        it.facts.host_has_address = Some(false);
    });
    let found = errors(&predict(&foreign));
    assert_eq!(found, ["address EADDRNOTAVAIL", "port EACCES"]);
    let own = on_macos("198.51.100.1:80", MOJAVE).with(|it| {
        it.facts.host_has_address = Some(true);
    });
    assert_eq!(errors(&predict(&own)), ["port EACCES"]);
    assert_eq!(on_macos("198.51.100.1:80", MOJAVE).result(), "EACCES");
}

#[test]
fn macos_keeps_one_port_for_itself() {
    let catalina = Version {
        major: 10,
        minor: 15,
    };
    let root = |version| on_macos("0.0.0.0:55555", version).with(|it| it.subject.euid = 0);
    assert_eq!(root(MOJAVE).result(), "ok");
    assert_eq!(root(catalina).result(), "EADDRINUSE");
    assert_eq!(root(catalina).with(|it| it.proto = UDP).result(), "ok");
}
