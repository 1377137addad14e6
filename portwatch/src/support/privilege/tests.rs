use std::path::{Path, PathBuf};

use super::*;
use crate::support::capability::{Capabilities, Status};

const EVERYTHING: u64 = (1 << 41) - 1;

fn set(held: &[Capability]) -> Capabilities {
    held.iter()
        .fold(Capabilities::NONE, |set, capability| set.with(*capability))
}

/// A user on a host of today, with nothing in the way.
fn grants(held: &[Capability]) -> Grants {
    let text = format!("CapBnd:\t{EVERYTHING:016x}\nNSpid:\t7\n");
    Grants {
        status: Status {
            effective: set(held),
            ..Status::parse(&text)
        },
        root: false,
        last_capability: 40,
        user_namespace: Namespace::Initial,
        paranoid: Some(2),
        tracefs: Tracefs::Hidden(PathBuf::from("/sys/kernel/tracing")),
    }
}

fn command() -> Command {
    let arguments = ["connect", "--comm", "my app"].map(Into::into).into_iter();
    Command::of(Path::new("/usr/bin/portwatch"), arguments)
}

fn certain(grants: &Grants) -> Option<Vec<&'static str>> {
    let missing = MissingPrivileges::certain(grants, command())?;
    Some(
        missing
            .missing()
            .iter()
            .map(|capability| capability.name())
            .collect(),
    )
}

fn message(grants: &Grants) -> String {
    MissingPrivileges::likely(grants, command())
        .unwrap()
        .to_string()
}

const TRACING: [Capability; 3] = [
    Capability::BPF,
    Capability::PERFMON,
    Capability::DAC_READ_SEARCH,
];

#[test]
fn root_lacks_nothing() {
    let mut root = grants(&[Capability::SYS_ADMIN]);
    root.root = true;
    root.tracefs = Tracefs::Unmounted;
    assert_eq!(certain(&root), None);
}

#[test]
fn the_three_capabilities_are_enough() {
    assert_eq!(certain(&grants(&TRACING)), None);
}

#[test]
fn one_of_the_two_is_not_enough() {
    let lacking = certain(&grants(&[Capability::BPF, Capability::DAC_READ_SEARCH]));
    assert_eq!(lacking, Some(vec!["CAP_PERFMON"]));
}

#[test]
fn an_open_tracefs_asks_for_nothing() {
    let mut open = grants(&[Capability::BPF, Capability::PERFMON]);
    open.tracefs = Tracefs::Ready(PathBuf::from("/sys/kernel/tracing"));
    assert_eq!(certain(&open), None);
}

#[test]
fn mounting_tracefs_takes_sys_admin_which_the_best_source_does_without() {
    let mut unmounted = grants(&TRACING);
    unmounted.tracefs = Tracefs::Unmounted;
    assert_eq!(certain(&unmounted), None);
    let refused = MissingPrivileges::likely(&unmounted, command()).unwrap();
    assert_eq!(
        refused.missing().first().map(|missing| missing.name()),
        Some("CAP_SYS_ADMIN")
    );
}

#[test]
fn kernels_without_cap_bpf_ask_for_sys_admin() {
    let mut old = grants(&[Capability::DAC_READ_SEARCH]);
    old.last_capability = 37;
    assert_eq!(certain(&old), Some(vec!["CAP_SYS_ADMIN"]));
}

#[test]
fn a_paranoid_kernel_is_tried_before_it_is_believed() {
    let mut paranoid = grants(&TRACING);
    paranoid.paranoid = Some(3);
    assert_eq!(certain(&paranoid), None);
    let refused = MissingPrivileges::likely(&paranoid, command()).unwrap();
    assert_eq!(refused.missing(), [Capability::SYS_ADMIN]);
}

#[test]
fn capabilities_in_another_user_namespace_count_for_nothing() {
    let mut rootless = grants(&TRACING);
    rootless.status.effective = set(&[Capability::SYS_ADMIN]);
    rootless.user_namespace = Namespace::Other;
    assert!(certain(&rootless).is_some());
}

#[test]
fn a_user_is_told_both_commands() {
    insta::assert_snapshot!(message(&grants(&[])), @r"
    not permitted to trace: this process lacks CAP_BPF, CAP_PERFMON and CAP_DAC_READ_SEARCH

    this kernel asks for
      CAP_BPF              missing  to load eBPF programs and their maps
      CAP_PERFMON          missing  to attach them and let them read kernel memory
      CAP_DAC_READ_SEARCH  missing  to read the tracepoints' numbers in /sys/kernel/tracing
    and, only to name the programs and sockets of other users, for CAP_SYS_PTRACE

    run it as root:
      sudo /usr/bin/portwatch connect --comm 'my app'
    or grant them to the file, and so to everyone who may run it:
      sudo setcap cap_bpf,cap_perfmon,cap_dac_read_search+ep /usr/bin/portwatch

    `portwatch doctor` shows what else this host allows
    ");
}

#[test]
fn a_paranoid_kernel_s_setting_is_named() {
    let mut paranoid = grants(&[Capability::SYS_PTRACE]);
    paranoid.paranoid = Some(3);
    insta::assert_snapshot!(message(&paranoid), @r"
    not permitted to trace: this process lacks CAP_SYS_ADMIN and CAP_DAC_READ_SEARCH

    this kernel asks for
      CAP_SYS_ADMIN        missing  to load and attach eBPF programs, in place of CAP_BPF and CAP_PERFMON:
                                    kernel.perf_event_paranoid is 3, and Debian's and Ubuntu's
                                    kernels let nothing less open a probe then
      CAP_DAC_READ_SEARCH  missing  to read the tracepoints' numbers in /sys/kernel/tracing

    run it as root:
      sudo /usr/bin/portwatch connect --comm 'my app'
    or grant them to the file, and so to everyone who may run it:
      sudo setcap cap_sys_admin,cap_dac_read_search+ep /usr/bin/portwatch
    or lower kernel.perf_event_paranoid from 3, and CAP_BPF and CAP_PERFMON are enough:
      sudo sysctl kernel.perf_event_paranoid=2

    `portwatch doctor` shows what else this host allows
    ");
}

#[test]
fn what_is_held_is_said_to_be_held() {
    let mut unmounted = grants(&[Capability::BPF, Capability::PERFMON]);
    unmounted.tracefs = Tracefs::Unmounted;
    insta::assert_snapshot!(message(&unmounted), @r"
    not permitted to trace: this process lacks CAP_SYS_ADMIN and CAP_DAC_READ_SEARCH

    this kernel asks for
      CAP_BPF              held     to load eBPF programs and their maps
      CAP_PERFMON          held     to attach them and let them read kernel memory
      CAP_SYS_ADMIN        missing  to mount tracefs, which is not mounted
      CAP_DAC_READ_SEARCH  missing  to read the tracepoints' numbers in it
    and, only to name the programs and sockets of other users, for CAP_SYS_PTRACE

    run it as root:
      sudo /usr/bin/portwatch connect --comm 'my app'
    or grant them to the file, and so to everyone who may run it:
      sudo setcap cap_bpf,cap_perfmon,cap_sys_admin,cap_dac_read_search+ep /usr/bin/portwatch

    `portwatch doctor` shows what else this host allows
    ");
}

#[test]
fn a_container_s_root_is_told_to_start_the_container_with_more() {
    let mut container = grants(&[Capability::SYS_PTRACE]);
    container.root = true;
    container.status.bounding = set(&[Capability::SYS_PTRACE]);
    insta::assert_snapshot!(message(&container), @r"
    not permitted to trace: this process lacks CAP_BPF and CAP_PERFMON

    this kernel asks for
      CAP_BPF      missing  to load eBPF programs and their maps
      CAP_PERFMON  missing  to attach them and let them read kernel memory

    the container or service around it keeps them from everything inside, root too; start that with
      docker run --privileged --pid=host …
    or, in a systemd unit,
      CapabilityBoundingSet=CAP_BPF CAP_PERFMON
      AmbientCapabilities=CAP_BPF CAP_PERFMON

    `portwatch doctor` shows what else this host allows
    ");
}

#[test]
fn a_rootless_container_s_root_is_sent_outside() {
    let mut rootless = grants(&[]);
    rootless.root = true;
    rootless.user_namespace = Namespace::Other;
    insta::assert_snapshot!(message(&rootless), @r"
    not permitted to trace: this process lacks CAP_BPF and CAP_PERFMON

    this kernel asks for
      CAP_BPF      missing  to load eBPF programs and their maps
      CAP_PERFMON  missing  to attach them and let them read kernel memory
    and, only to name the programs and sockets of other users, for CAP_SYS_PTRACE

    it runs in a user namespace of its own (a rootless container, or unshare), where capabilities
    count for nothing that reaches the whole machine; run it outside:
      sudo /usr/bin/portwatch connect --comm 'my app'

    `portwatch doctor` shows what else this host allows
    ");
}

#[test]
fn no_new_privs_rules_sudo_out() {
    let mut confined = grants(&[]);
    confined.status.no_new_privs = true;
    insta::assert_snapshot!(message(&confined), @r"
    not permitted to trace: this process lacks CAP_BPF, CAP_PERFMON and CAP_DAC_READ_SEARCH

    this kernel asks for
      CAP_BPF              missing  to load eBPF programs and their maps
      CAP_PERFMON          missing  to attach them and let them read kernel memory
      CAP_DAC_READ_SEARCH  missing  to read the tracepoints' numbers in /sys/kernel/tracing
    and, only to name the programs and sockets of other users, for CAP_SYS_PTRACE

    no_new_privs is set for this process, so neither sudo nor setcap adds any; start it from a
    shell or service that does not set it (in a systemd unit: NoNewPrivileges=no)

    `portwatch doctor` shows what else this host allows
    ");
}
