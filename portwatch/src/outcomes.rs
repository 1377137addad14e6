//! Connects that are pending, until the source tells how they ended.
//!
//! The end may come first: on the same host a refusal is quicker than the call's own return.
//! It then waits here for its attempt.

use std::collections::{HashMap, VecDeque};

use crate::event::{Attempt, AttemptId, Ended, Op, Outcome, OutcomeOf};

/// Attempts that are followed at once; the kernel's side follows as many
/// (`portwatch_common::settings::PENDING_ENTRIES`).
const PENDING: usize = 16_384;
/// Ends that wait for their attempt: those of other attempts than are shown come by here too.
const EARLY: usize = 1024;
/// Interrupted by a signal: the socket goes on to connect (include/linux/errno.h).
const ERESTARTSYS: i32 = -512;
const EINTR: i32 = -4;

#[derive(Debug, Default)]
pub struct Outcomes {
    pending: HashMap<AttemptId, (u64, Attempt)>,
    early: VecDeque<Ended>,
}

impl Outcomes {
    /// The end of an attempt that is about to be written, if it has come already.
    pub fn early(&mut self, id: AttemptId) -> Option<Ended> {
        let index = self.early.iter().position(|ended| ended.id == id)?;
        self.early.remove(index)
    }

    /// An attempt was written under the number `seq`: gives what is to be written of its end, if
    /// that has come already.
    pub fn follow(
        &mut self,
        seq: u64,
        attempt: &Attempt,
        early: Option<Ended>,
    ) -> Option<OutcomeOf> {
        if !is_open(attempt) {
            return None;
        }
        if let Some(ended) = early {
            return Some(OutcomeOf {
                seq,
                attempt: attempt.clone(),
                ended,
                cause: None,
            });
        }
        if self.pending.len() < PENDING {
            self.pending.insert(attempt.id, (seq, attempt.clone()));
        }
        None
    }

    /// An attempt has ended: gives what is to be written, if it is one that was.
    pub fn end(&mut self, ended: Ended) -> Option<OutcomeOf> {
        if let Some((seq, attempt)) = self.pending.remove(&ended.id) {
            return Some(OutcomeOf {
                seq,
                attempt,
                ended,
                cause: None,
            });
        }
        if self.early.len() == EARLY {
            self.early.pop_front();
        }
        self.early.push_back(ended);
        None
    }
}

/// Whether the call's return does not tell how the connect ends.
pub fn is_open(attempt: &Attempt) -> bool {
    attempt.op == Op::Connect
        && !attempt.repeat
        && (attempt.outcome() == Outcome::Pending
            || matches!(attempt.ret, Some(EINTR | ERESTARTSYS)))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::event::{End, Time, sample::attempt};

    fn connect(start_ns: u64, ret: i32) -> Attempt {
        let id = AttemptId { start_ns, tid: 1 };
        Attempt {
            id,
            op: Op::Connect,
            ret: Some(ret),
            ..attempt()
        }
    }

    fn ended(start_ns: u64) -> Ended {
        Ended {
            id: AttemptId { start_ns, tid: 1 },
            time: Time(0),
            latency: Duration::from_nanos(1),
            end: End::Failed(-111),
            reset: false,
        }
    }

    fn follow(outcomes: &mut Outcomes, attempt: &Attempt) -> Option<OutcomeOf> {
        let early = outcomes.early(attempt.id);
        outcomes.follow(7, attempt, early)
    }

    #[test]
    fn the_end_of_a_pending_connect_is_told_once() {
        let mut outcomes = Outcomes::default();
        assert_eq!(follow(&mut outcomes, &connect(1, -115)), None);
        assert_eq!(outcomes.end(ended(1)).unwrap().seq, 7);
        assert_eq!(outcomes.end(ended(1)), None);
    }

    #[test]
    fn an_end_that_comes_first_waits_for_its_attempt() {
        let mut outcomes = Outcomes::default();
        assert_eq!(outcomes.end(ended(1)), None);
        assert_eq!(follow(&mut outcomes, &connect(1, -115)).unwrap().seq, 7);
    }

    #[test]
    fn the_end_of_a_call_that_waited_is_no_news() {
        let mut outcomes = Outcomes::default();
        assert_eq!(outcomes.end(ended(1)), None);
        assert_eq!(follow(&mut outcomes, &connect(1, -111)), None);
        assert!(outcomes.early.is_empty() && outcomes.pending.is_empty());
    }

    #[test]
    fn an_interrupted_connect_is_followed_and_a_repeated_one_is_not() {
        let mut outcomes = Outcomes::default();
        follow(&mut outcomes, &connect(1, ERESTARTSYS));
        let repeated = Attempt {
            repeat: true,
            ..connect(2, -115)
        };
        follow(&mut outcomes, &repeated);
        assert_eq!(outcomes.pending.len(), 1);
    }

    #[test]
    fn ends_of_others_do_not_pile_up() {
        let mut outcomes = Outcomes::default();
        for start in 0..5000 {
            outcomes.end(ended(start));
        }
        assert_eq!(outcomes.early.len(), EARLY);
    }
}
