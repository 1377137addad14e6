//! Open descriptors: whoever holds a port is found by going through them in the kernel.
//!
//! By plain loads and typed pointers alone, which no lockdown refuses. Threads that share the
//! descriptors of their leader are left out by the kernel.

use core::ffi::c_void;

use aya_ebpf::helpers::generated::{bpf_seq_write, bpf_sock_from_file};
use portwatch_common::iterator::{self, Row};

use crate::{
    maps::{SOUGHT, present, setting},
    memory::{Memory as _, Typed},
    socket,
};

/// Where the fields of the context lie: `struct bpf_iter__task_file` (kernel/bpf/task_iter.c).
mod context {
    /// `struct bpf_iter_meta`, which begins with a pointer to the `struct seq_file`
    pub(super) const META: usize = 0;
    /// `struct task_struct`; null after the last descriptor
    pub(super) const TASK: usize = 8;
    /// u32
    pub(super) const FD: usize = 16;
    /// `struct file`; null after the last descriptor
    pub(super) const FILE: usize = 24;
}

// include/uapi/linux/stat.h
const S_IFMT: u16 = 0o170_000;
const S_IFSOCK: u16 = 0o140_000;
const SOCK_RAW: u16 = 3;
// include/net/tcp_states.h
const TCP_CLOSE: u8 = 7;
const TCP_LISTEN: u8 = 10;

/// Sends the descriptor if its socket is one of those that are sought.
#[inline(always)]
pub(crate) fn visit(context: *const c_void) -> Option<()> {
    let file: u64 = load(context, context::FILE);
    let inode: u64 = Typed::read(file, present(setting!(offsets.file_inode))?)?;
    let mode: u16 = Typed::read(inode, present(setting!(offsets.inode_mode))?)?;
    if mode & S_IFMT != S_IFSOCK {
        return None;
    }
    // SAFETY: the verifier knows that it is a `struct file`.
    let socket = unsafe { bpf_sock_from_file(file as *mut _) } as u64;
    let sk = socket::of_socket::<Typed>(socket)?;
    if !is_sought(sk)? {
        return None;
    }
    send(context, &describe(context, sk, inode)?)
}

#[inline(always)]
fn is_sought(sk: u64) -> Option<bool> {
    let sought = SOUGHT.get(0)?;
    let port = socket::port::<Typed>(sk)?;
    let (word, bit) = iterator::place(port);
    // Of a raw socket the kernel keeps the protocol where others have the port.
    let has_port = port != 0 && socket::sock_type::<Typed>(sk)? != SOCK_RAW;
    let is_among = if sought.kept == 0 {
        sought.ports[word] & bit != 0
    } else {
        matches!(socket::state::<Typed>(sk)?, TCP_CLOSE | TCP_LISTEN)
    };
    Some(has_port && is_among)
}

#[inline(always)]
fn describe(context: *const c_void, sk: u64, inode: u64) -> Option<Row> {
    let family = socket::family::<Typed>(sk)?;
    if !matches!(family, socket::AF_INET | socket::AF_INET6) {
        return None;
    }
    let task: u64 = load(context, context::TASK);
    Some(Row {
        tgid: Typed::read(task, present(setting!(offsets.task_tgid))?)?,
        tid: Typed::read(task, present(setting!(offsets.task_pid))?)?,
        fd: load(context, context::FD),
        inode: socket::inode_number::<Typed>(inode)?,
        netns: socket::netns::<Typed>(sk)?,
        ifindex: socket::device::<Typed>(sk)?,
        uid: socket::uid::<Typed>(sk)?,
        family,
        protocol: socket::protocol::<Typed>(sk)?,
        sock_type: socket::sock_type::<Typed>(sk)?,
        port: socket::port::<Typed>(sk)?,
        peer_port: u16::from_be(socket::peer_port::<Typed>(sk)?),
        options: socket::common_options::<Typed>(sk),
        state: u32::from(socket::state::<Typed>(sk)?),
        addr: socket::bound_addr::<Typed>(sk, family)?,
        peer_addr: socket::peer_addr::<Typed>(sk, family)?,
    })
}

/// Hands a row to whoever reads. One that finds no room is asked for again by the kernel.
#[inline(always)]
fn send(context: *const c_void, row: &Row) -> Option<()> {
    let meta: u64 = load(context, context::META);
    let file: u64 = Typed::read(meta, 0)?;
    let row: *const Row = row;
    // SAFETY: the verifier knows that it is a `struct seq_file`; the row is as long as its size.
    unsafe { bpf_seq_write(file as *mut _, row.cast(), size_of::<Row>() as u32) };
    Some(())
}

/// A field of the context.
#[inline(always)]
fn load<T>(context: *const c_void, offset: usize) -> T {
    // SAFETY: the context is longer than that, as the verifier checks.
    unsafe {
        context
            .wrapping_byte_add(offset)
            .cast::<T>()
            .read_volatile()
    }
}
