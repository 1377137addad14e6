//! What a source hands on.

use crate::event::{Attempt, Ended, LossReason, Place};

/// One thing that happened.
#[derive(Debug, PartialEq, Eq)]
pub enum Record {
    Attempt(Attempt),
    /// The same, which no filter lets pass: a bind that may explain what others meet
    Aside(Attempt),
    Ended(Ended),
    /// Something was lost: the counters tell
    Notice,
    /// A kernel module was loaded that has functions to hook
    Module,
}

impl Record {
    /// The thread group that made the attempt, if it is one.
    pub const fn caller(&self) -> Option<u32> {
        match self {
            Self::Attempt(attempt) | Self::Aside(attempt) => Some(attempt.tgid),
            Self::Ended(_) | Self::Notice | Self::Module => None,
        }
    }
}

/// Attempts lost since the last look.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LossCount {
    pub reason: LossReason,
    pub place: Place,
    pub count: u64,
}
