//! Open Cybersecurity Schema Framework: one event a line.
//!
//! Attempts are Network Activity (4001), losses Application Error (6008), start and summary
//! Application Lifecycle (6002). What they have no attribute for is below `unmapped`.

use std::io::{self, Write};

use super::{
    sentence::sentence,
    standard::{Mapping, document, iana, local, local_ip, local_port, peer_ip, peer_port, runtime},
};
use crate::{
    event::{Event, Family, Op, Outcome},
    fields::{Record, Value, get},
    users::Users,
};

/// The version of the schema that these names are from.
const VERSION: &str = "1.8.0";

const FIELDS: &[Mapping] = &[
    ("class_uid", |of| class(of).uid.into()),
    ("category_uid", |of| (class(of).uid / 1000).into()),
    ("activity_id", |of| class(of).activity.into()),
    ("type_uid", |of| {
        (class(of).uid * 100 + class(of).activity).into()
    }),
    ("severity_id", |of| severity(of).into()),
    ("time", |of| (of.time.0 / 1_000_000).into()),
    ("message", |of| sentence(of).into()),
    ("status_id", |of| status(of).into()),
    ("status_code", |of| of.errno().into()),
    ("status_detail", |of| {
        of.cause.map(|cause| Value::Prose(&cause.text)).into()
    }),
    ("duration", |of| {
        let millis = of.latency().map(|latency| latency.as_millis());
        millis.and_then(|millis| u64::try_from(millis).ok()).into()
    }),
    ("metadata.profiles", |of| {
        of.of(|_| Value::Words(profiles(of)))
    }),
    ("metadata.version", |_| VERSION.into()),
    ("metadata.sequence", |of| of.seq.into()),
    ("metadata.product.name", |_| "portwatch".into()),
    ("metadata.product.version", |_| {
        env!("CARGO_PKG_VERSION").into()
    }),
    ("app.name", |of| {
        let lifecycle = matches!(of.event, Event::Start(_) | Event::Summary(_));
        lifecycle.then_some("portwatch").into()
    }),
    ("src_endpoint.ip", local_ip),
    ("src_endpoint.port", local_port),
    // An endpoint is required; of an address that could not be read this is what there is.
    ("src_endpoint.name", |of| {
        local(
            of,
            |bound| bound.requested.is_none().then_some("unknown"),
            |connected| {
                let nowhere = connected.requested.is_none() && connected.local.is_none();
                nowhere.then_some("unknown")
            },
        )
    }),
    ("dst_endpoint.ip", peer_ip),
    ("dst_endpoint.port", peer_port),
    ("connection_info.direction_id", |of| {
        of.of(|attempt| direction(attempt.op))
    }),
    ("connection_info.protocol_name", |of| {
        of.of(|attempt| attempt.proto)
    }),
    ("connection_info.protocol_num", |of| {
        of.of(|attempt| iana(attempt.proto?))
    }),
    ("connection_info.protocol_ver_id", |of| {
        of.of(|attempt| version(attempt.family?))
    }),
    ("actor.process.pid", |of| of.of(|attempt| attempt.tgid)),
    ("actor.process.tid", |of| of.of(|attempt| attempt.tid)),
    ("actor.process.name", |of| {
        of.of(|attempt| Value::Foreign(attempt.comm.as_bytes()))
    }),
    ("actor.process.path", |of| get("exe", of)),
    ("actor.process.cmd_line", |of| {
        of.of(|attempt| {
            let arguments = attempt.process.as_ref()?.cmdline.as_ref()?;
            Some(arguments.join(" "))
        })
    }),
    ("actor.process.parent_process.pid", |of| {
        of.of(|attempt| attempt.ppid)
    }),
    ("actor.process.container.uid", |of| get("container.id", of)),
    ("actor.process.container.runtime", runtime),
    ("actor.user.uid", |of| {
        of.of(|attempt| attempt.euid.unwrap_or(attempt.uid).to_string())
    }),
    ("actor.user.name", |of| get("user", of)),
];

/// Writes one event.
pub(super) fn print<W: Write>(
    out: &mut W,
    seq: u64,
    event: &Event,
    users: &mut Users,
) -> io::Result<()> {
    document(out, &Record::new(seq, event), FIELDS, "unmapped", users)
}

/// What the attributes `actor` and `actor.process.container` come from.
fn profiles(of: &Record<'_>) -> &'static [&'static str] {
    match of.cgroup().and_then(|cgroup| cgroup.container.as_ref()) {
        Some(_) => &["host", "container"],
        None => &["host"],
    }
}

struct Class {
    uid: u32,
    activity: u32,
}

fn class(of: &Record<'_>) -> Class {
    const APPLICATION_LIFECYCLE: u32 = 6002;
    let (uid, activity) = match of.event {
        Event::Attempt(_) | Event::Pending(_) | Event::Outcome(_) => (4001, activity(of)),
        // Start, Stop
        Event::Start(_) => (APPLICATION_LIFECYCLE, 3),
        Event::Summary(_) => (APPLICATION_LIFECYCLE, 4),
        // General error
        Event::Lost(_) | Event::Degraded(_) => (6008, 1),
    };
    Class { uid, activity }
}

fn activity(of: &Record<'_>) -> u32 {
    const OPEN: u32 = 1;
    const FAIL: u32 = 4;
    const REFUSE: u32 = 5;
    const LISTEN: u32 = 7;
    const OTHER: u32 = 99;
    match (of.attempt.map(|attempt| attempt.op), of.outcome()) {
        (_, Some(Outcome::Failed)) if of.reset() => REFUSE,
        (_, Some(Outcome::Failed)) => FAIL,
        (Some(Op::Connect), Some(_)) => OPEN,
        (Some(Op::Listen), _) => LISTEN,
        _ => OTHER,
    }
}

/// Informational; of failures low, of losses and degradations medium.
fn severity(of: &Record<'_>) -> u32 {
    match (of.event, of.outcome()) {
        (Event::Lost(_) | Event::Degraded(_), _) => 3,
        (_, Some(Outcome::Failed)) => 2,
        _ => 1,
    }
}

/// Success, Failure, Unknown
fn status(of: &Record<'_>) -> Option<u32> {
    of.attempt?;
    Some(match of.outcome() {
        Some(Outcome::Ok) => 1,
        Some(Outcome::Failed) => 2,
        Some(Outcome::Pending | Outcome::Abandoned) | None => 0,
    })
}

/// Outbound; of a bind there is none yet.
const fn direction(op: Op) -> u32 {
    match op {
        Op::Connect => 2,
        Op::Bind | Op::Listen => 0,
    }
}

const fn version(family: Family) -> Option<u32> {
    match family {
        Family::Ipv4 => Some(4),
        Family::Ipv6 => Some(6),
        Family::Unspec | Family::Other(_) => None,
    }
}

#[cfg(test)]
mod tests;
