//! What portwatch says about itself.

use std::collections::BTreeMap;

use insta::assert_snapshot;

use super::*;
use crate::{
    errno::Errno,
    event::{Degradation, Degraded, MissingHook, Outcome, Summary, Unended},
};

#[test]
fn a_calm_start() {
    assert_snapshot!(start_message(&start()), @"
    portwatch: watching bind() and connect() on the whole machine (source fentry, kernel 6.12.43)
    ");
}

#[test]
fn a_limited_start_says_what_to_do() {
    let start = Start {
        missing: vec![MissingHook {
            hook: "io_bind".into(),
            why: "no such function in this kernel".into(),
            unseen: "bind() through io_uring".into(),
        }],
        degradations: vec![
            Degradation {
                what: "source kprobe instead of fentry".into(),
                why: "this kernel has no BTF".into(),
                remedy: Some(
                    "boot a kernel built with CONFIG_DEBUG_INFO_BTF=y\nor: modprobe C:\\x".into(),
                ),
            },
            Degradation {
                what: "no cgroup ids".into(),
                why: "\x1b[2J".into(),
                remedy: None,
            },
        ],
        filters: vec!["--port".into(), "80".into(), "\u{202e}".into()],
        ..start()
    };
    assert_snapshot!(start_message(&start), @r"
    portwatch: watching bind() and connect() on the whole machine (source fentry, kernel 6.12.43)
      showing only: --port 80 \u{202e}
      limited: source kprobe instead of fentry: this kernel has no BTF
        better: boot a kernel built with CONFIG_DEBUG_INFO_BTF=y
          or: modprobe C:\x
      limited: no cgroup ids: \x1b[2J
      not seen: bind() through io_uring
        because hook io_bind is not attached: no such function in this kernel
    ");
}

#[test]
fn what_no_longer_works_is_said_like_what_never_did() {
    let degraded = Degraded {
        time: Time(0),
        degradation: Degradation {
            what: "skipped runs are no longer counted".into(),
            why: "/proc is gone".into(),
            remedy: Some("mount -t proc proc /proc".into()),
        },
    };
    assert_snapshot!(degraded_message(&degraded), @"
    portwatch: no longer as it began
      limited: skipped runs are no longer counted: /proc is gone
        better: mount -t proc proc /proc
    ");
}

#[test]
fn the_summary_counts() {
    let errno = |ret| Errno::from_ret(ret).unwrap();
    let summary = Summary {
        time: Time(0),
        run_time: Duration::from_secs(200),
        attempts: BTreeMap::from([
            ((Op::Bind, Outcome::Ok), 3),
            ((Op::Connect, Outcome::Ok), 1100),
            ((Op::Connect, Outcome::Failed), 102),
            ((Op::Connect, Outcome::Pending), 19),
        ]),
        unended: Unended::default(),
        repeats: 0,
        errnos: BTreeMap::from([(errno(EACCES), 2), (errno(ECONNREFUSED), 100)]),
        lost: BTreeMap::new(),
    };
    assert_snapshot!(summary_message(&summary), @"
    portwatch: 1224 attempts in 3 min 20 s
      bind     3 ok
      connect  1100 ok, 102 failed, 19 pending
      errors   100 ECONNREFUSED, 2 EACCES
      nothing was lost
    ");
    let lost = BTreeMap::from([(LossReason::RingFull, 12), (LossReason::InflightFull, 0)]);
    assert_snapshot!(summary_message(&Summary { lost, ..summary.clone() }), @"
    portwatch: 1224 attempts in 3 min 20 s
      bind     3 ok
      connect  1100 ok, 102 failed, 19 pending
      errors   100 ECONNREFUSED, 2 EACCES
      lost     12 ring buffer full
      not complete: 12 attempts are missing above
    ");
    let lost = BTreeMap::from([(LossReason::Recursion, 2), (LossReason::ProbeMissed, 1)]);
    let text = summary_message(&Summary {
        lost,
        ..summary.clone()
    });
    assert!(text.ends_with(
        "  lost     2 runs skipped, 1 probes missed\n  \
         not complete: up to 3 attempts are missing above\n"
    ));
    let lost = BTreeMap::from([(LossReason::PendingFull, 9)]);
    let text = summary_message(&Summary { lost, ..summary });
    assert!(text.ends_with(
        "  lost     9 pending connects forgotten\n  \
         not complete: how 9 pending connects ended is missing above\n"
    ));
    assert_snapshot!(summary_message(&Summary { run_time: Duration::from_millis(4250), ..Summary::default() }), @"
    portwatch: 0 attempts in 4.2 s
      nothing was lost
    ");
}

#[test]
fn connects_without_an_end_are_told_with_the_reason() {
    assert_eq!(unended_message(Unended::default()), "");
    let unended = Unended {
        not_over: 1,
        not_told: 2,
        not_followed: 3,
    };
    assert_snapshot!(unended_message(unended), @r"
      1 connect still pending when last seen: the watch ended before they did
      2 connects still pending when last seen: this source does not tell how they end
      3 connects still pending when last seen: too many were pending at once, and the oldest were forgotten
    ");
}
