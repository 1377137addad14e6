use std::path::{Path, PathBuf};

use super::*;
use crate::{
    cgroup::View,
    confine::Tried,
    support::{
        capability::{Capabilities, Status as ProcessStatus},
        facts::Grants,
    },
};

const ROOT: &str = "CapEff:\t000001ffffffffff\nCapBnd:\t000001ffffffffff\nNSpid:\t7\n";
const USER: &str = "CapEff:\t0000000000000000\nCapBnd:\t000001ffffffffff\nNSpid:\t7\n";

/// What is left of root's once it watches.
const CONFINED: &str = "CapEff:\t000000c000281004\nNoNewPrivs:\t1\nSeccomp:\t2\n";

/// Root on a kernel that has everything.
fn facts() -> Facts {
    Facts {
        grants: Grants {
            status: ProcessStatus::parse(ROOT),
            root: true,
            last_capability: 40,
            user_namespace: Namespace::Initial,
            paranoid: Some(3),
            tracefs: Tracefs::Ready(PathBuf::from("/sys/kernel/tracing")),
        },
        release: "6.1.0-50-amd64".to_owned(),
        machine: "x86_64".to_owned(),
        pid_namespace: Namespace::Initial,
        cgroups: (View::Host(Some("/sys/fs/cgroup".into())), false),
        lockdown: Lockdown::Integrity,
        btf: Ok(5_515_646),
        kprobe_pmu: true,
        kprobes_enabled: Some(true),
        bpf: Trial::Works,
        ring_buffer: Trial::Works,
        kprobe_program: Trial::Works,
        tracepoint_program: Trial::Works,
        fentry: Trial::Works,
        iterator: Trial::Works,
        missing_tables: Vec::new(),
        confined: Ok(Tried {
            status: CONFINED.to_owned(),
            left: Vec::new(),
        }),
    }
}

/// The same host, for a user without privileges.
fn as_user() -> Facts {
    let mut facts = facts();
    facts.grants.status = ProcessStatus::parse(USER);
    facts.grants.root = false;
    facts.grants.tracefs = Tracefs::Hidden(PathBuf::from("/sys/kernel/tracing"));
    for trial in [
        &mut facts.bpf,
        &mut facts.ring_buffer,
        &mut facts.kprobe_program,
        &mut facts.tracepoint_program,
        &mut facts.fentry,
        &mut facts.iterator,
    ] {
        *trial = Trial::Refused {
            call: "bpf_prog_load",
            errno: EPERM,
        };
    }
    facts
}

fn checks(facts: &Facts) -> Vec<Check> {
    all(
        facts,
        &Command::of(Path::new("/usr/bin/portwatch"), std::iter::empty()),
    )
}

fn check(facts: &Facts, id: &str) -> Check {
    checks(facts)
        .into_iter()
        .find(|check| check.id == id)
        .unwrap()
}

/// The checks that are not ok, a line each.
fn troubles(facts: &Facts) -> String {
    let troubles = checks(facts)
        .into_iter()
        .filter(|check| check.status != Status::Ok);
    let lines = troubles.map(|check| format!("{} {:?}: {}", check.id, check.status, check.detail));
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn a_kernel_that_has_everything_is_in_order() {
    assert_eq!(troubles(&facts()), "");
    assert_eq!(
        check(&facts(), "btf").detail,
        "/sys/kernel/btf/vmlinux, 5.2 MiB"
    );
    assert_eq!(
        check(&facts(), "perf_event_paranoid").detail,
        "3, which CAP_SYS_ADMIN overrides"
    );
}

#[test]
fn a_user_learns_what_is_missing_and_what_cannot_be_known() {
    insta::assert_snapshot!(troubles(&as_user()), @r"
    capabilities Missing: none; lacks CAP_SYS_ADMIN and CAP_DAC_READ_SEARCH
    bpf Limited: not known: trying it takes the missing capabilities
    ring_buffer Limited: not known: trying it takes the missing capabilities
    fentry Limited: not known: trying it takes the missing capabilities
    iterator Limited: not known: trying it takes the missing capabilities
    kprobes Limited: not known: trying it takes the missing capabilities
    tracepoints Limited: not known: trying it takes the missing capabilities
    tracefs Missing: /sys/kernel/tracing is not for this process to read
    perf_event_paranoid Missing: 3, without CAP_SYS_ADMIN
    ");
}

#[test]
fn everything_that_is_missing_has_a_remedy() {
    let mut bare = as_user();
    bare.btf = Err(BtfFault::Absent);
    bare.kprobe_pmu = false;
    bare.lockdown = Lockdown::Unknown;
    bare.grants.tracefs = Tracefs::Unmounted;
    bare.ring_buffer = Trial::Unknown;
    for check in checks(&bare) {
        let lacks = check.status == Status::Missing && check.id != "fentry";
        assert!(!lacks || check.remedy.is_some(), "{check:?}");
        assert_eq!(
            check.status == Status::Ok,
            check.means.is_none(),
            "{check:?}"
        );
    }
}

#[test]
fn confidentiality_takes_the_kprobes() {
    let mut locked = facts();
    locked.lockdown = Lockdown::Confidentiality;
    insta::assert_snapshot!(troubles(&locked), @r"
    lockdown Limited: confidentiality
    kprobes Missing: refused by lockdown
    ");
}

#[test]
fn without_btf_there_is_no_fentry() {
    let mut blind = facts();
    blind.btf = Err(BtfFault::Absent);
    insta::assert_snapshot!(troubles(&blind), @r"
    btf Missing: no /sys/kernel/btf/vmlinux
    fentry Missing: needs BTF
    iterator Limited: needs BTF
    ");
}

#[test]
fn disarmed_kprobes_are_noticed() {
    let mut disarmed = facts();
    disarmed.kprobes_enabled = Some(false);
    assert_eq!(check(&disarmed, "kprobes").status, Status::Missing);
}

#[test]
fn a_refusal_in_spite_of_capabilities_is_a_filter_s() {
    let mut filtered = facts();
    filtered.grants.status.seccomp = true;
    filtered.bpf = Trial::Refused {
        call: "bpf_prog_load",
        errno: EPERM,
    };
    let check = check(&filtered, "bpf");
    assert_eq!(check.status, Status::Missing);
    assert_eq!(check.detail, "bpf_prog_load refused: EPERM");
    assert_eq!(
        check.remedy.as_deref(),
        Some("docker run --security-opt seccomp=unconfined …")
    );
}

#[test]
fn what_a_watch_keeps_and_gives_up_is_shown() {
    insta::assert_snapshot!(check(&facts(), "confinement").detail, @"a watch keeps CAP_DAC_READ_SEARCH, CAP_NET_ADMIN, CAP_SYS_PTRACE, CAP_SYS_ADMIN, CAP_PERFMON, CAP_BPF and gives up 35 others; it can gain none (no_new_privs), nor start programs or change the machine (seccomp)");
}

#[test]
fn what_cannot_be_given_up_is_a_limit() {
    let mut facts = facts();
    facts.confined = Ok(Tried {
        status: ROOT.to_owned(),
        left: vec!["no system call is denied: EINVAL".to_owned()],
    });
    insta::assert_snapshot!(troubles(&facts), @"confinement Limited: a watch keeps all 41 and gives up 0 others; but no system call is denied: EINVAL");
    facts.confined = Err("no thread".to_owned());
    insta::assert_snapshot!(troubles(&facts), @"confinement Limited: cannot be tried: no thread");
}

#[test]
fn an_unmounted_tracefs_is_no_trouble_to_who_may_mount_it() {
    let mut unmounted = facts();
    unmounted.grants.tracefs = Tracefs::Unmounted;
    assert_eq!(check(&unmounted, "tracefs").status, Status::Ok);
    unmounted.grants.status.effective = Capabilities::NONE;
    assert_eq!(check(&unmounted, "tracefs").status, Status::Missing);
}

#[test]
fn a_container_s_pids_are_the_host_s() {
    let mut contained = facts();
    contained.pid_namespace = Namespace::Other;
    assert_eq!(check(&contained, "namespaces").status, Status::Limited);
    contained.grants.user_namespace = Namespace::Other;
    assert_eq!(check(&contained, "namespaces").status, Status::Missing);
    assert_eq!(
        check(&contained, "capabilities").detail,
        "none; lacks CAP_SYS_ADMIN"
    );
}

#[test]
fn a_cgroup_namespace_of_its_own_hides_the_host_s_cgroups() {
    let mut contained = facts();
    contained.cgroups.0 = View::Part;
    insta::assert_snapshot!(troubles(&contained), @"cgroups Limited: portwatch runs in a cgroup namespace of its own, which shows only a part of the host's cgroups");
    contained.cgroups.0 = View::Above {
        point: "/host/cgroup".into(),
        above: 2,
    };
    insta::assert_snapshot!(check(&contained, "cgroups").detail, @"the host's tree is at /host/cgroup");
    assert_eq!(check(&contained, "cgroups").status, Status::Ok);
}
