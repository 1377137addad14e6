//! How portwatch stays small: it needs much while it starts, and little from then on.

use rustix::mm::{Advice, madvise};

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
    if let Err(error) = forget_code() {
        log::debug!("the program stays resident: {error}");
    }
}

#[expect(unsafe_code, reason = "the C library has no safe name for it")]
fn trim() {
    #[cfg(target_env = "gnu")]
    // SAFETY: it takes a number and touches only memory that nobody holds.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Lets go of the program's own pages, most of which were for starting: what goes on comes back from
/// the file as it is used.
#[expect(
    unsafe_code,
    reason = "whether memory can be forgotten is not for the compiler to say"
)]
fn forget_code() -> rustix::io::Result<()> {
    unsafe extern "C" {
        // The linker's: where the file begins, and where its code ends. In between nothing is ever
        // written, relocations included.
        static __ehdr_start: u8;
        static etext: u8;
    }
    let begin = &raw const __ehdr_start;
    let len = (&raw const etext).addr() - begin.addr();
    let whole_pages = len - len % rustix::param::page_size();
    // SAFETY: the pages are the file's, and have what they had when they are next looked at.
    unsafe { madvise(begin.cast_mut().cast(), whole_pages, Advice::LinuxDontNeed) }
}
