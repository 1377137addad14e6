//! The trampolines, and tracepoints by their types, which the kprobe source has too. What they are
//! attached to is named when they are loaded.
//!
//! A function's result follows its arguments in the context, so those of a stable prototype
//! read it there; the helper for it came later (5.17) than the trampolines (5.5).
//!
//! The long programs are [`Whole`]: a short one is seldom interrupted, and would be longer for it.

use aya_ebpf::{
    macros::{btf_tracepoint, fentry, fexit},
    programs::{BtfTracePointContext, FEntryContext, FExitContext},
};
use aya_log_ebpf::debug;
use portwatch_common::event::{lsm, op};

use super::O_NONBLOCK;
use crate::{attempt::ProtocolCall, maps::setting, modules, pending, trampoline, whole::Whole};

/// `int f(struct socket *sock, struct sockaddr *address, int len)`: `inet_bind`, `inet6_bind`,
/// `mptcp_bind`, `security_socket_bind`, `security_socket_connect`
#[inline(always)]
fn with_address(ctx: &FExitContext, op: u8) -> (ProtocolCall, i32) {
    let call = ProtocolCall::without_flags(op, ctx.arg(0), ctx.arg(1), ctx.arg(2));
    (call, ctx.arg(3))
}

macro_rules! bind_returns {
    ($($program:ident)*) => {$(
        #[fexit]
        fn $program(ctx: FExitContext) -> i32 {
            let _whole = Whole::begin();
            let (call, ret) = with_address(&ctx, op::BIND);
            trampoline::bind_returns(&call, ret);
            0
        }
    )*};
}

// One program for each function, since the kernel binds a program to its function as it loads it.
bind_returns! { fx_inet_bind fx_inet6_bind fx_mptcp_bind }

/// `security_socket_bind`
#[fexit]
fn fx_lsm_bind(ctx: FExitContext) -> i32 {
    let (call, ret) = with_address(&ctx, op::BIND);
    trampoline::lsm_returns(&call, ret);
    0
}

/// `security_socket_connect`
#[fexit]
fn fx_lsm_connect(ctx: FExitContext) -> i32 {
    let (call, ret) = with_address(&ctx, op::CONNECT);
    trampoline::lsm_returns(&call, ret);
    0
}

macro_rules! module_returns {
    ($($program:ident $op:ident $module:ident)*) => {$(
        #[fexit]
        fn $program(ctx: FExitContext) -> i32 {
            trampoline::module_returns(op::$op, lsm::$module, ctx.arg(3));
            0
        }
    )*};
}

// As `security_socket_bind` and `security_socket_connect`, of one security module each:
// `apparmor_socket_bind` …, of Landlock `hook_socket_bind`
module_returns! {
    fx_apparmor_bind BIND APPARMOR
    fx_apparmor_con CONNECT APPARMOR
    fx_bpf_bind BIND BPF
    fx_bpf_con CONNECT BPF
    fx_landlock_bind BIND LANDLOCK
    fx_landlock_con CONNECT LANDLOCK
    fx_selinux_bind BIND SELINUX
    fx_selinux_con CONNECT SELINUX
    fx_smack_bind BIND SMACK
    fx_smack_con CONNECT SMACK
    fx_tomoyo_bind BIND TOMOYO
    fx_tomoyo_con CONNECT TOMOYO
}

/// `int __cgroup_bpf_run_filter_sock_addr(struct sock *sk, struct sockaddr *uaddr, …)`: what
/// follows differs from version to version
#[fentry]
fn fe_cgroup_addr(ctx: FEntryContext) -> i32 {
    trampoline::cgroup_enters(ctx.arg(0), ctx.arg(1));
    0
}

/// `__cgroup_bpf_run_filter_sock_addr`
#[fexit]
fn fx_cgroup_addr(ctx: FExitContext) -> i32 {
    // Until 5.10. A second such number would have the compiler reckon the place, which the verifier refuses.
    let ret = if setting!(cgroup_addr_parameters) == 4 {
        ctx.arg(4)
    } else {
        match ctx.ret() {
            Ok(ret) => ret,
            Err(_) => return 0,
        }
    };
    trampoline::cgroup_returns(ret);
    0
}

/// `int __cgroup_bpf_run_filter_sk(struct sock *sk, enum cgroup_bpf_attach_type atype)`
#[fexit]
fn fx_cgroup_sk(ctx: FExitContext) -> i32 {
    trampoline::cgroup_socket_returns(ctx.arg(0), ctx.arg(2));
    0
}

/// `int __sys_bind(int fd, struct sockaddr __user *umyaddr, int addrlen)`
#[fexit]
fn fx_sys_bind(ctx: FExitContext) -> i32 {
    trampoline::sys_bind_returns(ctx.arg(0), ctx.arg(1), ctx.arg(2), ctx.arg(3));
    0
}

/// `int __sys_connect(int fd, struct sockaddr __user *uservaddr, int addrlen)`
#[fexit]
fn fx_sys_connect(ctx: FExitContext) -> i32 {
    let _whole = Whole::begin();
    let (fd, addr, len, ret): (i32, u64, i32, i32) =
        (ctx.arg(0), ctx.arg(1), ctx.arg(2), ctx.arg(3));
    debug!(
        &ctx,
        "connect returns {}: fd {}, address length {}", ret, fd, len
    );
    trampoline::sys_connect_returns(fd, addr, len, ret);
    0
}

macro_rules! connects {
    ($($enters:ident $returns:ident)*) => {$(
        #[fentry]
        fn $enters(ctx: FEntryContext) -> i32 {
            let _whole = Whole::begin();
            let flags: u64 = ctx.arg(3);
            trampoline::connect_enters(&ProtocolCall {
                op: op::CONNECT,
                socket: ctx.arg(0),
                addr: ctx.arg(1),
                addr_len: ctx.arg(2),
                nonblock: Some(flags & O_NONBLOCK != 0),
            });
            0
        }

        #[fexit]
        fn $returns(ctx: FExitContext) -> i32 {
            let _whole = Whole::begin();
            trampoline::connect_returns(ctx.arg(0), ctx.arg(4));
            0
        }
    )*};
}

// `int f(struct socket *sock, struct sockaddr *uaddr, int addr_len, int flags)`:
// `inet_stream_connect`, `inet_dgram_connect`
connects! { fe_stream fx_stream fe_dgram fx_dgram }

macro_rules! tcp_connect_returns {
    ($($program:ident)*) => {$(
        #[fexit]
        fn $program(ctx: FExitContext) -> i32 {
            let _whole = Whole::begin();
            trampoline::tcp_connect_returns(ctx.arg(0), ctx.arg(1), ctx.arg(2), ctx.arg(3));
            0
        }
    )*};
}

// `int f(struct sock *sk, struct sockaddr *uaddr, int addr_len)`: `tcp_v4_connect`, `tcp_v6_connect`
tcp_connect_returns! { fx_tcp4 fx_tcp6 }

/// `int inet_listen(struct socket *sock, int backlog)`
#[fentry]
fn fe_listen(ctx: FEntryContext) -> i32 {
    trampoline::listen_enters(ctx.arg(0));
    0
}

/// `inet_listen`
#[fexit]
fn fx_listen(ctx: FExitContext) -> i32 {
    let _whole = Whole::begin();
    trampoline::listen_returns(ctx.arg(0), ctx.arg(2));
    0
}

macro_rules! issues {
    ($($enters:ident $returns:ident $op:ident)*) => {$(
        #[fentry]
        fn $enters(ctx: FEntryContext) -> i32 {
            let _whole = Whole::begin();
            trampoline::ring_enters(op::$op, ctx.arg(0));
            0
        }

        #[fexit]
        fn $returns(ctx: FExitContext) -> i32 {
            let _whole = Whole::begin();
            trampoline::ring_returns(op::$op, ctx.arg(2));
            0
        }
    )*};
}

// `int f(struct io_kiocb *req, unsigned int issue_flags)`: `io_bind`, `io_connect`, `io_listen`
issues! {
    fe_ring_bind fx_ring_bind BIND
    fe_ring_conn fx_ring_conn CONNECT
    fe_ring_lsn fx_ring_lsn LISTEN
}

/// `sock:inet_sock_set_state(const struct sock *sk, const int oldstate, const int newstate)`
#[btf_tracepoint]
fn tb_state(ctx: BtfTracePointContext) -> i32 {
    pending::state_changes(ctx.arg(0), ctx.arg(1), ctx.arg(2));
    0
}

/// `module:module_load(struct module *mod)`
#[btf_tracepoint]
fn tb_module(ctx: BtfTracePointContext) -> i32 {
    modules::loaded(ctx.arg(0));
    0
}

/// `tcp:tcp_receive_reset(struct sock *sk)`
#[btf_tracepoint]
fn tb_reset(ctx: BtfTracePointContext) -> i32 {
    pending::reset_comes(ctx.arg(0));
    0
}
