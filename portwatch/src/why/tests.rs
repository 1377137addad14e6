use clap::Parser as _;

use super::{Answer, Answers, Conclusion, Person, Question, Tried, Wrong, render_text};
use crate::{
    cli::{self, Cli, Command},
    errno::Errno,
    event::{Comm, Holders, IfName, Lookup, Options, Requested, System, Unseen},
    explain::{
        self, Address, Assigned, Facts, Ports, Route, RouteKind,
        predict::{Caller, Expected, Network, Reach, Situation, Subject, predict},
    },
    users::Users,
};

fn typed(words: &str) -> cli::Why {
    let words = words.split_whitespace();
    match Cli::try_parse_from(words).unwrap().command {
        Some(Command::Why(typed)) => typed,
        other => panic!("{other:?}"),
    }
}

fn users() -> Users {
    Users::with_lookups(
        |uid| (uid == 1000).then(|| "alice".to_owned()),
        |name| (name == "alice").then_some(1000),
    )
}

/// An ordinary user of a host where nobody has a port.
fn alice() -> Person {
    Person {
        name: "alice".to_owned(),
        note: None,
        caller: Caller {
            comm: Comm::new(*b"alice\0\0\0\0\0\0\0\0\0\0\0"),
            tgid: 7,
            process: None,
            cgroup: None,
        },
        subject: Subject {
            euid: 1000,
            cap_effective: Some(0),
            user_ns: Some(0xefff_fffd),
            seccomp: Some(false),
            cgroup_programs: None,
        },
        gid: 1000,
        is_caller: true,
        process: None,
    }
}

fn loopback() -> Assigned {
    Assigned {
        ifindex: 1,
        ifname: IfName::new(b"lo"),
        tentative: false,
        dad_failed: false,
        vrf: None,
    }
}

fn facts(question: &Question, to: Requested) -> Facts {
    if question.system != System::Linux {
        return Facts::default();
    }
    let local = to.ip.is_loopback();
    Facts {
        namespace: Some(explain::Namespace::Own),
        lsms: ["landlock", "apparmor", "tomoyo", "bpf"]
            .map(str::to_owned)
            .to_vec(),
        holders: Holders::all(Vec::new()),
        ports: Some(Ports {
            first: 32768,
            last: 60999,
        }),
        address: Address {
            assigned: if local {
                Lookup::Found(loopback())
            } else {
                Lookup::NotThere
            },
            nonlocal_bind: Some(false),
            ..Address::default()
        },
        route: Lookup::Found(Route {
            kind: if local {
                RouteKind::Local
            } else {
                RouteKind::None
            },
            interface: None,
            gateway: None,
            source: None,
        }),
        ..Facts::default()
    }
}

fn situation(question: &Question, to: Requested) -> Situation {
    let Person {
        caller, subject, ..
    } = alice();
    Situation {
        system: question.system,
        op: question.op,
        proto: question.proto,
        to,
        options: Options::default(),
        device: None,
        caller,
        subject,
        network: Network {
            netns: Some(1),
            user_ns: Some(0xefff_fffd),
            reach: Reach::Same,
            unprivileged_port_start: Some(1024),
            ipv6: true,
        },
        facts: facts(question, to),
    }
}

fn answers(words: &str) -> Answers {
    let question = Question::new(&typed(words), &users()).unwrap();
    let answers = question.addresses.iter().map(|place| {
        let to = Requested {
            ip: place.ip,
            port: question.port,
            scope_id: 0,
        };
        let situation = situation(&question, to);
        Answer {
            prediction: predict(&situation),
            situation,
            tried: None,
        }
    });
    Answers {
        answers: answers.collect(),
        person: alice(),
        not_copied: Vec::new(),
    }
}

/// The blocks of docs/WHY.md that show alice's questions.
fn documented() -> Vec<(String, String)> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/WHY.md");
    let text = std::fs::read_to_string(path).unwrap();
    let blocks = text.split("```console\n$ portwatch why ").skip(1);
    let blocks = blocks.map(|block| {
        let block = block.split("```").next().unwrap();
        let (command, output) = block.split_once('\n').unwrap();
        (format!("portwatch why {command}"), output.to_owned())
    });
    blocks.collect()
}

#[test]
fn the_document_shows_what_is_printed() {
    let blocks = documented();
    assert!(blocks.len() >= 4);
    for (command, output) in blocks {
        let text = render_text(&answers(&command), Some(80), false, &mut users());
        assert_eq!(text, output, "$ {command}\n{text}");
    }
}

#[test]
fn no_line_is_wider_than_the_terminal_but_commands() {
    for words in [
        "portwatch why 80",
        "portwatch why 198.51.100.1:80",
        "portwatch why 80 --connect",
    ] {
        let text = render_text(&answers(words), Some(80), false, &mut users());
        for line in text.lines().filter(|line| !line.contains("sysctl")) {
            assert!(line.len() <= 80, "{line}");
        }
    }
}

#[test]
fn colours_change_nothing_else() {
    let answers = answers("portwatch why 80");
    let plain = render_text(&answers, Some(80), false, &mut users());
    let coloured = render_text(&answers, Some(80), true, &mut users());
    assert!(coloured.contains("\u{1b}["));
    assert_eq!(anstream::adapter::strip_str(&coloured).to_string(), plain);
}

#[test]
fn a_hostile_name_does_not_reach_the_terminal() {
    let mut answers = answers("portwatch why 80");
    answers.person.name = "evil\u{1b}[2J\u{202e}".to_owned();
    let text = render_text(&answers, None, false, &mut users());
    assert!(!text.contains(['\u{1b}', '\u{202e}']), "{text:?}");
}

fn tried(ret: i32) -> Tried {
    Tried {
        call: "bind".to_owned(),
        ret,
        local: None,
    }
}

#[test]
fn the_kernel_has_the_last_word() {
    let after = |words: &str, ret| {
        let mut answers = answers(words);
        for answer in &mut answers.answers {
            answer.tried = Some(tried(ret));
        }
        let text = render_text(&answers, None, false, &mut users());
        (answers.conclusion(), text)
    };
    let (conclusion, text) = after("portwatch why 127.0.0.1:80", -13);
    assert_eq!(conclusion, Conclusion::Fails);
    assert!(
        text.contains("tried: EACCES from bind(), as predicted"),
        "{text}"
    );
    let (conclusion, text) = after("portwatch why 127.0.0.1:8080", 0);
    assert_eq!(conclusion, Conclusion::Ok);
    assert!(text.contains("tried: ok, as predicted"), "{text}");
    let (conclusion, text) = after("portwatch why 127.0.0.1:8080", -1);
    assert_eq!(conclusion, Conclusion::Unknown);
    assert!(text.starts_with("alice may not bind"), "{text}");
    assert!(
        text.contains(
            "TRIED: EPERM from bind(), BUT PREDICTED WAS ok; not known are: security modules"
        ),
        "{text}"
    );
    let (conclusion, text) = after("portwatch why 127.0.0.1:80", 0);
    assert_eq!(conclusion, Conclusion::Unknown);
    assert!(
        text.contains("TRIED: ok, BUT PREDICTED WAS EACCES"),
        "{text}"
    );
}

#[test]
fn the_far_end_of_a_connect_is_no_disagreement() {
    let mut answers = answers("portwatch why 198.51.100.1:80 --connect");
    let answer = &mut answers.answers[0];
    answer.situation.facts.route.as_mut().found().unwrap().kind = RouteKind::Unicast;
    answer.prediction = predict(&answer.situation);
    assert_eq!(answer.prediction.result, Expected::Ok);
    answer.tried = Some(tried(-111));
    assert_eq!(answer.agrees(), None);
    assert_eq!(answer.errno(), Errno::from_ret(-111));
    assert_eq!(answers.conclusion(), Conclusion::Fails);
}

#[test]
fn what_cannot_be_told_is_no_success() {
    let mut answers = answers("portwatch why 127.0.0.1:8080");
    let answer = &mut answers.answers[0];
    answer.situation.facts.holders = Holders::not_seen(Unseen::Permission);
    answer.prediction = predict(&answer.situation);
    assert_eq!(answers.conclusion(), Conclusion::Unknown);
    let text = render_text(&answers, None, false, &mut users());
    assert!(
        text.starts_with("it cannot be told whether alice may bind 127.0.0.1:8080"),
        "{text}"
    );
}

#[test]
fn another_system_can_be_asked_about_but_not_tried() {
    let question = |words| Question::new(&typed(words), &users()).map(|question| question.system);
    assert!(question("portwatch why 80 --os macos-14").is_ok());
    assert_eq!(
        question("portwatch why 80 --os macos-14 --try"),
        Err(Wrong::TryElsewhere)
    );
    assert_eq!(
        question("portwatch why 80 --os macos-14 --connect"),
        Err(Wrong::ConnectElsewhere)
    );
}
