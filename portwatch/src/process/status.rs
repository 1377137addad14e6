//! /proc/PID/status: the credentials that the kernel's side could not tell.

use super::read;
use crate::event::Attempt;

/// Length of the file, which has a line for each group of the user.
const LEN: u64 = 1024 * 1024;

/// Adds effective user and parent to an attempt that lacks them, while its thread still exists.
pub fn describe(attempt: &mut Attempt) {
    if attempt.euid.is_some() {
        return;
    }
    let path = format!("/proc/{}/task/{}/status", attempt.tgid, attempt.tid);
    let Some(status) = read(&path, LEN).as_deref().and_then(Status::parse) else {
        return;
    };
    // Another real user: the number belongs to another thread by now, or the thread changed sides.
    if status.uid == attempt.uid {
        attempt.euid = Some(status.euid);
        attempt.ppid = status.ppid;
    }
}

/// The parent of a process that still exists.
pub fn parent(process: u32) -> Option<u32> {
    let status = read(&format!("/proc/{process}/status"), LEN)?;
    Status::parse(&status)?.ppid
}

/// The process that a thread belongs to, by the thread's number.
pub fn process_of_thread(tid: u32) -> Option<u32> {
    let status = read(&format!("/proc/{tid}/status"), LEN)?;
    numbers(&status, b"Tgid:")?.next()
}

/// The lines of /proc/PID/status that are of use (Documentation/filesystems/proc.rst).
#[derive(Debug, PartialEq, Eq)]
pub struct Status {
    /// 0 in the file stands for none: of the first processes, and of one that has just been buried
    /// (fs/proc/array.c, `task_state`)
    pub ppid: Option<u32>,
    pub uid: u32,
    pub euid: u32,
}

impl Status {
    /// `Name:` comes first and holds what the process likes, but the kernel escapes its line feeds.
    pub fn parse(status: &[u8]) -> Option<Self> {
        let mut uids = numbers(status, b"Uid:")?;
        Some(Self {
            ppid: Some(numbers(status, b"PPid:")?.next()?).filter(|&parent| parent != 0),
            uid: uids.next()?,
            euid: uids.next()?,
        })
    }
}

/// The numbers of the line that begins with `name`.
fn numbers<'a>(status: &'a [u8], name: &[u8]) -> Option<impl Iterator<Item = u32> + use<'a>> {
    let line = status
        .split(|&byte| byte == b'\n')
        .find_map(|line| line.strip_prefix(name))?;
    let words = str::from_utf8(line).ok()?.split_ascii_whitespace();
    Some(words.map_while(|word| word.parse().ok()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_effective_user_and_the_parent_are_found() {
        let status = b"Name:\tsu\nUmask:\t0022\nPid:\t7\nPPid:\t3\nUid:\t1000\t0\t0\t0\nGid:\t1000\t0\t0\t0\n";
        assert_eq!(
            Status::parse(status),
            Some(Status {
                ppid: Some(3),
                uid: 1000,
                euid: 0
            })
        );
    }

    #[test]
    fn who_is_buried_has_no_parent() {
        let status = b"PPid:\t0\nUid:\t1000\t0\t0\t0\n";
        assert_eq!(Status::parse(status).map(|status| status.ppid), Some(None));
    }

    #[test]
    fn a_name_cannot_pose_as_another_line() {
        let status = b"Name:\tx\\nUid:\t5\t5\nPPid:\t3\nUid:\t1000\t0\t0\t0\n";
        assert_eq!(Status::parse(status).map(|status| status.uid), Some(1000));
    }

    #[test]
    fn what_is_cut_short_is_nothing() {
        assert_eq!(Status::parse(b""), None);
        assert_eq!(Status::parse(b"PPid:\t3\nUid:\t1000\n"), None);
        assert_eq!(Status::parse(b"PPid:\t\nUid:\t1000\t0\n"), None);
    }
}
