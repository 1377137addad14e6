//! Filters that exclude each other: which, why, and what to type instead.

use std::fmt;

use super::filters::option_of;
use crate::{
    cli::Filters,
    event::Family,
    filter::{Field, Filter, Limit, PID_LIMIT, Test, Value},
};

/// Why no attempt can pass.
#[derive(Debug, PartialEq, Eq)]
pub struct Contradiction {
    /// As they would be typed
    filters: Vec<String>,
    why: String,
    remedy: String,
}

impl Contradiction {
    /// Of filters, with the options that they come from.
    pub(super) fn find(filter: &Filter, typed: &Filters) -> Option<Self> {
        let tests = filter.contradiction()?.tests;
        let (why, remedy) = reason(&tests);
        Some(Self {
            filters: tests.iter().map(|test| option_of(test, typed)).collect(),
            why,
            remedy,
        })
    }
}

impl fmt::Display for Contradiction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            filters,
            why,
            remedy,
        } = self;
        match &filters[..] {
            [only] => write!(f, "no attempt can pass {only}")?,
            [first @ .., last] => {
                write!(
                    f,
                    "no attempt can pass both {} and {last}",
                    first.join(", ")
                )?;
            }
            [] => {}
        }
        write!(f, ": {why}\n  try: {remedy}")
    }
}

/// Why they exclude each other, and what to type.
fn reason(tests: &[Test]) -> (String, String) {
    let has = |field| tests.iter().any(|test| test.field() == field);
    let values = || tests.iter().flat_map(Test::wanted);
    if let Some((value, limit)) = values().find_map(|value| Some((value, value.limit()?))) {
        return of_limit(value, limit);
    }
    let (why, remedy) = if has(Field::Dport) && (has(Field::Op) || has(Field::Role)) {
        (
            "only a connect has a dport, the port of the far end",
            "--port, which is the port asked for, of a bind too",
        )
    } else if has(Field::Dport) && has(Field::Port) {
        (
            "the port of a connect is its dport, and a bind has none",
            "--port or --dport alone",
        )
    } else if has(Field::Lport) && has(Field::Port) {
        (
            "the port of a bind and of a listen is its lport",
            "--port or --lport alone",
        )
    } else if has(Field::Role) {
        (
            "a server's calls are binds and listens, a client's are connects and binds to port 0",
            "--op alone",
        )
    } else if has(Field::Op) && (has(Field::Family) || has(Field::Addr)) {
        (
            "a listen() passes no address, so it has no addr and no family",
            "--op listen without them, with --port for the port that it was given",
        )
    } else if has(Field::Family) && has(Field::Addr) {
        return of_families(tests);
    } else if has(Field::Errno) && has(Field::Outcome) {
        (
            "only an attempt that failed has such an error",
            "--errno alone",
        )
    } else if has(Field::Pid) && has(Field::PpidTree) {
        (
            "a process belongs to its own tree",
            "--ppid-tree with the pid of one of its children",
        )
    } else {
        return of_one(tests);
    };
    (why.to_owned(), remedy.to_owned())
}

fn of_limit(value: &Value, limit: Limit) -> (String, String) {
    let remedy = match (limit, value) {
        (Limit::Comm, Value::Comm(glob)) => format!("--comm '{}'", glob.cut()),
        (Limit::Netns, _) => {
            "--netns pid:PID, or the inode that `ls -Li /proc/PID/ns/net` shows".to_owned()
        }
        _ => "the pid that `ps -e` shows on the host".to_owned(),
    };
    (why_beyond(limit).to_owned(), remedy)
}

/// What a value is beyond.
pub const fn why_beyond(limit: Limit) -> &'static str {
    match limit {
        Limit::Comm => "the kernel cuts command names to 15 bytes",
        Limit::Pid => PIDS_END,
        Limit::Netns => "no network namespace has the inode 0",
    }
}

const PIDS_END: &str = "the largest process id of Linux is 4194303";
const _: () = assert!(PID_LIMIT == 4_194_304, "the sentence names it");

fn of_families(tests: &[Test]) -> (String, String) {
    let family = |family| Value::Family(family);
    let asks = |value: &Value| tests.iter().any(|test| test.wanted().contains(value));
    let (why, other) = match (asks(&family(Family::Ipv4)), asks(&family(Family::Ipv6))) {
        (true, _) => ("IPv4 has no such address", "-6"),
        (_, true) => ("IPv6 has no such address", "-4"),
        _ => ("only IPv4 and IPv6 have addresses", "-4 or -6"),
    };
    (why.to_owned(), format!("--addr alone, or {other}"))
}

/// Tests of one field, and others that no rule is written for.
fn of_one(tests: &[Test]) -> (String, String) {
    let [first, rest @ ..] = tests else {
        return (String::new(), String::new());
    };
    let name = first.field().name();
    if rest.iter().any(|test| test.field() != first.field()) {
        let why = "what one asks for the other excludes".to_owned();
        return (why, "one of them alone".to_owned());
    }
    let is_excluded = tests.iter().any(|test| !test.unwanted().is_empty());
    let why = if is_excluded {
        format!("every {name} that is asked for is excluded as well")
    } else {
        format!("an attempt has one {name} only")
    };
    let remedy = match &tests {
        [_] => "the list without its `!` values, or without the others".to_owned(),
        _ => format!("one of them alone, or one list for either: --filter {name}=A,B"),
    };
    (why, remedy)
}
