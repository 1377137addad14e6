//! The end of a watch, without the kernel's wait.
//!
//! Whoever closes the last descriptor of a hook waits until no CPU can be in it any more: grace periods
//! of a tenth of a second and more (`ftrace_shutdown`, kernel/trace/ftrace.c; `gp_sleep`,
//! kernel/rcu/tasks.h), one hook after the other, which makes seconds. So the descriptors are left to a
//! process that does nothing else, and whose end nobody waits for.

use std::{
    io,
    os::fd::{AsRawFd as _, OwnedFd, RawFd},
};

use rustix::{
    io::retry_on_intr,
    pipe::{PipeFlags, pipe_with},
};

use super::link;

/// A process that has what is attached too, and ends once this is dropped.
pub(super) struct Heir {
    _will: OwnedFd,
}

impl Heir {
    /// Starts it. It keeps no other descriptor: who reads what portwatch wrote sees its end.
    pub(super) fn appoint() -> io::Result<Self> {
        let mut kept = link::open_links()?;
        let (death, will) = pipe_with(PipeFlags::CLOEXEC)?;
        kept.push(death.as_raw_fd());
        kept.sort_unstable();
        #[expect(unsafe_code, reason = "there is no safe fork")]
        // SAFETY: the new process, which has but this thread, makes system calls and nothing else.
        let child = unsafe { libc::fork() };
        match child {
            -1 => Err(io::Error::last_os_error()),
            0 => live(&kept, &death),
            _ => Ok(Self { _will: will }),
        }
    }
}

/// All that it does: the kernel detaches what it leaves. Nothing here may allocate.
fn live(kept: &[RawFd], death: &OwnedFd) -> ! {
    let mut first = 0;
    for &fd in kept {
        close_range(first, fd - 1);
        first = fd + 1;
    }
    close_range(first, RawFd::MAX);
    // Nobody writes; a signal that was meant for all of them is none of its business.
    let _ = retry_on_intr(|| rustix::io::read(death, &mut [0; 1]));
    #[expect(
        unsafe_code,
        reason = "what runs at the end of a process belongs to the other"
    )]
    // SAFETY: it ends this process, and nothing else.
    unsafe {
        libc::_exit(0)
    }
}

#[expect(unsafe_code, reason = "the owners are in the other process")]
fn close_range(first: RawFd, last: RawFd) {
    if first <= last {
        // SAFETY: nothing in this process uses these descriptors any more.
        unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) };
    }
}
