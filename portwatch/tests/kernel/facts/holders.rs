//! Who has a port.

use std::{
    io::Read as _,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    os::{
        fd::{AsRawFd as _, OwnedFd},
        unix::fs::MetadataExt as _,
    },
};

use anyhow::{Context as _, Result, ensure};
use portwatch::{
    event::{Attempt, Holder, Holders, Local, Op, Options, Proto, SocketState, Time, Unseen},
    explain::Facts,
    facts::{Gatherer, Inquiry, Namespace},
    sockets::holder::Witness,
};
use rustix::net::{AddressFamily, SocketType, bind, getsockname, socket, sockopt};

use super::{TCP, UDP, attempt, prepared};
use crate::kernel::sys;

const LOCALHOST: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

fn holders(namespace: &Namespace, proto: Proto, port: u16) -> Result<Vec<Holder>> {
    let found = Gatherer::new(None).holders(namespace, proto, port);
    ensure!(found.unseen.is_none(), "not all was seen: {found:?}");
    Ok(found.found)
}

fn only(mut holders: Vec<Holder>) -> Result<Holder> {
    let holder = holders.pop().context("nobody holds the port")?;
    ensure!(holders.is_empty(), "{holder:?}, and {holders:?}");
    Ok(holder)
}

/// What is the same of every socket that this process has open.
fn is_own(holder: &Holder, inode: u64) -> Result<()> {
    let process = holder.process.as_ref().found().context("no process")?;
    ensure!(process.tgid == std::process::id(), "{holder:?}");
    ensure!(process.exe == Some(std::env::current_exe()?), "{holder:?}");
    ensure!(!process.comm.as_bytes().is_empty(), "{holder:?}");
    ensure!(process.cgroup.is_some(), "{holder:?}");
    ensure!(holder.uid == Some(0) && !holder.kernel, "{holder:?}");
    ensure!(holder.inode == Some(inode), "{holder:?} is not {inode}");
    Ok(())
}

fn inode(socket: &impl std::os::fd::AsFd) -> Result<u64> {
    Ok(rustix::fs::fstat(socket)?.st_ino)
}

pub(super) fn listens() -> Result<()> {
    let (namespace, listener) = prepared(|| Ok(TcpListener::bind(LOCALHOST)?))?;
    let address = listener.local_addr()?;
    let holder = only(holders(&namespace, TCP, address.port())?)?;
    is_own(&holder, inode(&listener)?)?;
    ensure!(holder.state == SocketState::Listen, "{holder:?}");
    ensure!(
        SocketAddr::new(holder.ip, holder.port) == address,
        "{holder:?}"
    );
    ensure!(holder.reuseaddr == Some(true), "std sets it: {holder:?}");
    ensure!(holder.reuseport == Some(false), "{holder:?}");
    ensure!(
        holder.since.is_none() && holder.peer.is_none(),
        "{holder:?}"
    );
    Ok(())
}

/// A socket that only has a port: kernels before 6.8 do not show it.
fn idle() -> Result<(OwnedFd, u16)> {
    let idle = socket(AddressFamily::INET, SocketType::STREAM, None)?;
    sockopt::set_socket_reuseport(&idle, true)?;
    bind(&idle, &LOCALHOST)?;
    let port = SocketAddr::try_from(getsockname(&idle)?)?.port();
    Ok((idle, port))
}

pub(super) fn is_bound_and_idle() -> Result<()> {
    let (namespace, (idle, port)) = prepared(idle)?;
    let holder = only(holders(&namespace, TCP, port)?)?;
    is_own(&holder, inode(&idle)?)?;
    ensure!(holder.state == SocketState::Bound, "{holder:?}");
    ensure!(
        (holder.ip, holder.port) == (LOCALHOST.ip(), port),
        "{holder:?}"
    );
    ensure!(holder.reuseaddr == Some(false), "{holder:?}");
    ensure!(holder.reuseport == Some(true), "{holder:?}");
    Ok(())
}

/// A bind that was seen, by this process, of a socket with that inode.
fn bound(namespace: &Namespace, idle: &OwnedFd, port: u16) -> Result<Attempt> {
    Ok(Attempt {
        ret: Some(0),
        time: Time(4711),
        fd: Some(idle.as_raw_fd()),
        inode: Some(u32::try_from(inode(idle)?)?),
        local: Some(Local {
            ip: LOCALHOST.ip(),
            port: Some(port),
        }),
        ..attempt(Op::Bind, 0, namespace, (LOCALHOST.ip(), 0))
    })
}

/// Asked about a bind of the same port that failed, after those that were seen.
fn holders_of(
    namespace: &Namespace,
    idle: &OwnedFd,
    port: u16,
    seen: &[Attempt],
) -> Result<Holders> {
    let mut witness = Witness::default();
    for attempt in seen {
        witness.remember(attempt);
    }
    // No process is in the namespace: only a socket leads there.
    let asked = (LOCALHOST.ip(), port);
    let failed = Attempt {
        fd: Some(idle.as_raw_fd()),
        options: Some(Options::default()),
        ..attempt(Op::Bind, libc::EADDRINUSE, namespace, asked)
    };
    let inquiry = Inquiry::new(&failed, -libc::EADDRINUSE, &witness).context("nothing helps")?;
    let mut facts = Facts::default();
    let mut gatherer = Gatherer::new(None);
    if !gatherer.recall(&inquiry, &mut facts) {
        gatherer.gather(&inquiry, true, &mut facts);
    }
    Ok(facts.holders)
}

pub(super) fn was_seen_to_bind() -> Result<()> {
    let (namespace, (idle, port)) = prepared(idle)?;
    let bound = bound(&namespace, &idle, port)?;
    let found = holders_of(&namespace, &idle, port, std::slice::from_ref(&bound))?;
    ensure!(found.unseen == Some(Unseen::NotAsked), "{found:?}");
    let holder = only(found.found)?;
    is_own(&holder, inode(&idle)?)?;
    ensure!(holder.since == Some(Time(4711)), "{holder:?}");
    // The descriptor leads to another socket by now, and the one that is meant is found elsewhere.
    let moved = Attempt {
        fd: Some(TcpListener::bind(LOCALHOST)?.as_raw_fd()),
        ..bound.clone()
    };
    let holder = only(holders_of(&namespace, &idle, port, &[moved])?.found)?;
    is_own(&holder, inode(&idle)?)?;
    ensure!(holder.since == Some(Time(4711)), "{holder:?}");
    // Of another socket's bind nothing follows.
    let other = Attempt {
        inode: bound.inode.map(|inode| inode ^ 1),
        ..bound
    };
    let holder = only(holders_of(&namespace, &idle, port, &[other])?.found)?;
    is_own(&holder, inode(&idle)?)?;
    ensure!(holder.since.is_none(), "{holder:?}");
    Ok(())
}

pub(super) fn of_udp() -> Result<()> {
    let (namespace, (free, connected)) = prepared(|| {
        let connected = UdpSocket::bind(LOCALHOST)?;
        connected.connect("127.0.0.1:9")?;
        Ok((UdpSocket::bind(LOCALHOST)?, connected))
    })?;
    let port = free.local_addr()?.port();
    let holder = only(holders(&namespace, UDP, port)?)?;
    is_own(&holder, inode(&free)?)?;
    ensure!(holder.state == SocketState::Bound, "{holder:?}");
    ensure!(holders(&namespace, TCP, port)?.is_empty());
    let holder = only(holders(&namespace, UDP, connected.local_addr()?.port())?)?;
    is_own(&holder, inode(&connected)?)?;
    ensure!(holder.peer == Some((LOCALHOST.ip(), 9)), "{holder:?}");
    Ok(())
}

pub(super) fn of_ipv6() -> Result<()> {
    for v6only in [false, true] {
        let (namespace, (listener, port)) = prepared(|| {
            let listener = socket(AddressFamily::INET6, SocketType::STREAM, None)?;
            sockopt::set_ipv6_v6only(&listener, v6only)?;
            bind(&listener, &SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)))?;
            rustix::net::listen(&listener, 1)?;
            let port = SocketAddr::try_from(getsockname(&listener)?)?.port();
            Ok((listener, port))
        })?;
        let holder = only(holders(&namespace, TCP, port)?)?;
        is_own(&holder, inode(&listener)?)?;
        ensure!(holder.ip == Ipv6Addr::UNSPECIFIED, "{holder:?}");
        ensure!(holder.v6only == Some(v6only), "{holder:?}");
    }
    Ok(())
}

/// A connection of which this side said first that it has nothing more to say.
fn closed() -> Result<(TcpListener, u16)> {
    let listener = TcpListener::bind(LOCALHOST)?;
    let near = TcpStream::connect(listener.local_addr()?)?;
    let (mut far, _) = listener.accept()?;
    let port = near.local_addr()?.port();
    near.shutdown(std::net::Shutdown::Write)?;
    ensure!(far.read(&mut [0])? == 0);
    drop(far);
    // The end of the far side's data comes with its FIN, which puts this side in TIME_WAIT.
    ensure!((&near).read(&mut [0])? == 0);
    Ok((listener, port))
}

pub(super) fn in_time_wait() -> Result<()> {
    let (namespace, (_listener, port)) = prepared(closed)?;
    let holder = only(holders(&namespace, TCP, port)?)?;
    ensure!(holder.state == SocketState::TimeWait, "{holder:?}");
    ensure!(
        holder.process.is_not_there() && holder.uid.is_none(),
        "{holder:?}"
    );
    ensure!(holder.inode.is_none() && !holder.kernel, "{holder:?}");
    Ok(())
}

pub(super) fn is_a_connection() -> Result<()> {
    let (namespace, (listener, near)) = prepared(|| {
        let listener = TcpListener::bind(LOCALHOST)?;
        let near = TcpStream::connect(listener.local_addr()?)?;
        Ok((listener, near))
    })?;
    let holder = only(holders(&namespace, TCP, near.local_addr()?.port())?)?;
    is_own(&holder, inode(&near)?)?;
    let far = listener.local_addr()?;
    ensure!(holder.state == SocketState::Established, "{holder:?}");
    ensure!(holder.peer == Some((far.ip(), far.port())), "{holder:?}");
    // Of the listener's port, whoever keeps it comes first, then the connection in its queue.
    let of_server = holders(&namespace, TCP, far.port())?;
    let states: Vec<_> = of_server.iter().map(|holder| holder.state).collect();
    ensure!(
        states == [SocketState::Listen, SocketState::Established],
        "{of_server:?}"
    );
    // Nobody has accepted it, but it is not the kernel's either.
    ensure!(
        of_server[1].process.is_not_there() && !of_server[1].kernel,
        "{of_server:?}"
    );
    Ok(())
}

pub(super) fn has_gone() -> Result<()> {
    let (namespace, (idle, port)) = prepared(idle)?;
    drop(idle);
    ensure!(holders(&namespace, TCP, port)?.is_empty());
    let (namespace, socket) = prepared(|| Ok(UdpSocket::bind(LOCALHOST)?))?;
    let port = socket.local_addr()?.port();
    drop(socket);
    ensure!(holders(&namespace, UDP, port)?.is_empty());
    Ok(())
}

pub(super) fn is_another_process() -> Result<()> {
    let (namespace, (mut child, port)) = prepared(|| {
        let listener = TcpListener::bind(LOCALHOST)?;
        let port = listener.local_addr()?.port();
        let child = std::process::Command::new("busybox")
            .args(["sleep", "1000"])
            .stdin(OwnedFd::from(listener))
            .spawn()?;
        Ok((child, port))
    })?;
    let found = holders(&namespace, TCP, port).and_then(only);
    child.kill()?;
    child.wait()?;
    let holder = found?;
    let process = holder.process.found().context("no process")?;
    ensure!(process.tgid == child.id(), "{process:?}");
    ensure!(process.comm.as_bytes() == b"busybox", "{process:?}");
    ensure!(holders(&namespace, TCP, port)?.is_empty());
    Ok(())
}

pub(super) fn in_another_namespace() -> Result<()> {
    let (first, listener) = prepared(|| Ok(TcpListener::bind(LOCALHOST)?))?;
    let port = listener.local_addr()?.port();
    let (second, other) = prepared(|| Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, port))?))?;
    is_own(&only(holders(&first, TCP, port)?)?, inode(&listener)?)?;
    is_own(&only(holders(&second, TCP, port)?)?, inode(&other)?)?;
    drop(listener);
    ensure!(holders(&first, TCP, port)?.is_empty());
    // Looking around elsewhere, this thread has stayed where it was.
    let own = std::fs::metadata("/proc/self/ns/net")?.ino();
    ensure!(sys::netns()? == own);
    Ok(())
}
