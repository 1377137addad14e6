//! Ends that come before their attempts: on the same host a refusal is quicker than the call's own
//! return, and of a call that waits the end is what it waits for.

use std::collections::BTreeMap;

use crate::event::{AttemptId, Ended};

/// Those of attempts that nobody wants come by here too, and stay until they have to make room.
const MOST: usize = 4096;

/// Ends that wait for their attempts.
#[derive(Debug, Default)]
pub(super) struct Early {
    /// Oldest attempt first
    ends: BTreeMap<AttemptId, Ended>,
    /// When the youngest attempt began whose end had to go
    forgotten: Option<u64>,
}

impl Early {
    pub(super) fn put(&mut self, ended: Ended) {
        if self.ends.len() >= MOST
            && let Some((id, _)) = self.ends.pop_first()
        {
            self.forgotten = self.forgotten.max(Some(id.start_ns));
        }
        self.ends.insert(ended.id, ended);
    }

    pub(super) fn take(&mut self, id: AttemptId) -> Option<Ended> {
        if self.ends.is_empty() {
            return None;
        }
        self.ends.remove(&id)
    }

    pub(super) fn has(&self, id: AttemptId) -> bool {
        self.ends.contains_key(&id)
    }

    /// Whether the end of that attempt, which is not here, may be one of those that had to go.
    pub(super) fn may_have_gone(&self, id: AttemptId) -> bool {
        self.forgotten >= Some(id.start_ns)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcomes::sample::{ended, id};

    #[test]
    fn ends_of_others_do_not_pile_up() {
        let mut early = Early::default();
        for start in 0..10_000 {
            early.put(ended(start, -111));
        }
        assert_eq!(early.ends.len(), MOST);
        assert!(early.take(id(9_999)).is_some() && early.take(id(9_999)).is_none());
        assert!(early.take(id(0)).is_none() && early.may_have_gone(id(0)));
        assert!(!early.may_have_gone(id(9_999)));
    }
}
