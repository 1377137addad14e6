//! Makes attempts and writes down what came of them.

use std::{
    fmt,
    io::{self, Write as _},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::{SystemTime, UNIX_EPOCH},
};

use anyhow::{Context as _, Result, ensure};
use rustix::process;

pub(super) use super::address::{Address, Descriptor};
use super::{
    super::{
        driver::Pace,
        truth::{Caller, Line, Op, Truth},
    },
    socket::Socket,
};

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

impl<'a> Try<'a> {
    /// Something ordinary
    pub(super) fn of(case: &'a str, op: Op, socket: &'a Socket, address: SocketAddr) -> Self {
        Self {
            case,
            op,
            descriptor: Descriptor::Socket(socket),
            address: Address::Ip(address),
        }
    }

    /// By a system call: 0, or the negative errno.
    pub(super) fn make(&self) -> i32 {
        self.address.pass(self.op, self.descriptor.fd())
    }
}

pub(super) const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
pub(super) const IPV6_LOOPBACK: IpAddr = IpAddr::V6(Ipv6Addr::LOCALHOST);

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
        self.write(self.attempted(&what, expected)?)
    }

    /// Makes one attempt by a system call, and leaves it to be completed and written down.
    pub(super) fn attempted(&self, what: &Try<'_>, expected: i32) -> Result<Truth> {
        self.measure(what, expected, || what.make())
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
    pub(super) fn truth(&self, what: &Try<'_>, ret: i32, began: i64, ended: i64) -> Result<Truth> {
        let &Try {
            case,
            op,
            descriptor,
            address,
        } = what;
        let socket = descriptor.truth(address)?;
        // The threshold is that of the socket's network namespace: without one there is none.
        let privileged = match socket {
            Some(_) => privileged(op, address)?,
            None => None,
        };
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
            socket,
            repeat: op == Op::Connect && ret == -libc::EALREADY,
            privileged,
            effective: None,
            seccomp: false,
            stages: None,
            before: None,
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

    /// Takes note of what this machine does not have.
    #[expect(
        clippy::unused_self,
        reason = "whoever has no recorder has nobody to tell"
    )]
    pub(super) fn lack(&self, what: &impl fmt::Display) -> Result<()> {
        say(&Line::Skipped {
            what: "a scene".to_owned(),
            why: what.to_string(),
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
