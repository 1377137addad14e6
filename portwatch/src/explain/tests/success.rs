//! Successes: only those that would surprise have a cause.

use super::*;

fn ok(ip: &str, port: u16) -> Attempt {
    with(bind(ip, port, 0), |attempt| {
        attempt.privileged = Some(false);
        attempt.local.as_mut().unwrap().port = Some(port);
    })
}

#[track_caller]
fn code(attempt: &Attempt, facts: &Facts) -> Option<Code> {
    explain(attempt, facts).map(|cause| cause.code)
}

#[test]
fn an_ordinary_success_needs_no_cause() {
    let none = Facts::default();
    assert_eq!(code(&ok("127.0.0.1", 8080), &none), None);
    assert_eq!(code(&ok("0.0.0.0", 0), &none), None);
    assert_eq!(code(&attempt(Op::Connect, "127.0.0.1", 80, 0), &none), None);
    let root = with(ok("0.0.0.0", 80), |attempt| {
        attempt.euid = Some(0);
        attempt.privileged = Some(true);
    });
    assert_eq!(code(&root, &none), None);
    // Its own socket is on the port; that is no sharing.
    let mut own = holder("127.0.0.1", 8080, SocketState::Bound);
    own.process.as_mut().found().unwrap().tgid = 10;
    let shared = with(ok("127.0.0.1", 8080), |attempt| {
        attempt.options.as_mut().unwrap().reuseport = true;
    });
    assert_eq!(code(&shared, &held(own)), None);
}

#[test]
fn a_low_port_of_somebody_who_is_not_root() {
    let none = Facts::default();
    let lowered = with(ok("0.0.0.0", 80), |attempt| {
        attempt.before.unprivileged_port_start = Some(80);
    });
    assert_eq!(code(&lowered, &none), Some(Code::LowPortAllowedBySysctl));
    let privileged = with(ok("0.0.0.0", 80), |attempt| {
        attempt.privileged = Some(true);
        attempt.before.credentials = Some(credentials(1 << 10, INITIAL));
    });
    assert_eq!(
        code(&privileged, &none),
        Some(Code::LowPortAllowedByCapability)
    );
    let own = with(privileged, |attempt| {
        attempt.before.net_user_ns = Some(INITIAL + 500);
        attempt.before.credentials = Some(credentials(ALL_CAPS, INITIAL + 500));
    });
    assert_eq!(code(&own, &none), Some(Code::LowPortOwnNamespace));
}

#[test]
fn what_options_allow() {
    let set = |change: fn(&mut Options)| {
        move |mut attempt: Attempt| {
            change(attempt.options.as_mut().unwrap());
            attempt
        }
    };
    let other = held(Holder {
        reuseport: Some(true),
        ..holder("127.0.0.1", 8080, SocketState::Listen)
    });
    let shared = set(|options| options.reuseport = true)(ok("127.0.0.1", 8080));
    assert_eq!(code(&shared, &other), Some(Code::PortShared));
    let missing = at(nowhere());
    let free = set(|options| options.freebind = true)(ok("192.0.2.1", 8080));
    assert_eq!(code(&free, &missing), Some(Code::NonlocalAddressAllowed));
    assert_eq!(code(&free, &on(assigned())), None);
    let sysctl = at(Address {
        nonlocal_bind: Some(true),
        ..nowhere()
    });
    assert_eq!(
        code(&ok("192.0.2.1", 8080), &sysctl),
        Some(Code::NonlocalAddressAllowed)
    );
    let later = set(|options| options.bind_address_no_port = true)(ok("127.0.0.1", 0));
    assert_eq!(code(&later, &Facts::default()), Some(Code::NoPortYet));
}
