//! What the lines hold: the types of docs/EVENTS.md as a reader sees them, and the way back to
//! events. Fields that are not known are passed over, as that document asks.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use serde::{Deserialize, Deserializer, de};

use super::{attempt::Attempt, cause::Cause};
use crate::event::{
    self, AttemptId, Cgroup, Comm, Degradation, Degraded, End, Ended, LossReason, MissingHook,
    Place, Runtime, Summary, System, Time,
};

/// What one line says.
#[derive(Debug)]
pub struct Recorded {
    pub item: Item,
    pub users: Users,
}

/// The names that users had, `None` of those that had none.
pub(super) type Users = Vec<(u32, Option<String>)>;

#[derive(Debug)]
pub enum Item {
    Start(Box<event::Start>),
    /// Its id is the number that it was written with
    Attempt(Box<event::Attempt>),
    Outcome {
        /// Its id is the attempt's number
        ended: Ended,
        cause: Option<Arc<event::Cause>>,
    },
    Lost(event::Lost),
    Degraded(Degraded),
    /// Without what it counted of attempts: whoever writes them again counts them
    Summary(Box<Summary>),
    /// A kind that there was not when this was written
    Unknown,
}

#[derive(Deserialize)]
struct Kind {
    v: u32,
    kind: String,
}

impl Recorded {
    /// From one line.
    pub(super) fn parse(line: &[u8]) -> Result<Self, String> {
        let Kind { v, kind } = json(line)?;
        if v != 1 {
            return Err(format!(
                "this is version {v} of the format, and 1 can be read"
            ));
        }
        let mut users = Users::new();
        let item = match kind.as_str() {
            "start" => Item::Start(Box::new(json::<Start>(line)?.into())),
            "attempt" => Item::Attempt(Box::new(json::<Attempt>(line)?.event(&mut users)?)),
            "outcome" => json::<Ending>(line)?.item(&mut users)?,
            "degraded" => Item::Degraded(json::<RecordedDegraded>(line)?.event()),
            "lost" => Item::Lost(json::<Lost>(line)?.event()?),
            "summary" => Item::Summary(Box::new(json::<RecordedSummary>(line)?.event()?)),
            _ => Item::Unknown,
        };
        Ok(Self { item, users })
    }
}

/// Without the parser's own line number, which is always 1.
fn json<'a, T: Deserialize<'a>>(line: &'a [u8]) -> Result<T, String> {
    serde_json::from_slice(line).map_err(|error| {
        let column = error.column();
        let text = error.to_string();
        let what = text
            .rsplit_once(" at line ")
            .map_or(&*text, |(what, _)| what);
        format!("{what}, at column {column}")
    })
}

/// The one of that name.
pub(super) fn named<T: Copy>(
    all: &[T],
    name: impl Fn(T) -> &'static str,
    wanted: Option<&str>,
) -> Option<T> {
    let wanted = wanted?;
    all.iter().copied().find(|&one| name(one) == wanted)
}

pub(super) fn time<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Time, D::Error> {
    rfc3339(&String::deserialize(deserializer)?)
}

pub(super) fn rfc3339<E: de::Error>(text: &str) -> Result<Time, E> {
    let time: jiff::Timestamp = text.parse().map_err(E::custom)?;
    let time = i64::try_from(time.as_nanosecond()).map_err(E::custom)?;
    Ok(Time(time))
}

pub(super) fn system<'de, D: Deserializer<'de>>(deserializer: D) -> Result<System, D::Error> {
    let name = String::deserialize(deserializer)?;
    System::named(&name)
        .ok_or_else(|| de::Error::custom(format!("the system `{name}` is not known")))
}

#[derive(Deserialize)]
struct Start {
    #[serde(deserialize_with = "time")]
    time: Time,
    /// Linux where it is not said
    #[serde(default, deserialize_with = "system")]
    system: System,
    backend: String,
    ring_bytes: Option<u32>,
    hooks: Vec<String>,
    missing: Vec<Missing>,
    degradations: Vec<Weaker>,
    kernel: String,
    filters: Vec<String>,
    pid: u32,
}

#[derive(Deserialize)]
struct Missing {
    hook: String,
    why: String,
    unseen: String,
}

#[derive(Deserialize)]
struct Weaker {
    what: String,
    why: String,
    remedy: Option<String>,
}

impl From<Weaker> for Degradation {
    fn from(weaker: Weaker) -> Self {
        let Weaker { what, why, remedy } = weaker;
        Self { what, why, remedy }
    }
}

#[derive(Deserialize)]
struct RecordedDegraded {
    #[serde(deserialize_with = "time")]
    time: Time,
    #[serde(flatten)]
    weaker: Weaker,
}

impl RecordedDegraded {
    fn event(self) -> Degraded {
        Degraded {
            time: self.time,
            degradation: self.weaker.into(),
        }
    }
}

impl From<Start> for event::Start {
    fn from(start: Start) -> Self {
        let missing = start.missing.into_iter().map(|missing| MissingHook {
            hook: missing.hook,
            why: missing.why,
            unseen: missing.unseen.into(),
        });
        let degradations = start.degradations.into_iter().map(Into::into);
        Self {
            time: start.time,
            system: start.system,
            backend: start.backend.into(),
            ring_bytes: start.ring_bytes,
            hooks: start.hooks,
            missing: missing.collect(),
            degradations: degradations.collect(),
            kernel: start.kernel,
            filters: start.filters,
            pid: start.pid,
        }
    }
}

#[derive(Deserialize)]
pub(super) struct Container {
    runtime: Option<String>,
    id: String,
}

/// The cgroup that has this path, and what the path names; `None` where none of it is known.
pub(super) fn cgroup(
    path: Option<String>,
    unit: Option<String>,
    container: Option<Container>,
) -> Option<Arc<Cgroup>> {
    let container = container.map(|Container { runtime, id }| event::Container {
        runtime: named(&Runtime::ALL, Runtime::name, runtime.as_deref()),
        id,
    });
    let known = path.is_some() || unit.is_some() || container.is_some();
    known.then(|| {
        Arc::new(Cgroup {
            path: path.unwrap_or_default(),
            unit,
            container,
        })
    })
}

/// The number that an attempt was written with tells it from the others of its recording.
pub(super) const fn id(seq: u64) -> AttemptId {
    AttemptId {
        start_ns: seq,
        tid: 0,
    }
}

/// Bytes that are shown like this. U+FFFD stands for a byte that is not UTF-8; which one it was is
/// not known, and 0xff, which is never part of UTF-8, is shown like any.
pub(super) fn bytes(text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    for char in text.chars() {
        match char {
            char::REPLACEMENT_CHARACTER => bytes.push(0xff),
            char => bytes.extend_from_slice(char.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    bytes
}

pub(super) fn comm(text: &str) -> Result<Comm, String> {
    let bytes = bytes(text);
    let mut raw = [0; 16];
    let fits = bytes.len() <= raw.len() && !bytes.contains(&0);
    match raw.get_mut(..bytes.len()).filter(|_| fits) {
        Some(place) => place.copy_from_slice(&bytes),
        None => return Err("a command name is too long, or holds a NUL".to_owned()),
    }
    Ok(Comm::new(raw))
}

#[derive(Deserialize)]
struct Ending {
    seq: u64,
    #[serde(deserialize_with = "time")]
    time: Time,
    ret: Option<i32>,
    outcome: String,
    latency_ns: u64,
    #[serde(default)]
    reset: bool,
    cause: Option<Cause>,
}

impl Ending {
    fn item(self, users: &mut Users) -> Result<Item, String> {
        let end = match (self.outcome.as_str(), self.ret) {
            ("ok", _) => End::Connected,
            ("failed", Some(ret)) => End::Failed(ret),
            ("abandoned", _) => End::Abandoned,
            (other, _) => return Err(format!("the outcome `{other}` is not known")),
        };
        Ok(Item::Outcome {
            ended: Ended {
                id: id(self.seq),
                time: self.time,
                latency: Duration::from_nanos(self.latency_ns),
                end,
                reset: self.reset,
            },
            cause: self.cause.and_then(|cause| cause.event(users)),
        })
    }
}

#[derive(Deserialize)]
struct Lost {
    #[serde(deserialize_with = "time")]
    time: Time,
    count: u64,
    reason: String,
    r#where: String,
}

impl Lost {
    fn event(self) -> Result<event::Lost, String> {
        Ok(event::Lost {
            time: self.time,
            count: self.count,
            reason: reason(&self.reason)?,
            place: place(&self.r#where),
        })
    }
}

fn place(name: &str) -> Place {
    let cpu = name.strip_prefix("cpu ").and_then(|cpu| cpu.parse().ok());
    match cpu {
        Some(cpu) => Place::Cpu(cpu),
        None if name == Place::HERE => Place::Here,
        None => Place::Hook(name.into()),
    }
}

fn reason(name: &str) -> Result<LossReason, String> {
    named(&LossReason::ALL, LossReason::name, Some(name))
        .ok_or_else(|| format!("the reason `{name}` is not known"))
}

#[derive(Deserialize)]
struct RecordedSummary {
    #[serde(deserialize_with = "time")]
    time: Time,
    run_time_ns: u64,
    losses: BTreeMap<String, u64>,
}

impl RecordedSummary {
    fn event(self) -> Result<Summary, String> {
        let losses = self.losses.into_iter();
        let losses = losses.map(|(name, count)| Ok((reason(&name)?, count)));
        Ok(Summary {
            time: self.time,
            run_time: Duration::from_nanos(self.run_time_ns),
            lost: losses.collect::<Result<_, String>>()?,
            ..Summary::default()
        })
    }
}
