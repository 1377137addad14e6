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
        attempt.stages.cgroup = Some(0)
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
    let short = stopped(EINVAL, |attempt| attempt.requested = None);
    expect(
        &short,
        &Facts::default(),
        Code::BadAddressLength,
        Confidence::Derived,
        "",
    );
}
