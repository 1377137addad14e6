//! Network namespaces of other processes, and how to look around in one.
//!
//! A thread that has entered a namespace stays there, so each visit has a thread of its own that
//! ends with it. (/proc/sys/net and netlink sockets are those of the namespace of the thread that
//! opens them: net/sysctl_net.c, `net_ctl_header_lookup`.)
//!
//! A namespace is held open only for the visit: whoever holds one keeps its interfaces alive
//! when everybody else has gone. What is remembered is where one was found.

mod find;

use std::{
    fs::File,
    io,
    os::{
        fd::{AsFd as _, OwnedFd},
        linux::fs::MetadataExt as _,
    },
    path::Path,
    thread,
};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

pub use self::find::{Namespaces, Place};
use crate::nsfs;

/// The one of the thread that looks.
const CURRENT: &str = "/proc/thread-self/ns/net";

/// A network namespace, held open.
#[derive(Debug)]
pub struct Namespace {
    inode: u32,
    file: OwnedFd,
}

impl Namespace {
    /// The one that portwatch is in.
    pub fn own() -> io::Result<Self> {
        Self::open(CURRENT)
    }

    /// The one that a process is in now.
    pub fn of_process(tgid: u32) -> io::Result<Self> {
        Self::open(format!("/proc/{tgid}/ns/net"))
    }

    /// The inode of the one that a process is in now, without a descriptor for it.
    pub fn inode_of_process(tgid: u32) -> Option<u32> {
        let found = std::fs::metadata(format!("/proc/{tgid}/ns/net")).ok()?;
        u32::try_from(found.st_ino()).ok()
    }

    /// By a file that stands for it; of another file, `NotFound`.
    fn open(path: impl AsRef<Path>) -> io::Result<Self> {
        let file = File::open(path)?;
        if !nsfs::is_network(&file).unwrap_or(false) {
            return Err(io::ErrorKind::NotFound.into());
        }
        Self::new(file.into())
    }

    /// By a descriptor of it.
    pub fn new(file: OwnedFd) -> io::Result<Self> {
        let inode = nsfs::inode(&file).ok_or(io::ErrorKind::InvalidData)?;
        Ok(Self { inode, file })
    }

    pub const fn inode(&self) -> u32 {
        self.inode
    }

    /// The inode of the user namespace that owns it: capabilities count there.
    pub fn owner(&self) -> Option<u32> {
        nsfs::inode(self.owned_by()?)
    }

    /// The user namespace that owns it, held open; `None` where it is not portwatch's own, nor below it.
    pub fn owned_by(&self) -> Option<OwnedFd> {
        nsfs::owner(&self.file).ok()
    }

    /// Looks around in it. Entering another one than one's own takes `CAP_SYS_ADMIN`, here and in
    /// the user namespace that owns it.
    pub fn visit<T: Send>(&self, look: impl FnOnce() -> T + Send) -> io::Result<T> {
        if current() == Some(self.inode) {
            return Ok(look());
        }
        thread::scope(|scope| {
            let visit = || {
                move_into_link_name_space(self.file.as_fd(), Some(LinkNameSpaceType::Network))?;
                Ok(look())
            };
            let visitor = thread::Builder::new()
                .name("visitor".to_owned())
                .spawn_scoped(scope, visit)?;
            visitor
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }
}

fn current() -> Option<u32> {
    u32::try_from(std::fs::metadata(CURRENT).ok()?.st_ino()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_visit_at_home_needs_no_thread_and_no_privilege() {
        let home = thread::current().id();
        let own = Namespace::own().unwrap();
        assert_eq!(own.visit(|| thread::current().id()).unwrap(), home);
        assert_eq!(current(), Some(own.inode()));
    }

    #[test]
    fn a_process_is_in_the_namespace_that_its_threads_began_in() {
        let own = Namespace::own().unwrap();
        let of_process = Namespace::of_process(std::process::id()).unwrap();
        assert_eq!(own.inode(), of_process.inode());
        assert_eq!(own.owner(), of_process.owner());
    }

    #[test]
    fn a_process_that_is_not_there_has_none() {
        assert!(Namespace::of_process(u32::MAX).is_err());
    }

    #[test]
    fn a_file_that_stands_for_no_network_namespace_is_refused() {
        for path in ["/dev/null", "/proc/self/ns/user", "/proc/self/status"] {
            assert!(Namespace::open(path).is_err(), "{path}");
        }
    }
}
