//! `portwatch replay`, which needs no privileges.

use std::{fs, io::Write as _, process::Stdio};

use super::run::{Ended, portwatch, printed, run, run_unread};

/// Recorded with `portwatch --json --source tracepoint`.
const RECORDING: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cli/recording.jsonl");

#[test]
fn a_recording_is_shown_as_it_was_written() {
    let recorded = fs::read_to_string(RECORDING).unwrap();
    assert_eq!(
        printed(&["replay", RECORDING, "--json"]),
        recorded
    );
}

#[test]
fn it_may_come_through_a_pipe() {
    let mut command = portwatch();
    command.args(["replay", "-", "--json"]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let recorded = fs::read(RECORDING).unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let text = recorded.clone();
    let writer = std::thread::spawn(move || stdin.write_all(&text));
    assert_eq!(child.wait_with_output().unwrap().stdout, recorded);
    writer.join().unwrap().unwrap();
}

#[test]
fn text_is_that_of_a_watch_and_the_rest_goes_to_standard_error() {
    let Ended {
        code,
        stdout,
        stderr,
    } = run(&["replay", RECORDING, "--no-explain", "--op", "bind", "-x"]);
    let columns: Vec<_> = stdout.lines().map(|line| &line[12..]).collect();
    insta::assert_snapshot!(columns.join("\n"), @"");
    insta::assert_snapshot!(stderr, @"");
    assert_eq!(code, Some(0));
}

#[test]
fn what_cannot_be_read_is_named_with_its_line() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("a\u{1b}[2J");
    let recorded = fs::read_to_string(RECORDING).unwrap();
    let wrong = "{\"v\":1,\"kind\":\"attempt\",\"seq\":\"\u{1b}[2J\"}\n";
    fs::write(&file, wrong.to_owned() + &recorded).unwrap();
    let ended = run(&["replay", file.to_str().unwrap(), "--json"]);
    assert_eq!((ended.code, ended.stdout), (Some(1), recorded));
    let stderr = ended
        .stderr
        .replace(directory.path().to_str().unwrap(), "DIR");
    insta::assert_snapshot!(stderr, @"");
}

#[test]
fn a_reader_that_has_gone_is_no_failure() {
    let ended = run_unread(&["replay", RECORDING, "--json"]);
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
}
