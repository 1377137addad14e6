//! Whole causes, as somebody reads them in the middle of the night.

use std::fmt::Write as _;

use insta::assert_snapshot;

use super::*;

/// A cause as text, one item a line.
fn told(attempt: &Attempt, facts: &Facts) -> String {
    let cause = explain(attempt, facts).unwrap();
    let mut text = format!(
        "{}\n[{}, {}]",
        cause.text,
        cause.code.name(),
        cause.confidence.name()
    );
    for next in &cause.next {
        write!(text, "\nnext: {next}").unwrap();
    }
    for evidence in &cause.evidence {
        write!(text, "\nseen: {evidence}").unwrap();
    }
    for fix in &cause.fixes {
        write!(text, "\nfix: {}", fix.what).unwrap();
        if let Some(command) = &fix.command {
            write!(text, "\n     $ {command}").unwrap();
        }
        if let Some(opens) = &fix.opens {
            write!(text, "\n     opens: {opens}").unwrap();
        }
    }
    text
}

#[test]
fn low_ports() {
    let plain = bind("127.0.0.1", 80, EACCES);
    let facts = Facts::default();
    assert_snapshot!(told(
        &runs(in_unit(plain.clone(), "web.service"), "/usr/bin/node"),
        &facts
    ));
    assert_snapshot!(told(&runs(plain.clone(), "/usr/local/bin/caddy"), &facts));
    assert_snapshot!(told(&in_container(plain.clone(), Runtime::Podman), &facts));
    let foreign = with(plain.clone(), |attempt| {
        attempt.before.credentials = Some(credentials(ALL_CAPS, 4_026_532_500));
    });
    assert_snapshot!(told(&foreign, &facts));
    let lsms = Facts {
        unprivileged_port_start: Some(1024),
        lsms: ["landlock", "apparmor"].map(str::to_owned).into(),
        ..facts
    };
    assert_snapshot!(told(&unseen(plain), &lsms));
}

#[test]
fn ports_in_use() {
    let plain = bind("0.0.0.0", 80, EADDRINUSE);
    let mut server = holder("::", 80, SocketState::Listen);
    server.process.as_mut().found().unwrap().cgroup = Some(Arc::new(Cgroup {
        path: "/system.slice/nginx.service".to_owned(),
        unit: Some("nginx.service".to_owned()),
        container: None,
    }));
    assert_snapshot!(told(&plain, &held(server)));
    let left = Holder {
        process: Lookup::NotThere,
        peer: Some(("192.0.2.7".parse().unwrap(), 50_000)),
        ..holder("192.0.2.1", 80, SocketState::TimeWait)
    };
    assert_snapshot!(told(&plain, &held(left)));
}

#[test]
fn addresses_and_routes() {
    let missing = at(Address {
        nonlocal_bind: Some(false),
        ..nowhere()
    });
    assert_snapshot!(told(&bind("192.0.2.1", 80, EADDRNOTAVAIL), &missing));
    assert_snapshot!(told(
        &connect("192.0.2.1", EACCES),
        &routed(RouteKind::Prohibit)
    ));
}

#[test]
fn answers() {
    let refused = with(answered("127.0.0.1", -111), |attempt| attempt.reset = true);
    assert_snapshot!(told(
        &refused,
        &held(holder("::1", 80, SocketState::Listen))
    ));
    let silent = with(answered("192.0.2.1", -110), |attempt| {
        attempt.latency = Some(Duration::from_millis(134_217));
    });
    assert_snapshot!(told(&silent, &Facts::default()));
    let watched = Facts {
        resets_seen: true,
        ..Facts::default()
    };
    assert_snapshot!(told(&answered("192.0.2.1", -111), &watched));
}

#[test]
fn hostile_names() {
    let hostile = with(
        runs(bind("127.0.0.1", 80, EACCES), "/tmp/$(reboot)\n'x"),
        |attempt| {
            attempt.comm = comm("a\u{1b}[2Jb");
        },
    );
    assert_snapshot!(told(&hostile, &Facts::default()));
}
