//! connect() and what comes back, or does not: the table of docs/CAUSES.md, row by row.

use super::*;
use crate::event::{End, Ended};

const ENETUNREACH: i32 = -101;
const ETIMEDOUT: i32 = -110;
const ECONNREFUSED: i32 = -111;
const EHOSTUNREACH: i32 = -113;
const EINPROGRESS: i32 = -115;

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

/// Before it was established, a reset is a refusal.
#[test]
fn established_and_reset_before_the_call_returned() {
    let reset = answered("192.0.2.1", -104);
    let firewall = "sudo nft list ruleset";
    let without_protocol = with(unseen(reset.clone()), |attempt| attempt.proto = None);
    for attempt in [reset.clone(), unseen(reset), without_protocol] {
        let cause = expect(&attempt, &none(), Code::ConnectionReset, DERIVED, firewall);
        assert!(
            cause
                .text
                .starts_with("the connection to 192.0.2.1:80 was established, and reset"),
            "{}",
            cause.text
        );
    }
    let here = answered("127.0.0.1", -104);
    let listeners = "sudo ss -tlnp 'sport = :80'";
    expect(&here, &none(), Code::ConnectionReset, DERIVED, listeners);
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
    // Nor is a listener on this host heard of as nobody where no reset was seen.
    let unseen = explain(&unseen(reset.clone()), &on(Some(7))).unwrap();
    assert!(!unseen.text.contains("nobody"), "{}", unseen.text);
    // Loopback is where it comes in.
    let heard = explain(&reset, &on(Some(1))).unwrap();
    assert_eq!(heard.code, Code::RejectedByFirewall);
    let same = with(reset, |attempt| attempt.ifindex = Some(7));
    assert_eq!(
        explain(&same, &on(Some(7))).unwrap().code,
        Code::RejectedByFirewall
    );
}

/// A listener with so many connections that wait, and room for one more than its backlog.
fn queued(ip: &str, waiting: u32, backlog: u32) -> Holder {
    Holder {
        queue: Some(AcceptQueue { waiting, backlog }),
        ..holder(ip, 80, SocketState::Listen)
    }
}

const LOOK_AT_SERVER: &str = "ps -L -o tid,stat,pcpu,wchan:20,comm -p 7";

#[test]
fn a_full_accept_queue_is_why_nothing_comes_back() {
    for (to, at) in [
        ("127.0.0.1", "127.0.0.1"),
        ("127.0.0.1", "0.0.0.0"),
        ("127.0.0.1", "::"),
        ("::ffff:127.0.0.1", "127.0.0.1"),
        ("0.0.0.0", "127.0.0.1"),
        ("::1", "::"),
    ] {
        let silent = answered(to, ETIMEDOUT);
        let facts = held(queued(at, 129, 128));
        let cause = expect(
            &silent,
            &facts,
            Code::AcceptQueueFull,
            CHECKED,
            LOOK_AT_SERVER,
        );
        for part in [
            "nginx (pid 7) listens on",
            "129 connections wait",
            "the backlog is 128",
        ] {
            assert!(cause.text.contains(part), "{}", cause.text);
        }
        let said = format!("{cause:?}");
        assert!(
            !said.contains("firewall") && !said.contains("host is down"),
            "{said}"
        );
        assert_eq!(cause.holders.len(), 1);
    }
}

#[test]
fn a_queue_that_is_full_elsewhere_or_not_full_is_no_proof() {
    let silent = answered("127.0.0.1", ETIMEDOUT);
    let queue = "sudo ss -tlnp 'sport = :80'";
    // It has room for one more than its backlog.
    let cause = expect(
        &silent,
        &held(queued("127.0.0.1", 1, 1)),
        Code::ConnectTimedOut,
        LIKELY,
        queue,
    );
    assert!(cause.text.contains("1 wait now"), "{}", cause.text);
    let unknown = held(holder("127.0.0.1", 80, SocketState::Listen));
    let cause = expect(&silent, &unknown, Code::ConnectTimedOut, LIKELY, queue);
    let codes: Vec<_> = cause.candidates.iter().map(|found| found.code).collect();
    assert_eq!(codes, [Code::ConnectTimedOut, Code::AcceptQueueFull]);
    // Neither of these would get the connection.
    let firewall = "sudo nft list ruleset";
    let on_device = Holder {
        ifindex: Some(7),
        ..queued("0.0.0.0", 2, 1)
    };
    expect(
        &silent,
        &held(queued("127.0.0.2", 2, 1)),
        Code::ConnectTimedOut,
        OBSERVED,
        firewall,
    );
    expect(
        &silent,
        &held(on_device),
        Code::ConnectTimedOut,
        LIKELY,
        queue,
    );
    // Another host's queue is not this one's.
    let far = held(queued("0.0.0.0", 2, 1));
    let cause = expect(
        &answered("192.0.2.1", ETIMEDOUT),
        &far,
        Code::ConnectTimedOut,
        OBSERVED,
        firewall,
    );
    assert!(cause.text.contains("the host is down"), "{}", cause.text);
}

#[test]
fn nothing_comes_back_from_this_host() {
    let silent = answered("127.0.0.1", ETIMEDOUT);
    let nobody = Facts {
        holders: Holders::all(Vec::new()),
        ..none()
    };
    let firewall = "sudo nft list ruleset";
    let cause = expect(&silent, &nobody, Code::ConnectTimedOut, OBSERVED, firewall);
    assert!(cause.text.contains("this host drops"), "{}", cause.text);
    assert!(!cause.text.contains("host is down"), "{}", cause.text);
    expect(&silent, &none(), Code::ConnectTimedOut, LIKELY, firewall);
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
    let full = held(queued("127.0.0.1", 2, 1));
    let given_up = explain_outcome(&ended(End::Abandoned, false), &full).unwrap();
    assert_eq!(given_up.code, Code::AcceptQueueFull);
    assert!(given_up.text.contains("after 2.5 s"), "{}", given_up.text);
    let said = format!("{given_up:?}");
    assert!(!said.contains("firewall"), "{said}");
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
