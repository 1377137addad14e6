//! The lines below an attempt that say why.

use std::sync::Arc;

use insta::assert_snapshot;

use super::*;
use crate::event::{
    Code, Confidence, Fix, Holder, HoldingProcess, Lookup, SocketState, sample::holder,
};

fn low_port() -> Cause {
    Cause {
        code: Code::LowPortNoCapability,
        text: "port 80 is below 1024, where ports need CAP_NET_BIND_SERVICE, and curl (uid 1000) does not have it".to_owned(),
        fixes: vec![
            Fix {
                what: "take a port from 1024 on".to_owned(),
                command: None,
                opens: None,
            },
            Fix {
                what: "let curl open low ports".to_owned(),
                command: Some("sudo setcap cap_net_bind_service=+ep /usr/bin/curl".to_owned()),
                opens: Some("every user who may run it can open low ports with it".to_owned()),
            },
        ],
        confidence: Confidence::Derived,
        evidence: vec!["CapEff 0".to_owned()],
        next: vec!["127.0.0.9 is no address of this host".to_owned()],
        holders: vec![],
        holders_unseen: None,
        candidates: vec![],
    }
}

fn in_use() -> Cause {
    Cause {
        code: Code::PortInUse,
        text: "nginx listens on 0.0.0.0:80".to_owned(),
        fixes: vec![Fix {
            what: "stop it".to_owned(),
            command: Some(
                "sudo systemctl edit --stdin nginx.service <<'END'\n[Service]\nEND".to_owned(),
            ),
            opens: None,
        }],
        confidence: Confidence::Checked,
        evidence: vec![],
        next: vec![],
        holders: vec![
            Holder {
                process: Lookup::Found(HoldingProcess {
                    tgid: 7,
                    fd: None,
                    comm: comm(b"ng\x1binx"),
                    exe: None,
                    cgroup: None,
                }),
                uid: Some(1000),
                ip: [0, 0, 0, 0].into(),
                inode: Some(1),
                ..holder()
            },
            Holder {
                state: SocketState::TimeWait,
                peer: Some(([127, 0, 0, 1].into(), 5000)),
                ..holder()
            },
        ],
        holders_unseen: None,
        candidates: vec![],
    }
}

fn because(cause: Cause) -> Attempt {
    Attempt {
        ret: Some(EACCES),
        cause: Some(Arc::new(cause)),
        ..attempt()
    }
}

#[test]
fn a_cause_and_its_first_fix_stand_below_the_attempt() {
    let low_port = Cause {
        fixes: low_port().fixes.split_off(1),
        ..low_port()
    };
    assert_snapshot!(attempts(None, [because(low_port.clone())]), @"
    TIME         OP      PROTO    PID USER     COMM            ADDRESS               RESULT
    05:04:05.678 connect tcp     1234 anna     curl            127.0.0.1:8080        EACCES Permission denied
        why: port 80 is below 1024, where ports need CAP_NET_BIND_SERVICE, and curl (uid 1000) does not have it
        then: 127.0.0.9 is no address of this host
        fix: let curl open low ports: sudo setcap cap_net_bind_service=+ep /usr/bin/curl
    ");
    assert_snapshot!(attempts(Some(80), [because(low_port)]), @"
    TIME     OP      PROTO    PID USER     COMM       ADDRESS          RESULT
    05:04:05 connect tcp     1234 anna     curl       127.0.0.1:8080   EACCES
        why: port 80 is below 1024, where ports need CAP_NET_BIND_SERVICE, and curl
             (uid 1000) does not have it
        then: 127.0.0.9 is no address of this host
        fix: let curl open low ports:
             sudo setcap cap_net_bind_service=+ep /usr/bin/curl
    ");
}

#[test]
fn in_full_all_is_said() {
    let mut printer = TextPrinter {
        detail: Detail::Full,
        ..printer(Some(80))
    };
    let events = [low_port(), in_use()].map(because).map(Event::Attempt);
    assert_snapshot!(print(&mut printer, events), @r"
    TIME     OP      PROTO    PID USER     COMM       ADDRESS          RESULT
    05:04:05 connect tcp     1234 anna     curl       127.0.0.1:8080   EACCES
        why: port 80 is below 1024, where ports need CAP_NET_BIND_SERVICE, and curl
             (uid 1000) does not have it
        then: 127.0.0.9 is no address of this host
        code: low_port_no_capability (derived)
        seen: CapEff 0
        fix: take a port from 1024 on
        fix: let curl open low ports:
             sudo setcap cap_net_bind_service=+ep /usr/bin/curl
             opens: every user who may run it can open low ports with it
    05:04:05 connect tcp     1234 anna     curl       127.0.0.1:8080   EACCES
        why: nginx listens on 0.0.0.0:80
        held: ng\x1binx (pid 7, anna): listen 0.0.0.0:80
        held: no process: time_wait 127.0.0.1:80 to 127.0.0.1:5000
        code: port_in_use (checked)
        fix: stop it:
             sudo systemctl edit --stdin nginx.service <<'END'
             [Service]
             END
    ");
}
