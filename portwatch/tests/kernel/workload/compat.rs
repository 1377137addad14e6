//! Attempts as 32-bit programs make them.

use std::{net::SocketAddr, sync::Barrier};

use anyhow::{Result, anyhow, ensure};

use super::super::{
    compat::{self, Entry, LowMemory},
    driver::Impossible,
    sys,
    truth::Op,
};
use super::{
    BLOCKED,
    connect::{FullListener, PATIENCE, hasty, impatient, listener},
    recorder::{Address, Descriptor, LOOPBACK, Recorder, Try, impossible},
    socket::Socket,
};

/// A descriptor that is not open.
const NOT_OPEN: i32 = 9999;

struct Attempts<'a> {
    recorder: &'a Recorder,
    memory: LowMemory,
    entry: Entry,
}

pub(super) fn attempts(recorder: &Recorder) -> Result<()> {
    if let Err(error) = compat::ensure_there_is_any() {
        return impossible(error.downcast::<Impossible>()?);
    }
    sys::enter_own_netns()?;
    let (_listener, address) = listener(recorder, 8)?;
    for entry in [Entry::Direct, Entry::Socketcall] {
        let attempts = Attempts {
            recorder,
            memory: LowMemory::map()?,
            entry,
        };
        attempts.binds(address)?;
        attempts.connects(address)?;
    }
    Ok(())
}

/// Many threads wait at the same time for a listener that does not answer; each then makes one
/// more call.
pub(super) fn blocked(recorder: &Recorder) -> Result<()> {
    if let Err(error) = compat::ensure_there_is_any() {
        return impossible(error.downcast::<Impossible>()?);
    }
    sys::enter_own_netns()?;
    let full = FullListener::new(recorder)?;
    let together = Barrier::new(BLOCKED);
    let wait = || -> Result<()> {
        let (memory, client) = (LowMemory::map()?, impatient(PATIENCE)?);
        together.wait();
        let ret = memory.attempt(Entry::Direct, Op::Connect, client.raw_fd(), full.address);
        ensure!(ret == -libc::EINPROGRESS, "the connect returned {ret}");
        let ret = sys::attempt(Op::Bind, NOT_OPEN, 0, 0);
        ensure!(ret == -libc::EBADF, "the bind returned {ret}");
        Ok(())
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..BLOCKED).map(|_| scope.spawn(wait)).collect();
        threads
            .into_iter()
            .try_for_each(|thread| thread.join().map_err(|_| anyhow!("a thread panicked"))?)
    })
}

impl Attempts<'_> {
    fn binds(&self, busy: SocketAddr) -> Result<()> {
        let any = SocketAddr::new(LOOPBACK, 0);
        let (free, taken) = (Socket::tcp4()?, Socket::tcp4()?);
        let stages = "operation -98, get_port -98";
        self.bind("any port", Descriptor::Socket(&free), any, 0, None)?;
        self.bind(
            "taken",
            Descriptor::Socket(&taken),
            busy,
            -libc::EADDRINUSE,
            Some(stages),
        )?;
        let closed = Descriptor::Other(NOT_OPEN);
        self.bind("a closed descriptor", closed, any, -libc::EBADF, None)
    }

    fn connects(&self, listening: SocketAddr) -> Result<()> {
        let closed = SocketAddr::new(LOOPBACK, 7002);
        let (granted, refused) = (Socket::tcp4()?, Socket::tcp4()?);
        self.connect("granted", &granted, listening, 0, None)?;
        self.connect(
            "refused",
            &refused,
            closed,
            -libc::ECONNREFUSED,
            Some("operation -111, connect 0, syn sent"),
        )?;
        self.connect(
            "without waiting",
            &hasty()?,
            listening,
            -libc::EINPROGRESS,
            Some("operation -115, connect 0, syn sent"),
        )?;
        let unbound = Socket::tcp4()?;
        self.attempt(
            &Try {
                case: "listens unbound",
                op: Op::Listen,
                descriptor: Descriptor::Socket(&unbound),
                address: Address::Backlog(8),
            },
            0,
            None,
        )
    }

    fn bind(
        &self,
        case: &str,
        descriptor: Descriptor<'_>,
        address: SocketAddr,
        expected: i32,
        stages: Option<&str>,
    ) -> Result<()> {
        let what = Try {
            case,
            op: Op::Bind,
            descriptor,
            address: Address::Ip(address),
        };
        self.attempt(&what, expected, stages)
    }

    fn connect(
        &self,
        case: &str,
        socket: &Socket,
        address: SocketAddr,
        expected: i32,
        stages: Option<&str>,
    ) -> Result<()> {
        let what = Try::of(case, Op::Connect, socket, address);
        self.attempt(&what, expected, stages)
    }

    fn attempt(&self, what: &Try<'_>, expected: i32, stages: Option<&str>) -> Result<()> {
        // A listen() has no address; what is passed in its place is not looked at.
        let address = match what.address {
            Address::Ip(address) => address,
            _ => SocketAddr::new(LOOPBACK, 0),
        };
        let fd = what.descriptor.fd();
        let make = || self.memory.attempt(self.entry, what.op, fd, address);
        let mut truth = self.recorder.measure(what, expected, make)?;
        "compat32".clone_into(&mut truth.via);
        truth.stages = stages.map(str::to_owned);
        self.recorder.write(truth)
    }
}
