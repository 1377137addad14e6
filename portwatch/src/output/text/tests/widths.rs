//! How lines are laid out in terminals of different widths.

use insta::assert_snapshot;
use proptest::prelude::*;
use unicode_width::UnicodeWidthStr;

use super::*;

#[test]
fn ordinary_attempts_in_a_file() {
    assert_snapshot!(attempts(None, ordinary()), @"
    TIME         OP      PROTO    PID USER     COMM            ADDRESS               RESULT
    05:04:05.678 bind    tcp       77 root     nginx           0.0.0.0:80            ok
    05:04:05.678 connect tcp  4194304 anna     curl            127.0.0.1:8080        ECONNREFUSED Connection refused
    05:04:05.678 connect tcp     1234 anna     curl            127.0.0.1:8080        ok from 127.0.0.1:54321
    05:04:05.678 connect tcp     1234 anna     curl            192.168.100.20:443    pending
    05:04:05.678 bind    tcp       77 www-data nginx           0.0.0.0:80            EACCES Permission denied
    05:04:05.678 bind    tcp       77 root     nginx           192.168.100.200:50051 EADDRINUSE Address already in use
    05:04:05.678 bind    udp       77 systemd-resolve systemd-resolve 127.0.0.53:0   ok -> :40123
    ");
}

#[test]
fn ordinary_attempts_on_200_columns() {
    assert_snapshot!(attempts(Some(200), ordinary()), @"
    TIME         OP      PROTO    PID USER     COMM            ADDRESS               RESULT
    05:04:05.678 bind    tcp       77 root     nginx           0.0.0.0:80            ok
    05:04:05.678 connect tcp  4194304 anna     curl            127.0.0.1:8080        ECONNREFUSED Connection refused
    05:04:05.678 connect tcp     1234 anna     curl            127.0.0.1:8080        ok from 127.0.0.1:54321
    05:04:05.678 connect tcp     1234 anna     curl            192.168.100.20:443    pending
    05:04:05.678 bind    tcp       77 www-data nginx           0.0.0.0:80            EACCES Permission denied
    05:04:05.678 bind    tcp       77 root     nginx           192.168.100.200:50051 EADDRINUSE Address already in use
    TIME         OP      PROTO    PID USER             COMM            ADDRESS               RESULT
    05:04:05.678 bind    udp       77 systemd-resolve  systemd-resolve 127.0.0.53:0          ok -> :40123
    ");
}

#[test]
fn ordinary_attempts_on_100_columns() {
    assert_snapshot!(attempts(Some(100), ordinary()), @"
    TIME     OP      PROTO    PID USER     COMM       ADDRESS          RESULT
    05:04:05 bind    tcp       77 root     nginx      0.0.0.0:80       ok
    05:04:05 connect tcp  4194304 anna     curl       127.0.0.1:8080   ECONNREFUSED Connection refused
    05:04:05 connect tcp     1234 anna     curl       127.0.0.1:8080   ok from 127.0.0.1:54321
    05:04:05 connect tcp     1234 anna     curl       192.168.100.20:443 pending
    05:04:05 bind    tcp       77 www-data nginx      0.0.0.0:80       EACCES Permission denied
    05:04:05 bind    tcp       77 root     nginx      192.168.100.200:50051 EADDRINUSE
    05:04:05 bind    udp       77 systemd-resolve systemd-resolve 127.0.0.53:0 ok -> :40123
    ");
}

#[test]
fn ordinary_attempts_on_80_columns() {
    assert_snapshot!(attempts(Some(80), ordinary()), @"
    TIME     OP      PROTO    PID USER     COMM       ADDRESS          RESULT
    05:04:05 bind    tcp       77 root     nginx      0.0.0.0:80       ok
    05:04:05 connect tcp  4194304 anna     curl       127.0.0.1:8080   ECONNREFUSED
    05:04:05 connect tcp     1234 anna     curl       127.0.0.1:8080   ok
    05:04:05 connect tcp     1234 anna     curl       192.168.100.20:443 pending
    05:04:05 bind    tcp       77 www-data nginx      0.0.0.0:80       EACCES
    05:04:05 bind    tcp       77 root     nginx    192.168.100.200:50051 EADDRINUSE
    05:04:05 bind    udp       77 systemd-resolve systemd-resolve 127.0.0.53:0 ok
    ");
}

#[test]
fn ordinary_attempts_on_60_columns() {
    assert_snapshot!(attempts(Some(60), ordinary()), @"
    OP      PROTO    PID COMM     ADDRESS          RESULT
    bind    tcp       77 nginx    0.0.0.0:80       ok
    connect tcp  4194304 curl     127.0.0.1:8080   ECONNREFUSED
    connect tcp     1234 curl     127.0.0.1:8080   ok
    connect tcp     1234 curl     192.168.100.20:443 pending
    bind    tcp       77 nginx    0.0.0.0:80       EACCES
    bind    tcp       77 nginx  192.168.100.200:50051 EADDRINUSE
    bind    udp       77 systemd-resolve 127.0.0.53:0 ok
    ");
}

#[test]
fn ordinary_attempts_on_40_columns() {
    assert_snapshot!(attempts(Some(40), ordinary()), @"
    OP PID COMM ADDRESS RESULT
    bind 77 nginx 0.0.0.0:80 ok
    connect 4194304 curl 127.0.0.1:8080 ECONNREFUSED
    connect 1234 curl 127.0.0.1:8080 ok
    connect 1234 curl 192.168.100.20:443 pending
    bind 77 nginx 0.0.0.0:80 EACCES
    bind 77 nginx 192.168.100.200:50051 EADDRINUSE
    bind 77 systemd-resolve 127.0.0.53:0 ok
    ");
}

#[test]
fn ipv6_in_a_file_pushes_its_line() {
    let link_local = Some(Requested {
        ip: "fe80::1".parse().unwrap(),
        port: 80,
        scope_id: 2,
    });
    let scoped = Attempt {
        requested: link_local,
        local: None,
        ..ipv6()
    };
    let mapped = Attempt {
        requested: Some(requested("::ffff:127.0.0.1", 80)),
        ..scoped.clone()
    };
    assert_snapshot!(attempts(None, [attempt(), ipv6(), scoped, mapped]), @"
    TIME         OP      PROTO    PID USER     COMM            ADDRESS               RESULT
    05:04:05.678 connect tcp     1234 anna     curl            127.0.0.1:8080        ECONNREFUSED Connection refused
    05:04:05.678 connect tcp     1234 anna     curl            [2a00:1450:4001:82b::200e]:443 ok from [2a02:8109:9440:5198::21]:40123
    05:04:05.678 connect tcp     1234 anna     curl            [fe80::1%2]:80        ok
    05:04:05.678 connect tcp     1234 anna     curl            [::ffff:127.0.0.1]:80 ok
    ");
}

#[test]
fn ipv6_on_a_wide_terminal_widens_the_column_for_good() {
    let longest = Attempt {
        requested: Some(requested("1111:2222:3333:4444:5555:6666:7777:8888", 65535)),
        ..ipv6()
    };
    assert_snapshot!(attempts(Some(140), [attempt(), ipv6(), attempt(), longest, attempt()]), @"
    TIME         OP      PROTO    PID USER     COMM            ADDRESS               RESULT
    05:04:05.678 connect tcp     1234 anna     curl            127.0.0.1:8080        ECONNREFUSED Connection refused
    TIME         OP      PROTO    PID USER     COMM            ADDRESS                               RESULT
    05:04:05.678 connect tcp     1234 anna     curl            [2a00:1450:4001:82b::200e]:443        ok from [2a02:8109:9440:5198::21]:40123
    05:04:05.678 connect tcp     1234 anna     curl            127.0.0.1:8080                        ECONNREFUSED Connection refused
    TIME         OP      PROTO    PID USER     COMM            ADDRESS                                         RESULT
    05:04:05.678 connect tcp     1234 anna     curl            [1111:2222:3333:4444:5555:6666:7777:8888]:65535 ok
    05:04:05.678 connect tcp     1234 anna     curl            127.0.0.1:8080                                  ECONNREFUSED Connection refused
    ");
}

#[test]
fn ipv6_on_80_columns_moves_its_columns_together() {
    assert_snapshot!(attempts(Some(80), [attempt(), ipv6(), attempt()]), @"
    TIME     OP      PROTO    PID USER     COMM       ADDRESS          RESULT
    05:04:05 connect tcp     1234 anna     curl       127.0.0.1:8080   ECONNREFUSED
    05:04:05 connect tcp     1234 anna     curl    [2a00:1450:4001:82b::200e]:443 ok
    05:04:05 connect tcp     1234 anna     curl       127.0.0.1:8080   ECONNREFUSED
    ");
}

fn any_attempt() -> impl Strategy<Value = Attempt> {
    let name = proptest::collection::vec(any::<u8>(), 0..=15);
    let ip = any::<IpAddr>();
    let ret = proptest::option::of(-140..3);
    (
        name,
        ip,
        any::<u16>(),
        any::<u32>(),
        ret,
        any::<u32>(),
        any::<bool>(),
    )
        .prop_map(|(name, ip, port, scope_id, ret, tgid, is_bind)| Attempt {
            op: if is_bind { Op::Bind } else { Op::Connect },
            comm: comm(&name),
            requested: Some(Requested { ip, port, scope_id }),
            local: Some(Local {
                ip,
                port: Some(port.wrapping_add(1)),
            }),
            ret,
            tgid,
            ..attempt()
        })
}

proptest! {
    #[test]
    fn each_attempt_is_one_line_that_says_what_matters(
        attempt in any_attempt(),
        width in proptest::option::of(0_u16..300),
    ) {
        let text = attempts(width, [attempt.clone()]);
        prop_assert_eq!(text.lines().count(), 2);
        let line = text.lines().nth(1).unwrap();
        prop_assert!(text.ends_with('\n') && !line.chars().any(char::is_control));
        let address = attempt.requested.unwrap();
        prop_assert!(line.contains(&address.port.to_string()) && line.contains(&attempt.tgid.to_string()));
        if let Some(errno) = attempt.errno().filter(|errno| errno.number() != 115) {
            prop_assert!(line.contains(&errno.to_string()));
        }
    }

    #[test]
    fn usual_ipv4_attempts_never_wrap_on_80_columns(
        port in any::<u16>(),
        ip in any::<Ipv4Addr>(),
        ret in proptest::sample::select(vec![0, EACCES, EADDRINUSE, EADDRNOTAVAIL, ECONNREFUSED, EINPROGRESS]),
        tgid in 1..=4_194_304_u32,
    ) {
        let requested = Some(Requested { ip: IpAddr::V4(ip), port, scope_id: 0 });
        let text = attempts(Some(80), [Attempt { requested, ret: Some(ret), tgid, ..attempt() }]);
        prop_assert!(text.lines().all(|line| line.width() <= 80), "{text}");
    }
}
