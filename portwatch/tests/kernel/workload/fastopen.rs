//! TCP Fast Open: connects that come with the first data.

use std::{io, net::SocketAddr, os::fd::RawFd};

use anyhow::{Context as _, Result, ensure};
use rustix::io::Errno;

use super::super::{sys, truth::Op, uring::Ring};
use super::{
    connect::{ELSEWHERE, listener},
    recorder::{LOOPBACK, Recorder, Try},
    socket::Socket,
};

pub(super) fn attempts(recorder: &Recorder) -> Result<()> {
    sys::enter_own_netns()?;
    sys::set_net("ipv4/tcp_fastopen", "3")?;
    let (listening, address) = listener(recorder, 8)?;
    set_tcp_option(listening.raw_fd(), libc::TCP_FASTOPEN, 5)?;
    let clients = [Socket::tcp4()?, Socket::tcp4()?, Socket::tcp4()?];
    let [without_cookie, with_cookie, deferred] = &clients;
    send(recorder, "asks for a cookie", without_cookie, address, 0)?;
    send(recorder, "data in the SYN", with_cookie, address, 0)?;
    by_a_ring(recorder, address)?;
    let closed = SocketAddr::new(LOOPBACK, 7002);
    let refused = Socket::tcp4()?;
    send(recorder, "refused", &refused, closed, -libc::ECONNREFUSED)?;
    let elsewhere = SocketAddr::from((ELSEWHERE, 80));
    let lost = Socket::tcp4()?;
    send(recorder, "no route", &lost, elsewhere, -libc::ENETUNREACH)?;
    put_off(recorder, "the SYN is put off", deferred, address)?;
    rustix::io::write(deferred, b"x").context("the first data")?;
    let late = Socket::tcp4()?;
    put_off(recorder, "and then the server has gone", &late, address)?;
    drop(listening);
    let sent = rustix::io::write(&late, b"x");
    ensure!(sent == Err(Errno::CONNREFUSED), "the first data: {sent:?}");
    Ok(())
}

/// A connect whose SYN goes with the first data: with a cookie from before.
fn put_off(recorder: &Recorder, case: &str, socket: &Socket, address: SocketAddr) -> Result<()> {
    set_tcp_option(socket.raw_fd(), libc::TCP_FASTOPEN_CONNECT, 1)?;
    let what = Try::of(case, Op::Connect, socket, address);
    let mut truth = recorder.attempted(&what, 0)?;
    // It has no peer yet, as a connected socket would.
    truth.settled = false;
    recorder.write(truth)
}

fn send(
    recorder: &Recorder,
    case: &str,
    socket: &Socket,
    address: SocketAddr,
    expected: i32,
) -> Result<()> {
    let what = Try::of(case, Op::Connect, socket, address);
    let fd = socket.raw_fd();
    let mut truth = recorder.measure(&what, expected, || send_first(fd, address))?;
    "fastopen".clone_into(&mut truth.via);
    if expected == -libc::ENETUNREACH {
        truth.stages = Some("connect -101".to_owned());
    } else {
        // What is returned is about the data.
        truth.ret = None;
        truth.stages = Some("connect 0, syn sent".to_owned());
    }
    recorder.write(truth)
}

/// The same by `io_uring`, as the thread that asks for it.
fn by_a_ring(recorder: &Recorder, address: SocketAddr) -> Result<()> {
    let ring = match Ring::new() {
        Ok(ring) => ring,
        Err(error) => return recorder.lack(&error),
    };
    let client = Socket::tcp4()?;
    let case = "data in the SYN, by io_uring";
    let what = Try::of(case, Op::Connect, &client, address);
    let mut failed = Ok(());
    let mut truth = recorder.measure(&what, 0, || {
        match send_by(&ring, client.raw_fd(), address) {
            Ok(1) => 0,
            Ok(result) => result,
            Err(error) => {
                failed = Err(error);
                0
            }
        }
    })?;
    failed?;
    "fastopen".clone_into(&mut truth.via);
    truth.fd = None;
    truth.ret = None;
    truth.stages = Some("connect 0, syn sent".to_owned());
    recorder.write(truth)
}

/// One byte, with the connect: so many bytes were sent, or the negative errno.
fn send_by(ring: &Ring, fd: RawFd, address: SocketAddr) -> Result<i32> {
    let mut address = sys::sockaddr(address);
    let mut byte = *b"x";
    let mut data = libc::iovec {
        iov_base: byte.as_mut_ptr().cast(),
        iov_len: byte.len(),
    };
    // SAFETY: integers and pointers, for which zero is a value.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_name = address.as_mut_ptr().cast();
    message.msg_namelen = sys::IPV4_LEN;
    message.msg_iov = &raw mut data;
    message.msg_iovlen = 1;
    ring.send(fd, &message, libc::MSG_FASTOPEN | libc::MSG_NOSIGNAL)
}

/// `sendto()` with `MSG_FASTOPEN`: 0, or the negative errno.
fn send_first(fd: RawFd, address: SocketAddr) -> i32 {
    let address = sys::sockaddr(address);
    // SAFETY: one byte of data, and an address with its length.
    let sent = unsafe {
        libc::sendto(
            fd,
            b"x".as_ptr().cast(),
            1,
            libc::MSG_FASTOPEN | libc::MSG_NOSIGNAL,
            address.as_ptr().cast(),
            sys::IPV4_LEN,
        )
    };
    if sent == 1 {
        0
    } else {
        -io::Error::last_os_error().raw_os_error().unwrap_or(0)
    }
}

fn set_tcp_option(fd: RawFd, option: i32, value: i32) -> Result<()> {
    let value: *const i32 = &raw const value;
    // SAFETY: the option is one integer.
    match unsafe { libc::setsockopt(fd, libc::IPPROTO_TCP, option, value.cast(), 4) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()).context("setsockopt"),
    }
}
