use clap::Parser as _;

use super::*;
use crate::{
    cli::Cli,
    event::{Attempt, End, OutcomeOf, Stages, StillPending, Summary, Unended},
};

/// What an output of that format shows of each event.
fn shown(format: &str, events: &[Event]) -> Vec<usize> {
    let args = ["portwatch", "-q", "--no-header", "-o", format];
    let cli = Cli::try_parse_from(args).unwrap();
    let config = Config::new(&cli.watch, &sample::users()).unwrap();
    let mut printers = Printers::new(&config);
    let mut users = sample::users();
    let lines = |event| {
        let mut lines = [Vec::new()];
        printers.print(&mut lines, 1, event, &mut users).unwrap();
        String::from_utf8_lossy(&lines[0]).lines().count()
    };
    events.iter().map(lines).collect()
}

fn connect(followed: bool) -> Attempt {
    Attempt {
        stages: Stages {
            connect: followed.then_some(0),
            ..Stages::default()
        },
        ..sample::connect()
    }
}

#[test]
fn formats_for_people_wait_for_the_end_of_a_connect_and_the_others_do_not() {
    let outcome = |event| match event {
        Event::Outcome(outcome) => Event::Outcome(OutcomeOf {
            attempt: connect(true),
            ..outcome
        }),
        other => other,
    };
    let events = [
        Event::Attempt(connect(true)),
        Event::Pending(StillPending {
            seq: 1,
            attempt: connect(true),
        }),
        outcome(sample::outcome(End::Connected)),
        // Its end will not be told.
        Event::Attempt(connect(false)),
    ];
    for format in ["text", "wide"] {
        assert_eq!(shown(format, &events), [0, 1, 1, 1], "{format}");
    }
    for format in ["json", "logfmt", "csv", "ecs", "ocsf", "otel"] {
        assert_eq!(shown(format, &events), [1, 0, 1, 1], "{format}");
    }
}

#[test]
fn of_a_command_what_is_still_pending_is_said() {
    let said = |summary: Summary| {
        let message = text::summary_message(&summary);
        let event = Event::Summary(Box::new(summary));
        brief(&event, message, "no attempt failed")
    };
    let unended = Unended {
        not_told: 1,
        ..Unended::default()
    };
    let pending = Summary {
        unended,
        ..Summary::default()
    };
    assert_eq!(
        said(Summary::default()).as_deref(),
        Some("portwatch: no attempt failed\n")
    );
    assert_eq!(
        said(pending.clone()).as_deref(),
        Some(
            "portwatch: no attempt failed\n  1 connect still pending when last seen: this source \
             does not tell how they end\n"
        )
    );
    let Event::Summary(counted) = sample::summary() else {
        panic!("it is the summary");
    };
    let counted = Summary {
        lost: std::collections::BTreeMap::new(),
        ..*counted
    };
    assert_eq!(said(counted.clone()), None);
    let both = Summary { unended, ..counted };
    assert_eq!(
        said(both).as_deref(),
        Some(
            "portwatch: 1 connect still pending when last seen: this source does not tell how \
             they end"
        )
    );
}
