//! What stops a call before the protocol.

use super::*;
use crate::event::Lsm;

fn stopped(ret: i32, change: impl FnOnce(&mut Attempt)) -> Attempt {
    with(unseen(bind("127.0.0.1", 80, ret)), change)
}

#[test]
fn a_verdict_that_was_seen_is_the_cause() {
    let none = Facts::default();
    let observed = Confidence::Observed;
    let seccomp = stopped(EPERM, |attempt| attempt.seccomp = true);
    expect(&seccomp, &none, Code::SeccompDenied, observed, "");
    let unit = in_unit(seccomp, "web.service");
    expect(
        &unit,
        &none,
        Code::SeccompDenied,
        observed,
        "systemctl show -p SystemCallFilter web.service",
    );
    let cgroup = stopped(EPERM, |attempt| attempt.stages.cgroup = Some(EPERM));
    expect(
        &cgroup,
        &none,
        Code::CgroupBpfDenied,
        observed,
        "sudo bpftool cgroup tree",
    );
    expect(
        &in_unit(cgroup, "web.service"),
        &none,
        Code::CgroupBpfDenied,
        observed,
        "systemctl show -p SocketBindAllow,SocketBindDeny,IPAddressAllow,IPAddressDeny,RestrictNetworkInterfaces web.service",
    );
    // A verdict to let it pass is none.
    let passed = with(bind("127.0.0.1", 80, EACCES), |attempt| {
        attempt.stages.cgroup = Some(0);
    });
    assert_eq!(
        explain(&passed, &none).unwrap().code,
        Code::LowPortNoCapability
    );
}

#[test]
fn the_security_module_is_named() {
    let observed = Confidence::Observed;
    for (lsm, code, command) in [
        (
            Lsm::Apparmor,
            Code::ApparmorDenied,
            "sudo journalctl -k --since -10min --grep 'apparmor=\"DENIED\"'",
        ),
        (
            Lsm::Bpf,
            Code::BpfLsmDenied,
            "sudo bpftool prog show | grep ' lsm '",
        ),
        (Lsm::Landlock, Code::LandlockDenied, ""),
        (
            Lsm::Selinux,
            Code::SelinuxDenied,
            "sudo ausearch -m avc -ts recent | audit2why",
        ),
        (
            Lsm::Smack,
            Code::SmackDenied,
            "sudo journalctl -k --since -10min --grep lsm=SMACK",
        ),
        (
            Lsm::Tomoyo,
            Code::TomoyoDenied,
            "sudo tail /sys/kernel/security/tomoyo/audit",
        ),
    ] {
        let refused = stopped(EACCES, |attempt| {
            attempt.stages.lsm = Some(EACCES);
            attempt.stages.lsm_name = Some(lsm);
        });
        expect(&refused, &Facts::default(), code, observed, command);
    }
    let unnamed = stopped(EACCES, |attempt| attempt.stages.lsm = Some(EACCES));
    let facts = Facts {
        lsms: ["yama", "selinux", "landlock"].map(str::to_owned).into(),
        ..Facts::default()
    };
    let see = "sudo journalctl -k --since -10min --grep 'apparmor=|avc:|landlock|lsm='";
    let cause = expect(&unnamed, &facts, Code::LsmDenied, observed, see);
    assert!(
        cause.text.contains("one of selinux, landlock"),
        "{}",
        cause.text
    );
}

#[test]
fn errors_of_the_descriptor_and_the_pointer_speak_for_themselves() {
    for (ret, code) in [
        (-9, Code::BadDescriptor),
        (-88, Code::NotASocket),
        (-14, Code::BadPointer),
    ] {
        let attempt = stopped(ret, |attempt| attempt.fd = Some(5));
        expect(&attempt, &Facts::default(), code, Confidence::Derived, "");
    }
}

/// As a security module returned it, which may not be known.
fn of_module(plain: Attempt, ret: i32, lsm: Option<Lsm>) -> Attempt {
    with(unseen(plain), |attempt| {
        attempt.ret = Some(ret);
        attempt.stages.lsm = Some(ret);
        attempt.stages.lsm_name = lsm;
    })
}

fn of_length(attempt: Attempt, length: i32) -> Attempt {
    with(attempt, |attempt| attempt.address_len = Some(length))
}

fn of_family(attempt: Attempt, family: Option<Family>) -> Attempt {
    with(attempt, |attempt| {
        (attempt.family, attempt.requested) = (family, None);
    })
}

/// Calls that modules find fault with: the error, and the code and words that must come of it.
fn faulty() -> [(Attempt, i32, Code, &'static str); 6] {
    let to = || connect("127.0.0.1", EINVAL);
    let at = || bind("127.0.0.1", 80, EINVAL);
    let unspec = Some(Family::Unspec);
    let other_family = with(bind("::1", 80, EINVAL), |attempt| {
        attempt.local.as_mut().unwrap().ip = "0.0.0.0".parse().unwrap();
    });
    let length = Code::BadAddressLength;
    [
        (
            of_length(of_family(to(), None), 0),
            EINVAL,
            length,
            "is 0, and",
        ),
        (
            of_length(of_family(at(), None), 1),
            EINVAL,
            length,
            "is 1, and",
        ),
        (of_length(to(), 8), EINVAL, length, "needs 16"),
        (
            of_length(of_family(to(), unspec), 2),
            EINVAL,
            length,
            "needs 16",
        ),
        (
            other_family,
            EINVAL,
            Code::WrongFamily,
            "an IPv6 address was passed to an IPv4 socket",
        ),
        (of_family(at(), unspec), -97, Code::WrongFamily, "AF_UNSPEC"),
    ]
}

#[test]
fn a_module_that_checks_arguments_asks_no_policy() {
    for (attempt, ret, code, part) in faulty() {
        for (lsm, name) in [
            (Lsm::Apparmor, "AppArmor"),
            (Lsm::Landlock, "Landlock"),
            (Lsm::Selinux, "SELinux"),
        ] {
            let attempt = of_module(attempt.clone(), ret, Some(lsm));
            let cause = expect(&attempt, &Facts::default(), code, DERIVED, "");
            assert!(cause.text.contains(part), "{}", cause.text);
            assert!(cause.text.contains(name), "{}", cause.text);
            assert!(!cause.text.contains("refused"), "{}", cause.text);
        }
        let unnamed = of_module(attempt, ret, None);
        expect(&unnamed, &Facts::default(), code, DERIVED, "");
    }
}

#[test]
fn a_program_that_returns_the_same_refuses() {
    let short = of_length(connect("127.0.0.1", EINVAL), 8);
    let bpf = of_module(short, EINVAL, Some(Lsm::Bpf));
    let cause = explain(&bpf, &Facts::default()).unwrap();
    assert_eq!(cause.code, Code::BpfLsmDenied);
    // Nor is it known of a module without a name that it checked arguments which are in order.
    let whole = of_module(connect("127.0.0.1", EINVAL), EINVAL, None);
    assert_eq!(
        explain(&whole, &Facts::default()).unwrap().code,
        Code::LsmDenied
    );
    let named = of_module(connect("127.0.0.1", EINVAL), EINVAL, Some(Lsm::Landlock));
    assert_eq!(
        explain(&named, &Facts::default()).unwrap().code,
        Code::Unexplained
    );
}

/// The socket is not seen of every call that a module stops.
#[test]
fn a_family_that_landlock_finds_wrong_needs_no_socket() {
    let attempt = with(bind("::1", 80, EINVAL), |attempt| attempt.local = None);
    let by = |lsm| {
        let attempt = of_module(attempt.clone(), EINVAL, Some(lsm));
        explain(&attempt, &Facts::default()).unwrap().code
    };
    assert_eq!(by(Lsm::Landlock), Code::WrongFamily);
    assert_eq!(by(Lsm::Apparmor), Code::Unexplained);
}
