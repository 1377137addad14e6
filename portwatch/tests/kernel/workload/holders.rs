//! Processes that hold ports, in every way there is, until their input ends; and one that asks for
//! them.

use std::{
    ffi::OsString,
    io::{self, BufRead as _, IoSlice, Read as _, Write as _},
    mem::MaybeUninit,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    os::{fd::AsFd as _, unix::net::UnixDatagram},
    sync::mpsc,
};

use anyhow::{Context as _, Result, bail, ensure};
use rustix::{
    net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg},
    process::{Signal, set_parent_process_death_signal},
    thread::UnshareFlags,
};

use super::{
    super::{
        holders::{Claim, Granted, IN_FLIGHT, Wish},
        truth::Op,
    },
    child::Companion,
    recorder::{IPV6_LOOPBACK, LOOPBACK, Try},
    socket::Socket,
};

/// A way to hold a port: what is bound, what whoever asks for it binds, and whether it listens.
struct Way {
    how: &'static str,
    udp: bool,
    held: IpAddr,
    asked: IpAddr,
    listens: bool,
}

const ANY_PORT: u16 = 0;
const EVERY_IPV4: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
const EVERY_IPV6: IpAddr = IpAddr::V6(Ipv6Addr::UNSPECIFIED);

const WAYS: [Way; 7] = [
    Way {
        how: "listens on IPv4",
        udp: false,
        held: LOOPBACK,
        asked: LOOPBACK,
        listens: true,
    },
    Way {
        how: "listens on every address",
        udp: false,
        held: EVERY_IPV4,
        asked: LOOPBACK,
        listens: true,
    },
    Way {
        how: "listens on IPv6",
        udp: false,
        held: IPV6_LOOPBACK,
        asked: EVERY_IPV6,
        listens: true,
    },
    Way {
        how: "listens on every address of both",
        udp: false,
        held: EVERY_IPV6,
        asked: LOOPBACK,
        listens: true,
    },
    Way {
        how: "is bound and idle",
        udp: false,
        held: LOOPBACK,
        asked: LOOPBACK,
        listens: false,
    },
    Way {
        how: "has it for UDP",
        udp: true,
        held: LOOPBACK,
        asked: LOOPBACK,
        listens: false,
    },
    Way {
        how: "has it for UDP of IPv6",
        udp: true,
        held: IPV6_LOOPBACK,
        asked: IPV6_LOOPBACK,
        listens: false,
    },
];

/// Those that are not found where everybody looks: in the table of a process's first thread.
const ODD: [fn() -> Result<Companion>; 5] = [
    of_another_table,
    of_an_ended_first_thread,
    in_a_process_namespace,
    handed_down,
    in_flight,
];

/// Arguments: how many processes, how many ports each holds, and the first of the ports; zeros for
/// the odd ones.
pub(super) fn hold(args: impl Iterator<Item = OsString>) -> Result<()> {
    let numbers: Vec<u16> = args
        .filter_map(|number| number.to_str()?.parse().ok())
        .collect();
    let _holders: Vec<Companion> = match *numbers.as_slice() {
        [0, 0, 0] => ODD.into_iter().map(|hold| hold()).collect::<Result<_>>()?,
        [processes, ports, first] => (0..processes)
            .map(|process| {
                let first = first + process * ports;
                Companion::start(|| {
                    (first..first + ports)
                        .map(usual)
                        .collect::<Result<Vec<_>>>()
                })
            })
            .collect::<Result<_>>()?,
        _ => bail!("how many processes, how many ports, from where on? {numbers:?}"),
    };
    writeln!(io::stdout(), "null")?;
    io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}

fn usual(port: u16) -> Result<Socket> {
    // Neighbours are held in different ways.
    let way = &WAYS[usize::from(port) % WAYS.len()];
    let socket = held(way, port)?;
    tell(way, way.how, own_pid()?, &socket)?;
    Ok(socket)
}

fn held(way: &Way, port: u16) -> Result<Socket> {
    let address = SocketAddr::new(way.held, port);
    let socket = if way.udp {
        Socket::udp(address)?
    } else {
        Socket::tcp(address)?
    };
    rustix::net::bind(&socket, &address)?;
    if way.listens {
        rustix::net::listen(&socket, 8)?;
    }
    Ok(socket)
}

fn tell(way: &Way, how: &str, pid: u32, socket: &Socket) -> Result<()> {
    let claim = Claim {
        how: how.to_owned(),
        pid,
        udp: way.udp,
        asked: SocketAddr::new(way.asked, socket.local()?.port()),
    };
    writeln!(io::stdout(), "{}", serde_json::to_string(&claim)?)?;
    Ok(())
}

/// As those outside see it, whose /proc this is, and not as a process namespace numbers it.
fn own_pid() -> Result<u32> {
    let link = std::fs::read_link("/proc/self")?;
    let name = link.to_str().context("/proc/self")?;
    Ok(name.parse()?)
}

/// A thread that has left the table of descriptors that the others share.
fn of_another_table() -> Result<Companion> {
    Companion::start(|| {
        on_a_thread(|| {
            // SAFETY: the thread has no descriptor yet that it could mistake for another.
            unsafe { rustix::thread::unshare_unsafe(UnshareFlags::FILES) }.context("unshare")?;
            a_listener("a thread with a table of its own")
        })
    })
}

/// A process that goes on after its first thread: its /proc/PID/fd is empty.
fn of_an_ended_first_thread() -> Result<Companion> {
    let set_up = || {
        on_a_thread(|| {
            set_parent_process_death_signal(Some(Signal::KILL))?;
            a_listener("a process whose first thread has ended")
        })
    };
    let companion = Companion::start_and_then(set_up, end_this_thread)?;
    let status = format!("/proc/{}/status", companion.pid());
    while !std::fs::read_to_string(&status)?.contains("State:\tZ") {
        std::thread::yield_now();
    }
    Ok(companion)
}

/// Holds what it returns on another thread.
fn on_a_thread(set_up: fn() -> Result<Socket>) -> Result<()> {
    let (sender, ready) = mpsc::channel();
    std::thread::spawn(move || {
        let held = set_up();
        let _socket = match held {
            Ok(socket) => sender.send(Ok(())).map(|()| socket).ok(),
            Err(error) => sender.send(Err(error)).map(|()| None).unwrap_or_default(),
        };
        loop {
            std::thread::park();
        }
    });
    ready.recv()?
}

/// `exit(2)`, which the other threads outlive.
fn end_this_thread() {
    // SAFETY: what this thread has borrowed out it waits for nowhere.
    unsafe { libc::syscall(libc::SYS_exit, 0) };
}

/// On a port that the kernel chooses.
fn a_listener(how: &str) -> Result<Socket> {
    let [way, ..] = &WAYS;
    let socket = held(way, ANY_PORT)?;
    tell(way, how, own_pid()?, &socket)?;
    Ok(socket)
}

/// A process that has another number to itself than to those outside.
fn in_a_process_namespace() -> Result<Companion> {
    Companion::start(|| {
        // SAFETY: of the flags only FILES is dangerous.
        unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWPID) }.context("unshare")?;
        Companion::start(|| a_listener("a process in a process namespace of its own"))
    })
}

/// A process that has inherited the socket from the one that bound it.
fn handed_down() -> Result<Companion> {
    Companion::start(|| {
        let [way, ..] = &WAYS;
        let socket = held(way, ANY_PORT)?;
        let heir = Companion::start(|| Ok(()))?;
        tell(way, "a process that inherited it", heir.pid(), &socket)?;
        Ok(heir)
    })
}

/// A socket that is on its way from one process to another (`SCM_RIGHTS`), which is not there yet
/// to take it.
fn in_flight() -> Result<Companion> {
    Companion::start(|| {
        let (near, far) = UnixDatagram::pair()?;
        let socket = a_listener(IN_FLIGHT)?;
        let descriptors = [socket.as_fd()];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        ensure!(control.push(SendAncillaryMessage::ScmRights(&descriptors)));
        sendmsg(
            &near,
            &[IoSlice::new(b"!")],
            &mut control,
            SendFlags::empty(),
        )?;
        Ok((near, far))
    })
}

/// Asks for the ports that a line of its input has, tells what came of each, and keeps the sockets.
pub(super) fn ask() -> Result<()> {
    let mut kept = Vec::new();
    for line in io::stdin().lock().lines() {
        let wish: Wish = serde_json::from_str(&line?)?;
        let mut granted = Granted::new();
        for (udp, address) in wish {
            let socket = if udp {
                Socket::udp(address)?
            } else {
                Socket::tcp(address)?
            };
            let ret = Try::of("asks", Op::Bind, &socket, address).make();
            granted.push((socket.raw_fd(), ret));
            kept.push(socket);
        }
        writeln!(io::stdout(), "{}", serde_json::to_string(&granted)?)?;
    }
    Ok(())
}
