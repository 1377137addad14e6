//! What `connect()` can be asked, and what it answers.

use std::{
    net::{Ipv4Addr, SocketAddr},
    os::fd::AsRawFd as _,
    sync::Barrier,
    time::Duration,
};

use anyhow::{Context as _, Result, anyhow};
use rustix::{
    fs::{OFlags, fcntl_getfl, fcntl_setfl},
    net::{listen, sockopt, sockopt::Timeout},
};

use super::super::{sys, truth::Op};
use super::{
    BLOCKED,
    recorder::{Address, Descriptor, LOOPBACK, Recorder},
    socket::Socket,
};

const UNSPEC: Address = Address::Family(0);
/// TEST-NET-1 (RFC 5737): asked for only where no route leads anywhere.
pub(super) const ELSEWHERE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
/// So long do the connects wait that nobody answers.
pub(super) const PATIENCE: Duration = Duration::from_secs(2);

/// Connects that are granted, refused, or not decided at once.
pub(super) fn every_outcome(recorder: &Recorder) -> Result<()> {
    sys::enter_own_netns()?;
    let (_listener, address) = listener(recorder, 8)?;
    to_a_listener(recorder, address)?;
    let closed = SocketAddr::new(LOOPBACK, 7002);
    recorder.connect(
        "nobody listens",
        &Socket::tcp4()?,
        closed,
        -libc::ECONNREFUSED,
    )?;
    without_waiting(recorder, address)?;
    without_an_answer(recorder)?;
    by_datagram(recorder, closed)
}

fn to_a_listener(recorder: &Recorder, address: SocketAddr) -> Result<()> {
    let client = Socket::tcp4()?;
    recorder.connect("to a listener", &client, address, 0)?;
    recorder.connect("connected already", &client, address, -libc::EISCONN)?;
    let mapped = SocketAddr::new(Ipv4Addr::LOCALHOST.to_ipv6_mapped().into(), address.port());
    recorder.connect(
        "an IPv4 address in an IPv6 one",
        &Socket::tcp6()?,
        mapped,
        0,
    )?;
    let bound = Socket::tcp4()?;
    recorder.bind("before a connect", &bound, SocketAddr::new(LOOPBACK, 0), 0)?;
    recorder.connect("from a chosen port", &bound, address, 0)
}

fn without_waiting(recorder: &Recorder, address: SocketAddr) -> Result<()> {
    let client = hasty()?;
    recorder.connect("without waiting", &client, address, -libc::EINPROGRESS)
}

fn without_an_answer(recorder: &Recorder) -> Result<()> {
    let full = FullListener::new(recorder)?;
    let client = impatient(Duration::from_millis(100))?;
    recorder.connect(
        "no answer in time",
        &client,
        full.address,
        -libc::EINPROGRESS,
    )
}

fn by_datagram(recorder: &Recorder, address: SocketAddr) -> Result<()> {
    let client = Socket::udp4()?;
    recorder.connect("datagrams go there", &client, address, 0)?;
    recorder.attempt(
        "datagrams go nowhere",
        Op::Connect,
        Descriptor::Socket(&client),
        UNSPEC,
        0,
    )?;
    recorder.connect("datagrams go there again", &client, address, 0)
}

/// A `listen()` that binds its socket, as `bind()` would.
pub(super) fn listen_unbound(recorder: &Recorder) -> Result<()> {
    recorder.listen("without a bind before", &Socket::tcp4()?)
}

/// Connects whose end comes after the call: granted, refused, given up.
pub(super) fn pending(recorder: &Recorder) -> Result<()> {
    sys::enter_own_netns()?;
    let (_listener, address) = listener(recorder, 8)?;
    let (granted, refused, abandoned) = (hasty()?, hasty()?, hasty()?);
    recorder.connect("will be granted", &granted, address, -libc::EINPROGRESS)?;
    let closed = SocketAddr::new(LOOPBACK, 7002);
    recorder.connect("will be refused", &refused, closed, -libc::EINPROGRESS)?;
    let full = FullListener::new(recorder)?;
    recorder.connect(
        "will be given up",
        &abandoned,
        full.address,
        -libc::EINPROGRESS,
    )?;
    recorder.connect("still pending", &abandoned, full.address, -libc::EALREADY)
}

/// Connects that cannot begin.
pub(super) fn errors(recorder: &Recorder) -> Result<()> {
    sys::enter_own_netns()?;
    let elsewhere = SocketAddr::from((ELSEWHERE, 80));
    recorder.connect("no route", &Socket::tcp4()?, elsewhere, -libc::ENETUNREACH)?;
    recorder.connect(
        "no route for datagrams",
        &Socket::udp4()?,
        elsewhere,
        -libc::ENETUNREACH,
    )?;
    let connect = |case: &str, descriptor, address, expected: i32| {
        recorder.attempt(case, Op::Connect, descriptor, address, expected)
    };
    let null = std::fs::File::open("/dev/null")?;
    connect(
        "a closed descriptor",
        Descriptor::Other(9999),
        Address::Ip(elsewhere),
        -libc::EBADF,
    )?;
    connect(
        "not a socket",
        Descriptor::Other(null.as_raw_fd()),
        Address::Ip(elsewhere),
        -libc::ENOTSOCK,
    )?;
    let socket = Socket::tcp4()?;
    connect(
        "a bad pointer",
        Descriptor::Socket(&socket),
        Address::Nowhere(16),
        -libc::EFAULT,
    )?;
    connect(
        "cut behind the address",
        Descriptor::Socket(&socket),
        Address::Sized(elsewhere, 8),
        -libc::EINVAL,
    )
}

/// Many threads wait at the same time for a listener that does not answer.
pub(super) fn blocked(recorder: &Recorder) -> Result<()> {
    sys::enter_own_netns()?;
    let full = FullListener::new(recorder)?;
    let together = Barrier::new(BLOCKED);
    let wait = || {
        let client = impatient(PATIENCE)?;
        together.wait();
        recorder.connect("blocked", &client, full.address, -libc::EINPROGRESS)
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..BLOCKED).map(|_| scope.spawn(wait)).collect();
        threads
            .into_iter()
            .try_for_each(|thread| thread.join().map_err(|_| anyhow!("a thread panicked"))?)
    })
}

/// A listener that has no room for another connection, and so does not answer.
pub(super) struct FullListener {
    pub(super) address: SocketAddr,
    listener: Socket,
    _filler: Socket,
}

impl FullListener {
    pub(super) fn new(recorder: &Recorder) -> Result<Self> {
        let (listener, address) = listener(recorder, 0)?;
        let filler = Socket::tcp4()?;
        recorder.connect("fills the listener", &filler, address, 0)?;
        sys::wait_for_connection(listener.raw_fd())?;
        Ok(Self {
            address,
            listener,
            _filler: filler,
        })
    }

    /// Takes the connection that fills it: the next one has room.
    pub(super) fn make_room(&self) -> Result<()> {
        rustix::net::accept(&self.listener)
            .map(drop)
            .context("accept")
    }
}

/// A listener on a port of the kernel's choice.
pub(super) fn listener(recorder: &Recorder, backlog: i32) -> Result<(Socket, SocketAddr)> {
    let listener = Socket::tcp4()?;
    recorder.bind("to listen", &listener, SocketAddr::new(LOOPBACK, 0), 0)?;
    listen(&listener, backlog).context("listen")?;
    let port = listener.local()?.port();
    Ok((listener, SocketAddr::new(LOOPBACK, port)))
}

/// A TCP socket that does not wait.
pub(super) fn hasty() -> Result<Socket> {
    let socket = Socket::tcp4()?;
    fcntl_setfl(&socket, fcntl_getfl(&socket)? | OFlags::NONBLOCK)?;
    Ok(socket)
}

/// A TCP socket that waits only so long.
pub(super) fn impatient(patience: Duration) -> Result<Socket> {
    let socket = Socket::tcp4()?;
    sockopt::set_socket_timeout(&socket, Timeout::Send, Some(patience))?;
    Ok(socket)
}
