//! The system call tracepoints, whose programs are [`Whole`]: from Linux 7.2 on the kernel runs them with
//! preemption enabled (`trace_call_bpf_faultable`, kernel/trace/bpf_trace.c).

use aya_ebpf::{EbpfContext as _, macros::tracepoint, programs::TracePointContext};
use aya_log_ebpf::debug;
use portwatch_common::event::op;

use crate::{bracket, trampoline, whole::Whole};

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

/// `sched:sched_process_exit`, of each thread
#[tracepoint]
fn tp_thread_exit(_ctx: TracePointContext) -> u32 {
    bracket::thread_exits();
    0
}

/// `struct syscall_trace_enter` (kernel/trace/trace.h): the number of the call at byte 8,
/// then its arguments as u64 from byte 16.
#[inline(always)]
fn enter_tracepoint(ctx: &TracePointContext, op: u8) {
    let _whole = Whole::begin();
    let (fd, addr, len) = (word(ctx, 16), word(ctx, 24), word(ctx, 32));
    debug!(ctx, "op {} enters: fd {}, address length {}", op, fd, len);
    bracket::enter_syscall(op, fd as i32, addr, len as i32);
}

/// `struct syscall_trace_exit` (kernel/trace/trace.h): the result as i64 at byte 16.
#[inline(always)]
fn exit_tracepoint(ctx: &TracePointContext, op: u8) {
    let _whole = Whole::begin();
    bracket::exit_syscall(op, word(ctx, 16) as i32);
}

/// `syscalls:sys_exit_bind`, for the fexit source
#[tracepoint]
fn tp_bind_denied(ctx: TracePointContext) -> u32 {
    trampoline::syscall_exits(op::BIND, word(&ctx, 16) as i32);
    0
}

/// `syscalls:sys_exit_connect`, for the fexit source
#[tracepoint]
fn tp_conn_denied(ctx: TracePointContext) -> u32 {
    trampoline::syscall_exits(op::CONNECT, word(&ctx, 16) as i32);
    0
}

/// A u64 of a tracepoint's context, loaded directly: this needs no helper that lockdown could refuse.
#[inline(always)]
fn word(ctx: &TracePointContext, offset: usize) -> u64 {
    let field = ctx.as_ptr().wrapping_byte_add(offset).cast::<u64>();
    // SAFETY: the context of a system call tracepoint is longer than that, as the verifier checks.
    unsafe { field.read() }
}
