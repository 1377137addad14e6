//! Events for the tests of printers.

use std::{
    ffi::OsStr,
    io::Write as _,
    os::unix::ffi::OsStrExt as _,
    process::{Command, Stdio},
    sync::Arc,
    time::Duration,
};

use proptest::prelude::*;

use crate::{
    event::{
        Attempt, AttemptId, Cause, Cgroup, Code, Comm, Confidence, Container, Degradation,
        Degraded, End, Ended, Event, Family, Fix, IfName, Local, LossReason, Lost, Op, Outcome,
        OutcomeOf, Place, Process, Proto, Requested, Runtime, Start, Summary, System, Time, Via,
        sample,
    },
    fields::{Field, Record, TABLE},
    output::value::write_text,
    users::Users,
};

pub(crate) fn users() -> Users {
    Users::with_lookups(|uid| (uid == 1000).then(|| "anna".to_owned()), |_| None)
}

/// What a script of Python's prints as JSON, with that as its input.
pub(crate) fn python(script: &str, input: &str) -> serde_json::Value {
    let mut python = Command::new("python3")
        .args(["-c", script])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("python3, which `cargo xtask setup` installs");
    let mut stdin = python.stdin.take().unwrap();
    stdin.write_all(input.as_bytes()).unwrap();
    drop(stdin);
    let output = python.wait_with_output().unwrap();
    assert!(output.status.success());
    serde_json::from_slice(&output.stdout).unwrap()
}

pub(crate) fn comm(name: &[u8]) -> Comm {
    Comm::cut(name)
}

/// A bind to 0.0.0.0:80 that was refused, and why.
pub(crate) fn bind() -> Attempt {
    Attempt {
        time: Time(1_783_566_245_678_901_234),
        via: Some(Via::Syscall),
        tgid: 1234,
        tid: 1235,
        ppid: Some(1),
        comm: comm(b"nginx"),
        uid: 1000,
        euid: Some(1000),
        gid: Some(1000),
        family: Some(Family::Ipv4),
        proto: Some(Proto::Ip(6)),
        requested: Some(Requested {
            ip: [0, 0, 0, 0].into(),
            port: 80,
            scope_id: 0,
        }),
        fd: Some(3),
        ret: Some(-13),
        latency: Some(Duration::from_micros(40)),
        netns: Some(4_026_531_840),
        cgroup_id: Some(1),
        privileged: Some(true),
        cause: Some(Arc::new(cause("port 80 is below 1024"))),
        ..sample::attempt()
    }
}

/// A connect to 127.0.0.1:8080 that is pending.
pub(crate) fn connect() -> Attempt {
    Attempt {
        op: Op::Connect,
        comm: comm(b"curl"),
        requested: Some(Requested {
            ip: [127, 0, 0, 1].into(),
            port: 8080,
            scope_id: 0,
        }),
        local: Some(Local {
            ip: [127, 0, 0, 1].into(),
            port: Some(40123),
        }),
        ret: Some(-115),
        privileged: None,
        cause: None,
        ..bind()
    }
}

pub(crate) fn ok(attempt: Attempt) -> Attempt {
    Attempt {
        ret: Some(0),
        cause: None,
        ..attempt
    }
}

/// Attempts of which each has one thing that the first has not.
pub(crate) fn unlike() -> Vec<Attempt> {
    let changes: [fn(&mut Attempt); 25] = [
        |_| {},
        |attempt| attempt.time = Time(attempt.time.0 + 1_000_000_000),
        |attempt| attempt.op = Op::Listen,
        |attempt| attempt.via = Some(Via::IoUring),
        |attempt| attempt.tgid += 1,
        |attempt| attempt.tid += 1,
        |attempt| attempt.ppid = None,
        |attempt| attempt.comm = comm(b"nginx2"),
        |attempt| attempt.process = Some(Arc::default()),
        |attempt| attempt.uid += 1,
        |attempt| attempt.euid = Some(0),
        |attempt| attempt.gid = None,
        |attempt| attempt.system = System::named("macOS 15.1").expect("a system"),
        |attempt| attempt.family = Some(Family::Ipv6),
        |attempt| attempt.proto = None,
        |attempt| attempt.requested = None,
        |attempt| {
            attempt.local = attempt.requested.map(|asked| Local {
                ip: asked.ip,
                port: None,
            });
        },
        |attempt| attempt.ret = Some(0),
        |attempt| attempt.ret = None,
        |attempt| attempt.netns = None,
        |attempt| attempt.cgroup_id = Some(2),
        |attempt| attempt.cgroup = Some(Arc::default()),
        |attempt| attempt.ifindex = Some(2),
        |attempt| attempt.ifname = IfName::new(b"eth1"),
        |attempt| attempt.privileged = None,
    ];
    let with = |change: fn(&mut Attempt)| {
        let mut attempt = bind();
        change(&mut attempt);
        attempt
    };
    changes.map(with).into()
}

pub(crate) fn outcome(end: End) -> Event {
    Event::Outcome(OutcomeOf {
        seq: 7,
        attempt: connect(),
        ended: Ended {
            id: AttemptId::default(),
            time: Time(1_783_566_246_000_000_000),
            latency: Duration::from_millis(12),
            end,
            reset: matches!(end, End::Failed(-111)),
        },
        lasted: false,
        cause: None,
    })
}

pub(crate) fn lost() -> Event {
    Event::Lost(Lost {
        time: Time(1_783_566_246_000_000_000),
        count: 3,
        reason: LossReason::RingFull,
        place: Place::Cpu(1),
    })
}

pub(crate) fn degraded() -> Event {
    Event::Degraded(Degraded {
        time: Time(1_783_566_247_000_000_000),
        degradation: Degradation {
            what: "connects".to_owned(),
            why: "a hook is gone".to_owned(),
            remedy: None,
        },
    })
}

pub(crate) fn start() -> Event {
    Event::Start(Box::new(Start {
        system: System::Linux,
        time: Time(1_783_566_240_000_000_000),
        backend: "fexit".into(),
        ring_bytes: Some(4 << 20),
        hooks: vec!["fexit:inet_bind".to_owned()],
        missing: vec![],
        degradations: vec![Degradation {
            what: "seccomp".to_owned(),
            why: "it is slow".to_owned(),
            remedy: Some("--seccomp".to_owned()),
        }],
        kernel: "6.12.1".to_owned(),
        filters: vec!["--failed".to_owned()],
        pid: 99,
    }))
}

pub(crate) fn summary() -> Event {
    Event::Summary(Box::new(Summary {
        time: Time(1_783_566_250_000_000_000),
        run_time: Duration::from_secs(10),
        attempts: [((Op::Bind, Outcome::Failed), 2)].into(),
        lost: [(LossReason::RingFull, 3)].into(),
        ..Summary::default()
    }))
}

/// One of each kind, and of attempts some more.
pub(crate) fn events() -> Vec<Event> {
    vec![
        start(),
        Event::Attempt(bind()),
        Event::Attempt(ok(bind())),
        Event::Attempt(connect()),
        Event::Attempt(ok(connect())),
        Event::Attempt(hostile(b"=1+1\n\"\\,")),
        Event::Attempt(sample::attempt()),
        outcome(End::Connected),
        outcome(End::Failed(-111)),
        outcome(End::Abandoned),
        lost(),
        degraded(),
        summary(),
    ]
}

fn cause(text: &str) -> Cause {
    Cause {
        code: Code::LowPortNoCapability,
        text: text.to_owned(),
        fixes: vec![Fix {
            what: "let it".to_owned(),
            command: Some("sysctl net.ipv4.ip_unprivileged_port_start=80".to_owned()),
            opens: None,
        }],
        confidence: Confidence::Observed,
        evidence: vec![],
        next: vec![],
        holders: vec![],
        holders_unseen: None,
        candidates: vec![],
    }
}

/// An attempt in which everything that others choose is this.
pub(crate) fn hostile(name: &[u8]) -> Attempt {
    let text = String::from_utf8_lossy(name).into_owned();
    Attempt {
        comm: comm(
            &name
                .iter()
                .copied()
                .filter(|&byte| byte != 0)
                .collect::<Vec<_>>(),
        ),
        process: Some(Arc::new(Process {
            exe: Some(OsStr::from_bytes(name).into()),
            cmdline: Some([text.clone(), String::new()].into()),
        })),
        cgroup: Some(Arc::new(Cgroup {
            path: text.clone(),
            unit: Some(text.clone()),
            container: Some(Container {
                runtime: Some(Runtime::Lxc),
                id: text.clone(),
            }),
        })),
        ifname: IfName::new(name),
        cause: Some(Arc::new(cause(&text))),
        ..bind()
    }
}

/// A host on which the caller of [`hostile`] has a name like that too.
pub(crate) fn hostile_users(name: &[u8]) -> Users {
    let mut users = users();
    users.remember(1000, Some(String::from_utf8_lossy(name).into_owned()));
    users
}

/// The text of each field that such a caller has: what a reader of a format must find again,
/// character by character. That the text itself tells which bytes it was, the sanitiser's tests show.
pub(crate) fn texts(name: &[u8]) -> Vec<(&'static str, String)> {
    let event = Event::Attempt(hostile(name));
    let record = Record::new(1, &event);
    let mut users = hostile_users(name);
    let text = |field: &'static Field| {
        let mut text = String::new();
        let is_there = write_text(&mut text, &(field.get)(&record), &mut users);
        is_there.then_some((field.name, text))
    };
    TABLE.iter().filter_map(text).collect()
}

/// What attacks on terminals, logs and spreadsheets are made of, among ordinary characters.
pub(crate) fn names() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        any::<char>().prop_map(|character| character.to_string().into_bytes()),
        any::<u8>().prop_map(|byte| vec![byte]),
        proptest::sample::select(vec![
            " ",
            "=",
            "+",
            "-",
            "@",
            "'",
            "\"",
            ",",
            ";",
            "\\",
            "]",
            "[",
            "\n",
            "\r",
            "\t",
            "\0",
            "\x1b[2J",
            "\u{202e}",
            "\u{2028}",
            "\u{ff1d}",
            "<13>",
            "kind=lost",
            "\nMESSAGE=x",
            "a",
        ])
        .prop_map(|text| text.as_bytes().to_vec()),
    ];
    proptest::collection::vec(piece, 0..10).prop_map(|pieces| pieces.concat())
}

/// What nothing that is shown as text may hold.
pub(crate) fn is_dangerous(character: char) -> bool {
    character.is_control()
        || matches!(u32::from(character), 0x200b..=0x200f | 0x2028..=0x202e | 0x2066..=0x2069)
}
