//! What a source hands on.

use crate::event::{Attempt, Ended, LossReason, Place};

/// One thing that happened.
#[derive(Debug, PartialEq, Eq)]
#[expect(
    clippy::large_enum_variant,
    reason = "nearly all are attempts, and none is to have an allocation of its own"
)]
pub enum Record {
    Attempt(Attempt),
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
            Self::Attempt(attempt) => Some(attempt.tgid),
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
