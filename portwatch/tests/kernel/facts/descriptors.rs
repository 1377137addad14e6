//! Open descriptors, as the iterator in the kernel finds them.

use std::{
    net::{SocketAddr, TcpListener, TcpStream, UdpSocket},
    os::{
        fd::{AsFd, AsRawFd as _},
        unix::fs::MetadataExt as _,
    },
    thread,
};

use anyhow::{Context as _, Result, bail, ensure};
use portwatch::{
    confine::{self, Needs},
    sockets::kernel::{Descriptor, Kernel as _, Ports},
    source::ebpf::iterator,
};
use rustix::net::{AddressFamily, SocketType};

use super::super::sys;

/// More than there are.
const LIMIT: usize = 4096;
const LISTENS: u8 = 10;
const CONNECTED: u8 = 1;

/// Those in this thread's network namespace.
fn here(ports: Ports<'_>) -> Result<Vec<Descriptor>> {
    let mut found = iterator::open()?.descriptors(ports, LIMIT)?;
    let own = sys::netns()?;
    found.retain(|descriptor| u64::from(descriptor.netns) == own);
    Ok(found)
}

fn only(ports: &[u16]) -> Result<Descriptor> {
    match here(Ports::These(ports))?[..] {
        [one] => Ok(one),
        ref others => bail!("not one: {others:?}"),
    }
}

/// It is that descriptor of this process, and of this thread or of the first one.
fn is(found: &Descriptor, socket: &impl AsFd, tid: u32) -> Result<()> {
    let fd = socket.as_fd().as_raw_fd();
    let inode = rustix::fs::fstat(socket)?.st_ino;
    ensure!(
        (found.tgid, found.tid) == (std::process::id(), tid),
        "{found:?}"
    );
    ensure!(
        (found.fd, u64::from(found.inode)) == (fd, inode),
        "{found:?}"
    );
    let uid = std::fs::metadata("/proc/thread-self")?.uid();
    ensure!(found.uid == Some(uid), "{found:?}");
    Ok(())
}

pub(super) fn of_a_port() -> Result<()> {
    sys::in_own_netns(|| {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let listener = TcpListener::bind(address)?;
            let at = listener.local_addr()?;
            let found = only(&[at.port()])?;
            is(&found, &listener, std::process::id())?;
            ensure!(SocketAddr::new(found.ip, found.port) == at, "{found:?}");
            ensure!((found.state, found.protocol) == (LISTENS, 6), "{found:?}");
            ensure!(found.options.reuseaddr && found.peer.is_none(), "{found:?}");
            let client = TcpStream::connect(at)?;
            let client_at = client.local_addr()?;
            let found = only(&[client_at.port()])?;
            is(&found, &client, std::process::id())?;
            ensure!(found.state == CONNECTED, "{found:?}");
            ensure!(found.peer == Some((at.ip(), at.port())), "{found:?}");
            drop((listener, client));
            ensure!(here(Ports::These(&[at.port()]))?.is_empty());
        }
        Ok(())
    })
}

pub(super) fn that_keep_ports() -> Result<()> {
    sys::in_own_netns(|| {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let idle = UdpSocket::bind("127.0.0.1:0")?;
        let unbound = rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None)?;
        let _client = TcpStream::connect(listener.local_addr()?)?;
        let found = here(Ports::Kept)?;
        let mut fds: Vec<i32> = found.iter().map(|found| found.fd).collect();
        fds.sort_unstable();
        let mut expected = [listener.as_raw_fd(), idle.as_raw_fd()];
        expected.sort_unstable();
        ensure!(fds == expected, "{found:?}, unbound is {unbound:?}");
        let first = iterator::open()?.descriptors(Ports::Kept, 1)?;
        ensure!(first.len() == 1, "{first:?}");
        Ok(())
    })
}

/// A thread whose descriptors no other has.
pub(super) fn of_a_thread_of_its_own() -> Result<()> {
    sys::in_own_netns(|| {
        sys::own_descriptors()?;
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let found = only(&[listener.local_addr()?.port()])?;
        let tid = rustix::thread::gettid().as_raw_nonzero().get();
        is(&found, &listener, tid.unsigned_abs())
    })
}

/// With what a watch keeps, from another thread than the one that loaded it.
pub(super) fn while_confined() -> Result<()> {
    sys::in_own_netns(|| {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let port = listener.local_addr()?.port();
        let mut files = iterator::open()?;
        let own = sys::netns()?;
        let confined = thread::scope(|scope| {
            let confined = scope.spawn(|| {
                confine::enter(&Needs::default())?;
                files.descriptors(Ports::These(&[port]), LIMIT)
            });
            confined.join()
        });
        let found = confined.ok().context("the thread panicked")??;
        let mut found = found.iter().filter(|it| u64::from(it.netns) == own);
        let found = found.next().context("it was not found")?;
        is(found, &listener, std::process::id())
    })
}
