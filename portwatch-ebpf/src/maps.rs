//! The maps and globals: all that userspace sets or reads.

use aya_ebpf::{
    Global,
    macros::{btf_map, map},
    maps::{Array, HashMap, LruHashMap, PerCpuArray, RingBuf},
};
use portwatch_common::{
    bound::{LAST_BINDS_ENTRIES, Slot},
    event::{KIND_NOTICE, Notice},
    iterator::Sought,
    settings::{
        EVENTS_BYTES, INFLIGHT_ENTRIES, Offset, PENDING_ENTRIES, RULED_OUT_ENTRIES, Settings, loss,
        witnessed,
    },
};

use crate::{
    attempt::Inflight, pending::Pending, thread::TaskStorage, trampoline::Marks, witness::Witness,
};

#[map]
pub(crate) static EVENTS: RingBuf = RingBuf::with_byte_size(EVENTS_BYTES, 0);

/// Calls that have begun and not yet returned.
#[btf_map]
pub(crate) static CALLS: TaskStorage<Inflight> = TaskStorage::new();

/// The same by `bpf_get_current_pid_tgid`, where there is no task storage.
///
/// Preallocated, and not an LRU map: that would evict the calls that wait longest.
#[map]
pub(crate) static INFLIGHT: HashMap<u64, Inflight> = HashMap::with_max_entries(INFLIGHT_ENTRIES, 0);

/// How far the calls of threads have come.
#[btf_map]
pub(crate) static MARKS: TaskStorage<Marks> = TaskStorage::new();

/// The same by `bpf_get_current_pid_tgid`, where there is no task storage.
#[map]
pub(crate) static MARKED: HashMap<u64, Marks> = HashMap::with_max_entries(INFLIGHT_ENTRIES, 0);

/// What threads' binds have come to.
#[btf_map]
pub(crate) static WITNESSES: TaskStorage<Witness> = TaskStorage::new();

/// Connects that TCP has begun and not ended, by `struct sock`: the oldest make room.
///
/// One list for all CPUs: with one for each (`BPF_F_NO_COMMON_LRU`) a CPU that makes all connects
/// would have a share of the room.
#[map]
pub(crate) static PENDING: LruHashMap<u64, Pending> =
    LruHashMap::with_max_entries(PENDING_ENTRIES, 0);

/// By operation, where a request of `io_uring` keeps its address, counted from 1; 0 where that is not known yet.
#[map]
pub(crate) static RING_ADDRESSES: Array<u32> = Array::with_max_entries(4, 0);

/// Not 0 from when on the filter counts: portwatch's own calls come first.
#[map]
pub(crate) static ARMED: Array<u32> = Array::with_max_entries(1, 0);

/// Not 0 from when on a bind may have a record before its protocol returns. Until then nobody
/// looks for one: a look costs more than all that is asked of a bind that no filter wants.
#[map]
pub(crate) static NOTED_BINDS: Array<u32> = Array::with_max_entries(1, 0);

/// Cgroups whose attempts no filter lets pass, by id: userspace adds what it has looked up.
#[map]
pub(crate) static RULED_OUT: LruHashMap<u64, u8> =
    LruHashMap::with_max_entries(RULED_OUT_ENTRIES, 0);

/// Processes that are in none of the wanted trees, by thread group and its start: userspace adds
/// those whose parents it has looked up.
#[map]
pub(crate) static OUT_OF_TREE: LruHashMap<[u64; 2], u8> =
    LruHashMap::with_max_entries(RULED_OUT_ENTRIES, 0);

/// The user's own maps take the place of these two, which are empty and stay so.
#[map]
pub(crate) static CGROUP_SET: HashMap<u64, u64> = HashMap::with_max_entries(1, 0);

#[map]
pub(crate) static MNTNS_SET: HashMap<u64, u32> = HashMap::with_max_entries(1, 0);

/// The last binds that succeeded and were not shown, each in the slot of its port.
///
/// An array in place of an LRU map, whose insert alone took 1,400 instructions on 6.1.
#[map]
pub(crate) static LAST_BINDS: Array<Slot> = Array::with_max_entries(LAST_BINDS_ENTRIES, 0);

/// Which sockets the iterator sends.
#[map]
pub(crate) static SOUGHT: Array<Sought> = Array::with_max_entries(1, 0);

#[map]
static LOSSES: PerCpuArray<u64> = PerCpuArray::with_max_entries(loss::COUNT, 0);

/// Runs of programs that were skipped, and nothing was lost by it.
#[map]
pub(crate) static WITNESSED: PerCpuArray<u64> = PerCpuArray::with_max_entries(witnessed::COUNT, 0);

/// Set by the loader; read field by field through [`setting`].
#[unsafe(no_mangle)]
static SETTINGS: Global<Settings> = Global::new(Settings::NONE);

/// Where the loader put the settings.
#[inline(always)]
pub(crate) fn settings() -> *const Settings {
    (&raw const SETTINGS).cast()
}

/// One field of the settings. The map they lie in is frozen before the programs load, so the
/// verifier knows the value and drops the branches that it rules out.
macro_rules! setting {
    ($($field:ident).+) => {{
        // SAFETY: the global is a valid `Settings` for as long as the program is loaded.
        unsafe { core::ptr::read_volatile(&raw const (*$crate::maps::settings()).$($field).+) }
    }};
}
pub(crate) use setting;

/// A kernel field's place, or `None` where the running kernel does not have it.
#[inline(always)]
pub(crate) fn present(offset: Offset) -> Option<usize> {
    if offset == Settings::ABSENT {
        None
    } else {
        Some(offset as usize)
    }
}

/// Counts a loss on this CPU. One that leaves room in the ring is announced there at once;
/// userspace finds a full ring by itself, since it then has a full ring to read.
#[inline(always)]
pub(crate) fn count_loss(counter: u32) {
    if let Some(count) = LOSSES.get_ptr_mut(counter) {
        // SAFETY: a slot of a per-CPU array belongs to this program until it returns.
        unsafe { *count += 1 };
    }
    if counter != loss::RING_FULL
        && let Some(mut notice) = EVENTS.reserve::<Notice>(0)
    {
        notice.write(Notice {
            kind: KIND_NOTICE,
            counter,
        });
        notice.submit(0);
    }
}
