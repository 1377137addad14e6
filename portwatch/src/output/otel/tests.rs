use opentelemetry_proto::tonic::{common::v1::any_value::Value as AnyValue, logs::v1::LogsData};
use serde_json::{Value as Json, json};

use super::*;
use crate::{
    event::End,
    output::sample::{bind, connect, events, hostile, lost, ok, outcome, users},
};

fn data(event: &Event) -> Json {
    let mut out = Vec::new();
    print(&mut out, 1, event, &mut users()).unwrap();
    assert_eq!(
        out.iter().position(|&byte| byte == b'\n'),
        Some(out.len() - 1)
    );
    serde_json::from_slice(&out).unwrap()
}

fn log_record(event: &Event) -> Json {
    data(event)["resourceLogs"][0]["scopeLogs"][0]["logRecords"][0].clone()
}

fn attribute(record: &Json, key: &str) -> Option<Json> {
    let attributes = record["attributes"].as_array().unwrap();
    let mut found = attributes
        .iter()
        .filter(|attribute| attribute["key"] == key);
    let value = found.next().map(|attribute| attribute["value"].clone());
    assert_eq!(found.next(), None, "{key} stands twice");
    value
}

/// What the protocol's messages say against a value.
fn check(messages: &Json, name: &str, object: &Json, faults: &mut Vec<String>) {
    let mut chosen = Vec::new();
    for (key, value) in object.as_object().unwrap() {
        let field = &messages[name][key];
        let values = match (value, field["repeated"] == true) {
            (Json::Array(values), true) => values.as_slice(),
            (_, true) => return faults.push(format!("{name}.{key}: no array")),
            (value, false) => std::slice::from_ref(value),
        };
        chosen.extend(field["oneof"].as_str());
        for value in values {
            if field["message"] == true {
                check(messages, field["type"].as_str().unwrap(), value, faults);
            } else if !fits(value, field) {
                faults.push(format!("{name}.{key}: {value}"));
            }
        }
    }
    if chosen.len() > 1 {
        faults.push(format!("{name}: more than one {chosen:?}"));
    }
}

/// In protobuf's JSON, integers of 64 bits are strings.
fn fits(value: &Json, field: &Json) -> bool {
    match field["type"].as_str() {
        Some("string") => value.is_string(),
        Some("bool") => value.is_boolean(),
        Some("int64") => value
            .as_str()
            .is_some_and(|text| text.parse::<i64>().is_ok()),
        Some("fixed64" | "uint64") => value
            .as_str()
            .is_some_and(|text| text.parse::<u64>().is_ok()),
        Some("enum") => field["enum"].as_array().unwrap().contains(value),
        _ => false,
    }
}

fn faults(data: &Json) -> Vec<String> {
    let messages = include_str!("../../../tests/schemas/otlp-logs.json");
    let mut faults = Vec::new();
    check(
        &serde_json::from_str(messages).unwrap(),
        "LogsData",
        data,
        &mut faults,
    );
    faults
}

#[test]
fn every_event_fits_the_protocol() {
    for event in events() {
        assert_eq!(faults(&data(&event)), [""; 0], "{event:?}");
    }
    assert_eq!(faults(&data(&Event::Attempt(hostile(b"a\n\"b")))), [""; 0]);
}

/// Whether all of a part is in the whole; of a list, element by element.
fn has(whole: &Json, part: &Json) -> bool {
    match (whole, part) {
        (Json::Object(whole), Json::Object(part)) => part
            .iter()
            .all(|(key, part)| whole.get(key).is_some_and(|whole| has(whole, part))),
        (Json::Array(whole), Json::Array(part)) => {
            whole.len() == part.len()
                && whole.iter().zip(part).all(|(whole, part)| has(whole, part))
        }
        _ => whole == part,
    }
}

/// OpenTelemetry's own reader takes every line, and passes over nothing in it.
#[test]
fn the_protocols_reader_reads_every_event_whole() {
    let hostile = Event::Attempt(hostile(b"a\n\"b"));
    for event in events().into_iter().chain([hostile]) {
        let data = data(&event);
        let read: LogsData = serde_json::from_value(data.clone()).unwrap();
        let written = serde_json::to_value(&read).unwrap();
        assert!(has(&written, &data), "of {data:#} it has {written:#}");
    }
}

#[test]
fn the_protocols_reader_reads_the_same_values() {
    let data = data(&Event::Attempt(bind()));
    let read: LogsData = serde_json::from_value(data).unwrap();
    let record = &read.resource_logs[0].scope_logs[0].log_records[0];
    assert_eq!(record.time_unix_nano, 1_783_566_245_678_901_234);
    assert_eq!(record.event_name, "portwatch.attempt.bind");
    assert_eq!(record.severity_number, 13);
    let value = |key: &str| {
        let found = record.attributes.iter().find(|it| it.key == key)?;
        found.value.clone()?.value
    };
    let text = |text: &str| Some(AnyValue::StringValue(text.to_owned()));
    assert_eq!(value("error.type"), text("EACCES"));
    assert_eq!(value("network.local.port"), Some(AnyValue::IntValue(80)));
    assert_eq!(
        value("portwatch.privileged"),
        Some(AnyValue::BoolValue(true))
    );
}

#[test]
fn the_protocol_finds_what_is_wrong() {
    let mut wrong = data(&Event::Attempt(bind()));
    let record = &mut wrong["resourceLogs"][0]["scopeLogs"][0]["logRecords"][0];
    record["timeUnixNano"] = json!(5);
    record["severityNumber"] = json!(99);
    record["body"] = json!({"stringValue": "x", "intValue": "5"});
    record["nonsense"] = json!(1);
    let faults = faults(&wrong).join("\n");
    for expected in [
        "timeUnixNano",
        "severityNumber",
        "AnyValue: more than one",
        "nonsense",
    ] {
        assert!(faults.contains(expected), "{expected}\n{faults}");
    }
}

#[test]
fn a_refused_bind() {
    let record = log_record(&Event::Attempt(bind()));
    assert_eq!(record["timeUnixNano"], "1783566245678901234");
    assert_eq!(record["eventName"], "portwatch.attempt.bind");
    assert_eq!(record["severityNumber"], 13);
    let expected = [
        ("error.type", json!({"stringValue": "EACCES"})),
        ("network.local.address", json!({"stringValue": "0.0.0.0"})),
        ("network.local.port", json!({"intValue": "80"})),
        ("network.transport", json!({"stringValue": "tcp"})),
        ("process.pid", json!({"intValue": "1234"})),
        ("process.user.name", json!({"stringValue": "anna"})),
        (
            "portwatch.cause.code",
            json!({"stringValue": "low_port_no_capability"}),
        ),
        ("portwatch.cause.fix.what", json!({"stringValue": "let it"})),
        ("portwatch.privileged", json!({"boolValue": true})),
    ];
    for (key, value) in expected {
        assert_eq!(attribute(&record, key), Some(value), "{key}");
    }
    assert_eq!(attribute(&record, "network.peer.address"), None);
}

#[test]
fn success_and_pending_have_no_error_type() {
    for event in [
        Event::Attempt(ok(connect())),
        Event::Attempt(connect()),
        outcome(End::Connected),
    ] {
        assert_eq!(attribute(&log_record(&event), "error.type"), None);
    }
    let record = log_record(&outcome(End::Failed(-111)));
    assert_eq!(record["eventName"], "portwatch.outcome.connect");
    assert_eq!(
        attribute(&record, "error.type"),
        Some(json!({"stringValue": "ECONNREFUSED"}))
    );
}

#[test]
fn losses_are_told() {
    let record = log_record(&lost());
    assert_eq!(record["eventName"], "portwatch.lost");
    assert_eq!(
        attribute(&record, "portwatch.count"),
        Some(json!({"intValue": "3"}))
    );
}
