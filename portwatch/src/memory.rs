//! How portwatch stays small: it needs much while it starts, and little from then on.

/// Gives back the memory that starting took, and has the kernel make no huge pages of what is left.
///
/// The allocator would keep the one for another such need, which does not come. And where the kernel
/// makes huge pages by itself (`transparent_hugepage/enabled` is `always`), it fills with one each
/// stretch of 2 MiB of which a single page is in use (mm/khugepaged.c, `max_ptes_none`), and so takes
/// again what was given back. Processes that are started after this inherit the second.
pub fn settle() {
    // A kernel without huge pages refuses, and needs none of it.
    if let Err(error) = rustix::thread::disable_transparent_huge_pages(true) {
        log::debug!("huge pages stay as they are: {error}");
    }
    trim();
}

#[expect(unsafe_code, reason = "the C library has no safe name for it")]
fn trim() {
    #[cfg(target_env = "gnu")]
    // SAFETY: it takes a number and touches only memory that nobody holds.
    unsafe {
        libc::malloc_trim(0);
    }
}
