//! bind() to a port that takes a privilege: the table of docs/CAUSES.md, row by row.

use super::*;

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
