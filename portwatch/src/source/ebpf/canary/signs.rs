//! Which call shows that a hook answers, and by what.
//!
//! A hook is accused only where nothing else explains that its mark is missing: the call ended as
//! it does when the kernel has come by that function, and the hooks that it rests on did answer.

use super::calls::{
    Call::{self, Bind, BindNowhere, Connect, ConnectNowhere, ListenRefused},
    Socket::{Mptcp, Tcp4, Tcp6, Udp4},
};
use crate::{
    event::{Attempt, Proto},
    source::Kind,
};

const EBADF: i32 = -9;
const EINVAL: i32 = -22;
const EAFNOSUPPORT: i32 = -97;
const EADDRNOTAVAIL: i32 = -99;
const EINPROGRESS: i32 = -115;
const IPPROTO_MPTCP: u16 = 262;

/// One call, how it ended, and what the hooks said of it.
#[derive(Clone, Debug)]
pub(super) struct Trial {
    pub(super) call: Call,
    /// What the caller was told: 0 or a negative errno
    pub(super) ret: i32,
    pub(super) record: Option<Attempt>,
    /// Its end was told, after the call
    pub(super) ended: bool,
}

/// What shows that a hook answers.
#[derive(Clone, Copy)]
pub(super) struct Sign {
    pub(super) hook: &'static str,
    pub(super) call: Call,
    /// Whether the kernel has come by the hook, and all that it rests on did answer
    due: fn(&Trial) -> bool,
    shown: fn(&Trial) -> bool,
}

/// The signs of the hooks that are attached.
pub(super) fn of(kind: Kind, hooks: &[String]) -> Vec<Sign> {
    let all = match kind {
        Kind::Fexit => FEXIT,
        Kind::Kprobe => KPROBE,
        Kind::Tracepoint => TRACEPOINT,
    };
    let is_attached = |sign: &&Sign| hooks.iter().any(|hook| hook == sign.hook);
    all.iter().filter(is_attached).copied().collect()
}

/// Those that should have been seen in the trials, and were not.
pub(super) fn silent<'a>(signs: &'a [Sign], trials: &[Trial]) -> Vec<&'a Sign> {
    let is_silent = |sign: &&Sign| {
        trials
            .iter()
            .any(|trial| trial.call == sign.call && (sign.due)(trial) && !(sign.shown)(trial))
    };
    signs.iter().filter(is_silent).collect()
}

const fn sign(
    hook: &'static str,
    call: Call,
    due: fn(&Trial) -> bool,
    shown: fn(&Trial) -> bool,
) -> Sign {
    Sign {
        hook,
        call,
        due,
        shown,
    }
}

const FEXIT: &[Sign] = &[
    sign("fexit:__sys_bind", BindNowhere, no_socket, recorded),
    sign("fexit:__sys_connect", ConnectNowhere, no_socket, recorded),
    sign("fexit:inet_bind", Bind(Tcp4), bind_decided, operated),
    sign("fexit:inet6_bind", Bind(Tcp6), bind_decided, operated),
    sign("fexit:mptcp_bind", Bind(Mptcp), bind_decided, operated),
    sign(
        "fentry:inet_stream_connect",
        Connect(Tcp4),
        connect_decided,
        entered,
    ),
    sign(
        "fexit:inet_stream_connect",
        Connect(Tcp4),
        connect_entered,
        operated,
    ),
    sign(
        "fentry:inet_dgram_connect",
        Connect(Udp4),
        connect_decided,
        entered,
    ),
    sign(
        "fexit:inet_dgram_connect",
        Connect(Udp4),
        connect_entered,
        operated,
    ),
    sign(
        "fexit:tcp_v4_connect",
        Connect(Tcp4),
        connect_entered,
        connected,
    ),
    sign(
        "fexit:tcp_v6_connect",
        Connect(Tcp6),
        connect_entered,
        connected,
    ),
    sign("tp_btf:inet_sock_set_state", Connect(Tcp4), syn_sent, ended),
    // Two hooks make one record: where it is missing, both are named.
    sign(
        "fentry:inet_listen",
        ListenRefused,
        listen_decided,
        recorded,
    ),
    sign("fexit:inet_listen", ListenRefused, listen_decided, recorded),
];

const KPROBE: &[Sign] = &[
    sign("kprobe:__sys_bind", BindNowhere, no_socket, recorded),
    sign("kretprobe:__sys_bind", BindNowhere, recorded, returned),
    sign("kprobe:__sys_connect", ConnectNowhere, no_socket, recorded),
    sign(
        "tracepoint:syscalls:sys_exit_connect",
        ConnectNowhere,
        recorded,
        returned,
    ),
    sign("kprobe:inet_bind", Bind(Tcp4), bind_decided, has_socket),
    sign("kretprobe:inet_bind", Bind(Tcp4), bound, has_port),
    sign("kprobe:inet6_bind", Bind(Tcp6), bind_decided, has_socket),
    sign("kretprobe:inet6_bind", Bind(Tcp6), bound, has_port),
    // What it calls on 6.1, inet_bind, tells of the subflow.
    sign("kprobe:mptcp_bind", Bind(Mptcp), bind_decided, is_mptcp),
    sign("kretprobe:mptcp_bind", Bind(Mptcp), bound, has_port),
    sign(
        "kprobe:inet_stream_connect",
        Connect(Tcp4),
        connect_decided,
        has_socket,
    ),
    sign(
        "kprobe:inet_dgram_connect",
        Connect(Udp4),
        connect_decided,
        has_socket,
    ),
    sign(
        "kretprobe:inet_dgram_connect",
        Connect(Udp4),
        bound,
        has_port,
    ),
    sign(
        "kretprobe:tcp_v4_connect",
        Connect(Tcp4),
        under_way,
        has_port,
    ),
    sign(
        "kretprobe:tcp_v6_connect",
        Connect(Tcp6),
        under_way,
        has_port,
    ),
    sign("tp_btf:inet_sock_set_state", Connect(Tcp4), syn_sent, ended),
    sign(
        "kprobe:inet_listen",
        ListenRefused,
        listen_decided,
        recorded,
    ),
    sign("kretprobe:inet_listen", ListenRefused, recorded, returned),
];

const TRACEPOINT: &[Sign] = &[
    sign(
        "tracepoint:syscalls:sys_enter_bind",
        BindNowhere,
        no_socket,
        recorded,
    ),
    sign(
        "tracepoint:syscalls:sys_exit_bind",
        BindNowhere,
        recorded,
        returned,
    ),
    sign(
        "tracepoint:syscalls:sys_enter_connect",
        ConnectNowhere,
        no_socket,
        recorded,
    ),
    sign(
        "tracepoint:syscalls:sys_exit_connect",
        ConnectNowhere,
        recorded,
        returned,
    ),
];

/// The system call's own function has ended the call; seccomp may deny it before.
fn no_socket(trial: &Trial) -> bool {
    trial.ret == EBADF
}

fn recorded(trial: &Trial) -> bool {
    trial.record.is_some()
}

fn holds(trial: &Trial, test: impl FnOnce(&Attempt) -> bool) -> bool {
    trial.record.as_ref().is_some_and(test)
}

fn returned(trial: &Trial) -> bool {
    holds(trial, |it| it.ret.is_some())
}

/// No station before the protocol's function said no: the verdict is its own.
fn was_let_pass(trial: &Trial) -> bool {
    !holds(trial, |it| {
        [it.stages.lsm, it.stages.cgroup]
            .into_iter()
            .flatten()
            .any(|verdict| verdict != 0)
    })
}

/// The protocol's bind has ended the call; without loopback it has no such address.
fn bind_decided(trial: &Trial) -> bool {
    matches!(trial.ret, 0 | EADDRNOTAVAIL) && was_let_pass(trial)
}

/// The protocol's connect has ended the call; an address of another family is refused by it too.
fn connect_decided(trial: &Trial) -> bool {
    matches!(trial.ret, 0 | EINPROGRESS | EAFNOSUPPORT) && was_let_pass(trial)
}

/// Refused for its state, which no security module looks at.
fn listen_decided(trial: &Trial) -> bool {
    trial.ret == EINVAL
}

fn connect_entered(trial: &Trial) -> bool {
    connect_decided(trial) && entered(trial)
}

fn bound(trial: &Trial) -> bool {
    trial.ret == 0 && has_socket(trial)
}

fn under_way(trial: &Trial) -> bool {
    trial.ret == EINPROGRESS && has_socket(trial)
}

fn syn_sent(trial: &Trial) -> bool {
    trial.ret == EINPROGRESS && holds(trial, |it| it.stages.connect == Some(0))
}

fn entered(trial: &Trial) -> bool {
    holds(trial, |it| it.before.socket.is_some())
}

fn operated(trial: &Trial) -> bool {
    holds(trial, |it| it.stages.operation.is_some())
}

fn connected(trial: &Trial) -> bool {
    holds(trial, |it| it.stages.connect.is_some())
}

fn ended(trial: &Trial) -> bool {
    trial.ended
}

fn has_socket(trial: &Trial) -> bool {
    holds(trial, |it| it.proto.is_some())
}

fn is_mptcp(trial: &Trial) -> bool {
    holds(trial, |it| it.proto == Some(Proto::Ip(IPPROTO_MPTCP)))
}

/// The port that it was given by the call.
fn has_port(trial: &Trial) -> bool {
    let port = |it: &Attempt| it.local.and_then(|local| local.port);
    holds(trial, |it| port(it).is_some_and(|port| port != 0))
}

#[cfg(test)]
mod tests;
