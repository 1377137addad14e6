//! IPv6 addresses that need an interface.

use super::*;

fn udp(op: Op, ip: &str) -> Attempt {
    with(attempt(op, ip, 5353, EINVAL), |attempt| {
        attempt.proto = Some(UDP);
    })
}

/// Link-local ones are more than fe80::/16, and of multicast the scope counts.
#[test]
fn the_interface_is_missing() {
    for (ip, what) in [
        ("fe80::1", "a link-local address"),
        ("febf::1", "a link-local address"),
        ("ff02::fb", "a link-local multicast address"),
        ("ff12::1", "a link-local multicast address"),
        ("ff01::1", "an interface-local multicast address"),
    ] {
        for attempt in [Op::Bind, Op::Connect].map(|op| udp(op, ip)) {
            for attempt in [attempt.clone(), unseen(attempt)] {
                let code = Code::LinkLocalWithoutScope;
                let cause = expect(&attempt, &none(), code, DERIVED, "");
                assert!(
                    cause
                        .text
                        .starts_with(&format!("{ip} is {what}, and neither")),
                    "{}",
                    cause.text
                );
            }
        }
    }
    let stream = bind("fe80::1", 80, EINVAL);
    expect(&stream, &none(), Code::LinkLocalWithoutScope, DERIVED, "");
    let cut = with(stream, |attempt| attempt.address_len = Some(24));
    let cause = explain(&cut, &none()).unwrap();
    assert!(
        cause.text.contains("24, leaves out the scope"),
        "{}",
        cause.text
    );
}

#[test]
fn other_addresses_need_none() {
    for ip in [
        "ff05::1",
        "ff0e::1",
        "ff00::1",
        "fec0::1",
        "2001:db8::1",
        "::1",
    ] {
        let cause = explain(&udp(Op::Bind, ip), &none()).unwrap();
        assert_eq!(cause.code, Code::Unexplained, "{ip}");
    }
    let on_device = with(udp(Op::Bind, "ff02::fb"), |attempt| {
        attempt.ifindex = Some(3);
    });
    assert_eq!(
        explain(&on_device, &none()).unwrap().code,
        Code::Unexplained
    );
}

/// A bind goes by the scope, whatever the socket had.
#[test]
fn a_connect_is_refused_an_interface_that_is_not_the_sockets() {
    let scoped = |op| {
        with(udp(op, "ff02::fb"), |attempt| {
            attempt.requested.as_mut().unwrap().scope_id = 2;
            attempt.ifindex = Some(3);
        })
    };
    let code = Code::AddressOnOtherInterface;
    expect(&scoped(Op::Connect), &none(), code, DERIVED, "");
    assert_ne!(explain(&scoped(Op::Bind), &none()).unwrap().code, code);
}
