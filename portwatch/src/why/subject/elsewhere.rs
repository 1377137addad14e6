//! macOS: whoever asks is an effective user, and of no other process is anything looked up.

use super::{NoPerson, Person};

/// As Linux has them, as far as there is such a thing.
pub(super) struct Credentials {
    pub(super) uid: Ids,
    pub(super) cap_effective: u64,
    pub(super) cap_bounding: u64,
    pub(super) user_ns: Option<u32>,
    pub(super) seccomp: Option<u8>,
}

pub(super) struct Ids {
    pub(super) effective: u32,
}

impl Credentials {
    /// Of this process alone.
    pub(super) fn of_pid(pid: u32) -> Option<Self> {
        (pid == std::process::id()).then(|| Self {
            uid: Ids {
                effective: rustix::process::geteuid().as_raw(),
            },
            cap_effective: 0,
            cap_bounding: 0,
            user_ns: None,
            seccomp: None,
        })
    }
}

/// The question is refused before.
pub(super) const fn process(tgid: u32) -> Result<Person, NoPerson> {
    Err(NoPerson::Process(tgid))
}
