//! System calls as 32-bit programs make them: `int 0x80`, with what they point to below 4 GiB.

use std::{
    io,
    net::SocketAddr,
    os::fd::RawFd,
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, ensure};

use super::{driver::Impossible, sys, truth::Op, workload};

// arch/x86/entry/syscalls/syscall_32.tbl
const GETPID: u32 = 20;
const SOCKETCALL: u32 = 102;
const BIND: u32 = 361;
const CONNECT: u32 = 362;
const LISTEN: u32 = 363;

#[cfg(target_arch = "x86_64")]
const BELOW_4_GIB: i32 = libc::MAP_32BIT;
/// Elsewhere nothing asks for it.
#[cfg(not(target_arch = "x86_64"))]
const BELOW_4_GIB: i32 = 0;

/// Where `socketcall()` finds its arguments, behind the address.
const ARGUMENTS: usize = 64;

/// How a 32-bit program asks for it.
#[derive(Clone, Copy)]
pub(crate) enum Entry {
    /// By a system call of its own
    Direct,
    /// By the one for all socket calls
    Socketcall,
}

/// Memory that 32-bit pointers reach.
pub(crate) struct LowMemory(*mut u8);

impl LowMemory {
    pub(crate) fn map() -> Result<Self> {
        // SAFETY: a new mapping at a place of the kernel's choice.
        let memory = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                4096,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | BELOW_4_GIB,
                -1,
                0,
            )
        };
        ensure!(
            memory != libc::MAP_FAILED,
            "cannot map low memory: {}",
            io::Error::last_os_error()
        );
        Ok(Self(memory.cast()))
    }

    /// `bind()`, `connect()` or `listen()`: 0, or the negative errno.
    pub(crate) fn attempt(&self, entry: Entry, op: Op, fd: RawFd, address: SocketAddr) -> i32 {
        let bytes = sys::sockaddr(address);
        // SAFETY: an address is shorter than the arguments' offset, and they than the page.
        unsafe { self.0.copy_from(bytes.as_ptr(), bytes.len()) };
        let start = low(self.0);
        let arguments = match op {
            Op::Listen => [fd.cast_unsigned(), 8, 0],
            Op::Bind | Op::Connect => {
                let len = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
                [fd.cast_unsigned(), start, len]
            }
        };
        match entry {
            Entry::Direct => {
                let number = match op {
                    Op::Bind => BIND,
                    Op::Connect => CONNECT,
                    Op::Listen => LISTEN,
                };
                interrupt(number, arguments)
            }
            Entry::Socketcall => self.socketcall(op, arguments),
        }
    }

    fn socketcall(&self, op: Op, arguments: [u32; 3]) -> i32 {
        // SAFETY: within the page.
        let place = unsafe { self.0.add(ARGUMENTS) };
        // SAFETY: as many bytes as the arguments have, and the page has room for them.
        unsafe { place.copy_from(arguments.as_ptr().cast(), size_of_val(&arguments)) };
        // include/uapi/linux/net.h: SYS_BIND, SYS_CONNECT, SYS_LISTEN
        let call = match op {
            Op::Bind => 2,
            Op::Connect => 3,
            Op::Listen => 4,
        };
        interrupt(SOCKETCALL, [call, low(place), 0])
    }
}

/// Mapped below 4 GiB: nothing is cut off.
fn low(pointer: *mut u8) -> u32 {
    u32::try_from(pointer.expose_provenance()).unwrap_or(0)
}

/// Says whether this kernel takes calls of 32-bit programs: where it does not, the call is a
/// fault, and ends the process that makes it.
pub(crate) fn ensure_there_is_any() -> Result<()> {
    if cfg!(not(target_arch = "x86_64")) {
        let why = "64-bit programs of this architecture have no 32-bit system calls";
        return Err(Impossible(why.to_owned()).into());
    }
    let status = Command::new(std::env::current_exe()?)
        .args([workload::FLAG, workload::COMPAT_PROBE])
        .stdout(Stdio::null())
        .status()
        .context("cannot run the probe")?;
    if status.success() {
        return Ok(());
    }
    Err(Impossible(format!("no 32-bit system calls here: {status}")).into())
}

/// The process that may not survive it.
pub(crate) fn probe() -> Result<()> {
    let pid = interrupt(GETPID, [0; 3]);
    ensure!(
        u32::try_from(pid) == Ok(std::process::id()),
        "getpid() returned {pid}"
    );
    Ok(())
}

/// `int 0x80`. Of what is passed here, the kernel checks every pointer.
#[cfg(target_arch = "x86_64")]
fn interrupt(number: u32, [first, second, third]: [u32; 3]) -> i32 {
    let result: u64;
    // SAFETY: the call changes no memory, and of the registers those that are named. `rbx` is
    // the compiler's own, and is put back.
    unsafe {
        std::arch::asm!(
            "xchg {first:r}, rbx",
            "int 0x80",
            "xchg {first:r}, rbx",
            first = inout(reg) u64::from(first) => _,
            inlateout("rax") u64::from(number) => result,
            in("rcx") u64::from(second),
            in("rdx") u64::from(third),
            in("rsi") 0_u64,
            in("rdi") 0_u64,
            out("r8") _,
            out("r9") _,
            out("r10") _,
            out("r11") _,
            options(nostack),
        );
    }
    // 32 bits of result, extended or not.
    let [.., a, b, c, d] = result.to_be_bytes();
    i32::from_be_bytes([a, b, c, d])
}

#[cfg(not(target_arch = "x86_64"))]
fn interrupt(_number: u32, _arguments: [u32; 3]) -> i32 {
    -libc::ENOSYS
}
