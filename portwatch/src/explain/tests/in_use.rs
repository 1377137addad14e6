//! bind() to a port that is in use: the table of docs/CAUSES.md, row by row.

use super::*;

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
