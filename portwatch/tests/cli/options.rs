//! Options from files and from the environment, as the command takes them.

use std::fs;

use super::run::{ended, portwatch, printed};

#[test]
fn resulting_options_say_where_they_come_from() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("portwatch.toml");
    fs::write(&file, "failed = true\nport = [80, 443]\n").unwrap();
    let file = file.to_str().unwrap();
    let mut command = portwatch();
    command.args(["--config", file, "--print-config", "-u", "0"]);
    let ended = ended(command.env("PORTWATCH_OUTPUT", "json")).unwrap();
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
    let said = ended.stdout.replace(file, "FILE");
    insta::assert_snapshot!(said);
}

#[test]
fn a_replay_takes_them_too() {
    let recording = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cli/recording.jsonl");
    let plain = printed(&["replay", "--no-config", "-q", recording]);
    let mut command = portwatch();
    command.args(["replay", "--no-config", "-q", recording]);
    let ended = ended(command.env("PORTWATCH_OUTPUT", "csv")).unwrap();
    assert_eq!(ended.code, Some(0));
    assert_ne!(ended.stdout, plain);
    assert_eq!(
        ended.stdout,
        printed(&["replay", "--no-config", "-q", "-o", "csv", recording])
    );
}

#[test]
fn a_mistake_in_a_file_has_its_place_and_the_code_of_a_wrong_command_line() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("portwatch.toml");
    fs::write(&file, "# mine\nfaild = true\n").unwrap();
    let file = file.to_str().unwrap();
    let ended = ended(portwatch().args(["--config", file])).unwrap();
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(2), ""));
    let said = ended.stderr.replace(file, "FILE");
    insta::assert_snapshot!(said.lines().next().unwrap(), @"error: FILE:2:1: there is no option `faild`; did you mean `failed`?");
}
