//! Many attempts, and mixed ones.

use std::{net::SocketAddr, os::fd::AsRawFd as _};

use anyhow::{Context as _, Result, anyhow, ensure};
use rustix::{
    net::{AddressFamily, SocketType, socket},
    thread::{CpuSet, sched_setaffinity},
};

use super::super::{sys, truth::Op};
use super::{
    CLOSED, CROWDING, CROWDING_EACH, CROWDING_ROUNDS, CROWDING_THREADS, MIXTURES, STORM_EACH,
    STORM_THREADS, TAKEN, USER,
    recorder::{IPV6_LOOPBACK, LOOPBACK, Recorder},
    socket::Socket,
};

/// Some binds in a row, each of a descriptor of its own.
pub(super) fn binds(recorder: &Recorder, attempts: u64) -> Result<()> {
    let mut open = Vec::new();
    for _ in 0..attempts {
        let socket = Socket::udp4()?;
        recorder.bind("one of some", &socket, SocketAddr::new(LOOPBACK, 0), 0)?;
        open.push(socket);
    }
    Ok(())
}

/// Several threads bind as fast as they can. Counted, not written down: that would slow them.
pub(super) fn storm(recorder: &Recorder, each: u64) -> Result<()> {
    bind_at_once(STORM_THREADS, each)?;
    recorder.total(STORM_THREADS * each)
}

/// Threads that come and go, more of them than there are CPUs.
pub(super) fn crowding(recorder: &Recorder) -> Result<()> {
    (0..CROWDING_ROUNDS).try_for_each(|_| bind_at_once(CROWDING_THREADS, CROWDING_EACH))?;
    recorder.total(CROWDING)
}

fn bind_at_once(threads: u64, each: u64) -> Result<()> {
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..threads)
            .map(|_| scope.spawn(move || bind_quickly(each)))
            .collect();
        threads
            .into_iter()
            .try_for_each(|thread| thread.join().map_err(|_| anyhow!("a thread panicked"))?)
    })
}

/// The threads take turns on one CPU.
pub(super) fn storm_on_one_cpu(recorder: &Recorder) -> Result<()> {
    let mut first = CpuSet::new();
    first.set(0);
    sched_setaffinity(None, &first).context("cannot stay on one CPU")?;
    storm(recorder, STORM_EACH)
}

fn bind_quickly(attempts: u64) -> Result<()> {
    let address = sys::sockaddr(SocketAddr::new(LOOPBACK, 0));
    let pointer = address.as_ptr().expose_provenance();
    for _ in 0..attempts {
        let socket = socket(AddressFamily::INET, SocketType::DGRAM, None)?;
        let ret = sys::attempt(Op::Bind, socket.as_raw_fd(), pointer, sys::IPV4_LEN);
        ensure!(ret == 0, "bind returned {ret}");
    }
    Ok(())
}

/// Successes and failures of both kinds, on several ports.
pub(super) fn mixture(recorder: &Recorder) -> Result<()> {
    sys::enter_own_netns()?;
    mix(recorder)
}

/// The same by an ordinary user.
pub(super) fn mixture_of_user(recorder: &Recorder) -> Result<()> {
    sys::enter_own_netns()?;
    sys::become_user(USER)?;
    mix(recorder)
}

/// Much of it, each time in another network namespace.
pub(super) fn mixtures(recorder: &Recorder) -> Result<()> {
    (0..MIXTURES).try_for_each(|_| mixture(recorder))
}

pub(super) fn mixtures_of_user(recorder: &Recorder) -> Result<()> {
    // On threads, since who has become an ordinary user may enter no other namespace.
    (0..MIXTURES).try_for_each(|_| {
        sys::in_own_netns(|| {
            sys::become_user(USER)?;
            mix(recorder)
        })
    })
}

fn mix(recorder: &Recorder) -> Result<()> {
    let [any, taken, closed] = [0, TAKEN, CLOSED].map(|port| SocketAddr::new(LOOPBACK, port));
    let holder = Socket::tcp4()?;
    recorder.bind("a free port", &holder, taken, 0)?;
    recorder.bind("a taken port", &Socket::tcp4()?, taken, -libc::EADDRINUSE)?;
    recorder.bind("any port", &Socket::tcp4()?, any, 0)?;
    let ipv6 = SocketAddr::new(IPV6_LOOPBACK, TAKEN);
    recorder.bind("the same port of IPv6", &Socket::tcp6()?, ipv6, 0)?;
    rustix::net::listen(&holder, 8)?;
    recorder.connect("to a listener", &Socket::tcp4()?, taken, 0)?;
    recorder.connect(
        "to a closed port",
        &Socket::tcp4()?,
        closed,
        -libc::ECONNREFUSED,
    )?;
    recorder.connect("datagrams to a closed port", &Socket::udp4()?, closed, 0)
}
