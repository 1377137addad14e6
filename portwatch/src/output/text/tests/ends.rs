//! How a connect ended that was pending when its call returned.

use insta::assert_snapshot;

use super::*;
use crate::event::{AttemptId, End, Ended, Stages, StillPending};

/// A connect that TCP has begun.
fn begun() -> Attempt {
    Attempt {
        ret: Some(EINPROGRESS),
        local: Some(local("127.0.0.1", 40123)),
        stages: Stages {
            connect: Some(0),
            ..Stages::default()
        },
        ..attempt()
    }
}

fn ended(attempt: Attempt, end: End, lasted: bool) -> Event {
    let ended = Ended {
        id: AttemptId::default(),
        time: Time(attempt.time.0 + 2_500_000_000),
        latency: Duration::from_millis(2500),
        end,
        reset: false,
    };
    Event::Outcome(OutcomeOf {
        lasted,
        ..OutcomeOf::new(1, attempt, ended)
    })
}

const ENDS: [End; 3] = [End::Connected, End::Failed(ECONNREFUSED), End::Abandoned];

#[test]
fn a_connect_that_ends_soon_has_one_line_like_one_that_waited() {
    let events = ENDS.map(|end| ended(begun(), end, false));
    assert_snapshot!(print(&mut printer(None), events), @"
    TIME         OP      PROTO    PID USER     COMM            ADDRESS               RESULT
    05:04:05.678 connect tcp     1234 anna     curl            127.0.0.1:8080        ok from 127.0.0.1:40123
    05:04:05.678 connect tcp     1234 anna     curl            127.0.0.1:8080        ECONNREFUSED Connection refused
    05:04:05.678 connect tcp     1234 anna     curl            127.0.0.1:8080        abandoned closed before there was an answer
    ");
}

#[test]
fn one_that_lasts_is_pending_and_its_end_has_a_line_of_its_own() {
    let pending = Event::Pending(StillPending {
        seq: 1,
        attempt: begun(),
    });
    let events = ENDS.map(|end| ended(begun(), end, true));
    let events = std::iter::once(pending).chain(events);
    assert_snapshot!(print(&mut printer(None), events), @"
    TIME         OP      PROTO    PID USER     COMM            ADDRESS               RESULT
    05:04:05.678 connect tcp     1234 anna     curl            127.0.0.1:8080        pending from 127.0.0.1:40123
    05:04:08.178 connect tcp     1234 anna     curl            127.0.0.1:8080        ok from 127.0.0.1:40123 after 2.5s
    05:04:08.178 connect tcp     1234 anna     curl            127.0.0.1:8080        ECONNREFUSED Connection refused after 2.5s
    05:04:08.178 connect tcp     1234 anna     curl            127.0.0.1:8080        abandoned closed before there was an answer after 2.5s
    ");
}

#[test]
fn one_that_a_signal_interrupted_says_so() {
    let pending = Event::Pending(StillPending {
        seq: 1,
        attempt: Attempt {
            ret: Some(-4),
            ..begun()
        },
    });
    assert_snapshot!(print(&mut printer(None), [pending]), @"
    TIME         OP      PROTO    PID USER     COMM            ADDRESS               RESULT
    05:04:05.678 connect tcp     1234 anna     curl            127.0.0.1:8080        EINTR pending
    ");
}
