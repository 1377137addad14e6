//! Calls at a pace, from a thread for each CPU.

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use xtask::{figures::Call, guest::Calls};

/// Calls that are due are made in bursts, and between them everybody rests.
const TICK: Duration = Duration::from_millis(1);
/// Calls between two looks at the clock, where more are due than can be made.
const BURST: u64 = 64;
/// The kernel chooses the port.
const ANY_PORT: u16 = 0;

pub(crate) struct Pacer {
    calls: Calls,
    threads: u64,
}

impl Pacer {
    pub(crate) fn new() -> Result<Self> {
        Ok(Self {
            calls: Calls::new()?,
            threads: thread::available_parallelism()?.get().try_into()?,
        })
    }

    /// Makes one of them.
    pub(crate) fn one(&self) -> Result<()> {
        self.calls.make(Call::Bind, ANY_PORT)
    }

    /// Makes calls for so long, of each kind in turn, at `rate` in a second if that can be reached.
    /// Gives how many were made.
    pub(crate) fn make(&self, kinds: &[Call], rate: u64, time: Duration) -> Result<u64> {
        let share = rate / self.threads;
        thread::scope(|scope| {
            let threads: Vec<_> = (0..self.threads)
                .map(|_| scope.spawn(|| self.share(kinds, share, time)))
                .collect();
            let made = threads
                .into_iter()
                .map(|it| it.join().ok().context("a thread that called panicked")?);
            made.sum()
        })
    }

    /// Makes so many calls of a kind, as fast as it can.
    pub(crate) fn flood(&self, kind: Call, calls: u64) -> Result<()> {
        let each = calls / self.threads;
        let rest = calls % self.threads;
        thread::scope(|scope| {
            let threads: Vec<_> = (0..self.threads)
                .map(|thread| each + u64::from(thread < rest))
                .map(|share| {
                    scope
                        .spawn(move || (0..share).try_for_each(|_| self.calls.make(kind, ANY_PORT)))
                })
                .collect();
            threads
                .into_iter()
                .try_for_each(|it| it.join().ok().context("a thread that called panicked")?)
        })
    }

    fn share(&self, kinds: &[Call], rate: u64, time: Duration) -> Result<u64> {
        let begun = Instant::now();
        let mut kinds = kinds.iter().copied().cycle();
        let mut made = 0;
        loop {
            let passed = begun.elapsed();
            if passed >= time {
                return Ok(made);
            }
            let due = u64::try_from(passed.as_micros() * u128::from(rate) / 1_000_000)?;
            if due == made {
                thread::sleep(TICK);
            }
            for kind in kinds
                .by_ref()
                .take(usize::try_from((due - made).min(BURST))?)
            {
                self.calls.make(kind, ANY_PORT)?;
                made += 1;
            }
        }
    }
}
