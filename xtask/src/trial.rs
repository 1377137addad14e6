//! What `cargo xtask load` and its half that measures (bin/load/) say to each other.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A tracer to run, or none, and what to find out about it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    pub name: String,
    /// The tracer and its arguments; empty: nothing traces
    pub argv: Vec<String>,
    /// The end of its output has these words where nothing was lost
    pub clean: Option<String>,
    pub trial: Trial,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Trial {
    /// The highest rate of binds of which none is lost, for so long
    Held(Duration),
    /// Its memory while its output is read and binds fail and succeed, and connects
    Soak(Load),
    /// Its memory while nobody reads its output, and binds succeed
    Stalled(Load),
    /// How many are lost of so many binds that fail, as fast as the machine makes them
    Flood(u64),
    /// What it takes when nothing happens
    Rest(Duration),
    /// How long it takes from its start to its first line, so many times
    Start(usize),
}

impl Trial {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Held(_) => "held",
            Self::Soak(_) => "soak",
            Self::Stalled(_) => "stalled",
            Self::Flood(_) => "flood",
            Self::Rest(_) => "rest",
            Self::Start(_) => "start",
        }
    }
}

/// Attempts at a pace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Load {
    /// In a second
    pub rate: u64,
    pub time: Duration,
}

/// What came of a trial, in its order.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Outcome {
    pub order: Order,
    pub found: Found,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Found {
    /// Attempts a second
    Held(u64),
    Memory(Memory),
    Flood {
        /// In a second
        rate: u64,
        lost: u64,
    },
    Rest(Rest),
    Start {
        median: Duration,
        longest: Duration,
    },
}

/// What is resident, in KiB.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Memory {
    /// Attempts that were made in a second
    pub rate: u64,
    pub ready: u64,
    /// A tenth of the time later
    pub early: u64,
    pub end: u64,
    /// The most, from when it was ready
    pub highest: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rest {
    /// That its threads have run
    pub run: Duration,
    /// How often they were switched
    pub switches: u64,
    /// Lines that it wrote all the same
    pub lines: u64,
}
