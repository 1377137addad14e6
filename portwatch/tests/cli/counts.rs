//! `--summary` and `--group-by`, of a recording.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{
    documents::documented,
    run::{Ended, run},
};

const RECORDING: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cli/recording.jsonl");

fn counted(args: &[&str]) -> Ended {
    let ended = run(&[&["replay", RECORDING], args].concat());
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    ended
}

#[test]
fn attempts_are_counted_and_the_summary_follows() {
    let Ended { stdout, stderr, .. } = counted(&["--group-by", "op,port,errno", "-x"]);
    let columns: Vec<_> = stdout
        .lines()
        .map(|line| line[..line.len().min(38)].trim_end())
        .collect();
    insta::assert_snapshot!(columns.join("\n"), @r"
    COUNT FAILED OP      PORT  ERRNO
        1      1 bind    46363 EADDRINUSE
        1      1 bind    80    EACCES
        1      1 bind    8080  EADDRNOTAVA
        1      1 connect 9     ECONNREFUSE
    ");
    assert!(stderr.contains("attempts in 0.2 s\n") && stderr.ends_with("nothing was lost\n"));
}

#[test]
fn recordings_are_counted_together() {
    let twice = run(&["replay", RECORDING, RECORDING, "--group-by", "op", "-q"]);
    let first = |text: &str| -> u64 {
        let row = text.lines().nth(1).unwrap();
        row.split_whitespace().next().unwrap().parse().unwrap()
    };
    let once = counted(&["--group-by", "op", "-q"]);
    assert_eq!(first(&twice.stdout), 2 * first(&once.stdout));
}

#[test]
fn counts_of_json_are_those_of_the_attempts_and_have_the_documented_fields() {
    let lines = |args| -> Vec<Value> {
        let text = counted(args).stdout;
        let lines = text.lines();
        lines
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    };
    let of_kind = |lines: &[Value], kind: &str| -> Vec<Value> {
        let lines = lines.iter().filter(|line| line["kind"] == kind);
        lines.cloned().collect()
    };
    let listed = of_kind(&lines(&["--json"]), "attempt");
    let counted = lines(&["--json", "--summary"]);
    assert!(of_kind(&counted, "attempt").is_empty());
    let groups = of_kind(&counted, "group");
    let sum = |name: &str| -> u64 {
        let counts = groups.iter().map(|group| group[name].as_u64().unwrap());
        counts.sum()
    };
    let failed = listed
        .iter()
        .filter(|attempt| attempt["outcome"] == "failed");
    assert_eq!(sum("count"), u64::try_from(listed.len()).unwrap());
    assert_eq!(sum("failed"), u64::try_from(failed.count()).unwrap());
    for group in &groups {
        let keys: BTreeSet<_> = group.as_object().unwrap().keys().cloned().collect();
        assert_eq!(keys, documented("group"));
    }
}

#[test]
fn what_cannot_be_counted_like_that_is_refused() {
    let wrong = |args: &[&str]| {
        let ended = run(args);
        assert_eq!(ended.code, Some(2));
        ended.stderr.lines().next().unwrap().to_owned()
    };
    assert_eq!(
        wrong(&["--summary", "-o", "ecs"]),
        "error: --summary and --group-by go with --output text, json or csv"
    );
    assert!(
        wrong(&["--group-by", "com"]).contains("there is no field `com`; did you mean `comm`?")
    );
    assert!(wrong(&["--summary", "--fields", "comm"]).contains("cannot be used with"));
}
