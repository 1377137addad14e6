//! The counts, by group; of a bounded number of groups.

use std::{cmp::Reverse, collections::HashMap};

use crate::{
    errno::Errno,
    event::{Code, Outcome, Time},
    fields::Record,
};

/// Groups that are counted one by one. What comes beyond them is counted together: a scan of all
/// ports must not fill the memory.
pub(super) const GROUPS: usize = 4096;

#[derive(Debug, Default)]
pub(super) struct Groups {
    known: HashMap<Box<str>, Group>,
    /// What found no room
    others: Option<Group>,
}

/// What is told of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Group {
    pub(super) count: u64,
    pub(super) failed: u64,
    /// Of the last that failed
    pub(super) errno: Option<Errno>,
    pub(super) cause: Option<Code>,
    pub(super) first: Time,
    pub(super) last: Time,
}

impl Groups {
    pub(super) fn add(&mut self, key: &str, record: &Record<'_>) {
        if let Some(group) = self.known.get_mut(key) {
            group.add(record);
        } else if self.known.len() < GROUPS {
            let mut group = Group::empty(record.time);
            group.add(record);
            self.known.insert(key.into(), group);
        } else {
            self.others
                .get_or_insert_with(|| Group::empty(record.time))
                .add(record);
        }
    }

    /// Counts an attempt no more, since it is about to be counted elsewhere. Its group stays, if
    /// need be with nothing in it: what was counted with others must not find its own later.
    pub(super) fn take_back(&mut self, key: &str, record: &Record<'_>) {
        let group = self.known.get_mut(key).or(self.others.as_mut());
        if let Some(group) = group {
            group.count = group.count.saturating_sub(1);
            let failed = u64::from(has_failed(record));
            group.failed = group.failed.saturating_sub(failed);
        }
    }

    /// The largest first, of equals those that failed more often. The others, which have no key,
    /// are the last.
    pub(super) fn sorted(&self) -> Vec<(Option<&str>, &Group)> {
        let known = self.known.iter().filter(|(_, group)| group.count > 0);
        let mut sorted: Vec<_> = known.map(|(key, group)| (Some(&**key), group)).collect();
        sorted.sort_unstable_by_key(|(key, group)| {
            (Reverse(group.count), Reverse(group.failed), *key)
        });
        sorted.extend(self.others.as_ref().map(|others| (None, others)));
        sorted
    }

    pub(super) const fn overflow(&self) -> bool {
        self.others.is_some()
    }
}

impl Group {
    const fn empty(time: Time) -> Self {
        Self {
            count: 0,
            failed: 0,
            errno: None,
            cause: None,
            first: time,
            last: time,
        }
    }

    fn add(&mut self, record: &Record<'_>) {
        self.count += 1;
        self.first = self.first.min(record.time);
        self.last = self.last.max(record.time);
        if has_failed(record) {
            self.failed += 1;
            self.errno = record.errno();
            self.cause = record.cause.map(|cause| cause.code);
        }
    }
}

fn has_failed(record: &Record<'_>) -> bool {
    record.outcome() == Some(Outcome::Failed)
}
