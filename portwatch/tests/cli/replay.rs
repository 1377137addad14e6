//! `portwatch replay`, which needs no privileges.

use std::{fs, io::Write as _, process::Stdio};

use super::run::{Ended, portwatch, printed, run, run_unread};

/// Recorded with `portwatch --json --source tracepoint`.
const RECORDING: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cli/recording.jsonl");

#[test]
fn a_recording_is_shown_as_it_was_written() {
    let recorded = fs::read_to_string(RECORDING).unwrap();
    assert_eq!(printed(&["replay", RECORDING, "--json"]), recorded);
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
    insta::assert_snapshot!(columns.join("\n"), @r"
    OP      PROTO    PID USER     COMM            ADDRESS               RESULT
    bind    tcp    18923 nobody   python3         127.0.0.1:80          EACCES Permission denied
    bind    tcp    18923 nobody   python3         127.0.0.1:46363       EADDRINUSE Address already in use
    bind    tcp    18923 nobody   python3         192.0.2.1:8080        EADDRNOTAVAIL Cannot assign requested address
    ");
    insta::assert_snapshot!(stderr, @r"
    portwatch: watching bind() and connect() on the whole machine (source tracepoint, kernel 6.12.0)
      showing only: --pid 18923 --op bind --failed
      limited: attempts that seccomp denies are not seen: they end before any hook of this source
      limited: how a pending connect ended is not told: this source does not follow the socket
      limited: attempts of 32-bit programs, by io_uring and from inside the kernel are not seen: the kernel's system call tracepoints leave them out
      limited: protocol, local address, network namespace, parent and effective user may be missing: they are looked up after the call, when the process or the socket may be gone
    portwatch: 3 attempts in 0.2 s
      bind     3 failed
      errors   1 EACCES, 1 EADDRINUSE, 1 EADDRNOTAVAIL
      nothing was lost
    ");
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
    insta::assert_snapshot!(stderr, @r"
    portwatch: DIR/a\x1b[2J, line 1: control character (\u0000-\u001F) found while parsing a string, at column 31
    portwatch: one thing could not be read
    ");
}

#[test]
fn a_reader_that_has_gone_is_no_failure() {
    let ended = run_unread(&["replay", RECORDING, "--json"]);
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
}
