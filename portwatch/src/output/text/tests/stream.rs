//! Headers, losses, colours: what is not about one attempt.

use insta::assert_snapshot;

use super::*;
use crate::output::sample;

#[test]
fn losses_are_seen_in_the_stream() {
    let lost = |count, reason| {
        Event::Lost(Lost {
            time: Time(0),
            count,
            reason,
            place: Place::Cpu(1),
        })
    };
    let events = || {
        [
            lost(12, LossReason::RingFull),
            lost(1, LossReason::InflightFull),
            Event::Attempt(attempt()),
        ]
    };
    assert_snapshot!(print(&mut printer(None), events()), @"
    TIME         OP      PROTO    PID USER     COMM            ADDRESS               RESULT
    -- lost 12 attempts on CPU 1: ring buffer full (portwatch or its reader is too slow)
    -- lost 1 attempt on CPU 1: no room for a call under way
    05:04:05.678 connect tcp     1234 anna     curl            127.0.0.1:8080        ECONNREFUSED Connection refused
    ");
    assert_snapshot!(print(&mut printer(Some(80)), events()), @"
    TIME     OP      PROTO    PID USER     COMM       ADDRESS          RESULT
    -- lost 12 attempts on CPU 1: ring buffer full
    -- lost 1 attempt on CPU 1: no room for a call under way
    05:04:05 connect tcp     1234 anna     curl       127.0.0.1:8080   ECONNREFUSED
    ");
}

#[test]
fn skipped_runs_name_their_hook() {
    let lost = |count, reason, hook: &str| {
        Event::Lost(Lost {
            time: Time(0),
            count,
            reason,
            place: Place::Hook(hook.into()),
        })
    };
    let events = || {
        [
            lost(1, LossReason::Recursion, "fexit:inet_bind"),
            lost(49, LossReason::ProbeMissed, "kretprobe:__ia32_sys_connect"),
        ]
    };
    assert_snapshot!(print(&mut printer(None), events()), @"
    TIME         OP      PROTO    PID USER     COMM            ADDRESS               RESULT
    -- lost 1 run of fexit:inet_bind: skipped by the kernel (one was running on the same CPU)
    -- lost 49 runs of kretprobe:__ia32_sys_connect: skipped by the kernel (the probe was busy)
    ");
}

#[test]
fn start_prints_the_header_once_and_the_summary_nothing() {
    let events = [
        Event::Start(Box::new(start())),
        Event::Attempt(attempt()),
        Event::Start(Box::new(start())),
        Event::Summary(Box::default()),
    ];
    assert_snapshot!(print(&mut printer(None), events), @"
    TIME         OP      PROTO    PID USER     COMM            ADDRESS               RESULT
    05:04:05.678 connect tcp     1234 anna     curl            127.0.0.1:8080        ECONNREFUSED Connection refused
    ");
}

#[test]
fn without_a_header_there_are_only_attempts() {
    let mut printer = TextPrinter {
        header: false,
        ..printer(Some(80))
    };
    let text = print(
        &mut printer,
        [Event::Start(Box::new(start())), Event::Attempt(attempt())],
    );
    assert_eq!(text.lines().count(), 1);
}

#[test]
fn a_resized_terminal_gets_a_new_header_only_if_the_columns_move() {
    let mut printer = printer(Some(80));
    let mut text = print(&mut printer, [Event::Attempt(attempt())]);
    for width in [Some(81), Some(60), Some(0)] {
        printer.resize(width);
        text += &print(&mut printer, [Event::Attempt(attempt())]);
    }
    assert_snapshot!(text, @"
    TIME     OP      PROTO    PID USER     COMM       ADDRESS          RESULT
    05:04:05 connect tcp     1234 anna     curl       127.0.0.1:8080   ECONNREFUSED
    05:04:05 connect tcp     1234 anna     curl       127.0.0.1:8080   ECONNREFUSED
    OP      PROTO    PID COMM     ADDRESS          RESULT
    connect tcp     1234 curl     127.0.0.1:8080   ECONNREFUSED
    TIME     OP      PROTO    PID USER     COMM       ADDRESS          RESULT
    05:04:05 connect tcp     1234 anna     curl       127.0.0.1:8080   ECONNREFUSED
    ");
}

#[test]
fn colours_mark_what_is_to_be_looked_at() {
    let mut printer = TextPrinter {
        colour: true,
        ..printer(Some(120))
    };
    let ok = Attempt {
        ret: Some(0),
        local: Some(local("127.0.0.1", 54321)),
        ..attempt()
    };
    let pending = Attempt {
        ret: Some(EINPROGRESS),
        ..attempt()
    };
    let lost = Event::Lost(Lost {
        time: Time(0),
        count: 12,
        reason: LossReason::RingFull,
        place: Place::Cpu(1),
    });
    let text = print(
        &mut printer,
        [attempt(), ok, pending]
            .map(Event::Attempt)
            .into_iter()
            .chain([lost]),
    );
    assert_snapshot!(text.replace('\x1b', "ESC"), @"
    ESC[1mTIMEESC[0m         ESC[1mOPESC[0m      ESC[1mPROTOESC[0m    ESC[1mPIDESC[0m ESC[1mUSERESC[0m     ESC[1mCOMMESC[0m            ESC[1mADDRESSESC[0m               ESC[1mRESULTESC[0m
    ESC[2m05:04:05.678ESC[0m connect tcp     1234 anna     curl            127.0.0.1:8080        ESC[31mECONNREFUSEDESC[0m ESC[31mConnection refusedESC[0m
    ESC[2m05:04:05.678ESC[0m connect tcp     1234 anna     curl            127.0.0.1:8080        ok ESC[2mfrom 127.0.0.1:54321ESC[0m
    ESC[2m05:04:05.678ESC[0m connect tcp     1234 anna     curl            127.0.0.1:8080        ESC[33mpendingESC[0m
    ESC[1mESC[33m-- lost 12 attempts on CPU 1: ring buffer full (portwatch or its reader is too slow)ESC[0m
    ");
}

#[test]
fn a_line_is_the_same_whatever_was_written_before() {
    let print = |printer: &mut TextPrinter, attempt: Attempt| {
        let mut out = Vec::new();
        printer
            .print(&mut out, 1, &Event::Attempt(attempt), &mut users())
            .unwrap();
        String::from_utf8(out).unwrap()
    };
    let fresh = || {
        TextPrinter::new(TextOptions {
            colour: false,
            width: None,
            header: false,
            detail: Detail::Short,
            timezone: TimeZone::UTC,
        })
    };
    let mut used = fresh();
    for attempt in sample::unlike() {
        for attempt in [sample::bind(), attempt] {
            assert_eq!(
                print(&mut used, attempt.clone()),
                print(&mut fresh(), attempt)
            );
        }
    }
}
