//! When the ring is read again: at once, or after a pause in which more collects.
//!
//! Most of what an attempt alone costs is to wake portwatch and to hand its line over. Where they
//! come one after another, a pause of some milliseconds makes one of many such ways; the kernel
//! wakes nobody for what comes behind a record that was not read yet.
//!
//! An attempt by somebody new is read at once, and so is what comes next: a process that lives for a
//! moment has to be looked at while it is there.

use std::{
    collections::HashSet,
    time::{Duration, Instant},
};

/// With what a timer adds to it, whatever happens is written within ten milliseconds.
const PAUSE: Duration = Duration::from_millis(4);

/// Attempts are many when there are more than so many in such a time.
const FEW: usize = 8;
const WHILE: Duration = Duration::from_millis(10);

/// Records that collected in one pause, after which there is none: a quarter of the ring.
const TOO_MANY: usize = 512;

/// Whoever made no attempt for so long is new again.
const KNOWN: Duration = Duration::from_secs(1);
/// Callers that are known at once; all are forgotten when there are more.
const CALLERS: usize = 1024;

/// What came lately.
#[derive(Debug)]
pub(super) struct Pace {
    /// There may be pauses
    may_pause: bool,
    /// Thread groups
    callers: HashSet<u32>,
    known_since: Instant,
    last_caller: Option<u32>,
    /// Of what was read since the last pause
    records: usize,
    is_new: bool,
    /// Within `WHILE`
    lately: usize,
    since: Instant,
    until: Option<Instant>,
}

impl Pace {
    pub(super) fn new(may_pause: bool, now: Instant) -> Self {
        Self {
            may_pause,
            callers: HashSet::new(),
            known_since: now,
            last_caller: None,
            records: 0,
            is_new: false,
            lately: 0,
            since: now,
            until: None,
        }
    }

    /// When the ring is to be read again; `None`: as soon as there is something in it.
    pub(super) const fn until(&self) -> Option<Instant> {
        self.until
    }

    /// Takes note of a record that was read, and of who made the attempt, if it is one.
    pub(super) fn note(&mut self, caller: Option<u32>) {
        self.records += 1;
        if let Some(caller) = caller
            && self.last_caller != Some(caller)
        {
            self.last_caller = Some(caller);
            self.is_new |= self.callers.insert(caller);
        }
    }

    /// The ring was read until it was empty.
    pub(super) fn emptied(&mut self, now: Instant) {
        if now - self.since >= WHILE {
            self.since = now;
            self.lately = 0;
        }
        self.lately += self.records;
        let pauses =
            self.may_pause && !self.is_new && self.lately > FEW && self.records <= TOO_MANY;
        self.until = pauses.then(|| now + PAUSE);
        self.records = 0;
        self.is_new = false;
        if now - self.known_since >= KNOWN || self.callers.len() > CALLERS {
            self.known_since = now;
            self.last_caller = None;
            self.callers.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Clock {
        pace: Pace,
        now: Instant,
    }

    impl Clock {
        fn new(may_pause: bool) -> Self {
            let now = Instant::now();
            Self {
                pace: Pace::new(may_pause, now),
                now,
            }
        }

        /// Reads what came of one caller in that time; tells how long nothing is read then.
        fn read(&mut self, micros: u64, records: usize, caller: u32) -> Option<Duration> {
            self.now += Duration::from_micros(micros);
            for _ in 0..records {
                self.pace.note(Some(caller));
            }
            self.pace.emptied(self.now);
            self.pace.until().map(|until| until - self.now)
        }
    }

    #[test]
    fn a_slow_sequence_is_read_as_it_comes() {
        let mut clock = Clock::new(true);
        for _ in 0..1000 {
            assert_eq!(clock.read(2_000, 1, 7), None);
        }
    }

    #[test]
    fn a_fast_sequence_collects_and_the_one_after_it_does_not() {
        let mut clock = Clock::new(true);
        let at_once = (0..100).take_while(|_| clock.read(20, 1, 7).is_none());
        assert_eq!(at_once.count(), FEW);
        for _ in 0..50 {
            assert_eq!(clock.read(4_000, 200, 7), Some(PAUSE));
        }
        clock.read(4_000, 0, 7);
        assert_eq!(clock.read(20_000, 1, 7), None);
    }

    #[test]
    fn a_ring_that_fills_is_read_at_once() {
        let mut clock = Clock::new(true);
        clock.read(20, 1, 7);
        assert_eq!(clock.read(4_000, TOO_MANY, 7), Some(PAUSE));
        assert_eq!(clock.read(4_000, TOO_MANY + 1, 7), None);
    }

    #[test]
    fn processes_that_live_for_a_moment_are_looked_at_at_once() {
        let mut clock = Clock::new(true);
        for caller in 0..5_000 {
            assert_eq!(clock.read(100, 1, caller), None);
        }
    }

    #[test]
    fn where_all_is_looked_up_afterwards_nothing_waits() {
        let mut clock = Clock::new(false);
        for _ in 0..100 {
            assert_eq!(clock.read(20, 1, 7), None);
        }
    }

    #[test]
    fn many_callers_do_not_fill_the_memory() {
        let mut clock = Clock::new(true);
        for caller in 0..10_000 {
            clock.read(1, 1, caller);
        }
        assert!(clock.pace.callers.len() <= CALLERS + 1);
    }
}
