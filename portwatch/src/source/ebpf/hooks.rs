//! Which program is attached where, by source.

mod security;

use std::fmt;

pub(super) use self::security::{Active, tells_modules_apart};
use super::Kind;

/// One program at one place.
pub(super) struct Hook {
    /// Its name in the eBPF object (portwatch-ebpf/src/hooks)
    pub(super) program: &'static str,
    pub(super) attach: Attach,
    /// Without it the source is of no use
    pub(super) required: bool,
    /// A kernel that does not have the function does not do what the hook is to see
    pub(super) moot_if_absent: bool,
    /// What is not seen without it
    pub(super) unseen: &'static str,
}

#[derive(Clone, Copy)]
pub(super) enum Attach {
    Fentry(&'static str),
    Fexit(&'static str),
    /// A tracepoint by its BTF type: `btf_trace_` and its name
    TracepointBtf(&'static str),
    Kprobe(&'static str),
    Kretprobe(&'static str),
    Tracepoint(&'static str, &'static str),
}

impl Hook {
    /// The name to look for in the kernel's type information: to attach by it, or to know whether
    /// there is such a function.
    pub(super) const fn btf_name(&self) -> Option<&'static str> {
        match self.attach {
            Attach::Fentry(name) | Attach::Fexit(name) | Attach::TracepointBtf(name) => Some(name),
            Attach::Kprobe(name) | Attach::Kretprobe(name) if self.moot_if_absent => Some(name),
            Attach::Kprobe(_) | Attach::Kretprobe(_) | Attach::Tracepoint(..) => None,
        }
    }
}

/// How the kernel names the type of a tracepoint's function (include/linux/tracepoint.h).
pub(super) const TRACEPOINT_TYPE: &str = "btf_trace_";

impl fmt::Display for Attach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fentry(function) => write!(f, "fentry:{function}"),
            Self::Fexit(function) => write!(f, "fexit:{function}"),
            Self::TracepointBtf(name) => {
                write!(f, "tp_btf:{}", name.trim_start_matches(TRACEPOINT_TYPE))
            }
            Self::Kprobe(function) => write!(f, "kprobe:{function}"),
            Self::Kretprobe(function) => write!(f, "kretprobe:{function}"),
            Self::Tracepoint(category, name) => write!(f, "tracepoint:{category}:{name}"),
        }
    }
}

/// The hooks of a source, in the order in which they are attached: returns before entries, so
/// that no call that was seen to begin goes without its end.
pub(super) fn of(kind: Kind) -> &'static [Hook] {
    match kind {
        Kind::Fexit => FEXIT,
        Kind::Kprobe => KPROBE,
        Kind::Tracepoint => TRACEPOINT,
    }
}

/// All that a source can have, whatever is asked for.
pub(super) fn every(kind: Kind) -> impl Iterator<Item = &'static Hook> {
    let seccomp = if kind == Kind::Fexit { SECCOMP } else { &[] };
    let sctp = if kind == Kind::Tracepoint { &[] } else { SCTP };
    let modules: Vec<_> = Active::any().hooks(kind).collect();
    of(kind).iter().chain(seccomp).chain(sctp).chain(modules)
}

/// Those that see what seccomp denies; attached only when asked for.
pub(super) const SECCOMP: &[Hook] = &[
    needed(
        "tp_bind_denied",
        Attach::Tracepoint(SYSCALLS, "sys_exit_bind"),
    ),
    needed(
        "tp_conn_denied",
        Attach::Tracepoint(SYSCALLS, "sys_exit_connect"),
    ),
];

const fn needed(program: &'static str, attach: Attach) -> Hook {
    Hook {
        program,
        attach,
        required: true,
        moot_if_absent: false,
        unseen: "",
    }
}

const fn optional(program: &'static str, attach: Attach, unseen: &'static str) -> Hook {
    Hook {
        program,
        attach,
        required: false,
        moot_if_absent: false,
        unseen,
    }
}

/// Not missed by a kernel that does not have the function.
const fn moot(program: &'static str, attach: Attach, unseen: &'static str) -> Hook {
    Hook {
        moot_if_absent: true,
        ..optional(program, attach, unseen)
    }
}

const SYSCALLS: &str = "syscalls";
const NO_IPV6: &str = "IPv6 sockets";
const NO_MPTCP: &str = "binds of Multipath TCP sockets";
const NO_MPTCP_DETAIL: &str = "the protocol and the local address of Multipath TCP sockets";
const NO_COMPAT: &str = "how a connect of a 32-bit caller ended";
const NO_LSM: &str = "that it was a security module that denied an attempt";
const NO_RESET: &str = "that it was a reset that ended a connect";
const NO_CGROUP: &str =
    "that it was a cgroup BPF program that denied an attempt, or changed its address";
const NO_RING: &str = "what cgroup BPF programs make of binds by io_uring";
const NO_SCTP: &str = "of SCTP, bindx and connectx, and all but the system call of a connect";
const NO_LATE_SCTP: &str = "the same, where that module is loaded later";
const NO_LISTEN: &str = "listen() on sockets that were not bound";

/// Functions of the module sctp, attached when it is loaded: with every source that has a socket
/// in hand, since trampolines on modules need type information that aya does not take.
pub(super) const SCTP: &[Hook] = &[
    optional("sctp_bindx_out", Attach::Kretprobe("sctp_do_bind"), NO_SCTP),
    optional(
        "sctp_connx_out",
        Attach::Kretprobe("__sctp_connect"),
        NO_SCTP,
    ),
    optional(
        "sctp_conn_enter",
        Attach::Kprobe("sctp_inet_connect"),
        NO_SCTP,
    ),
    optional("sctp_bindx_in", Attach::Kprobe("sctp_do_bind"), NO_SCTP),
    optional("sctp_connx_in", Attach::Kprobe("__sctp_connect"), NO_SCTP),
];

const FEXIT: &[Hook] = &[
    needed("fx_sys_bind", Attach::Fexit("__sys_bind")),
    needed("fx_sys_connect", Attach::Fexit("__sys_connect")),
    needed(
        "tb_state",
        Attach::TracepointBtf("btf_trace_inet_sock_set_state"),
    ),
    optional(
        "tb_reset",
        Attach::TracepointBtf("btf_trace_tcp_receive_reset"),
        NO_RESET,
    ),
    optional(
        "tb_module",
        Attach::TracepointBtf("btf_trace_module_load"),
        NO_LATE_SCTP,
    ),
    needed("fx_inet_bind", Attach::Fexit("inet_bind")),
    optional("fx_inet6_bind", Attach::Fexit("inet6_bind"), NO_IPV6),
    optional("fx_mptcp_bind", Attach::Fexit("mptcp_bind"), NO_MPTCP),
    needed("fx_tcp4", Attach::Fexit("tcp_v4_connect")),
    optional("fx_tcp6", Attach::Fexit("tcp_v6_connect"), NO_IPV6),
    needed("fx_stream", Attach::Fexit("inet_stream_connect")),
    needed("fx_dgram", Attach::Fexit("inet_dgram_connect")),
    optional("fx_listen", Attach::Fexit("inet_listen"), NO_LISTEN),
    optional("fx_lsm_bind", Attach::Fexit("security_socket_bind"), NO_LSM),
    optional(
        "fx_lsm_connect",
        Attach::Fexit("security_socket_connect"),
        NO_LSM,
    ),
    optional(
        "fx_cgroup_addr",
        Attach::Fexit("__cgroup_bpf_run_filter_sock_addr"),
        NO_CGROUP,
    ),
    optional(
        "fx_cgroup_sk",
        Attach::Fexit("__cgroup_bpf_run_filter_sk"),
        NO_CGROUP,
    ),
    optional(
        "fe_cgroup_addr",
        Attach::Fentry("__cgroup_bpf_run_filter_sock_addr"),
        NO_CGROUP,
    ),
    optional("fe_listen", Attach::Fentry("inet_listen"), NO_LISTEN),
    moot("fx_ring_bind", Attach::Fexit("io_bind"), NO_RING),
    moot("fe_ring_bind", Attach::Fentry("io_bind"), NO_RING),
    needed("fe_stream", Attach::Fentry("inet_stream_connect")),
    needed("fe_dgram", Attach::Fentry("inet_dgram_connect")),
];

const KPROBE: &[Hook] = &[
    needed(
        "tp_conn_exit",
        Attach::Tracepoint(SYSCALLS, "sys_exit_connect"),
    ),
    needed("sys_bind_exit", Attach::Kretprobe("__sys_bind")),
    needed("bind_exit", Attach::Kretprobe("inet_bind")),
    needed("dgram_exit", Attach::Kretprobe("inet_dgram_connect")),
    needed("tcp_exit", Attach::Kretprobe("tcp_v4_connect")),
    needed(
        "tb_state",
        Attach::TracepointBtf("btf_trace_inet_sock_set_state"),
    ),
    optional(
        "tb_reset",
        Attach::TracepointBtf("btf_trace_tcp_receive_reset"),
        NO_RESET,
    ),
    optional("bind_exit", Attach::Kretprobe("inet6_bind"), NO_IPV6),
    optional("tcp_exit", Attach::Kretprobe("tcp_v6_connect"), NO_IPV6),
    optional(
        "bind_exit",
        Attach::Kretprobe("mptcp_bind"),
        NO_MPTCP_DETAIL,
    ),
    optional(
        "ia32_conn_exit",
        Attach::Kretprobe("__ia32_sys_connect"),
        NO_COMPAT,
    ),
    optional(
        "ia32_conn_exit",
        Attach::Kretprobe("__ia32_compat_sys_socketcall"),
        NO_COMPAT,
    ),
    optional(
        "tb_module",
        Attach::TracepointBtf("btf_trace_module_load"),
        NO_LATE_SCTP,
    ),
    optional("listen_exit", Attach::Kretprobe("inet_listen"), NO_LISTEN),
    optional(
        "lsm_bind_exit",
        Attach::Kretprobe("security_socket_bind"),
        NO_LSM,
    ),
    optional(
        "lsm_conn_exit",
        Attach::Kretprobe("security_socket_connect"),
        NO_LSM,
    ),
    optional(
        "cgroup_exit",
        Attach::Kretprobe("__cgroup_bpf_run_filter_sock_addr"),
        NO_CGROUP,
    ),
    optional(
        "cgroup_exit",
        Attach::Kretprobe("__cgroup_bpf_run_filter_sk"),
        NO_CGROUP,
    ),
    needed("tcp_enter", Attach::Kprobe("tcp_v4_connect")),
    optional("tcp_enter", Attach::Kprobe("tcp_v6_connect"), NO_IPV6),
    needed("stream_enter", Attach::Kprobe("inet_stream_connect")),
    needed("dgram_enter", Attach::Kprobe("inet_dgram_connect")),
    needed("bind_enter", Attach::Kprobe("inet_bind")),
    optional("bind_enter", Attach::Kprobe("inet6_bind"), NO_IPV6),
    optional("bind_enter", Attach::Kprobe("mptcp_bind"), NO_MPTCP_DETAIL),
    optional("listen_enter", Attach::Kprobe("inet_listen"), NO_LISTEN),
    optional(
        "lsm_bind_enter",
        Attach::Kprobe("security_socket_bind"),
        NO_LSM,
    ),
    optional(
        "lsm_conn_enter",
        Attach::Kprobe("security_socket_connect"),
        NO_LSM,
    ),
    needed("sys_bind_enter", Attach::Kprobe("__sys_bind")),
    needed("sys_conn_enter", Attach::Kprobe("__sys_connect")),
];

const TRACEPOINT: &[Hook] = &[
    needed(
        "tp_bind_exit",
        Attach::Tracepoint(SYSCALLS, "sys_exit_bind"),
    ),
    needed(
        "tp_conn_exit",
        Attach::Tracepoint(SYSCALLS, "sys_exit_connect"),
    ),
    needed(
        "tp_bind_enter",
        Attach::Tracepoint(SYSCALLS, "sys_enter_bind"),
    ),
    needed(
        "tp_conn_enter",
        Attach::Tracepoint(SYSCALLS, "sys_enter_connect"),
    ),
];
