//! connect(), and how it ended: the table of docs/CAUSES.md, row by row.

use super::*;
use crate::event::{End, Ended, Time, Via};

const OBSERVED: Confidence = Confidence::Observed;
const DERIVED: Confidence = Confidence::Derived;
const CHECKED: Confidence = Confidence::Checked;
const LIKELY: Confidence = Confidence::Likely;

const ENETUNREACH: i32 = -101;
const EISCONN: i32 = -106;
const ETIMEDOUT: i32 = -110;
const ECONNREFUSED: i32 = -111;
const EHOSTUNREACH: i32 = -113;
const EALREADY: i32 = -114;
const EINPROGRESS: i32 = -115;

fn none() -> Facts {
    Facts::default()
}

fn bound_to(attempt: Attempt, ip: &str, port: u16) -> Attempt {
    with(attempt, |attempt| {
        attempt.local = Some(Local {
            ip: ip.parse().unwrap(),
            port: Some(port),
        });
        attempt.before.socket.as_mut().unwrap().port = port;
    })
}

fn udp(attempt: Attempt) -> Attempt {
    with(attempt, |attempt| {
        attempt.proto = Some(UDP);
        attempt.stages.connect = None;
    })
}

#[test]
fn the_route_refuses() {
    let get = "sudo ip route get 192.0.2.1";
    let to = |ret| connect("192.0.2.1", ret);
    expect(&to(ENETUNREACH), &none(), Code::NoRoute, DERIVED, get);
    expect(
        &to(ENETUNREACH),
        &routed(RouteKind::None),
        Code::NoRoute,
        CHECKED,
        get,
    );
    expect(
        &to(ENETUNREACH),
        &routed(RouteKind::Unreachable),
        Code::RouteUnreachable,
        CHECKED,
        get,
    );
    expect(
        &to(EHOSTUNREACH),
        &none(),
        Code::RouteUnreachable,
        DERIVED,
        get,
    );
    expect(
        &to(EHOSTUNREACH),
        &routed(RouteKind::Unreachable),
        Code::RouteUnreachable,
        CHECKED,
        get,
    );
    expect(&to(EACCES), &none(), Code::RouteProhibited, DERIVED, get);
    expect(
        &to(EACCES),
        &routed(RouteKind::Prohibit),
        Code::RouteProhibited,
        CHECKED,
        get,
    );
    expect(
        &to(EINVAL),
        &routed(RouteKind::Blackhole),
        Code::RouteBlackhole,
        CHECKED,
        get,
    );
    expect(&to(EINVAL), &none(), Code::RouteBlackhole, LIKELY, get);
    expect(
        &to(EPERM),
        &none(),
        Code::IpsecBlocked,
        DERIVED,
        "sudo ip xfrm policy",
    );
}

#[test]
fn what_the_route_refuses_can_come_from_the_network_too() {
    let get = "sudo ip route get 192.0.2.1";
    let to = |ret| connect("192.0.2.1", ret);
    // An answer from the network could have been the cause too.
    for (ret, code) in [
        (ENETUNREACH, Code::NoRoute),
        (EHOSTUNREACH, Code::NeighbourUnreachable),
        (EACCES, Code::RouteProhibited),
    ] {
        expect(&unseen(to(ret)), &none(), code, LIKELY, get);
    }
    // A route that was seen to lead there says neither.
    let unicast = routed(RouteKind::Unicast);
    let cause = expect(
        &unseen(to(EHOSTUNREACH)),
        &unicast,
        Code::NeighbourUnreachable,
        LIKELY,
        get,
    );
    assert!(
        cause
            .candidates
            .iter()
            .all(|found| found.code != Code::RouteUnreachable)
    );
    expect(&unseen(to(EACCES)), &unicast, Code::LsmDenied, CHECKED, get);
}

#[test]
fn tcp_connects_two_hosts() {
    let many = connect("224.0.0.1", ENETUNREACH);
    expect(&many, &none(), Code::MulticastDestination, DERIVED, "");
    let all = connect("192.0.2.255", ENETUNREACH);
    expect(
        &all,
        &routed(RouteKind::Broadcast),
        Code::MulticastDestination,
        CHECKED,
        "",
    );
}

#[test]
fn the_source_does_not_fit() {
    let from = "sudo ip route get 192.0.2.1 from 192.0.2.9";
    let bound = bound_to(connect("192.0.2.1", ENETUNREACH), "192.0.2.9", 0);
    expect(
        &bound,
        &at(nowhere()),
        Code::SourceAddressGone,
        CHECKED,
        from,
    );
    expect(&bound, &none(), Code::NoRoute, LIKELY, from);
    let loopback = bound_to(connect("192.0.2.1", EINVAL), "127.0.0.1", 9);
    expect(&loopback, &none(), Code::LoopbackSource, DERIVED, "");
    let mapped = bound_to(connect("2001:db8::1", -97), "::ffff:192.0.2.9", 9);
    expect(&mapped, &none(), Code::MappedSource, DERIVED, "");
    let only = with(connect("::ffff:192.0.2.1", ENETUNREACH), |attempt| {
        attempt.options.as_mut().unwrap().v6only = true;
    });
    expect(&only, &none(), Code::MappedV6Only, DERIVED, "");
    let mixed = with(connect("192.0.2.1", EINVAL), |attempt| {
        attempt.local.as_mut().unwrap().ip = "::".parse().unwrap();
    });
    expect(&mixed, &none(), Code::WrongFamily, DERIVED, "");
    expect(
        &connect("fe80::1", EINVAL),
        &none(),
        Code::LinkLocalWithoutScope,
        DERIVED,
        "",
    );
}

#[test]
fn broadcast_must_be_asked_for() {
    let everywhere = udp(connect("255.255.255.255", EACCES));
    expect(&everywhere, &none(), Code::BroadcastNotAllowed, DERIVED, "");
    let subnet = udp(connect("192.0.2.255", EACCES));
    expect(
        &subnet,
        &routed(RouteKind::Broadcast),
        Code::BroadcastNotAllowed,
        CHECKED,
        "",
    );
    let get = "sudo ip route get 192.0.2.255";
    expect(&subnet, &none(), Code::BroadcastNotAllowed, LIKELY, get);
    let allowed = with(subnet, |attempt| {
        attempt.options.as_mut().unwrap().broadcast = true;
    });
    expect(&allowed, &none(), Code::RouteProhibited, DERIVED, get);
}

#[test]
fn no_local_port_is_left() {
    let code = Code::EphemeralPortsExhausted;
    expect(
        &connect("192.0.2.1", EADDRNOTAVAIL),
        &none(),
        code,
        DERIVED,
        "sudo ss -tan",
    );
    let taken = bound_to(connect("192.0.2.1", EADDRNOTAVAIL), "192.0.2.9", 4000);
    expect(
        &taken,
        &none(),
        Code::TupleInUse,
        DERIVED,
        "sudo ss -tanp 'sport = :4000'",
    );
    let v6 = connect("2001:db8::1", EADDRNOTAVAIL);
    expect(
        &v6,
        &none(),
        Code::NoSourceAddress,
        DERIVED,
        "sudo ip -6 -br addr",
    );
    let sent = with(v6.clone(), |attempt| attempt.stages.syn_sent = true);
    expect(&sent, &none(), code, DERIVED, "sudo ss -tan");
    expect(&unseen(v6), &none(), code, LIKELY, "sudo ss -tan");
    let autobind = with(udp(connect("192.0.2.1", -11)), |attempt| {
        attempt.stages.get_port = Some(-11);
    });
    expect(&autobind, &none(), code, DERIVED, "sudo ss -uan");
    expect(
        &udp(connect("192.0.2.1", -11)),
        &none(),
        code,
        LIKELY,
        "sudo ss -uan",
    );
}

#[test]
fn the_socket_is_busy() {
    let busy = |ret, state, socket_state| {
        with(attempt(Op::Connect, "127.0.0.1", 80, ret), |attempt| {
            let socket = attempt.before.socket.as_mut().unwrap();
            (socket.state, socket.socket_state) = (state, socket_state);
        })
    };
    for (attempt, code, confidence) in [
        (busy(EALREADY, 2, 2), Code::AlreadyConnecting, DERIVED),
        (
            unseen(busy(EALREADY, 2, 2)),
            Code::AlreadyConnecting,
            DERIVED,
        ),
        (busy(EISCONN, 1, 3), Code::AlreadyConnected, DERIVED),
        (busy(EISCONN, 8, 3), Code::AlreadyConnected, DERIVED),
        (busy(EISCONN, 10, 1), Code::SocketListening, DERIVED),
        (unseen(busy(EISCONN, 1, 3)), Code::AlreadyConnected, LIKELY),
        (busy(-4, 7, 1), Code::Interrupted, OBSERVED),
        (busy(-512, 7, 1), Code::Interrupted, OBSERVED),
        (busy(-32, 7, 1), Code::DisconnectedMeanwhile, DERIVED),
        (busy(-103, 7, 1), Code::ConnectionAborted, DERIVED),
    ] {
        expect(&attempt, &none(), code, confidence, "");
    }
}

#[test]
fn a_connect_that_does_not_wait_is_under_way() {
    let pending = attempt(Op::Connect, "127.0.0.1", 80, EINPROGRESS);
    let nonblock = with(pending.clone(), |attempt| {
        attempt.options.as_mut().unwrap().nonblock = true;
    });
    expect(&nonblock, &none(), Code::ConnectInProgress, OBSERVED, "");
    expect(&pending, &none(), Code::SendTimeoutExpired, DERIVED, "");
    let fast = with(pending, |attempt| attempt.via = Some(Via::FastOpen));
    expect(&fast, &none(), Code::ConnectInProgress, OBSERVED, "");
}

#[test]
fn refused_by_whom() {
    let firewall = "sudo nft list ruleset";
    let listeners = "sudo ss -tlnp 'sport = :80'";
    let reset = with(answered("127.0.0.1", ECONNREFUSED), |attempt| {
        attempt.reset = true;
    });
    expect(&reset, &none(), Code::NobodyListens, OBSERVED, listeners);
    let near = held(holder("127.0.0.2", 80, SocketState::Listen));
    let cause = expect(&reset, &near, Code::NobodyListens, OBSERVED, listeners);
    assert!(
        cause
            .text
            .ends_with("nginx (pid 7) listens on 127.0.0.2:80"),
        "{}",
        cause.text
    );
    let far = with(answered("192.0.2.1", ECONNREFUSED), |attempt| {
        attempt.reset = true;
    });
    expect(&far, &none(), Code::NobodyListens, OBSERVED, "");
    let watched = Facts {
        resets_seen: true,
        ..none()
    };
    let rejected = answered("192.0.2.1", ECONNREFUSED);
    expect(
        &rejected,
        &watched,
        Code::RejectedByFirewall,
        DERIVED,
        firewall,
    );
    // Where nobody watches for resets, their absence says nothing.
    expect(
        &rejected,
        &none(),
        Code::ConnectionRefused,
        OBSERVED,
        firewall,
    );
    expect(
        &unseen(answered("192.0.2.1", ECONNREFUSED)),
        &none(),
        Code::ConnectionRefused,
        OBSERVED,
        firewall,
    );
    let here = unseen(answered("127.0.0.1", ECONNREFUSED));
    expect(&here, &none(), Code::ConnectionRefused, OBSERVED, listeners);
    let audit = "sudo ausearch -m avc -ts recent | audit2why";
    expect(
        &connect("192.0.2.1", ECONNREFUSED),
        &none(),
        Code::PacketDenied,
        DERIVED,
        audit,
    );
}

#[test]
fn a_reset_though_somebody_listens_is_no_absence() {
    let firewall = "sudo nft list ruleset";
    let reset = with(answered("127.0.0.1", ECONNREFUSED), |attempt| {
        attempt.reset = true;
    });
    let then = reset.time;
    let listening = |ip: &str, since: Option<i64>| {
        held(Holder {
            since: since.map(|later| Time(then.0 + later)),
            ..holder(ip, 80, SocketState::Listen)
        })
    };
    for ip in ["127.0.0.1", "0.0.0.0", "::", "::ffff:127.0.0.1"] {
        let sure = listening(ip, Some(-1));
        let cause = expect(&reset, &sure, Code::RejectedByFirewall, CHECKED, firewall);
        assert!(
            cause.text.contains("though nginx (pid 7) listens"),
            "{}",
            cause.text
        );
        assert_eq!(cause.holders.len(), 1);
        let unsure = listening(ip, None);
        let cause = expect(&reset, &unsure, Code::RejectedByFirewall, LIKELY, firewall);
        let codes: Vec<_> = cause.candidates.iter().map(|found| found.code).collect();
        assert_eq!(codes, [Code::RejectedByFirewall, Code::NobodyListens]);
        for cause in [&sure, &unsure] {
            let text = explain(&reset, cause).unwrap().text;
            assert!(!text.contains("nobody listens"), "{text}");
        }
        let later = expect(
            &reset,
            &listening(ip, Some(1)),
            Code::NobodyListens,
            CHECKED,
            "",
        );
        assert!(later.text.contains("yet"), "{}", later.text);
    }
    // These do not hear it, and are told beside it.
    let only = Holder {
        v6only: Some(true),
        ..holder("::", 80, SocketState::Listen)
    };
    for deaf in [only, holder("::1", 80, SocketState::Listen)] {
        let cause = explain(&reset, &held(deaf)).unwrap();
        assert_eq!(cause.code, Code::NobodyListens);
        assert!(
            cause.text.starts_with("nobody listens on 127.0.0.1:80"),
            "{}",
            cause.text
        );
    }
}

#[test]
fn a_listener_hears_only_on_its_device() {
    let reset = with(answered("127.0.0.1", ECONNREFUSED), |attempt| {
        attempt.reset = true;
    });
    let on = |ifindex| {
        held(Holder {
            ifindex,
            ..holder("0.0.0.0", 80, SocketState::Listen)
        })
    };
    let cause = expect(&reset, &on(Some(7)), Code::NobodyListens, CHECKED, "");
    for part in [
        "nginx (pid 7) listens on 0.0.0.0:80",
        "interface 7",
        "SO_BINDTODEVICE",
    ] {
        assert!(cause.text.contains(part), "{}", cause.text);
    }
    assert!(!cause.text.contains("nobody"), "{}", cause.text);
    // Loopback is where it comes in.
    let heard = explain(&reset, &on(Some(1))).unwrap();
    assert_eq!(heard.code, Code::RejectedByFirewall);
    let same = with(reset, |attempt| attempt.ifindex = Some(7));
    assert_eq!(
        explain(&same, &on(Some(7))).unwrap().code,
        Code::RejectedByFirewall
    );
}

#[test]
fn what_came_back_or_did_not() {
    let firewall = "sudo nft list ruleset";
    let get = "sudo ip route get 192.0.2.1";
    let to = |ret| answered("192.0.2.1", ret);
    expect(
        &to(ETIMEDOUT),
        &none(),
        Code::ConnectTimedOut,
        OBSERVED,
        firewall,
    );
    expect(
        &in_unit(to(ETIMEDOUT), "web.service"),
        &none(),
        Code::ConnectTimedOut,
        OBSERVED,
        "systemctl show -p IPAddressAllow,IPAddressDeny web.service",
    );
    expect(
        &to(EHOSTUNREACH),
        &none(),
        Code::HostUnreachable,
        OBSERVED,
        "sudo ip neigh",
    );
    let silent = Facts {
        neighbour: Lookup::Found(Neighbour::Failed),
        ..none()
    };
    expect(
        &to(EHOSTUNREACH),
        &silent,
        Code::NeighbourUnreachable,
        CHECKED,
        "sudo ip neigh",
    );
    for (ret, code) in [
        (ENETUNREACH, Code::NetworkUnreachable),
        (EACCES, Code::AdminProhibited),
        (-92, Code::ProtocolUnreachable),
        (-112, Code::IcmpError),
        (-64, Code::IcmpError),
        (-95, Code::IcmpError),
        (-71, Code::IcmpError),
    ] {
        expect(&to(ret), &none(), code, DERIVED, get);
    }
}

#[test]
fn the_end_of_a_pending_connect_has_a_cause_of_its_own() {
    let ended = |end, reset| OutcomeOf {
        seq: 1,
        attempt: with(answered("127.0.0.1", EINPROGRESS), |attempt| {
            attempt.stages.operation = Some(EINPROGRESS);
        }),
        ended: Ended {
            id: crate::event::AttemptId::default(),
            time: Time(0),
            latency: Duration::from_millis(2500),
            end,
            reset,
        },
        lasted: false,
        cause: None,
    };
    let watched = Facts {
        resets_seen: true,
        ..none()
    };
    let code = |outcome: &OutcomeOf| explain_outcome(outcome, &watched).map(|cause| cause.code);
    assert_eq!(code(&ended(End::Connected, false)), None);
    assert_eq!(
        code(&ended(End::Failed(ECONNREFUSED), true)),
        Some(Code::NobodyListens)
    );
    assert_eq!(
        code(&ended(End::Failed(ECONNREFUSED), false)),
        Some(Code::RejectedByFirewall)
    );
    assert_eq!(
        code(&ended(End::Failed(ETIMEDOUT), false)),
        Some(Code::ConnectTimedOut)
    );
    assert_eq!(
        code(&ended(End::Failed(-5), false)),
        Some(Code::Unexplained)
    );
    let given_up = explain_outcome(&ended(End::Abandoned, false), &none()).unwrap();
    assert_eq!(given_up.code, Code::GivenUp);
    assert!(given_up.text.contains("after 2.5 s"), "{}", given_up.text);
}

#[test]
fn an_answer_to_a_socket_of_unknown_protocol() {
    for (errno, code) in [
        (ECONNREFUSED, Code::ConnectionRefused),
        (ETIMEDOUT, Code::ConnectTimedOut),
    ] {
        let unknown = with(connect("192.0.2.1", errno), |attempt| {
            attempt.proto = None;
            attempt.stages = Stages::default();
        });
        let cause = *explain(&unknown, &none()).expect("a cause");
        assert_eq!((cause.code, cause.confidence), (code, Confidence::Derived));
    }
}
