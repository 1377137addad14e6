//! `--source dtrace` with a program in dtrace's place that plays back what a dtrace prints: the
//! whole way from its pipes to the output.

use std::{
    fs,
    io::{BufRead as _, BufReader, Write as _},
    os::unix::fs::PermissionsExt as _,
    path::PathBuf,
    process::{Command, Stdio},
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

use super::run::{Ended, ended, portwatch};

/// What every player begins with. It takes the script as dtrace does, and has functions for lines:
/// `call OP HOW SOCKADDR RET ERRNO` for a call that begins in an hour, when the watch has surely
/// begun, and `own` for portwatch's own.
const PRELUDE: &str = r#"#!/bin/sh
script=$(cat)
case "$script" in *dtrace:::BEGIN*) ;; *) echo "dtrace: no script" >&2; exit 1 ;; esac
later=$(($(date +%s) + 3600))000000000
zeros=0000000000000000000000000000000000000000
begin() { printf 'B\t1\t1\t2\n'; }
own() { printf 'E\t1\tbind\t1\t9\t%s\t1\t7\t501\t3\t16\t%s\t2\t1002000050000000%s\t0\t0\tportwatch\\0\n' "$PPID" "${1-2}" "${zeros}"; }
call() { printf 'E\t1\t%s\t%s\t7000\t4711\t1\t99\t501\t5\t16\t%s\t2\t%s%s\t%s\t%s\thttpd\\0\n' "$1" "$later" "$2" "$3" "$zeros" "$4" "$5"; }
total() { printf '\n\nC\t1\tbind\t2\t%s\n' "$1"; }
until_told() { while :; do sleep 60 >/dev/null 2>&1 & wait $!; done; }
LOCAL=100200507f000001
ANY=1002005000000000
"#;

/// A program in dtrace's place.
struct Player {
    _directory: TempDir,
    path: PathBuf,
}

impl Player {
    fn new(body: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("dtrace");
        fs::write(&path, format!("{PRELUDE}\n{body}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        Self {
            _directory: directory,
            path,
        }
    }

    fn command(&self, system: &str, arguments: &[&str]) -> Command {
        let mut command = portwatch();
        command.args(["--source", "dtrace", "--dtrace"]);
        command.arg(&self.path).args(["--dtrace-system", system]);
        command.args(arguments);
        command
    }

    fn run(&self, system: &str, arguments: &[&str]) -> Ended {
        ended(&mut self.command(system, arguments)).unwrap()
    }
}

fn events(stdout: &str) -> Vec<Value> {
    let lines = stdout.lines();
    lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn of_kind<'a>(events: &'a [Value], kind: &str) -> Vec<&'a Value> {
    events
        .iter()
        .filter(|event| event["kind"] == kind)
        .collect()
}

/// A Mac on which an ordinary user asks for port 80 at 127.0.0.1 and at 0.0.0.0.
fn origin() -> Player {
    Player::new(
        r"
trap 'total 3; exit 0' INT
begin; own
call bind 2 $LOCAL -1 13
call bind 2 $ANY 0 0
until_told",
    )
}

#[test]
fn on_a_mac_port_80_is_free_at_the_wildcard_and_not_at_127_0_0_1() {
    let ended = origin().run("macOS 14", &["--json", "-c", "2"]);
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
    let events = events(&ended.stdout);
    let start = of_kind(&events, "start")[0];
    assert_eq!(
        (&start["system"], &start["backend"]),
        (&"macOS 14".into(), &"dtrace".into())
    );
    let attempts = of_kind(&events, "attempt");
    let [refused, allowed] = attempts[..] else {
        panic!("{attempts:?}");
    };
    assert_eq!(
        (&refused["addr"], &refused["port"]),
        (&"127.0.0.1".into(), &80.into())
    );
    assert_eq!(
        (&refused["errno"], &refused["ret"]),
        (&"EACCES".into(), &Value::from(-13))
    );
    assert_eq!(refused["cause"]["code"], "macos_low_port_address");
    assert_eq!(
        (&allowed["addr"], &allowed["outcome"]),
        (&"0.0.0.0".into(), &"ok".into())
    );
    assert_eq!(allowed["cause"]["code"], "macos_wildcard_exempt");
    for unknown in ["euid", "gid", "proto", "local_addr", "netns", "cgroup_id"] {
        assert_eq!(refused[unknown], Value::Null, "{unknown}");
    }
    assert_eq!(events.last().unwrap()["lost"], 0);
}

#[test]
fn the_stream_of_a_mac_is_replayed_anywhere() {
    let recorded = origin().run("macOS 14", &["--json", "-c", "2"]).stdout;
    let replay = |arguments: &[&str]| {
        let mut child = portwatch()
            .args(["replay", "-"])
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        child
            .stdin
            .take()
            .unwrap()
            .write_all(recorded.as_bytes())
            .unwrap();
        String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap()
    };
    assert_eq!(replay(&["--json"]), recorded);
    let text = replay(&[
        "-x",
        "--color",
        "never",
        "--fields",
        "comm,addr,port,errno,cause.code",
    ]);
    let row: Vec<_> = text.lines().last().unwrap().split_whitespace().collect();
    assert_eq!(
        row,
        [
            "httpd",
            "127.0.0.1",
            "80",
            "EACCES",
            "macos_low_port_address"
        ]
    );
}

#[test]
fn numbers_and_layouts_are_those_of_the_system() {
    let player = Player::new(
        r"
trap 'exit 0' INT
begin; own
call bind 2 $LOCAL -1 48
call connect_nocancel 2 100201bbc0a80107 -1 65
call connectx 2 1002005000000000 -1 36
call bind 1 0000000000000000 -1 39
call bind 0 0000000000000000 -1 14
until_told",
    );
    let events = events(&player.run("macOS 15.1", &["--json", "-c", "5"]).stdout);
    let attempts = of_kind(&events, "attempt");
    let shown: Vec<_> = attempts
        .iter()
        .map(|it| {
            format!(
                "{} {} {} {} {}",
                it["op"], it["addr"], it["errno"], it["outcome"], it["cause"]["code"]
            )
        })
        .collect();
    assert_eq!(
        shown,
        [
            r#""bind" "127.0.0.1" "EADDRINUSE" "failed" "port_in_use""#,
            r#""connect" "192.168.1.7" "EHOSTUNREACH" "failed" "host_unreachable""#,
            r#""connect" "0.0.0.0" "EINPROGRESS" "pending" "connect_in_progress""#,
            r#""bind" null "EDESTADDRREQ" "failed" "bad_pointer""#,
            r#""bind" null "EFAULT" "failed" "bad_pointer""#,
        ]
    );
    let privacy = attempts[1]["cause"]["fix"].to_string();
    assert!(privacy.contains("Local Network"), "{privacy}");
}

#[test]
fn each_reason_not_to_run_has_its_own_words_and_code() {
    let refused = |body: &str| {
        let player = Player::new(body);
        let Ended {
            code,
            stdout,
            stderr,
        } = player.run("macOS 14", &["--json"]);
        assert_eq!(stdout, "");
        (code, stderr)
    };
    let (code, stderr) = refused(
        "echo 'dtrace: failed to initialize dtrace: DTrace requires additional privileges' >&2; exit 1",
    );
    assert_eq!(code, Some(3));
    insta::assert_snapshot!(stderr, @"portwatch: DTrace is for root only: run portwatch with sudo");
    let (code, stderr) = refused(
        "echo 'dtrace: failed to compile script /dev/stdin: line 57: probe description syscall::bind:entry does not match any probes. System Integrity Protection is on' >&2; exit 1",
    );
    assert_eq!(code, Some(6));
    assert!(
        stderr.contains("hides the system calls")
            && stderr.contains("csrutil enable --without dtrace"),
        "{stderr}"
    );
    let (code, stderr) = refused(
        "begin; own 0; echo 'dtrace: error on enabled probe ID 4 (ID 512: syscall::bind:entry): invalid kernel access in action #2 at DIF offset 44' >&2; until_told",
    );
    assert_eq!(code, Some(7));
    assert!(
        stderr.contains("not their addresses")
            && stderr.contains("csrutil enable --without dtrace"),
        "{stderr}"
    );
    let (code, stderr) = refused(
        "echo 'dtrace: failed to compile script /dev/stdin: line 9: syntax error' >&2; exit 1",
    );
    assert_eq!(code, Some(1));
    assert!(
        stderr.contains("exit status: 1") && stderr.contains("line 9: syntax error"),
        "{stderr}"
    );
}

#[test]
fn a_program_that_is_not_there_is_named() {
    let mut command = portwatch();
    command.args(["--source", "dtrace", "--dtrace", "/nowhere/dtrace"]);
    let Ended { code, stderr, .. } = ended(&mut command).unwrap();
    assert_eq!(code, Some(4));
    insta::assert_snapshot!(stderr, @"portwatch: /nowhere/dtrace cannot be started: No such file or directory (os error 2)");
}

#[test]
fn a_sudden_death_is_said_and_is_a_failure() {
    let player = Player::new(
        r"
begin; own
call bind 2 $LOCAL -1 13
echo 'dtrace: processing aborted: Abort due to systemic unresponsiveness' >&2
exit 1",
    );
    let Ended {
        code,
        stdout,
        stderr,
    } = player.run("macOS 14", &["--json"]);
    let events = events(&stdout);
    assert_eq!(code, Some(1));
    assert!(stderr.contains("systemic unresponsiveness"), "{stderr}");
    assert_eq!(of_kind(&events, "attempt").len(), 1);
    let degraded = of_kind(&events, "degraded")[0];
    assert_eq!(degraded["what"], "nothing is seen any more");
    assert_eq!(events.last().unwrap()["kind"], "summary");
}

#[test]
fn drops_are_losses_and_so_is_what_the_totals_miss() {
    let player = Player::new(
        r#"
trap 'echo "dtrace: 2 drops on CPU 1" >&2; total 9; exit 0' INT
echo 'dtrace: 4 dynamic variable drops with non-empty dirty list' >&2
begin; own
call bind 2 $LOCAL -1 13
until_told"#,
    );
    let ended = player.run("macOS 14", &["--json", "-c", "1"]);
    let events = events(&ended.stdout);
    let lost: Vec<_> = of_kind(&events, "lost")
        .iter()
        .map(|lost| format!("{} {} {}", lost["count"], lost["reason"], lost["where"]))
        .collect();
    // 9 seen, 2 printed and 6 told of.
    assert_eq!(
        lost,
        [
            r#"4 "inflight_full" "dtrace""#,
            r#"2 "ring_full" "cpu 1""#,
            r#"1 "ring_full" "dtrace""#
        ]
    );
    assert_eq!(events.last().unwrap()["lost"], 7);
}

#[test]
fn what_cannot_be_read_is_passed_over() {
    let player = Player::new(
        r"
trap 'total 2; exit 0' INT
begin; own
printf '\nE\t1\tbind\t1\nE\t2\tnew\nZ\tnew\n\377\376\n'
head -c 100000 /dev/zero
printf '\nX\t1\t1\t2\t3\t4\t5\t6\nH\t1\t1\nE\t1\tbi'
call bind 2 $ANY 0 0 | cut -c 7- | tr -d '\n'
printf '\n'
until_told",
    );
    let Ended {
        code,
        stdout,
        stderr,
    } = player.run("macOS 14", &["--json", "-c", "1"]);
    let events = events(&stdout);
    assert_eq!(code, Some(0), "{stderr}");
    assert_eq!(of_kind(&events, "attempt")[0]["addr"], "0.0.0.0");
    assert!(
        stderr.contains("none that portwatch's script prints"),
        "{stderr}"
    );
}

/// What a dtrace on Linux printed of 216 calls, among them every kind of odd one.
#[test]
fn a_live_run_on_linux_is_shown_whole() {
    let stream = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/src/source/dtrace/tests/linux-stdout.txt"
    );
    let player = Player::new(&format!(
        r#"
trap 'grep "^C" {stream}; exit 0' INT
begin
own | sed 's/\t1002000050/\t0200000050/'
grep -v '^[BC]' {stream} | sed -E "s/^(E\t1\t[a-z]+\t)[0-9]+/\1$later/"
until_told"#
    ));
    let ended = player.run("Linux", &["--json", "-c", "216"]);
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
    let events = events(&ended.stdout);
    let summary = events.last().unwrap();
    let counts = &summary["attempts"];
    assert_eq!(counts["bind"]["ok"], 3);
    assert_eq!(counts["bind"]["failed"], 9);
    assert_eq!(
        (&summary["lost"], &events[0]["system"]),
        (&0.into(), &Value::Null)
    );
    let first = of_kind(&events, "attempt")[0];
    assert_eq!(first["comm"], "pw t\t\"\\é");
}

#[test]
fn a_signal_ends_it_in_good_order() {
    let player = Player::new("trap 'total 1; exit 0' INT; begin; own; until_told");
    let mut child = player
        .command("macOS 14", &["--json"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    let mut start = String::new();
    stdout.read_line(&mut start).unwrap();
    assert!(start.contains(r#""kind":"start""#), "{start}");
    let pid = Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
    kill_process(pid, Signal::TERM).unwrap();
    let summary: Value = serde_json::from_str(&stdout.lines().last().unwrap().unwrap()).unwrap();
    assert_eq!(
        (&summary["kind"], &summary["lost"]),
        (&"summary".into(), &0.into())
    );
    assert_eq!(child.wait().unwrap().code(), Some(0));
}
