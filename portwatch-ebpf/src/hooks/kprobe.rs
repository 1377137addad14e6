//! The kprobes and kretprobes.
//!
//! Which functions have a return probe and which may not is decided by how long they can
//! sleep: a kretprobe has max(10, 2 × CPUs) instances, and every caller that waits holds
//! one. `inet_stream_connect`, which waits for the handshake, therefore has none; the
//! tracepoint on the system call's exit gives its result.

use aya_ebpf::{
    macros::{kprobe, kretprobe},
    programs::{ProbeContext, RetProbeContext},
};
use aya_log_ebpf::debug;
use portwatch_common::event::{lsm, op, via};

use super::O_NONBLOCK;
use crate::{
    attempt::ProtocolCall,
    bracket::{self, SystemCall},
};

/// `int __sys_bind(int fd, struct sockaddr __user *umyaddr, int addrlen)`
#[kprobe]
fn sys_bind_enter(ctx: ProbeContext) -> u32 {
    enter_syscall(&ctx, op::BIND);
    0
}

#[kretprobe]
fn sys_bind_exit(ctx: RetProbeContext) -> u32 {
    bracket::exit_syscall(op::BIND, ctx.ret());
    0
}

/// `int __sys_connect(int fd, struct sockaddr __user *uservaddr, int addrlen)`
#[kprobe]
fn sys_conn_enter(ctx: ProbeContext) -> u32 {
    enter_syscall(&ctx, op::CONNECT);
    0
}

#[inline(always)]
fn enter_syscall(ctx: &ProbeContext, op: u8) {
    let (Some(fd), Some(addr), Some(len)) = (ctx.arg::<i32>(0), ctx.arg(1), ctx.arg::<i32>(2))
    else {
        return;
    };
    debug!(ctx, "op {} enters: fd {}, address length {}", op, fd, len);
    bracket::enter_syscall(&SystemCall {
        op,
        fd,
        addr,
        addr_len: len,
    });
}

/// `__ia32_sys_connect`, `__ia32_compat_sys_socketcall`: 32-bit callers, whom the system
/// call tracepoints ignore (`arch_trace_is_compat_syscall`, arch/x86/include/asm/ftrace.h).
#[cfg(bpf_target_arch = "x86_64")]
#[kretprobe]
fn ia32_conn_exit(ctx: RetProbeContext) -> u32 {
    bracket::exit_compat(op::CONNECT, ctx.ret());
    0
}

/// `int inet_bind(struct socket *sock, struct sockaddr *uaddr, int addr_len)`, and
/// `inet6_bind` and `mptcp_bind`, which are declared alike
#[kprobe]
fn bind_enter(ctx: ProbeContext) -> u32 {
    enter_protocol(&ctx, op::BIND, None);
    0
}

#[kretprobe]
fn bind_exit(ctx: RetProbeContext) -> u32 {
    bracket::exit_protocol(op::BIND, ctx.ret());
    0
}

/// `int inet_stream_connect(struct socket *sock, struct sockaddr *uaddr, int addr_len, int flags)`
#[kprobe]
fn stream_enter(ctx: ProbeContext) -> u32 {
    enter_protocol(&ctx, op::CONNECT, nonblock(&ctx));
    0
}

/// `int inet_dgram_connect(struct socket *sock, struct sockaddr *uaddr, int addr_len, int flags)`
#[kprobe]
fn dgram_enter(ctx: ProbeContext) -> u32 {
    enter_protocol(&ctx, op::CONNECT, nonblock(&ctx));
    0
}

#[kretprobe]
fn dgram_exit(ctx: RetProbeContext) -> u32 {
    bracket::exit_protocol(op::CONNECT, ctx.ret());
    0
}

/// `int security_socket_bind(struct socket *sock, struct sockaddr *address, int addrlen)`
#[kprobe]
fn lsm_bind_enter(ctx: ProbeContext) -> u32 {
    enter_lsm(&ctx, op::BIND);
    0
}

#[kretprobe]
fn lsm_bind_exit(ctx: RetProbeContext) -> u32 {
    bracket::exit_lsm(op::BIND, ctx.ret());
    0
}

/// `security_socket_connect`, which is declared alike
#[kprobe]
fn lsm_conn_enter(ctx: ProbeContext) -> u32 {
    enter_lsm(&ctx, op::CONNECT);
    0
}

#[kretprobe]
fn lsm_conn_exit(ctx: RetProbeContext) -> u32 {
    bracket::exit_lsm(op::CONNECT, ctx.ret());
    0
}

#[inline(always)]
fn enter_lsm(ctx: &ProbeContext, op: u8) {
    if let (Some(socket), Some(addr), Some(addr_len)) = (ctx.arg(0), ctx.arg(1), ctx.arg(2)) {
        bracket::enter_lsm(&ProtocolCall::without_flags(op, socket, addr, addr_len));
    }
}

macro_rules! module_exits {
    ($($program:ident $module:ident)*) => {$(
        #[kretprobe]
        fn $program(ctx: RetProbeContext) -> u32 {
            bracket::exit_module(lsm::$module, ctx.ret());
            0
        }
    )*};
}

// As `security_socket_bind` and `security_socket_connect`, of one security module each
module_exits! {
    apparmor_exit APPARMOR
    bpf_exit BPF
    landlock_exit LANDLOCK
    selinux_exit SELINUX
    smack_exit SMACK
    tomoyo_exit TOMOYO
}

/// `__cgroup_bpf_run_filter_sock_addr`, `__cgroup_bpf_run_filter_sk`
#[kretprobe]
fn cgroup_exit(ctx: RetProbeContext) -> u32 {
    bracket::exit_cgroup(ctx.ret());
    0
}

/// `int inet_listen(struct socket *sock, int backlog)`
#[kprobe]
fn listen_enter(ctx: ProbeContext) -> u32 {
    if let Some(socket) = ctx.arg(0) {
        bracket::enter_listen(socket);
    }
    0
}

#[kretprobe]
fn listen_exit(ctx: RetProbeContext) -> u32 {
    bracket::exit_protocol(op::LISTEN, ctx.ret());
    0
}

/// `int sctp_inet_connect(struct socket *sock, struct sockaddr *uaddr, int addr_len, int flags)`
#[kprobe]
fn sctp_conn_enter(ctx: ProbeContext) -> u32 {
    if let Some(call) = protocol_call(&ctx, op::CONNECT, nonblock(&ctx)) {
        bracket::enter_sctp_connect(&call);
    }
    0
}

/// `int sctp_do_bind(struct sock *sk, union sctp_addr *addr, int len)`
#[kprobe]
fn sctp_bindx_in(ctx: ProbeContext) -> u32 {
    enter_option(&ctx, via::BINDX, op::BIND);
    0
}

#[kretprobe]
fn sctp_bindx_out(ctx: RetProbeContext) -> u32 {
    bracket::exit_option(via::BINDX, op::BIND, ctx.ret());
    0
}

/// `int __sctp_connect(struct sock *sk, struct sockaddr *kaddrs, int addrs_size, int flags, …)`
#[kprobe]
fn sctp_connx_in(ctx: ProbeContext) -> u32 {
    enter_option(&ctx, via::CONNECTX, op::CONNECT);
    0
}

#[kretprobe]
fn sctp_connx_out(ctx: RetProbeContext) -> u32 {
    bracket::exit_option(via::CONNECTX, op::CONNECT, ctx.ret());
    0
}

#[inline(always)]
fn enter_option(ctx: &ProbeContext, via: u8, op: u8) {
    if let (Some(sk), Some(addr), Some(addr_len)) = (ctx.arg(0), ctx.arg(1), ctx.arg(2)) {
        bracket::enter_option(via, op, sk, addr, addr_len);
    }
}

#[inline(always)]
fn nonblock(ctx: &ProbeContext) -> Option<bool> {
    ctx.arg::<u64>(3).map(|flags| flags & O_NONBLOCK != 0)
}

#[inline(always)]
fn enter_protocol(ctx: &ProbeContext, op: u8, nonblock: Option<bool>) {
    if let Some(call) = protocol_call(ctx, op, nonblock) {
        bracket::enter_protocol(&call);
    }
}

#[inline(always)]
fn protocol_call(ctx: &ProbeContext, op: u8, nonblock: Option<bool>) -> Option<ProtocolCall> {
    Some(ProtocolCall {
        op,
        socket: ctx.arg(0)?,
        addr: ctx.arg(1)?,
        addr_len: ctx.arg(2)?,
        nonblock,
    })
}

/// `int tcp_v4_connect(struct sock *sk, struct sockaddr *uaddr, int addr_len)`, and
/// `tcp_v6_connect`, which is declared alike; they send the SYN and do not wait
#[kprobe]
fn tcp_enter(ctx: ProbeContext) -> u32 {
    if let (Some(sk), Some(addr), Some(addr_len)) = (ctx.arg(0), ctx.arg(1), ctx.arg(2)) {
        bracket::enter_tcp_connect(sk, addr, addr_len);
    }
    0
}

#[kretprobe]
fn tcp_exit(ctx: RetProbeContext) -> u32 {
    bracket::exit_tcp_connect(ctx.ret());
    0
}

macro_rules! issues {
    ($($enters:ident $exits:ident $op:ident)*) => {$(
        #[kprobe]
        fn $enters(ctx: ProbeContext) -> u32 {
            if let Some(request) = ctx.arg(0) {
                bracket::enter_ring(op::$op, request);
            }
            0
        }

        #[kretprobe]
        fn $exits(ctx: RetProbeContext) -> u32 {
            bracket::exit_ring(op::$op, ctx.ret());
            0
        }
    )*};
}

// `int f(struct io_kiocb *req, unsigned int issue_flags)`: `io_bind`, `io_connect`, `io_listen`
issues! {
    ring_bind_enter ring_bind_exit BIND
    ring_conn_enter ring_conn_exit CONNECT
    ring_lsn_enter ring_lsn_exit LISTEN
}
