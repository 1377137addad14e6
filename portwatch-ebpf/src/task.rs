//! Who is calling: the current task, through helpers and, where offsets are known, kernel memory.

use aya_ebpf::helpers::{
    bpf_get_current_cgroup_id, bpf_get_current_comm, bpf_get_current_pid_tgid,
    bpf_get_current_uid_gid, bpf_get_smp_processor_id, generated::bpf_get_current_task,
};
use portwatch_common::event::{Attempt, known, via};

use crate::{
    maps::{present, setting},
    socket::read,
};

/// `PF_KTHREAD`: the task is a kernel thread (include/linux/sched.h).
const PF_KTHREAD: u32 = 0x0020_0000;
/// `PF_IO_WORKER`: an `io_uring` worker thread (include/linux/sched.h).
const PF_IO_WORKER: u32 = 0x0000_0010;

/// The key of a thread's in-flight record.
#[inline(always)]
pub(crate) fn key() -> u64 {
    bpf_get_current_pid_tgid()
}

/// Writes all that is known about the current task.
#[inline(always)]
pub(crate) fn describe(attempt: &mut Attempt) {
    let pid_tgid = bpf_get_current_pid_tgid();
    attempt.tgid = (pid_tgid >> 32) as u32;
    attempt.tid = pid_tgid as u32;
    let uid_gid = bpf_get_current_uid_gid();
    attempt.uid = uid_gid as u32;
    attempt.gid = (uid_gid >> 32) as u32;
    attempt.comm = bpf_get_current_comm().unwrap_or_default();
    // SAFETY: the helpers take no arguments.
    attempt.cgroup_id = unsafe { bpf_get_current_cgroup_id() };
    // SAFETY: the helper takes no arguments.
    attempt.cpu = unsafe { bpf_get_smp_processor_id() };
    if let Some((euid, ppid)) = credentials() {
        attempt.euid = euid;
        attempt.ppid = ppid;
        attempt.known |= known::TASK;
    }
}

/// Effective uid, and thread group of the parent.
#[inline(always)]
fn credentials() -> Option<(u32, u32)> {
    let cred: u64 = read(current()?, present(setting!(offsets.task_cred))?)?;
    let euid = read(cred, present(setting!(offsets.cred_euid))?)?;
    let parent: u64 = read(current()?, present(setting!(offsets.task_real_parent))?)?;
    let ppid = read(parent, present(setting!(offsets.task_tgid))?)?;
    Some((euid, ppid))
}

/// Whether the current task is a kernel thread; false where that cannot be told.
#[inline(always)]
pub(crate) fn is_kernel_thread() -> bool {
    flags().is_some_and(|flags| flags & PF_KTHREAD != 0)
}

/// How a call that no system call hook saw came to the kernel.
#[inline(always)]
pub(crate) fn via_without_syscall() -> u8 {
    match flags() {
        Some(flags) if flags & PF_IO_WORKER != 0 => via::IO_URING,
        Some(flags) if flags & PF_KTHREAD != 0 => via::KERNEL,
        _ => via::UNKNOWN,
    }
}

/// Whether the system call under way is a 32-bit caller's.
#[inline(always)]
pub(crate) fn via_syscall() -> u8 {
    match compat() {
        Some(true) => via::COMPAT32,
        _ => via::SYSCALL,
    }
}

#[inline(always)]
fn compat() -> Option<bool> {
    let status: u32 = read(current()?, present(setting!(offsets.thread_status))?)?;
    Some(status & setting!(offsets.thread_status_compat) != 0)
}

#[inline(always)]
fn flags() -> Option<u32> {
    read(current()?, present(setting!(offsets.task_flags))?)
}

#[inline(always)]
fn current() -> Option<u64> {
    // SAFETY: the helper takes no arguments.
    Some(unsafe { bpf_get_current_task() })
}
