//! Answers that are still fresh: a server that tries again and again asks the same each time.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use super::Wanted;
use crate::{event::Attempt, explain::Facts};

#[derive(Debug, Default)]
pub(super) struct Answers {
    known: HashMap<Key, (Instant, Facts)>,
}

/// What was asked, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    netns: Option<u32>,
    /// Whose credentials
    tid: Option<u32>,
    wanted: Wanted,
}

impl Key {
    pub(super) fn of(attempt: &Attempt, wanted: Wanted) -> Self {
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

    pub(super) fn get(&self, key: &Key, now: Instant) -> Option<&Facts> {
        let (taken, facts) = self.known.get(key)?;
        let fresh = now.saturating_duration_since(*taken) < Self::FRESH;
        fresh.then_some(facts)
    }

    pub(super) fn put(&mut self, key: Key, now: Instant, facts: Facts) {
        if self.known.len() >= Self::CAPACITY {
            self.known.clear();
        }
        self.known.insert(key, (now, facts));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::sample;

    fn key(netns: u32) -> Key {
        let attempt = Attempt {
            netns: Some(netns),
            ..sample::attempt()
        };
        Key::of(&attempt, Wanted::default())
    }

    #[test]
    fn an_answer_is_good_for_a_second_and_in_its_namespace() {
        let mut answers = Answers::default();
        let now = Instant::now();
        answers.put(key(7), now, Facts::default());
        let later = |ms| now + Duration::from_millis(ms);
        assert!(answers.get(&key(7), later(999)).is_some());
        assert!(answers.get(&key(7), later(1000)).is_none());
        assert!(answers.get(&key(8), now).is_none());
    }

    #[test]
    fn answers_do_not_pile_up() {
        let mut answers = Answers::default();
        let now = Instant::now();
        for netns in 0..10_000 {
            answers.put(key(netns), now, Facts::default());
            assert!(answers.known.len() <= Answers::CAPACITY);
            assert!(answers.get(&key(netns), now).is_some());
        }
    }
}
