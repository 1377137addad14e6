//! connect() before there is an answer: the table of docs/CAUSES.md, row by row.

use super::*;
use crate::event::Via;

const ENETUNREACH: i32 = -101;
const EISCONN: i32 = -106;
const EHOSTUNREACH: i32 = -113;
const EALREADY: i32 = -114;
const EINPROGRESS: i32 = -115;

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
    // A route leads there by now, and nobody looked for the address.
    let led = routed(RouteKind::Unicast);
    expect(&bound, &led, Code::SourceAddressGone, LIKELY, from);
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

/// An end of the socket's range counts within the network namespace's.
#[test]
fn no_port_is_left_of_the_sockets_own_range() {
    let limited = |first, last| {
        with(connect("192.0.2.1", EADDRNOTAVAIL), |attempt| {
            attempt.port_range = PortRange::new(first, last);
        })
    };
    let of_all = Facts {
        ports: Some(Ports {
            first: 32768,
            last: 60999,
        }),
        ..none()
    };
    let code = Code::OwnPortRangeExhausted;
    for (first, last, ports) in [
        (40000, 40000, "40000 to 40000"),
        (40000, 0, "40000 to 60999"),
        (0, 40000, "32768 to 40000"),
        (1024, 40000, "32768 to 40000"),
    ] {
        let cause = explain(&limited(first, last), &of_all).unwrap();
        assert_eq!(cause.code, code, "{first} {last}");
        assert!(cause.text.contains(ports), "{}", cause.text);
        assert!(cause.fixes[0].what.contains("IP_LOCAL_PORT_RANGE"));
        let fixes = format!("{:?}", cause.fixes);
        assert!(!fixes.contains("sysctl"), "{fixes}");
    }
    for (first, last) in [(0, 0), (1024, 2048), (1024, 0)] {
        let cause = explain(&limited(first, last), &of_all).unwrap();
        assert_eq!(cause.code, Code::EphemeralPortsExhausted, "{first} {last}");
    }
    let look = "sudo ss -tan '( sport >= :40000 and sport <= :40000 )'";
    let own = limited(40000, 40000);
    expect(&own, &none(), code, DERIVED, look);
    expect(&unseen(own), &none(), code, LIKELY, "sudo ss -tan");
    let autobind = with(udp(connect("192.0.2.1", -11)), |attempt| {
        attempt.port_range = PortRange::new(40000, 40000);
    });
    expect(&autobind, &none(), code, LIKELY, "sudo ss -uan");
    let bound = with(bind("0.0.0.0", 0, EADDRINUSE), |attempt| {
        attempt.port_range = PortRange::new(40000, 40000);
    });
    expect(&bound, &none(), code, DERIVED, look);
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
