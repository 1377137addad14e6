//! Answers that are still true: a server that tries again and again asks the same each time.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use super::{Inquiry, Wanted};
use crate::{
    clock,
    event::{Attempt, Holder, Time},
    explain::Facts,
};

#[derive(Debug, Default)]
pub(super) struct Answers {
    known: HashMap<Key, Answer>,
}

#[derive(Debug)]
struct Answer {
    facts: Arc<Facts>,
    taken: Instant,
    /// When what it says was last seen to be so
    seen: Option<Time>,
}

/// What was asked, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Key {
    netns: Option<u32>,
    /// Whose credentials
    tid: Option<u32>,
    wanted: Wanted,
}

impl Key {
    fn of(attempt: &Attempt, wanted: Wanted) -> Self {
        Self {
            netns: attempt.netns,
            tid: wanted.privilege.then_some(attempt.tid),
            wanted,
        }
    }
}

impl Answers {
    const FRESH: Duration = Duration::from_secs(1);

    /// When they are that many, all are forgotten.
    const CAPACITY: usize = 256;

    /// A fresh answer that holds of this attempt too: what it says was looked up after the call, or
    /// each process that it names still has its socket. One look serves all calls that came before it.
    pub(super) fn get(
        &mut self,
        attempt: &Attempt,
        wanted: Wanted,
        now: Instant,
        still_holds: impl Fn(&Holder) -> bool,
    ) -> Option<Arc<Facts>> {
        let answer = self.known.get_mut(&Key::of(attempt, wanted))?;
        if now.saturating_duration_since(answer.taken) >= Self::FRESH {
            return None;
        }
        if answer.seen < Some(attempt.time) {
            let holders = &answer.facts.holders.found;
            let holds =
                wanted.only_holders() && !holders.is_empty() && holders.iter().all(still_holds);
            if !holds {
                return None;
            }
            answer.seen = Some(clock::now());
        }
        Some(Arc::clone(&answer.facts))
    }

    pub(super) fn put(&mut self, inquiry: &Inquiry, now: Instant, facts: Arc<Facts>) {
        if self.known.len() >= Self::CAPACITY {
            self.known.clear();
        }
        let key = Key::of(&inquiry.attempt, inquiry.wanted);
        let answer = Answer {
            seen: facts.taken,
            facts,
            taken: now,
        };
        self.known.insert(key, answer);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Holders, Op, Proto, Time, sample, sample::holder};

    fn attempt(netns: u32, time: i64) -> Attempt {
        Attempt {
            op: Op::Bind,
            netns: Some(netns),
            time: Time(time),
            proto: Some(Proto::Ip(6)),
            ..sample::attempt()
        }
    }

    fn wanted() -> Wanted {
        Wanted {
            ports: true,
            holders: Some((Proto::Ip(6), 80)),
            ..Wanted::default()
        }
    }

    fn inquiry(netns: u32) -> Inquiry {
        Inquiry {
            attempt: attempt(netns, 5),
            wanted: wanted(),
            seen: Vec::new(),
        }
    }

    fn taken(time: i64) -> Arc<Facts> {
        Arc::new(Facts {
            taken: Some(Time(time)),
            holders: Holders::all(vec![holder()]),
            ..Facts::default()
        })
    }

    #[test]
    fn an_answer_is_good_for_a_second_and_in_its_namespace() {
        let mut answers = Answers::default();
        let now = Instant::now();
        answers.put(&inquiry(7), now, taken(9));
        let mut at = |netns, ms| {
            let now = now + Duration::from_millis(ms);
            answers.get(&attempt(netns, 9), wanted(), now, |_| false)
        };
        assert!(at(7, 999).is_some());
        assert!(at(7, 1000).is_none());
        assert!(at(8, 0).is_none());
    }

    #[test]
    fn an_older_answer_is_good_only_while_the_holder_has_the_socket() {
        let mut answers = Answers::default();
        let now = Instant::now();
        answers.put(&inquiry(7), now, taken(9));
        let later = attempt(7, 10);
        assert!(answers.get(&later, wanted(), now, |_| false).is_none());
        assert!(answers.get(&later, wanted(), now, |_| true).is_some());
        // That look came after these calls too, and not after one that is still to come.
        assert!(answers.get(&later, wanted(), now, |_| false).is_some());
        let next = attempt(7, clock::now().0 + 60_000_000_000);
        assert!(answers.get(&next, wanted(), now, |_| false).is_none());
    }

    #[test]
    fn that_nobody_holds_a_port_is_found_out_anew() {
        let mut answers = Answers::default();
        let now = Instant::now();
        let nobody = Facts {
            holders: Holders::all(Vec::new()),
            ..Facts::clone(&taken(9))
        };
        answers.put(&inquiry(7), now, Arc::new(nobody));
        let later = attempt(7, 10);
        assert!(answers.get(&later, wanted(), now, |_| true).is_none());
    }

    #[test]
    fn answers_do_not_pile_up() {
        let mut answers = Answers::default();
        let now = Instant::now();
        for netns in 0..10_000 {
            answers.put(&inquiry(netns), now, taken(9));
            assert!(answers.known.len() <= Answers::CAPACITY);
            let found = answers.get(&attempt(netns, 9), wanted(), now, |_| false);
            assert!(found.is_some());
        }
    }
}
