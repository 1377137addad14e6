//! macOS: its own rules and error numbers.

use super::*;

fn on_mac(major: u16, minor: u16) -> Facts {
    Facts {
        system: System::MacOs(Version { major, minor }),
        ..Facts::default()
    }
}

fn bind_there(ip: &str, port: u16, ret: i32) -> Attempt {
    unseen(bind(ip, port, ret))
}

#[track_caller]
fn code(attempt: &Attempt, facts: &Facts) -> Option<Code> {
    explain(attempt, facts).map(|cause| cause.code)
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
            code(&bind_there(ip, 80, EACCES), &on_mac(15, 0)),
            specific,
            "{ip}"
        );
        assert_eq!(
            code(&bind_there(ip, 80, EACCES), &on_mac(10, 13)),
            specific,
            "{ip}"
        );
    }
    for ip in ["0.0.0.0", "::", "::ffff:0.0.0.0"] {
        assert_eq!(
            code(&bind_there(ip, 80, 0), &on_mac(10, 14)),
            exempt,
            "{ip}"
        );
        assert_eq!(
            code(&bind_there(ip, 80, EACCES), &on_mac(10, 13)),
            specific,
            "{ip}"
        );
        // No exemption yet: it must have been a privilege.
        assert_eq!(code(&bind_there(ip, 80, 0), &on_mac(10, 13)), None, "{ip}");
    }
    // Not the rule for low ports.
    assert_eq!(
        code(&bind_there("127.0.0.1", 8080, EACCES), &on_mac(15, 0)),
        Some(Code::Unexplained)
    );
    assert_eq!(
        code(&bind_there("0.0.0.0", 80, EACCES), &on_mac(15, 0)),
        Some(Code::Unexplained)
    );
    assert_eq!(code(&bind_there("0.0.0.0", 8080, 0), &on_mac(15, 0)), None);
}

#[test]
fn darwin_has_numbers_of_its_own() {
    let facts = on_mac(15, 0);
    let kept = bind_there("127.0.0.1", 55_555, -48);
    assert_eq!(code(&kept, &facts), Some(Code::MacosRestrictedPort));
    assert_eq!(code(&kept, &on_mac(10, 14)), Some(Code::PortInUse));
    assert_eq!(
        code(&bind_there("127.0.0.1", 8080, -48), &facts),
        Some(Code::PortInUse)
    );
    let missing = explain(&bind_there("192.0.2.1", 80, -49), &facts).unwrap();
    assert_eq!(missing.code, Code::AddressNotLocal);
    assert!(
        missing.next[0].starts_with("EACCES: port 80"),
        "{:?}",
        missing.next
    );
    // 98 is EADDRINUSE on Linux, and nothing there.
    let nothing = explain(&bind_there("127.0.0.1", 80, EADDRINUSE), &facts).unwrap();
    assert_eq!(nothing.code, Code::Unexplained);
    assert!(nothing.text.contains("E98"), "{}", nothing.text);
}

#[test]
fn connects_have_causes_too() {
    let facts = on_mac(15, 0);
    let to = |ip: &str, ret| unseen(attempt(Op::Connect, ip, 80, ret));
    for (ret, expected) in [
        (-36, Code::ConnectInProgress),
        (-51, Code::NoRoute),
        (-60, Code::ConnectTimedOut),
        (-61, Code::ConnectionRefused),
        (-65, Code::HostUnreachable),
        (-1, Code::Unexplained),
    ] {
        assert_eq!(code(&to("10.0.0.1", ret), &facts), Some(expected), "{ret}");
    }
    let privacy = |ip: &str, facts: &Facts| !explain(&to(ip, -65), facts).unwrap().fixes.is_empty();
    assert!(privacy("192.168.1.7", &facts));
    assert!(!privacy("198.51.100.7", &facts));
    assert!(!privacy("192.168.1.7", &on_mac(14, 6)));
}
