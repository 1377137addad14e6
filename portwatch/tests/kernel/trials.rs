//! The trials.

use anyhow::{Result, bail};
use libtest_mimic::{Completion, Failed, Trial};

mod bind;
mod blinding;
mod cause;
mod cgroup_namespace;
mod command;
mod connect;
mod cost;
mod crowd;
mod diag;
mod each_filter;
mod ends;
mod fault;
mod filter;
mod hooks;
mod kernel_filter;
mod kernels_own;
mod load;
mod name;
mod nginx;
mod path;
mod pending;
mod pinned;
mod privilege;
mod program;
mod replay;
mod service;
mod sink;
mod stop;
mod strace;
mod stuck;
mod verdict;
mod why;

use super::{
    compare::same_attempts,
    driver::{Done, Impossible, Pace, Workload},
    portwatch,
    source::Source,
    stream::Stream,
    table, timing,
};

type Test = fn(Source) -> Result<()>;

/// Of what a source sees: with each.
const TRIALS: &[(&str, Test)] = &[
    // First: any other that asks for an SCTP socket has the module loaded.
    (
        "path_of_sctp_loaded_while_all_watch",
        path::sctp_loaded_while_all_watch,
    ),
    (
        "four_binds_of_an_ordinary_user",
        bind::four_binds_of_an_ordinary_user,
    ),
    (
        "every_protocol_while_its_socket_is_open",
        bind::every_protocol_while_its_socket_is_open,
    ),
    (
        "every_protocol_when_the_process_is_gone",
        bind::every_protocol_when_the_process_is_gone,
    ),
    ("every_error_of_bind", bind::every_error_of_bind),
    (
        "foreign_family_on_an_internet_socket",
        bind::foreign_family_on_an_internet_socket,
    ),
    (
        "reused_descriptor_is_not_mistaken",
        bind::reused_descriptor_is_not_mistaken,
    ),
    (
        "every_outcome_of_connect",
        connect::every_outcome_of_connect,
    ),
    ("every_error_of_connect", connect::every_error_of_connect),
    ("sixty_blocked_connects", connect::sixty_blocked_connects),
    (
        "pending_connect_gets_its_outcome",
        connect::pending_connect_gets_its_outcome,
    ),
    ("ends_decide_who_wants_to_know", ends::decide),
    ("ends_are_counted", ends::are_counted),
    ("ends_have_one_line_of_text", ends::have_one_line_of_text),
    ("ends_of_a_recording_decide", ends::of_a_recording_decide),
    (
        "ends_that_are_late_are_pending_first",
        ends::are_pending_first,
    ),
    (
        "ends_of_too_many_are_forgotten_and_counted",
        pending::too_many_are_forgotten_and_counted,
    ),
    (
        "listen_on_an_unbound_socket",
        connect::listen_on_an_unbound_socket,
    ),
    ("killed_while_it_waits", connect::killed_while_it_waits),
    ("interrupted_by_a_signal", connect::interrupted_by_a_signal),
    (
        "interrupted_and_restarted",
        connect::interrupted_and_restarted,
    ),
    ("interrupted_by_a_stop", connect::interrupted_by_a_stop),
    ("path_of_io_uring", path::io_uring),
    ("path_of_32_bit_callers", path::compat32),
    ("path_of_fast_open", path::fastopen),
    ("path_of_mptcp", path::mptcp),
    ("path_of_sctp_loaded_before", path::sctp_loaded_before),
    ("path_of_sctp_bindx_and_connectx", path::sctp_options),
    ("kernels_own_attempts_asked_for", kernels_own::asked_for),
    ("kernels_own_attempts_unasked", kernels_own::unasked),
    ("verdict_of_landlock", verdict::landlock),
    ("verdict_of_cgroup_bpf", verdict::cgroup_bpf),
    ("verdict_of_seccomp", verdict::seccomp),
    (
        "state_and_credentials_that_decided",
        verdict::state_and_credentials,
    ),
    ("verdict_of_seccomp_unasked", verdict::seccomp_unasked),
    ("strace_sees_the_same", strace::sees_the_same),
    (
        "af_unix_and_others_never_appear",
        name::af_unix_and_others_never_appear,
    ),
    (
        "storm_is_written_or_counted_as_lost",
        load::storm_is_written_or_counted_as_lost,
    ),
    (
        "storm_with_a_stalled_reader_is_written_or_counted_as_lost",
        load::storm_with_a_stalled_reader,
    ),
    ("blinding_by_calls_that_wait", blinding::by_waiting),
    ("blinding_by_requests", blinding::by_requests),
    ("blinding_by_reconnects", blinding::by_reconnects),
    ("storm_of_200_000", load::storm_of_200_000),
    ("two_at_once_see_the_same", stop::two_at_once_see_the_same),
    (
        "killed_leaves_nothing_behind",
        stop::killed_leaves_nothing_behind,
    ),
    (
        "stopped_leaves_nothing_behind",
        stop::stopped_leaves_nothing_behind,
    ),
    ("few_capabilities_suffice", privilege::few_suffice),
    (
        "fewer_capabilities_are_refused",
        privilege::fewer_are_refused,
    ),
    (
        "capabilities_of_the_service_suffice",
        privilege::the_services_suffice,
    ),
    ("confined_it_watches", privilege::confined),
    ("another_user_watches", privilege::another_user),
    ("fault_stopped_for_a_while", fault::stopped_for_a_while),
    ("fault_hook_refused_half_way", fault::hook_refused_half_way),
    ("starts_within_100_ms", cost::starts_within_100_ms),
    ("memory_stays_small", cost::memory_stays_small),
    ("stuck_file_holds_nothing_up", stuck::file),
    ("stuck_socket_holds_nothing_up", stuck::socket),
    ("hooks_all_answer", hooks::all_answer),
    (
        "hooks_all_answer_without_loopback",
        hooks::all_answer_without_loopback,
    ),
    ("ftrace_is_off", hooks::ftrace_is_off),
    ("preemption_hides_no_bind", hooks::preemption_hides_no_bind),
    (
        "preemption_hides_few_binds",
        hooks::preemption_hides_few_binds,
    ),
    (
        "missed_probes_are_counted",
        hooks::missed_probes_are_counted,
    ),
    ("cause_of_calls", cause::of_calls),
    ("cause_of_denials", cause::of_denials),
    ("cause_of_addresses", cause::of_addresses),
    ("cause_of_privileges", cause::of_privileges),
    ("cause_of_ports", cause::of_ports),
    ("cause_of_pairs", cause::of_pairs),
    ("cause_of_a_port_that_nginx_has", nginx::has_the_port),
    ("crowd_holders_are_named", crowd::names_holders),
    ("crowd_odd_holders_are_named", crowd::names_odd_holders),
    (
        "crowd_the_caller_itself_is_named",
        crowd::names_the_caller_itself,
    ),
    ("cause_of_states", cause::of_states),
    ("cause_of_routes", cause::of_routes),
    ("cause_of_answers", cause::of_answers),
    ("cause_of_ends", cause::of_ends),
    ("filter_by_process_tree", filter::by_process_tree),
    ("filter_by_pinned_map_of_cgroups", pinned::cgroups),
    (
        "filter_by_pinned_map_of_mount_namespaces",
        pinned::mount_namespaces,
    ),
    (
        "filter_in_the_kernel_shows_the_same",
        kernel_filter::shows_what_the_filter_shows,
    ),
    (
        "filter_in_the_kernel_leaves_the_rest",
        kernel_filter::leaves_the_rest_in_the_kernel,
    ),
    (
        "filter_in_the_kernel_remembers_what_it_hides",
        kernel_filter::remembers_what_it_hides,
    ),
    (
        "filter_in_the_kernel_rules_out_cgroups",
        kernel_filter::rules_out_cgroups,
    ),
    (
        "filter_in_the_kernel_rules_out_processes",
        kernel_filter::rules_out_processes,
    ),
    (
        "filter_in_the_kernel_each_of_callers",
        each_filter::of_callers,
    ),
    ("filter_in_the_kernel_each_of_calls", each_filter::of_calls),
];

/// Of what becomes of it, whichever source it comes from: with the best that works.
const OF_ANY_SOURCE: &[(&str, Test)] = &[
    ("nobodys_user_is_a_number", name::nobodys_user_is_a_number),
    ("hostile_comm_in_json", name::hostile_comm_in_json),
    ("hostile_comm_in_text", name::hostile_comm_in_text),
    ("python_and_curl", program::python_and_curl),
    ("busybox_httpd_and_wget", program::busybox_httpd_and_wget),
    ("stops_after_three_attempts", stop::after_three_attempts),
    ("stops_after_a_second", stop::after_a_second),
    (
        "stops_at_sigterm_with_a_summary",
        stop::at_sigterm_with_a_summary,
    ),
    (
        "stops_quietly_when_nobody_reads",
        stop::quietly_when_nobody_reads,
    ),
    ("tells_a_service_manager", stop::tells_a_service_manager),
    (
        "without_privileges_it_says_what_is_missing",
        privilege::without_any,
    ),
    (
        "another_user_finds_holders",
        cause::of_ports_by_another_user,
    ),
    (
        "another_user_writes_no_file_of_roots",
        privilege::another_user_writes_no_file_of_roots,
    ),
    (
        "landlock_would_hide_who_called",
        privilege::landlock_would_hide_who_called,
    ),
    ("crowd_is_as_large_as_said", crowd::is_as_large_as_said),
    ("crowd_why_names_holders", crowd::why_names_holders),
    (
        "why_says_that_it_may_not_look",
        crowd::why_says_that_it_may_not_look,
    ),
    ("diag_modules_are_not_there", diag::modules_are_not_there),
    ("why_knows_of_a_free_port", crowd::why_knows_of_a_free_port),
    (
        "why_says_that_it_sees_only_a_namespace",
        crowd::why_says_that_it_sees_only_a_namespace,
    ),
    ("fault_disk_full", fault::disk_full),
    ("fault_clock_set_back", fault::clock_set_back),
    ("fault_cpu_taken_away", fault::cpu_taken_away),
    ("fault_memory_at_its_limit", fault::memory_at_its_limit),
    ("fault_process_number_reused", fault::process_number_reused),
    ("fault_cgroup_gone", fault::cgroup_gone),
    ("fault_containers_stopped", fault::containers_stopped),
    ("fault_module_unloaded", fault::module_unloaded),
    ("fault_5000_short_lives", fault::short_lives),
    ("fault_2000_namespaces", fault::many_namespaces),
    ("filter_by_pid", filter::by_pid),
    ("filter_by_uid", filter::by_uid),
    ("filter_by_user_name", filter::by_user_name),
    ("filter_by_ports", filter::by_ports),
    ("filter_failed", filter::failed),
    ("filter_by_expression", filter::by_expression),
    (
        "filter_by_unit_that_nothing_runs_in",
        filter::by_unit_that_nothing_runs_in,
    ),
    (
        "filter_by_what_may_be_mistyped",
        filter::by_what_may_be_mistyped,
    ),
    (
        "filter_by_pid_of_a_pid_namespace",
        filter::by_pid_of_a_pid_namespace,
    ),
    (
        "cgroup_namespace_with_the_hosts_tree",
        cgroup_namespace::with_the_hosts_tree,
    ),
    (
        "cgroup_namespace_with_a_part_of_the_tree",
        cgroup_namespace::with_a_part_of_the_tree,
    ),
    ("filter_by_what_is_no_such_map", pinned::what_is_no_such_map),
    ("journald_has_what_was_sent", sink::journald_has_it),
    ("the_unit_runs_under_systemd", service::the_unit_runs),
    ("rsyslogd_has_what_was_sent", sink::rsyslogd_has_it),
    ("command_ends_its_watch", command::ends_as_its_command),
    (
        "command_that_cannot_be_run",
        command::cannot_run_its_command,
    ),
    (
        "command_is_followed_with_all_that_comes_of_it",
        command::is_followed_with_all_that_comes_of_it,
    ),
    (
        "command_runs_as_who_called_sudo",
        command::runs_as_who_called_sudo,
    ),
    ("command_has_the_signals", command::signals_are_its_commands),
    ("replay_has_the_same_bytes", replay::same_bytes),
    ("replay_has_the_same_text", replay::same_text),
    ("replay_filters_like_a_watch", replay::filtered),
];

pub(crate) fn all() -> Vec<Trial> {
    let table = Trial::test("documents::what_each_source_sees", || {
        table::is_in_the_document().map_err(|error| Failed::from(format!("{error:#}")))
    });
    let of_sources = Source::ALL.into_iter().flat_map(|source| {
        TRIALS
            .iter()
            .map(move |&(name, test)| trial(source, name, test))
    });
    let of_any = OF_ANY_SOURCE.iter().map(|&(name, test)| {
        timing::trial(format!("any::{name}"), move || {
            best_source().and_then(|source| run(source, test))
        })
    });
    std::iter::once(table)
        .chain(of_sources)
        .chain(of_any)
        .chain(why::all())
        .collect()
}

fn trial(source: Source, name: &str, test: Test) -> Trial {
    timing::trial(format!("{}::{name}", source.name()), move || {
        run(source, test)
    })
}

/// The first that works here.
fn best_source() -> Result<Source> {
    for source in Source::ALL {
        if source.unusable()?.is_none() {
            return Ok(source);
        }
    }
    bail!("no source works here")
}

fn run(source: Source, test: Test) -> Result<Completion> {
    if let Some(why) = source.unusable()? {
        return Ok(Completion::ignored_with(why));
    }
    match test(source) {
        Ok(()) => Ok(Completion::Completed),
        Err(error) => match error.downcast::<Impossible>() {
            Ok(impossible) => Ok(Completion::ignored_with(impossible)),
            Err(error) => Err(error),
        },
    }
}

/// Watches a workload and compares: all of it was reported, and nothing was lost.
fn exactly(source: Source, workload: &str, pace: Pace) -> Result<(Done, Stream)> {
    let mut portwatch = portwatch::start(source, &[])?;
    let done = Workload::prepare(workload, pace)?.run(&mut portwatch)?;
    let stream = portwatch.stop()?;
    same_attempts(source, &done, &stream)?;
    Ok((done, stream))
}
