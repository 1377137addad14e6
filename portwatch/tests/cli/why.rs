//! `portwatch why`, as far as it is the same on every host.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{
    documents::documented,
    run::{Ended, printed, run, run_unread},
};

fn keys(object: &Value) -> BTreeSet<String> {
    let object = object.as_object().expect("an object");
    object.keys().cloned().collect()
}

fn refusal(arguments: &[&str]) -> String {
    let ended = run(&[&["why"], arguments].concat());
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(2), ""));
    ended.stderr.lines().next().unwrap_or_default().to_owned()
}

/// Port 1 of this host, where nobody listens: the same answer for everybody.
const REFUSED: [&str; 4] = ["why", "127.0.0.1:1", "--connect", "--try"];

#[test]
fn json_is_one_line_with_the_documented_keys() {
    let Ended {
        code,
        stdout,
        stderr,
    } = run(&[&REFUSED[..], &["--json"]].concat());
    assert_eq!((code, stderr.as_str()), (Some(5), ""));
    assert_eq!(stdout.lines().count(), 1);
    let document: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(keys(&document), documented("why"));
    let answer = &document["answers"][0];
    let mut found = keys(answer);
    // Of a link-local address only.
    found.insert("scope_id".to_owned());
    assert_eq!(found, documented("An answer"));
    assert_eq!(keys(&answer["tried"]), documented("A trial"));
    let mut checks = BTreeSet::new();
    for check in answer["checks"].as_array().unwrap() {
        checks.extend(keys(check));
    }
    assert_eq!(checks, documented("A check of an answer"));
    assert_eq!(answer["result"], "fails");
    assert_eq!(answer["tried"]["agrees"], true);
}

#[test]
fn the_first_line_is_the_answer() {
    let ended = run(&REFUSED);
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(5), ""));
    let first = ended.stdout.lines().next().unwrap();
    let expected = " cannot connect to 127.0.0.1:1 (tcp): ECONNREFUSED Connection refused";
    assert!(first.ends_with(expected), "{first}");
    assert!(ended.stdout.contains("as predicted"), "{}", ended.stdout);
}

#[test]
fn the_four_binds_of_an_ordinary_user_on_macos() {
    let ask =
        |address: &str, system: &str| run(&["why", address, "--user", "4711", "--os", system]).code;
    assert_eq!(ask("127.0.0.1:55555", "macos-10.14"), Some(0));
    assert_eq!(ask("127.0.0.1:55555", "macos-10.15"), Some(5));
    for (address, before, since) in [
        ("0.0.0.0:80", 5, 0),
        ("127.0.0.1:80", 5, 5),
        ("[::]:80", 5, 0),
        ("[::1]:80", 5, 5),
        ("127.0.0.1:8080", 0, 0),
    ] {
        assert_eq!(ask(address, "macos-10.13"), Some(before), "{address}");
        for version in ["macos-10.14", "macos-14", "macos-15", "macos-26"] {
            assert_eq!(ask(address, version), Some(since), "{address} {version}");
        }
    }
    let root = ["why", "0.0.0.0:55555", "--user", "0", "--os", "macos-14"];
    let ended = run(&root);
    assert_eq!(ended.code, Some(5));
    assert!(ended.stdout.contains("EADDRINUSE"), "{}", ended.stdout);
}

#[test]
fn a_wrong_question_is_no_answer() {
    insta::assert_snapshot!(refusal(&["http"]), @"error: `http` is no port; ask for 80, 127.0.0.1:80, [::1]:80 or localhost:80");
    insta::assert_snapshot!(refusal(&["::1"]), @"error: `::1` has no port; ask for 80, 127.0.0.1:80, [::1]:80 or localhost:80");
    insta::assert_snapshot!(refusal(&["0", "--connect"]), @"error: a connect needs a port above 0");
    insta::assert_snapshot!(refusal(&["127.0.0.1:80", "-6"]), @"error: `127.0.0.1:80` has no such address");
    insta::assert_snapshot!(refusal(&["80", "--user", "nosuchuser"]), @"error: there is no user `nosuchuser` on this host; a number works without a name: --user 1000");
    insta::assert_snapshot!(refusal(&["80", "--os", "windows"]), @"error: `windows` is no system that can be asked about; linux, macos-14 and macos-10.13 are");
    insta::assert_snapshot!(refusal(&["80", "--os", "macos-14", "--try"]), @"error: only this host's own kernel can be tried: leave out --try or --os");
    insta::assert_snapshot!(refusal(&["80", "--os", "macos-14", "--connect"]), @"error: of macOS only binds are known: leave out --connect");
    insta::assert_snapshot!(refusal(&["80", "--device", "a-name-that-is-too-long"]), @"error: `a-name-that-is-too-long` is no name of an interface");
    insta::assert_snapshot!(refusal(&["80", "--user", "0", "--pid", "1"]), @"error: the argument '--user <USER>' cannot be used with '--pid <PID>'");
}

#[test]
fn what_is_not_there_has_no_answer() {
    for arguments in [
        &["why", "80", "--pid", "4294967295"][..],
        &["why", "80", "--netns", "no-such-namespace"],
        &["why", "[fe80::1%nosuch]:80"],
    ] {
        let ended = run(arguments);
        assert_eq!((ended.code, ended.stdout.as_str()), (Some(1), ""));
        assert!(
            ended.stderr.starts_with("portwatch: there is no "),
            "{}",
            ended.stderr
        );
    }
}

#[test]
fn causes_are_listed_with_the_documented_keys() {
    let document: Value = serde_json::from_str(&printed(&["explain", "EACCES", "--json"])).unwrap();
    assert_eq!(keys(&document), documented("explain"));
    let causes = document["causes"].as_array().unwrap();
    assert!(causes.len() > 3, "{causes:?}");
    for cause in causes {
        assert_eq!(keys(cause), documented("A cause in general"));
    }
    let text = printed(&["explain", "13"]);
    for cause in causes {
        let code = cause["code"].as_str().unwrap();
        assert!(text.contains(&format!("\n{code}: ")), "{code}");
    }
}

#[test]
fn causes_are_those_of_the_system_and_its_version() {
    let codes = |what: &str, os: &str| {
        let json = printed(&["explain", what, "--os", os, "--json"]);
        let document: Value = serde_json::from_str(&json).unwrap();
        document["causes"].to_string()
    };
    assert!(codes("48", "macos-10.15").contains("macos_restricted_port"));
    assert!(!codes("48", "macos-10.14").contains("macos_restricted_port"));
    assert!(!codes("98", "linux").contains("macos_"));
    assert!(codes("EPERM", "macos-14").contains("macos_policy_denied"));
    let text = printed(&["explain", "EDESTADDRREQ", "--os", "macos-15"]);
    assert!(
        text.contains("on macOS 15,") && text.contains("\nbad_pointer: "),
        "{text}"
    );
}

#[test]
fn a_cause_that_is_not_known_gets_a_suggestion() {
    let ended = run(&["explain", "EACCESS"]);
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(2), ""));
    insta::assert_snapshot!(ended.stderr, @r"
    error: `EACCESS` is no error and no cause; did you mean EACCES?

    Usage: portwatch explain [OPTIONS] <ERROR|CAUSE>

    For more information, try '--help'.
    ");
}

#[test]
fn an_answer_that_nobody_reads_is_no_failure() {
    for arguments in [&["why", "8080"][..], &["why", "8080", "--json"]] {
        let ended = run_unread(&[arguments, &["--os", "macos-14"]].concat());
        assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
    }
}
