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

/// Attempts lost since the last look.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LossCount {
    pub reason: LossReason,
    pub place: Place,
    pub count: u64,
}
