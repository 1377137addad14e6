//! How much room the ring has that attempts come through.

use std::num::NonZeroU32;

use portwatch_common::{event::Attempt, settings::EVENTS_BYTES};
use rustix::system::sysinfo;

const MIB: u64 = 1024 * 1024;
/// While nobody reads, each CPU may fill as much: 8,456 attempts.
const OF_A_CPU: u64 = 2 * MIB;
const MOST: u64 = 8 * MIB;
/// No more than this part of the machine's memory is taken for it.
const PART_OF_MEMORY: u64 = 128;

/// Bytes, a power of two of whole pages as the kernel wants them (`ringbuf_map_alloc`,
/// kernel/bpf/ringbuf.c): what is asked for or more, or what the machine's size suggests.
pub(super) fn bytes(asked_for: Option<NonZeroU32>, cpus: u32) -> u32 {
    asked_for.map_or_else(|| of_machine(cpus, memory()), |bytes| whole(bytes.get()))
}

/// How many attempts a ring of so many bytes holds, each with its header (`BPF_RINGBUF_HDR_SZ`,
/// include/uapi/linux/bpf.h).
pub(super) const fn attempts(bytes: u32) -> usize {
    const HEADER: usize = 8;
    bytes as usize / (size_of::<Attempt>() + HEADER)
}

fn of_machine(cpus: u32, memory: u64) -> u32 {
    let wanted = (u64::from(cpus) * OF_A_CPU).clamp(MIB, MOST);
    let bytes = wanted.min(memory / PART_OF_MEMORY);
    // A power of two that is no more than that, but for what it takes at least.
    let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
    bytes
        .checked_ilog2()
        .map_or(EVENTS_BYTES, |bits| 1 << bits)
        .max(EVENTS_BYTES)
}

/// The machine's, in bytes.
fn memory() -> u64 {
    let info = sysinfo();
    info.totalram * u64::from(info.mem_unit)
}

fn whole(bytes: u32) -> u32 {
    let page = u32::try_from(rustix::param::page_size()).unwrap_or(u32::MAX);
    bytes
        .max(page)
        .checked_next_power_of_two()
        .unwrap_or(1 << 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1024 * MIB;

    #[test]
    fn it_grows_with_the_cpus_as_far_as_there_is_memory() {
        let machines = [
            (1, 8 * GIB, 2048),
            (2, 8 * GIB, 4096),
            (3, 8 * GIB, 4096),
            (64, 8 * GIB, 8192),
            (64, GIB / 2, 4096),
            (64, GIB / 2 - 1, 2048),
            (2, 32 * MIB, 512),
            (2, 0, 512),
        ];
        for (cpus, memory, kib) in machines {
            assert_eq!(
                of_machine(cpus, memory),
                kib * 1024,
                "{cpus} CPUs, {memory}"
            );
        }
    }

    #[test]
    fn attempts_have_the_room_that_is_documented() {
        assert_eq!(attempts(EVENTS_BYTES), 2114);
        assert_eq!(attempts(2 * 1024 * 1024), 8456);
    }

    #[test]
    fn what_is_asked_for_becomes_a_power_of_two_of_pages() {
        let bytes = |asked_for| bytes(NonZeroU32::new(asked_for), 1);
        assert_eq!(bytes(3 * 1024 * 1024), 4 * 1024 * 1024);
        assert_eq!(bytes(4 * 1024 * 1024), 4 * 1024 * 1024);
        assert_eq!(bytes(u32::MAX), 1 << 31);
        assert!(bytes(1) >= 4096);
    }
}
