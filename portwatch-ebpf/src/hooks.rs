//! The entry points. Each cites what it is attached to and calls [`attempt`].
//!
//! Which functions have a return probe and which may not is decided by how long they can
//! sleep: a kretprobe has max(10, 2 × CPUs) instances, and every caller that waits holds
//! one. `inet_stream_connect`, which waits for the handshake, therefore has none; the
//! tracepoint on the system call's exit gives its result.

use aya_ebpf::{
    EbpfContext as _,
    macros::{kprobe, kretprobe, tracepoint},
    programs::{ProbeContext, RetProbeContext, TracePointContext},
};
use aya_log_ebpf::debug;
use portwatch_common::event::op;

use crate::attempt::{self, ProtocolCall};

/// `O_NONBLOCK` (include/uapi/asm-generic/fcntl.h)
const O_NONBLOCK: u64 = 0o4000;

/// `int __sys_bind(int fd, struct sockaddr __user *umyaddr, int addrlen)`
#[kprobe]
fn sys_bind_enter(ctx: ProbeContext) -> u32 {
    enter_syscall(&ctx, op::BIND);
    0
}

#[kretprobe]
fn sys_bind_exit(ctx: RetProbeContext) -> u32 {
    attempt::exit_syscall(op::BIND, ctx.ret());
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
    let (Some(fd), Some(addr), Some(len)) = (ctx.arg(0), ctx.arg(1), ctx.arg(2)) else {
        return;
    };
    attempt::enter_syscall(op, fd, addr, len);
}

/// `__ia32_sys_connect`, `__ia32_compat_sys_socketcall`: 32-bit callers, whom the system
/// call tracepoints ignore (`arch_trace_is_compat_syscall`, arch/x86/include/asm/ftrace.h).
#[kretprobe]
fn ia32_conn_exit(ctx: RetProbeContext) -> u32 {
    attempt::exit_compat(op::CONNECT, ctx.ret());
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
    attempt::exit_protocol(op::BIND, ctx.ret());
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
    attempt::exit_protocol(op::CONNECT, ctx.ret());
    0
}

#[inline(always)]
fn nonblock(ctx: &ProbeContext) -> Option<bool> {
    ctx.arg::<u64>(3).map(|flags| flags & O_NONBLOCK != 0)
}

#[inline(always)]
fn enter_protocol(ctx: &ProbeContext, op: u8, nonblock: Option<bool>) {
    let (Some(socket), Some(addr), Some(addr_len)) = (ctx.arg(0), ctx.arg(1), ctx.arg(2)) else {
        return;
    };
    attempt::enter_protocol(&ProtocolCall {
        op,
        socket,
        addr,
        addr_len,
        nonblock,
    });
}

/// `int tcp_v4_connect(struct sock *sk, struct sockaddr *uaddr, int addr_len)`, and
/// `tcp_v6_connect`, which is declared alike; they send the SYN and do not wait
#[kprobe]
fn tcp_enter(ctx: ProbeContext) -> u32 {
    if let Some(sk) = ctx.arg(0) {
        attempt::enter_tcp_connect(sk);
    }
    0
}

#[kretprobe]
fn tcp_exit(ctx: RetProbeContext) -> u32 {
    attempt::exit_tcp_connect(ctx.ret());
    0
}

/// `syscalls:sys_enter_bind`
#[tracepoint]
fn tp_bind_enter(ctx: TracePointContext) -> u32 {
    enter_tracepoint(&ctx, op::BIND);
    0
}

/// `syscalls:sys_exit_bind`
#[tracepoint]
fn tp_bind_exit(ctx: TracePointContext) -> u32 {
    exit_tracepoint(&ctx, op::BIND);
    0
}

/// `syscalls:sys_enter_connect`
#[tracepoint]
fn tp_conn_enter(ctx: TracePointContext) -> u32 {
    enter_tracepoint(&ctx, op::CONNECT);
    0
}

/// `syscalls:sys_exit_connect`
#[tracepoint]
fn tp_conn_exit(ctx: TracePointContext) -> u32 {
    exit_tracepoint(&ctx, op::CONNECT);
    0
}

/// `struct syscall_trace_enter` (kernel/trace/trace.h): the number of the call at byte 8,
/// then its arguments as u64 from byte 16.
#[inline(always)]
fn enter_tracepoint(ctx: &TracePointContext, op: u8) {
    let (fd, addr, len) = (word(ctx, 16), word(ctx, 24), word(ctx, 32));
    debug!(ctx, "op {} enters: fd {}, address length {}", op, fd, len);
    attempt::enter_syscall(op, fd as i32, addr, len as i32);
}

/// `struct syscall_trace_exit` (kernel/trace/trace.h): the result as i64 at byte 16.
#[inline(always)]
fn exit_tracepoint(ctx: &TracePointContext, op: u8) {
    attempt::exit_syscall(op, word(ctx, 16) as i32);
}

/// A u64 of a tracepoint's context, loaded directly: this needs no helper that lockdown could refuse.
#[inline(always)]
fn word(ctx: &TracePointContext, offset: usize) -> u64 {
    let field = ctx.as_ptr().wrapping_byte_add(offset).cast::<u64>();
    // SAFETY: the context of a system call tracepoint is longer than that, as the verifier checks.
    unsafe { field.read() }
}
