//! Answers for programs, as docs/EVENTS.md has them.

use std::net::IpAddr;

use serde::Serialize;
use serde_json::Value;

use super::{Answer, Answers};
use crate::{
    event::Proto,
    explain::predict::{Check, Expected, Verdict},
    output::json::cause_value,
    users::Users,
};

/// One JSON object on one line, with a newline.
pub fn render_json(answers: &Answers, users: &mut Users) -> String {
    let document = Document {
        v: 1,
        kind: "why",
        who: &answers.person.name,
        euid: answers.person.subject.euid,
        pid: answers.person.process,
        note: answers.person.note,
        not_copied: &answers.not_copied,
        answers: answers
            .answers
            .iter()
            .map(|answer| AnswerJson::of(answer, users))
            .collect(),
    };
    let json = serde_json::to_string(&document).expect("strings and numbers always serialise");
    json + "\n"
}

#[derive(Serialize)]
struct Document<'a> {
    v: u8,
    kind: &'static str,
    who: &'a str,
    euid: u32,
    pid: Option<u32>,
    note: Option<&'static str>,
    not_copied: &'a [&'static str],
    answers: Vec<AnswerJson<'a>>,
}

#[derive(Serialize)]
struct AnswerJson<'a> {
    op: &'static str,
    proto: &'static str,
    addr: IpAddr,
    port: u16,
    #[serde(skip_serializing_if = "is_zero")]
    scope_id: u32,
    system: String,
    netns: Option<u32>,
    options: Vec<&'static str>,
    result: &'static str,
    errno: Option<String>,
    checks: Vec<CheckJson<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cause: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tried: Option<TriedJson<'a>>,
}

impl<'a> AnswerJson<'a> {
    fn of(answer: &'a Answer, users: &mut Users) -> Self {
        let Answer {
            situation,
            prediction,
            tried,
        } = answer;
        let (result, errno) = match prediction.result {
            Expected::Ok => ("ok", None),
            Expected::Fails(errno) => ("fails", Some(errno.to_string())),
            Expected::Unknown => ("unknown", None),
        };
        Self {
            op: situation.op.name(),
            proto: match situation.proto {
                Proto::Ip(17) => "udp",
                _ => "tcp",
            },
            addr: situation.to.ip,
            port: situation.to.port,
            scope_id: situation.to.scope_id,
            system: situation.system.to_string(),
            netns: situation.network.netns,
            options: situation.options.names().collect(),
            result,
            errno,
            checks: prediction.checks.iter().map(CheckJson::of).collect(),
            cause: prediction
                .cause
                .as_deref()
                .map(|cause| cause_value(cause, users)),
            tried: tried.as_ref().map(|tried| TriedJson {
                call: &tried.call,
                ret: tried.ret,
                errno: tried.errno().map(|errno| errno.to_string()),
                local_addr: tried.local.map(|local| local.ip()),
                local_port: tried.local.map(|local| local.port()),
                agrees: answer.agrees(),
            }),
        }
    }
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde passes a reference"
)]
const fn is_zero(number: &u32) -> bool {
    *number == 0
}

#[derive(Serialize)]
struct CheckJson<'a> {
    name: &'static str,
    verdict: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    errno: Option<String>,
    detail: &'a str,
}

impl<'a> CheckJson<'a> {
    fn of(check: &'a Check) -> Self {
        let Check {
            station,
            verdict,
            detail,
        } = check;
        Self {
            name: station.name(),
            verdict: verdict.name(),
            errno: match verdict {
                Verdict::No(errno) => Some(errno.to_string()),
                _ => None,
            },
            detail,
        }
    }
}

#[derive(Serialize)]
struct TriedJson<'a> {
    call: &'a str,
    ret: i32,
    errno: Option<String>,
    local_addr: Option<IpAddr>,
    local_port: Option<u16>,
    agrees: Option<bool>,
}
