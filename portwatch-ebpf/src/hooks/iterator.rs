//! The iterator over the descriptors of all tasks.

use core::ffi::c_void;

use crate::files;

/// `iter/task_file`: once for each descriptor (kernel/bpf/task_iter.c)
#[unsafe(no_mangle)]
#[unsafe(link_section = "iter/task_file")]
extern "C" fn it_files(context: *const c_void) -> i32 {
    files::visit(context);
    0
}
