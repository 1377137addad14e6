//! `io_uring` by its three system calls: one request at a time, by itself or behind a pipe
//! (include/uapi/linux/io_uring.h).

use std::{
    io,
    os::fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd},
    ptr::NonNull,
    sync::atomic::{AtomicU32, Ordering},
};

use anyhow::{Context as _, Result, ensure};

pub(crate) const OP_CONNECT: u8 = 16;
/// Since Linux 6.11
pub(crate) const OP_BIND: u8 = 56;
const OP_SENDMSG: u8 = 9;
/// Have it done by a thread of the ring's own.
pub(crate) const SQE_ASYNC: u8 = 1 << 4;

const OP_POLL_ADD: u8 = 6;
/// The next one waits for this.
const SQE_IO_LINK: u8 = 1 << 2;
const POLLIN: u32 = 1;

const ENTRIES: u32 = 4;
const FEAT_SINGLE_MMAP: u32 = 1;
const OFF_SQES: i64 = 0x1000_0000;
const ENTER_GETEVENTS: u32 = 1;
const ENTER_SQ_WAKEUP: u32 = 1 << 1;
const SETUP_SQPOLL: u32 = 1 << 1;
const REGISTER_IOWQ_MAX_WORKERS: u32 = 19;

#[repr(C)]
#[derive(Default)]
struct Params {
    sq_entries: u32,
    cq_entries: u32,
    flags: u32,
    sq_thread_cpu: u32,
    sq_thread_idle: u32,
    features: u32,
    wq_fd: u32,
    unused: [u32; 3],
    sq: Offsets,
    cq: Offsets,
}

/// `struct io_sqring_offsets` and `struct io_cqring_offsets`, which begin alike.
#[repr(C)]
#[derive(Default)]
struct Offsets {
    head: u32,
    tail: u32,
    ring_mask: u32,
    ring_entries: u32,
    /// Of the submissions the flags, of the completions the overflow
    fourth: u32,
    /// Of the submissions the dropped ones, of the completions their array
    fifth: u32,
    /// Of the submissions their array, of the completions the flags
    sixth: u32,
    unused: u32,
    user_addr: u64,
}

/// `struct io_uring_sqe`
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Submission {
    opcode: u8,
    flags: u8,
    ioprio: u16,
    fd: i32,
    /// The length of the address
    addr2: u64,
    addr: u64,
    len: u32,
    op_flags: u32,
    user_data: u64,
    unused: [u64; 3],
}

/// `struct io_uring_cqe`
#[repr(C)]
#[derive(Clone, Copy)]
struct Completion {
    user_data: u64,
    result: i32,
    flags: u32,
}

/// A ring, with one thread of its own at most.
pub(crate) struct Ring {
    fd: OwnedFd,
    params: Params,
    rings: NonNull<u8>,
    submissions: NonNull<u8>,
}

// SAFETY: what it points to is mapped for the whole process, as long as it lives.
unsafe impl Send for Ring {}

impl Ring {
    pub(crate) fn new() -> Result<Self> {
        Self::set_up(Params::default())
    }

    /// One whose requests a thread of the kernel's fetches and does.
    pub(crate) fn polled() -> Result<Self> {
        Self::set_up(Params {
            flags: SETUP_SQPOLL,
            sq_thread_idle: 1000,
            ..Params::default()
        })
    }

    fn set_up(mut params: Params) -> Result<Self> {
        let entries = libc::c_long::from(ENTRIES);
        // SAFETY: the parameters are laid out as the kernel has them.
        let fd = unsafe { libc::syscall(libc::SYS_io_uring_setup, entries, &raw mut params) };
        let fd = i32::try_from(fd)?;
        ensure!(fd >= 0, "io_uring_setup: {}", io::Error::last_os_error());
        // SAFETY: the kernel gave it just now, to nobody else.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        ensure!(
            params.features & FEAT_SINGLE_MMAP != 0,
            "the rings are not mapped as one"
        );
        let submitted = params.sq.sixth + ENTRIES * 4;
        let completed = params.cq.fifth + params.cq_entries * 16;
        let rings = map(&fd, submitted.max(completed) as usize, 0)?;
        let submissions = map(&fd, ENTRIES as usize * size_of::<Submission>(), OFF_SQES)?;
        let ring = Self {
            fd,
            params,
            rings,
            submissions,
        };
        ring.limit_workers()?;
        Ok(ring)
    }

    /// So that there is no doubt which thread does a request.
    fn limit_workers(&self) -> Result<()> {
        let workers = [1_u32, 1];
        // SAFETY: the call reads and writes two numbers.
        let result = unsafe {
            libc::syscall(
                libc::SYS_io_uring_register,
                self.fd.as_raw_fd(),
                REGISTER_IOWQ_MAX_WORKERS,
                workers.as_ptr().cast_mut(),
                2,
            )
        };
        ensure!(
            result == 0,
            "io_uring_register: {}",
            io::Error::last_os_error()
        );
        Ok(())
    }

    /// Asks for one operation with an address, and waits until it is done.
    pub(crate) fn run(&self, opcode: u8, flags: u8, fd: i32, address: &[u8]) -> Result<i32> {
        self.push(with_address(opcode, flags, fd, address));
        self.enter(1, 1)?;
        self.take()
    }

    /// Asks for a message to be sent, and waits until it is.
    pub(crate) fn send(&self, fd: i32, message: &libc::msghdr, flags: i32) -> Result<i32> {
        self.push(Submission {
            opcode: OP_SENDMSG,
            fd,
            addr: std::ptr::from_ref(message).expose_provenance() as u64,
            len: 1,
            op_flags: flags.cast_unsigned(),
            ..Submission::default()
        });
        self.enter(1, 1)?;
        self.take()
    }

    /// Asks for one operation with an address, to be begun when the pipe can be read: whatever the calling
    /// thread does then.
    pub(crate) fn prepare(
        &self,
        pipe: BorrowedFd<'_>,
        opcode: u8,
        fd: i32,
        address: &[u8],
    ) -> Result<()> {
        self.push(Submission {
            opcode: OP_POLL_ADD,
            flags: SQE_IO_LINK,
            fd: pipe.as_raw_fd(),
            op_flags: POLLIN,
            ..Submission::default()
        });
        self.push(with_address(opcode, 0, fd, address));
        self.enter(2, 0)
    }

    /// How what was prepared ended, if it has.
    pub(crate) fn prepared(&self) -> Result<Option<i32>> {
        if self.done() < 2 {
            return Ok(None);
        }
        let poll = self.take()?;
        ensure!(poll == i32::try_from(POLLIN)?, "the poll: {poll}");
        self.take().map(Some)
    }

    fn push(&self, submission: Submission) {
        let tail = self.number(self.params.sq.tail).load(Ordering::Relaxed);
        let index = tail
            & self
                .number(self.params.sq.ring_mask)
                .load(Ordering::Relaxed);
        let slots = self.submissions.cast::<Submission>();
        // SAFETY: the mask keeps the index below the number of entries.
        let slot = unsafe { slots.add(index as usize) };
        // SAFETY: the kernel does not look at it before the tail has passed it.
        unsafe { slot.write(submission) };
        self.number(self.params.sq.sixth + index * 4)
            .store(index, Ordering::Relaxed);
        self.number(self.params.sq.tail)
            .store(tail.wrapping_add(1), Ordering::Release);
    }

    fn enter(&self, submitted: i64, complete: u32) -> Result<()> {
        let wait = if complete == 0 { 0 } else { ENTER_GETEVENTS };
        let wake = if self.params.flags & SETUP_SQPOLL == 0 {
            0
        } else {
            ENTER_SQ_WAKEUP
        };
        // SAFETY: without a signal mask the call reads no memory of its arguments.
        let entered = unsafe {
            libc::syscall(
                libc::SYS_io_uring_enter,
                self.fd.as_raw_fd(),
                submitted,
                complete,
                wait | wake,
                std::ptr::null::<libc::sigset_t>(),
                0,
            )
        };
        if entered == submitted {
            Ok(())
        } else {
            Err(io::Error::last_os_error()).context("io_uring_enter")
        }
    }

    /// How many are done and were not taken.
    fn done(&self) -> u32 {
        let head = self.number(self.params.cq.head).load(Ordering::Relaxed);
        let tail = self.number(self.params.cq.tail).load(Ordering::Acquire);
        tail.wrapping_sub(head)
    }

    /// The result of what was done first.
    fn take(&self) -> Result<i32> {
        ensure!(self.done() > 0, "nothing is done");
        let head = self.number(self.params.cq.head).load(Ordering::Relaxed);
        let index = head
            & self
                .number(self.params.cq.ring_mask)
                .load(Ordering::Relaxed);
        let offset = self.params.cq.fifth as usize + index as usize * size_of::<Completion>();
        // SAFETY: the mask keeps the index below the number of entries.
        let slot = unsafe { self.rings.add(offset) }.cast::<Completion>();
        // SAFETY: the kernel wrote it before it moved the tail.
        let completion = unsafe { slot.read() };
        self.number(self.params.cq.head)
            .store(head.wrapping_add(1), Ordering::Release);
        Ok(completion.result)
    }

    /// A number in the rings, which the kernel shares.
    fn number(&self, offset: u32) -> &AtomicU32 {
        // SAFETY: the kernel's offsets lie within what is mapped.
        let number = unsafe { self.rings.add(offset as usize) }.cast::<AtomicU32>();
        // SAFETY: aligned by the kernel, mapped as long as the ring lives, and atomic.
        unsafe { number.as_ref() }
    }
}

fn with_address(opcode: u8, flags: u8, fd: i32, address: &[u8]) -> Submission {
    Submission {
        opcode,
        flags,
        fd,
        addr: address.as_ptr().expose_provenance() as u64,
        addr2: address.len() as u64,
        ..Submission::default()
    }
}

/// Maps a part of the ring, until the process ends.
fn map(fd: &OwnedFd, length: usize, offset: i64) -> Result<NonNull<u8>> {
    // SAFETY: a new mapping at a place of the kernel's choice.
    let mapped = unsafe {
        libc::mmap(
            std::ptr::null_mut(),
            length,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_SHARED | libc::MAP_POPULATE,
            fd.as_raw_fd(),
            offset,
        )
    };
    ensure!(
        mapped != libc::MAP_FAILED,
        "cannot map the ring: {}",
        io::Error::last_os_error()
    );
    NonNull::new(mapped.cast()).context("mapped at 0")
}
