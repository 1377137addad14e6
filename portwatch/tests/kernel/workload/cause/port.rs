//! Ports that others have, or that can be shared.

use std::{
    fs,
    os::fd::AsFd,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use rustix::net::{AddressFamily, SocketType, accept, ipproto, listen, sockopt};

use super::{
    super::{
        super::{sys, truth::Line},
        USER,
        child::Companion,
    },
    Address, Descriptor, Recorder, Scene, Socket, at, bound, lacking,
    network::{ip, link},
    raw_row, row, try_of,
};

pub(super) const SCENES: &[Scene] = &[
    plainly,
    of_datagrams,
    with_reuseaddr,
    with_reuseport,
    of_another_owner,
    of_both_families,
    time_wait,
    connection,
    kernel,
    gone,
    ping,
    exhausted,
    own_range,
    shared,
    without_a_port,
    in_another_namespace,
];

const HERE: &str = "127.0.0.1:7000";
const EVERYWHERE: &str = "0.0.0.0:7000";

type Flag = fn(&Socket) -> Result<()>;

fn reuseaddr(socket: &Socket) -> Result<()> {
    Ok(sockopt::set_socket_reuseaddr(socket, true)?)
}

fn reuseport(socket: &Socket) -> Result<()> {
    Ok(sockopt::set_socket_reuseport(socket, true)?)
}

fn tcp(flag: Flag) -> Result<Socket> {
    with(Socket::tcp4()?, flag)
}

fn with(socket: Socket, flag: Flag) -> Result<Socket> {
    flag(&socket)?;
    Ok(socket)
}

/// One has the port, and the other wants it.
fn after(recorder: &Recorder, case: &str, holder: Socket, other: &Socket) -> Result<()> {
    let _holder = bound(recorder, holder, HERE)?;
    row(recorder, case, other, HERE)
}

fn listening(recorder: &Recorder, holder: Socket) -> Result<Socket> {
    let holder = bound(recorder, holder, HERE)?;
    listen(&holder, 8).context("listen")?;
    Ok(holder)
}

fn plainly(recorder: &Recorder) -> Result<()> {
    after(
        recorder,
        "another socket is bound and idle",
        Socket::tcp4()?,
        &Socket::tcp4()?,
    )?;
    let holder = listening(recorder, Socket::tcp4()?)?;
    row(recorder, "another socket listens", &Socket::tcp4()?, HERE)?;
    drop(holder);
    let _holder = bound(recorder, Socket::tcp4()?, EVERYWHERE)?;
    row(
        recorder,
        "another socket has every address",
        &Socket::tcp4()?,
        HERE,
    )
}

fn of_datagrams(recorder: &Recorder) -> Result<()> {
    let (one, other) = (Socket::udp4()?, Socket::udp4()?);
    after(recorder, "another socket, of UDP", one, &other)
}

fn with_reuseaddr(recorder: &Recorder) -> Result<()> {
    let (holder, other) = (tcp(reuseaddr)?, Socket::tcp4()?);
    after(
        recorder,
        "only the other socket has SO_REUSEADDR",
        holder,
        &other,
    )?;
    let (holder, other) = (Socket::tcp4()?, tcp(reuseaddr)?);
    after(
        recorder,
        "only this socket has SO_REUSEADDR",
        holder,
        &other,
    )?;
    let _holder = listening(recorder, tcp(reuseaddr)?)?;
    let case = "both have SO_REUSEADDR, and the other listens";
    row(recorder, case, &tcp(reuseaddr)?, HERE)
}

fn with_reuseport(recorder: &Recorder) -> Result<()> {
    let (holder, other) = (tcp(reuseport)?, Socket::tcp4()?);
    after(
        recorder,
        "only the other socket has SO_REUSEPORT",
        holder,
        &other,
    )?;
    let (holder, other) = (Socket::tcp4()?, tcp(reuseport)?);
    after(
        recorder,
        "only this socket has SO_REUSEPORT",
        holder,
        &other,
    )
}

fn shared(recorder: &Recorder) -> Result<()> {
    let holder = held_by_another(|| tcp(reuseport))?;
    row(recorder, "both have SO_REUSEPORT", &tcp(reuseport)?, HERE)?;
    drop(holder);
    let _holder = held_by_another(|| with(Socket::udp4()?, reuseaddr))?;
    let socket = with(Socket::udp4()?, reuseaddr)?;
    row(recorder, "both have SO_REUSEADDR, of UDP", &socket, HERE)
}

/// Another process that has the port.
fn held_by_another(open: impl FnOnce() -> Result<Socket>) -> Result<Companion> {
    Companion::start(|| {
        let holder = open()?;
        rustix::net::bind(&holder, &at(HERE)?)?;
        Ok(holder)
    })
}

fn of_another_owner(recorder: &Recorder) -> Result<()> {
    let _holder = held_by_another(|| {
        sys::become_user(USER)?;
        tcp(reuseport)
    })?;
    let case = "both have SO_REUSEPORT, and another owner";
    row(recorder, case, &tcp(reuseport)?, HERE)
}

fn of_both_families(recorder: &Recorder) -> Result<()> {
    let holder = bound(recorder, Socket::tcp6()?, "[::]:7000")?;
    row(
        recorder,
        "an IPv6 socket has the IPv4 port too",
        &Socket::tcp4()?,
        HERE,
    )?;
    drop(holder);
    let _holder = bound(recorder, Socket::tcp4()?, EVERYWHERE)?;
    row(
        recorder,
        "an IPv4 socket is in the way of [::]",
        &Socket::tcp6()?,
        "[::]:7000",
    )
}

/// Both ends of a connection, and the one that listened.
fn connected(recorder: &Recorder) -> Result<[Socket; 3]> {
    let listener = listening(recorder, Socket::tcp4()?)?;
    let client = bound(recorder, Socket::tcp4()?, "127.0.0.1:7001")?;
    recorder.connect("before", &client, at(HERE)?, 0)?;
    sys::wait_for_connection(listener.raw_fd())?;
    let accepted = Socket::of(accept(&listener)?, "tcp");
    Ok([listener, accepted, client])
}

/// Whoever closes first keeps the port for a minute.
fn time_wait(recorder: &Recorder) -> Result<()> {
    const FIN_WAIT2: &str = "0100007F:1B58 0100007F:1B59 05";
    const TIME_WAIT: &str = "0100007F:1B58 0100007F:1B59 06";
    let [listener, accepted, client] = connected(recorder)?;
    drop([listener, accepted]);
    wait_for_state(FIN_WAIT2)?;
    drop(client);
    wait_for_state(TIME_WAIT)?;
    row(
        recorder,
        "a connection in TIME_WAIT",
        &Socket::tcp4()?,
        HERE,
    )
}

/// Until /proc/net/tcp has a socket with these ends in that state.
fn wait_for_state(line: &str) -> Result<()> {
    let begin = Instant::now();
    while !fs::read_to_string("/proc/net/tcp")?.contains(line) {
        ensure!(
            begin.elapsed() < Duration::from_secs(30),
            "no socket is {line}"
        );
        std::thread::yield_now();
    }
    Ok(())
}

fn connection(recorder: &Recorder) -> Result<()> {
    let _sockets = connected(recorder)?;
    row(
        recorder,
        "the local end of a connection",
        &Socket::tcp4()?,
        "127.0.0.1:7001",
    )
}

fn kernel(recorder: &Recorder) -> Result<()> {
    link("tunnel type vxlan id 7 dstport 7000")?;
    ip("link set tunnel up\n")?;
    row(
        recorder,
        "a VXLAN interface's socket",
        &Socket::udp4()?,
        HERE,
    )
}

/// portwatch is stopped until the holder has ended.
fn gone(recorder: &Recorder) -> Result<()> {
    let holder = held_by_another(|| Ok(Socket::tcp4()?))?;
    recorder.ask(&Line::Pause)?;
    let socket = Socket::tcp4()?;
    let (what, ret) = try_of("a process that is gone by now", &socket, at(HERE)?)?;
    let truth = recorder.attempted(&what, ret)?;
    drop(holder);
    recorder.write(truth)
}

/// These have `SO_REUSEADDR` from the beginning (`INET_PROTOSW_REUSE`, net/ipv4/af_inet.c).
fn ping(recorder: &Recorder) -> Result<()> {
    sys::set_net("ipv4/ping_group_range", "0 0")?;
    let ping = || -> Result<Socket> {
        let (kind, protocol) = (SocketType::DGRAM, Some(ipproto::ICMP));
        let ping = Socket::open(AddressFamily::INET, kind, protocol, "icmp")?;
        sockopt::set_socket_reuseaddr(&ping, false)?;
        Ok(ping)
    };
    after(
        recorder,
        "another ping socket with that identifier",
        ping()?,
        &ping()?,
    )
}

/// Two ports, and both are taken.
fn exhausted(recorder: &Recorder) -> Result<()> {
    sys::set_net("ipv4/ip_local_port_range", "40000 40001")?;
    let listener = bound(recorder, Socket::tcp4()?, HERE)?;
    listen(&listener, 8).context("listen")?;
    let _tcp = [
        bound(recorder, Socket::tcp4()?, "127.0.0.1:40000")?,
        bound(recorder, Socket::tcp4()?, "127.0.0.1:40001")?,
    ];
    let _udp = [
        bound(recorder, Socket::udp4()?, "127.0.0.1:40000")?,
        bound(recorder, Socket::udp4()?, "127.0.0.1:40001")?,
    ];
    row(
        recorder,
        "bind: no port left",
        &Socket::tcp4()?,
        "127.0.0.1:0",
    )?;
    row(recorder, "connect: no port left", &Socket::tcp4()?, HERE)?;
    row(
        recorder,
        "connect: no port left for UDP",
        &Socket::udp4()?,
        HERE,
    )?;
    let (socket, case) = (Socket::tcp4()?, "listen: no port left");
    let (descriptor, backlog) = (Descriptor::Socket(&socket), Address::Backlog(8));
    raw_row(recorder, case, descriptor, backlog)
}

/// One port, and a connection to the same place has it.
fn own_range(recorder: &Recorder) -> Result<()> {
    let listener = bound(recorder, Socket::tcp4()?, HERE)?;
    listen(&listener, 8).context("listen")?;
    let first = limited()?;
    recorder.connect("before", &first, at(HERE)?, 0)?;
    row(
        recorder,
        "connect: no port left of the socket's own range",
        &limited()?,
        HERE,
    )?;
    row(
        recorder,
        "bind: no port left of the socket's own range",
        &limited()?,
        "127.0.0.1:0",
    )
}

/// A socket whose only port is 40000.
fn limited() -> Result<Socket> {
    const IP_LOCAL_PORT_RANGE: libc::c_int = 51;
    const PORT: [u8; 2] = 40000_u16.to_ne_bytes();
    let socket = Socket::tcp4()?;
    let bytes = [PORT, PORT].concat();
    match sys::set_option(&socket, libc::IPPROTO_IP, IP_LOCAL_PORT_RANGE, &bytes) {
        Ok(()) => Ok(socket),
        Err(error) => Err(lacking(format!("no IP_LOCAL_PORT_RANGE: {error}"))),
    }
}

fn without_a_port(recorder: &Recorder) -> Result<()> {
    let socket = Socket::tcp4()?;
    sys::set_flag(
        socket.as_fd(),
        libc::IPPROTO_IP,
        libc::IP_BIND_ADDRESS_NO_PORT,
    )?;
    row(recorder, "IP_BIND_ADDRESS_NO_PORT", &socket, "127.0.0.1:0")
}

fn in_another_namespace(recorder: &Recorder) -> Result<()> {
    let _holder = held_by_another(|| {
        sys::enter_own_netns()?;
        Ok(Socket::tcp4()?)
    })?;
    let case = "another socket on that port in another network namespace";
    row(recorder, case, &Socket::tcp4()?, HERE)
}
