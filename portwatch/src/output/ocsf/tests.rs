use serde_json::{Value as Json, json};

use super::*;
use crate::{
    event::End,
    output::sample::{bind, connect, events, hostile, lost, ok, outcome, start, summary, users},
};

fn object(event: &Event) -> Json {
    let mut out = Vec::new();
    print(&mut out, 1, event, &mut users()).unwrap();
    assert_eq!(
        out.iter().position(|&byte| byte == b'\n'),
        Some(out.len() - 1)
    );
    serde_json::from_slice(&out).unwrap()
}

/// The schema, and the profiles that the event says it applies.
struct Schema {
    all: Json,
    profiles: Vec<String>,
}

impl Schema {
    fn faults(event: &Json) -> Vec<String> {
        let schema = include_str!("../../../tests/schemas/ocsf-1.8.0.json");
        let profiles = event["metadata"]["profiles"].as_array();
        let profiles = profiles
            .into_iter()
            .flatten()
            .map(|name| name.as_str().unwrap().to_owned());
        let schema = Self {
            all: serde_json::from_str(schema).unwrap(),
            profiles: profiles.collect(),
        };
        let class = schema.all["classes"][event["class_uid"].to_string()].clone();
        let mut faults = Vec::new();
        schema.check("", event, &class, &mut faults);
        faults
    }

    fn check(&self, path: &str, object: &Json, definition: &Json, faults: &mut Vec<String>) {
        let attributes = definition["attributes"].as_object().unwrap();
        for (name, value) in object.as_object().unwrap() {
            let path = format!("{path}{name}");
            match attributes
                .get(name)
                .filter(|attribute| self.applies(attribute))
            {
                Some(attribute) => self.check_value(&path, value, attribute, faults),
                None => faults.push(format!("{path}: no such attribute")),
            }
        }
        for (name, attribute) in attributes {
            if attribute["required"] == true && self.applies(attribute) && object[name].is_null() {
                faults.push(format!("{path}{name}: required"));
            }
        }
        if let Some(names) = definition["constraints"]["at_least_one"].as_array()
            && names
                .iter()
                .all(|name| object[name.as_str().unwrap()].is_null())
        {
            faults.push(format!("{path}: none of {names:?}"));
        }
    }

    fn applies(&self, attribute: &Json) -> bool {
        attribute["profiles"].as_array().is_none_or(|profiles| {
            profiles
                .iter()
                .any(|profile| self.profiles.iter().any(|applied| profile == applied))
        })
    }

    fn check_value(&self, path: &str, value: &Json, attribute: &Json, faults: &mut Vec<String>) {
        let values = match value {
            Json::Array(values) if attribute["array"] == true => values.as_slice(),
            value => std::slice::from_ref(value),
        };
        for value in values {
            if attribute["object"] == true {
                let kind = attribute["type"].as_str().unwrap();
                if kind != "object" {
                    let definition = &self.all["objects"][kind];
                    self.check(&format!("{path}."), value, definition, faults);
                }
            } else if !fits(value, attribute) {
                faults.push(format!("{path}: {value}"));
            }
        }
    }
}

fn fits(value: &Json, attribute: &Json) -> bool {
    let fits = match attribute["type"].as_str().unwrap() {
        "integer_t" => value
            .as_i64()
            .is_some_and(|value| i32::try_from(value).is_ok()),
        "long_t" | "timestamp_t" => value.is_i64(),
        "port_t" => value.as_u64().is_some_and(|port| port <= 65535),
        "ip_t" => value
            .as_str()
            .is_some_and(|ip| ip.parse::<std::net::IpAddr>().is_ok()),
        "string_t" | "process_name_t" | "username_t" | "file_path_t" => value.is_string(),
        other => panic!("type {other}"),
    };
    let number = value.to_string();
    let number = number.trim_matches('"');
    let listed = attribute["enum"].as_array();
    fits && listed.is_none_or(|listed| listed.iter().any(|name| name == number))
}

#[test]
fn every_event_fits_the_schema() {
    for event in events() {
        assert_eq!(Schema::faults(&object(&event)), [""; 0], "{event:?}");
    }
    assert_eq!(
        Schema::faults(&object(&Event::Attempt(hostile(b"x")))),
        [""; 0]
    );
}

#[test]
fn the_schema_finds_what_is_wrong() {
    let mut wrong = object(&Event::Attempt(bind()));
    wrong["activity_id"] = json!(42);
    wrong["src_endpoint"] = json!({"port": 70000});
    wrong["actor"]["process"]["pid"] = json!("1");
    wrong["actor"]["process"]["container"] = json!({"uid": "x"});
    wrong["nonsense"] = json!(1);
    wrong["metadata"]["version"] = Json::Null;
    let faults = Schema::faults(&wrong).join("\n");
    for expected in [
        "activity_id: 42",
        "src_endpoint.port: 70000",
        "src_endpoint.: none of",
        "actor.process.pid",
        "actor.process.container: no such",
        "nonsense",
        "metadata.version: required",
    ] {
        assert!(faults.contains(expected), "{expected}\n{faults}");
    }
}

#[test]
fn a_bind_is_other_and_a_failed_one_is_fail() {
    let found = object(&Event::Attempt(ok(bind())));
    assert_eq!(
        (&found["activity_id"], &found["type_uid"]),
        (&json!(99), &json!(400_199))
    );
    let found = object(&Event::Attempt(bind()));
    assert_eq!(
        (&found["activity_id"], &found["status_id"]),
        (&json!(4), &json!(2))
    );
    assert_eq!(found["status_code"], "EACCES");
    assert_eq!(found["status_detail"], "port 80 is below 1024");
    assert_eq!(found["time"], 1_783_566_245_678_i64);
    assert_eq!(found["src_endpoint"], json!({"ip": "0.0.0.0", "port": 80}));
    assert_eq!(found["unmapped"]["cause"]["fix"]["what"], "let it");
}

#[test]
fn a_connect_opens_or_is_refused() {
    let found = object(&Event::Attempt(connect()));
    assert_eq!(
        (&found["activity_id"], &found["status_id"]),
        (&json!(1), &json!(0))
    );
    assert_eq!(
        found["dst_endpoint"],
        json!({"ip": "127.0.0.1", "port": 8080})
    );
    assert_eq!(found["connection_info"]["direction_id"], 2);
    let found = object(&outcome(End::Failed(-111)));
    assert_eq!(
        (&found["activity_id"], &found["status_id"]),
        (&json!(5), &json!(2))
    );
    assert_eq!(found["duration"], 12);
}

#[test]
fn start_end_and_losses_have_classes_of_their_own() {
    let classes = [start(), summary(), lost()].map(|event| object(&event)["type_uid"].clone());
    assert_eq!(classes, [600_203, 600_204, 600_801]);
    assert_eq!(object(&lost())["unmapped"]["count"], 3);
}
