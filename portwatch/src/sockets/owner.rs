//! From the inode of a socket to the processes that have it open.

use std::{
    collections::HashMap,
    fs,
    os::{fd::OwnedFd, linux::fs::MetadataExt as _},
    path::Path,
    time::Instant,
};

use rustix::fs::{CWD, fstat, readlinkat_raw};

use super::borrow;
use crate::process;

/// A process, and the descriptor that leads to the socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Owner {
    pub(super) tgid: u32,
    pub(super) fd: i32,
}

/// What a walk through all processes found.
#[derive(Debug, Default)]
pub(super) struct Owners {
    by_inode: HashMap<u32, Vec<Owner>>,
    /// Every process could be looked at: what has no owner here has none
    pub(super) complete: bool,
}

/// The process that keeps sockets open for others.
const INIT: u32 = 1;

impl Owners {
    /// Goes through the descriptors of all processes until each inode has an owner, or the time
    /// is up. systemd keeps the sockets that it hands to its services, so for these it goes on:
    /// the service has them too.
    pub(super) fn find(inodes: &[u32], until: Instant) -> Self {
        let mut found = Self::default();
        let mut missing: Vec<u32> = inodes.to_vec();
        let mut complete = sees_all_processes();
        for tgid in process::all() {
            if missing.is_empty() {
                break;
            }
            if Instant::now() >= until {
                complete = false;
                break;
            }
            let seen = each_socket(tgid, |fd, inode| {
                if inodes.contains(&inode) {
                    found.note(inode, Owner { tgid, fd });
                    missing.retain(|&other| other != inode || tgid == INIT);
                }
            });
            complete &= seen;
        }
        found.complete = complete;
        found
    }

    fn note(&mut self, inode: u32, owner: Owner) {
        let owners = self.by_inode.entry(inode).or_default();
        if owners.iter().all(|other| other.tgid != owner.tgid) {
            owners.push(owner);
        }
    }

    pub(super) fn of(&self, inode: u32) -> &[Owner] {
        self.by_inode.get(&inode).map_or(&[], Vec::as_slice)
    }
}

/// Whether /proc shows every process of the host: those in other pid namespaces than the first
/// one do not see all, and `hidepid` hides those of others.
fn sees_all_processes() -> bool {
    /// `PROC_PID_INIT_INO` (include/linux/proc_ns.h)
    const FIRST: u64 = 0xEFFF_FFFC;
    let namespace = fs::metadata("/proc/self/ns/pid");
    namespace.is_ok_and(|found| found.st_ino() == FIRST) && fs::read_dir("/proc/1/fd").is_ok()
}

/// Tells of each descriptor of a process that is a socket, with its inode; false where it may not
/// be looked at.
pub(super) fn each_socket(tgid: u32, mut tell: impl FnMut(i32, u32)) -> bool {
    let directory = format!("/proc/{tgid}/fd");
    let mut any = false;
    let mut look = |directory: &str| {
        for_each_descriptor(directory, |fd, inode| {
            any = true;
            if let Some(inode) = inode {
                tell(fd, inode);
            }
        })
    };
    let allowed = look(&directory);
    if !allowed || any {
        return allowed;
    }
    // A process whose first thread has ended shows its descriptors only through the others.
    let threads = fs::read_dir(format!("/proc/{tgid}/task"));
    threads
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok())
        .find(|&tid| tid != tgid)
        .is_none_or(|tid| {
            for_each_descriptor(&format!("/proc/{tgid}/task/{tid}/fd"), |fd, inode| {
                if let Some(inode) = inode {
                    tell(fd, inode);
                }
            })
        })
}

/// The links are read, not followed: files on a network could make that wait.
fn for_each_descriptor(directory: &str, mut tell: impl FnMut(i32, Option<u32>)) -> bool {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        // It has ended meanwhile.
        Err(error) => return error.kind() != std::io::ErrorKind::PermissionDenied,
    };
    let mut link = [0_u8; 64];
    for entry in entries.flatten() {
        let name = entry.file_name();
        let Some(fd) = name.to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        let path = Path::new(directory).join(&name);
        let len = readlinkat_raw(CWD, &path, &mut link[..]).unwrap_or(0);
        tell(fd, socket_inode(link.get(..len).unwrap_or_default()));
    }
    true
}

/// `socket:[4711]`
fn socket_inode(link: &[u8]) -> Option<u32> {
    let inode = link.strip_prefix(b"socket:[")?.strip_suffix(b"]")?;
    str::from_utf8(inode).ok()?.parse().ok()
}

impl Owner {
    /// A duplicate of the socket, if the descriptor still leads to it. While it lives, so does the
    /// socket: it is to be dropped at once.
    pub(super) fn socket(self, inode: u32) -> Option<OwnedFd> {
        let socket = self.any_socket()?;
        let found = fstat(&socket).ok()?;
        (found.st_ino == u64::from(inode)).then_some(socket)
    }

    /// The same, wherever the descriptor leads by now.
    pub(super) fn any_socket(self) -> Option<OwnedFd> {
        borrow(self.tgid, self.fd)
    }
}

#[cfg(test)]
mod tests {
    use std::{net::TcpListener, os::fd::AsRawFd as _, time::Duration};

    use super::*;

    #[test]
    fn the_link_of_a_socket_has_its_inode() {
        assert_eq!(socket_inode(b"socket:[4711]"), Some(4711));
        for other in [
            &b""[..],
            b"socket:[",
            b"socket:[]",
            b"socket:[99999999999]",
            b"pipe:[4711]",
            b"/tmp/socket:[4711]",
            b"socket:[4711] (deleted)",
        ] {
            assert_eq!(socket_inode(other), None);
        }
    }

    #[test]
    fn ones_own_socket_is_found() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let inode = u32::try_from(fstat(&listener).unwrap().st_ino).unwrap();
        let owners = Owners::find(&[inode], Instant::now() + Duration::from_mins(1));
        let own = Owner {
            tgid: std::process::id(),
            fd: listener.as_raw_fd(),
        };
        assert!(owners.of(inode).contains(&own), "{owners:?}");
        assert!(own.socket(inode).is_some());
        assert!(own.socket(inode ^ 1).is_none());
    }

    #[test]
    fn a_walk_that_had_no_time_is_not_complete() {
        let owners = Owners::find(&[u32::MAX], Instant::now());
        assert!(!owners.complete);
        assert_eq!(owners.of(u32::MAX), []);
    }
}
