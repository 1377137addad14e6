use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::{Map, Value as Json, json};

use super::*;
use crate::{
    event::{Attempt, End},
    output::sample::{bind, connect, events, hostile, lost, names, ok, outcome, users},
};

fn print_line(event: &Event) -> String {
    let mut out = Vec::new();
    print(&mut out, 1, event, &mut users()).unwrap();
    String::from_utf8(out).unwrap()
}

fn document(event: &Event) -> Json {
    serde_json::from_str(&print_line(event)).unwrap()
}

/// All values below an object, by their dotted names.
fn flatten(object: &Map<String, Json>, prefix: &str, flat: &mut BTreeMap<String, Json>) {
    for (key, value) in object {
        let name = format!("{prefix}{key}");
        match value {
            Json::Object(inner) => flatten(inner, &format!("{name}."), flat),
            other => assert_eq!(flat.insert(name, other.clone()), None),
        }
    }
}

fn schema() -> Json {
    serde_json::from_str(include_str!("../../../tests/schemas/ecs-9.4.0.json")).unwrap()
}

/// What the schema says against a document.
fn faults(document: &Json, schema: &Json) -> Vec<String> {
    let mut flat = BTreeMap::new();
    flatten(document.as_object().unwrap(), "", &mut flat);
    let mut faults: Vec<_> = flat
        .iter()
        .filter(|(name, _)| !name.starts_with("portwatch."))
        .filter_map(|(name, value)| Some(format!("{name}: {}", fault(value, &schema[name])?)))
        .collect();
    let required = schema.as_object().unwrap().iter();
    let required = required.filter(|(_, field)| field["required"] == true);
    faults.extend(
        required
            .filter(|(name, _)| !flat.contains_key(*name))
            .map(|(name, _)| format!("{name}: required")),
    );
    faults.extend(unexpected_types(&flat, schema));
    faults
}

fn fault(value: &Json, field: &Json) -> Option<String> {
    if field.is_null() {
        return Some("no such field".to_owned());
    }
    let values = match (value, field["array"] == true) {
        (Json::Array(values), true) => values.as_slice(),
        (Json::Array(_), false) | (_, true) => return Some("array or not".to_owned()),
        (value, false) => std::slice::from_ref(value),
    };
    values.iter().find_map(|value| {
        let fits = match field["type"].as_str().unwrap() {
            "long" => value.is_i64() || value.is_u64(),
            "boolean" => value.is_boolean(),
            "ip" => value.as_str()?.parse::<std::net::IpAddr>().is_ok(),
            "date" => value.as_str()?.parse::<jiff::Timestamp>().is_ok(),
            "keyword" | "match_only_text" | "wildcard" => value.is_string(),
            other => panic!("type {other}"),
        };
        let allowed = field["allowed"].as_object();
        let allowed = allowed.is_none_or(|allowed| allowed.contains_key(value.as_str().unwrap()));
        (!fits || !allowed).then(|| value.to_string())
    })
}

/// Types that the schema does not expect beside the category.
fn unexpected_types(flat: &BTreeMap<String, Json>, schema: &Json) -> Vec<String> {
    let list = |name| {
        flat.get(name)
            .and_then(Json::as_array)
            .cloned()
            .unwrap_or_default()
    };
    let types = list("event.type");
    let expected = list("event.category").into_iter().flat_map(|category| {
        let expected = &schema["event.category"]["allowed"][category.as_str().unwrap()];
        expected.as_array().unwrap().clone()
    });
    let expected: Vec<_> = expected.collect();
    let unexpected = types.iter().filter(|kind| !expected.contains(kind));
    unexpected
        .map(|kind| format!("event.type: {kind}"))
        .collect()
}

#[test]
fn every_event_fits_the_schema() {
    let schema = schema();
    for event in events() {
        assert_eq!(faults(&document(&event), &schema), [""; 0], "{event:?}");
    }
}

#[test]
fn the_schema_finds_what_is_wrong() {
    let wrong = json!({
        "event": {"outcome": "bad", "type": ["end", "error"], "category": ["network"]},
        "source": {"ip": "x", "prt": 1},
        "process": {"pid": "1"},
    });
    let faults = faults(&wrong, &schema());
    for expected in [
        "event.outcome",
        "event.type: \"error\"",
        "source.ip",
        "source.prt",
        "process.pid",
        "@timestamp: required",
    ] {
        assert!(
            faults.iter().any(|fault| fault.starts_with(expected)),
            "{expected}: {faults:?}"
        );
    }
}

#[test]
fn a_refused_bind() {
    let found = document(&Event::Attempt(bind()));
    assert_eq!(found["@timestamp"], "2026-07-09T03:04:05.678901234Z");
    assert_eq!(
        found["message"],
        "nginx[1234] bind tcp 0.0.0.0:80: EACCES: port 80 is below 1024"
    );
    assert_eq!(
        found["event"],
        json!({
            "kind": "event", "category": ["network"], "type": ["info", "denied"], "action": "bind",
            "outcome": "failure", "reason": "port 80 is below 1024", "duration": 40000,
            "provider": "portwatch", "sequence": 1,
        })
    );
    assert_eq!(
        found["error"],
        json!({"code": "13", "type": "EACCES", "message": "Permission denied"})
    );
    assert_eq!(found["source"], json!({"ip": "0.0.0.0", "port": 80}));
    assert_eq!(found.get("destination"), None);
    assert_eq!(found["user"], json!({"id": "1000", "name": "anna"}));
    let cause = &found["portwatch"]["cause"];
    assert_eq!(cause["code"], "low_port_no_capability");
    assert_eq!(cause["fix"]["what"], "let it");
}

#[test]
fn a_connect_has_both_ends_and_an_unknown_outcome_while_it_is_pending() {
    let found = document(&Event::Attempt(connect()));
    assert_eq!(found["event"]["outcome"], "unknown");
    assert_eq!(found["source"], json!({"ip": "127.0.0.1", "port": 40123}));
    assert_eq!(found["destination"]["port"], 8080);
    assert_eq!(found["network"]["transport"], "tcp");
    let found = document(&outcome(End::Connected));
    assert_eq!(
        (&found["event"]["outcome"], &found["event"]["sequence"]),
        (&json!("success"), &json!(7))
    );
    let found = document(&Event::Attempt(ok(connect())));
    assert_eq!(found.get("error"), None);
}

#[test]
fn losses_are_told() {
    let found = document(&lost());
    assert_eq!(found["event"]["action"], "lost");
    assert_eq!(found["portwatch"]["count"], 3);
    assert_eq!(found["portwatch"]["reason"], "ring_full");
}

#[test]
fn what_is_not_known_is_absent() {
    let event = Event::Attempt(Attempt {
        requested: None,
        euid: None,
        ..bind()
    });
    let found = document(&event);
    assert_eq!((found.get("source"), found.get("user")), (None, None));
    assert!(!print_line(&event).contains("null"));
}

proptest! {
    #[test]
    fn no_name_leaves_its_string(name in names()) {
        let event = Event::Attempt(hostile(&name));
        let line = print_line(&event);
        prop_assert_eq!(line.find('\n'), Some(line.len() - 1));
        prop_assert_eq!(faults(&document(&event), &schema()), [""; 0]);
        prop_assert_eq!(&document(&event)["process"]["pid"], &json!(1234));
    }
}
