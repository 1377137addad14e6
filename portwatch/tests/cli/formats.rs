//! Every format as it stands, of the begin of a recording; text with its local time is elsewhere.

use super::run::printed;

const RECORDING: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cli/recording.jsonl");

fn recording(arguments: &[&str]) -> String {
    let begin = ["replay", RECORDING, "--quiet", "--count", "2"];
    printed(&[&begin, arguments].concat()).replace(env!("CARGO_PKG_VERSION"), "VERSION")
}

#[test]
fn every_format_without_a_local_time() {
    for format in ["wide", "json", "logfmt", "csv", "ecs", "ocsf", "otel"] {
        insta::assert_snapshot!(format, recording(&["-o", format]));
    }
}

#[test]
fn fields_and_templates() {
    insta::assert_snapshot!(recording(&["--fields", "pid,comm,addr,port,cause.code"]), @r"
    PID     COMM            ADDR            PORT  CAUSE.CODE
    18923   python3         127.0.0.1       80    unexplained
    18923   python3         ::1             0     -
    ");
    assert_eq!(
        recording(&["-o", "csv", "--fields", "comm,port,errno"]),
        "comm,port,errno\r\npython3,80,EACCES\r\npython3,0,\r\n"
    );
    let template = "{time} {comm} {addr}:{port} {errno}";
    insta::assert_snapshot!(recording(&["--format", template]), @r"
    2026-11-22T20:05:45.744327114Z python3 127.0.0.1:80 EACCES
    2026-11-22T20:05:45.744411762Z python3 ::1:0 -
    ");
}
