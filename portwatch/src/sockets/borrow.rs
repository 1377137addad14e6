//! A duplicate of another process's socket, for a look (pidfd_getfd(2), since Linux 5.6; it takes
//! ptrace rights).
//!
//! To close a duplicate can wait for the one who is looked at: a file of a FUSE file system waits for
//! the user's own server, a socket with `SO_LINGER` for its far end. So only what the link in /proc
//! calls a socket is duplicated, and what may wait is closed by a thread that can be left behind.

use std::{
    io,
    os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd},
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};

use rustix::{
    fs::{CWD, fstat, readlinkat_raw},
    io::Errno,
    net::{AddressFamily, sockopt},
    process::{Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open},
};

use crate::event::{Lookup, PortRange, Unseen};

/// Duplicates that are being closed at once, at most: with so many nothing more is duplicated.
const CLOSING: usize = 16;

static CLOSERS: AtomicUsize = AtomicUsize::new(0);

/// The socket that a descriptor of a process, or of a thread, leads to, by its inode. Not there: the
/// descriptor leads to something else, or is closed.
pub(super) fn link(id: u32, fd: i32) -> Lookup<u32> {
    let mut link = [0_u8; 64];
    match readlinkat_raw(CWD, format!("/proc/{id}/fd/{fd}"), &mut link[..]) {
        Ok(len) => match inode(link.get(..len).unwrap_or_default()) {
            Some(inode) => Lookup::Found(inode),
            None => Lookup::NotThere,
        },
        Err(errno) => Lookup::NotSeen(Unseen::from(&io::Error::from(errno))),
    }
}

/// `socket:[4711]`
pub(super) fn inode(link: &[u8]) -> Option<u32> {
    let inode = link.strip_prefix(b"socket:[")?.strip_suffix(b"]")?;
    str::from_utf8(inode).ok()?.parse().ok()
}

/// A duplicate of a socket. While it lives, so does the socket: it is to be dropped at once.
#[derive(Debug)]
pub(super) struct Borrowed {
    file: Option<OwnedFd>,
    is_internet: bool,
    uid: u32,
}

impl Borrowed {
    /// The socket behind a descriptor of a process, if it is the one with this inode. Not there: the
    /// descriptor leads elsewhere by now.
    pub(super) fn new(tgid: u32, fd: i32, inode: u32) -> Lookup<Self> {
        if CLOSERS.load(Ordering::Relaxed) >= CLOSING {
            return Lookup::NotSeen(Unseen::Time);
        }
        let file = match duplicate(tgid, fd) {
            Ok(file) => file,
            Err(Errno::BADF) => return Lookup::NotThere,
            Err(errno) => return Lookup::NotSeen(Unseen::from(&io::Error::from(errno))),
        };
        let found = fstat(&file).ok();
        let duplicate = Self {
            is_internet: is_internet(file.as_fd()),
            uid: found.map_or(0, |found| found.st_uid),
            file: Some(file),
        };
        // Between the link and the duplicate the process may have put another file there.
        if found.is_some_and(|found| found.st_ino == u64::from(inode)) {
            Lookup::Found(duplicate)
        } else {
            Lookup::NotThere
        }
    }

    pub(super) const fn is_internet(&self) -> bool {
        self.is_internet
    }

    /// Who made the socket.
    pub(super) const fn uid(&self) -> u32 {
        self.uid
    }

    /// The interface that it is bound to (`SO_BINDTOIFINDEX`, older than pidfd_getfd).
    pub(super) fn device(&self) -> Option<u32> {
        let index = self.number(libc::SOL_SOCKET, libc::SO_BINDTOIFINDEX)?;
        (index != 0).then_some(index)
    }

    /// `IP_LOCAL_PORT_RANGE` (include/uapi/linux/in.h), since Linux 6.3
    pub(super) fn port_range(&self) -> Option<PortRange> {
        const IP_LOCAL_PORT_RANGE: libc::c_int = 51;
        let [a, b, c, d] = self
            .number(libc::IPPROTO_IP, IP_LOCAL_PORT_RANGE)?
            .to_le_bytes();
        PortRange::new(u16::from_le_bytes([a, b]), u16::from_le_bytes([c, d]))
    }

    #[expect(unsafe_code, reason = "rustix does not know these options")]
    fn number(&self, level: libc::c_int, option: libc::c_int) -> Option<u32> {
        let mut number: u32 = 0;
        let mut length = libc::socklen_t::try_from(size_of_val(&number)).ok()?;
        // SAFETY: the kernel writes at most `length` bytes there, and any are a number.
        let result = unsafe {
            libc::getsockopt(
                self.as_fd().as_raw_fd(),
                level,
                option,
                (&raw mut number).cast(),
                &raw mut length,
            )
        };
        (result == 0).then_some(number)
    }
}

fn duplicate(tgid: u32, fd: i32) -> Result<OwnedFd, Errno> {
    let pid = i32::try_from(tgid).ok().and_then(Pid::from_raw);
    let process = pidfd_open(pid.ok_or(Errno::SRCH)?, PidfdFlags::empty())?;
    pidfd_getfd(process, fd, PidfdGetfdFlags::empty())
}

impl AsFd for Borrowed {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file
            .as_ref()
            .expect("it is taken only when it is dropped")
            .as_fd()
    }
}

impl Drop for Borrowed {
    fn drop(&mut self) {
        let Some(duplicate) = self.file.take() else {
            return;
        };
        if self.is_internet && closes_at_once(duplicate.as_fd()) {
            return;
        }
        CLOSERS.fetch_add(1, Ordering::Relaxed);
        let close = move || {
            drop(duplicate);
            CLOSERS.fetch_sub(1, Ordering::Relaxed);
        };
        let closer = thread::Builder::new()
            .name("closer".to_owned())
            .spawn(close);
        if closer.is_err() {
            // The duplicate was dropped with the thread that could not be made.
            CLOSERS.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

fn is_internet(file: BorrowedFd<'_>) -> bool {
    let domain = sockopt::socket_domain(file);
    domain.is_ok_and(|domain| domain == AddressFamily::INET || domain == AddressFamily::INET6)
}

/// Internet sockets wait in close only to hand over what `SO_LINGER` keeps (net/ipv4/af_inet.c,
/// `inet_release`).
fn closes_at_once(file: BorrowedFd<'_>) -> bool {
    sockopt::socket_linger(file).is_ok_and(|linger| linger.is_none())
}

#[cfg(test)]
mod tests {
    use std::{
        io::Write as _,
        net::{TcpListener, TcpStream},
        os::fd::AsRawFd as _,
        time::Duration,
    };

    use super::*;

    fn own() -> u32 {
        std::process::id()
    }

    #[test]
    fn the_link_of_a_socket_has_its_inode() {
        assert_eq!(inode(b"socket:[4711]"), Some(4711));
        for other in [
            &b""[..],
            b"socket:[",
            b"socket:[]",
            b"socket:[99999999999]",
            b"pipe:[4711]",
            b"/tmp/socket:[4711]",
            b"socket:[4711] (deleted)",
        ] {
            assert_eq!(inode(other), None);
        }
    }

    #[test]
    fn ones_own_socket_is_borrowed_by_its_inode_alone() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let fd = listener.as_raw_fd();
        let inode = link(own(), fd).found().unwrap();
        assert!(Borrowed::new(own(), fd, inode).is_found());
        assert!(Borrowed::new(own(), fd, inode ^ 1).is_not_there());
    }

    #[test]
    fn a_file_is_no_socket_and_a_socket_need_not_be_of_the_internet() {
        let file = std::fs::File::open("/proc/self/stat").unwrap();
        assert!(link(own(), file.as_raw_fd()).is_not_there());
        let (local, _far) = std::os::unix::net::UnixStream::pair().unwrap();
        let fd = local.as_raw_fd();
        let inode = link(own(), fd).found().unwrap();
        let borrowed = Borrowed::new(own(), fd, inode).found().unwrap();
        assert!(!borrowed.is_internet());
    }

    #[test]
    fn a_closed_descriptor_and_a_missing_process_are_told_apart_from_absence() {
        assert_eq!(link(own(), 1_000_000), Lookup::NotSeen(Unseen::Gone));
        assert!(Borrowed::new(own(), 1_000_000, 1).is_not_there());
        assert_eq!(link(u32::MAX, 0), Lookup::NotSeen(Unseen::Gone));
    }

    /// The far end reads nothing, and the process has closed its own descriptor while the duplicate
    /// lived.
    #[test]
    fn a_socket_that_lingers_is_closed_elsewhere() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let _far = listener.accept().unwrap();
        sockopt::set_socket_linger(&stream, Some(Duration::from_secs(30))).unwrap();
        stream.set_nonblocking(true).unwrap();
        while (&stream).write(&[0; 4096]).is_ok() {}
        let fd = stream.as_raw_fd();
        let inode = link(own(), fd).found().unwrap();
        let borrowed = Borrowed::new(own(), fd, inode).found().unwrap();
        assert!(!closes_at_once(borrowed.as_fd()));
        drop(stream);
        drop(borrowed);
        assert_eq!(CLOSERS.load(Ordering::Relaxed), 1);
    }
}
