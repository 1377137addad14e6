//! System calls with arguments that std and rustix do not let pass, and addresses as bytes.

use std::{
    ffi::{CStr, c_int, c_void},
    io,
    net::SocketAddr,
    os::fd::{AsFd, AsRawFd, RawFd},
    os::unix::fs::MetadataExt as _,
    time::Duration,
};

use anyhow::{Context as _, Result};
use rustix::{
    mount::{MountPropagationFlags, mount_change},
    net::{AddressFamily, SocketType, socket},
    thread::{Gid, Uid, UnshareFlags},
};

use super::truth::Op;

/// Length of `struct sockaddr_in` and `struct sockaddr_in6`
pub(crate) const IPV4_LEN: u32 = 16;
pub(crate) const IPV6_LEN: u32 = 28;

/// `bind(fd, address, len)` or `connect(…)` as given: 0, or the negative errno. Of
/// `listen()` the backlog takes the place of the address.
///
/// The address is a number because some of those passed here are no pointers at all.
pub(crate) fn attempt(op: Op, fd: RawFd, address: usize, len: u32) -> i32 {
    let number = match op {
        Op::Bind => libc::SYS_bind,
        Op::Connect => libc::SYS_connect,
        Op::Listen => libc::SYS_listen,
    };
    let pointer = std::ptr::with_exposed_provenance::<c_void>(address);
    // SAFETY: the calls only read from the address, and the kernel checks that it can.
    let result = unsafe { libc::syscall(number, fd, pointer, len) };
    if result == 0 {
        0
    } else {
        -io::Error::last_os_error().raw_os_error().unwrap_or(0)
    }
}

/// `struct sockaddr_in` or `struct sockaddr_in6`
pub(crate) fn sockaddr(address: SocketAddr) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(IPV6_LEN as usize);
    bytes.extend(family_number(address).to_ne_bytes());
    bytes.extend(address.port().to_be_bytes());
    match address {
        SocketAddr::V4(v4) => {
            bytes.extend(v4.ip().octets());
            bytes.extend([0; 8]);
        }
        SocketAddr::V6(v6) => {
            bytes.extend(v6.flowinfo().to_be_bytes());
            bytes.extend(v6.ip().octets());
            bytes.extend(v6.scope_id().to_ne_bytes());
        }
    }
    bytes
}

fn family_number(address: SocketAddr) -> u16 {
    match address {
        SocketAddr::V4(_) => AddressFamily::INET.as_raw(),
        SocketAddr::V6(_) => AddressFamily::INET6.as_raw(),
    }
}

/// Moves the calling thread to a network namespace of its own, in which only loopback is up.
pub(crate) fn enter_own_netns() -> Result<()> {
    enter_empty_netns()?;
    raise_loopback().context("cannot bring up lo")
}

/// The same with loopback down too.
pub(crate) fn enter_empty_netns() -> Result<()> {
    // SAFETY: of the flags only FILES is dangerous.
    unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNET) }.context("unshare(CLONE_NEWNET)")
}

/// Gives the calling thread descriptors that no other thread has: those that it opens from here on.
pub(crate) fn own_descriptors() -> Result<()> {
    // SAFETY: descriptors of the others stay what they are in this thread, which closes none.
    unsafe { rustix::thread::unshare_unsafe(UnshareFlags::FILES) }.context("unshare(CLONE_FILES)")
}

/// Of the calling thread's network namespace.
pub(crate) fn raise_loopback() -> io::Result<()> {
    let control = socket(AddressFamily::INET, SocketType::DGRAM, None)?;
    // SAFETY: integers and arrays of them, for which zero is a value.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(b"lo") {
        *to = libc::c_char::from_ne_bytes([*from]);
    }
    request.ifr_ifru.ifru_flags = 1;
    debug_assert_eq!(libc::IFF_UP, 1);
    // SAFETY: SIOCSIFFLAGS reads one `struct ifreq`.
    match unsafe { libc::ioctl(control.as_raw_fd(), libc::SIOCSIFFLAGS, &raw const request) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// `SO_BINDTODEVICE`
pub(crate) fn bind_to_device(socket: &impl AsRawFd, name: &str) -> Result<()> {
    let length = libc::socklen_t::try_from(name.len())?;
    // SAFETY: the kernel reads that many bytes from there.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_BINDTODEVICE,
            name.as_ptr().cast(),
            length,
        )
    };
    match result {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()).context("SO_BINDTODEVICE"),
    }
}

/// Sets an option of a socket that rustix does not know, to 1.
pub(crate) fn set_flag(socket: impl AsFd, level: c_int, option: c_int) -> io::Result<()> {
    let one: c_int = 1;
    set_option(socket, level, option, &one.to_ne_bytes())
}

/// Sets an option of a socket that rustix does not know.
pub(crate) fn set_option(
    socket: impl AsFd,
    level: c_int,
    option: c_int,
    value: &[u8],
) -> io::Result<()> {
    let length = libc::socklen_t::try_from(value.len()).unwrap_or(libc::socklen_t::MAX);
    let fd = socket.as_fd().as_raw_fd();
    // SAFETY: the kernel reads as many bytes as the value has.
    match unsafe { libc::setsockopt(fd, level, option, value.as_ptr().cast(), length) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Sets a setting of the calling thread's network namespace: /proc/sys/net shows each its own.
pub(crate) fn set_net(name: &str, value: &str) -> Result<()> {
    let path = format!("/proc/sys/net/{name}");
    std::fs::write(&path, value).with_context(|| format!("cannot write {value:?} to {path}"))
}

/// Inode of the calling thread's network namespace.
pub(crate) fn netns() -> Result<u64> {
    Ok(std::fs::metadata("/proc/thread-self/ns/net")?.ino())
}

/// Runs something in the network namespace of another process.
pub(crate) fn in_netns_of<T: Send>(
    pid: u32,
    action: impl FnOnce() -> Result<T> + Send,
) -> Result<T> {
    let namespace = std::fs::File::open(format!("/proc/{pid}/ns/net"))?;
    on_own_thread(move || {
        let kind = rustix::thread::LinkNameSpaceType::Network;
        rustix::thread::move_into_link_name_space(namespace.as_fd(), Some(kind))?;
        action()
    })
}

/// Runs something, and the processes that it starts, in a network namespace of its own.
pub(crate) fn in_own_netns<T: Send>(action: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    on_own_thread(|| {
        enter_own_netns()?;
        action()
    })
}

/// The same in one in which nothing is up.
pub(crate) fn in_empty_netns<T: Send>(action: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    on_own_thread(|| {
        enter_empty_netns()?;
        action()
    })
}

/// Runs something, and the processes that it starts, in a mount namespace of its own, whose mounts
/// nobody else sees.
pub(crate) fn in_own_mntns<T: Send>(action: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    on_own_thread(|| {
        // SAFETY: of the flags only FILES is dangerous.
        unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNS) }
            .context("unshare(CLONE_NEWNS)")?;
        let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
        mount_change("/", private).context("cannot keep mounts private")?;
        action()
    })
}

/// Namespaces belong to threads: this one ends with the action.
fn on_own_thread<T: Send>(action: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    std::thread::scope(|scope| scope.spawn(action).join())
        .unwrap_or_else(|_| Err(anyhow::anyhow!("the thread in its own namespace panicked")))
}

/// Gives up root for good: real, effective and saved ids, and all groups.
///
/// For the calling thread only, so it comes before any other thread is started.
pub(crate) fn become_user(uid: u32) -> Result<()> {
    let (user, group) = (Uid::from_raw(uid), Gid::from_raw(uid));
    rustix::thread::set_thread_groups(&[])?;
    rustix::thread::set_thread_res_gid(group, group, group)?;
    rustix::thread::set_thread_res_uid(user, user, user)?;
    Ok(())
}

/// Blocks until a connection waits to be accepted.
pub(crate) fn wait_for_connection(listener: RawFd) -> Result<()> {
    let mut poll = libc::pollfd {
        fd: listener,
        events: libc::POLLIN,
        revents: 0,
    };
    // SAFETY: one `struct pollfd`, as said by the count.
    match unsafe { libc::poll(&raw mut poll, 1, -1) } {
        1 => Ok(()),
        _ => Err(io::Error::last_os_error()).context("poll"),
    }
}

/// `delete_module(2)`, which waits for nobody.
pub(crate) fn unload_module(name: &CStr) -> io::Result<()> {
    // SAFETY: the kernel reads the name up to its end.
    match unsafe { libc::syscall(libc::SYS_delete_module, name.as_ptr(), libc::O_NONBLOCK) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// The name that /etc/passwd has for a uid.
pub(crate) fn user_name(uid: u32) -> Option<String> {
    let passwd = std::fs::read_to_string("/etc/passwd").ok()?;
    let line = passwd
        .lines()
        .find(|line| line.split(':').nth(2) == Some(uid.to_string().as_str()))?;
    line.split(':').next().map(str::to_owned)
}

/// CPU time of the children that were waited for.
pub(crate) fn time_of_children() -> Result<Duration> {
    // SAFETY: integers, for which zero is a value.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: the kernel writes one `struct rusage`.
    if unsafe { libc::getrusage(libc::RUSAGE_CHILDREN, &raw mut usage) } != 0 {
        return Err(io::Error::last_os_error()).context("getrusage");
    }
    let time = |time: libc::timeval| -> Result<Duration> {
        let whole = Duration::from_secs(time.tv_sec.try_into()?);
        Ok(whole + Duration::from_micros(time.tv_usec.try_into()?))
    };
    Ok(time(usage.ru_utime)? + time(usage.ru_stime)?)
}

/// Whether the kernel is older than that version.
pub(crate) fn is_before(major: u32, minor: u32) -> Result<bool> {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease")?;
    let mut numbers = release.split(['.', '-']).map(str::parse);
    let (Some(Ok(found)), Some(Ok(then))) = (numbers.next(), numbers.next()) else {
        anyhow::bail!("no version in {release:?}");
    };
    Ok((found, then) < (major, minor))
}

/// Whether the kernel has a function of that name.
pub(crate) fn has_function(name: &str) -> Result<bool> {
    let symbols = std::fs::read_to_string("/proc/kallsyms")?;
    let mut names = symbols
        .lines()
        .filter_map(|line| line.split_whitespace().nth(2));
    Ok(names.any(|symbol| symbol == name))
}
