use proptest::prelude::*;

use super::*;
use crate::fields::{WIDE, named};
use crate::output::sample::{
    bind, connect, hostile, is_dangerous, lost, names, start, summary, users,
};

fn print(fields: &str, events: &[Event]) -> String {
    let mut out = Vec::new();
    let mut printer = ColumnsPrinter::new(fields.parse().unwrap(), true);
    for event in events {
        printer.print(&mut out, 1, event, &mut users()).unwrap();
    }
    String::from_utf8(out).unwrap()
}

#[test]
fn each_field_has_a_column() {
    let events = [
        start(),
        Event::Attempt(bind()),
        Event::Attempt(connect()),
        lost(),
        summary(),
    ];
    insta::assert_snapshot!(print("pid,comm,addr,port,errno,unit", &events), @r"
    PID     COMM            ADDR            PORT  ERRNO         UNIT
    1234    nginx           0.0.0.0         80    EACCES        -
    1234    curl            127.0.0.1       8080  EINPROGRESS   -
    -- lost 3 attempts on CPU 1: ring buffer full (portwatch or its reader is too slow)
    ");
}

#[test]
fn a_long_value_moves_its_own_line_only() {
    let events = [
        Event::Attempt(hostile(b"a-unit-with-a-long-name.service")),
        Event::Attempt(bind()),
    ];
    insta::assert_snapshot!(print("pid,unit,port,uid", &events), @r"
    1234    a-unit-with-a-long-name.service 80 1000
    1234    -                    80    1000
    ");
}

#[test]
fn wide_shows_its_fields() {
    let mut out = Vec::new();
    let mut printer = ColumnsPrinter::new(named(WIDE), true);
    printer.print(&mut out, 1, &start(), &mut users()).unwrap();
    let header = String::from_utf8(out).unwrap();
    let titles: Vec<_> = header.split_whitespace().map(str::to_lowercase).collect();
    assert_eq!(titles.join(","), WIDE);
}

proptest! {
    #[test]
    fn no_name_ends_the_line(name in names()) {
        let line = print("comm,exe,cmdline,unit,cause.text,pid", &[Event::Attempt(hostile(&name))]);
        prop_assert!(!line.trim_end_matches('\n').chars().any(is_dangerous), "{line:?}");
        prop_assert!(line.ends_with(" 1234\n"));
    }
}
