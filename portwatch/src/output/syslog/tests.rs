use proptest::prelude::*;

use super::*;
use crate::output::sample::{
    bind, events, hostile, hostile_users, is_dangerous, lost, names, texts, users,
};

struct Parsed {
    header: Vec<String>,
    parameters: Vec<(String, String)>,
    message: String,
}

/// A message by the grammar of RFC 5424, section 6.
fn parse(message: &[u8]) -> Parsed {
    let text = std::str::from_utf8(message).unwrap();
    let mut header: Vec<_> = text.splitn(7, ' ').map(str::to_owned).collect();
    let rest = header.pop().unwrap();
    let mut rest = rest.strip_prefix("[portwatch@32473").unwrap();
    let mut parameters = Vec::new();
    while let Some(tail) = rest.strip_prefix(' ') {
        let (name, tail) = tail.split_once("=\"").unwrap();
        assert!(
            (1..=32).contains(&name.len()) && !name.contains(['=', ']', '"', ' ']),
            "{name}"
        );
        let mut value = String::new();
        let mut characters = tail.char_indices();
        rest = loop {
            match characters.next().unwrap() {
                (at, '"') => break &tail[at + 1..],
                (_, ']') => panic!("a bracket that is not escaped: {text}"),
                (_, '\\') => value.push(characters.next().unwrap().1),
                (_, character) => value.push(character),
            }
        };
        parameters.push((name.to_owned(), value));
    }
    let message = rest.strip_prefix("] ").unwrap().to_owned();
    Parsed {
        header,
        parameters,
        message,
    }
}

fn print(event: &Event) -> Parsed {
    print_with(event, &mut users())
}

fn print_with(event: &Event, users: &mut Users) -> Parsed {
    let mut out = Vec::new();
    SyslogPrinter::new("host", 9).print(&mut out, 1, event, users);
    let messages: Vec<_> = frame::split(&out).map(parse).collect();
    assert_eq!(messages.len(), 1);
    messages.into_iter().next().unwrap()
}

#[test]
fn a_refused_bind() {
    let found = print(&Event::Attempt(bind()));
    assert_eq!(
        found.header,
        [
            "<29>1",
            "2026-07-09T03:04:05.678901Z",
            "host",
            "portwatch",
            "9",
            "attempt"
        ]
    );
    assert_eq!(
        found.message,
        "nginx[1234] bind tcp 0.0.0.0:80: EACCES: port 80 is below 1024"
    );
    for (name, value) in [
        ("port", "80"),
        ("errno", "EACCES"),
        ("cause.fix.what", "let it"),
    ] {
        assert!(
            found
                .parameters
                .contains(&(name.to_owned(), value.to_owned())),
            "{name}"
        );
    }
}

#[test]
fn every_kind_of_event_is_a_message() {
    for event in events() {
        assert_eq!(print(&event).header.len(), 6);
    }
    let loss = print(&lost());
    assert_eq!(
        (loss.header[0].as_str(), loss.header[5].as_str()),
        ("<28>1", "lost")
    );
    assert!(loss.message.starts_with("lost 3 attempts"));
}

#[test]
fn a_host_name_that_does_not_fit_is_left_out() {
    for host in ["", "a b", "häst", &"x".repeat(256)] {
        assert_eq!(SyslogPrinter::new(host, 1).origin, "- portwatch 1");
    }
}

proptest! {
    #[test]
    fn no_name_adds_or_changes_another_parameter(name in names()) {
        let found = print_with(&Event::Attempt(hostile(&name)), &mut hostile_users(&name));
        let expected = print(&Event::Attempt(hostile(b"x")));
        prop_assert!(!found.message.chars().any(is_dangerous));
        let values = found.parameters.iter().map(|(_, value)| value);
        prop_assert!(values.clone().all(|value| !value.chars().any(is_dangerous)));
        prop_assert!(values.eq(texts(&name).iter().map(|(_, text)| text)));
        let names = |parsed: &Parsed| {
            let names = parsed.parameters.iter().map(|(name, _)| name.clone());
            names.filter(|name| name != "ifname").collect::<Vec<_>>()
        };
        prop_assert_eq!(names(&found), names(&expected));
        prop_assert_eq!(found.header, expected.header);
    }
}
