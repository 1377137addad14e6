//! What the printer writes is what the reader reads, and nothing that it reads is too strange.

use std::{io::Cursor, sync::Arc, time::Duration};

use proptest::{collection::vec, option, prelude::*, sample::select};

use crate::{
    errno::to_caller,
    event::{
        AcceptQueue, Attempt, AttemptId, Before, Binder, Candidate, Cause, Code, Confidence,
        Credentials, End, Ended, Event, Fix, Holder, HoldingProcess, IfName, Lookup, Lsm, Options,
        OutcomeOf, Process, SocketBefore, SocketState, Stages, System, Time, Unseen, Version, Via,
        sample::attempt,
    },
    filter::sample::attempts,
    output::json::JsonPrinter,
    source::replay::{Item, Recorded, Recording, Unreadable},
    users::Users,
};

fn parse(line: &[u8]) -> Result<Recorded, String> {
    let mut recording = Recording::of(Cursor::new(line.to_vec())).unwrap();
    match recording.read_line().unwrap() {
        Some(read) => read.map_err(|unreadable| unreadable.why),
        None => Err("there is nothing".to_owned()),
    }
}

fn users() -> Users {
    Users::with_lookups(|uid| (uid % 2 == 0).then(|| format!("user{uid}")), |_| None)
}

fn printed(seq: u64, event: &Event, users: &mut Users) -> String {
    let mut line = Vec::new();
    JsonPrinter::default()
        .print(&mut line, seq, event, users)
        .unwrap();
    String::from_utf8(line).unwrap()
}

fn nobody() -> Users {
    Users::with_lookups(|_| None, |_| None)
}

/// Reads a line, and prints what was read with the names that were read.
fn again(seq: u64, line: &str) -> String {
    let Recorded { item, users } = parse(line.trim_end().as_bytes()).unwrap();
    let mut known = nobody();
    for (uid, name) in users {
        known.remember(uid, name);
    }
    let event = match item {
        Item::Start(start) => Event::Start(start),
        Item::Attempt(attempt) => {
            assert_eq!(attempt.id.start_ns, seq);
            Event::Attempt(*attempt)
        }
        Item::Outcome { ended, cause } => Event::Outcome(OutcomeOf {
            seq: ended.id.start_ns,
            attempt: attempt(),
            ended,
            lasted: false,
            cause,
        }),
        Item::Lost(lost) => Event::Lost(lost),
        Item::Degraded(degraded) => Event::Degraded(degraded),
        Item::Summary(summary) => Event::Summary(summary),
        Item::Unknown => panic!("{line}"),
    };
    printed(seq, &event, &mut known)
}

/// Attempts with everything that can be there.
fn whole() -> BoxedStrategy<Attempt> {
    let process = (
        option::of(any::<String>()),
        option::of(vec(any::<String>(), 0..3)),
    );
    let via = option::of(select(Via::ALL.to_vec()));
    let flags = (any::<[bool; 3]>(), option::of(any::<bool>()));
    let others = (
        any::<i64>(),
        via,
        option::of(options()),
        option::of(any::<u32>()),
    );
    let kernel = (stages(), before(), option::of(cause().boxed()));
    let strategy = (attempts(), process, flags, others, kernel).prop_map(
        |(attempt, (exe, cmdline), (flags, privileged), others, (stages, before, cause))| {
            let (time, via, options, number) = others;
            let [repeat, seccomp, reset] = flags;
            let systems = [
                System::Linux,
                System::MacOs(Version {
                    major: 10,
                    minor: 14,
                }),
            ];
            let process = Process {
                exe: exe.map(Into::into),
                cmdline: cmdline.map(Into::into),
            };
            Attempt {
                time: Time(time),
                system: systems[usize::from(repeat)],
                via,
                tid: number.unwrap_or(7),
                process: Some(Arc::new(process)),
                effective: attempt.requested,
                fd: number.map(u32::cast_signed),
                latency: number.map(|number| Duration::from_nanos(number.into())),
                ifindex: number,
                ifname: IfName::new(b"\xffwg\"0"),
                options,
                privileged,
                repeat,
                seccomp,
                reset,
                stages,
                before,
                cause: cause.map(Arc::new),
                ..attempt
            }
        },
    );
    strategy.boxed()
}

fn options() -> impl Strategy<Value = Options> {
    any::<[bool; 8]>().prop_map(|set| Options {
        reuseaddr: set[0],
        reuseport: set[1],
        freebind: set[2],
        transparent: set[3],
        bind_address_no_port: set[4],
        v6only: set[5],
        nonblock: set[6],
        broadcast: set[7],
    })
}

fn stages() -> impl Strategy<Value = Stages> {
    let ret = option::of(-4095..=0);
    let lsm = option::of(select(Lsm::ALL.to_vec()));
    (ret.clone(), lsm, ret.clone(), ret, any::<bool>()).prop_map(
        |(lsm, lsm_name, cgroup, operation, syn_sent)| Stages {
            lsm,
            lsm_name,
            cgroup,
            operation,
            get_port: cgroup,
            connect: lsm,
            syn_sent,
        },
    )
}

fn before() -> impl Strategy<Value = Before> {
    let socket = option::of((any::<[u8; 2]>(), any::<u16>(), option::of(any::<u32>())));
    let credentials = option::of((any::<u64>(), any::<u32>()));
    let number = option::of(any::<u32>());
    (socket, credentials, number).prop_map(|(socket, credentials, number)| Before {
        socket: socket.map(|([state, socket_state], port, uid)| SocketBefore {
            state,
            socket_state,
            port,
            uid,
        }),
        net_user_ns: number,
        net_user_ns_level: number,
        net_user_ns_owner: number,
        unprivileged_port_start: number,
        credentials: credentials.map(|(cap_effective, user_ns)| Credentials {
            cap_effective,
            user_ns,
            level: number,
        }),
    })
}

fn cause() -> impl Strategy<Value = Cause> {
    let words = (select(Code::ALL.to_vec()), select(Confidence::ALL.to_vec()));
    let fix = (any::<String>(), option::of(any::<String>())).prop_map(|(what, command)| Fix {
        what,
        opens: command.clone(),
        command,
    });
    let texts = vec(any::<String>(), 0..2);
    (
        words,
        any::<String>(),
        vec(fix, 0..2),
        texts,
        vec(holder().boxed(), 0..2),
        vec((select(Code::ALL.to_vec()), any::<String>()), 0..3),
    )
        .prop_map(
            |((code, confidence), text, fixes, texts, holders, candidates)| Cause {
                code,
                text,
                fixes,
                confidence,
                evidence: texts.clone(),
                next: texts,
                holders_unseen: holders.is_empty().then_some(Unseen::Permission),
                holders,
                candidates: candidates
                    .into_iter()
                    .map(|(code, text)| Candidate { code, text })
                    .collect(),
            },
        )
}

fn missing<T>(number: u16) -> Lookup<T> {
    let unseen = Unseen::ALL.get(usize::from(number % 7));
    unseen.map_or(Lookup::NotThere, |why| Lookup::NotSeen(*why))
}

fn holder() -> impl Strategy<Value = Holder> {
    let state = select(SocketState::ALL.to_vec());
    let flag = option::of(any::<bool>());
    (
        option::of(attempts()),
        state,
        any::<std::net::IpAddr>(),
        flag,
        any::<u16>(),
    )
        .prop_map(|(caller, state, ip, flag, port)| Holder {
            since: caller.as_ref().map(|_| Time(i64::from(port))),
            uid: caller.as_ref().map(|caller| caller.uid),
            bound_by: caller.as_ref().map(|caller| Binder {
                tgid: caller.tgid,
                comm: caller.comm,
            }),
            process: caller.map_or(missing(port), |caller| {
                Lookup::Found(HoldingProcess {
                    tgid: caller.tgid,
                    fd: caller.fd,
                    comm: caller.comm,
                    exe: Some("/usr/bin/nc".into()),
                    cgroup: caller.cgroup,
                })
            }),
            state,
            ip,
            port,
            peer: flag.map(|_| (ip, port)),
            inode: flag.map(|_| port.into()),
            kernel: flag == Some(true),
            reuseaddr: flag,
            reuseport: flag,
            v6only: flag,
            ifindex: flag.map(|_| port.into()),
            queue: flag.map(|_| AcceptQueue {
                waiting: port.into(),
                backlog: 1,
            }),
        })
}

#[test]
fn what_is_not_about_attempts_is_printed_again_byte_for_byte() {
    for line in [
        r#"{"v":1,"kind":"lost","time":"2026-11-22T16:45:48.000000000Z","count":5,"reason":"ring_full","where":"cpu 1"}"#,
        r#"{"v":1,"kind":"lost","time":"2026-11-22T16:45:48.000000000Z","count":5,"reason":"recursion","where":"fexit:inet_bind"}"#,
        r#"{"v":1,"kind":"degraded","time":"2026-11-22T16:45:48.000000000Z","what":"less","why":"so","remedy":null}"#,
    ] {
        assert_eq!(again(0, line), format!("{line}\n"));
    }
}

proptest! {
    #[test]
    fn attempts_are_printed_again_byte_for_byte(seq in any::<u64>(), attempt in whole()) {
        // Sources tell what the caller gets: no attempt has an error that only the kernel knows.
        let attempt = Attempt { ret: attempt.ret.map(to_caller), ..attempt };
        let line = printed(seq, &Event::Attempt(attempt), &mut users());
        prop_assert_eq!(again(seq, &line), line);
    }

    #[test]
    fn outcomes_are_printed_again_byte_for_byte(
        seq in any::<u64>(),
        ret in -4095..0_i32,
        end in 0..3_u8,
        cause in option::of(cause()),
        reset in any::<bool>(),
    ) {
        let outcome = OutcomeOf {
            seq,
            attempt: attempt(),
            ended: Ended {
                id: AttemptId::default(),
                time: Time(i64::from(ret)),
                latency: Duration::from_nanos(seq),
                end: [End::Connected, End::Failed(ret), End::Abandoned][usize::from(end)],
                reset,
            },
            lasted: false, cause: cause.map(Arc::new),
        };
        let line = printed(seq, &Event::Outcome(outcome), &mut nobody());
        prop_assert_eq!(again(seq, &line), line);
    }

    #[test]
    fn a_line_that_is_cut_or_changed_never_panics(
        attempt in whole(),
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let mut line = printed(1, &Event::Attempt(attempt), &mut users()).into_bytes();
        let at = at.index(line.len());
        prop_assert!(parse(&line[..at.min(line.len() - 2)]).is_err());
        line[at] = byte;
        drop(parse(&line));
    }

    #[test]
    fn no_bytes_are_too_strange(bytes in vec(any::<u8>(), 0..200)) {
        let mut recording = Recording::of(Cursor::new(bytes)).unwrap();
        while let Ok(Some(_)) = recording.read_line() {}
    }
}

fn why(line: &str) -> String {
    parse(line.as_bytes()).unwrap_err()
}

#[test]
fn what_is_wrong_with_a_line_is_said() {
    assert_eq!(why("{"), "EOF while parsing an object, at column 1");
    assert_eq!(why(r#"{"v":1}"#), "missing field `kind`, at column 7");
    assert_eq!(
        why(r#"{"v":2,"kind":"attempt"}"#),
        "this is version 2 of the format, and 1 can be read"
    );
    let lost = |reason, place| {
        format!(
            r#"{{"v":1,"kind":"lost","time":"2026-11-22T16:45:48Z","count":5,"reason":"{reason}","where":"{place}"}}"#
        )
    };
    assert_eq!(
        why(&lost("fire", "cpu 1")),
        "the reason `fire` is not known"
    );
    assert!(why(&lost("ring_full", "cpu 1").replace("T16", "x")).contains("at column"));
    let attempt = printed(1, &Event::Attempt(attempt()), &mut users());
    for (from, to, expected) in [
        (
            "\"bind\"",
            "\"steal\"",
            "the operation `steal` is not known",
        ),
        (
            "\"uid\":1000",
            "\"uid\":-1",
            "invalid value: integer `-1`, expected u32",
        ),
        (
            "\"comm\":\"\"",
            "\"comm\":\"seventeen_bytes_is\"",
            "a command name is too long",
        ),
    ] {
        assert!(attempt.contains(from), "{attempt}");
        let error = why(&attempt.replace(from, to));
        assert!(error.starts_with(expected), "{error}");
    }
}

#[test]
fn what_is_newer_than_this_program_is_passed_over() {
    let line = r#"{"v":1,"kind":"disgraced","hook":7}"#;
    assert!(matches!(
        parse(line.as_bytes()).unwrap().item,
        Item::Unknown
    ));
    let line = printed(1, &Event::Attempt(attempt()), &mut users());
    let newer = line.replace("{\"v\":1,", r#"{"v":1,"mood":{"a":[1]},"#);
    let newer = newer.replace("\"via\":null", r#""via":"carrier pigeon""#);
    assert_ne!(newer, line);
    assert_eq!(again(1, &newer), line);
}

#[test]
fn lines_have_numbers_and_a_greatest_length() {
    let long = "x".repeat(1024 * 1024 + 1);
    let text = format!("{{\"v\":1,\"kind\":\"new\"}}\n{long}\n\n");
    let mut recording = Recording::of(Cursor::new(text)).unwrap();
    let mut next = || recording.read_line().unwrap().map(|line| line.map(|_| ()));
    assert_eq!(next(), Some(Ok(())));
    let unreadable = |line, why: &str| {
        Some(Err(Unreadable {
            line,
            why: why.to_owned(),
        }))
    };
    assert_eq!(next(), unreadable(2, "it has more than 1048576 bytes"));
    assert_eq!(
        next(),
        unreadable(3, "EOF while parsing a value, at column 0")
    );
    assert_eq!(next(), None);
}
