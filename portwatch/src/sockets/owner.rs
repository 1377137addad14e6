//! From the inode of a socket to the processes that have it open, by a walk over /proc.

use std::{collections::HashMap, fs, io, os::linux::fs::MetadataExt as _};

use rustix::fs::{Mode, OFlags, open, readlinkat_raw};

use super::borrow;
use crate::{event::Unseen, process};

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
    /// Why an owner may have been missed; `None` where what has no owner here has none
    pub(super) unseen: Option<Unseen>,
}

/// The process that keeps sockets open for others.
const INIT: u32 = 1;

impl Owners {
    /// Goes through the descriptors of all processes, the newest first, until each inode has an owner.
    /// systemd keeps the sockets that it hands to its services, so for these it goes on: the service
    /// has them too.
    pub(super) fn find(inodes: &[u32]) -> Self {
        let mut found = Self::default();
        let mut missing: Vec<u32> = inodes.to_vec();
        let mut processes: Vec<u32> = process::all().collect();
        processes.reverse();
        let mut unseen = hidden_processes();
        for look in [each_socket, each_socket_of_threads] {
            for &tgid in &processes {
                if missing.is_empty() {
                    break;
                }
                let whole = look(tgid, &mut |fd, inode| {
                    if inodes.contains(&inode) {
                        found.note(inode, Owner { tgid, fd });
                        missing.retain(|&other| other != inode || tgid == INIT);
                    }
                });
                unseen = unseen.or(whole.err());
            }
        }
        found.unseen = unseen;
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

/// Why /proc does not show every process of the host: those in other pid namespaces than the first
/// one do not see all, and `hidepid` hides those of others.
pub(super) fn hidden_processes() -> Option<Unseen> {
    /// `PROC_PID_INIT_INO` (include/linux/proc_ns.h)
    const FIRST: u64 = 0xEFFF_FFFC;
    let namespace = fs::metadata("/proc/self/ns/pid");
    if !namespace.is_ok_and(|found| found.st_ino() == FIRST) {
        return Some(Unseen::Namespace);
    }
    match fs::read_dir("/proc/1/fd") {
        Ok(_) => None,
        Err(_) => Some(Unseen::Permission),
    }
}

/// Tells of each descriptor of a process that is a socket, with its inode.
///
/// # Errors
///
/// Where it may not be looked at. A process that has ended has none.
pub(super) fn each_socket(tgid: u32, tell: &mut dyn FnMut(i32, u32)) -> Result<(), Unseen> {
    for_each_socket(&format!("/proc/{tgid}/fd"), tell)
}

/// The same of the descriptors that its other threads have for themselves; and of all where its first
/// thread has ended, for then only the others show them.
pub(super) fn each_socket_of_threads(
    tgid: u32,
    tell: &mut dyn FnMut(i32, u32),
) -> Result<(), Unseen> {
    for tid in threads(tgid).filter(|&tid| tid != tgid) {
        if !share_descriptors(tgid, tid) {
            for_each_socket(&format!("/proc/{tgid}/task/{tid}/fd"), tell)?;
        }
    }
    Ok(())
}

/// Whether two threads are known to have the same descriptors (kcmp(2)).
#[expect(unsafe_code, reason = "rustix has no kcmp")]
fn share_descriptors(one: u32, other: u32) -> bool {
    const KCMP_FILES: libc::c_int = 2;
    // SAFETY: it takes numbers and returns one.
    let same = unsafe { libc::syscall(libc::SYS_kcmp, one, other, KCMP_FILES, 0, 0) };
    same == 0
}

fn threads(tgid: u32) -> impl Iterator<Item = u32> {
    let threads = fs::read_dir(format!("/proc/{tgid}/task"));
    let names = threads.into_iter().flatten().flatten();
    names.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// The links are read, not followed: files on a network could make that wait. They are read from the
/// directory, which saves the way to it.
fn for_each_socket(path: &str, tell: &mut dyn FnMut(i32, u32)) -> Result<(), Unseen> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let opened = open(path, flags, Mode::empty()).map_err(io::Error::from);
    let opened = opened.and_then(|directory| {
        let entries = rustix::fs::Dir::read_from(&directory)?;
        Ok((directory, entries))
    });
    let (directory, entries) = match opened {
        Ok(opened) => opened,
        Err(error) => {
            return match Unseen::from(&error) {
                // It has ended meanwhile.
                Unseen::Gone => Ok(()),
                why => Err(why),
            };
        }
    };
    let mut link = [0_u8; 64];
    for entry in entries.flatten() {
        let Some(fd) = number(entry.file_name()) else {
            continue;
        };
        let len = readlinkat_raw(&directory, entry.file_name(), &mut link[..]).unwrap_or(0);
        if let Some(inode) = borrow::inode(link.get(..len).unwrap_or_default()) {
            tell(fd, inode);
        }
    }
    Ok(())
}

fn number(name: &std::ffi::CStr) -> Option<i32> {
    name.to_str().ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::{net::TcpListener, os::fd::AsRawFd as _};

    use rustix::fs::fstat;

    use super::*;

    #[test]
    fn ones_own_socket_is_found() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let inode = u32::try_from(fstat(&listener).unwrap().st_ino).unwrap();
        let owners = Owners::find(&[inode]);
        let own = Owner {
            tgid: std::process::id(),
            fd: listener.as_raw_fd(),
        };
        assert!(owners.of(inode).contains(&own), "{owners:?}");
    }

    #[test]
    fn threads_that_share_their_descriptors_are_looked_at_once() {
        let own = std::process::id();
        let (tell, told) = std::sync::mpsc::channel();
        let (end, ended) = std::sync::mpsc::channel::<()>();
        let thread = std::thread::spawn(move || {
            let tid = rustix::thread::gettid().as_raw_nonzero().get();
            tell.send(u32::try_from(tid).unwrap()).unwrap();
            assert!(ended.recv().is_err());
        });
        assert!(share_descriptors(own, told.recv().unwrap()));
        assert!(!share_descriptors(own, u32::MAX));
        drop(end);
        thread.join().unwrap();
    }
}
