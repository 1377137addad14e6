//! bind(): the rest of the table of docs/CAUSES.md, row by row.

use super::*;

#[test]
fn the_second_problem_is_named_too() {
    // IPv4 looks at the address first, IPv6 at the port.
    let missing = at(Address {
        nonlocal_bind: Some(false),
        ..nowhere()
    });
    let v4 = explain(&bind("192.0.2.1", 80, EADDRNOTAVAIL), &missing).unwrap();
    assert_eq!(v4.code, Code::AddressNotLocal);
    assert!(
        v4.next[0].starts_with("EACCES: port 80 is below 1024"),
        "{:?}",
        v4.next
    );
    let v6 = explain(&bind("2001:db8::1", 80, EACCES), &missing).unwrap();
    assert_eq!(v6.code, Code::LowPortNoCapability);
    assert!(
        v6.next[0].starts_with("EADDRNOTAVAIL: 2001:db8::1"),
        "{:?}",
        v6.next
    );
    let busy = held(holder("0.0.0.0", 80, SocketState::Listen));
    let used = explain(&bind("127.0.0.1", 80, EACCES), &busy).unwrap();
    assert_eq!(
        used.next,
        ["EADDRINUSE: nginx (pid 7) listens on 0.0.0.0:80"]
    );
    // Root may.
    let root = with(bind("192.0.2.1", 80, EADDRNOTAVAIL), |attempt| {
        attempt.before.credentials = Some(credentials(ALL_CAPS, INITIAL));
    });
    assert_eq!(explain(&root, &missing).unwrap().next, Vec::<String>::new());
}

#[test]
fn an_address_that_cannot_be_had() {
    let v4 = bind("192.0.2.1", 8080, EADDRNOTAVAIL);
    let v6 = bind("2001:db8::1", 8080, EADDRNOTAVAIL);
    let addresses = "sudo ip -br addr";
    expect(&v4, &none(), Code::AddressNotLocal, DERIVED, addresses);
    expect(&v6, &none(), Code::AddressNotLocal, LIKELY, addresses);
    expect(
        &v4,
        &at(nowhere()),
        Code::AddressNotLocal,
        CHECKED,
        addresses,
    );
    let elsewhere = |tgid, name: Option<&str>| {
        at(Address {
            elsewhere: vec![Elsewhere {
                netns: 5,
                tgid,
                name: name.map(str::to_owned),
            }],
            ..nowhere()
        })
    };
    let code = Code::AddressInOtherNamespace;
    expect(
        &v4,
        &elsewhere(Some(9), None),
        code,
        CHECKED,
        "sudo nsenter -t 9 -n",
    );
    expect(
        &v4,
        &elsewhere(Some(9), Some("blue")),
        code,
        CHECKED,
        "sudo ip netns exec blue",
    );
    expect(&v4, &elsewhere(None, None), code, CHECKED, "");
}

#[test]
fn an_address_on_an_interface_that_cannot_be_had() {
    let v4 = bind("192.0.2.1", 8080, EADDRNOTAVAIL);
    let v6 = bind("2001:db8::1", 8080, EADDRNOTAVAIL);
    let vrf = on(Assigned {
        vrf: IfName::new(b"red"),
        ..assigned()
    });
    expect(
        &v4,
        &vrf,
        Code::AddressInVrf,
        CHECKED,
        "sudo ip vrf exec red",
    );
    let tentative = on(Assigned {
        tentative: true,
        ..assigned()
    });
    expect(&v6, &tentative, Code::AddressTentative, CHECKED, "");
    let failed = on(Assigned {
        dad_failed: true,
        tentative: true,
        ..assigned()
    });
    expect(
        &v6,
        &failed,
        Code::AddressDadFailed,
        CHECKED,
        "sudo ip -6 addr show dadfailed",
    );
    let other = with(v6.clone(), |attempt| attempt.ifindex = Some(3));
    expect(
        &other,
        &on(assigned()),
        Code::AddressOnOtherInterface,
        CHECKED,
        "",
    );
    // It came after the call.
    let late = expect(&v4, &on(assigned()), Code::AddressNotLocal, CHECKED, "");
    assert!(late.text.contains("it is now, on eth0"), "{}", late.text);
}

#[test]
fn an_address_that_the_socket_cannot_use() {
    let v6 = bind("2001:db8::1", 8080, EADDRNOTAVAIL);
    let off = at(Address {
        ipv6_disabled_on: vec![IfName::new(b"eth0.5").unwrap()],
        ..nowhere()
    });
    expect(
        &v6,
        &off,
        Code::Ipv6Disabled,
        CHECKED,
        "sudo sysctl -w net.ipv6.conf.eth0/5.disable_ipv6=0",
    );
    let ping = with(bind("224.0.0.1", 0, EADDRNOTAVAIL), |attempt| {
        attempt.proto = Some(PING);
    });
    expect(&ping, &none(), Code::AddressNotUsable, DERIVED, "");
    let raw = with(bind("::ffff:10.0.0.1", 0, EADDRNOTAVAIL), |attempt| {
        attempt.proto = Some(Proto::Raw);
    });
    expect(&raw, &none(), Code::AddressNotUsable, DERIVED, "");
}

#[test]
fn an_argument_that_is_invalid() {
    let plain = bind("127.0.0.1", 8080, EINVAL);
    let v6 = |ip: &str| bind(ip, 8080, EINVAL);
    let before = |port, state| {
        with(plain.clone(), |attempt| {
            let socket = attempt.before.socket.as_mut().unwrap();
            (socket.port, socket.state) = (port, state);
        })
    };
    let late = with(unseen(plain.clone()), |attempt| {
        attempt.local.as_mut().unwrap().port = Some(9);
    });
    let mapped = with(v6("::ffff:10.0.0.1"), |attempt| {
        attempt.options.as_mut().unwrap().v6only = true;
    });
    let mixed = with(plain.clone(), |attempt| {
        attempt.local.as_mut().unwrap().ip = "::".parse().unwrap();
    });
    for (attempt, code, confidence) in [
        (before(9, 7), Code::AlreadyBound, DERIVED),
        (late, Code::AlreadyBound, CHECKED),
        (before(0, 1), Code::SocketNotClosed, DERIVED),
        (before(0, 10), Code::SocketNotClosed, DERIVED),
        (v6("ff02::1"), Code::MulticastStream, DERIVED),
        (mapped, Code::MappedV6Only, DERIVED),
        (mixed, Code::WrongFamily, DERIVED),
        (plain.clone(), Code::Unexplained, OBSERVED),
        (unseen(plain.clone()), Code::Unexplained, OBSERVED),
    ] {
        expect(&attempt, &none(), code, confidence, "");
    }
}

#[test]
fn other_errors_of_the_protocol() {
    let family = with(bind("::1", 8080, -97), |attempt| {
        attempt.local.as_mut().unwrap().ip = "0.0.0.0".parse().unwrap();
    });
    expect(&family, &none(), Code::WrongFamily, DERIVED, "");
    let device = with(bind("fe80::1", 8080, -19), |attempt| {
        attempt.requested.as_mut().unwrap().scope_id = 77;
    });
    let cause = expect(
        &device,
        &none(),
        Code::InterfaceGone,
        DERIVED,
        "sudo ip -br link",
    );
    assert!(cause.text.contains("interface 77"), "{}", cause.text);
    let memory = "sudo dmesg | grep -iE 'allocation failure|out of memory|oom'";
    expect(
        &bind("::1", 1, -12),
        &none(),
        Code::OutOfMemory,
        DERIVED,
        memory,
    );
    expect(
        &unseen(bind("::1", 1, EPERM)),
        &none(),
        Code::CgroupBpfDenied,
        LIKELY,
        "sudo bpftool cgroup tree",
    );
    expect(
        &bind("::1", 1, -71),
        &none(),
        Code::Unexplained,
        OBSERVED,
        "",
    );
}
