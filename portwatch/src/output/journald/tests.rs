use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::output::sample::{
    bind, events, hostile, hostile_users, is_dangerous, lost, names, texts, users,
};

/// The fields of an entry, as strict as systemd's own reader: a name of capitals, digits and
/// underscores that begins with no underscore, of at most 64 bytes.
fn parse(message: &[u8]) -> BTreeMap<String, String> {
    let text = std::str::from_utf8(message).unwrap();
    let lines = text.strip_suffix('\n').unwrap().split('\n');
    let mut fields = BTreeMap::new();
    for line in lines {
        let (name, value) = line.split_once('=').expect("a plain field");
        assert!(
            name.len() <= 64 && name.starts_with(|c: char| c.is_ascii_uppercase()),
            "{name}"
        );
        assert!(
            name.chars()
                .all(|c| matches!(c, 'A'..='Z' | '0'..='9' | '_')),
            "{name}"
        );
        assert_eq!(
            fields.insert(name.to_owned(), value.to_owned()),
            None,
            "{name}"
        );
    }
    fields
}

fn entry(event: &Event) -> BTreeMap<String, String> {
    entry_with(event, &mut users())
}

fn entry_with(event: &Event, users: &mut Users) -> BTreeMap<String, String> {
    let mut out = Vec::new();
    JournaldPrinter::new().print(&mut out, 1, event, users);
    let messages: Vec<_> = frame::split(&out).map(parse).collect();
    assert_eq!(messages.len(), 1);
    messages.into_iter().next().unwrap()
}

#[test]
fn a_refused_bind() {
    let entry = entry(&Event::Attempt(bind()));
    for (name, value) in [
        (
            "MESSAGE",
            "nginx[1234] bind tcp 0.0.0.0:80: EACCES: port 80 is below 1024",
        ),
        ("PRIORITY", "5"),
        ("SYSLOG_IDENTIFIER", "portwatch"),
        ("ERRNO", "13"),
        ("OBJECT_PID", "1234"),
        ("PORTWATCH_PORT", "80"),
        ("PORTWATCH_CAUSE_CODE", "low_port_no_capability"),
        ("PORTWATCH_CAUSE_FIX_WHAT", "let it"),
    ] {
        assert_eq!(entry.get(name).map(String::as_str), Some(value), "{name}");
    }
}

#[test]
fn every_kind_has_an_id_of_its_own() {
    let ids: BTreeMap<_, _> = events()
        .iter()
        .map(entry)
        .map(|entry| (entry["MESSAGE_ID"].clone(), entry["PORTWATCH_KIND"].clone()))
        .collect();
    assert_eq!(ids.len(), 6);
    assert!(
        ids.keys()
            .all(|id| id.len() == 32 && u128::from_str_radix(id, 16).is_ok())
    );
    assert_eq!(entry(&lost())["PORTWATCH_COUNT"], "3");
}

proptest! {
    #[test]
    fn no_name_adds_or_changes_another_field(name in names()) {
        let found = entry_with(&Event::Attempt(hostile(&name)), &mut hostile_users(&name));
        let expected = entry(&Event::Attempt(hostile(b"x")));
        prop_assert!(found.values().all(|value| !value.chars().any(is_dangerous)));
        let keys = |entry: &BTreeMap<String, String>| {
            let keys = entry.keys().filter(|key| *key != "PORTWATCH_IFNAME");
            keys.cloned().collect::<Vec<_>>()
        };
        prop_assert_eq!(keys(&found), keys(&expected));
        prop_assert_eq!(&found["OBJECT_PID"], "1234");
        for (field, text) in texts(&name) {
            let key = format!("PORTWATCH_{}", field.replace('.', "_").to_uppercase());
            prop_assert_eq!(found.get(&key), Some(&text), "{}", key);
        }
    }
}
