//! Links, as far as aya does not pass on what the kernel offers: what it tells of one, and iterators,
//! of which aya makes one pass and then has no link any more.
//!
//! Only the `bpf()` system call tells how often a kprobe was skipped: the link's fdinfo does not,
//! in the kernels tested.

use std::{
    fs::{self, File},
    io,
    os::fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd, RawFd},
};

/// `BPF_OBJ_GET_INFO_BY_FD` (include/uapi/linux/bpf.h)
const OBJ_GET_INFO_BY_FD: libc::c_int = 15;
/// `BPF_LINK_CREATE`, `BPF_ITER_CREATE`
const LINK_CREATE: libc::c_int = 28;
const ITER_CREATE: libc::c_int = 33;
/// `BPF_TRACE_ITER`
const TRACE_ITER: u32 = 28;
/// `BPF_LINK_TYPE_PERF_EVENT`
const PERF_EVENT: u32 = 7;
/// `BPF_PERF_EVENT_KPROBE`, `BPF_PERF_EVENT_KRETPROBE`
const KPROBE: u32 = 3;
const KRETPROBE: u32 = 4;
/// Longer than the name of any function that is hooked
const NAME: usize = 64;

/// `struct bpf_link_info` of a perf event link with a kprobe, up to where the skipped runs stand.
#[repr(C)]
#[derive(Default)]
struct Info {
    link_type: u32,
    link: u32,
    program: u32,
    padding: u32,
    event_type: u32,
    event_padding: u32,
    /// A pointer to so many bytes, which the caller provides
    name: u64,
    name_len: u32,
    offset: u32,
    address: u64,
    missed: u64,
}

const _: () = assert!(size_of::<Info>() == 56);

/// `union bpf_attr` for that command.
#[repr(C)]
struct Request {
    fd: u32,
    info_len: u32,
    info: u64,
}

/// `union bpf_attr` of `BPF_LINK_CREATE`, for an iterator over all there is.
#[repr(C)]
#[derive(Default)]
struct NewLink {
    program: u32,
    target: u32,
    attach_type: u32,
    flags: u32,
    info: u64,
    info_len: u32,
    padding: u32,
}

/// `union bpf_attr` of `BPF_ITER_CREATE`.
#[repr(C)]
struct NewPass {
    link: u32,
    flags: u32,
}

/// A link to an iterator's program, from which each pass is made.
pub(super) fn of_iterator(program: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let mut request = NewLink {
        program: program.as_raw_fd().cast_unsigned(),
        attach_type: TRACE_ITER,
        ..NewLink::default()
    };
    create(LINK_CREATE, &mut request)
}

/// One pass of an iterator: its rows are what is read from the file.
pub(super) fn pass(link: BorrowedFd<'_>) -> io::Result<File> {
    let mut request = NewPass {
        link: link.as_raw_fd().cast_unsigned(),
        flags: 0,
    };
    create(ITER_CREATE, &mut request).map(File::from)
}

/// A command that makes a descriptor.
#[expect(unsafe_code, reason = "no library passes this on")]
fn create<T>(command: libc::c_int, request: &mut T) -> io::Result<OwnedFd> {
    // SAFETY: the kernel reads the request, which is as long as its size, and writes to nothing.
    let made = unsafe { libc::syscall(libc::SYS_bpf, command, &raw mut *request, size_of::<T>()) };
    let Ok(made @ 0..) = RawFd::try_from(made) else {
        return Err(io::Error::last_os_error());
    };
    // SAFETY: the kernel has just made it, so nobody else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(made) })
}

/// What a kprobe's link tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Probe {
    /// As hooks are named: `kprobe:inet_bind`
    pub(super) hook: String,
    /// Runs that were skipped
    pub(super) missed: u64,
}

/// What is known of a perf event's link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PerfLink {
    /// Of a kprobe
    pub(super) probe: Option<Probe>,
    /// The kernel knows the field for skipped runs, and so counts those of programs too: both came
    /// in one series (Linux 6.7, `trace_call_bpf`, kernel/trace/bpf_trace.c)
    pub(super) counts: bool,
}

/// What the kernel tells of each descriptor of this process.
pub(super) const FDINFO: &str = "/proc/self/fdinfo";

pub(super) fn fdinfo(fd: RawFd) -> io::Result<String> {
    fs::read_to_string(format!("{FDINFO}/{fd}"))
}

/// The links among this process's descriptors: aya does not lend those that it has.
pub(super) fn open_links() -> io::Result<Vec<RawFd>> {
    let mut links = Vec::new();
    for entry in fs::read_dir(FDINFO)? {
        let name = entry?.file_name();
        let fd = name.to_str().and_then(|name| name.parse().ok());
        // That of the directory itself is closed by the time it is read.
        let is_link = |&fd: &RawFd| fdinfo(fd).is_ok_and(|info| info.contains("\nlink_id:"));
        links.extend(fd.filter(is_link));
    }
    Ok(links)
}

/// Reads a link; `None` for what is no link of a perf event.
pub(super) fn read(link: BorrowedFd<'_>) -> Option<PerfLink> {
    let mut name = [0u8; NAME];
    let mut info = Info {
        name: name.as_mut_ptr().expose_provenance() as u64,
        name_len: u32::try_from(NAME).ok()?,
        ..Info::default()
    };
    let written = get_info(link, &mut info)?;
    if info.link_type != PERF_EVENT {
        return None;
    }
    let prefix = match info.event_type {
        KPROBE => Some("kprobe"),
        KRETPROBE => Some("kretprobe"),
        _ => None,
    };
    let name = name.split(|&byte| byte == 0).next().unwrap_or_default();
    Some(PerfLink {
        probe: prefix.map(|prefix| Probe {
            hook: format!("{prefix}:{}", String::from_utf8_lossy(name)),
            missed: info.missed,
        }),
        counts: written >= size_of::<Info>(),
    })
}

/// Fills `info`, and gives how many bytes of it the kernel knows.
#[expect(unsafe_code, reason = "no library passes this on")]
fn get_info(link: BorrowedFd<'_>, info: &mut Info) -> Option<usize> {
    let mut request = Request {
        fd: link.as_raw_fd().cast_unsigned(),
        info_len: u32::try_from(size_of::<Info>()).ok()?,
        info: (&raw mut *info).expose_provenance() as u64,
    };
    // SAFETY: the kernel writes at most `info_len` bytes to `info`, and `NAME` to the name that
    // it points to; both live until the call is over, and any bytes are values of theirs.
    let status = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            OBJ_GET_INFO_BY_FD,
            &raw mut request,
            size_of::<Request>(),
        )
    };
    (status == 0).then_some(request.info_len as usize)
}
