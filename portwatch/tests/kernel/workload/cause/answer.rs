//! Connects whose first packet leaves, and what comes of it.

use std::{net::SocketAddr, time::Duration};

use anyhow::{Context as _, Result};
use rustix::net::{listen, sockopt};

use super::{
    super::{
        super::{
            sys,
            truth::{Line, Op},
        },
        connect::{FullListener, hasty, impatient},
        interrupted::{Sniffer, handle_alarms, interrupt, joined},
        recorder::{Address, Descriptor, Try},
    },
    Recorder, Scene, Socket, at, bound,
    network::{Neighbour, feed, ip, link, nft},
    row, try_of,
};

pub(super) const SCENES: &[Scene] = &[
    listened,
    rejected,
    overflowing,
    redirected,
    deaf,
    without_neighbour,
    not_waiting,
    signalled,
    disconnected,
    destroyed,
];

pub(super) const ENDS: &[Scene] = &[later];

/// Each port gets another answer.
const FIREWALL: &str = "table inet filter {
    chain output {
        type filter hook output priority 0;
        tcp dport 7101 reject with tcp reset
        ip daddr 127.0.0.1 tcp dport 7102 reject with icmp port-unreachable
        ip daddr 127.0.0.1 tcp dport 7103 reject with icmp host-unreachable
        ip daddr 127.0.0.1 tcp dport 7104 reject with icmp admin-prohibited
        ip daddr 127.0.0.1 tcp dport 7105 reject with icmp net-unreachable
        ip daddr 127.0.0.1 tcp dport 7106 reject with icmp prot-unreachable
        tcp dport 7107 drop
        tcp dport 7108 reject with tcp reset
        tcp dport 7111 tcp flags & (syn | ack) == ack reject with tcp reset
        ip6 daddr ::1 tcp dport 7102 reject with icmpv6 port-unreachable
        ip6 daddr ::1 tcp dport 7104 reject with icmpv6 admin-prohibited
        ip6 daddr ::1 tcp dport 7105 reject with icmpv6 no-route
        ip6 daddr ::1 tcp dport 7103 reject with icmpv6 addr-unreachable
    }
}
";

/// The answer comes from another port, and looks as if it came from the first.
const REDIRECTION: &str = "table ip nat {
    chain output {
        type nat hook output priority -100;
        tcp dport 7109 redirect to :7199
    }
}
";

const REJECTED: [(&str, &str); 14] = [
    ("nobody listens", "127.0.0.1:7100"),
    ("a firewall answers with a reset", "127.0.0.1:7101"),
    (
        "a firewall answers with a reset, and somebody listens",
        "127.0.0.1:7108",
    ),
    (
        "a firewall resets what has just been established",
        "127.0.0.1:7111",
    ),
    ("a firewall rejects: port unreachable", "127.0.0.1:7102"),
    ("a firewall rejects: host unreachable", "127.0.0.1:7103"),
    ("a firewall rejects: administratively", "127.0.0.1:7104"),
    ("a firewall rejects: network unreachable", "127.0.0.1:7105"),
    ("a firewall rejects: protocol unreachable", "127.0.0.1:7106"),
    ("a firewall drops what leaves", "127.0.0.1:7107"),
    ("a firewall rejects on IPv6: port unreachable", "[::1]:7102"),
    ("a firewall rejects on IPv6: administratively", "[::1]:7104"),
    ("a firewall rejects on IPv6: no route", "[::1]:7105"),
    (
        "a firewall rejects on IPv6: address unreachable",
        "[::1]:7103",
    ),
];

/// The kernel asks twice, and no more after this (`tcp_write_timeout`, net/ipv4/tcp_timer.c).
const PATIENCE: Duration = Duration::from_millis(500);

fn listened(recorder: &Recorder) -> Result<()> {
    let listener = bound(recorder, Socket::tcp4()?, "127.0.0.1:7000")?;
    listen(&listener, 8).context("listen")?;
    row(
        recorder,
        "somebody listens",
        &Socket::tcp4()?,
        "127.0.0.1:7000",
    )
}

/// All at once: each takes a second.
fn rejected(recorder: &Recorder) -> Result<()> {
    nft(FIREWALL)?;
    let [listener, other] = [
        bound(recorder, Socket::tcp4()?, "127.0.0.1:7108")?,
        bound(recorder, Socket::tcp4()?, "127.0.0.1:7111")?,
    ];
    listen(&listener, 8).context("listen")?;
    listen(&other, 8).context("listen")?;
    let full = FullListener::new(recorder)?;
    let rejected = REJECTED.iter().map(|&(case, to)| Ok((case, at(to)?)));
    let timed_out = ("the listener's queue is full", full.address);
    let mut cases: Vec<(&str, SocketAddr)> = rejected.collect::<Result<_>>()?;
    cases.push(timed_out);
    let sockets = cases.iter().map(|&(_, to)| patient(to));
    let sockets: Vec<Socket> = sockets.collect::<Result<_>>()?;
    std::thread::scope(|scope| {
        let threads: Vec<_> = cases
            .iter()
            .zip(&sockets)
            .map(|(&(case, to), socket)| {
                scope.spawn(move || {
                    let (what, ret) = try_of(case, socket, to)?;
                    recorder.note(recorder.attempted(&what, ret)?)
                })
            })
            .collect();
        threads.into_iter().try_for_each(joined)
    })?;
    recorder.settle()
}

/// The setting is about the end of a handshake: a listener without room does not begin one.
fn overflowing(recorder: &Recorder) -> Result<()> {
    sys::set_net("ipv4/tcp_abort_on_overflow", "1")?;
    let full = FullListener::new(recorder)?;
    let case = "the listener's queue is full, with tcp_abort_on_overflow";
    let (socket, to) = (patient(full.address)?, full.address.to_string());
    row(recorder, case, &socket, &to)
}

fn redirected(recorder: &Recorder) -> Result<()> {
    nft(REDIRECTION)?;
    let listener = bound(recorder, Socket::tcp4()?, "127.0.0.1:7109")?;
    listen(&listener, 8).context("listen")?;
    row(
        recorder,
        "NAT leads to a port where nobody listens, and somebody does on the first",
        &Socket::tcp4()?,
        "127.0.0.1:7109",
    )
}

fn deaf(recorder: &Recorder) -> Result<()> {
    link("other type dummy")?;
    ip("link set other up\n")?;
    let listener = Socket::tcp4()?;
    sys::bind_to_device(&listener.raw_fd(), "other")?;
    let listener = bound(recorder, listener, "0.0.0.0:7110")?;
    listen(&listener, 8).context("listen")?;
    row(
        recorder,
        "a listener hears only on another interface",
        &Socket::tcp4()?,
        "127.0.0.1:7110",
    )
}

/// A socket that waits, but not for minutes.
fn patient(address: SocketAddr) -> Result<Socket> {
    let socket = Socket::tcp(address)?;
    let timeout = u32::try_from(PATIENCE.as_millis())?;
    sockopt::set_tcp_user_timeout(&socket, timeout)?;
    Ok(socket)
}

fn without_neighbour(recorder: &Recorder) -> Result<()> {
    let neighbour = Neighbour::new()?;
    neighbour.ip("link set far up\n")?;
    ip("link set near up\naddress add 192.0.2.9/24 dev near\n")?;
    sys::set_net("ipv4/neigh/near/retrans_time_ms", "10")?;
    row(
        recorder,
        "no neighbour has the address",
        &Socket::tcp4()?,
        "192.0.2.1:80",
    )
}

fn not_waiting(recorder: &Recorder) -> Result<()> {
    let full = FullListener::new(recorder)?;
    for (case, socket) in [
        ("the socket does not wait", hasty()?),
        (
            "the socket waits only so long",
            impatient(Duration::from_millis(100))?,
        ),
    ] {
        let (what, ret) = try_of(case, &socket, full.address)?;
        recorder.write(recorder.attempted(&what, ret)?)?;
    }
    Ok(())
}

fn signalled(recorder: &Recorder) -> Result<()> {
    let full = FullListener::new(recorder)?;
    let (sniffer, mut told) = (Sniffer::open()?, handle_alarms(0)?);
    let client = Socket::tcp4()?;
    let (what, ret) = try_of("a signal comes", &client, full.address)?;
    let mut truth = std::thread::scope(|scope| {
        let waiter = interrupt(scope, &sniffer, full.address, &mut told, 1);
        let truth = recorder.attempted(&what, -libc::EINTR);
        joined(waiter)?;
        truth
    })?;
    truth.ret = Some(ret);
    recorder.write(truth)
}

/// Runs something once a connect waits for an answer that does not come.
fn meanwhile(
    recorder: &Recorder,
    case: &str,
    then: impl FnOnce(&Socket) -> Result<()> + Send,
) -> Result<()> {
    let full = FullListener::new(recorder)?;
    let (sniffer, client) = (Sniffer::open()?, Socket::tcp4()?);
    let (what, ret) = try_of(case, &client, full.address)?;
    let truth = std::thread::scope(|scope| {
        let helper = scope.spawn(|| {
            sniffer.wait_for_syn(full.address)?;
            then(&client)
        });
        let truth = recorder.attempted(&what, ret);
        joined(helper)?;
        truth
    })?;
    recorder.write(truth)
}

fn disconnected(recorder: &Recorder) -> Result<()> {
    meanwhile(
        recorder,
        "another thread disconnects the socket",
        |client| {
            let what = Try {
                case: "meanwhile",
                op: Op::Connect,
                descriptor: Descriptor::Socket(client),
                address: Address::Family(0),
            };
            recorder.note(recorder.attempted(&what, 0)?)
        },
    )
}

fn destroyed(recorder: &Recorder) -> Result<()> {
    meanwhile(recorder, "somebody destroys the socket", |_| {
        feed("ss", &["--kill", "--tcp", "state", "syn-sent"], "")
    })
}

fn later(recorder: &Recorder) -> Result<()> {
    nft(FIREWALL)?;
    let full = FullListener::new(recorder)?;
    let cases = [
        ("later: nobody listens", at("127.0.0.1:7100")?),
        ("later: a firewall rejects", at("127.0.0.1:7102")?),
        (
            "later: a firewall rejects: host unreachable",
            at("127.0.0.1:7103")?,
        ),
        ("later: nobody answers", at("127.0.0.1:7107")?),
        ("later: the listener's queue is full", full.address),
    ];
    let sockets: Vec<Socket> = cases.iter().map(|_| hasty()).collect::<Result<_>>()?;
    for (&(case, to), socket) in cases.iter().zip(&sockets) {
        sockopt::set_tcp_user_timeout(socket, u32::try_from(PATIENCE.as_millis())?)?;
        recorder.connect(case, socket, to, -libc::EINPROGRESS)?;
    }
    let closed = [
        ("later: the socket is closed", at("127.0.0.1:7107")?),
        (
            "later: the socket is closed, and the listener's queue is full",
            full.address,
        ),
    ];
    for (case, to) in closed {
        let given_up = hasty()?;
        recorder.connect(case, &given_up, to, -libc::EINPROGRESS)?;
    }
    recorder.ask(&Line::Ended(cases.len() + closed.len()))
}
