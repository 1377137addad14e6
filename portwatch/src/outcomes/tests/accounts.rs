//! Whatever comes, in whatever order: what is written is what the filter wants by the end, once.

use std::collections::{BTreeMap, BTreeSet};

use proptest::{collection::vec, option, prelude::*, sample::select};

use super::*;
use crate::{
    event::{Event, Op, Summary},
    filter::sample::expr,
};

/// Keeps what is written.
#[derive(Default)]
struct Book {
    seq: u64,
    most: Option<u64>,
    summary: Summary,
    outcomes: Outcomes,
    attempts: Vec<Attempt>,
    ends: BTreeMap<u64, End>,
    pending: BTreeSet<u64>,
}

impl Account for Book {
    type Error = std::convert::Infallible;

    fn complete(&mut self, _: &mut Attempt) -> u64 {
        self.seq += 1;
        self.seq
    }

    fn write_end(&mut self, outcome: OutcomeOf) -> Result<(), Self::Error> {
        self.write(&Event::Outcome(outcome))
    }

    fn write(&mut self, event: &Event) -> Result<(), Self::Error> {
        match event {
            Event::Attempt(attempt) => self.attempts.push(attempt.clone()),
            Event::Pending(pending) => {
                assert!(!self.ends.contains_key(&pending.seq));
                assert!(self.pending.insert(pending.seq), "told of twice");
            }
            Event::Outcome(outcome) => {
                assert_eq!(outcome.lasted, self.pending.contains(&outcome.seq));
                let end = outcome.ended.end;
                assert_eq!(self.ends.insert(outcome.seq, end), None, "ended twice");
                let written = &self.attempts[usize::try_from(outcome.seq - 1).unwrap()];
                assert_eq!(written.id, outcome.attempt.id);
            }
            other => panic!("{other:?}"),
        }
        Ok(())
    }

    fn is_full(&self) -> bool {
        self.most.is_some_and(|most| self.seq >= most)
    }

    fn summary(&mut self) -> &mut Summary {
        &mut self.summary
    }

    fn outcomes(&mut self) -> &mut Outcomes {
        &mut self.outcomes
    }
}

impl Book {
    fn carry_out(&mut self, step: Option<Step>) {
        if let Some(step) = step {
            step.carry_out(self).unwrap();
        }
    }

    /// As the pipeline does.
    fn take(&mut self, attempt: Attempt, filter: &Filter) {
        if !attempt.is_open() {
            let step = filter.passes(&attempt).then_some(Step::Whole(attempt));
            self.carry_out(step);
            return;
        }
        let step = self.outcomes.note(&attempt, filter);
        self.carry_out(step);
        if filter.judge(&attempt, SoFar::Open) != Some(false) {
            let step = self.outcomes.take(attempt, filter);
            self.carry_out(step);
        }
    }

    fn end(&mut self, ended: Ended, filter: &Filter) {
        let step = self.outcomes.end(ended, filter);
        self.carry_out(step);
    }

    fn pass(&mut self, now: Duration, filter: &Filter) {
        self.outcomes.advance(now);
        while let Some(step) = self.outcomes.overdue(filter) {
            self.carry_out(Some(step));
        }
    }

    fn give_up(&mut self, filter: &Filter) {
        while let Some(step) = self.outcomes.give_up(filter) {
            self.carry_out(step);
        }
    }
}

/// A connect: when its attempt and its end come, in hundredths of a second, and how it ends.
#[derive(Clone, Debug)]
struct Story {
    returned: u64,
    ret: i32,
    end: Option<(u64, i32)>,
    port: u16,
    followed: bool,
}

fn story() -> impl Strategy<Value = Story> {
    let ret = select(vec![0, -13, ECONNREFUSED, EINPROGRESS, EINPROGRESS, EINTR]);
    let end = option::of((0..400_u64, select(vec![0, ECONNREFUSED, -110])));
    (0..400_u64, ret, end, 1..9_u16, prop::bool::weighted(0.8)).prop_map(
        |(returned, ret, end, port, followed)| Story {
            returned,
            ret,
            end: end.filter(|_| followed),
            port,
            followed,
        },
    )
}

fn attempt(number: u64, story: &Story) -> Attempt {
    let mut attempt = connect(number, story.ret);
    attempt.requested.as_mut().unwrap().port = story.port;
    if !story.followed {
        attempt.stages.connect = None;
    }
    attempt
}

/// What is to be written of it: whether the attempt, and how it ended, if that is to be told.
fn expected(number: u64, story: &Story, filter: &Filter) -> (bool, Option<End>) {
    let attempt = attempt(number, story);
    if !attempt.is_open() {
        return (filter.passes(&attempt), None);
    }
    let end = story.end.map(|(_, ret)| End::of(ret));
    let by_end = end.is_some_and(|end| filter.judge(&attempt, SoFar::Ended(end)) == Some(true));
    // Pending for a second, or for good.
    let lasts = story
        .end
        .is_none_or(|(time, _)| time >= story.returned + 100);
    let by_return = lasts && filter.passes(&attempt);
    let is_written = by_end || by_return;
    (is_written, end.filter(|_| is_written))
}

fn play(stories: &[Story], filter: &Filter, most: Option<u64>) -> Book {
    let mut events = Vec::new();
    for (number, story) in (1..).zip(stories) {
        events.push((story.returned, 1, number, None));
        if let Some((time, ret)) = story.end {
            events.push((time, 0, number, Some(ret)));
        }
    }
    events.sort_unstable();
    let mut book = Book {
        most,
        ..Book::default()
    };
    for (time, _, number, ret) in events {
        book.pass(Duration::from_millis(time * 10), filter);
        if let Some(ret) = ret {
            book.end(ended(number, ret), filter);
        } else {
            let story = &stories[usize::try_from(number - 1).unwrap()];
            book.take(attempt(number, story), filter);
        }
    }
    book.pass(Duration::from_secs(10), filter);
    book.give_up(filter);
    book
}

fn wanted() -> impl Strategy<Value = Filter> {
    let one = select(vec![
        "outcome=failed",
        "outcome=ok",
        "outcome=pending",
        "errno=ECONNREFUSED",
        "not errno=EINPROGRESS",
        "port=1-4 and outcome!=ok",
        "port=1-4 or errno=ETIMEDOUT",
        "op=connect",
    ]);
    let any = expr().prop_map(|expr| {
        let mut filter = Filter::default();
        filter.and(expr);
        filter
    });
    prop_oneof![3 => one.prop_map(filter), 1 => any, 1 => Just(all())]
}

proptest! {
    #[test]
    fn each_that_passes_by_its_end_is_written_once_with_one_end_and_counted_once(
        stories in vec(story(), 0..12),
        filter in wanted(),
    ) {
        let book = play(&stories, &filter, None);
        let mut counted = BTreeMap::new();
        let mut written = BTreeSet::new();
        for (number, attempt) in (1..).zip(&book.attempts) {
            prop_assert!(written.insert(attempt.id.start_ns), "written twice");
            let end = book.ends.get(&number);
            let outcome = end.map_or(attempt.outcome(), |end| end.outcome());
            *counted.entry((Op::Connect, outcome)).or_insert(0) += 1;
        }
        for (number, story) in (1..).zip(&stories) {
            let (is_written, end) = expected(number, story, &filter);
            prop_assert_eq!(written.contains(&number), is_written, "{} {:?}", number, story);
            let seq = book.attempts.iter().position(|attempt| attempt.id == id(number));
            let told = seq.and_then(|seq| book.ends.get(&(seq as u64 + 1)));
            prop_assert_eq!(told, end.as_ref(), "{} {:?}", number, story);
        }
        prop_assert_eq!(&book.summary.attempts, &counted);
        prop_assert!(book.outcomes.waiting.is_empty() && book.outcomes.open.values().all(Option::is_none));
    }

    #[test]
    fn no_more_are_written_than_were_asked_for(
        stories in vec(story(), 0..12),
        filter in wanted(),
        most in 0..6_u64,
    ) {
        let book = play(&stories, &filter, Some(most));
        prop_assert!(book.attempts.len() as u64 <= most);
        let counted: u64 = book.summary.attempts.values().sum();
        prop_assert_eq!(counted, book.attempts.len() as u64);
    }
}
