//! Copies of the caller's `struct sockaddr`.

use aya_ebpf::helpers::generated::{bpf_probe_read_kernel, bpf_probe_read_user};
use portwatch_common::event::SOCKADDR_LEN;

/// How many bytes of an address of the length that was passed are worth copying.
///
/// A negative length fails with EINVAL in `move_addr_to_kernel` (net/socket.c), but the
/// address it came with still says what was meant.
#[inline(always)]
fn readable(len: i32) -> u32 {
    if len < 0 || len > SOCKADDR_LEN as i32 {
        SOCKADDR_LEN as u32
    } else {
        len as u32
    }
}

/// Copies from the caller's memory; false where it cannot be read (bad pointer, or not resident).
#[inline(always)]
pub(crate) fn copy_user(to: &mut [u8; SOCKADDR_LEN], from: u64, len: i32) -> bool {
    let to = to.as_mut_ptr().cast();
    // SAFETY: at most SOCKADDR_LEN bytes are written to the array; the helper checks the source.
    let status = unsafe { bpf_probe_read_user(to, readable(len), from as *const _) };
    status == 0
}

/// Copies the kernel's own copy of the address, which nobody can change under us.
#[inline(always)]
pub(crate) fn copy_kernel(to: &mut [u8; SOCKADDR_LEN], from: u64, len: i32) -> bool {
    let to = to.as_mut_ptr().cast();
    // SAFETY: at most SOCKADDR_LEN bytes are written to the array; the helper checks the source.
    let status = unsafe { bpf_probe_read_kernel(to, readable(len), from as *const _) };
    status == 0
}

/// Whether the caller's address is one of the internet's, or has no family that says otherwise:
/// a look at two bytes that spares most callers the rest.
#[inline(always)]
pub(crate) fn may_be_internet(from: u64, len: i32) -> bool {
    let mut start = [0; SOCKADDR_LEN];
    !copy_user(
        &mut start,
        from,
        if (0..=2).contains(&len) { len } else { 2 },
    ) || matches!(
        u16::from_ne_bytes([start[0], start[1]]),
        AF_UNSPEC | AF_INET | AF_INET6
    )
}

const AF_UNSPEC: u16 = 0;
const AF_INET: u16 = 2;
const AF_INET6: u16 = 10;
