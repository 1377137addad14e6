//! The system call tracepoints, whose programs are [`Whole`]: from Linux 7.2 on the kernel runs them with
//! preemption enabled (`trace_call_bpf_faultable`, kernel/trace/bpf_trace.c).

use aya_ebpf::{EbpfContext as _, macros::tracepoint, programs::TracePointContext};
use aya_log_ebpf::debug;
use portwatch_common::{event::op, settings::witnessed};

use crate::{
    bracket::{self, SystemCall},
    trampoline,
    whole::Whole,
    witness,
};

macro_rules! syscalls {
    ($($enters:ident $enters_again:ident $exits:ident $exits_again:ident
       $op:ident $entered:ident $exited:ident)*) => {$(
        #[tracepoint]
        fn $enters(ctx: TracePointContext) -> u32 {
            let _whole = Whole::begin();
            let call = entered(&ctx, op::$op);
            bracket::enter_syscall_first(&call);
            0
        }

        #[tracepoint]
        fn $enters_again(ctx: TracePointContext) -> u32 {
            let _whole = Whole::begin();
            let call = entered(&ctx, op::$op);
            if bracket::enter_syscall_again(&call) {
                witness::count(witnessed::$entered);
            }
            0
        }

        #[tracepoint]
        fn $exits(ctx: TracePointContext) -> u32 {
            let _whole = Whole::begin();
            bracket::exit_syscall(op::$op, result(&ctx));
            0
        }

        #[tracepoint]
        fn $exits_again(ctx: TracePointContext) -> u32 {
            let _whole = Whole::begin();
            if bracket::exit_syscall(op::$op, result(&ctx)) {
                witness::count(witnessed::$exited);
            }
            0
        }
    )*};
}

// `syscalls:sys_enter_bind`, `syscalls:sys_exit_bind`, and likewise of connect: two programs each. The second does
// what the first was skipped for; where no run is skipped there is only the first.
syscalls! {
    tp_bind_enter tp_bind_enter_2 tp_bind_exit tp_bind_exit_2 BIND BIND_ENTERS BIND_EXITS
    tp_conn_enter tp_conn_enter_2 tp_conn_exit tp_conn_exit_2 CONNECT CONNECT_ENTERS CONNECT_EXITS
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
fn entered(ctx: &TracePointContext, op: u8) -> SystemCall {
    let call = SystemCall {
        op,
        fd: word(ctx, 16) as i32,
        addr: word(ctx, 24),
        addr_len: word(ctx, 32) as i32,
    };
    debug!(
        ctx,
        "op {} enters: fd {}, address length {}", op, call.fd, call.addr_len
    );
    call
}

/// `struct syscall_trace_exit` (kernel/trace/trace.h): the result as i64 at byte 16.
#[inline(always)]
fn result(ctx: &TracePointContext) -> i32 {
    word(ctx, 16) as i32
}

/// `syscalls:sys_exit_bind`, for the fexit source
#[tracepoint]
fn tp_bind_denied(ctx: TracePointContext) -> u32 {
    trampoline::syscall_exits(op::BIND, result(&ctx));
    0
}

/// `syscalls:sys_exit_connect`, for the fexit source
#[tracepoint]
fn tp_conn_denied(ctx: TracePointContext) -> u32 {
    trampoline::syscall_exits(op::CONNECT, result(&ctx));
    0
}

/// A u64 of a tracepoint's context, loaded directly: this needs no helper that lockdown could refuse.
#[inline(always)]
fn word(ctx: &TracePointContext, offset: usize) -> u64 {
    let field = ctx.as_ptr().wrapping_byte_add(offset).cast::<u64>();
    // SAFETY: the context of a system call tracepoint is longer than that, as the verifier checks.
    unsafe { field.read() }
}
