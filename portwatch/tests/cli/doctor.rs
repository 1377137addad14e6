//! `portwatch doctor`, whatever this host allows.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{
    documents::documented,
    run::{printed, run_unread},
};

fn keys(object: &Value) -> BTreeSet<String> {
    let object = object.as_object().expect("an object");
    object.keys().cloned().collect()
}

fn items(value: &Value) -> &[Value] {
    value.as_array().expect("an array")
}

#[test]
fn json_is_one_line_with_the_documented_keys() {
    let text = printed(&["doctor", "--json"]);
    assert_eq!(text.lines().count(), 1);
    let document: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(keys(&document), documented("doctor"));
    assert_eq!(document["kind"], "doctor");
    for check in items(&document["checks"]) {
        assert_eq!(keys(check), documented("A check"));
    }
    for source in items(&document["sources"]) {
        assert_eq!(keys(source), documented("A source"));
    }
}

#[test]
fn json_and_table_agree() {
    let document: Value = serde_json::from_str(&printed(&["doctor", "--json"])).unwrap();
    let table = printed(&["doctor"]);
    for check in items(&document["checks"]) {
        let title = check["title"].as_str().unwrap();
        let line = table.lines().find(|line| line.starts_with(title)).unwrap();
        assert!(line.contains(check["status"].as_str().unwrap()), "{line}");
        assert!(line.ends_with(check["detail"].as_str().unwrap()), "{line}");
    }
}

#[test]
fn table_that_nobody_reads_is_no_failure() {
    for arguments in [&["doctor"][..], &["doctor", "--json"]] {
        let ended = run_unread(arguments);
        assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
    }
}
