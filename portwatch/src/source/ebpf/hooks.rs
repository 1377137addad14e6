//! Which program is attached where, by source.

use std::fmt;

use super::Kind;

/// One program at one place.
pub(super) struct Hook {
    /// Its name in the eBPF object (portwatch-ebpf/src/hooks.rs)
    pub(super) program: &'static str,
    pub(super) attach: Attach,
    /// Without it the source is of no use
    pub(super) required: bool,
    /// What is not seen where the kernel does not have it
    pub(super) unseen: &'static str,
}

#[derive(Clone, Copy)]
pub(super) enum Attach {
    /// kprobe
    Function(&'static str),
    /// kretprobe
    Return(&'static str),
    Tracepoint(&'static str, &'static str),
}

impl fmt::Display for Attach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Function(function) => write!(f, "kprobe:{function}"),
            Self::Return(function) => write!(f, "kretprobe:{function}"),
            Self::Tracepoint(category, name) => write!(f, "tracepoint:{category}:{name}"),
        }
    }
}

/// The hooks of a source, in the order in which they are attached: returns before entries, so
/// that no call that was seen to begin goes without its end.
pub(super) fn of(kind: Kind) -> &'static [Hook] {
    match kind {
        Kind::Kprobe => KPROBE,
        Kind::Tracepoint => TRACEPOINT,
    }
}

const fn needed(program: &'static str, attach: Attach) -> Hook {
    Hook {
        program,
        attach,
        required: true,
        unseen: "",
    }
}

const fn optional(program: &'static str, attach: Attach, unseen: &'static str) -> Hook {
    Hook {
        program,
        attach,
        required: false,
        unseen,
    }
}

const SYSCALLS: &str = "syscalls";
const NO_IPV6: &str = "IPv6 sockets";
const NO_MPTCP: &str = "the protocol and the local address of Multipath TCP sockets";
const NO_COMPAT: &str = "how a connect of a 32-bit caller ended";

const KPROBE: &[Hook] = &[
    needed(
        "tp_conn_exit",
        Attach::Tracepoint(SYSCALLS, "sys_exit_connect"),
    ),
    needed("sys_bind_exit", Attach::Return("__sys_bind")),
    needed("bind_exit", Attach::Return("inet_bind")),
    needed("dgram_exit", Attach::Return("inet_dgram_connect")),
    needed("tcp_exit", Attach::Return("tcp_v4_connect")),
    optional("bind_exit", Attach::Return("inet6_bind"), NO_IPV6),
    optional("tcp_exit", Attach::Return("tcp_v6_connect"), NO_IPV6),
    optional("bind_exit", Attach::Return("mptcp_bind"), NO_MPTCP),
    optional(
        "ia32_conn_exit",
        Attach::Return("__ia32_sys_connect"),
        NO_COMPAT,
    ),
    optional(
        "ia32_conn_exit",
        Attach::Return("__ia32_compat_sys_socketcall"),
        NO_COMPAT,
    ),
    needed("tcp_enter", Attach::Function("tcp_v4_connect")),
    optional("tcp_enter", Attach::Function("tcp_v6_connect"), NO_IPV6),
    needed("stream_enter", Attach::Function("inet_stream_connect")),
    needed("dgram_enter", Attach::Function("inet_dgram_connect")),
    needed("bind_enter", Attach::Function("inet_bind")),
    optional("bind_enter", Attach::Function("inet6_bind"), NO_IPV6),
    optional("bind_enter", Attach::Function("mptcp_bind"), NO_MPTCP),
    needed("sys_bind_enter", Attach::Function("__sys_bind")),
    needed("sys_conn_enter", Attach::Function("__sys_connect")),
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
