//! Calls of portwatch's own, made once all is attached: does each hook answer?
//!
//! A hook that is attached need not fire: a function may be inlined where it is called, and what
//! else changes the kernel's code may get in its way. Everything here stays on loopback, and is
//! over before the watch begins: none of it is in the stream.

mod calls;
mod signs;

use std::{
    os::fd::AsFd as _,
    thread,
    time::{Duration, Instant},
};

use aya::maps::{MapData, RingBuf};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    thread::gettid,
};

use self::{
    calls::{Calls, Made},
    signs::{Sign, Trial},
};
use super::clock_offset;
use crate::{
    event::{Attempt, AttemptId, Degradation, Requested},
    source::{Kind, decode::decode, record::Record},
};

/// So long an answer may take. All of them are in the ring when the calls have returned; but what
/// another CPU began to write before them, and did not finish, hides them until it does.
const PATIENCE: Duration = Duration::from_millis(50);
/// Records that are read between two looks at the clock: others may write faster than this reads.
const BATCH: usize = 4096;

/// What came of the trial.
pub(super) struct Heard {
    /// The hooks that do not answer
    pub(super) silent: Vec<Degradation>,
    /// The module was loaded meanwhile that has hooks of its own
    pub(super) module: bool,
}

/// Makes the calls, and names the hooks that do not answer.
pub(super) fn release(ring: &mut RingBuf<MapData>, kind: Kind, hooks: &[String]) -> Heard {
    let signs = signs::of(kind, hooks);
    let mut answers = Answers::default();
    // What is there already is from before the watch, and might leave no room for the answers.
    answers.read(ring, &[]);
    let calls = Calls::make(&|call| signs.iter().any(|sign| sign.call == call));
    let deadline = Instant::now() + PATIENCE;
    loop {
        answers.read(ring, &calls.made);
        let silent = signs::silent(&signs, &answers.to(&calls));
        if silent.is_empty() || !wait(ring, deadline) {
            let silent = silent.into_iter();
            return Heard {
                silent: silent.map(|sign| degradation(kind, sign)).collect(),
                module: answers.module,
            };
        }
    }
}

/// Waits for the ring to have more; false when it is too late.
fn wait(ring: &RingBuf<MapData>, deadline: Instant) -> bool {
    let left = deadline.saturating_duration_since(Instant::now());
    let Ok(timeout) = Timespec::try_from(left) else {
        return false;
    };
    // Also ready is a ring in which another CPU is still writing the first record.
    thread::yield_now();
    let mut ready = [PollFd::from_borrowed_fd(ring.as_fd(), PollFlags::IN)];
    !left.is_zero() && poll(&mut ready, Some(&timeout)).is_ok()
}

/// What the ring had that may be about the calls.
#[derive(Default)]
struct Answers {
    attempts: Vec<Attempt>,
    ended: Vec<AttemptId>,
    module: bool,
}

impl Answers {
    fn read(&mut self, ring: &mut RingBuf<MapData>, calls: &[Made]) {
        let clock = clock_offset();
        for _ in 0..BATCH {
            let Some(item) = ring.next() else { return };
            match decode(&item, clock) {
                Ok(Record::Attempt(attempt)) if calls.iter().any(|it| it.is(&attempt)) => {
                    self.attempts.push(attempt);
                }
                Ok(Record::Ended(ended)) => self.ended.push(ended.id),
                Ok(Record::Module) => self.module = true,
                Ok(Record::Attempt(_) | Record::Notice) => {}
                Err(error) => log::error!("{error}"),
            }
        }
    }

    /// Each call with what was said of it.
    fn to(&self, calls: &Calls) -> Vec<Trial> {
        let tid = self.own_tid(calls);
        let trial = |made: &Made| {
            let record = self
                .attempts
                .iter()
                .find(|attempt| attempt.tid == tid && made.is(attempt));
            Trial {
                call: made.call,
                ret: made.ret,
                ended: record.is_some_and(|record| self.ended.contains(&record.id)),
                record: record.cloned(),
            }
        };
        calls.made.iter().map(trial).collect()
    }

    /// This thread as the hooks number it, which in a pid namespace of its own only they know: it
    /// asked for an address that nobody else asks for.
    fn own_tid(&self, calls: &Calls) -> u32 {
        let marked = |attempt: &&Attempt| {
            let asked = attempt.requested.map(Requested::socket_addr);
            asked == Some(calls.mark.into())
        };
        match self.attempts.iter().find(marked) {
            Some(attempt) => attempt.tid,
            None => gettid().as_raw_nonzero().get().cast_unsigned(),
        }
    }
}

fn degradation(kind: Kind, sign: &Sign) -> Degradation {
    let others = Kind::ALL.iter().skip_while(|other| **other != kind).skip(1);
    let others: Vec<_> = others
        .map(|other| format!("--source {}", other.name()))
        .collect();
    Degradation {
        what: format!("hook {} does not answer", sign.hook),
        why: format!(
            "portwatch tried it with {}, and it left no mark: what it sees is missing",
            sign.call
        ),
        remedy: (!others.is_empty()).then(|| format!("another source: {}", others.join(", "))),
    }
}
