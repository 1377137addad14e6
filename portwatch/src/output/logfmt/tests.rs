use proptest::prelude::*;

use super::*;
use crate::event::{Attempt, End};
use crate::output::sample::{
    bind, comm, connect, events, hostile, hostile_users, is_dangerous, lost, names, outcome, start,
    summary, texts, users,
};

fn print(fields: Option<&str>, event: &Event) -> String {
    printed(fields, event, &mut users())
}

fn printed(fields: Option<&str>, event: &Event, users: &mut Users) -> String {
    let mut out = Vec::new();
    let fields = fields.map(|typed| typed.parse().unwrap());
    let mut printer = LogfmtPrinter::new(fields);
    printer.print(&mut out, 1, event, users).unwrap();
    String::from_utf8(out).unwrap()
}

/// The pairs of a line, as go-logfmt takes them: a value is quoted, with `\"` and `\\`, or runs to
/// the next space.
fn pairs(line: &str) -> Vec<(String, String)> {
    let mut pairs = Vec::new();
    let mut rest = line.strip_suffix('\n').unwrap();
    while !rest.is_empty() {
        let (key, tail) = rest.split_once('=').unwrap();
        assert!(!key.contains([' ', '"']), "{line}");
        let (value, tail) = if let Some(quoted) = tail.strip_prefix('"') {
            unquote(quoted)
        } else {
            let end = tail.find(' ').unwrap_or(tail.len());
            (tail[..end].to_owned(), &tail[end..])
        };
        pairs.push((key.to_owned(), value));
        rest = tail.strip_prefix(' ').unwrap_or(tail);
    }
    pairs
}

fn unquote(quoted: &str) -> (String, &str) {
    let mut value = String::new();
    let mut characters = quoted.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return (value, &quoted[at + 1..]),
            '\\' => value.push(characters.next().unwrap().1),
            _ => value.push(character),
        }
    }
    panic!("not closed: {quoted}");
}

#[test]
fn every_known_field_is_a_pair() {
    insta::assert_snapshot!(print(None, &Event::Attempt(bind())), @r#"kind=attempt v=1 seq=1 time=2026-07-09T03:04:05.678901234Z op=bind via=syscall pid=1234 tid=1235 ppid=1 comm=nginx uid=1000 euid=1000 gid=1000 user=anna family=ipv4 proto=tcp addr=0.0.0.0 port=80 fd=3 ret=-13 errno=EACCES outcome=failed latency_ns=40000 netns=4026531840 cgroup_id=1 privileged=true cause.code=low_port_no_capability cause.text="port 80 is below 1024" cause.fix.what="let it" cause.fix.command="sysctl net.ipv4.ip_unprivileged_port_start=80" cause.confidence=observed"#);
    insta::assert_snapshot!(print(None, &outcome(End::Failed(-111))), @"kind=outcome v=1 seq=7 time=2026-07-09T03:04:06.000000000Z op=connect via=syscall pid=1234 tid=1235 ppid=1 comm=curl uid=1000 euid=1000 gid=1000 user=anna family=ipv4 proto=tcp addr=127.0.0.1 port=8080 local_addr=127.0.0.1 local_port=40123 fd=3 ret=-111 errno=ECONNREFUSED outcome=failed latency_ns=12000000 netns=4026531840 cgroup_id=1 reset=true");
    insta::assert_snapshot!(print(None, &lost()), @r#"kind=lost v=1 time=2026-07-09T03:04:06.000000000Z count=3 reason=ring_full where="cpu 1""#);
    insta::assert_snapshot!(print(None, &start()), @r#"kind=start v=1 time=2026-07-09T03:04:00.000000000Z pid=99 backend=fexit ring_bytes=4194304 kernel=6.12.1 filters=--failed hooks=fexit:inet_bind missing="" degradations="seccomp: it is slow (better: --seccomp)""#);
    insta::assert_snapshot!(print(None, &summary()), @r#"kind=summary v=1 time=2026-07-09T03:04:10.000000000Z run_time_ns=10000000000 attempts.bind.ok=0 attempts.bind.failed=2 attempts.bind.pending=0 attempts.bind.abandoned=0 attempts.connect.ok=0 attempts.connect.failed=0 attempts.connect.pending=0 attempts.connect.abandoned=0 attempts.listen.ok=0 attempts.listen.failed=0 attempts.listen.pending=0 attempts.listen.abandoned=0 pending.not_over=0 pending.not_told=0 pending.not_followed=0 repeats=0 errnos="" lost=3 losses="ring_full 3""#);
}

#[test]
fn chosen_fields_come_in_their_order_after_the_kind() {
    let event = Event::Attempt(connect());
    assert_eq!(
        print(Some("port,comm,unit"), &event),
        "kind=attempt port=8080 comm=curl\n"
    );
}

#[test]
fn a_loss_is_told_whatever_was_chosen() {
    assert_eq!(
        print(Some("port"), &lost()),
        "kind=lost count=3 reason=ring_full where=\"cpu 1\"\n"
    );
}

#[test]
fn every_kind_of_event_is_one_line_that_can_be_read() {
    for event in events() {
        let line = print(None, &event);
        assert_eq!(line.matches('\n').count(), 1);
        assert_eq!(pairs(&line)[0].0, "kind");
    }
}

#[test]
fn what_was_chosen_is_quoted_where_it_could_end_a_value() {
    for (name, shown) in [
        (&b"a b"[..], r#"comm="a b""#),
        (b"x=1", r#"comm="x=1""#),
        (b"\"", r#"comm="\"""#),
        (b"a\nb", r"comm=a\x0ab"),
        (b"a \\", r#"comm="a \\\\""#),
        (b"", r#"comm="""#),
    ] {
        let event = Event::Attempt(Attempt {
            comm: comm(name),
            ..bind()
        });
        assert_eq!(
            print(Some("comm"), &event),
            format!("kind=attempt {shown}\n")
        );
    }
}

proptest! {
    #[test]
    fn no_name_adds_or_changes_another_field(name in names()) {
        let line = printed(None, &Event::Attempt(hostile(&name)), &mut hostile_users(&name));
        prop_assert!(!line.trim_end_matches('\n').chars().any(is_dangerous), "{line:?}");
        let found = pairs(&line);
        let expected = pairs(&print(None, &Event::Attempt(hostile(b"x"))));
        let keys = |pairs: &[(String, String)]| {
            let keys = pairs.iter().map(|(key, _)| key.clone());
            keys.filter(|key| key != "ifname").collect::<Vec<_>>()
        };
        prop_assert_eq!(keys(&found), keys(&expected));
        let texts = texts(&name);
        for (key, value) in found.iter().filter(|(key, _)| !matches!(&**key, "kind" | "v")) {
            let text = texts.iter().find(|(name, _)| key == name);
            prop_assert_eq!(text.map(|(_, text)| text), Some(value), "{}", key);
        }
    }
}
