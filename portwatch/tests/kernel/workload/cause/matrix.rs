//! Every pair of sockets that want one port.

use std::net::SocketAddr;

use anyhow::{Context as _, Result, ensure};
use rustix::{
    io::Errno,
    net::{listen, sockopt},
};

use super::{
    super::{
        super::{
            matrix::{Addresses, Flags, Pair, Transport},
            truth::Op,
        },
        USER,
        recorder::Try,
    },
    Recorder, Scene, Socket,
};

pub(super) const SCENES: &[Scene] = &[
    |recorder| reported(recorder, Transport::Tcp),
    |recorder| reported(recorder, Transport::Udp),
];

/// All of them, without anybody who watches.
pub(super) const WHOLE: &[Scene] = &[
    |recorder| all(recorder, Transport::Tcp),
    |recorder| all(recorder, Transport::Udp),
];

const PORT: u16 = 7000;

/// Those that differ in what they are explained by.
fn reported(recorder: &Recorder, transport: Transport) -> Result<()> {
    for pair in Pair::all(transport).filter(Pair::is_telling) {
        let [first, second] = sockets(&pair)?;
        let [here, there] = ends(&pair)?;
        recorder.note(recorder.attempted(&Try::of("first", Op::Bind, &first, here), 0)?)?;
        if pair.listening {
            listen(&first, 8).context("listen")?;
        }
        let case = serde_json::to_string(&pair)?;
        let what = Try::of(&case, Op::Bind, &second, there);
        let expected = if pair.conflicts() {
            -libc::EADDRINUSE
        } else {
            0
        };
        recorder.write(recorder.attempted(&what, expected)?)?;
    }
    Ok(())
}

/// The kernel answers each as the pair says.
fn all(recorder: &Recorder, transport: Transport) -> Result<()> {
    let mut total = 0;
    for pair in Pair::all(transport) {
        let [first, second] = sockets(&pair)?;
        let [here, there] = ends(&pair)?;
        rustix::net::bind(&first, &here)?;
        if pair.listening {
            listen(&first, 8).context("listen")?;
        }
        let expected = if pair.conflicts() {
            Err(Errno::ADDRINUSE)
        } else {
            Ok(())
        };
        let result = rustix::net::bind(&second, &there);
        ensure!(result == expected, "{pair:?}: {result:?}, not {expected:?}");
        total += 2;
    }
    recorder.total(total)
}

fn ends(pair: &Pair) -> Result<[SocketAddr; 2]> {
    let Addresses { first, second, .. } = pair.addresses();
    let end = |ip: &str| -> Result<SocketAddr> { Ok(SocketAddr::new(ip.parse()?, PORT)) };
    Ok([end(first)?, end(second)?])
}

fn sockets(pair: &Pair) -> Result<[Socket; 2]> {
    let Addresses {
        first_only,
        second_only,
        ..
    } = *pair.addresses();
    let [here, there] = ends(pair)?;
    // The owner is who makes it, by this id (`sock_alloc`, net/socket.c).
    let owner = if pair.other_user { USER } else { 0 };
    set_file_system_user(owner);
    let first = socket(pair.transport, here, pair.first, first_only);
    set_file_system_user(0);
    Ok([
        first?,
        socket(pair.transport, there, pair.second, second_only)?,
    ])
}

fn socket(transport: Transport, address: SocketAddr, flags: Flags, only: bool) -> Result<Socket> {
    let socket = match transport {
        Transport::Tcp => Socket::tcp(address)?,
        Transport::Udp => Socket::udp(address)?,
    };
    sockopt::set_socket_reuseaddr(&socket, flags.reuseaddr)?;
    sockopt::set_socket_reuseport(&socket, flags.reuseport)?;
    if only {
        sockopt::set_ipv6_v6only(&socket, true)?;
    }
    Ok(socket)
}

fn set_file_system_user(user: u32) {
    // SAFETY: a number, for this thread alone. The call returns the former one, and never fails.
    unsafe { libc::setfsuid(user) };
}
