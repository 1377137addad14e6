//! A socket that whoever closes it waits for, unless by ending (`SO_LINGER`; net/ipv4/af_inet.c,
//! `inet_release`).

use std::{
    ffi::OsString,
    io::{self, ErrorKind, Read as _, Write as _},
    net::SocketAddr,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use rustix::{
    fs::{OFlags, fcntl_setfl, fstat},
    net::{SendFlags, connect, send, sockopt},
};

use super::{super::truth::Op, recorder::Try, socket::Socket};

/// Longer than anybody waits here.
const LINGER: Duration = Duration::from_secs(100);
const PIECE: usize = 4096;

/// Argument: where it connects to, by somebody who accepts nothing and lives longer.
///
/// Tells the socket's inode, and binds and connects it once more when it is told to. Ends with its
/// input.
pub(super) fn live(mut args: impl Iterator<Item = OsString>) -> Result<()> {
    let address = args.next().and_then(|it| it.to_str()?.parse().ok());
    let address: SocketAddr = address.context("no address given")?;
    let socket = Socket::tcp4()?;
    connect(&socket, &address)?;
    fill(&socket)?;
    sockopt::set_socket_linger(&socket, Some(LINGER))?;
    writeln!(io::stdout(), "{}", fstat(&socket)?.st_ino)?;
    io::stdin().read_exact(&mut [0])?;
    attempt(&socket, Op::Bind, address, -libc::EINVAL)?;
    attempt(&socket, Op::Connect, address, -libc::EISCONN)?;
    io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}

/// Until the other end has no room for more: it reads nothing.
fn fill(socket: &Socket) -> Result<()> {
    fcntl_setfl(socket, OFlags::NONBLOCK)?;
    loop {
        match send(socket, &[0; PIECE], SendFlags::NOSIGNAL) {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error.into()),
        }
    }
}

fn attempt(socket: &Socket, op: Op, address: SocketAddr, expected: i32) -> Result<()> {
    let ret = Try::of("lingers", op, socket, address).make();
    ensure!(ret == expected, "{op} returned {ret}");
    Ok(())
}
