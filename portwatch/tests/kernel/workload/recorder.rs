//! Makes attempts and writes down what came of them.

use std::{
    fmt,
    io::{self, Write as _},
    net::{IpAddr, Ipv4Addr, SocketAddr},
    os::fd::RawFd,
    time::{SystemTime, UNIX_EPOCH},
};

use anyhow::{Context as _, Result, ensure};
use rustix::process;

use super::super::{
    driver::Pace,
    sys,
    truth::{self, Caller, Line, Op, Truth},
};
use super::socket::Socket;

pub(super) struct Recorder {
    pace: Pace,
}

/// What is attempted.
#[derive(Clone, Copy)]
pub(super) struct Try<'a> {
    /// What it is to show
    pub(super) case: &'a str,
    pub(super) op: Op,
    pub(super) descriptor: Descriptor<'a>,
    pub(super) address: Address,
}

/// What is passed as the address.
#[derive(Clone, Copy)]
pub(super) enum Address {
    Ip(SocketAddr),
    /// With a length that is not its own
    Sized(SocketAddr, i32),
    /// 16 bytes of an address of that family
    Family(u16),
    /// A pointer to nothing readable
    Nowhere(usize),
    /// Of a `listen()`, which has none
    Backlog(usize),
}

/// The descriptor that is passed.
#[derive(Clone, Copy)]
pub(super) enum Descriptor<'a> {
    Socket(&'a Socket),
    /// Not an internet socket
    Other(RawFd),
}

pub(super) const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

impl Recorder {
    /// Says that it is ready, and waits for leave.
    pub(super) fn start(pace: Pace) -> Result<Self> {
        let recorder = Self { pace };
        recorder.ask(&Line::Ready)?;
        Ok(recorder)
    }

    pub(super) fn bind(
        &self,
        case: &str,
        socket: &Socket,
        address: SocketAddr,
        expected: i32,
    ) -> Result<()> {
        self.attempt(
            case,
            Op::Bind,
            Descriptor::Socket(socket),
            Address::Ip(address),
            expected,
        )
    }

    pub(super) fn connect(
        &self,
        case: &str,
        socket: &Socket,
        address: SocketAddr,
        expected: i32,
    ) -> Result<()> {
        self.attempt(
            case,
            Op::Connect,
            Descriptor::Socket(socket),
            Address::Ip(address),
            expected,
        )
    }

    /// A `listen()` on a socket that has no port, and so gets one.
    pub(super) fn listen(&self, case: &str, socket: &Socket) -> Result<()> {
        self.attempt(
            case,
            Op::Listen,
            Descriptor::Socket(socket),
            Address::Backlog(8),
            0,
        )
    }

    /// Makes one attempt by a system call and writes it down; an error if it did not end as the
    /// case needs it to.
    pub(super) fn attempt(
        &self,
        case: &str,
        op: Op,
        descriptor: Descriptor<'_>,
        address: Address,
        expected: i32,
    ) -> Result<()> {
        let what = Try {
            case,
            op,
            descriptor,
            address,
        };
        self.write(self.measure(&what, expected, || address.pass(op, descriptor.fd()))?)
    }

    /// Makes one attempt in a way of its own: what came of it, for the one who knows the way to
    /// complete and to write down.
    pub(super) fn measure(
        &self,
        what: &Try<'_>,
        expected: i32,
        make: impl FnOnce() -> i32,
    ) -> Result<Truth> {
        let Try { case, op, .. } = what;
        let began = now();
        let ret = make();
        let ended = now();
        ensure!(
            ret == expected,
            "{case}: {op} returned {ret}, the case needs {expected}"
        );
        self.truth(what, ret, began, ended)
    }

    /// What an attempt by a system call is, that returned that.
    fn truth(&self, what: &Try<'_>, ret: i32, began: i64, ended: i64) -> Result<Truth> {
        let &Try {
            case,
            op,
            descriptor,
            address,
        } = what;
        Ok(Truth {
            case: case.to_owned(),
            op,
            via: "syscall".to_owned(),
            caller: caller()?,
            family: address.family(),
            family_number: address.other_family(),
            addr: address.readable().map(|ip| ip.ip()),
            port: address.readable().map(|ip| ip.port()),
            scope_id: None,
            fd: Some(descriptor.fd()),
            ret: Some(ret),
            socket: descriptor.truth(address)?,
            repeat: op == Op::Connect && ret == -libc::EALREADY,
            privileged: privileged(op, address)?,
            effective: None,
            seccomp: false,
            stages: None,
            began,
            ended,
            settled: self.pace == Pace::Stepwise,
        })
    }

    /// Writes an attempt down, and lets portwatch write it too.
    pub(super) fn write(&self, truth: Truth) -> Result<()> {
        self.note(truth)?;
        if self.pace == Pace::Stepwise {
            self.settle()
        } else {
            Ok(())
        }
    }

    /// Writes an attempt down without waiting for anybody.
    #[expect(
        clippy::unused_self,
        reason = "whoever has no recorder has nobody to tell"
    )]
    pub(super) fn note(&self, truth: Truth) -> Result<()> {
        say(&Line::Attempt(Box::new(truth)))
    }

    /// Waits until portwatch has written all attempts so far.
    pub(super) fn settle(&self) -> Result<()> {
        self.ask(&Line::Settle)
    }

    /// Says something and waits for the answer.
    #[expect(
        clippy::unused_self,
        reason = "whoever has no recorder has nobody to ask"
    )]
    pub(super) fn ask(&self, question: &Line) -> Result<()> {
        say(question)?;
        let length = io::stdin().read_line(&mut String::new())?;
        ensure!(length > 0, "the test does not answer");
        Ok(())
    }

    /// Takes note of what this kernel does not offer.
    #[expect(
        clippy::unused_self,
        reason = "whoever has no recorder has nobody to tell"
    )]
    pub(super) fn skip(&self, what: &str, why: &io::Error) -> Result<()> {
        say(&Line::Skipped {
            what: what.to_owned(),
            why: why.to_string(),
        })
    }

    /// So many attempts were made beside those written down.
    #[expect(
        clippy::unused_self,
        reason = "whoever has no recorder has nobody to tell"
    )]
    pub(super) fn total(&self, attempts: u64) -> Result<()> {
        say(&Line::Total(attempts))
    }
}

/// Says that this machine cannot do what the workload is about.
pub(super) fn impossible(why: impl fmt::Display) -> Result<()> {
    say(&Line::Impossible(why.to_string()))
}

fn say(line: &Line) -> Result<()> {
    let mut text = serde_json::to_string(line)?;
    text.push('\n');
    io::stdout()
        .lock()
        .write_all(text.as_bytes())
        .context("nobody listens")
}

fn caller() -> Result<Caller> {
    Ok(Caller {
        pid: std::process::id(),
        tid: rustix::thread::gettid()
            .as_raw_nonzero()
            .get()
            .cast_unsigned(),
        ppid: std::os::unix::process::parent_id(),
        uid: process::getuid().as_raw(),
        euid: process::geteuid().as_raw(),
        gid: process::getgid().as_raw(),
        comm: rustix::thread::name()?.to_string_lossy().into_owned(),
    })
}

fn privileged(op: Op, address: Address) -> Result<Option<bool>> {
    let port = address.readable().map(|ip| ip.port());
    let Some(port) = port.filter(|&port| op == Op::Bind && port != 0) else {
        return Ok(None);
    };
    let start = std::fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start")?;
    Ok(Some(port < start.trim().parse()?))
}

pub(super) fn now() -> i64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
}

impl Descriptor<'_> {
    fn fd(self) -> RawFd {
        match self {
            Self::Socket(socket) => socket.raw_fd(),
            Self::Other(fd) => fd,
        }
    }

    fn truth(self, address: Address) -> Result<Option<truth::Socket>> {
        match self {
            Self::Socket(socket) => socket.truth(address.reaches_protocol()).map(Some),
            Self::Other(_) => Ok(None),
        }
    }
}

impl Address {
    fn pass(self, op: Op, fd: RawFd) -> i32 {
        match self {
            Self::Ip(ip) => pass_bytes(op, fd, &sys::sockaddr(ip), None),
            Self::Sized(ip, len) => pass_bytes(
                op,
                fd,
                &padded(&sys::sockaddr(ip)),
                Some(len.cast_unsigned()),
            ),
            Self::Family(family) => {
                pass_bytes(op, fd, &padded(&family.to_ne_bytes()), Some(sys::IPV4_LEN))
            }
            Self::Nowhere(pointer) => sys::attempt(op, fd, pointer, sys::IPV4_LEN),
            Self::Backlog(backlog) => sys::attempt(op, fd, backlog, 0),
        }
    }

    /// The family of what portwatch can read.
    fn family(self) -> Option<String> {
        let name = match self {
            Self::Family(0) => "unspec",
            Self::Family(_) => "other",
            _ => match self.readable()? {
                SocketAddr::V4(_) => "ipv4",
                SocketAddr::V6(_) => "ipv6",
            },
        };
        Some(name.to_owned())
    }

    fn other_family(self) -> Option<u16> {
        match self {
            Self::Family(number @ 1..) => Some(number),
            _ => None,
        }
    }

    /// The address, if all of it lies within the length that is passed.
    ///
    /// A length below zero or above `struct sockaddr_storage` hides nothing, it is just refused.
    fn readable(self) -> Option<SocketAddr> {
        match self {
            Self::Ip(ip) => Some(ip),
            Self::Sized(ip @ SocketAddr::V4(_), len) if !(0..8).contains(&len) => Some(ip),
            Self::Sized(ip @ SocketAddr::V6(_), len) if !(0..24).contains(&len) => Some(ip),
            _ => None,
        }
    }

    /// Whether the kernel takes a copy of it, and so comes to ask the protocol.
    fn reaches_protocol(self) -> bool {
        match self {
            Self::Ip(_) | Self::Family(_) | Self::Backlog(_) => true,
            Self::Sized(_, len) => (0..=128).contains(&len),
            Self::Nowhere(_) => false,
        }
    }
}

/// With zeros behind it, so that whatever length is claimed, this process may read that much.
fn padded(bytes: &[u8]) -> [u8; 256] {
    let mut padded = [0; 256];
    padded[..bytes.len()].copy_from_slice(bytes);
    padded
}

fn pass_bytes(op: Op, fd: RawFd, bytes: &[u8], len: Option<u32>) -> i32 {
    let own = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    sys::attempt(
        op,
        fd,
        bytes.as_ptr().expose_provenance(),
        len.unwrap_or(own),
    )
}
