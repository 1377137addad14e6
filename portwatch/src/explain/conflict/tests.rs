//! The matrix that was tried on kernels, and what must hold of any two sockets.

use proptest::{option, prelude::*, sample::select};

use super::{
    Change::{HeldReuseaddr, HeldReuseport, HeldV6only, NewReuseaddr, NewReuseport, NewV6only},
    *,
};

fn claim(transport: Transport, ip: &str) -> Claim {
    Claim {
        transport,
        ip: ip.parse().unwrap(),
        port: 80,
        v6only: Some(false),
        reuseaddr: Some(false),
        reuseport: Some(false),
        ifindex: None,
        uid: Some(1000),
        state: SocketState::Bound,
    }
}

type Edit = fn(&mut Claim);

const PLAIN: Edit = |_| {};
const RA: Edit = |claim| claim.reuseaddr = Some(true);
const RP: Edit = |claim| claim.reuseport = Some(true);
const RP_OTHER: Edit = |claim| {
    RP(claim);
    claim.uid = Some(0);
};
const RA_RP: Edit = |claim| {
    RA(claim);
    RP(claim);
};
const RA_RP_OTHER: Edit = |claim| {
    RA(claim);
    RP_OTHER(claim);
};
const V6ONLY: Edit = |claim| claim.v6only = Some(true);
const LO: Edit = |claim| claim.ifindex = Some(1);
const ETH: Edit = |claim| claim.ifindex = Some(2);
const RA_LISTEN: Edit = |claim| {
    RA(claim);
    claim.state = SocketState::Listen;
};
const RP_LISTEN: Edit = |claim| {
    RP(claim);
    claim.state = SocketState::Listen;
};
const LISTEN: Edit = |claim| claim.state = SocketState::Listen;
const ESTABLISHED: Edit = |claim| claim.state = SocketState::Established;
const V6ONLY_ESTABLISHED: Edit = |claim| {
    V6ONLY(claim);
    ESTABLISHED(claim);
};
const TIME_WAIT: Edit = |claim| claim.state = SocketState::TimeWait;
const RA_TIME_WAIT: Edit = |claim| {
    RA(claim);
    claim.state = SocketState::TimeWait;
};
const RP_OTHER_TIME_WAIT: Edit = |claim| {
    RP_OTHER(claim);
    claim.state = SocketState::TimeWait;
};

const SAME: Option<Overlap> = Some(Overlap::Same);
const WILD: Option<Overlap> = Some(Overlap::Wildcard);
const DUAL: Option<Overlap> = Some(Overlap::DualStack);

/// What is held, what is asked for, and whether they conflict: tried with TCP and UDP.
const MATRIX: [(&str, Edit, &str, Edit, Option<Overlap>); 28] = [
    ("127.0.0.1", PLAIN, "127.0.0.1", PLAIN, SAME),
    ("127.0.0.1", PLAIN, "127.0.0.2", PLAIN, None),
    ("0.0.0.0", PLAIN, "127.0.0.1", PLAIN, WILD),
    ("127.0.0.1", PLAIN, "0.0.0.0", PLAIN, WILD),
    ("127.0.0.1", RA, "127.0.0.1", RA, None),
    ("127.0.0.1", PLAIN, "127.0.0.1", RA, SAME),
    ("127.0.0.1", RA, "127.0.0.1", PLAIN, SAME),
    ("127.0.0.1", RP, "127.0.0.1", RP, None),
    ("127.0.0.1", RP_OTHER, "127.0.0.1", RP, SAME),
    ("127.0.0.1", PLAIN, "127.0.0.1", RP, SAME),
    ("127.0.0.1", RA, "127.0.0.1", RP, SAME),
    ("127.0.0.1", RA_RP_OTHER, "127.0.0.1", RA_RP, None),
    ("0.0.0.0", PLAIN, "::", PLAIN, DUAL),
    ("0.0.0.0", PLAIN, "::", V6ONLY, None),
    ("::", PLAIN, "127.0.0.1", PLAIN, DUAL),
    ("::", V6ONLY, "127.0.0.1", PLAIN, None),
    ("::1", PLAIN, "0.0.0.0", PLAIN, None),
    ("0.0.0.0", PLAIN, "::1", PLAIN, None),
    ("::ffff:127.0.0.1", PLAIN, "127.0.0.1", PLAIN, SAME),
    ("::ffff:127.0.0.1", PLAIN, "::", PLAIN, DUAL),
    ("::", V6ONLY, "::", V6ONLY, SAME),
    ("::", V6ONLY, "::1", V6ONLY, WILD),
    ("::1", PLAIN, "::1", PLAIN, SAME),
    ("::1", PLAIN, "fe80::1", PLAIN, None),
    ("127.0.0.1", LO, "127.0.0.1", ETH, None),
    ("127.0.0.1", PLAIN, "127.0.0.1", LO, SAME),
    ("127.0.0.1", LO, "127.0.0.1", PLAIN, SAME),
    ("127.0.0.1", LO, "127.0.0.1", LO, SAME),
];

/// What only TCP's states decide.
const STATES: [(Edit, Edit, Option<Overlap>); 7] = [
    (RA_LISTEN, RA, SAME),
    (RP_LISTEN, RP, None),
    (ESTABLISHED, PLAIN, SAME),
    (ESTABLISHED, RA, SAME),
    (TIME_WAIT, PLAIN, SAME),
    (RA_TIME_WAIT, RA, None),
    (RP_OTHER_TIME_WAIT, RP, None),
];

/// Connections of an IPv6 socket, and what is asked for then.
const CONNECTIONS: [(&str, Edit, &str, Edit, Option<Overlap>); 9] = [
    ("::1", ESTABLISHED, "0.0.0.0", PLAIN, DUAL),
    ("::1", TIME_WAIT, "0.0.0.0", PLAIN, DUAL),
    ("::1", V6ONLY_ESTABLISHED, "0.0.0.0", PLAIN, None),
    ("::1", ESTABLISHED, "127.0.0.1", PLAIN, None),
    ("::1", ESTABLISHED, "::ffff:127.0.0.1", PLAIN, None),
    ("::1", ESTABLISHED, "::", V6ONLY, WILD),
    ("::1", LISTEN, "0.0.0.0", PLAIN, None),
    ("::ffff:127.0.0.1", ESTABLISHED, "0.0.0.0", PLAIN, WILD),
    ("::ffff:127.0.0.1", TIME_WAIT, "127.0.0.1", PLAIN, SAME),
];

#[test]
fn a_connection_is_limited_to_ipv6_only_as_its_listener_was() {
    for (held_ip, held, new_ip, new, expected) in CONNECTIONS {
        let (a, b) = pair(Transport::Tcp, (held_ip, held), (new_ip, new));
        let found = conflict(&a, &b);
        assert_eq!(found.map(|found| found.overlap), expected, "{a:?} {b:?}");
    }
    let (new, held) = pair(Transport::Tcp, ("::1", ESTABLISHED), ("0.0.0.0", PLAIN));
    let unknown = Claim {
        v6only: None,
        ..held
    };
    assert!(conflict(&new, &held).unwrap().certain);
    assert!(!conflict(&new, &unknown).unwrap().certain);
}

fn pair(
    transport: Transport,
    (held_ip, held): (&str, Edit),
    (new_ip, new): (&str, Edit),
) -> (Claim, Claim) {
    let (mut a, mut b) = (claim(transport, new_ip), claim(transport, held_ip));
    new(&mut a);
    held(&mut b);
    (a, b)
}

#[test]
fn tcp_and_udp_decide_as_was_tried() {
    for transport in [Transport::Tcp, Transport::Udp] {
        for (row, &(held_ip, held, new_ip, new, expected)) in MATRIX.iter().enumerate() {
            let (new, held) = pair(transport, (held_ip, held), (new_ip, new));
            let found = conflict(&new, &held);
            assert_eq!(found.as_ref().map(|found| found.overlap), expected, "{row}");
            assert!(found.is_none_or(|found| found.certain), "{row}");
        }
    }
}

#[test]
fn states_of_tcp_decide() {
    for (row, &(held, new, expected)) in STATES.iter().enumerate() {
        let (new, held) = pair(Transport::Tcp, ("0.0.0.0", held), ("0.0.0.0", new));
        let found = conflict(&new, &held).map(|found| found.overlap);
        assert_eq!(found, expected, "{row}");
    }
}

/// What is held, what is asked for, the rule that failed, and what would have helped.
const RULES: [(Edit, Edit, Rule, &[&[Change]]); 8] = [
    (
        PLAIN,
        PLAIN,
        Rule::NotShared,
        &[
            &[NewReuseaddr, HeldReuseaddr],
            &[NewReuseport, HeldReuseport],
        ],
    ),
    (
        LISTEN,
        RA,
        Rule::NotShared,
        &[&[NewReuseport, HeldReuseport]],
    ),
    (
        RA,
        PLAIN,
        Rule::ReuseaddrOneSide,
        &[
            &[NewReuseaddr],
            &[NewReuseaddr, HeldReuseaddr],
            &[NewReuseport, HeldReuseport],
        ],
    ),
    (
        PLAIN,
        RA,
        Rule::ReuseaddrOneSide,
        &[
            &[HeldReuseaddr],
            &[NewReuseaddr, HeldReuseaddr],
            &[NewReuseport, HeldReuseport],
        ],
    ),
    (
        RA_LISTEN,
        RA,
        Rule::ReuseaddrListening,
        &[&[NewReuseport, HeldReuseport]],
    ),
    (
        RP_LISTEN,
        PLAIN,
        Rule::ReuseportOneSide,
        &[&[NewReuseport], &[NewReuseport, HeldReuseport]],
    ),
    (
        LISTEN,
        RP,
        Rule::ReuseportOneSide,
        &[&[HeldReuseport], &[NewReuseport, HeldReuseport]],
    ),
    (
        RP_OTHER,
        RP,
        Rule::ReuseportOtherUser,
        &[&[NewReuseaddr, HeldReuseaddr]],
    ),
];

#[test]
fn the_rule_that_failed_and_the_way_out_are_named() {
    for (row, (held, new, rule, ways_out)) in RULES.into_iter().enumerate() {
        let (new, held) = pair(Transport::Tcp, ("0.0.0.0", held), ("0.0.0.0", new));
        let found = conflict(&new, &held).unwrap();
        assert_eq!((found.rule, &found.ways_out[..]), (rule, ways_out), "{row}");
    }
    let (new, held) = pair(Transport::Tcp, ("::", LISTEN), ("0.0.0.0", PLAIN));
    assert!(
        conflict(&new, &held)
            .unwrap()
            .ways_out
            .contains(&&[HeldV6only][..])
    );
    assert!(
        conflict(&held, &new)
            .unwrap()
            .ways_out
            .contains(&&[NewV6only][..])
    );
}

#[test]
fn transports_and_ports_are_apart() {
    let tcp = claim(Transport::Tcp, "0.0.0.0");
    let other = Claim { port: 81, ..tcp };
    assert_eq!(conflict(&tcp, &claim(Transport::Udp, "0.0.0.0")), None);
    assert_eq!(conflict(&tcp, &other), None);
}

#[test]
fn what_could_not_be_read_makes_a_conflict_uncertain() {
    let known = Claim {
        reuseaddr: Some(true),
        ..claim(Transport::Tcp, "0.0.0.0")
    };
    let unknown = Claim {
        reuseaddr: None,
        ..known
    };
    assert!(!conflict(&known, &unknown).unwrap().certain);
    // Whatever the holder has: one side is enough to know.
    let plain = claim(Transport::Tcp, "0.0.0.0");
    assert!(conflict(&plain, &unknown).unwrap().certain);
}

fn claims() -> impl Strategy<Value = Claim> {
    let ips = [
        "0.0.0.0",
        "127.0.0.1",
        "127.0.0.2",
        "::",
        "::1",
        "::ffff:127.0.0.1",
    ];
    let flag = || option::of(any::<bool>());
    let states = [
        SocketState::Bound,
        SocketState::Listen,
        SocketState::TimeWait,
    ];
    (
        select(vec![Transport::Tcp, Transport::Udp]),
        select(ips.to_vec()),
        (flag(), flag(), flag()),
        option::of(1_u32..3),
        option::of(0_u32..2),
        select(states.to_vec()),
    )
        .prop_map(
            |(transport, ip, (v6only, reuseaddr, reuseport), ifindex, uid, state)| Claim {
                v6only,
                reuseaddr,
                reuseport,
                ifindex,
                uid,
                state,
                ..claim(transport, ip)
            },
        )
}

fn known(claim: Claim, answer: bool) -> Claim {
    Claim {
        v6only: claim.v6only.or(Some(answer)),
        reuseaddr: claim.reuseaddr.or(Some(answer)),
        reuseport: claim.reuseport.or(Some(answer)),
        uid: claim.uid.or(Some(1)),
        ..claim
    }
}

proptest! {
    /// Two sockets that do nothing yet: it does not matter which came first.
    #[test]
    fn idle_sockets_conflict_both_ways(a in claims(), b in claims()) {
        let [a, b] = [a, b].map(|claim| Claim { state: SocketState::Bound, ..claim });
        prop_assert_eq!(conflict(&a, &b).is_some(), conflict(&b, &a).is_some());
    }

    /// A certain conflict is one whatever the unknown turns out to be; where there is none,
    /// there is none whatever it turns out to be.
    #[test]
    fn the_unknown_changes_nothing_that_is_certain(a in claims(), b in claims(), answers: [bool; 2]) {
        let [new, held] = [known(a, answers[0]), known(b, answers[1])];
        match conflict(&a, &b) {
            None => prop_assert_eq!(conflict(&new, &held), None),
            Some(found) if found.certain => prop_assert!(conflict(&new, &held).is_some()),
            Some(_) => {}
        }
    }

    /// What is offered as a way out is one.
    #[test]
    fn ways_out_lead_out(a in claims(), b in claims()) {
        for way in conflict(&a, &b).map(|found| found.ways_out).unwrap_or_default() {
            let (mut a, mut b) = (a, b);
            for change in way {
                change.apply(&mut a, &mut b);
            }
            prop_assert_eq!(conflict(&a, &b), None);
        }
    }
}
