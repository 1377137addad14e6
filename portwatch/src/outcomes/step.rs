//! What is to be done as attempts come and end, for whoever writes them.

use super::Outcomes;
use crate::event::{Attempt, Ended, Event, OutcomeOf, StillPending, Summary};

/// What is to be done now. What came to nothing is no step.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// To write an attempt of which nothing is to come
    Whole(Attempt),
    /// To write an attempt whose end is to come; whether it has been pending for long by now
    Begun { attempt: Attempt, lasted: bool },
    /// To write an attempt and how it ended
    Both(Attempt, Ended),
    /// To write how an attempt ended that was written
    End(OutcomeOf),
    /// To say that an attempt that was written is pending for long
    Lasting(StillPending),
    /// To give up waiting for the end of one
    GivenUp {
        /// Its number, where it was written
        seq: Option<u64>,
        attempt: Attempt,
        lasted: bool,
    },
}

/// Whoever writes attempts, numbers and counts them.
pub trait Account {
    type Error;

    /// Adds what is shown beside an attempt that is about to be written, and gives its number.
    fn complete(&mut self, attempt: &mut Attempt) -> u64;
    /// Writes how one ended, with its cause.
    fn write_end(&mut self, outcome: OutcomeOf) -> Result<(), Self::Error>;
    fn write(&mut self, event: &Event) -> Result<(), Self::Error>;
    /// As many attempts are written as were asked for.
    fn is_full(&self) -> bool;
    fn summary(&mut self) -> &mut Summary;
    fn outcomes(&mut self) -> &mut Outcomes;
}

impl Step {
    /// Whether it writes an attempt that was not written before.
    const fn writes(&self) -> bool {
        match self {
            Self::Whole(_) | Self::Begun { .. } | Self::Both(..) => true,
            Self::GivenUp { seq, .. } => seq.is_none(),
            Self::End(_) | Self::Lasting(_) => false,
        }
    }

    pub fn carry_out<A: Account>(self, account: &mut A) -> Result<(), A::Error> {
        if self.writes() && account.is_full() {
            return Ok(());
        }
        match self {
            Self::Whole(attempt) if attempt.is_followed() => {
                give_up(account, None, attempt, false)?;
            }
            Self::Whole(mut attempt) => {
                account.complete(&mut attempt);
                account.summary().count(&attempt);
                account.write(&Event::Attempt(attempt))?;
            }
            Self::Begun { attempt, lasted } => {
                let (seq, attempt) = begin(account, attempt)?;
                let attempt = tell(account, seq, attempt, lasted)?;
                account.outcomes().follow(seq, attempt, lasted);
            }
            Self::Both(attempt, ended) => {
                let (seq, attempt) = begin(account, attempt)?;
                end(account, OutcomeOf::new(seq, attempt, ended))?;
            }
            Self::End(outcome) => end(account, outcome)?,
            Self::Lasting(pending) => account.write(&Event::Pending(pending))?,
            Self::GivenUp {
                seq,
                attempt,
                lasted,
            } => give_up(account, seq, attempt, lasted)?,
        }
        Ok(())
    }
}

/// Writes an attempt of which something is to come, and gives it back with its number.
fn begin<A: Account>(account: &mut A, mut attempt: Attempt) -> Result<(u64, Attempt), A::Error> {
    let seq = account.complete(&mut attempt);
    account.write(&Event::Attempt(attempt.clone()))?;
    Ok((seq, attempt))
}

fn end<A: Account>(account: &mut A, outcome: OutcomeOf) -> Result<(), A::Error> {
    let summary = account.summary();
    summary.count_end(&outcome.attempt, outcome.ended.end);
    account.write_end(outcome)
}

fn give_up<A: Account>(
    account: &mut A,
    seq: Option<u64>,
    attempt: Attempt,
    lasted: bool,
) -> Result<(), A::Error> {
    let (seq, attempt) = match seq {
        Some(seq) => (seq, attempt),
        None => begin(account, attempt)?,
    };
    let attempt = tell(account, seq, attempt, !lasted)?;
    account.summary().count(&attempt);
    Ok(())
}

/// Says that an attempt is pending, to those who wait for its end.
fn tell<A: Account>(
    account: &mut A,
    seq: u64,
    attempt: Attempt,
    is_news: bool,
) -> Result<Attempt, A::Error> {
    if !is_news || !attempt.is_followed() {
        return Ok(attempt);
    }
    let pending = StillPending {
        seq,
        attempt: attempt.clone(),
    };
    account.write(&Event::Pending(pending))?;
    Ok(attempt)
}
