//! What the benchmark's two halves have in common: the cases that the host orders (bench.rs), and
//! the figures that come back from the guest (bin/bench.rs).

use serde::{Deserialize, Serialize};

/// A tracer to run, or none, while calls are made.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Case {
    pub name: String,
    /// The tracer and its arguments; empty: nothing traces
    pub argv: Vec<String>,
    pub calls: Vec<Call>,
    /// Whether it writes a line for each call
    pub tells: bool,
    /// Somebody else's: it may not run on this kernel, and has no figures then
    pub foreign: bool,
}

/// What is measured, with the sockets that it takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Call {
    /// socket, bind to a free port, close
    Bind,
    /// socket, bind to a port that somebody listens on, close: the same port each time
    FailedBind,
    /// socket, connect to a listener on this host, accept, close both
    Connect,
    /// socket, bind to a port that somebody listens on, close: each time another port, and after
    /// each a rest
    LoneFailedBind(Others),
}

/// What else there is on the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Others {
    /// 50 processes
    Few,
    /// 350 processes
    Many,
    /// 50 processes, and 50,000 sockets in the network namespace
    Sockets,
}

impl Others {
    pub const fn processes(self) -> u16 {
        match self {
            Self::Few | Self::Sockets => 50,
            Self::Many => 350,
        }
    }
}

impl Call {
    /// One after the other.
    pub const IN_A_ROW: [Self; 3] = [Self::Bind, Self::FailedBind, Self::Connect];
    /// Each by itself.
    pub const LONE: [Self; 3] = [
        Self::LoneFailedBind(Others::Few),
        Self::LoneFailedBind(Others::Many),
        Self::LoneFailedBind(Others::Sockets),
    ];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Bind => "bind",
            Self::FailedBind => "repeated failed bind",
            Self::Connect => "connect",
            Self::LoneFailedBind(Others::Few) => "50 processes",
            Self::LoneFailedBind(Others::Many) => "350 processes",
            Self::LoneFailedBind(Others::Sockets) => "50,000 sockets",
        }
    }
}

/// What one case took.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Figure {
    pub case: String,
    pub call: Call,
    /// Calls that were made
    pub calls: u64,
    /// Instructions in all, of everybody but who only passed the time or read the tracer's output
    pub instructions: u64,
    /// What of them the tracer's own threads took
    pub tracer: u64,
}
