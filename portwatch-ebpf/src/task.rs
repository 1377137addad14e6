//! Who is calling, and how the call came to the kernel.

use aya_ebpf::helpers::{
    bpf_get_current_cgroup_id, bpf_get_current_comm, bpf_get_current_pid_tgid,
    bpf_get_current_uid_gid,
    generated::{bpf_get_current_task, bpf_get_current_task_btf},
};
use portwatch_common::event::{Attempt, known, via};

use crate::{
    maps::{present, setting},
    memory::{Memory, Probed, Typed},
};

/// `PF_KTHREAD`: the task is a kernel thread (include/linux/sched.h).
const PF_KTHREAD: u32 = 0x0020_0000;
/// `PF_IO_WORKER`: an `io_uring` worker or polling thread (include/linux/sched.h).
const PF_IO_WORKER: u32 = 0x0000_0010;

/// The current `struct task_struct`, in the form that a way of reading needs.
pub(crate) trait CurrentTask: Memory {
    /// How it and what it leads to are read.
    type Task: Memory;

    fn current() -> u64;
}

impl CurrentTask for Probed {
    type Task = Self;

    #[inline(always)]
    fn current() -> u64 {
        // SAFETY: the helper takes no arguments.
        unsafe { bpf_get_current_task() }
    }
}

impl CurrentTask for Typed {
    type Task = PerhapsTyped;

    #[inline(always)]
    fn current() -> u64 {
        if setting!(typed_task) == 0 {
            return Probed::current();
        }
        // SAFETY: the helper takes no arguments.
        unsafe { bpf_get_current_task_btf() as u64 }
    }
}

/// By a plain load where the kernel gives the current task with its type.
pub(crate) struct PerhapsTyped;

impl Memory for PerhapsTyped {
    #[inline(always)]
    fn read<T: Copy>(base: u64, offset: usize) -> Option<T> {
        if setting!(typed_task) == 0 {
            Probed::read(base, offset)
        } else {
            Typed::read(base, offset)
        }
    }
}

/// The key of a thread's in-flight record.
#[inline(always)]
pub(crate) fn key() -> u64 {
    bpf_get_current_pid_tgid()
}

/// Writes all that is known about the current task.
#[inline(always)]
pub(crate) fn describe<M: CurrentTask>(attempt: &mut Attempt) {
    let pid_tgid = bpf_get_current_pid_tgid();
    attempt.tgid = (pid_tgid >> 32) as u32;
    attempt.tid = pid_tgid as u32;
    let uid_gid = bpf_get_current_uid_gid();
    attempt.uid = uid_gid as u32;
    attempt.gid = (uid_gid >> 32) as u32;
    attempt.comm = bpf_get_current_comm().unwrap_or_default();
    // SAFETY: the helper takes no arguments.
    attempt.cgroup_id = unsafe { bpf_get_current_cgroup_id() };
    if let Some((euid, ppid)) = identity::<M>() {
        attempt.euid = euid;
        attempt.ppid = ppid;
        attempt.known |= known::TASK;
    }
    attempt.process_start_ns = process_start::<M>().unwrap_or(0);
}

/// When the thread group began: with its number, this tells it from every other.
#[inline(always)]
pub(crate) fn process_start<M: CurrentTask>() -> Option<u64> {
    let leader: u64 = M::Task::read(M::current(), present(setting!(offsets.task_group_leader))?)?;
    M::Task::read(leader, present(setting!(offsets.task_start_boottime))?)
}

#[inline(always)]
fn cred<M: CurrentTask>() -> Option<u64> {
    M::Task::read(M::current(), present(setting!(offsets.task_cred))?)
}

/// Effective uid, and thread group of the parent.
#[inline(always)]
pub(crate) fn identity<M: CurrentTask>() -> Option<(u32, u32)> {
    let euid = M::Task::read(cred::<M>()?, present(setting!(offsets.cred_euid))?)?;
    let parent: u64 = M::Task::read(M::current(), present(setting!(offsets.task_real_parent))?)?;
    let ppid = M::Task::read(parent, present(setting!(offsets.task_tgid))?)?;
    Some((euid, ppid))
}

/// Inode of the mount namespace.
#[inline(always)]
pub(crate) fn mntns<M: CurrentTask>() -> Option<u32> {
    let namespaces: u64 = M::Task::read(M::current(), present(setting!(offsets.task_nsproxy))?)?;
    let mounts: u64 = M::Task::read(namespaces, present(setting!(offsets.nsproxy_mnt_ns))?)?;
    M::Task::read(mounts, present(setting!(offsets.mnt_ns_inum))?)
}

/// Effective capabilities, and the user namespace in which they count.
#[inline(always)]
pub(crate) fn credentials<M: CurrentTask>(attempt: &mut Attempt) -> Option<()> {
    let cred = cred::<M>()?;
    let namespace: u64 = M::Task::read(cred, present(setting!(offsets.cred_user_ns))?)?;
    attempt.cap_effective = M::Task::read(cred, present(setting!(offsets.cred_cap_effective))?)?;
    attempt.user_ns = M::Task::read(namespace, present(setting!(offsets.user_ns_inum))?)?;
    attempt.user_ns_level = user_ns_level::<M::Task>(namespace)?;
    attempt.known |= known::CREDENTIALS;
    Some(())
}

/// How deep a `struct user_namespace` lies below the initial one: at most 32.
#[inline(always)]
pub(crate) fn user_ns_level<M: Memory>(namespace: u64) -> Option<u8> {
    let level: u32 = M::read(namespace, present(setting!(offsets.user_ns_level))?)?;
    Some(level as u8)
}

/// How a call came to the kernel whose system call was not seen.
#[inline(always)]
pub(crate) fn via_without_syscall<M: CurrentTask>() -> u8 {
    match flags::<M>() {
        Some(flags) if flags & PF_IO_WORKER != 0 => via::IO_URING,
        Some(flags) if flags & PF_KTHREAD != 0 => via::KERNEL,
        _ => via::UNKNOWN,
    }
}

/// Whether the current task is the kernel's, and nobody's thread.
#[inline(always)]
pub(crate) fn is_of_the_kernel<M: CurrentTask>() -> bool {
    flags::<M>().is_none_or(|flags| flags & PF_KTHREAD != 0)
}

/// How a bind or connect system call came to the kernel.
#[inline(always)]
pub(crate) fn via_syscall<M: CurrentTask>() -> u8 {
    match is_compat::<M>() {
        Some(true) => via::COMPAT32,
        _ => via::SYSCALL,
    }
}

/// Whether the system call under way is a 32-bit caller's.
#[inline(always)]
pub(crate) fn is_compat<M: CurrentTask>() -> Option<bool> {
    let status: u32 = M::Task::read(M::current(), present(setting!(offsets.thread_status))?)?;
    Some(status & setting!(offsets.thread_status_compat) != 0)
}

#[inline(always)]
fn flags<M: CurrentTask>() -> Option<u32> {
    M::Task::read(M::current(), present(setting!(offsets.task_flags))?)
}
