//! What is kept for a thread from one hook to the next.
//!
//! It lies with the thread itself (task storage) where the kernel can do that: it ends with its thread, and
//! nobody's threads take up room for others'. It is made once and stays, since making it takes twenty times
//! as long as finding it. On other kernels it lies in a table of limited room.

use core::ptr::{self, null_mut};

use aya_ebpf::{
    bindings::{
        BPF_ANY, BPF_F_NO_PREALLOC, BPF_LOCAL_STORAGE_GET_F_CREATE,
        bpf_map_type::BPF_MAP_TYPE_TASK_STORAGE,
    },
    helpers::generated::{bpf_get_current_task_btf, bpf_task_storage_get},
    maps::HashMap,
};

use crate::{maps::setting, task};

/// What is kept for each thread.
pub(crate) trait Kept: Sized + 'static {
    fn storage() -> &'static TaskStorage<Self>;
    fn table() -> &'static HashMap<u64, Self>;
    /// What an entry of the table begins as; one in the storage begins as zeroes.
    fn blank() -> &'static Self;

    /// The current thread's, if it has one.
    #[inline(always)]
    fn find() -> Option<*mut Self> {
        if in_storage() {
            Self::storage().get(0)
        } else {
            Self::table().get_ptr_mut(task::key())
        }
    }

    /// The current thread's, which may hold what was there before; `None` if there is no room.
    #[inline(always)]
    fn find_or_make() -> Option<*mut Self> {
        if in_storage() {
            return Self::storage().get(BPF_LOCAL_STORAGE_GET_F_CREATE.into());
        }
        let table = Self::table();
        table
            .insert(task::key(), Self::blank(), BPF_ANY.into())
            .ok()?;
        table.get_ptr_mut(task::key())
    }

    /// The current thread has no more use for it.
    #[inline(always)]
    fn give_back() {
        if !in_storage() {
            // Its own thread is the only one that removes it: it is there, or never was.
            let _ = Self::table().remove(task::key());
        }
    }
}

#[inline(always)]
pub(crate) fn in_storage() -> bool {
    setting!(task_storage) != 0
}

/// A map that lies with the tasks, as its type information describes it
/// (`bpf_local_storage_map_alloc_check`, kernel/bpf/bpf_local_storage.c).
#[repr(C)]
pub(crate) struct TaskStorage<T> {
    r#type: *const [i32; BPF_MAP_TYPE_TASK_STORAGE as usize],
    key: *const i32,
    value: *const T,
    max_entries: *const [i32; 0],
    map_flags: *const [i32; BPF_F_NO_PREALLOC as usize],
}

// SAFETY: its fields only have types, which describe the map.
unsafe impl<T> Sync for TaskStorage<T> {}

impl<T> TaskStorage<T> {
    pub(crate) const fn new() -> Self {
        Self {
            r#type: ptr::null(),
            key: ptr::null(),
            value: ptr::null(),
            max_entries: ptr::null(),
            map_flags: ptr::null(),
        }
    }

    /// The current task's value.
    #[inline(always)]
    pub(crate) fn get(&self, flags: u64) -> Option<*mut T> {
        let map = ptr::from_ref(self).cast_mut().cast();
        // SAFETY: the helper takes no arguments.
        let task = unsafe { bpf_get_current_task_btf() };
        // SAFETY: the loader puts the map in the place of its description, and the task is running.
        let value = unsafe { bpf_task_storage_get(map, task, null_mut(), flags) }.cast::<T>();
        (!value.is_null()).then_some(value)
    }
}
