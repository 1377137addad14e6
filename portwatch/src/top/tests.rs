use clap::Parser as _;
use proptest::prelude::*;
use ratatui::{Terminal, backend::TestBackend};

use super::{
    board::{Board, Sort},
    state::{Key, Pane, State},
    view::{View, short},
};
use crate::{
    cli::{Cli, Command},
    config::Config,
    event::{Attempt, End, Event, OutcomeOf, Stages, Time},
    filter::Filter,
    output::sample::{bind, connect, hostile, is_dangerous, lost, names, ok, outcome, users},
    users::Users,
};

fn compile(text: &str) -> Result<Filter, String> {
    compile_with(&[], text)
}

/// As a watch with these options takes it.
fn compile_with(options: &[&str], text: &str) -> Result<Filter, String> {
    let args = ["portwatch", "top"].iter().chain(options);
    let command = Cli::try_parse_from(args).unwrap().command;
    let Some(Command::Top { watch, .. }) = command else {
        panic!("{options:?}");
    };
    let users = Users::new();
    let config = Config::of_top(&watch, &users).unwrap();
    config.expression(text, &users)
}

fn press(state: &mut State, keys: &str) {
    for key in keys.chars() {
        let key = match key {
            '\n' => Key::Enter,
            '\u{8}' => Key::Backspace,
            '\u{1b}' => Key::Escape,
            other => Key::Char(other),
        };
        assert!(state.press(key, &compile), "{key:?} ended it");
    }
}

/// What stands on a terminal of that size.
fn screen(state: &State, columns: u16, rows: u16) -> String {
    let mut terminal = Terminal::new(TestBackend::new(columns, rows)).unwrap();
    let mut view = View {
        state,
        users: &mut users(),
        backend: "fexit",
        colour: true,
    };
    terminal.draw(|frame| view.draw(frame)).unwrap();
    terminal.backend().to_string()
}

fn refused() -> Attempt {
    Attempt {
        ret: Some(-111),
        ..connect()
    }
}

/// Some seconds of a machine on which two things fail.
fn busy() -> State {
    let mut state = State::default();
    for second in 0..8 {
        for _ in 0..second {
            state.take(&Event::Attempt(ok(bind())));
        }
        state.take(&Event::Attempt(bind()));
        if second % 2 == 0 {
            state.take(&Event::Attempt(refused()));
        }
        assert!(state.tick());
    }
    state.take(&lost());
    state
}

#[test]
fn nothing_has_happened_yet() {
    insta::assert_snapshot!(screen(&State::default(), 80, 24));
}

#[test]
fn a_busy_machine_at_80_by_24() {
    insta::assert_snapshot!(screen(&busy(), 80, 24));
}

#[test]
fn a_busy_machine_on_a_wide_terminal() {
    insta::assert_snapshot!(screen(&busy(), 130, 30));
}

#[test]
fn the_details_of_a_failure() {
    let mut state = busy();
    press(&mut state, "\n");
    insta::assert_snapshot!(screen(&state, 80, 24));
    press(&mut state, "\u{1b}");
    assert_eq!(state.pane, Pane::Lists);
}

#[test]
fn the_help() {
    let mut state = busy();
    press(&mut state, "?");
    insta::assert_snapshot!(screen(&state, 80, 24));
}

#[test]
fn a_filter_that_is_none_says_where() {
    let mut state = busy();
    press(&mut state, "/port=80 and errno=EACCESS\n");
    insta::assert_snapshot!(screen(&state, 80, 24));
    press(&mut state, "\u{8}\u{8}S\n");
    assert_eq!(state.line, None);
    assert_eq!(state.filtered, "port=80 and errno=EACCES");
}

const DTRACE: [&str; 5] = [
    "--source",
    "dtrace",
    "--dtrace=x",
    "--dtrace-system",
    "macOS 14",
];

#[test]
fn what_dtrace_never_tells_is_refused_by_name() {
    for (text, named) in [
        ("port=80 or unit=nginx", "unit"),
        ("not netns=1", "netns"),
        ("proto=tcp", "proto"),
        ("ppid-tree=1", "ppid-tree"),
        ("op=bind,listen", "op=listen"),
    ] {
        let error = compile_with(&DTRACE, text).unwrap_err();
        let words = format!("{named} has no meaning with the source dtrace: ");
        assert!(error.starts_with(&words), "{error}");
        assert!(compile(text).is_ok(), "{text}");
    }
    assert!(compile_with(&DTRACE, "op=!listen and port=80").is_ok());
}

#[test]
fn numbers_are_those_of_the_system_that_is_watched() {
    let same = |numbers, names| {
        assert_eq!(compile_with(&DTRACE, numbers), compile_with(&DTRACE, names));
        assert_ne!(
            compile(numbers),
            compile_with(&DTRACE, numbers),
            "{numbers}"
        );
    };
    same("errno=48,-65", "errno=EADDRINUSE,EHOSTUNREACH");
    same("family=30", "family=ipv6");
    assert!(compile_with(&DTRACE, "errno=ENOTSUP").is_ok());
    assert!(compile("errno=ENOTSUP").is_err());
}

#[test]
fn a_filter_counts_from_then_on() {
    let mut state = busy();
    press(&mut state, "/op=connect\n");
    let lost = state.board().lost;
    assert!(lost > 0, "what was lost is not forgotten");
    state.take(&Event::Attempt(bind()));
    assert_eq!(state.board().attempts, 0);
    state.take(&Event::Attempt(connect()));
    assert_eq!(state.board().attempts, 1);
}

/// A connect that TCP has begun, and how it ended.
fn pending(end: End) -> [Event; 2] {
    let attempt = Attempt {
        stages: Stages {
            connect: Some(0),
            ..Stages::default()
        },
        ..connect()
    };
    let Event::Outcome(outcome) = outcome(end) else {
        panic!("it is an outcome");
    };
    let outcome = OutcomeOf {
        attempt: attempt.clone(),
        ..outcome
    };
    [Event::Attempt(attempt), Event::Outcome(outcome)]
}

#[test]
fn a_connect_counts_once_by_how_it_ended() {
    for (filter, refused, connected) in [
        ("", (1, 1), (1, 0)),
        ("op=connect", (1, 1), (1, 0)),
        ("outcome=failed", (1, 1), (0, 0)),
        ("errno=ECONNREFUSED", (1, 1), (0, 0)),
        ("outcome=ok", (0, 0), (1, 0)),
        ("port=1", (0, 0), (0, 0)),
    ] {
        for (end, counted) in [(End::Failed(-111), refused), (End::Connected, connected)] {
            let mut state = State::default();
            press(&mut state, &format!("/{filter}\n"));
            for event in pending(end) {
                state.take(&event);
            }
            let board = state.board();
            assert_eq!((board.attempts, board.failed), counted, "{filter} {end:?}");
        }
    }
}

#[test]
fn a_paused_view_stays_and_counting_goes_on() {
    let mut state = busy();
    let before = state.board().attempts;
    press(&mut state, "p");
    state.take(&Event::Attempt(bind()));
    assert_eq!(state.board().attempts, before);
    assert!(screen(&state, 80, 24).contains("PAUSED"));
    press(&mut state, " ");
    assert_eq!(state.board().attempts, before + 1);
}

#[test]
fn the_lists_can_be_sorted_otherwise() {
    let mut state = busy();
    let first = |state: &State| state.board().failures(state.sort)[0].attempt.op.name();
    assert_eq!((state.sort, first(&state)), (Sort::Failed, "bind"));
    state.take(&Event::Attempt(refused()));
    press(&mut state, "ss");
    assert_eq!((state.sort, first(&state)), (Sort::Latest, "connect"));
    press(&mut state, "s");
    assert_eq!(state.sort, Sort::Failed);
}

#[test]
fn the_selection_stays_within_the_failures() {
    let mut state = busy();
    assert_eq!(state.selected(), Some(0));
    press(&mut state, "jjjj");
    assert_eq!(state.selected(), Some(1));
    press(&mut state, "k");
    assert_eq!(state.selected(), Some(0));
    assert_eq!(State::default().selected(), None);
}

#[test]
fn q_and_interrupt_end_it_but_not_while_a_filter_is_typed() {
    let mut state = State::default();
    press(&mut state, "/q");
    assert!(!state.press(Key::Interrupt, &compile));
    press(&mut state, "\u{1b}");
    assert!(!state.press(Key::Char('q'), &compile));
}

#[test]
fn what_is_kept_is_bounded() {
    let mut board = Board::default();
    for number in 0..2000 {
        let mut attempt = bind();
        attempt.tgid = number;
        attempt.time = Time(i64::from(number));
        let asked = attempt.requested.as_mut().unwrap();
        asked.port = u16::try_from(number).unwrap();
        board.take(&Event::Attempt(attempt));
        board.tick();
    }
    assert_eq!(board.attempts, 2000);
    assert_eq!(board.failures(Sort::Latest).len(), 256);
    assert_eq!(board.talkers.sorted(Sort::Latest).len(), 256);
    assert_eq!(board.ports.sorted(Sort::Latest)[0].0.0, 1999);
    assert_eq!(board.rates.attempts(1000).len(), 300);
}

#[test]
fn an_idle_machine_wakes_nobody() {
    let mut state = busy();
    let mut ticks = 0;
    while state.moves() {
        state.tick();
        ticks += 1;
        assert!(ticks < 1000, "it never rests");
    }
    assert!(!State::default().moves());
}

proptest! {
    /// Whatever a process calls itself, and however small the terminal.
    #[test]
    fn no_name_does_harm(name in names(), columns in 1u16..200, rows in 1u16..60, keys in "[?\n sj]{0,4}") {
        let mut state = busy();
        state.take(&Event::Attempt(hostile(&name)));
        press(&mut state, &keys);
        let text = screen(&state, columns, rows);
        let dangerous: Vec<char> = text.chars().filter(|&c| c != '\n' && is_dangerous(c)).collect();
        prop_assert!(dangerous.is_empty(), "{:?}", dangerous);
    }
}

#[test]
fn counts_fit_their_column() {
    for (count, shown) in [
        (0, "0"),
        (99_999, "99999"),
        (100_000, "100k"),
        (9_999_999, "9999k"),
        (10_000_000, "10M"),
        (9_999_999_999, "9999M"),
    ] {
        assert_eq!(short(count), shown);
    }
}
