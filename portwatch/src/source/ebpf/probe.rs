//! What the kernel takes of eBPF, found by trying: nothing here reads a version.
//!
//! Every trial but the iterator's creates one small map or loads one two-instruction program and drops it
//! again.

use std::io;

use aya::{
    maps::MapType,
    programs::{ProgramError, ProgramType},
    sys::{SyscallError, is_map_supported, is_program_supported},
};

use super::{iterator, load::without_opening_files};
use crate::sockets::kernel::{Kernel as _, Ports};

/// How a trial ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Trial {
    Works,
    /// The kernel does not know it
    Unknown,
    /// The kernel did not let this process try: which call, and its errno
    Refused {
        call: &'static str,
        errno: i32,
    },
    /// Ended in some other way, in words
    Failed(String),
}

/// `bpf()` itself: an array map, the oldest there is (3.19).
pub(crate) fn syscall() -> Trial {
    map(MapType::Array)
}

/// `BPF_MAP_TYPE_RINGBUF` (5.8, kernel/bpf/ringbuf.c), one page of it.
pub(crate) fn ring_buffer() -> Trial {
    map(MapType::RingBuf)
}

/// `BPF_PROG_TYPE_KPROBE`: there only with `CONFIG_BPF_EVENTS` (`kernel/trace/bpf_trace.c`).
pub(crate) fn kprobe() -> Trial {
    program(ProgramType::KProbe)
}

/// `BPF_PROG_TYPE_TRACEPOINT`, likewise.
pub(crate) fn tracepoint() -> Trial {
    program(ProgramType::TracePoint)
}

/// A trampoline for real: loads a program for `bpf_fentry_test1` (`net/bpf/test_run.c`), a
/// function that exists to be tried on, and attaches it. arm64 before 6.4 loads it and refuses to attach.
///
/// Without BTF this says `Works` for any kernel that knows the program type.
pub(crate) fn fentry() -> Trial {
    program(ProgramType::Tracing)
}

/// Whether this process may load such a program at all, which is known without type information: a
/// program for no function is refused for that last.
pub(crate) fn tracing() -> Trial {
    without_opening_files(|| program(ProgramType::Tracing))
}

/// The iterator over open descriptors (5.8, kernel/bpf/task_iter.c), with its own program: one pass.
pub(crate) fn iterator() -> Trial {
    let opened = iterator::open();
    match opened.and_then(|mut files| Ok(files.descriptors(Ports::Kept, 1)?)) {
        Ok(_) => Trial::Works,
        Err(error) => refusal(&error).unwrap_or_else(|| Trial::Failed(format!("{error:#}"))),
    }
}

/// A want of permission, among what led to an error.
fn refusal(error: &anyhow::Error) -> Option<Trial> {
    let mut errors = error.chain().filter_map(|cause| cause.downcast_ref());
    let refused = errors.find(|error: &&io::Error| error.kind() == io::ErrorKind::PermissionDenied);
    Some(Trial::Refused {
        call: "bpf",
        errno: refused?.raw_os_error()?,
    })
}

fn map(kind: MapType) -> Trial {
    match is_map_supported(kind) {
        Ok(known) => Trial::from(known),
        Err(error) => Trial::from(&error),
    }
}

fn program(kind: ProgramType) -> Trial {
    match is_program_supported(kind) {
        Ok(known) => Trial::from(known),
        Err(ProgramError::SyscallError(error)) => Trial::from(&error),
        Err(error) => Trial::Failed(error.to_string()),
    }
}

impl From<bool> for Trial {
    fn from(known: bool) -> Self {
        if known { Self::Works } else { Self::Unknown }
    }
}

impl From<&SyscallError> for Trial {
    fn from(error: &SyscallError) -> Self {
        let SyscallError { call, io_error } = error;
        match io_error.raw_os_error() {
            Some(errno) => Self::Refused { call, errno },
            None => Self::Failed(format!("{call}: {io_error}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_keeps_its_errno() {
        let error = SyscallError {
            call: "bpf_map_create",
            io_error: io::Error::from_raw_os_error(1),
        };
        assert_eq!(
            Trial::from(&error),
            Trial::Refused {
                call: "bpf_map_create",
                errno: 1
            }
        );
    }

    #[test]
    fn an_unknown_type_is_not_a_refusal() {
        assert_eq!(Trial::from(false), Trial::Unknown);
        assert_eq!(Trial::from(true), Trial::Works);
    }
}
