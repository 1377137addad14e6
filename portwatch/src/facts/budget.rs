//! How much of a processor look-ups may take.

use std::time::{Duration, Instant};

/// A bucket of processor time that fills at a tenth of the time that passes. What a look-up takes more
/// than there is, the next ones go without.
#[derive(Debug)]
pub(super) struct Budget {
    /// Spent beyond what has come in since; up to `BURST` may be spent at once
    owed: Duration,
    looked: Instant,
}

/// At rest, so much may be spent at once.
const BURST: Duration = Duration::from_millis(250);

/// One part of the time that passes, of so many.
const SHARE: u32 = 10;

impl Budget {
    pub(super) const fn new(now: Instant) -> Self {
        Self {
            owed: Duration::ZERO,
            looked: now,
        }
    }

    /// Whether there is time for another look-up.
    pub(super) fn allows(&mut self, now: Instant) -> bool {
        let earned = now.saturating_duration_since(self.looked) / SHARE;
        self.owed = self.owed.saturating_sub(earned);
        self.looked = now;
        self.owed < BURST
    }

    pub(super) fn spend(&mut self, time: Duration) {
        self.owed = self.owed.saturating_add(time);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn a_burst_is_allowed_and_no_more() {
        let now = Instant::now();
        let mut budget = Budget::new(now);
        budget.spend(ms(249));
        assert!(budget.allows(now));
        budget.spend(ms(1));
        assert!(!budget.allows(now));
    }

    #[test]
    fn over_time_a_tenth_is_spent() {
        let start = Instant::now();
        let mut budget = Budget::new(start);
        let mut spent = Duration::ZERO;
        for step in 0..100_000 {
            if budget.allows(start + ms(step)) {
                budget.spend(ms(3));
                spent += ms(3);
            }
        }
        assert!(
            spent >= ms(10_000) && spent <= ms(10_000 + 250 + 3),
            "{spent:?}"
        );
    }

    #[test]
    fn a_long_look_up_is_waited_for() {
        let start = Instant::now();
        let mut budget = Budget::new(start);
        budget.spend(ms(1250));
        assert!(!budget.allows(start + ms(9_999)));
        assert!(budget.allows(start + ms(10_020)));
    }
}
