//! What portwatch looks up beside an attempt, against namespaces that were made for it.

use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use libtest_mimic::{Completion, Trial};
use portwatch::{
    event::{Attempt, AttemptId, Before, Comm, Op, Proto, Requested, Stages, System, Time},
    facts::Namespace,
};

use super::{driver::Impossible, sys, timing};

mod addresses;
mod conflicts;
mod descriptors;
mod gatherer;
mod holders;
mod listeners;
mod routes;

type Test = fn() -> Result<()>;

const TRIALS: &[(&str, Test)] = &[
    ("holder_listens", holders::listens),
    ("holder_is_bound_and_idle", holders::is_bound_and_idle),
    ("holder_was_seen_to_bind", holders::was_seen_to_bind),
    ("holder_of_udp", holders::of_udp),
    ("holder_of_ipv6", holders::of_ipv6),
    ("holder_in_time_wait", holders::in_time_wait),
    ("holder_is_a_connection", holders::is_a_connection),
    ("holder_has_gone", holders::has_gone),
    ("holder_is_another_process", holders::is_another_process),
    ("holder_in_another_namespace", holders::in_another_namespace),
    (
        "conflicts_are_those_of_the_kernel",
        conflicts::are_those_of_the_kernel,
    ),
    (
        "conflicts_with_connections_are_named",
        conflicts::with_connections_are_named,
    ),
    ("listener_without_room", listeners::without_room),
    (
        "listener_on_another_interface",
        listeners::on_another_interface,
    ),
    ("descriptor_of_a_port", descriptors::of_a_port),
    ("descriptors_that_keep_ports", descriptors::that_keep_ports),
    (
        "descriptor_of_a_thread_of_its_own",
        descriptors::of_a_thread_of_its_own,
    ),
    ("descriptors_while_confined", descriptors::while_confined),
    ("address_is_assigned", addresses::is_assigned),
    ("address_is_elsewhere", addresses::is_elsewhere),
    ("address_is_tentative", addresses::is_tentative),
    ("address_is_in_a_vrf", addresses::is_in_a_vrf),
    ("address_without_ipv6", addresses::without_ipv6),
    ("route_refuses", routes::refuses),
    ("route_leads_on", routes::leads_on),
    (
        "route_whose_next_hop_does_not_answer",
        routes::next_hop_does_not_answer,
    ),
    ("settings_are_the_namespaces_own", gatherer::settings),
    ("credentials_of_a_user", gatherer::credentials),
    ("port_in_use_is_gathered_once", gatherer::port_in_use),
    ("refused_where_somebody_listens", gatherer::refused_here),
    ("low_port_of_an_unseen_caller", gatherer::low_port),
    ("namespace_without_a_process", gatherer::without_process),
    (
        "nothing_is_looked_up_without_privileges",
        gatherer::without_privileges,
    ),
    ("nothing_is_looked_up_of_success", gatherer::of_success),
];

pub(crate) fn all() -> impl Iterator<Item = Trial> {
    TRIALS
        .iter()
        .map(|&(name, test)| timing::trial(format!("facts::{name}"), move || run(test)))
}

fn run(test: fn() -> Result<()>) -> Result<Completion> {
    if !rustix::process::geteuid().is_root() {
        return Ok(Completion::ignored_with("making namespaces takes root"));
    }
    match test() {
        Ok(()) => Ok(Completion::Completed),
        Err(error) => match error.downcast::<Impossible>() {
            Ok(impossible) => Ok(Completion::ignored_with(impossible)),
            Err(error) => Err(error),
        },
    }
}

const TCP: Proto = Proto::Ip(6);
const UDP: Proto = Proto::Ip(17);

/// Prepares something in a new namespace, and gives the namespace to be looked at from outside.
fn prepared<T: Send>(prepare: impl FnOnce() -> Result<T> + Send) -> Result<(Namespace, T)> {
    sys::in_own_netns(|| {
        let prepared = prepare()?;
        Ok((Namespace::own()?, prepared))
    })
}

/// `ip` in the thread's namespace, as busybox has it.
fn ip(arguments: &str) -> Result<()> {
    let mut command = Command::new("busybox");
    let output = command.arg("ip").args(arguments.split(' ')).output();
    let output = output.context("busybox cannot be started")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "ip {arguments}: {said}");
    Ok(())
}

/// An interface of a kind that not every kernel has.
fn interface(name: &str, kind: &str) -> Result<()> {
    ip(&format!("link add {name} type {kind}"))
        .map_err(|error| Impossible(format!("no interface of type {kind}: {error}")).into())
}

fn attempt(op: Op, errno: i32, namespace: &Namespace, asked: (std::net::IpAddr, u16)) -> Attempt {
    Attempt {
        id: AttemptId::default(),
        time: Time(1),
        system: System::Linux,
        op,
        via: None,
        tgid: std::process::id(),
        tid: std::process::id(),
        ppid: None,
        ancestors: None,
        process_start: None,
        comm: Comm::new([0; 16]),
        process: None,
        uid: 0,
        euid: Some(0),
        gid: Some(0),
        family: None,
        proto: Some(TCP),
        requested: Some(Requested {
            ip: asked.0,
            port: asked.1,
            scope_id: 0,
        }),
        address_len: None,
        effective: None,
        local: None,
        fd: None,
        inode: None,
        ret: Some(-errno),
        latency: None,
        netns: Some(namespace.inode()),
        cgroup_id: None,
        cgroup: None,
        ifindex: None,
        ifname: None,
        options: None,
        port_range: None,
        privileged: None,
        repeat: false,
        interrupted: false,
        deferred: false,
        seccomp: false,
        stages: Stages::default(),
        before: Before::default(),
        reset: false,
        cause: None,
    }
}
