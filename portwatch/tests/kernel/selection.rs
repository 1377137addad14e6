//! The choice of the trials that are run.

use std::env;

use anyhow::{Context as _, Result, ensure};
use libtest_mimic::Trial;

const VARIABLE: &str = "PORTWATCH_TEST_TRIALS";

/// The core, by a trial's name or what follows its source: what differs from kernel to kernel. What a
/// source sees and knows, storms, start and stop, who holds a port, and `why` against the call itself.
const CORE: &[&str] = &[
    "every_protocol_while_its_socket_is_open",
    "every_protocol_when_the_process_is_gone",
    "every_error_of_bind",
    "every_outcome_of_connect",
    "every_error_of_connect",
    "sixty_blocked_connects",
    "ends_are_counted",
    "listen_on_an_unbound_socket",
    "killed_while_it_waits",
    "path_of_io_uring",
    "path_of_32_bit_callers",
    "path_of_fast_open",
    "path_of_mptcp",
    "verdict_of_landlock",
    "verdict_of_cgroup_bpf",
    "verdict_of_seccomp",
    "storm_is_written_or_counted_as_lost",
    "storm_with_a_stalled_reader_is_written_or_counted_as_lost",
    "fexit::blinding_by_calls_that_wait",
    "kprobe::blinding_by_requests",
    "stopped_leaves_nothing_behind",
    "few_capabilities_suffice",
    "hooks_all_answer",
    "preemption_hides_no_bind",
    "preemption_hides_few_binds",
    "missed_probes_are_counted",
    "cause_of_ports",
    "crowd_the_caller_itself_is_named",
    "any::landlock_would_hide_who_called",
    "any::diag_modules_are_not_there",
    "any::why_says_that_it_may_not_look",
    "any::why_knows_of_a_free_port",
    "facts::holder_listens",
    "facts::holder_is_bound_and_idle",
    "facts::holder_of_udp",
    "facts::holder_in_another_namespace",
    "why::agrees_about_connections",
];

/// All, unless the environment asks for the core (`core`) or for one of so many parts (`1/2`).
///
/// # Errors
///
/// If it asks for something else, or the core has a name that no trial has.
pub(crate) fn of(trials: Vec<Trial>) -> Result<Vec<Trial>> {
    match env::var(VARIABLE).as_deref() {
        Err(_) => Ok(trials),
        Ok("core") => core(trials),
        Ok(text) => {
            let (part, parts) = part(text).with_context(|| format!("{VARIABLE}={text}"))?;
            let mine = |(number, trial)| (number % parts == part - 1).then_some(trial);
            Ok(trials.into_iter().enumerate().filter_map(mine).collect())
        }
    }
}

fn core(trials: Vec<Trial>) -> Result<Vec<Trial>> {
    for name in CORE {
        let is_there = trials.iter().any(|trial| is(trial, name));
        ensure!(is_there, "no trial of the core is called {name}");
    }
    let is_core = |trial: &Trial| CORE.iter().any(|name| is(trial, name));
    Ok(trials.into_iter().filter(is_core).collect())
}

fn is(trial: &Trial, name: &str) -> bool {
    let whole = trial.name();
    whole == name || whole.split_once("::").is_some_and(|(_, rest)| rest == name)
}

/// `1/2`
fn part(text: &str) -> Option<(usize, usize)> {
    let (part, parts) = text.split_once('/')?;
    let (part, parts) = (part.parse().ok()?, parts.parse().ok()?);
    (1..=parts).contains(&part).then_some((part, parts))
}
