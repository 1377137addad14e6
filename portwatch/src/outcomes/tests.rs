mod accounts;

use super::{
    sample::{ECONNREFUSED, EINPROGRESS, EINTR, connect, ended, id, interrupted},
    *,
};
use crate::{event::Local, filter::Expr};

fn filter(text: &str) -> Filter {
    let mut filter = Filter::default();
    filter.and(Expr::parse(text, &crate::filter::sample::Somewhere).unwrap());
    filter
}

fn all() -> Filter {
    Filter::default()
}

/// Begins to follow a connect as number 7.
fn followed(outcomes: &mut Outcomes, attempt: Attempt) {
    match outcomes.take(attempt, &all()) {
        Some(Step::Begun { attempt, lasted }) => outcomes.follow(7, attempt, lasted),
        other => panic!("{other:?}"),
    }
}

fn end_of(step: Option<Step>) -> (u64, End, bool) {
    match step {
        Some(Step::End(outcome)) => (outcome.seq, outcome.ended.end, outcome.lasted),
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_end_of_a_pending_connect_is_told_once() {
    let mut outcomes = Outcomes::default();
    followed(&mut outcomes, connect(1, EINPROGRESS));
    let end = outcomes.end(ended(1, ECONNREFUSED), &all());
    assert_eq!(end_of(end), (7, End::Failed(ECONNREFUSED), false));
    assert_eq!(outcomes.end(ended(1, ECONNREFUSED), &all()), None);
}

#[test]
fn an_end_that_comes_first_waits_for_its_attempt() {
    let mut outcomes = Outcomes::default();
    assert_eq!(outcomes.end(ended(1, 0), &all()), None);
    let both = outcomes.take(connect(1, EINPROGRESS), &all());
    assert!(matches!(both, Some(Step::Both(..))), "{both:?}");
}

#[test]
fn a_call_that_waited_is_told_by_what_refused_it() {
    let mut outcomes = Outcomes::default();
    assert_eq!(outcomes.end(ended(1, ECONNREFUSED), &all()), None);
    let mut attempt = connect(1, ECONNREFUSED);
    assert!(!outcomes.concern(&attempt));
    outcomes.settle(&mut attempt);
    assert!(attempt.reset);
    assert_eq!(outcomes.early.take(id(1)), None);
}

#[test]
fn who_wants_to_know_is_decided_by_the_end() {
    for (text, refused, connected) in [
        ("outcome=failed", true, false),
        ("outcome=ok", false, true),
        ("outcome!=ok", true, false),
        ("errno=ECONNREFUSED", true, false),
        ("errno=EINPROGRESS", false, false),
        ("port=9 and not errno=ECONNREFUSED", false, true),
        ("outcome=pending or errno=EACCES", false, false),
    ] {
        for (ret, wanted) in [(ECONNREFUSED, refused), (0, connected)] {
            let filter = filter(text);
            let mut outcomes = Outcomes::default();
            assert_eq!(outcomes.take(connect(1, EINPROGRESS), &filter), None);
            let step = outcomes.end(ended(1, ret), &filter);
            assert_eq!(matches!(step, Some(Step::Both(..))), wanted, "{text} {ret}");
            assert!(wanted || step.is_none(), "{text} {ret}");
            // The end comes first.
            assert_eq!(outcomes.end(ended(2, ret), &filter), None);
            let step = outcomes.take(connect(2, EINPROGRESS), &filter);
            assert_eq!(matches!(step, Some(Step::Both(..))), wanted, "{text} {ret}");
        }
    }
}

#[test]
fn what_a_source_does_not_tell_the_end_of_is_told_at_once_and_counted() {
    let untold = |start| Attempt {
        stages: crate::event::Stages::default(),
        ..connect(start, EINPROGRESS)
    };
    let mut outcomes = Outcomes::default();
    let step = outcomes.take(untold(1), &all());
    assert!(matches!(step, Some(Step::Whole(_))), "{step:?}");
    assert_eq!(outcomes.take(untold(2), &filter("outcome=failed")), None);
    let step = outcomes.take(untold(3), &filter("outcome=pending"));
    assert!(matches!(step, Some(Step::Whole(_))), "{step:?}");
    assert_eq!(outcomes.unended().not_told, 3);
    assert_eq!(outcomes.due(), None);
    // Of a recording it is not known what its source told.
    let mut outcomes = Outcomes::of_any();
    followed(&mut outcomes, untold(1));
    assert!(outcomes.end(ended(1, 0), &all()).is_some());
}

#[test]
fn after_a_second_a_connect_is_told_of_as_pending_and_nobody_waits_for_more() {
    let mut outcomes = Outcomes::default();
    assert_eq!(outcomes.due(), None);
    outcomes.advance(Duration::from_millis(10));
    followed(&mut outcomes, connect(1, EINPROGRESS));
    outcomes.advance(Duration::from_millis(500));
    followed(&mut outcomes, connect(2, EINPROGRESS));
    assert_eq!(outcomes.due(), Some(Duration::from_millis(1010)));
    outcomes.advance(Duration::from_millis(1009));
    assert_eq!(outcomes.overdue(&all()), None);
    assert!(outcomes.await_news());
    outcomes.end(ended(2, 0), &all());
    outcomes.advance(Duration::from_millis(1010));
    let step = outcomes.overdue(&all());
    assert!(matches!(step, Some(Step::Lasting(_))), "{step:?}");
    assert_eq!((outcomes.overdue(&all()), outcomes.due()), (None, None));
    assert!(!outcomes.await_news());
    let end = outcomes.end(ended(1, 0), &all());
    assert_eq!(end_of(end), (7, End::Connected, true));
}

#[test]
fn what_is_pending_for_a_second_passes_a_filter_for_that() {
    for (text, told) in [("outcome=pending", true), ("outcome=failed,ok", false)] {
        let filter = filter(text);
        let mut outcomes = Outcomes::default();
        assert_eq!(outcomes.take(connect(1, EINPROGRESS), &filter), None);
        assert!(outcomes.due().is_some() && !outcomes.await_news());
        outcomes.advance(Duration::from_secs(1));
        match outcomes.overdue(&filter) {
            Some(Step::Begun { attempt, lasted }) if told => {
                assert!(lasted);
                outcomes.follow(7, attempt, lasted);
            }
            step => assert!(!told && step.is_none(), "{text} {step:?}"),
        }
        let step = outcomes.end(ended(1, 0), &filter);
        match step {
            Some(Step::End(outcome)) => assert!(told && outcome.lasted),
            step => assert!(!told && matches!(step, Some(Step::Both(..)))),
        }
    }
}

#[test]
fn at_the_end_what_still_waits_is_given_up() {
    let failed = filter("outcome=failed");
    let mut outcomes = Outcomes::default();
    followed(&mut outcomes, connect(1, EINPROGRESS));
    assert_eq!(outcomes.take(connect(2, EINPROGRESS), &failed), None);
    let first = outcomes.give_up(&failed).unwrap();
    assert!(matches!(first, Some(Step::GivenUp { seq: Some(7), .. })));
    // It has not failed, as far as was seen.
    assert_eq!(outcomes.give_up(&failed), Some(None));
    assert_eq!(outcomes.give_up(&failed), None);
    assert_eq!(outcomes.unended().not_over, 2);
}

#[test]
fn when_too_many_wait_the_oldest_goes_and_is_counted() {
    let mut outcomes = Outcomes::default();
    let most = u64::try_from(MOST).unwrap();
    for start in 0..most + 10 {
        let attempt = connect(start, EINPROGRESS);
        let forgotten = outcomes.note(&attempt, &all());
        assert_eq!(forgotten.is_some(), start >= most);
        followed(&mut outcomes, attempt);
    }
    let places = outcomes.open.values().flatten().count();
    let waiting = outcomes.waiting.len();
    assert_eq!((waiting, places, outcomes.open.len()), (MOST, MOST, MOST));
    assert!(outcomes.has_lost());
    assert_eq!((outcomes.lost(), outcomes.lost()), (10, 0));
    assert_eq!(outcomes.unended().not_followed, 10);
    assert_eq!(outcomes.end(ended(9, 0), &all()), None);
    assert!(outcomes.end(ended(10, 0), &all()).is_some());
}

#[test]
fn those_that_nobody_wants_take_room_until_they_end() {
    let mut outcomes = Outcomes::default();
    followed(&mut outcomes, connect(0, EINPROGRESS));
    let most = u64::try_from(MOST).unwrap();
    let mut hidden = |start| outcomes.note(&connect(start, EINPROGRESS), &all());
    assert!((1..most).all(|start| hidden(start).is_none()));
    let forgotten = hidden(most);
    assert!(matches!(
        forgotten,
        Some(Step::GivenUp { seq: Some(7), .. })
    ));
    assert!((most + 1..most + 9).all(|start| hidden(start).is_none()));
    assert_eq!((outcomes.lost(), outcomes.unended().not_followed), (1, 1));
    // What has ended takes no room, here or among the early ones.
    for start in 9..most + 9 {
        assert_eq!(outcomes.end(ended(start, 0), &all()), None);
    }
    assert!(outcomes.open.is_empty());
    assert_eq!(outcomes.early.take(id(most)), None);
    assert_eq!(outcomes.give_up(&all()), None);
}

#[test]
fn an_end_that_had_to_go_is_counted_where_its_attempt_comes() {
    let mut outcomes = Outcomes::default();
    for start in 0..10_000 {
        outcomes.end(ended(start, 0), &all());
    }
    let step = outcomes.take(connect(1, EINPROGRESS), &all());
    assert!(matches!(step, Some(Step::Whole(_))), "{step:?}");
    assert_eq!((outcomes.lost(), outcomes.unended().not_followed), (1, 1));
}

/// Again by the same thread, on the same socket.
fn again(start_ns: u64, ret: i32) -> Attempt {
    Attempt {
        repeat: true,
        ..connect(start_ns, ret)
    }
}

#[test]
fn a_call_that_is_begun_anew_is_one_with_what_it_was() {
    for (ret, reset) in [(0, false), (ECONNREFUSED, true)] {
        let mut outcomes = Outcomes::default();
        assert_eq!(outcomes.take(interrupted(1), &all()), None);
        // Interrupted once more.
        let second = Attempt {
            interrupted: true,
            ..again(10, EINTR)
        };
        let Resumed::Merged(merged) = outcomes.resume(second) else {
            panic!("it goes on");
        };
        assert_eq!(outcomes.take(merged, &all()), None);
        assert_eq!(outcomes.end(ended(1, ret), &all()), None);
        let Resumed::Merged(mut merged) = outcomes.resume(again(20, ret)) else {
            panic!("it goes on");
        };
        outcomes.settle(&mut merged);
        assert_eq!((merged.id, merged.ret), (id(1), Some(ret)));
        assert_eq!((merged.repeat, merged.reset), (false, reset));
        assert_eq!(merged.latency, Some(Duration::from_nanos(20)));
        assert_eq!(merged.stages.operation, Some(ret));
        assert_eq!(outcomes.give_up(&all()), None);
    }
}

#[test]
fn a_call_that_is_not_begun_anew_is_pending_and_its_end_is_told() {
    let mut outcomes = Outcomes::default();
    assert_eq!(outcomes.take(interrupted(1), &all()), None);
    outcomes.advance(Duration::from_secs(1));
    match outcomes.overdue(&all()) {
        Some(Step::Begun { attempt, lasted }) => {
            assert_eq!(attempt.outcome(), Outcome::Pending);
            outcomes.follow(7, attempt, lasted);
        }
        step => panic!("{step:?}"),
    }
    let end = outcomes.end(ended(1, ECONNREFUSED), &all());
    assert_eq!(end_of(end), (7, End::Failed(ECONNREFUSED), true));
    // Its caller asks again later: that was told.
    assert_eq!(outcomes.resume(again(9, ECONNREFUSED)), Resumed::Told(None));
}

#[test]
fn the_end_of_a_call_that_is_not_begun_anew_waits_no_longer_than_a_second() {
    let mut outcomes = Outcomes::default();
    assert_eq!(outcomes.take(interrupted(1), &all()), None);
    assert_eq!(outcomes.end(ended(1, 0), &all()), None);
    outcomes.advance(Duration::from_secs(1));
    let step = outcomes.overdue(&all());
    assert!(matches!(step, Some(Step::Both(..))), "{step:?}");
    // Nothing is waited for where its caller was killed.
    assert_eq!(outcomes.take(interrupted(2), &all()), None);
    let closed = Ended {
        end: End::Abandoned,
        ..ended(2, 0)
    };
    let step = outcomes.end(closed, &all());
    assert!(matches!(step, Some(Step::Both(..))), "{step:?}");
}

#[test]
fn a_call_that_is_begun_anew_after_long_ends_what_was_told() {
    let mut outcomes = Outcomes::default();
    outcomes.take(interrupted(1), &all());
    outcomes.advance(Duration::from_secs(1));
    let Some(Step::Begun { attempt, lasted }) = outcomes.overdue(&all()) else {
        panic!("it is pending");
    };
    outcomes.follow(7, attempt, lasted);
    match outcomes.resume(again(50, 0)) {
        Resumed::Told(step) => assert_eq!(end_of(step), (7, End::Connected, true)),
        other => panic!("{other:?}"),
    }
}

#[test]
fn another_call_does_not_go_on_with_one_that_was_interrupted() {
    let local = |port| {
        Some(Local {
            ip: [127, 0, 0, 1].into(),
            port: Some(port),
        })
    };
    let first = Attempt {
        local: local(40_000),
        ..interrupted(1)
    };
    let other = |change: fn(&mut Attempt)| {
        let mut other = again(2, 0);
        change(&mut other);
        let mut outcomes = Outcomes::default();
        outcomes.take(first.clone(), &all());
        assert!(outcomes.concern(&other));
        matches!(outcomes.resume(other), Resumed::New(_))
    };
    assert!(!other(|_| {}));
    assert!(other(|attempt| attempt.tid = 12));
    assert!(other(|attempt| attempt.fd = Some(4)));
    assert!(other(|attempt| attempt.requested = None));
    assert!(other(|attempt| attempt.ret = Some(-114)));
    // Where it is not known whether the socket was connecting, its own end tells.
    assert!(!other(|attempt| attempt.repeat = false));
    assert!(other(|attempt| {
        attempt.repeat = false;
        attempt.local = Some(Local {
            ip: [127, 0, 0, 1].into(),
            port: Some(1),
        });
    }));
}

#[test]
fn calls_that_are_never_begun_anew_do_not_pile_up() {
    let mut outcomes = Outcomes::default();
    for start in 0..5_000 {
        outcomes.take(interrupted(start), &all());
    }
    let remembered = (0..5_000).filter(|_| {
        let resumed = outcomes.resume(again(9_999, 0));
        matches!(resumed, Resumed::Merged(_))
    });
    assert_eq!(remembered.count(), 1024);
}
