//! The documents against the program: their commands parse, their tables say what it says.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use clap::{CommandFactory as _, Parser as _, error::ErrorKind};
use portwatch::{
    cli::Cli,
    errno::Errno,
    event::{
        Attempt, AttemptId, Before, Cause, Cgroup, Code, Comm, Confidence, Container, Credentials,
        Degradation, Degraded, End, Ended, Event, Family, Fix, Holder, HoldingProcess, IfName,
        Local, LossReason, Lost, Lsm, MissingHook, Op, Options, Outcome, OutcomeOf, Place, Process,
        Proto, Requested, Runtime, SocketBefore, SocketState, Stages, Start, Summary, Time, Via,
    },
    explain::predict::Station,
    fields,
    filter::Field,
    output::json,
    source::Kind,
    users::Users,
};
use serde_json::Value;

use super::run::printed;

fn root() -> &'static Path {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    package.parent().unwrap()
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn documents() -> Vec<PathBuf> {
    let docs = fs::read_dir(root().join("docs")).unwrap();
    let docs = docs.map(|entry| Path::new("docs").join(entry.unwrap().file_name()));
    docs.chain([PathBuf::from("README.md")]).collect()
}

/// The commands in the fenced blocks for a shell: all of a `sh` block, and what follows a `$ ` in
/// a `console` block.
fn commands(text: &str) -> Vec<String> {
    let mut commands = Vec::new();
    let mut block = None;
    for line in text.lines() {
        match (line.strip_prefix("```"), block) {
            (Some(language), None) => block = Some(language),
            (Some(_), Some(_)) => block = None,
            (None, Some("sh")) => commands.push(line.to_owned()),
            (None, Some("console")) => {
                commands.extend(line.strip_prefix("$ ").map(str::to_owned));
            }
            (None, _) => {}
        }
    }
    assert_eq!(block, None, "a block is not closed");
    commands
}

/// The words of a command, without sudo and up to a comment, a pipe or a redirection. What stands
/// in single quotes is one word.
fn words(command: &str) -> Vec<&str> {
    let mut quoted = false;
    let words = command.split(|character: char| {
        quoted ^= character == '\'';
        character == '\'' || (character.is_whitespace() && !quoted)
    });
    let words = words.filter(|word| !word.is_empty() && *word != "sudo");
    words
        .take_while(|word| !word.starts_with(['#', '|', '>', '&']))
        .collect()
}

/// What is wrong with a command that is portwatch's or xtask's; `None` for others too.
fn fault(words: &[&str]) -> Option<String> {
    match words {
        ["portwatch", ..] => portwatch_fault(words),
        ["cargo", "xtask", "run", rest @ ..] => {
            let arguments = rest.strip_prefix(&["--"]).unwrap_or(rest);
            portwatch_fault(&[&["portwatch"], arguments].concat())
        }
        ["cargo", "xtask", "vm", rest @ ..] => {
            let start = rest.iter().position(|word| *word == "--")?;
            fault(&rest[start + 1..])
        }
        ["cargo", "xtask", task, ..] => {
            (!tasks().contains(*task)).then(|| format!("xtask has no task `{task}`"))
        }
        _ => None,
    }
}

fn portwatch_fault(words: &[&str]) -> Option<String> {
    match Cli::try_parse_from(words) {
        Err(error)
            if !matches!(
                error.kind(),
                ErrorKind::DisplayHelp | ErrorKind::DisplayVersion
            ) =>
        {
            Some(error.to_string())
        }
        _ => None,
    }
}

/// The variants of `enum Task` in xtask/src/main.rs, as they are typed.
fn tasks() -> BTreeSet<String> {
    let source = read("xtask/src/main.rs");
    let body = source.split("enum Task {").nth(1).unwrap();
    let body = body.split("\n}").next().unwrap();
    let names = body.lines().map(str::trim).filter_map(|line| {
        let end = line.find(['(', ','])?;
        line.starts_with(|c: char| c.is_ascii_uppercase())
            .then(|| line[..end].to_lowercase())
    });
    names.collect()
}

#[test]
fn every_command_in_the_documents_parses() {
    let mut checked = 0;
    for path in documents() {
        let path = path.to_str().unwrap();
        for command in commands(&read(path)) {
            let words = words(&command);
            checked += usize::from(matches!(
                words[..],
                ["portwatch", ..] | ["cargo", "xtask", ..]
            ));
            if let Some(fault) = fault(&words) {
                panic!("{path}: {command}\n{fault}");
            }
        }
    }
    assert!(checked >= 20, "only {checked} commands were found");
}

#[test]
fn a_wrong_command_would_be_found() {
    let text =
        "```sh\nportwatch --nope\n```\n```console\n$ cargo xtask nope\nportwatch: output\n```";
    let commands = commands(text);
    assert_eq!(commands, ["portwatch --nope", "cargo xtask nope"]);
    assert!(
        commands
            .iter()
            .all(|command| fault(&words(command)).is_some())
    );
    assert_eq!(fault(&words("sudo portwatch -x | head -n 3")), None);
}

#[test]
fn exit_codes_are_those_of_the_help() {
    let help = printed(&["--help"]);
    let help = help.split("Exit status:\n").nth(1).unwrap();
    let said: BTreeMap<_, _> = help
        .lines()
        .filter_map(|line| line.trim().split_once("  "))
        .map(|(code, meaning)| (code.to_owned(), meaning.to_owned()))
        .collect();
    let written: BTreeMap<_, _> = rows(&read("README.md"), "Exit codes").into_iter().collect();
    assert_eq!(written, said);
}

#[test]
fn links_lead_somewhere() {
    for path in documents() {
        let text = read(path.to_str().unwrap());
        for link in text
            .split("](")
            .skip(1)
            .filter_map(|rest| rest.split(')').next())
        {
            let file = link.split('#').next().unwrap();
            let target = root().join(path.parent().unwrap()).join(file);
            let outside = link.starts_with("https://");
            assert!(outside || target.exists(), "{}: {link}", path.display());
        }
    }
}

#[test]
fn every_hook_and_source_is_described() {
    let hooks = read("portwatch/src/source/ebpf/hooks.rs");
    let kernels = read("docs/KERNELS.md");
    let functions = [
        "Fentry(\"",
        "Fexit(\"",
        "Kprobe(\"",
        "Kretprobe(\"",
        "TracepointBtf(\"",
    ]
    .into_iter()
    .flat_map(|place| {
        let names = hooks.split(place).skip(1);
        names.filter_map(|rest| rest.split('"').next())
    });
    for function in functions {
        assert!(kernels.contains(&format!("`{function}`")), "{function}");
    }
    for kind in Kind::ALL {
        let heading = format!("## {}\n", kind.name());
        assert!(kernels.contains(&heading), "{heading}");
    }
}

/// The rows of the table under a heading: first and second cell, without backticks.
fn rows(text: &str, heading: &str) -> Vec<(String, String)> {
    let lines = text
        .lines()
        .skip_while(|line| line.trim_start_matches('#').trim() != heading);
    let section = lines.skip(1).take_while(|line| !line.starts_with('#'));
    let rows: Vec<_> = section
        .filter_map(|line| line.strip_prefix("| "))
        // The titles
        .skip(1)
        .filter_map(|row| {
            let mut cells = row.split(" | ").map(|cell| cell.trim_end_matches(" |"));
            Some((
                cells.next()?.replace('`', ""),
                cells.next()?.replace('`', ""),
            ))
        })
        .collect();
    assert!(!rows.is_empty(), "no table under {heading}");
    rows
}

#[test]
fn every_filter_is_described_with_its_options() {
    let rows = rows(&read("docs/FILTERS.md"), "Fields");
    let fields: Vec<_> = rows.iter().map(|(field, _)| field.as_str()).collect();
    assert_eq!(fields, Field::ALL.map(Field::name));
    let command = Cli::command();
    for option in rows.iter().flat_map(|(_, options)| options.split(", ")) {
        let known = command.get_arguments().any(|argument| {
            let long = argument.get_long_and_visible_aliases();
            let long = long.is_some_and(|names| names.contains(&option.trim_start_matches("--")));
            let short = argument.get_short_and_visible_aliases().unwrap_or_default();
            let hidden = argument.get_all_short_aliases().unwrap_or_default();
            let mut shorts = short.iter().chain(&hidden);
            long || shorts.any(|short| option == format!("-{short}"))
        });
        assert!(known, "{option}");
    }
}

/// The fields that docs/EVENTS.md gives under a heading.
pub(super) fn documented(heading: &str) -> BTreeSet<String> {
    let rows = rows(&read("docs/EVENTS.md"), heading);
    rows.into_iter().map(|(field, _)| field).collect()
}

#[test]
fn fields_of_every_event_are_the_documented_ones() {
    for (kind, event) in events() {
        let object = as_json(&event);
        assert_eq!(object["kind"], kind);
        assert_eq!(keys(&object), documented(kind));
    }
}

#[test]
fn values_of_every_field_are_documented() {
    let text = read("docs/EVENTS.md");
    let vias = [
        Via::Syscall,
        Via::Compat32,
        Via::IoUring,
        Via::FastOpen,
        Via::Bindx,
        Via::Connectx,
        Via::Kernel,
    ];
    let losses = [
        LossReason::RingFull,
        LossReason::InflightFull,
        LossReason::PendingFull,
        LossReason::Recursion,
        LossReason::ProbeMissed,
    ];
    let names = vias.map(Via::name).into_iter().chain(options().names());
    let names = names.chain(losses.map(LossReason::name));
    let runtimes = [
        Runtime::Docker,
        Runtime::Containerd,
        Runtime::CriO,
        Runtime::Podman,
        Runtime::Lxc,
        Runtime::SystemdNspawn,
    ];
    let names = names.chain(runtimes.map(Runtime::name));
    for name in names.chain([Op::Bind, Op::Connect, Op::Listen].map(Op::name)) {
        assert!(text.contains(&format!("`\"{name}\"`")), "{name}");
    }
}

#[test]
fn fields_of_nested_objects_are_documented() {
    let (_, start) = &events()[0];
    let start = as_json(start);
    assert_eq!(keys(&start["missing"][0]), documented("A missing hook"));
    assert_eq!(keys(&start["degradations"][0]), documented("A degradation"));
    let attempt = as_json(&Event::Attempt(attempt()));
    assert_eq!(keys(&attempt["container"]), documented("A container"));
    assert_eq!(keys(&attempt["stages"]), documented("Stages"));
    assert_eq!(keys(&attempt["before"]), documented("Before"));
    let cause = &attempt["cause"];
    assert_eq!(keys(cause), documented("A cause"));
    assert_eq!(keys(&cause["fix"][0]), documented("A fix"));
    assert_eq!(keys(&cause["holder"][0]), documented("A holder"));
}

#[test]
fn checks_of_an_answer_are_documented() {
    let text = read("docs/EVENTS.md");
    for station in Station::ALL {
        assert!(
            text.contains(&format!("`\"{}\"`", station.name())),
            "{}",
            station.name()
        );
    }
}

/// The fields of every kind, as `--fields` takes them: those of an object, and of the first of an
/// array of objects, behind its name and a dot.
fn documented_names() -> BTreeSet<String> {
    const OBJECTS: [(&str, &str); 8] = [
        ("container", "A container"),
        ("stages", "Stages"),
        ("before", "Before"),
        ("cause", "A cause"),
        ("cause.fix", "A fix"),
        ("cause.holder", "A holder"),
        ("cause.holder.container", "A container"),
        ("attempts", ""),
    ];
    let kinds = ["start", "attempt", "outcome", "lost", "degraded", "summary"];
    let mut names: BTreeSet<_> = kinds.into_iter().flat_map(documented).collect();
    for (object, heading) in OBJECTS {
        assert!(names.remove(object), "{object}");
        let below = match heading {
            "" => ["bind", "connect", "listen"]
                .into_iter()
                .flat_map(|op| ["ok", "failed", "pending"].map(|end| format!("{op}.{end}")))
                .collect(),
            heading => documented(heading),
        };
        names.extend(below.iter().map(|field| format!("{object}.{field}")));
    }
    names
}

#[test]
fn fields_by_name_are_the_documented_ones() {
    let names: BTreeSet<_> = fields::TABLE
        .iter()
        .map(|field| field.name.to_owned())
        .collect();
    assert_eq!(names, documented_names());
}

/// What is listed as the fields that csv and wide show by default is what they show.
#[test]
fn default_fields_are_documented() {
    let formats = read("docs/FORMATS.md").replace('\n', "");
    for names in [fields::CSV, fields::WIDE] {
        assert!(formats.contains(names), "{names}");
    }
}

/// Each field in JSON is the one that has its name in the table, by its value too.
#[test]
fn fields_by_name_have_the_values_of_json() {
    let (_, event) = &events()[1];
    let line = as_json(event);
    let record = fields::Record::new(1, event);
    for (name, value) in line.as_object().unwrap() {
        let shown = match fields::get(name, &record) {
            fields::Value::Unsigned(number) => Value::from(number),
            fields::Value::Signed(number) => Value::from(number),
            fields::Value::Flag(flag) => Value::from(flag),
            fields::Value::Word(word) => Value::from(word),
            fields::Value::Foreign(bytes) => Value::from(String::from_utf8_lossy(bytes)),
            fields::Value::Address(ip) => Value::from(ip.to_string()),
            fields::Value::Errno(errno) => Value::from(errno.to_string()),
            // Written in a way of their own, which the printers' tests look at
            _ => continue,
        };
        assert_eq!(&shown, value, "{name}");
    }
}

fn keys(object: &Value) -> BTreeSet<String> {
    object.as_object().unwrap().keys().cloned().collect()
}

fn as_json(event: &Event) -> Value {
    let mut line = Vec::new();
    let mut users = Users::with_lookups(|_| Some("alice".to_owned()), |_| None);
    json::print(&mut line, 1, event, &mut users).unwrap();
    serde_json::from_slice(&line).unwrap()
}

/// One of each kind, with every field that can be there.
fn events() -> [(&'static str, Event); 6] {
    let start = Start {
        time: Time(0),
        backend: "kprobe".into(),
        hooks: vec!["kprobe:inet_bind".to_owned()],
        missing: vec![MissingHook {
            hook: "kprobe:inet6_bind".to_owned(),
            why: "no such function".to_owned(),
            unseen: "IPv6 sockets".into(),
        }],
        degradations: vec![Degradation {
            what: "less".to_owned(),
            why: "because".to_owned(),
            remedy: None,
        }],
        kernel: "6.1.0".to_owned(),
        filters: vec!["--failed".to_owned()],
        pid: 1,
    };
    let outcome = OutcomeOf {
        seq: 1,
        attempt: attempt(),
        ended: Ended {
            id: AttemptId::default(),
            time: Time(0),
            latency: Duration::from_micros(1),
            end: End::Failed(-111),
            reset: true,
        },
        cause: Some(Box::new(cause())),
    };
    let lost = Lost {
        time: Time(0),
        count: 1,
        reason: LossReason::RingFull,
        place: Place::Cpu(0),
    };
    let degraded = Degraded {
        time: Time(0),
        degradation: start.degradations[0].clone(),
    };
    [
        ("start", Event::Start(Box::new(start))),
        ("attempt", Event::Attempt(attempt())),
        ("outcome", Event::Outcome(outcome)),
        ("lost", Event::Lost(lost)),
        ("degraded", Event::Degraded(degraded)),
        ("summary", Event::Summary(Box::new(summary()))),
    ]
}

fn summary() -> Summary {
    Summary {
        time: Time(0),
        run_time: Duration::from_secs(1),
        repeats: 0,
        attempts: [((Op::Bind, Outcome::Failed), 1)].into(),
        errnos: Errno::from_ret(-13)
            .map(|errno| (errno, 1))
            .into_iter()
            .collect(),
        lost: [(LossReason::RingFull, 1)].into(),
    }
}

const ASKED: Requested = Requested {
    ip: std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST),
    port: 80,
    scope_id: 2,
};

fn attempt() -> Attempt {
    Attempt {
        id: AttemptId::default(),
        process_start: None,
        effective: Some(ASKED),
        privileged: Some(true),
        repeat: true,
        seccomp: true,
        stages: Stages {
            lsm: Some(0),
            lsm_name: Some(Lsm::Landlock),
            cgroup: Some(0),
            operation: Some(-13),
            get_port: Some(0),
            connect: Some(0),
            syn_sent: true,
        },
        before: Before {
            socket: Some(SocketBefore {
                state: 7,
                socket_state: 1,
                port: 0,
                uid: Some(1000),
            }),
            net_user_ns: Some(1),
            net_user_ns_level: Some(0),
            net_user_ns_owner: Some(0),
            unprivileged_port_start: Some(1024),
            credentials: Some(Credentials {
                cap_effective: 0,
                user_ns: 1,
                level: Some(0),
            }),
        },
        time: Time(0),
        op: Op::Bind,
        via: Some(Via::Syscall),
        tgid: 7,
        tid: 7,
        ppid: Some(1),
        ancestors: None,
        comm: Comm::new(*b"nc\0\0\0\0\0\0\0\0\0\0\0\0\0\0"),
        process: Some(Arc::new(Process {
            exe: Some("/usr/bin/nc".into()),
            cmdline: Some(["nc".to_owned()].into()),
        })),
        uid: 1000,
        euid: Some(1000),
        gid: 1000,
        family: Some(Family::Other(9)),
        proto: Some(Proto::Ip(6)),
        requested: Some(ASKED),
        local: Some(Local {
            ip: [0, 0, 0, 0].into(),
            port: Some(0),
        }),
        fd: Some(3),
        ret: Some(-13),
        latency: Some(Duration::from_micros(1)),
        netns: Some(1),
        cgroup_id: 1,
        cgroup: Some(Arc::new(cgroup())),
        ifindex: Some(1),
        ifname: IfName::new(b"lo"),
        options: Some(options()),
        reset: true,
        cause: Some(Box::new(cause())),
    }
}

fn cause() -> Cause {
    Cause {
        code: Code::PortInUse,
        text: "it is".to_owned(),
        fixes: vec![Fix {
            what: "stop it".to_owned(),
            command: Some("kill 7".to_owned()),
            opens: Some("nothing".to_owned()),
        }],
        confidence: Confidence::Checked,
        evidence: vec!["a look".to_owned()],
        next: vec!["the port is low".to_owned()],
        holders: vec![Holder {
            process: Some(HoldingProcess {
                tgid: 7,
                comm: Comm::new([b'n'; 16]),
                exe: Some("/usr/bin/nc".into()),
                cgroup: Some(Arc::new(cgroup())),
            }),
            uid: Some(1000),
            state: SocketState::Established,
            ip: ASKED.ip,
            port: 80,
            peer: Some((ASKED.ip, 80)),
            inode: Some(1),
            since: Some(Time(0)),
            kernel: false,
            reuseaddr: Some(true),
            reuseport: Some(true),
            v6only: Some(true),
            ifindex: Some(1),
        }],
    }
}

fn cgroup() -> Cgroup {
    Cgroup {
        path: "/".to_owned(),
        unit: Some("nc.service".to_owned()),
        container: Some(Container {
            runtime: Some(Runtime::Docker),
            id: "0".repeat(64),
        }),
    }
}

const fn options() -> Options {
    Options {
        reuseaddr: true,
        reuseport: true,
        freebind: true,
        transparent: true,
        bind_address_no_port: true,
        v6only: true,
        nonblock: true,
        broadcast: true,
    }
}
