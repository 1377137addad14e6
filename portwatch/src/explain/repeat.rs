//! The same failure again: a server that retries asks for the same port each time.

use std::sync::Arc;

use super::{Facts, explain};
use crate::{
    errno::Errno,
    event::{Attempt, Cause, Holder, Lookup},
};

/// The last port that was in use, and why.
#[derive(Debug, Default)]
pub struct Repeats(Option<Repeat>);

#[derive(Debug)]
struct Repeat {
    attempt: Attempt,
    facts: Arc<Facts>,
    cause: Option<Arc<Cause>>,
}

impl Repeats {
    /// As [`explain`], which is asked only where something differs from last time.
    pub fn explain(&mut self, attempt: &Attempt, facts: &Arc<Facts>) -> Option<Arc<Cause>> {
        if !may_repeat(attempt, facts) {
            return explain(attempt, facts).map(Arc::from);
        }
        let is_same =
            |last: &Repeat| Arc::ptr_eq(&last.facts, facts) && is_same_call(&last.attempt, attempt);
        if let Some(last) = self.0.as_ref().filter(|last| is_same(last)) {
            return last.cause.clone();
        }
        let cause = explain(attempt, facts).map(Arc::from);
        self.0 = Some(Repeat {
            attempt: attempt.clone(),
            facts: Arc::clone(facts),
            cause: cause.clone(),
        });
        cause
    }
}

/// Whether nothing in the cause depends on when the call was made: of a port in use, the time from the
/// call to a look that came after it, and from a bind of the caller's own.
fn may_repeat(attempt: &Attempt, facts: &Facts) -> bool {
    let is_callers = |holder: &Holder| match &holder.process {
        Lookup::Found(process) => process.tgid == attempt.tgid && holder.since.is_some(),
        Lookup::NotThere | Lookup::NotSeen(_) => false,
    };
    attempt.errno() == Some(Errno::EADDRINUSE)
        && facts.taken < Some(attempt.time)
        && !facts.holders.found.iter().any(is_callers)
}

/// Whether all else is the same. A socket is another one each time.
fn is_same_call(last: &Attempt, again: &Attempt) -> bool {
    let again = Attempt {
        id: last.id,
        time: last.time,
        latency: last.latency,
        inode: last.inode,
        cause: None,
        ..again.clone()
    };
    *last == again
}
