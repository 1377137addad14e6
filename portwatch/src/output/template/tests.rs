use proptest::prelude::*;

use super::*;
use crate::event::End;
use crate::output::sample::{bind, connect, events, hostile, is_dangerous, names, outcome, users};

fn print(template: &str, event: &Event) -> String {
    let mut out = Vec::new();
    let mut printer = TemplatePrinter::new(template.parse().unwrap());
    printer.print(&mut out, 1, event, &mut users()).unwrap();
    String::from_utf8(out).unwrap()
}

#[test]
fn fields_stand_where_they_were_put() {
    let template = "{time} {comm} {addr}:{port} {errno}";
    assert_eq!(
        print(template, &Event::Attempt(bind())),
        "2026-07-09T03:04:05.678901234Z nginx 0.0.0.0:80 EACCES\n"
    );
    assert_eq!(
        print("{user}\\t{cause.code} {{{unit}}}", &Event::Attempt(bind())),
        "anna\tlow_port_no_capability {-}\n"
    );
}

#[test]
fn an_outcome_has_its_attempts_fields_and_its_own_result() {
    let template = "{kind} {seq} {comm} {outcome} {errno} {latency_ns} {reset}";
    assert_eq!(
        print(template, &Event::Attempt(connect())),
        "attempt 1 curl pending EINPROGRESS 40000 -\n"
    );
    assert_eq!(
        print(template, &outcome(End::Failed(-111))),
        "outcome 7 curl failed ECONNREFUSED 12000000 true\n"
    );
    assert_eq!(
        print(template, &outcome(End::Abandoned)),
        "outcome 7 curl abandoned - 12000000 -\n"
    );
}

#[test]
fn only_attempts_and_their_outcomes_have_lines() {
    let lines = events()
        .iter()
        .filter(|event| !print("{pid}", event).is_empty())
        .count();
    assert_eq!(lines, 9);
}

proptest! {
    #[test]
    fn no_name_ends_the_line(name in names()) {
        let line = print("{comm}|{exe}|{cmdline}|{unit}|{cause.text}|", &Event::Attempt(hostile(&name)));
        prop_assert!(!line.trim_end_matches('\n').chars().any(is_dangerous), "{line:?}");
        prop_assert_eq!(line.matches('\n').count(), 1);
    }
}
