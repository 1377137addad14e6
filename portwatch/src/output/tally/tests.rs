use insta::assert_snapshot;

use super::*;
use crate::{
    event::{Attempt, End, Requested},
    output::sample::{bind, comm, connect, lost, ok, outcome, start, summary, users},
};

const BY: &str = "comm,op,proto,port,errno";

fn printer(by: &str, form: Form, terminal: Option<(u16, u16)>) -> TallyPrinter {
    let counted = Counted {
        by: by.parse().unwrap(),
        form,
    };
    let look = Look {
        colour: false,
        header: true,
        terminal,
        timezone: TimeZone::UTC,
    };
    TallyPrinter::new(counted, look)
}

fn count(printer: &mut TallyPrinter, events: &[Event]) -> String {
    let mut out = Vec::new();
    for event in events {
        printer.print(&mut out, 7, event, &mut users()).unwrap();
    }
    String::from_utf8(out).unwrap()
}

fn finished(printer: &mut TallyPrinter) -> String {
    let mut out = Vec::new();
    printer.finish(&mut out).unwrap();
    String::from_utf8(out).unwrap()
}

fn drawn(printer: &mut TallyPrinter) -> String {
    let mut out = Vec::new();
    printer.draw(&mut out).unwrap();
    String::from_utf8(out).unwrap()
}

fn counted(by: &str, form: Form, events: &[Event]) -> String {
    let mut printer = printer(by, form, None);
    count(&mut printer, events) + &finished(&mut printer)
}

fn on_port(port: u16) -> Event {
    let requested = bind().requested.map(|asked| Requested { port, ..asked });
    Event::Attempt(Attempt {
        requested,
        ..bind()
    })
}

/// Three binds of nginx that fail, one that does not, and a connect that is refused later.
fn some() -> Vec<Event> {
    vec![
        start(),
        Event::Attempt(bind()),
        Event::Attempt(ok(bind())),
        Event::Attempt(connect()),
        Event::Attempt(bind()),
        outcome(End::Failed(-111)),
        lost(),
        Event::Attempt(bind()),
        summary(),
    ]
}

#[test]
fn a_table_has_the_largest_group_first_and_the_last_cause() {
    assert_snapshot!(counted(BY, Form::Table, &some()), @r"
    COUNT FAILED COMM  OP      PROTO PORT ERRNO        LAST CAUSE             LAST
        3      3 nginx bind    tcp   80   EACCES       low_port_no_capability 03:04:05
        1      1 curl  connect tcp   8080 ECONNREFUSED                        03:04:06
        1      0 nginx bind    tcp   80   -                                   03:04:05
    -- 3 attempts lost, in no group
    ");
}

#[test]
fn without_the_error_among_the_fields_the_last_one_is_shown() {
    assert_snapshot!(counted("comm", Form::Table, &some()), @r"
    COUNT FAILED COMM  LAST ERROR   LAST CAUSE             LAST
        4      3 nginx EACCES       low_port_no_capability 03:04:05
        1      1 curl  ECONNREFUSED                        03:04:06
    -- 3 attempts lost, in no group
    ");
}

#[test]
fn csv_has_a_header_and_a_row_for_each_group() {
    assert_snapshot!(counted(BY, Form::Csv, &some()).replace("\r\n", "\n"), @r"
    count,failed,comm,op,proto,port,errno,last_errno,last_cause,first,last
    3,3,nginx,bind,tcp,80,EACCES,EACCES,low_port_no_capability,2026-07-09T03:04:05.678901234Z,2026-07-09T03:04:05.678901234Z
    1,1,curl,connect,tcp,8080,ECONNREFUSED,ECONNREFUSED,,2026-07-09T03:04:06.000000000Z,2026-07-09T03:04:06.000000000Z
    1,0,nginx,bind,tcp,80,,,,2026-07-09T03:04:05.678901234Z,2026-07-09T03:04:05.678901234Z
    ");
}

#[test]
fn json_has_the_stream_about_itself_and_then_the_groups() {
    let text = counted("comm,port,addr,unit", Form::Json, &some());
    let lines: Vec<serde_json::Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let kinds: Vec<_> = lines.iter().map(|line| &line["kind"]).collect();
    assert_eq!(kinds, ["start", "lost", "summary", "group", "group"]);
    let groups: Vec<_> = text.lines().skip(3).collect();
    assert_snapshot!(groups.join("\n"), @r#"
    {"v":1,"kind":"group","count":4,"failed":3,"by":{"comm":"nginx","port":80,"addr":"0.0.0.0","unit":null},"last_errno":"EACCES","last_cause":"low_port_no_capability","first":"2026-07-09T03:04:05.678901234Z","last":"2026-07-09T03:04:05.678901234Z"}
    {"v":1,"kind":"group","count":1,"failed":1,"by":{"comm":"curl","port":8080,"addr":"127.0.0.1","unit":null},"last_errno":"ECONNREFUSED","last_cause":null,"first":"2026-07-09T03:04:05.678901234Z","last":"2026-07-09T03:04:06.000000000Z"}
    "#);
}

/// How it ended is known later, and it is one attempt all the same.
#[test]
fn a_pending_connect_is_counted_once() {
    let ends = |end| {
        let events = [Event::Attempt(connect()), outcome(end)];
        counted("kind,outcome,errno", Form::Csv, &events)
            .lines()
            .nth(1)
            .map(|row| row.split(',').take(5).collect::<Vec<_>>().join(","))
            .unwrap()
    };
    assert_eq!(ends(End::Connected), "1,0,outcome,ok,");
    assert_eq!(ends(End::Failed(-111)), "1,1,outcome,failed,ECONNREFUSED");
    assert_eq!(ends(End::Abandoned), "1,0,outcome,abandoned,");
}

#[test]
fn groups_are_bounded_and_the_rest_is_counted_together() {
    let mut printer = printer("port", Form::Table, None);
    let ports = u16::try_from(GROUPS).unwrap() + 100;
    for port in 0..ports {
        count(&mut printer, &[on_port(port)]);
    }
    // What had no group then has none later either.
    count(&mut printer, &[on_port(ports - 1), on_port(0)]);
    let table = finished(&mut printer);
    assert_eq!(table.lines().count(), 1 + GROUPS + 1 + 1);
    let last: Vec<_> = table.lines().rev().take(2).collect();
    assert_eq!(
        last[0],
        "-- more than 4096 groups: what came then is in (other)"
    );
    assert!(last[1].starts_with("  101    101 (other)"), "{}", last[1]);
    let total: u64 = table
        .lines()
        .filter_map(|line| line.split_whitespace().next()?.parse::<u64>().ok())
        .sum();
    assert_eq!(total, u64::from(ports) + 2);
}

#[test]
fn others_are_told_in_csv_and_json_too() {
    for (form, told) in [
        (Form::Csv, "1,1,(other),,EACCES,"),
        (Form::Json, r#""count":1,"failed":1,"by":null,"#),
    ] {
        let mut printer = printer("port,comm", form, None);
        for port in 0..=u16::try_from(GROUPS).unwrap() {
            count(&mut printer, &[on_port(port)]);
        }
        let text = finished(&mut printer);
        let last = text.lines().last().unwrap();
        assert!(last.contains(told), "{last}");
    }
}

#[test]
fn hostile_names_cannot_leave_their_cell() {
    let hostile = |name: &[u8]| {
        Event::Attempt(Attempt {
            comm: comm(name),
            ..bind()
        })
    };
    let events = [hostile(b"a\tb\n\x1b[2J\xff"), hostile(b"=1,\"x\";")];
    assert_snapshot!(counted("comm,port", Form::Table, &events), @r#"
    COUNT FAILED COMM                  PORT LAST ERROR LAST CAUSE             LAST
        1      1 =1,"x";               80   EACCES     low_port_no_capability 03:04:05
        1      1 a\x09b\x0a\x1b[2J\xff 80   EACCES     low_port_no_capability 03:04:05
    "#);
    assert_snapshot!(counted("comm,port", Form::Csv, &events).replace("\r\n", "\n"), @r#"
    count,failed,comm,port,last_errno,last_cause,first,last
    1,1,"'=1,""x"";",80,EACCES,low_port_no_capability,2026-07-09T03:04:05.678901234Z,2026-07-09T03:04:05.678901234Z
    1,1,a\x09b\x0a\x1b[2J\xff,80,EACCES,low_port_no_capability,2026-07-09T03:04:05.678901234Z,2026-07-09T03:04:05.678901234Z
    "#);
    let json = counted("comm,port", Form::Json, &events);
    let names: Vec<_> = json
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap())
        .map(|line| line["by"]["comm"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(names, ["=1,\"x\";", "a\tb\n\u{1b}[2J\u{fffd}"]);
}

#[test]
fn a_terminal_is_drawn_on_only_after_something_changed() {
    let mut printer = printer(BY, Form::Table, Some((80, 24)));
    count(&mut printer, &[start()]);
    assert_eq!(printer.due(), None);
    count(&mut printer, &[Event::Attempt(bind())]);
    let first = printer.due().unwrap();
    assert!(first <= Instant::now());
    let table = drawn(&mut printer);
    assert_eq!(printer.due(), None);
    let drawn_at = Instant::now();
    count(&mut printer, &[Event::Attempt(bind())]);
    let second = printer.due().unwrap();
    assert!(second > first && second <= drawn_at + PAUSE);
    count(&mut printer, &[Event::Attempt(bind())]);
    assert_eq!(printer.due(), Some(second));
    let up = format!("\r\x1b[{}A\x1b[J", table.lines().count());
    assert!(drawn(&mut printer).starts_with(&up));
    assert!(finished(&mut printer).starts_with(&up));
}

#[test]
fn what_is_written_in_between_and_a_new_size_begin_a_new_table() {
    let mut printer = printer(BY, Form::Table, Some((80, 24)));
    count(&mut printer, &some());
    assert!(drawn(&mut printer).starts_with("COUNT"));
    printer.interrupt();
    assert!(drawn(&mut printer).starts_with("COUNT"));
    printer.resize(Some((40, 10)));
    let narrow = drawn(&mut printer);
    assert!(narrow.starts_with("COUNT"));
    assert!(narrow.lines().all(|line| line.len() <= 40), "{narrow}");
}

#[test]
fn a_terminal_shows_no_more_rows_than_it_has_and_the_end_all() {
    let mut printer = printer("port,outcome", Form::Table, Some((80, 8)));
    for port in 1..=20 {
        count(&mut printer, &[on_port(port), on_port(port)]);
    }
    count(&mut printer, &[Event::Attempt(ok(bind())), lost()]);
    let table = drawn(&mut printer);
    assert_eq!(table.lines().count(), 7, "{table}");
    assert!(
        table.contains("-- 17 more groups, 16 of them with failures\n"),
        "{table}"
    );
    assert!(table.ends_with("-- 3 attempts lost, in no group\n"));
    assert_eq!(finished(&mut printer).lines().count(), 1 + 21 + 1);
}

#[test]
fn nothing_is_drawn_where_nobody_watches() {
    for (form, terminal) in [(Form::Json, Some((80, 24))), (Form::Table, None)] {
        let mut printer = printer(BY, form, terminal);
        count(&mut printer, &[Event::Attempt(bind())]);
        assert_eq!(printer.due(), None);
    }
}
