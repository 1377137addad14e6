//! The documents against the program: their commands parse, their tables say what it says.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use clap::{CommandFactory as _, Parser as _, error::ErrorKind};
use portwatch::{
    cli::Cli,
    event::{Event, LossReason, Op, Outcome, Runtime, Via},
    explain::predict::Station,
    fields,
    filter::Field,
    output::json::JsonPrinter,
    source::Kind,
    users::Users,
};
use serde_json::Value;

use super::{
    run::printed,
    sample::{attempt, events, options},
};

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
    let summary = events().into_iter().map(|(_, event)| as_json(&event));
    let summary = summary.into_iter().find(|line| line["kind"] == "summary");
    let pending = &summary.unwrap()["pending"];
    assert_eq!(keys(pending), documented("Connects without an end"));
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
    const OBJECTS: [(&str, &str); 9] = [
        ("container", "A container"),
        ("stages", "Stages"),
        ("before", "Before"),
        ("cause", "A cause"),
        ("cause.fix", "A fix"),
        ("cause.holder", "A holder"),
        ("cause.holder.container", "A container"),
        ("pending", "Connects without an end"),
        ("attempts", ""),
    ];
    let kinds = ["start", "attempt", "outcome", "lost", "degraded", "summary"];
    let mut names: BTreeSet<_> = kinds.into_iter().flat_map(documented).collect();
    for (object, heading) in OBJECTS {
        assert!(names.remove(object), "{object}");
        let below = match heading {
            "" => ["bind", "connect", "listen"]
                .into_iter()
                .flat_map(|op| Outcome::ALL.map(|end| format!("{op}.{}", end.name())))
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
    JsonPrinter::default()
        .print(&mut line, 1, event, &mut users)
        .unwrap();
    serde_json::from_slice(&line).unwrap()
}
