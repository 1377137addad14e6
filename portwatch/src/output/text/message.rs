//! What portwatch says about itself: when it starts and when it ends.

use std::{
    collections::BTreeMap,
    fmt::{self, Write},
    time::Duration,
};

use crate::{
    event::{
        Degradation, Degraded, LossReason, Lost, MissingHook, Op, Outcome, Place, Start, Summary,
        System, Unended,
    },
    output::sanitize::escape_prose_into,
};

/// include/uapi/asm-generic/errno.h
const EINPROGRESS: u16 = 115;

/// What is being watched, by what means, and what those cannot see: lines for standard error,
/// each with its line feed.
pub fn start_message(start: &Start) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ = write_start(&mut text, start);
    text
}

/// What no longer works: lines for standard error, each with its line feed.
pub fn degraded_message(degraded: &Degraded) -> String {
    let Degraded {
        time: _,
        degradation,
    } = degraded;
    let mut text = String::from("portwatch: no longer as it began\n");
    // Writing to a String cannot fail.
    let _ = write_degradation(&mut text, degradation);
    text
}

/// What was counted: lines for standard error, each with its line feed.
pub fn summary_message(summary: &Summary) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ = write_summary(&mut text, summary);
    text
}

/// One loss, without a line feed.
pub fn loss_message(lost: &Lost) -> String {
    let (what, aside) = loss_parts(lost);
    what + aside
}

/// One loss, and an aside that a narrow terminal can do without.
pub(super) fn loss_parts(lost: &Lost) -> (String, &'static str) {
    let Lost {
        time: _,
        count,
        reason,
        place,
    } = lost;
    let (what, aside) = match reason {
        LossReason::RingFull => ("ring buffer full", " (portwatch or its reader is too slow)"),
        LossReason::InflightFull => ("no room for a call under way", ""),
        LossReason::PendingFull => (
            "too many connects pending at once; only how they end is lost",
            "",
        ),
        LossReason::Recursion => (
            "skipped by the kernel",
            " (one was running on the same CPU)",
        ),
        LossReason::ProbeMissed => ("skipped by the kernel", " (the probe was busy)"),
    };
    let told = match place {
        Place::Cpu(cpu) => format!("lost {} on CPU {cpu}: {what}", Attempts(*count)),
        Place::Hook(hook) => {
            let plural = if *count == 1 { "" } else { "s" };
            format!("lost {count} run{plural} of {hook}: {what}")
        }
        Place::Here => format!(
            "forgot {}, the oldest of too many: how they end will not be told",
            Pending(*count)
        ),
    };
    (told, aside)
}

fn write_start(text: &mut String, start: &Start) -> fmt::Result {
    let Start {
        time: _,
        system,
        backend,
        ring_bytes: _,
        hooks: _,
        missing,
        degradations,
        kernel,
        filters,
        pid: _,
    } = start;
    let whom = filters.iter().find_map(|typed| typed.strip_prefix("-- "));
    let whom = whom.map_or_else(
        || "bind() and connect() on the whole machine".to_owned(),
        |command| format!("{command}, and all that comes of it"),
    );
    let kernel = match system {
        System::Linux => format!("kernel {kernel}"),
        other @ System::MacOs(_) => other.to_string(),
    };
    add_prose(
        text,
        &format!("portwatch: watching {whom} (source {backend}, {kernel})"),
    )?;
    if !filters.is_empty() {
        add_prose(text, &format!("  showing only: {}", filters.join(" ")))?;
    }
    for degradation in degradations {
        write_degradation(text, degradation)?;
    }
    for MissingHook { hook, why, unseen } in missing {
        add_prose(text, &format!("  not seen: {unseen}"))?;
        add_prose(
            text,
            &format!("    because hook {hook} is not attached: {why}"),
        )?;
    }
    Ok(())
}

fn write_degradation(text: &mut String, degradation: &Degradation) -> fmt::Result {
    let Degradation { what, why, remedy } = degradation;
    add_prose(text, &format!("  limited: {what}: {why}"))?;
    match remedy {
        Some(remedy) => add_prose(text, &format!("    better: {remedy}")),
        None => Ok(()),
    }
}

/// A line of prose; line feeds within it (a verifier's log, a remedy in steps) start indented
/// lines.
fn add_prose(text: &mut String, prose: &str) -> fmt::Result {
    for (number, line) in prose.trim_end().lines().enumerate() {
        if number > 0 {
            text.write_str("      ")?;
        }
        escape_prose_into(text, line);
        text.write_char('\n')?;
    }
    Ok(())
}

fn write_summary(text: &mut String, summary: &Summary) -> fmt::Result {
    let Summary {
        time: _,
        run_time,
        attempts,
        unended,
        repeats: _,
        errnos,
        lost,
    } = summary;
    let total = attempts.values().sum::<u64>();
    writeln!(
        text,
        "portwatch: {} in {}",
        Attempts(total),
        RunTime(*run_time)
    )?;
    for op in [Op::Bind, Op::Connect] {
        let outcomes = Outcome::ALL.into_iter();
        let counts =
            outcomes.filter_map(|outcome| Some((outcome.name(), *attempts.get(&(op, outcome))?)));
        write_counts(text, op.name(), counts)?;
    }
    let mut errnos: Vec<_> = errnos
        .iter()
        // Counted above as what it is: pending.
        .filter(|(errno, _)| errno.number() != EINPROGRESS)
        .map(|(errno, count)| (errno, *count))
        .collect();
    // Stable: errors of the same count stay in the order of their numbers.
    errnos.sort_by_key(|&(_, count)| std::cmp::Reverse(count));
    write_counts(text, "errors", errnos.into_iter())?;
    text.write_str(&unended_message(*unended))?;
    write_lost(text, lost)
}

/// How many connects were still pending when they were last seen, and why no more is known: lines,
/// each with its line feed.
pub fn unended_message(unended: Unended) -> String {
    let Unended {
        not_over,
        not_told,
        not_followed,
    } = unended;
    let reasons = [
        (not_over, "the watch ended before they did"),
        (not_told, "this source does not tell how they end"),
        (
            not_followed,
            "too many were pending at once, and the oldest were forgotten",
        ),
    ];
    let line = |(count, why): (u64, &str)| {
        let plural = if count == 1 { "" } else { "s" };
        format!("  {count} connect{plural} still pending when last seen: {why}\n")
    };
    let told = reasons.into_iter().filter(|&(count, _)| count > 0);
    told.map(line).collect()
}

/// `  bind     3 ok, 2 failed`, or nothing where nothing was counted.
fn write_counts<T: fmt::Display>(
    text: &mut String,
    title: &str,
    counts: impl Iterator<Item = (T, u64)>,
) -> fmt::Result {
    let mut counts = counts.filter(|&(_, count)| count > 0).peekable();
    if counts.peek().is_none() {
        return Ok(());
    }
    write!(text, "  {title:<8}")?;
    for (number, (name, count)) in counts.enumerate() {
        let separator = if number == 0 { "" } else { "," };
        write!(text, "{separator} {count} {name}")?;
    }
    text.write_char('\n')
}

fn write_lost(text: &mut String, lost: &BTreeMap<LossReason, u64>) -> fmt::Result {
    if lost.values().all(|&count| count == 0) {
        return text.write_str("  nothing was lost\n");
    }
    let reasons = lost.iter().map(|(reason, count)| match reason {
        LossReason::RingFull => ("ring buffer full", *count),
        LossReason::InflightFull => ("no room for a call", *count),
        LossReason::PendingFull => ("pending connects forgotten", *count),
        LossReason::Recursion => ("runs skipped", *count),
        LossReason::ProbeMissed => ("probes missed", *count),
    });
    write_counts(text, "lost", reasons)?;
    // A run that was skipped need not have been an attempt's.
    let skipped = [LossReason::Recursion, LossReason::ProbeMissed];
    let bound = if skipped.iter().any(|reason| lost.contains_key(reason)) {
        "up to "
    } else {
        ""
    };
    let ends = lost.get(&LossReason::PendingFull).copied().unwrap_or(0);
    let attempts = lost.values().sum::<u64>() - ends;
    if attempts > 0 {
        let attempts = Attempts(attempts);
        writeln!(text, "  not complete: {bound}{attempts} are missing above")?;
    }
    if ends > 0 {
        let ends = Pending(ends);
        writeln!(text, "  not complete: how {ends} ended is missing above")?;
    }
    Ok(())
}

/// `1 attempt`, `2 attempts`
struct Attempts(u64);

impl fmt::Display for Attempts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plural = if self.0 == 1 { "" } else { "s" };
        write!(f, "{} attempt{plural}", self.0)
    }
}

/// `1 pending connect`, `2 pending connects`
struct Pending(u64);

impl fmt::Display for Pending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plural = if self.0 == 1 { "" } else { "s" };
        write!(f, "{} pending connect{plural}", self.0)
    }
}

/// `4.2 s`, `3 min 20 s`, `26 h 5 min`
struct RunTime(Duration);

impl fmt::Display for RunTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs();
        match seconds {
            0..60 => write!(f, "{seconds}.{} s", self.0.subsec_millis() / 100),
            60..3600 => write!(f, "{} min {} s", seconds / 60, seconds % 60),
            _ => write!(f, "{} h {} min", seconds / 3600, seconds / 60 % 60),
        }
    }
}
