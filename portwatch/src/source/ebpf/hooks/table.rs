//! The hooks themselves.

use portwatch_common::event::op;

use super::{
    Attach::{self, Fentry, Fexit, Kprobe, Kretprobe, Tracepoint, TracepointBtf},
    CGROUP_ADDR, Hook,
};

/// Those that see what seccomp denies; attached only when asked for.
pub(super) const SECCOMP: &[Hook] = &[
    needed(
        BIND,
        "tp_bind_denied",
        Tracepoint(SYSCALLS, "sys_exit_bind"),
    ),
    needed(
        CONNECT,
        "tp_conn_denied",
        Tracepoint(SYSCALLS, "sys_exit_connect"),
    ),
];

const fn needed(only: Option<u8>, program: &'static str, attach: Attach) -> Hook {
    Hook {
        program,
        attach,
        required: true,
        moot_if_absent: false,
        parameters: None,
        unseen: "",
        only,
    }
}

const fn optional(
    only: Option<u8>,
    program: &'static str,
    attach: Attach,
    unseen: &'static str,
) -> Hook {
    Hook {
        program,
        attach,
        required: false,
        moot_if_absent: false,
        parameters: None,
        unseen,
        only,
    }
}

/// Not missed by a kernel that does not have the function.
pub(super) const fn moot(
    only: Option<u8>,
    program: &'static str,
    attach: Attach,
    unseen: &'static str,
) -> Hook {
    Hook {
        moot_if_absent: true,
        ..optional(only, program, attach, unseen)
    }
}

/// The second program at a system call's entry or return, where the first may be skipped.
const fn second(only: Option<u8>, program: &'static str, event: &'static str) -> Hook {
    moot(only, program, Tracepoint(SYSCALLS, event), NO_SECOND)
}

/// One of the functions that issue a request of `io_uring`, if it has the prototype of Linux 5.15 and later.
const fn ring(only: Option<u8>, program: &'static str, attach: Attach) -> Hook {
    Hook {
        parameters: Some(2),
        ..moot(only, program, attach, NO_RING)
    }
}

/// Of which operation: see [`Hook::only`].
const ANY: Option<u8> = None;
pub(super) const BIND: Option<u8> = Some(op::BIND);
pub(super) const CONNECT: Option<u8> = Some(op::CONNECT);
const LISTEN: Option<u8> = Some(op::LISTEN);

const SYSCALLS: &str = "syscalls";
const NO_IPV6: &str = "IPv6 sockets";
const NO_MPTCP: &str = "binds of Multipath TCP sockets";
const NO_MPTCP_DETAIL: &str = "the protocol and the local address of Multipath TCP sockets";
#[cfg(target_arch = "x86_64")]
const NO_COMPAT: &str = "how a connect of a 32-bit caller ended";
const NO_LSM: &str = "that it was a security module that denied an attempt";
const NO_RESET: &str = "that it was a reset that ended a connect";
const NO_CGROUP: &str =
    "that it was a cgroup BPF program that denied an attempt, or changed its address";
const NO_RING: &str =
    "that io_uring asks, within another system call, and its calls that reach no socket";
const NO_SCTP: &str = "of SCTP, bindx and connectx, and all but the system call of a connect";
const NO_LATE_SCTP: &str = "the same, where that module is loaded later";
const NO_LAST: &str = "the last attempt of a thread, where its return is not seen";
const NO_SECOND: &str =
    "calls for which the kernel skips the first program, since another task was put aside in it";
const NO_LISTEN: &str = "listen() on sockets that were not bound";

/// Functions of the module sctp, attached when it is loaded: with every source that has a socket
/// in hand, since trampolines on modules need type information that aya does not take. All of them,
/// whatever is asked for: hardly anything calls these.
pub(in super::super) const SCTP: &[Hook] = &[
    optional(ANY, "sctp_bindx_out", Kretprobe("sctp_do_bind"), NO_SCTP),
    optional(ANY, "sctp_connx_out", Kretprobe("__sctp_connect"), NO_SCTP),
    optional(ANY, "sctp_conn_enter", Kprobe("sctp_inet_connect"), NO_SCTP),
    optional(ANY, "sctp_bindx_in", Kprobe("sctp_do_bind"), NO_SCTP),
    optional(ANY, "sctp_connx_in", Kprobe("__sctp_connect"), NO_SCTP),
];

pub(super) const FEXIT: &[Hook] = &[
    needed(BIND, "fx_sys_bind", Fexit("__sys_bind")),
    needed(CONNECT, "fx_sys_connect", Fexit("__sys_connect")),
    needed(
        CONNECT,
        "tb_state",
        TracepointBtf("btf_trace_inet_sock_set_state"),
    ),
    optional(
        CONNECT,
        "tb_reset",
        TracepointBtf("btf_trace_tcp_receive_reset"),
        NO_RESET,
    ),
    optional(
        ANY,
        "tb_module",
        TracepointBtf("btf_trace_module_load"),
        NO_LATE_SCTP,
    ),
    needed(BIND, "fx_inet_bind", Fexit("inet_bind")),
    optional(BIND, "fx_inet6_bind", Fexit("inet6_bind"), NO_IPV6),
    optional(BIND, "fx_mptcp_bind", Fexit("mptcp_bind"), NO_MPTCP),
    needed(CONNECT, "fx_tcp4", Fexit("tcp_v4_connect")),
    optional(CONNECT, "fx_tcp6", Fexit("tcp_v6_connect"), NO_IPV6),
    needed(CONNECT, "fx_stream", Fexit("inet_stream_connect")),
    needed(CONNECT, "fx_dgram", Fexit("inet_dgram_connect")),
    optional(LISTEN, "fx_listen", Fexit("inet_listen"), NO_LISTEN),
    optional(BIND, "fx_lsm_bind", Fexit("security_socket_bind"), NO_LSM),
    optional(
        CONNECT,
        "fx_lsm_connect",
        Fexit("security_socket_connect"),
        NO_LSM,
    ),
    optional(ANY, "fx_cgroup_addr", Fexit(CGROUP_ADDR), NO_CGROUP),
    optional(
        ANY,
        "fx_cgroup_sk",
        Fexit("__cgroup_bpf_run_filter_sk"),
        NO_CGROUP,
    ),
    optional(ANY, "fe_cgroup_addr", Fentry(CGROUP_ADDR), NO_CGROUP),
    optional(LISTEN, "fe_listen", Fentry("inet_listen"), NO_LISTEN),
    ring(BIND, "fx_ring_bind", Fexit("io_bind")),
    ring(CONNECT, "fx_ring_conn", Fexit("io_connect")),
    ring(LISTEN, "fx_ring_lsn", Fexit("io_listen")),
    ring(BIND, "fe_ring_bind", Fentry("io_bind")),
    ring(CONNECT, "fe_ring_conn", Fentry("io_connect")),
    ring(LISTEN, "fe_ring_lsn", Fentry("io_listen")),
    needed(CONNECT, "fe_stream", Fentry("inet_stream_connect")),
    needed(CONNECT, "fe_dgram", Fentry("inet_dgram_connect")),
];

pub(super) const KPROBE: &[Hook] = &[
    needed(
        CONNECT,
        "tp_conn_exit",
        Tracepoint(SYSCALLS, "sys_exit_connect"),
    ),
    second(CONNECT, "tp_conn_exit_2", "sys_exit_connect"),
    needed(BIND, "sys_bind_exit", Kretprobe("__sys_bind")),
    needed(BIND, "bind_exit", Kretprobe("inet_bind")),
    needed(CONNECT, "dgram_exit", Kretprobe("inet_dgram_connect")),
    needed(CONNECT, "tcp_exit", Kretprobe("tcp_v4_connect")),
    needed(
        CONNECT,
        "tb_state",
        TracepointBtf("btf_trace_inet_sock_set_state"),
    ),
    optional(
        CONNECT,
        "tb_reset",
        TracepointBtf("btf_trace_tcp_receive_reset"),
        NO_RESET,
    ),
    optional(BIND, "bind_exit", Kretprobe("inet6_bind"), NO_IPV6),
    optional(CONNECT, "tcp_exit", Kretprobe("tcp_v6_connect"), NO_IPV6),
    optional(BIND, "bind_exit", Kretprobe("mptcp_bind"), NO_MPTCP_DETAIL),
    #[cfg(target_arch = "x86_64")]
    optional(
        CONNECT,
        "ia32_conn_exit",
        Kretprobe("__ia32_sys_connect"),
        NO_COMPAT,
    ),
    #[cfg(target_arch = "x86_64")]
    optional(
        CONNECT,
        "ia32_conn_exit",
        Kretprobe("__ia32_compat_sys_socketcall"),
        NO_COMPAT,
    ),
    optional(
        ANY,
        "tb_module",
        TracepointBtf("btf_trace_module_load"),
        NO_LATE_SCTP,
    ),
    optional(LISTEN, "listen_exit", Kretprobe("inet_listen"), NO_LISTEN),
    optional(
        BIND,
        "lsm_bind_exit",
        Kretprobe("security_socket_bind"),
        NO_LSM,
    ),
    optional(
        CONNECT,
        "lsm_conn_exit",
        Kretprobe("security_socket_connect"),
        NO_LSM,
    ),
    optional(ANY, "cgroup_exit", Kretprobe(CGROUP_ADDR), NO_CGROUP),
    optional(
        ANY,
        "cgroup_exit",
        Kretprobe("__cgroup_bpf_run_filter_sk"),
        NO_CGROUP,
    ),
    optional(
        ANY,
        "tp_thread_exit",
        Tracepoint("sched", "sched_process_exit"),
        NO_LAST,
    ),
    ring(BIND, "ring_bind_exit", Kretprobe("io_bind")),
    ring(CONNECT, "ring_conn_exit", Kretprobe("io_connect")),
    ring(LISTEN, "ring_lsn_exit", Kretprobe("io_listen")),
    ring(BIND, "ring_bind_enter", Kprobe("io_bind")),
    ring(CONNECT, "ring_conn_enter", Kprobe("io_connect")),
    ring(LISTEN, "ring_lsn_enter", Kprobe("io_listen")),
    needed(CONNECT, "tcp_enter", Kprobe("tcp_v4_connect")),
    optional(CONNECT, "tcp_enter", Kprobe("tcp_v6_connect"), NO_IPV6),
    needed(CONNECT, "stream_enter", Kprobe("inet_stream_connect")),
    needed(CONNECT, "dgram_enter", Kprobe("inet_dgram_connect")),
    needed(BIND, "bind_enter", Kprobe("inet_bind")),
    optional(BIND, "bind_enter", Kprobe("inet6_bind"), NO_IPV6),
    optional(BIND, "bind_enter", Kprobe("mptcp_bind"), NO_MPTCP_DETAIL),
    optional(LISTEN, "listen_enter", Kprobe("inet_listen"), NO_LISTEN),
    optional(
        BIND,
        "lsm_bind_enter",
        Kprobe("security_socket_bind"),
        NO_LSM,
    ),
    optional(
        CONNECT,
        "lsm_conn_enter",
        Kprobe("security_socket_connect"),
        NO_LSM,
    ),
    needed(BIND, "sys_bind_enter", Kprobe("__sys_bind")),
    needed(CONNECT, "sys_conn_enter", Kprobe("__sys_connect")),
];

pub(super) const TRACEPOINT: &[Hook] = &[
    needed(BIND, "tp_bind_exit", Tracepoint(SYSCALLS, "sys_exit_bind")),
    needed(
        CONNECT,
        "tp_conn_exit",
        Tracepoint(SYSCALLS, "sys_exit_connect"),
    ),
    second(BIND, "tp_bind_exit_2", "sys_exit_bind"),
    second(CONNECT, "tp_conn_exit_2", "sys_exit_connect"),
    optional(
        ANY,
        "tp_thread_exit",
        Tracepoint("sched", "sched_process_exit"),
        NO_LAST,
    ),
    needed(
        BIND,
        "tp_bind_enter",
        Tracepoint(SYSCALLS, "sys_enter_bind"),
    ),
    needed(
        CONNECT,
        "tp_conn_enter",
        Tracepoint(SYSCALLS, "sys_enter_connect"),
    ),
    second(BIND, "tp_bind_enter_2", "sys_enter_bind"),
    second(CONNECT, "tp_conn_enter_2", "sys_enter_connect"),
];
