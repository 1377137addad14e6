//! macOS: its own rules and error numbers.

use super::*;

const fn on_mac(major: u16, minor: u16) -> System {
    System::MacOs(Version { major, minor })
}

fn bind_there(ip: &str, port: u16, ret: i32) -> Attempt {
    unseen(bind(ip, port, ret))
}

#[track_caller]
fn code(attempt: &Attempt, system: System) -> Option<Code> {
    cause(attempt, system).map(|cause| cause.code)
}

fn cause(attempt: &Attempt, system: System) -> Option<Box<Cause>> {
    let attempt = with(attempt.clone(), |attempt| attempt.system = system);
    explain(&attempt, &Facts::default())
}

#[test]
fn low_ports_are_for_root_but_at_the_wildcard_address() {
    let specific = Some(Code::MacosLowPortAddress);
    let exempt = Some(Code::MacosWildcardExempt);
    for ip in [
        "127.0.0.1",
        "::1",
        "192.0.2.1",
        "224.0.0.251",
        "::ffff:127.0.0.1",
    ] {
        assert_eq!(
            code(&bind_there(ip, 80, EACCES), on_mac(15, 0)),
            specific,
            "{ip}"
        );
        assert_eq!(
            code(&bind_there(ip, 80, EACCES), on_mac(10, 13)),
            specific,
            "{ip}"
        );
    }
    for ip in ["0.0.0.0", "::", "::ffff:0.0.0.0"] {
        assert_eq!(code(&bind_there(ip, 80, 0), on_mac(10, 14)), exempt, "{ip}");
        assert_eq!(
            code(&bind_there(ip, 80, EACCES), on_mac(10, 13)),
            specific,
            "{ip}"
        );
        // No exemption yet: it must have been a privilege.
        assert_eq!(code(&bind_there(ip, 80, 0), on_mac(10, 13)), None, "{ip}");
    }
    // Not the rule for low ports.
    assert_eq!(
        code(&bind_there("127.0.0.1", 8080, EACCES), on_mac(15, 0)),
        Some(Code::Unexplained)
    );
    assert_eq!(
        code(&bind_there("0.0.0.0", 80, EACCES), on_mac(15, 0)),
        Some(Code::Unexplained)
    );
    assert_eq!(code(&bind_there("0.0.0.0", 8080, 0), on_mac(15, 0)), None);
}

#[test]
fn darwin_has_numbers_of_its_own() {
    let mac = on_mac(15, 0);
    let kept = bind_there("127.0.0.1", 55_555, -48);
    assert_eq!(code(&kept, mac), Some(Code::MacosRestrictedPort));
    assert_eq!(code(&kept, on_mac(10, 14)), Some(Code::PortInUse));
    assert_eq!(
        code(&bind_there("127.0.0.1", 8080, -48), mac),
        Some(Code::PortInUse)
    );
    let missing = cause(&bind_there("192.0.2.1", 80, -49), mac).unwrap();
    assert_eq!(missing.code, Code::AddressNotLocal);
    assert!(
        missing.next[0].starts_with("EACCES: port 80"),
        "{:?}",
        missing.next
    );
    // 98 is EADDRINUSE on Linux, and another there.
    let nothing = cause(&bind_there("127.0.0.1", 80, EADDRINUSE), mac).unwrap();
    assert_eq!(nothing.code, Code::Unexplained);
    assert!(nothing.text.contains("ENOSR"), "{}", nothing.text);
}

#[test]
fn connects_have_causes_too() {
    let mac = on_mac(15, 0);
    let to = |ip: &str, ret| unseen(attempt(Op::Connect, ip, 80, ret));
    for (ret, expected) in [
        (-36, Code::ConnectInProgress),
        (-51, Code::NoRoute),
        (-60, Code::ConnectTimedOut),
        (-61, Code::ConnectionRefused),
        (-65, Code::HostUnreachable),
        (-1, Code::MacosPolicyDenied),
        (-48, Code::TupleInUse),
        (-63, Code::BadAddressLength),
        (-102, Code::SocketListening),
        (-22, Code::Unexplained),
        (-9, Code::BadDescriptor),
        (-38, Code::NotASocket),
        (-14, Code::BadPointer),
        (-39, Code::BadPointer),
        (-47, Code::WrongFamily),
        (-56, Code::AlreadyConnected),
    ] {
        assert_eq!(code(&to("10.0.0.1", ret), mac), Some(expected), "{ret}");
    }
    let privacy = |ip: &str, mac: System| !cause(&to(ip, -65), mac).unwrap().fixes.is_empty();
    assert!(privacy("192.168.1.7", mac));
    assert!(!privacy("198.51.100.7", mac));
    assert!(!privacy("192.168.1.7", on_mac(14, 6)));
}

/// As DTrace tells it: the protocol and the effective user are not known.
fn as_traced(attempt: Attempt) -> Attempt {
    with(attempt, |attempt| {
        attempt.proto = None;
        attempt.uid = 501;
        attempt.euid = None;
        attempt.local = None;
        attempt.options = None;
    })
}

#[test]
fn what_dtrace_tells_is_enough_for_the_low_ports() {
    let mac = on_mac(14, 0);
    let refused = cause(&as_traced(bind_there("127.0.0.1", 80, EACCES)), mac).unwrap();
    assert_eq!(refused.code, Code::MacosLowPortAddress);
    assert!(refused.text.contains("(uid 501)"), "{}", refused.text);
    assert!(
        refused.fixes[0].what.contains("0.0.0.0:80"),
        "{:?}",
        refused.fixes
    );
    let allowed = as_traced(bind_there("0.0.0.0", 80, 0));
    assert_eq!(code(&allowed, mac), Some(Code::MacosWildcardExempt));
    let root = with(allowed, |attempt| attempt.uid = 0);
    assert_eq!(code(&root, mac), None);
    let kept = as_traced(bind_there("127.0.0.1", 55_555, -48));
    assert_eq!(code(&kept, mac), Some(Code::MacosRestrictedPort));
}

#[test]
fn eperm_is_a_policy_or_the_low_range_and_never_the_low_port() {
    let refused = |port| {
        cause(
            &as_traced(bind_there("0.0.0.0", port, EPERM)),
            on_mac(14, 0),
        )
    };
    let policy = refused(80).unwrap();
    assert_eq!(policy.code, Code::MacosPolicyDenied);
    assert!(policy.text.contains("network.server"), "{}", policy.text);
    // It cannot be seen whether IP_PORTRANGE_LOW is set.
    let either = refused(0).unwrap();
    assert_eq!(either.code, Code::MacosPolicyDenied);
    assert_eq!(either.confidence, Confidence::Likely);
    for cause in ["bindresvport", "sandbox"] {
        assert!(either.text.contains(cause), "{}", either.text);
    }
}

#[test]
fn lengths_and_addresses_that_bind_does_not_take() {
    let of = |ip, ret| code(&as_traced(bind_there(ip, 8080, ret)), on_mac(14, 0));
    assert_eq!(of("224.0.0.251", -47), Some(Code::MulticastStream));
    assert_eq!(of("ff02::fb", -47), Some(Code::MulticastStream));
    assert_eq!(of("127.0.0.1", -47), Some(Code::WrongFamily));
    // Bound already, or of another length: nothing that is seen tells.
    assert_eq!(of("127.0.0.1", -22), Some(Code::AlreadyBound));
    let short = with(as_traced(bind_there("127.0.0.1", 80, -22)), |it| {
        it.requested = None;
    });
    assert_eq!(code(&short, on_mac(14, 0)), Some(Code::BadAddressLength));
}

#[test]
fn somebody_elses_port_cannot_be_shared() {
    let text = |uid| {
        let taken = with(as_traced(bind_there("127.0.0.1", 8080, -48)), |it| {
            it.uid = uid;
        });
        cause(&taken, on_mac(14, 0)).unwrap().evidence.join(" ")
    };
    assert!(text(501).contains("another user"), "{}", text(501));
    assert!(!text(0).contains("another user"));
}
