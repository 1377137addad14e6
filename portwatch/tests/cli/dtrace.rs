//! `--source dtrace` with a player in dtrace's place: the whole way from its pipes to the output.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    process::{Command, Stdio},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open},
};
use serde_json::Value;

use super::{
    player::Player,
    run::{Ended, ended, events, of_kind, portwatch},
};

#[test]
fn on_a_mac_port_80_is_free_at_the_wildcard_and_not_at_127_0_0_1() {
    let ended = Player::origin().run("macOS 14", &["--json", "-c", "2"]);
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

/// As in the background of a script.
#[test]
fn it_ends_where_the_signal_that_ends_dtrace_is_ignored() {
    let player = Player::origin();
    let watch = player.command("macOS 14", &["--json", "-c", "2"]);
    let mut script = Command::new("sh");
    script.args(["-c", r#"trap "" INT; exec "$@""#, "sh"]);
    script.arg(watch.get_program()).args(watch.get_args());
    for (name, value) in watch.get_envs() {
        match value {
            Some(value) => script.env(name, value),
            None => script.env_remove(name),
        };
    }
    let ended = ended(&mut script).unwrap();
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
    // Its last words came: it was not killed.
    assert_eq!(events(&ended.stdout).last().unwrap()["lost"], 0);
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
    insta::assert_snapshot!(stderr, @r"
    portwatch: DTrace is for root only
      remedy: run portwatch with sudo
    ");
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

/// The same of a watch that has begun: what is not seen any more is told in the stream, with what
/// to do, and the exit code is that of the state.
#[test]
fn each_reason_is_told_apart_after_the_start_too() {
    let words = [
        (
            "echo 'dtrace: failed to enable: DTrace requires additional privileges' >&2; exit 1",
            (3, "nothing is seen any more", "root only", "sudo"),
        ),
        (
            "echo 'dtrace: syscall:::entry does not match any probes. System Integrity Protection is on' >&2; exit 1",
            (
                6,
                "nothing is seen any more",
                "hides the system calls",
                "csrutil enable --without dtrace",
            ),
        ),
        (
            r"printf 'X\t1\t5\t4\t2\t44\t6\t0\n'; call bind 0 $LOCAL -1 13; until_told",
            (
                7,
                "addresses are not told any more",
                "not their addresses",
                "csrutil enable --without dtrace",
            ),
        ),
    ];
    for (body, (code, what, why, remedy)) in words {
        let player = Player::new(&format!(
            "trap 'exit 0' INT; begin; own; call bind 2 $LOCAL -1 13\n{body}"
        ));
        let ended = player.run("macOS 14", &["--json", "-c", "2"]);
        assert_eq!(ended.code, Some(code), "{}", ended.stderr);
        assert!(
            ended.stderr.contains(why) && ended.stderr.contains(remedy),
            "{}",
            ended.stderr
        );
        let events = events(&ended.stdout);
        let degraded = of_kind(&events, "degraded");
        let [degraded] = degraded[..] else {
            panic!("{degraded:?}");
        };
        assert_eq!(degraded["what"], what);
        let said = |field: &str| degraded[field].as_str().unwrap().to_owned();
        assert!(
            said("why").contains(why) && said("remedy").contains(remedy),
            "{degraded}"
        );
        assert_eq!(events.last().unwrap()["kind"], "summary");
    }
}

/// The fourth state. Of a protected process the call is told, without its address.
#[test]
fn with_protection_in_part_it_works_and_says_what_it_cannot_read() {
    let player = Player::new(
        r"
trap 'total 4; exit 0' INT
echo 'dtrace: system integrity protection is on, some features will not be available' >&2
begin; own
call bind 2 $LOCAL -1 13
for time in entry return; do
    echo 'dtrace: error on enabled probe ID 4 (ID 512: syscall::bind:entry): invalid user access in action #2 at DIF offset 44' >&2
    printf 'X\t1\t5\t4\t2\t44\t7\t0\n'
done
call bind 0 $zeros 0 0
call bind 2 $ANY 0 0
until_told",
    );
    let ended = player.run("macOS 14", &["--json", "-c", "3"]);
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
    let events = events(&ended.stdout);
    let addresses: Vec<_> = of_kind(&events, "attempt")
        .iter()
        .map(|attempt| attempt["addr"].clone())
        .collect();
    assert_eq!(
        addresses,
        ["127.0.0.1".into(), Value::Null, "0.0.0.0".into()]
    );
    let degraded = of_kind(&events, "degraded");
    assert_eq!(degraded.len(), 1, "said once");
    assert!(
        degraded[0]["why"]
            .as_str()
            .unwrap()
            .contains("PT_DENY_ATTACH")
    );
    assert_eq!(events.last().unwrap()["lost"], 0);
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
fn a_line_that_death_cut_short_is_no_attempt() {
    let player = Player::new(
        r"
begin; own
call bind 2 $LOCAL -1 13
call bind 2 $ANY 0 0 | head -c 60
kill -KILL $$",
    );
    let ended = player.run("macOS 14", &["--json"]);
    assert_eq!(ended.code, Some(1));
    assert!(ended.stderr.contains("signal: 9"), "{}", ended.stderr);
    assert_eq!(of_kind(&events(&ended.stdout), "attempt").len(), 1);
}

/// Byte by byte, each in a write of its own.
#[test]
fn slow_output_is_the_same_output() {
    let player = Player::new(
        r"
trap 'total 3; exit 0' INT
slowly() { dd bs=1 status=none; }
begin | slowly
own | slowly
call bind 2 $LOCAL -1 13 | slowly
call bind 2 $ANY 0 0 | slowly
until_told",
    );
    let ended = player.run("macOS 14", &["--json", "-c", "2"]);
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
    let events = events(&ended.stdout);
    let ports: Vec<_> = of_kind(&events, "attempt")
        .iter()
        .map(|attempt| format!("{} {}", attempt["addr"], attempt["port"]))
        .collect();
    assert_eq!(ports, [r#""127.0.0.1" 80"#, r#""0.0.0.0" 80"#]);
    assert_eq!(events.last().unwrap()["lost"], 0);
}

/// Its pipe has no reader then, which ends it at its next line: on a Mac that of every 5 seconds.
#[test]
fn dtrace_does_not_outlive_portwatch() {
    let player = Player::new(
        r"
echo $$ > $0.pid
begin; own
while :; do printf 'H\t1\t1\n'; sleep 0.05; done",
    );
    let mut child = player
        .command("macOS 14", &["--json"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut start = String::new();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    stdout.read_line(&mut start).unwrap();
    let start: Value = serde_json::from_str(&start).unwrap();
    assert_eq!(start["kind"], "start");
    let dtrace = fs::read_to_string(player.pid_file()).unwrap();
    let dtrace = Pid::from_raw(dtrace.trim().parse().unwrap()).unwrap();
    let dtrace = pidfd_open(dtrace, PidfdFlags::empty()).unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    let mut ended = [PollFd::new(&dtrace, PollFlags::IN)];
    let limit = Timespec {
        tv_sec: 60,
        tv_nsec: 0,
    };
    assert_eq!(poll(&mut ended, Some(&limit)).unwrap(), 1, "it lives on");
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
    let errors = stream.replace("stdout", "stderr");
    let player = Player::new(&format!(
        r#"
trap 'grep "^C" {stream}; exit 0' INT
cat {errors} >&2
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

/// What macOS has not would match nothing.
#[test]
fn what_only_linux_has_is_refused_by_name() {
    let player = Player::new("begin; own; until_told");
    // To become oneself takes no privilege.
    let own = rustix::process::geteuid().as_raw().to_string();
    for (arguments, named) in [
        (&["--netns", "4026531840"][..], "netns"),
        (&["--cgroup", "/system.slice"], "cgroup"),
        (&["--container", "abc123"], "container"),
        (&["--unit", "nginx.service"], "unit"),
        (&["--proto", "tcp"], "proto"),
        (&["--ppid-tree", "1"], "ppid-tree"),
        (&["--filter", "port=80 or not unit=nginx"], "unit"),
        (&["--op", "bind,listen"], "op=listen"),
        (&["--kernel"], "--kernel"),
        (&["--seccomp"], "--seccomp"),
        (&["--cmdline"], "--cmdline"),
        (&["--user-after", &own], "--user-after"),
        (&["--", "true"], "-- COMMAND"),
    ] {
        let Ended { code, stderr, .. } = player.run("macOS 14", arguments);
        assert_eq!(code, Some(2), "{arguments:?}: {stderr}");
        let words = format!("error: {named} has no meaning with the source dtrace: ");
        assert!(stderr.starts_with(&words), "{stderr}");
    }
}

/// However often portwatch wakes for another reason: here to tell a service manager that it lives.
#[test]
fn a_dtrace_that_falls_silent_is_said_to() {
    let player = Player::new("trap 'total 1; exit 0' INT; begin; own; until_told");
    let mut child = player
        .command("macOS 14", &["--json"])
        .env("WATCHDOG_USEC", "10000000")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let stdout = BufReader::new(child.stdout.take().unwrap());
    let mut events = stdout.lines().map(|line| {
        let event: Value = serde_json::from_str(&line.unwrap()).unwrap();
        event
    });
    let degraded = events.find(|event| event["kind"] == "degraded").unwrap();
    assert_eq!(degraded["why"], "dtrace has printed nothing for 15 s");
    let pid = Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
    kill_process(pid, Signal::TERM).unwrap();
    // Said once, and no failure.
    let rest: Vec<_> = events.map(|event| event["kind"].to_string()).collect();
    assert_eq!(rest, [r#""summary""#]);
    assert_eq!(child.wait().unwrap().code(), Some(0));
}
