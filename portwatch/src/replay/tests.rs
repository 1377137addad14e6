mod damage;
mod recording;

use clap::Parser as _;

use super::*;
use crate::cli::{Cli, Command};

/// What `portwatch replay FILE…` prints with these arguments.
fn replayed(text: &str, args: &[&str]) -> (String, Option<String>) {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), text).unwrap();
    let files = [file.path().to_owned()];
    let args = ["portwatch", "replay", "-", "--json"].iter().chain(args);
    let Some(Command::Replay { watch, .. }) = Cli::try_parse_from(args).unwrap().command else {
        panic!("it is another command");
    };
    let config = Config::of_replay(&watch, &Users::new()).unwrap();
    let mut out = Vec::new();
    let result = replay(&config, &files, &mut out);
    (
        String::from_utf8(out).unwrap(),
        result.err().map(|error| error.to_string()),
    )
}

const START: &str = r#"{"v":1,"kind":"start","time":"2026-11-22T16:45:45.000000001Z","backend":"fexit","hooks":["a"],"missing":[],"degradations":[{"what":"w","why":"y","remedy":null}],"kernel":"6.12","filters":["--user 0"],"pid":7}"#;
const SUMMARY: &str = r#"{"v":1,"kind":"summary","time":"2026-11-22T16:45:49.000000000Z","run_time_ns":4000000000,"attempts":{"bind":{"abandoned":0,"failed":1,"ok":1,"pending":0},"connect":{"abandoned":0,"failed":1,"ok":0,"pending":0},"listen":{"abandoned":0,"failed":0,"ok":0,"pending":0}},"pending":{"not_followed":0,"not_over":0,"not_told":0},"repeats":0,"errnos":{"EACCES":1,"ECONNREFUSED":1},"lost":5,"losses":{"ring_full":5}}"#;
const LOST: &str = r#"{"v":1,"kind":"lost","time":"2026-11-22T16:45:48.000000000Z","count":5,"reason":"ring_full","where":"cpu 1"}"#;

fn line(seq: u64, op: &str, pid: u32, parent: u32, ret: i32, more: &str) -> String {
    let errno = match ret {
        0 => "",
        -13 => r#""errno":"EACCES","#,
        _ => r#""errno":"EINPROGRESS","#,
    };
    let outcome = match ret {
        0 => "ok",
        -13 => "failed",
        _ => "pending",
    };
    format!(
        r#"{{"v":1,"kind":"attempt","seq":{seq},"time":"2026-11-22T16:45:46.289235441Z","op":"{op}","via":"syscall","pid":{pid},"tid":{pid},"ppid":{parent},"comm":"nc","uid":1000,"euid":1000,"gid":1000,"user":"who-is-nobody-here","family":"ipv4","proto":"tcp","addr":"127.0.0.1","port":8{pid},"local_addr":null,"local_port":null,"fd":3,"ret":{ret},{errno}"outcome":"{outcome}","latency_ns":1000,"netns":4026531840,"cgroup_id":1,"options":["reuseaddr"]{more}}}"#
    )
}

/// Of the attempt of that number by process 12.
fn outcome(seq: u64) -> String {
    format!(
        r#"{{"v":1,"kind":"outcome","seq":{seq},"time":"2026-11-22T16:45:47.000000000Z","op":"connect","via":"syscall","pid":12,"tid":12,"ppid":11,"comm":"nc","uid":1000,"euid":1000,"gid":1000,"user":"who-is-nobody-here","family":"ipv4","proto":"tcp","addr":"127.0.0.1","port":812,"local_addr":null,"local_port":null,"fd":3,"ret":-111,"errno":"ECONNREFUSED","outcome":"failed","latency_ns":20,"netns":4026531840,"cgroup_id":1,"options":["reuseaddr"],"reset":true}}"#
    )
}

fn recording() -> Vec<String> {
    vec![
        START.to_owned(),
        line(
            1,
            "bind",
            10,
            1,
            -13,
            r#","stages":{"operation":-13},"before":{"state":7,"socket_state":1,"port":0,"unprivileged_port_start":1024,"net_user_ns":1,"user_ns":1,"cap_effective":"00000000a80425fb"}"#,
        ),
        line(2, "bind", 11, 10, 0, r#","privileged":true"#),
        line(3, "connect", 12, 11, -115, ""),
        LOST.to_owned(),
        outcome(3),
        SUMMARY.to_owned(),
    ]
}

fn text(lines: &[String]) -> String {
    lines.join("\n") + "\n"
}

#[test]
fn a_recording_is_shown_as_it_was_written() {
    let whole = text(&recording());
    assert_eq!(replayed(&whole, &["--no-explain"]), (whole.clone(), None));
    let twice = whole.repeat(2);
    assert_eq!(replayed(&twice, &["--no-explain"]), (twice, None));
}

#[test]
fn a_filter_leaves_out_numbers_anew_and_counts_what_is_left() {
    let (shown, error) = replayed(&text(&recording()), &["--no-explain", "--op", "connect"]);
    assert_eq!(error, None);
    let shown: Vec<serde_json::Value> = shown
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let kinds: Vec<_> = shown
        .iter()
        .map(|line| line["kind"].as_str().unwrap())
        .collect();
    assert_eq!(kinds, ["start", "attempt", "lost", "outcome", "summary"]);
    assert_eq!(
        shown[0]["filters"],
        serde_json::json!(["--user 0", "--op connect"])
    );
    assert_eq!(shown[1]["seq"], 1);
    assert_eq!(shown[1]["user"], "who-is-nobody-here");
    assert_eq!(shown[3]["seq"], 1);
    let summary = &shown[4];
    assert_eq!(summary["attempts"]["connect"]["failed"], 1);
    assert_eq!(summary["attempts"]["connect"]["pending"], 0);
    assert_eq!(summary["attempts"]["bind"]["ok"], 0);
    assert_eq!(summary["errnos"], serde_json::json!({"ECONNREFUSED": 1}));
    assert_eq!(
        (&summary["lost"], &summary["run_time_ns"]),
        (&5.into(), &4_000_000_000_u64.into())
    );
}

#[test]
fn the_outcome_of_an_attempt_that_does_not_pass_does_not_either() {
    let (shown, _) = replayed(&text(&recording()), &["--op", "bind", "--no-explain"]);
    assert!(!shown.contains("outcome\",\"seq"), "{shown}");
}

/// How many attempts and outcomes are shown, and what the summary counts.
fn shown_with(recording: &str, args: &[&str]) -> (usize, usize, serde_json::Value) {
    let (shown, error) = replayed(recording, &[&["--no-explain"], args].concat());
    assert_eq!(error, None);
    let count = |kind: &str| shown.matches(&format!(r#""kind":"{kind}""#)).count();
    let summary = shown.lines().last().unwrap();
    let summary: serde_json::Value = serde_json::from_str(summary).unwrap();
    (count("attempt"), count("outcome"), summary)
}

#[test]
fn what_passes_is_decided_by_the_end() {
    let whole = text(&recording());
    for (args, attempts, outcomes) in [
        (&["-x"][..], 2, 1),
        (&["--errno", "ECONNREFUSED"], 1, 1),
        (&["--errno", "EINPROGRESS"], 0, 0),
        (&["--filter", "outcome=ok"], 1, 0),
        (&["--filter", "op=connect and outcome=ok"], 0, 0),
        (&["--filter", "outcome=pending"], 0, 0),
    ] {
        let (seen, ended, summary) = shown_with(&whole, args);
        assert_eq!((seen, ended), (attempts, outcomes), "{args:?}");
        let counted = summary["attempts"].as_object().unwrap().values();
        let counted: u64 = counted
            .flat_map(|by| by.as_object().unwrap().values())
            .map(|count| count.as_u64().unwrap())
            .sum();
        assert_eq!(counted, attempts as u64, "{args:?}");
    }
}

#[test]
fn what_never_ended_is_no_failure_and_is_accounted_for() {
    let mut lines = recording();
    lines.remove(5);
    let (seen, _, summary) = shown_with(&text(&lines), &["-x"]);
    assert_eq!((seen, &summary["pending"]["not_over"]), (1, &1.into()));
    let (seen, _, summary) = shown_with(&text(&lines), &["--filter", "outcome=pending"]);
    assert_eq!((seen, &summary["pending"]["not_over"]), (1, &1.into()));
    assert_eq!(summary["attempts"]["connect"]["pending"], 1);
    // Of a source that does not tell.
    lines[0] = START.replace("fexit", "tracepoint");
    let (seen, _, summary) = shown_with(&text(&lines), &["-x"]);
    assert_eq!((seen, &summary["pending"]["not_told"]), (1, &1.into()));
}

#[test]
fn a_recording_that_was_cut_off_shows_what_was_pending() {
    let lines = &recording()[..4];
    let (shown, _) = replayed(&text(lines), &["--filter", "outcome=pending"]);
    assert_eq!(shown.lines().count(), 2, "{shown}");
}

#[test]
fn a_process_tree_is_made_of_what_the_recording_says() {
    let pids = |root: &str| {
        let (shown, _) = replayed(&text(&recording()), &["--ppid-tree", root]);
        let attempts = shown
            .lines()
            .filter(|line| line.contains(r#""kind":"attempt""#));
        attempts.count()
    };
    assert_eq!(
        [pids("1"), pids("10"), pids("11"), pids("12"), pids("7")],
        [3, 3, 2, 1, 0]
    );
}

#[test]
fn it_ends_after_as_many_attempts_as_were_asked_for() {
    let (shown, error) = replayed(&text(&recording()), &["-c", "2", "--no-explain"]);
    assert_eq!((shown, error), (text(&recording()[..3]), None));
}

#[test]
fn what_cannot_be_read_is_passed_over_and_is_a_failure() {
    let mut lines = recording();
    let whole = lines.clone();
    lines.insert(1, "{".to_owned());
    lines.insert(3, r#"{"v":1,"kind":"attempt"}"#.to_owned());
    lines.insert(4, r#"{"v":1,"kind":"of the future"}"#.to_owned());
    let (shown, error) = replayed(&text(&lines), &["--no-explain"]);
    assert_eq!(shown, text(&whole));
    assert_eq!(error.as_deref(), Some("2 things could not be read"));
}

#[test]
fn causes_stay_or_go_as_asked() {
    let cause = r#","cause":{"code":"low_port_no_capability","text":"it is","fix":[{"what":"stop"}],"confidence":"observed","evidence":["a look"]}"#;
    let with = text(&[line(1, "bind", 10, 1, -13, cause)]);
    let without = text(&[line(1, "bind", 10, 1, -13, "")]);
    assert_eq!(replayed(&with, &[]).0, with);
    assert_eq!(replayed(&with, &["--no-explain"]).0, without);
}

#[test]
fn a_file_that_is_not_there_does_not_keep_others_from_being_shown() {
    let config = Config::of_replay(
        &Cli::try_parse_from(["portwatch", "--json"]).unwrap().watch,
        &Users::new(),
    )
    .unwrap();
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), text(&recording()[..1])).unwrap();
    let mut out = Vec::new();
    let files = ["/nonexistent/file".into(), file.path().to_owned()];
    let error = replay(&config, &files, &mut out).unwrap_err();
    assert_eq!(error.to_string(), "one thing could not be read");
    assert_eq!(String::from_utf8(out).unwrap(), text(&recording()[..1]));
}

/// A reader that has gone.
struct Gone;

impl Write for Gone {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(io::ErrorKind::BrokenPipe.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_reader_that_has_gone_is_no_failure() {
    let config = Config::of_replay(
        &Cli::try_parse_from(["portwatch", "--json"]).unwrap().watch,
        &Users::new(),
    )
    .unwrap();
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), text(&recording())).unwrap();
    replay(&config, &[file.path().to_owned()], Gone).unwrap();
}
