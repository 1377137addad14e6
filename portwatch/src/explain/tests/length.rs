//! Lengths that are refused: what each call needs, of each socket and address.

use super::*;

const SCTP: Proto = Proto::Ip(132);

fn passed(attempt: Attempt, proto: Proto, length: i32) -> Attempt {
    with(attempt, |attempt| {
        attempt.proto = Some(proto);
        attempt.address_len = Some(length);
    })
}

/// All that each source tells.
fn sources(attempt: Attempt) -> [Attempt; 2] {
    [attempt.clone(), unseen(attempt)]
}

fn code(attempt: &Attempt) -> Code {
    explain(attempt, &none()).unwrap().code
}

#[test]
fn every_length_that_is_too_short_is_told_by_all_sources() {
    let (v4, v6) = ("127.0.0.1", "2001:db8::1");
    for (ip, proto, op, least) in [
        (v4, TCP, Op::Bind, 16),
        (v4, TCP, Op::Connect, 16),
        (v4, UDP, Op::Bind, 16),
        (v4, UDP, Op::Connect, 16),
        (v4, SCTP, Op::Connect, 16),
        (v6, TCP, Op::Bind, 24),
        (v6, TCP, Op::Connect, 24),
        (v6, UDP, Op::Bind, 24),
        (v6, UDP, Op::Connect, 24),
        (v6, Proto::Raw, Op::Bind, 24),
        (v6, Proto::Ip(58), Op::Bind, 28),
        (v6, Proto::Ip(58), Op::Connect, 24),
        (v6, SCTP, Op::Bind, 28),
    ] {
        for length in [-1, 0, 1, 2, 8, 15, least - 1, least, 28, 128, 129] {
            let whole = (least..=128).contains(&length);
            for attempt in sources(passed(attempt(op, ip, 80, EINVAL), proto, length)) {
                let found = code(&attempt);
                assert_eq!(
                    found == Code::BadAddressLength,
                    !whole,
                    "{ip} {proto:?} {op:?} {length}: {found:?}"
                );
            }
        }
    }
}

#[test]
fn the_numbers_are_told() {
    let text = |length| {
        let attempt = passed(connect("127.0.0.1", EINVAL), TCP, length);
        explain(&attempt, &none()).unwrap().text
    };
    assert_eq!(
        text(8),
        "the length passed with the address to connect() is 8, and an IPv4 address needs 16 (sockaddr_in)"
    );
    assert!(text(-1).ends_with("is -1, and a length cannot be negative"));
    assert!(text(129).ends_with("is 129, and no address is longer than 128"));
}

#[test]
fn a_whole_ipv4_address_is_no_short_ipv6_one() {
    let on_ipv6 = |op, proto, length| {
        let attempt = with(attempt(op, "127.0.0.1", 80, EINVAL), |attempt| {
            attempt.local.as_mut().unwrap().ip = "::".parse().unwrap();
        });
        code(&passed(attempt, proto, length))
    };
    for (op, proto) in [(Op::Bind, TCP), (Op::Connect, TCP), (Op::Bind, UDP)] {
        assert_eq!(on_ipv6(op, proto, 16), Code::WrongFamily, "{op:?}");
        assert_eq!(on_ipv6(op, proto, 8), Code::BadAddressLength, "{op:?}");
    }
    // A datagram socket connects to it.
    assert_eq!(on_ipv6(Op::Connect, UDP, 15), Code::BadAddressLength);
    assert_ne!(on_ipv6(Op::Connect, UDP, 16), Code::WrongFamily);
    assert_eq!(on_ipv6(Op::Bind, Proto::Raw, 28), Code::WrongFamily);
}

#[test]
fn to_dissolve_an_association_takes_the_family_alone() {
    let nowhere = |length| {
        let attempt = with(connect("127.0.0.1", EINVAL), |attempt| {
            (attempt.family, attempt.requested) = (Some(Family::Unspec), None);
        });
        code(&passed(attempt, TCP, length))
    };
    assert_eq!(nowhere(1), Code::BadAddressLength);
    assert_ne!(nowhere(2), Code::BadAddressLength);
}
