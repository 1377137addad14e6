//! What each column says.

use insta::assert_snapshot;

use super::*;

#[test]
fn failures() {
    let rets = [EACCES, EADDRINUSE, EADDRNOTAVAIL, -512, -4000, 5];
    assert_snapshot!(attempts(None, rets.map(|ret| Attempt { ret: Some(ret), ..attempt() })), @"
    TIME         OP      PROTO    PID USER     COMM            ADDRESS               RESULT
    05:04:05.678 connect tcp     1234 anna     curl            127.0.0.1:8080        EACCES Permission denied
    05:04:05.678 connect tcp     1234 anna     curl            127.0.0.1:8080        EADDRINUSE Address already in use
    05:04:05.678 connect tcp     1234 anna     curl            127.0.0.1:8080        EADDRNOTAVAIL Cannot assign requested address
    05:04:05.678 connect tcp     1234 anna     curl            127.0.0.1:8080        EINTR pending
    05:04:05.678 connect tcp     1234 anna     curl            127.0.0.1:8080        E4000
    05:04:05.678 connect tcp     1234 anna     curl            127.0.0.1:8080        returned 5
    ");
}

#[test]
fn what_is_pending_is_no_failure() {
    let bound = Attempt {
        ret: Some(EINPROGRESS),
        local: Some(local("10.0.0.5", 40123)),
        ..attempt()
    };
    assert_snapshot!(attempts(None, [Attempt { local: None, ..bound.clone() }, bound]), @"
    TIME         OP      PROTO    PID USER     COMM            ADDRESS               RESULT
    05:04:05.678 connect tcp     1234 anna     curl            127.0.0.1:8080        pending
    05:04:05.678 connect tcp     1234 anna     curl            127.0.0.1:8080        pending from 10.0.0.5:40123
    ");
}

#[test]
fn what_is_not_known_is_not_guessed() {
    let odd = Attempt {
        family: Some(Family::Other(17)),
        proto: Some(Proto::Ip(200)),
        ..unknown()
    };
    let nobody = Attempt {
        uid: 4_000_000_000,
        comm: comm(b""),
        ..unknown()
    };
    assert_snapshot!(attempts(None, [unknown(), odd, nobody]), @r#"
    TIME         OP      PROTO    PID USER     COMM            ADDRESS               RESULT
    05:04:05.678 connect ?       1234 anna     curl            ?                     ? return not seen
    05:04:05.678 connect 200     1234 anna     curl            family:17             ? return not seen
    05:04:05.678 connect ?       1234 4000000000 ""            ?                     ? return not seen
    "#);
}

#[test]
fn the_local_address_is_shown_where_it_tells_more() {
    let raw = Some(Local {
        ip: "10.0.0.5".parse().unwrap(),
        port: None,
    });
    let events = [
        Attempt {
            requested: Some(requested("0.0.0.0", 0)),
            local: Some(local("0.0.0.0", 40123)),
            ..bind()
        },
        Attempt {
            requested: Some(requested("0.0.0.0", 80)),
            local: Some(local("10.0.0.5", 80)),
            ..bind()
        },
        Attempt {
            requested: Some(requested("::ffff:10.0.0.5", 80)),
            local: Some(local("10.0.0.5", 80)),
            ..bind()
        },
        Attempt {
            proto: Some(Proto::Raw),
            requested: Some(requested("10.0.0.5", 0)),
            local: raw,
            ..bind()
        },
        Attempt {
            requested: None,
            local: Some(local("10.0.0.5", 80)),
            ..bind()
        },
        Attempt {
            ret: Some(0),
            local: Some(local("0.0.0.0", 0)),
            ..attempt()
        },
        Attempt {
            ret: Some(0),
            family: Some(Family::Unspec),
            local: Some(local("10.0.0.5", 9)),
            ..attempt()
        },
        Attempt {
            family: Some(Family::Unspec),
            ..bind()
        },
    ];
    assert_snapshot!(attempts(None, events), @"
    TIME         OP      PROTO    PID USER     COMM            ADDRESS               RESULT
    05:04:05.678 bind    tcp       77 root     nginx           0.0.0.0:0             ok -> :40123
    05:04:05.678 bind    tcp       77 root     nginx           0.0.0.0:80            ok -> 10.0.0.5:80
    05:04:05.678 bind    tcp       77 root     nginx           [::ffff:10.0.0.5]:80  ok
    05:04:05.678 bind    raw       77 root     nginx           10.0.0.5:0            ok
    05:04:05.678 bind    tcp       77 root     nginx           ?                     ok -> 10.0.0.5:80
    05:04:05.678 connect tcp     1234 anna     curl            127.0.0.1:8080        ok
    05:04:05.678 connect tcp     1234 anna     curl            unspec                ok
    05:04:05.678 bind    tcp       77 root     nginx           0.0.0.0:80            ok
    ");
}

#[test]
fn a_hostile_name_stays_in_its_line_and_without_effect() {
    let names: [&[u8]; 6] = [
        b"\x1b[2J\x1b[31mroot",
        b"x\n00:00 bind ok",
        b"\"'\\\t",
        b"\xff\xfe\xc3",
        "\u{202e}evil".as_bytes(),
        b" a  b ",
    ];
    assert_snapshot!(attempts(None, names.map(|name| Attempt { comm: comm(name), ..attempt() })), @r#"
    TIME         OP      PROTO    PID USER     COMM            ADDRESS               RESULT
    05:04:05.678 connect tcp     1234 anna     \x1b[2J\x1b[31mroot 127.0.0.1:8080    ECONNREFUSED Connection refused
    05:04:05.678 connect tcp     1234 anna     x\x0a00:00 bind ok 127.0.0.1:8080     ECONNREFUSED Connection refused
    05:04:05.678 connect tcp     1234 anna     "'\\\x09        127.0.0.1:8080        ECONNREFUSED Connection refused
    05:04:05.678 connect tcp     1234 anna     \xff\xfe\xc3    127.0.0.1:8080        ECONNREFUSED Connection refused
    05:04:05.678 connect tcp     1234 anna     \u{202e}evil    127.0.0.1:8080        ECONNREFUSED Connection refused
    05:04:05.678 connect tcp     1234 anna     \x20a \x20b\x20 127.0.0.1:8080        ECONNREFUSED Connection refused
    "#);
}

#[test]
fn a_wide_name_is_measured_in_columns() {
    assert_snapshot!(attempts(None, [Attempt { comm: comm("漢字漢字".as_bytes()), ..attempt() }, attempt()]), @"
    TIME         OP      PROTO    PID USER     COMM            ADDRESS               RESULT
    05:04:05.678 connect tcp     1234 anna     漢字漢字        127.0.0.1:8080        ECONNREFUSED Connection refused
    05:04:05.678 connect tcp     1234 anna     curl            127.0.0.1:8080        ECONNREFUSED Connection refused
    ");
}

#[test]
fn times_before_1970_and_across_midnight_are_right() {
    let times = [
        Time(-1),
        Time(1_783_547_999_999_999_999),
        Time(1_783_548_000_000_000_000),
    ];
    let text = attempts(None, times.map(|time| Attempt { time, ..attempt() }));
    let times: Vec<_> = text.lines().skip(1).map(|line| &line[..12]).collect();
    assert_eq!(times, ["01:59:59.999", "23:59:59.999", "00:00:00.000"]);
}
