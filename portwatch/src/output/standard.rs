//! What the formats of others share: fields by their names, and ours where they have none.

use std::io::{self, Write};

use super::value::{string, write_json};
use crate::{
    errno::Errno,
    event::{Attempt, Event, Family, Op, Outcome, Proto, Runtime},
    fields::{Field, Record, TABLE, Value},
    users::Users,
};

/// A name in a standard, with dots between objects, and what we have for it.
pub(super) type Mapping = (&'static str, for<'a> fn(&Record<'a>) -> Value<'a>);

/// EPERM and EACCES (include/uapi/asm-generic/errno-base.h): somebody said no.
pub(super) fn is_denied(record: &Record<'_>) -> bool {
    const EPERM: u16 = 1;
    const EACCES: u16 = 13;
    matches!(record.errno().map(Errno::number), Some(EPERM | EACCES))
}

/// As syslog and the journal have it: warning, notice where it was denied, informational.
pub(super) fn severity(record: &Record<'_>) -> u8 {
    const WARNING: u8 = 4;
    const NOTICE: u8 = 5;
    const INFORMATIONAL: u8 = 6;
    match (record.event, record.outcome()) {
        (Event::Lost(_) | Event::Degraded(_), _) => WARNING,
        (_, Some(Outcome::Failed)) if is_denied(record) => NOTICE,
        (_, Some(Outcome::Failed)) => WARNING,
        _ => INFORMATIONAL,
    }
}

/// The fields that no standard has a place for: all, without those that every one has.
pub(super) fn native() -> impl Iterator<Item = &'static Field> {
    const PLACED: &[&str] = &[
        "v",
        "seq",
        "time",
        "op",
        "pid",
        "tid",
        "ppid",
        "comm",
        "exe",
        "cmdline",
        "uid",
        "euid",
        "gid",
        "user",
        "family",
        "proto",
        "addr",
        "port",
        "latency_ns",
        "container.runtime",
        "container.id",
    ];
    TABLE.iter().filter(|field| !PLACED.contains(&field.name))
}

/// The address that is ours: asked for by a bind, had by a connect.
pub(super) fn local_ip<'a>(of: &Record<'a>) -> Value<'a> {
    local(
        of,
        |bound| Some(bound.requested?.ip),
        |connected| Some(connected.local?.ip),
    )
}

/// Its port.
pub(super) fn local_port<'a>(of: &Record<'a>) -> Value<'a> {
    local(
        of,
        |bound| Some(bound.requested?.port),
        |connected| connected.local?.port,
    )
}

/// The address that a connect asked for.
pub(super) fn peer_ip<'a>(of: &Record<'a>) -> Value<'a> {
    connect(of, |attempt| Some(attempt.requested?.ip))
}

/// Its port.
pub(super) fn peer_port<'a>(of: &Record<'a>) -> Value<'a> {
    connect(of, |attempt| Some(attempt.requested?.port))
}

/// What runs the caller's container.
pub(super) fn runtime<'a>(of: &Record<'a>) -> Value<'a> {
    let container = of.cgroup().and_then(|cgroup| cgroup.container.as_ref());
    container
        .and_then(|container| container.runtime)
        .map(Runtime::name)
        .into()
}

/// The protocol's number; MPTCP, SMC and raw sockets have none that goes over the wire.
pub(super) const fn iana(proto: Proto) -> Option<u16> {
    match proto {
        Proto::Ip(number @ 0..=255) => Some(number),
        Proto::Ip(_) | Proto::Raw => None,
    }
}

/// The family's name, of those that the internet has.
pub(super) const fn internet(family: Family) -> Option<&'static str> {
    match family {
        Family::Ipv4 => Some("ipv4"),
        Family::Ipv6 => Some("ipv6"),
        Family::Unspec | Family::Other(_) => None,
    }
}

/// Of a bind one value, of a connect another.
pub(super) fn local<'a, T: Into<Value<'a>>>(
    of: &Record<'a>,
    bound: impl FnOnce(&'a Attempt) -> T,
    connected: impl FnOnce(&'a Attempt) -> T,
) -> Value<'a> {
    of.attempt
        .map(|attempt| match attempt.op {
            Op::Bind | Op::Listen => bound(attempt),
            Op::Connect => connected(attempt),
        })
        .into()
}

/// What is known only of a connect.
pub(super) fn connect<'a, T: Into<Value<'a>>>(
    of: &Record<'a>,
    get: impl FnOnce(&'a Attempt) -> T,
) -> Value<'a> {
    of.attempt
        .filter(|attempt| attempt.op == Op::Connect)
        .map(get)
        .into()
}

/// Writes one event as an object of those names, with what they have no place for below `rest`.
pub(super) fn document<W: Write>(
    out: &mut W,
    record: &Record<'_>,
    fields: &[Mapping],
    rest: &'static str,
    users: &mut Users,
) -> io::Result<()> {
    let mut object = Nested::begin(out)?;
    for (path, value) in fields {
        object.add(None, path, &value(record), users)?;
    }
    for field in native() {
        object.add(Some(rest), field.name, &(field.get)(record), users)?;
    }
    object.end()
}

/// Writes JSON objects within objects from names with dots. Names with the same beginning have to
/// stand together.
struct Nested<'a, W> {
    out: &'a mut W,
    /// The objects that are open
    open: Vec<&'static str>,
    /// Nothing is in the innermost of them yet
    empty: bool,
}

impl<'a, W: Write> Nested<'a, W> {
    fn begin(out: &'a mut W) -> io::Result<Self> {
        out.write_all(b"{")?;
        Ok(Self {
            out,
            open: Vec::new(),
            empty: true,
        })
    }

    /// A field below `prefix`; what is not known is left out.
    fn add(
        &mut self,
        prefix: Option<&'static str>,
        path: &'static str,
        value: &Value<'_>,
        users: &mut Users,
    ) -> io::Result<()> {
        let absent = match value {
            Value::Unknown => true,
            Value::User(uid) => users.name(*uid).is_none(),
            _ => false,
        };
        if absent {
            return Ok(());
        }
        let mut names: Vec<_> = prefix.into_iter().chain(path.split('.')).collect();
        let Some(key) = names.pop() else {
            return Ok(());
        };
        self.enter(&names)?;
        self.key(key)?;
        write_json(self.out, value, users)
    }

    fn enter(&mut self, names: &[&'static str]) -> io::Result<()> {
        let pairs = self.open.iter().zip(names);
        let shared = pairs.take_while(|(open, name)| open == name).count();
        while self.open.len() > shared {
            self.close()?;
        }
        for name in &names[shared..] {
            self.key(name)?;
            self.out.write_all(b"{")?;
            self.open.push(name);
            self.empty = true;
        }
        Ok(())
    }

    fn close(&mut self) -> io::Result<()> {
        self.open.pop();
        self.empty = false;
        self.out.write_all(b"}")
    }

    fn key(&mut self, key: &str) -> io::Result<()> {
        if !self.empty {
            self.out.write_all(b",")?;
        }
        self.empty = false;
        string(self.out, key)?;
        self.out.write_all(b":")
    }

    /// Closes what is open, and the line.
    fn end(mut self) -> io::Result<()> {
        self.enter(&[])?;
        self.out.write_all(b"}\n")
    }
}
