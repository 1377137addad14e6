//! bind(): the table of docs/CAUSES.md, row by row.

use super::*;

const OBSERVED: Confidence = Confidence::Observed;
const DERIVED: Confidence = Confidence::Derived;
const CHECKED: Confidence = Confidence::Checked;
const LIKELY: Confidence = Confidence::Likely;

fn none() -> Facts {
    Facts::default()
}

#[test]
fn a_low_port_without_the_capability() {
    let code = Code::LowPortNoCapability;
    let plain = bind("127.0.0.1", 80, EACCES);
    expect(
        &plain,
        &none(),
        code,
        DERIVED,
        "sudo sysctl -w net.ipv4.ip_unprivileged_port_start=80",
    );
    let native = runs(plain.clone(), "/opt/a b/server");
    expect(
        &native,
        &none(),
        code,
        DERIVED,
        "sudo setcap cap_net_bind_service=+ep '/opt/a b/server'",
    );
    // An interpreter is no place for a capability.
    let python = runs(plain.clone(), "/usr/bin/python3.11");
    let cause = expect(
        &python,
        &none(),
        code,
        DERIVED,
        "sudo sysctl -w net.ipv4.ip_unprivileged_port_start=80",
    );
    assert!(cause.fixes[0].what.contains("/usr/bin/python3.11"));
    let gone = runs(plain.clone(), "/opt/server (deleted)");
    expect(
        &gone,
        &none(),
        code,
        DERIVED,
        "sudo sysctl -w net.ipv4.ip_unprivileged_port_start=80",
    );
    let unit = runs(in_unit(plain, "web.service"), "/opt/server");
    let cause = expect(
        &unit,
        &none(),
        code,
        DERIVED,
        "sudo mkdir -p /etc/systemd/system/web.service.d && printf '[Service]\\nAmbientCapabilities=CAP_NET_BIND_SERVICE\\n' | sudo tee /etc/systemd/system/web.service.d/low-ports.conf && sudo systemctl daemon-reload && sudo systemctl restart web.service",
    );
    assert_eq!(
        cause.fixes[1].command.as_deref(),
        Some("sudo setcap cap_net_bind_service=+ep /opt/server")
    );
}

#[test]
fn a_low_port_in_a_container() {
    let plain = runs(bind("0.0.0.0", 80, EACCES), "/server");
    for (runtime, command) in [
        (
            Runtime::Docker,
            "--sysctl net.ipv4.ip_unprivileged_port_start=80",
        ),
        (
            Runtime::Podman,
            "--sysctl net.ipv4.ip_unprivileged_port_start=80",
        ),
        (
            Runtime::Lxc,
            "lxc.sysctl.net.ipv4.ip_unprivileged_port_start = 80",
        ),
        (
            Runtime::SystemdNspawn,
            "sudo nsenter -t 10 -n sysctl -w net.ipv4.ip_unprivileged_port_start=80",
        ),
    ] {
        let inside = in_container(plain.clone(), runtime);
        expect(
            &inside,
            &none(),
            Code::LowPortNoCapability,
            DERIVED,
            command,
        );
    }
}

#[test]
fn a_command_runs_in_the_network_namespace_of_the_attempt() {
    let plain = bind("127.0.0.1", 80, EACCES);
    for (namespace, command) in [
        (
            Namespace::Own,
            "sudo sysctl -w net.ipv4.ip_unprivileged_port_start=80",
        ),
        (
            Namespace::Named("b l".to_owned()),
            "sudo ip netns exec 'b l' sysctl -w net.ipv4.ip_unprivileged_port_start=80",
        ),
        (
            Namespace::Other,
            "sudo nsenter -t 10 -n sysctl -w net.ipv4.ip_unprivileged_port_start=80",
        ),
    ] {
        let facts = Facts {
            namespace: Some(namespace),
            ..none()
        };
        expect(&plain, &facts, Code::LowPortNoCapability, DERIVED, command);
    }
}

#[test]
fn a_low_port_with_capabilities_that_do_not_count() {
    let foreign = with(bind("0.0.0.0", 80, EACCES), |attempt| {
        attempt.before.credentials = Some(credentials(ALL_CAPS, 4_026_532_500));
    });
    expect(
        &runs(foreign, "/usr/bin/rootlessport"),
        &none(),
        Code::LowPortForeignUserNamespace,
        DERIVED,
        "sudo sysctl -w net.ipv4.ip_unprivileged_port_start=80",
    );
    let has = with(bind("0.0.0.0", 80, EACCES), |attempt| {
        attempt.before.credentials = Some(credentials(ALL_CAPS, INITIAL));
    });
    let facts = Facts {
        lsms: ["lockdown", "capability", "landlock", "apparmor"]
            .map(str::to_owned)
            .into(),
        ..none()
    };
    let cause = expect(
        &has,
        &facts,
        Code::LowPortCapabilityDenied,
        DERIVED,
        "sudo journalctl -k --since -10min --grep 'capability|net_bind_service'",
    );
    assert!(
        cause.text.contains("a security module (apparmor) refused"),
        "{}",
        cause.text
    );
}

#[test]
fn a_low_port_where_nobody_saw_who_refused() {
    let plain = unseen(bind("127.0.0.1", 80, EACCES));
    let threshold = Facts {
        unprivileged_port_start: Some(1024),
        ..none()
    };
    let sysctl = "sudo sysctl -w net.ipv4.ip_unprivileged_port_start=80";
    let cause = expect(
        &plain,
        &threshold,
        Code::LowPortNoCapability,
        LIKELY,
        sysctl,
    );
    assert!(
        cause.text.starts_with("probably port 80 ") && cause.text.contains("among others"),
        "{}",
        cause.text
    );
    let codes: Vec<_> = cause.candidates.iter().map(|found| found.code).collect();
    assert_eq!(codes, [Code::LowPortNoCapability, Code::LsmDenied]);
    // Without the capability it would have failed, whoever else refused.
    let proven = Facts {
        credentials: Some(credentials(0, INITIAL)),
        ..threshold
    };
    expect(&plain, &proven, Code::LowPortNoCapability, CHECKED, sysctl);
    // Nothing is known at all, as where the process has gone: few change the threshold.
    let cause = expect(&plain, &none(), Code::LowPortNoCapability, LIKELY, sysctl);
    assert!(
        cause.text.contains("port 80 is below 1024") && cause.text.contains("a security module"),
        "{}",
        cause.text
    );
    let high = unseen(bind("127.0.0.1", 1024, EACCES));
    expect(&high, &none(), Code::Unexplained, OBSERVED, "");
}

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
fn a_port_that_somebody_has() {
    let plain = bind("127.0.0.1", 80, EADDRINUSE);
    let listening = || holder("0.0.0.0", 80, SocketState::Listen);
    expect(
        &plain,
        &held(listening()),
        Code::PortInUse,
        CHECKED,
        "sudo kill 7",
    );
    let mut served = listening();
    served.process.as_mut().found().unwrap().cgroup = Some(Arc::new(Cgroup {
        path: "/system.slice/nginx.service".to_owned(),
        unit: Some("nginx.service".to_owned()),
        container: None,
    }));
    expect(
        &plain,
        &held(served),
        Code::PortInUse,
        CHECKED,
        "sudo systemctl stop nginx.service",
    );
    // A socket unit's: never kill process 1.
    let mut init = listening();
    init.process.as_mut().found().unwrap().tgid = 1;
    expect(
        &plain,
        &held(init),
        Code::PortInUse,
        CHECKED,
        "systemctl list-sockets --show-types",
    );
}

#[test]
fn a_connection_of_a_dual_stack_socket_is_in_the_way_of_ipv4() {
    let everywhere = bind("0.0.0.0", 80, EADDRINUSE);
    let connection = |state| Holder {
        peer: Some(("::1".parse().unwrap(), 4000)),
        // The kernel tells it only of sockets that listen or are closed.
        v6only: None,
        ..holder("::1", 80, state)
    };
    for (state, code) in [
        (SocketState::Established, Code::PortInUseConnection),
        (SocketState::FinWait2, Code::PortInUseConnection),
        (SocketState::TimeWait, Code::PortInUseTimeWait),
    ] {
        let cause = explain(&everywhere, &held(connection(state))).unwrap();
        assert_eq!(cause.code, code);
        assert!(cause.text.contains("IPV6_V6ONLY"), "{}", cause.text);
    }
    let limited = Holder {
        v6only: Some(true),
        ..connection(SocketState::Established)
    };
    let cause = explain(&everywhere, &held(limited)).unwrap();
    assert_eq!(cause.code, Code::PortInUseHolderGone);
}

#[test]
fn a_busy_port_whose_holder_was_not_looked_up_says_why() {
    let plain = bind("127.0.0.1", 80, EADDRINUSE);
    for why in Unseen::ALL {
        let facts = Facts {
            holders: Holders::not_seen(why),
            ..none()
        };
        let cause = *explain(&plain, &facts).expect("a cause");
        assert_eq!(
            (cause.code, cause.holders_unseen),
            (Code::PortInUse, Some(why))
        );
        let text = format!(
            "127.0.0.1:80 is in use; portwatch could not see which process holds it ({})",
            why.reason()
        );
        assert_eq!(cause.text, text);
    }
}

fn told(holder: Holder) -> String {
    let plain = bind("127.0.0.1", 80, EADDRINUSE);
    explain(&plain, &held(holder)).expect("a cause").text
}

#[test]
fn a_holder_that_was_not_seen_is_not_told_as_gone() {
    for why in Unseen::ALL {
        let text = told(Holder {
            process: Lookup::NotSeen(why),
            ..holder("0.0.0.0", 80, SocketState::Listen)
        });
        let whose = format!(
            "a process of uid 0 that portwatch could not see ({})",
            why.reason()
        );
        assert!(text.contains(&whose), "{text}");
        assert!(!text.contains("no process"), "{text}");
    }
}

#[test]
fn who_was_seen_to_bind_a_socket_is_told_though_nobody_is_found() {
    let bound = Holder {
        bound_by: Some(Binder {
            tgid: 7,
            comm: comm("nginx"),
        }),
        process: Lookup::NotThere,
        ..holder("0.0.0.0", 80, SocketState::Listen)
    };
    let text = told(bound.clone());
    assert!(
        text.contains("a socket that nginx (pid 7) bound, and that no process has open now"),
        "{text}"
    );
    let text = told(Holder {
        process: Lookup::NotSeen(Unseen::Time),
        ..bound
    });
    assert!(
        text.contains("nginx (pid 7) was seen to bind the socket"),
        "{text}"
    );
}

#[test]
fn whoever_has_the_port_already_is_told_so_and_not_to_kill_itself() {
    let plain = bind("127.0.0.1", 80, EADDRINUSE);
    let mut own = holder("127.0.0.1", 80, SocketState::Bound);
    own.process.as_mut().found().unwrap().tgid = plain.tgid;
    own.since = Some(Time(plain.time.0 - 5_000_000));
    let cause = *explain(&plain, &held(own)).expect("a cause");
    let itself = format!(
        "server itself (pid {}) has 127.0.0.1:80, bound 5 ms earlier",
        plain.tgid
    );
    assert!(cause.text.contains(&itself), "{}", cause.text);
    let mut commands = cause.fixes.iter().filter_map(|fix| fix.command.as_deref());
    assert!(
        commands.all(|command| !command.contains("kill")),
        "{cause:?}"
    );
}

#[test]
fn a_port_that_no_server_has() {
    let plain = bind("127.0.0.1", 80, EADDRINUSE);
    let listening = || holder("0.0.0.0", 80, SocketState::Listen);
    let kernel = Holder {
        kernel: true,
        process: Lookup::NotThere,
        ..listening()
    };
    expect(
        &plain,
        &held(kernel),
        Code::PortInUseKernel,
        CHECKED,
        "ip -d link show; rpcinfo -p",
    );
    let look = "sudo ss -tanp 'sport = :80'";
    let left = Holder {
        process: Lookup::NotThere,
        ..holder("127.0.0.1", 80, SocketState::TimeWait)
    };
    expect(&plain, &held(left), Code::PortInUseTimeWait, CHECKED, look);
    let connection = holder("127.0.0.1", 80, SocketState::Established);
    expect(
        &plain,
        &held(connection),
        Code::PortInUseConnection,
        CHECKED,
        "sudo kill 7",
    );
    let empty = Facts {
        holders: Holders::all(vec![]),
        ..none()
    };
    expect(&plain, &empty, Code::PortInUseHolderGone, CHECKED, look);
    expect(&plain, &none(), Code::PortInUse, DERIVED, look);
    // A socket that is not in the way is not blamed.
    let apart = held(holder("127.0.0.2", 80, SocketState::Listen));
    expect(&plain, &apart, Code::PortInUseHolderGone, CHECKED, look);
    let udp = with(plain.clone(), |attempt| attempt.proto = Some(UDP));
    expect(
        &udp,
        &none(),
        Code::PortInUse,
        DERIVED,
        "sudo ss -uanp 'sport = :80'",
    );
    let ping = with(plain, |attempt| attempt.proto = Some(PING));
    expect(&ping, &none(), Code::PingIdentifierInUse, DERIVED, "");
}

#[test]
fn the_option_that_kept_a_port_from_being_shared() {
    let plain = bind("0.0.0.0", 80, EADDRINUSE);
    let ours = |change: fn(&mut Options)| {
        with(plain.clone(), |attempt| {
            change(attempt.options.as_mut().unwrap());
        })
    };
    let theirs = |change: fn(&mut Holder), state| {
        let mut holder = holder("0.0.0.0", 80, state);
        change(&mut holder);
        held(holder)
    };
    let reuseaddr = ours(|options| options.reuseaddr = true);
    let reuseport = ours(|options| options.reuseport = true);
    let (bound, listen) = (SocketState::Bound, SocketState::Listen);
    for (attempt, facts, code) in [
        (
            &reuseaddr,
            theirs(|_| (), bound),
            Code::PortInUseReuseaddrOneSide,
        ),
        (
            &plain,
            theirs(|holder| holder.reuseaddr = Some(true), bound),
            Code::PortInUseReuseaddrOneSide,
        ),
        (
            &reuseaddr,
            theirs(|holder| holder.reuseaddr = Some(true), listen),
            Code::PortInUseReuseaddrListening,
        ),
        (&reuseaddr, theirs(|_| (), listen), Code::PortInUse),
        (
            &reuseport,
            theirs(|_| (), listen),
            Code::PortInUseReuseportOneSide,
        ),
        (
            &reuseport,
            theirs(|holder| holder.reuseport = Some(true), listen),
            Code::PortInUseReuseportOtherUser,
        ),
        (
            &plain,
            theirs(|holder| holder.ip = "::".parse().unwrap(), listen),
            Code::PortInUseDualStack,
        ),
    ] {
        let cause = expect(attempt, &facts, code, CHECKED, "sudo kill 7");
        assert_eq!(cause.holders.len(), 1);
    }
}

#[test]
fn no_port_is_left() {
    let ports = Facts {
        ports: Some(Ports {
            first: 32768,
            last: 60999,
        }),
        ..none()
    };
    let code = Code::EphemeralPortsExhausted;
    let cause = expect(
        &bind("0.0.0.0", 0, EADDRINUSE),
        &ports,
        code,
        DERIVED,
        "sudo ss -tan",
    );
    assert!(cause.text.contains("32768 to 60999"), "{}", cause.text);
    let listen = with(bind("0.0.0.0", 0, EADDRINUSE), |attempt| {
        attempt.op = Op::Listen;
        attempt.requested = None;
    });
    expect(&listen, &ports, code, DERIVED, "sudo ss -tan");
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
        (v6("fe80::1"), Code::LinkLocalWithoutScope, DERIVED),
        (plain.clone(), Code::BadAddressLength, DERIVED),
        (mixed, Code::WrongFamily, DERIVED),
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
