//! Attempts by `io_uring`: by the thread that asks, and by one of the ring's own.

use std::{fs, io, net::SocketAddr};

use anyhow::{Context as _, Result, ensure};

use super::super::{
    sys,
    truth::{Op, Truth},
    uring::{OP_BIND, OP_CONNECT, Ring, SQE_ASYNC},
};
use super::{
    connect::{ELSEWHERE, hasty, listener},
    recorder::{LOOPBACK, Recorder, Try, impossible},
    socket::Socket,
};

/// Which thread is to do it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Manner {
    Inline,
    Worker,
}

impl Manner {
    const fn flags(self) -> u8 {
        match self {
            Self::Inline => 0,
            Self::Worker => SQE_ASYNC,
        }
    }
}

struct Attempts<'a> {
    recorder: &'a Recorder,
    ring: Ring,
    manner: Manner,
}

pub(super) fn attempts(recorder: &Recorder) -> Result<()> {
    sys::enter_own_netns()?;
    let (_listener, address) = listener(recorder, 8)?;
    for manner in [Manner::Inline, Manner::Worker] {
        let ring = match Ring::new() {
            Ok(ring) => ring,
            Err(error) => return impossible(format!("{error:#}")),
        };
        let attempts = Attempts {
            recorder,
            ring,
            manner,
        };
        attempts.connects(address)?;
        attempts.binds(address)?;
    }
    Ok(())
}

impl Attempts<'_> {
    fn connects(&self, listening: SocketAddr) -> Result<()> {
        let granted = Socket::tcp4()?;
        let began = self.connect("granted", &granted, listening, 0)?;
        self.recorder.note(self.asked_again(began))?;
        let closed = SocketAddr::new(LOOPBACK, 7002);
        let refused = Socket::tcp4()?;
        self.connect("refused", &refused, closed, -libc::ECONNREFUSED)?;
        self.others_go_on()?;
        // The first rings did not wait for it, and told what had come of it by then.
        if !sys::is_before(5, 11)? {
            self.connect("without waiting", &hasty()?, closed, -libc::ECONNREFUSED)?;
            self.others_go_on()?;
        }
        let elsewhere = SocketAddr::from((ELSEWHERE, 80));
        self.connect("no route", &Socket::tcp4()?, elsewhere, -libc::ENETUNREACH)?;
        self.others_go_on()
    }

    /// The ring asks again when the socket tells that something came of it. Its own thread then
    /// has time to wait.
    fn asked_again(&self, mut truth: Truth) -> Truth {
        truth.case.push_str(", asked again");
        truth.ret = Some(0);
        truth.repeat = true;
        truth.stages = None;
        if self.manner == Manner::Worker
            && let Some(socket) = &mut truth.socket
        {
            socket.options.retain(|option| option != "nonblock");
        }
        truth
    }

    /// Some see the end of a call only when the thread makes its next one.
    fn others_go_on(&self) -> Result<()> {
        let socket = Socket::udp4()?;
        self.recorder
            .bind("no ring", &socket, SocketAddr::new(LOOPBACK, 0), 0)
    }

    /// Asks the ring for it, and notes the first that came of it: TCP began, or could not.
    fn connect(
        &self,
        case: &str,
        socket: &Socket,
        address: SocketAddr,
        expected: i32,
    ) -> Result<Truth> {
        let mut truth = self.measure(case, Op::Connect, socket, address, expected)?;
        let (ret, stages) = if expected == -libc::ENETUNREACH {
            (expected, "operation -101, connect -101")
        } else {
            (-libc::EINPROGRESS, "operation -115, connect 0, syn sent")
        };
        truth.ret = Some(ret);
        truth.stages = Some(stages.to_owned());
        // The ring never lets the protocol wait.
        if let Some(socket) = &mut truth.socket
            && !socket.options.iter().any(|option| option == "nonblock")
        {
            socket.options.push("nonblock".to_owned());
        }
        self.recorder.note(truth.clone())?;
        Ok(truth)
    }

    fn binds(&self, busy: SocketAddr) -> Result<()> {
        let (free, refused) = (Socket::tcp4()?, Socket::tcp4()?);
        let any = SocketAddr::new(LOOPBACK, 0);
        // A descriptor that is not open is found out later than an operation that is unknown.
        if self.ring.run(OP_BIND, 0, -1, &sys::sockaddr(any))? == -libc::EINVAL {
            let error = io::Error::from_raw_os_error(libc::EINVAL);
            self.run(OP_BIND, &free, any)?;
            return self.recorder.skip("binds by io_uring", &error);
        }
        let granted = self.measure("any port", Op::Bind, &free, any, 0)?;
        self.recorder.write(granted)?;
        let mut taken = self.measure("taken", Op::Bind, &refused, busy, -libc::EADDRINUSE)?;
        taken.stages = Some("operation -98, get_port -98".to_owned());
        self.recorder.write(taken)
    }

    fn measure(
        &self,
        case: &str,
        op: Op,
        socket: &Socket,
        address: SocketAddr,
        expected: i32,
    ) -> Result<Truth> {
        let what = Try::of(case, op, socket, address);
        let opcode = if op == Op::Bind { OP_BIND } else { OP_CONNECT };
        let mut result = Ok(());
        let mut truth = self.recorder.measure(&what, expected, || {
            self.run(opcode, socket, address).unwrap_or_else(|error| {
                result = Err(error);
                expected
            })
        })?;
        result?;
        "io_uring".clone_into(&mut truth.via);
        truth.fd = None;
        if self.manner == Manner::Worker {
            (truth.caller.tid, truth.caller.comm) = worker(op)?;
        }
        Ok(truth)
    }

    fn run(&self, opcode: u8, socket: &Socket, address: SocketAddr) -> Result<i32> {
        let flags = self.manner.flags();
        let address = sys::sockaddr(address);
        self.ring.run(opcode, flags, socket.raw_fd(), &address)
    }
}

/// The ring's own thread, which stays for a while when it has nothing more to do. There is one
/// for what may take long, as connects, which come first here, and one for the rest.
fn worker(op: Op) -> Result<(u32, String)> {
    let mut found: Vec<(u32, String)> = Vec::new();
    for task in fs::read_dir("/proc/self/task")? {
        let path = task?.path();
        let comm = fs::read_to_string(path.join("comm"))?;
        let tid = path
            .file_name()
            .and_then(|name| name.to_str()?.parse().ok());
        if comm.starts_with("iou-wrk-") {
            found.push((tid.context("no thread number")?, comm.trim_end().to_owned()));
        }
    }
    found.sort();
    let expected = if op == Op::Connect { 1 } else { 2 };
    ensure!(found.len() == expected, "not {expected} workers: {found:?}");
    found.pop().context("no worker")
}
