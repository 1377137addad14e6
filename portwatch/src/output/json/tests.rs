use std::{ffi::OsStr, os::unix::ffi::OsStrExt as _, sync::Arc};

use serde_json::{Value, json};

use super::*;
use crate::event::{Cgroup, IfName, Process, Runtime, sample};
use crate::output::sample::{bind, events, hostile, python, unlike, users};

fn printed(attempt: event::Attempt) -> (String, Value) {
    let mut out = Vec::new();
    let users = &mut Users::with_lookups(|_| None, |_| None);
    JsonPrinter::default()
        .print(&mut out, 1, &Event::Attempt(attempt), users)
        .unwrap();
    let line = String::from_utf8(out).unwrap();
    let value = serde_json::from_str(&line).unwrap();
    (line, value)
}

#[test]
fn names_that_others_chose_stay_inside_their_strings() {
    let hostile = "a\",\"uid\":0,\n\u{1b}[2J\u{0}\u{202e}";
    let (line, value) = printed(event::Attempt {
        process: Some(Arc::new(Process {
            exe: Some(OsStr::from_bytes(b"/tmp/\"\n\xff (deleted)").into()),
            cmdline: Some([hostile.to_owned(), String::new()].into()),
        })),
        cgroup: Some(Arc::new(Cgroup {
            path: hostile.to_owned(),
            unit: Some(hostile.to_owned()),
            container: Some(event::Container {
                runtime: Some(Runtime::Lxc),
                id: hostile.to_owned(),
            }),
        })),
        ifname: IfName::new(b"\"\n\xff"),
        ..sample::attempt()
    });
    assert_eq!(line.find('\n'), Some(line.len() - 1));
    assert_eq!(value["exe"], "/tmp/\"\n\u{fffd} (deleted)");
    assert_eq!(value["cmdline"], json!([hostile, ""]));
    assert_eq!(value["cgroup"], hostile);
    assert_eq!(value["unit"], hostile);
    assert_eq!(value["container"], json!({"runtime": "lxc", "id": hostile}));
    assert_eq!(value["ifname"], "\"\n\u{fffd}");
    assert_eq!(value["uid"], 1000);
}

/// Python's own reader, which takes each line strictly, finds the same values as Rust's.
#[test]
fn python_reads_the_same() {
    let mut out = Vec::new();
    let mut printer = JsonPrinter::default();
    let hostile = Event::Attempt(hostile(b"a\n\"b\xff\x1b"));
    for event in events().into_iter().chain([hostile]) {
        printer.print(&mut out, 1, &event, &mut users()).unwrap();
    }
    let text = String::from_utf8(out).unwrap();
    let read: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let script = "import json,sys; print(json.dumps([json.loads(line) for line in open(0, encoding='utf-8')]))";
    assert_eq!(python(script, &text), Value::from(read));
}

#[test]
fn what_is_not_known_of_the_caller_is_absent() {
    let (_, value) = printed(sample::attempt());
    for field in ["exe", "cmdline", "cgroup", "container", "unit", "ifname"] {
        assert_eq!(value.get(field), None);
    }
}

#[test]
fn a_line_is_the_same_whatever_was_written_before() {
    let print = |printer: &mut JsonPrinter, attempt: event::Attempt| {
        let mut out = Vec::new();
        printer
            .print(&mut out, 1, &Event::Attempt(attempt), &mut users())
            .unwrap();
        String::from_utf8(out).unwrap()
    };
    let mut used = JsonPrinter::default();
    for attempt in unlike() {
        for attempt in [bind(), attempt] {
            let fresh = print(&mut JsonPrinter::default(), attempt.clone());
            assert_eq!(print(&mut used, attempt), fresh);
        }
    }
}
