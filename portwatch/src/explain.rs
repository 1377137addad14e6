//! Why an attempt ended as it did: a pure function from the attempt and what was looked up about it.
//!
//! The kernel's own verdicts come first, station by station; then the error number together with
//! the state before the call. Where nothing fits, the cause says what the kernel returned and from
//! where, and never guesses.

pub mod conflict;
mod facts;

pub use self::facts::{
    Address, Assigned, Elsewhere, Facts, Ports, Route, RouteKind, Skipped, System, Version,
};
use crate::event::{Attempt, Cause, OutcomeOf};

/// Why `attempt` failed, or why it succeeded where that would surprise.
pub fn explain(_attempt: &Attempt, _facts: &Facts) -> Option<Box<Cause>> {
    None
}

/// Why a pending connect ended as it did.
pub fn explain_outcome(_outcome: &OutcomeOf, _facts: &Facts) -> Option<Box<Cause>> {
    None
}
