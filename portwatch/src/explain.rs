//! Why an attempt ended as it did: a pure function from the attempt and what was looked up about it.
//!
//! The kernel's own verdicts come first, station by station; then the error number together with
//! the state before the call. Where nothing fits, the cause says what the kernel returned and from
//! where, and never guesses.

pub mod absence;
mod address;
mod answer;
mod bind;
mod case;
pub mod catalogue;
pub mod conflict;
mod connect;
mod draft;
mod exhausted;
mod facts;
mod fix;
mod gate;
mod in_use;
mod length;
pub mod listener;
mod macos;
pub mod predict;
mod privilege;
mod quote;
mod repeat;
mod scope;
mod success;
#[cfg(test)]
mod tests;

use self::{case::Case, draft::Draft};
pub use self::{
    facts::{
        Address, Asked, Assigned, Elsewhere, Facts, Namespace, Neighbour, Ports, Route, RouteKind,
        Ticket,
    },
    repeat::Repeats,
};
use crate::{
    errno::Errno,
    event::{Attempt, Cause, Op, Outcome, OutcomeOf, System},
};

/// Why `attempt` failed, or why it succeeded where that would surprise.
pub fn explain(attempt: &Attempt, facts: &Facts) -> Option<Box<Cause>> {
    let case = Case { attempt, facts };
    let draft = match (attempt.outcome(), attempt.errno()) {
        (Outcome::Ok, _) => success::explain(&case),
        (Outcome::Pending, errno) => errno.map(|errno| match attempt.system {
            System::Linux => connect::pending(&case, errno),
            System::MacOs(_) => macos::pending(&case, errno),
        }),
        (_, errno) => Some(failure(&case, errno)),
    }?;
    Some(Box::new(draft.finish(&case)))
}

/// Why a pending connect ended as it did.
pub fn explain_outcome(outcome: &OutcomeOf, facts: &Facts) -> Option<Box<Cause>> {
    let case = Case {
        attempt: &outcome.attempt,
        facts,
    };
    let draft = answer::of_outcome(&case, &outcome.ended)?;
    Some(Box::new(draft.finish(&case)))
}

fn failure(case: &Case<'_>, errno: Option<Errno>) -> Draft {
    let Some(errno) = errno else {
        return Draft::no_error(case);
    };
    let explained = match case.attempt.system {
        System::MacOs(version) => macos::failure(case, version, errno),
        System::Linux => gate::explain(case, errno).or_else(|| match case.attempt.op {
            Op::Bind | Op::Listen => bind::explain(case, errno),
            Op::Connect => connect::explain(case, errno),
        }),
    };
    explained.unwrap_or_else(|| Draft::unexplained(case, errno))
}
