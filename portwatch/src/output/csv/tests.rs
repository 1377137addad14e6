use proptest::prelude::*;
use serde_json::Value as Json;

use super::*;
use crate::event::Attempt;
use crate::output::sample::{
    bind, comm, events, hostile, hostile_users, is_dangerous, lost, names, python, texts, users,
};

fn print(fields: Option<&str>, events: &[Event]) -> String {
    printed(fields, events, &mut users())
}

fn printed(fields: Option<&str>, events: &[Event], users: &mut Users) -> String {
    let mut out = Vec::new();
    let fields = fields.map(|typed| typed.parse().unwrap());
    let mut printer = CsvPrinter::new(fields, true);
    for event in events {
        printer.print(&mut out, 1, event, users).unwrap();
    }
    String::from_utf8(out).unwrap()
}

fn rows(text: &str) -> Vec<Vec<String>> {
    let mut reader = ::csv::ReaderBuilder::new()
        .has_headers(false)
        .from_reader(text.as_bytes());
    let rows = reader.records().map(|row| row.unwrap());
    rows.map(|row| row.iter().map(str::to_owned).collect())
        .collect()
}

#[test]
fn a_header_and_a_row_for_attempts_outcomes_and_losses() {
    let rows = rows(&print(None, &events()));
    assert_eq!(rows[0].join(","), CSV);
    let kinds: Vec<_> = rows[1..].iter().map(|row| row[0].as_str()).collect();
    let expected = [["attempt"; 6].as_slice(), &["outcome"; 3], &["lost"]].concat();
    assert_eq!(kinds, expected);
    let loss = rows.last().unwrap();
    assert_eq!(loss[loss.len() - 3..], ["3", "ring_full", "cpu 1"]);
}

#[test]
fn the_chosen_fields_are_the_columns() {
    assert_eq!(
        print(
            Some("port,comm,unit"),
            &[events()[0].clone(), Event::Attempt(bind()), lost()]
        ),
        "port,comm,unit\r\n80,nginx,\r\n"
    );
}

#[test]
fn losses_without_a_column_have_no_row() {
    let tells = |typed: &str| CsvPrinter::new(Some(typed.parse().unwrap()), true).tells_losses();
    assert!(tells("kind,port"));
    assert!(tells("count"));
    assert!(!tells("port,comm"));
}

#[test]
fn no_text_begins_a_formula() {
    for (name, shown) in [
        (&b"=1+1"[..], "'=1+1"),
        (b"@SUM", "'@SUM"),
        (b"-2", "'-2"),
        (b"+2", "'+2"),
        ("\u{ff1d}1".as_bytes(), "'\u{ff1d}1"),
        (b"'x", "''x"),
        (b"=a,\"b\"", "\"'=a,\"\"b\"\"\""),
        (b"a;=1", "\"a;=1\""),
        (b"\t=1", r"\x09=1"),
    ] {
        let event = Event::Attempt(Attempt {
            comm: comm(name),
            ..bind()
        });
        // A result of -13 is our own number, and stays one.
        assert_eq!(
            print(Some("comm,ret"), &[event]),
            format!("{shown},-13\r\n")
        );
    }
}

/// Python's own reader finds the same cells as Rust's.
#[test]
fn python_reads_the_same() {
    let text = print(None, &events());
    let script = "import csv,json,sys; print(json.dumps(list(csv.reader(open(0, newline='', encoding='utf-8'), strict=True))))";
    assert_eq!(python(script, &text), Json::from(rows(&text)));
}

proptest! {
    #[test]
    fn no_name_leaves_its_cell(name in names()) {
        let event = Event::Attempt(hostile(&name));
        let text = printed(None, &[event], &mut hostile_users(&name));
        let line = text.strip_suffix("\r\n").unwrap();
        prop_assert!(!line.chars().any(is_dangerous), "{line:?}");
        let rows = rows(&text);
        prop_assert_eq!((rows.len(), rows[0].len()), (1, CSV.split(',').count()));
        let texts = texts(&name);
        for (cell, name) in rows[0].iter().zip(CSV.split(',')) {
            let formula = cell.starts_with(['=', '+', '-', '@', '\u{ff1d}', '\u{ff0b}', '\u{ff0d}', '\u{ff20}']);
            prop_assert!(!formula || name == "ret", "{cell}");
            // The apostrophe that keeps a text from being a formula is the first, if any is there.
            let read = cell.strip_prefix('\'').unwrap_or(cell);
            let text = texts.iter().find(|(field, _)| *field == name);
            prop_assert_eq!(read, text.map_or("", |(_, text)| text), "{}", name);
        }
    }
}
