//! Attempts by `io_uring`: by the thread that asks, by one of the ring's own, and by the thread that asked
//! while it is in another call.

use std::{
    fs,
    io::{self, Write as _},
    net::SocketAddr,
    os::fd::{AsFd as _, AsRawFd as _, RawFd},
    ptr, thread,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use rustix::{
    event::epoll,
    net::{AddressFamily, SocketType, socket},
    thread::Pid,
};

use super::super::{
    sys,
    truth::{Op, Truth},
    uring::{OP_BIND, OP_CONNECT, Ring, SQE_ASYNC},
};
use super::{
    connect::{ELSEWHERE, FullListener, hasty, impatient, listener},
    interrupted::{PATIENCE, joined},
    recorder::{Address, Descriptor, LOOPBACK, Recorder, Try, impossible},
    socket::Socket,
};

/// Which thread is to do it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Manner {
    Inline,
    Worker,
    /// A thread of the ring's own that waits for requests
    Polled,
    /// The thread that asked, while it waits in another call
    Within(Wait),
}

/// A call that waits.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wait {
    Sleep,
    Epoll,
    /// A connect that nobody answers
    Connect,
}

impl Wait {
    const fn number(self) -> libc::c_long {
        match self {
            Self::Sleep => libc::SYS_clock_nanosleep,
            Self::Epoll => libc::SYS_epoll_pwait,
            Self::Connect => libc::SYS_connect,
        }
    }
}

struct Attempts<'a> {
    recorder: &'a Recorder,
    ring: Ring,
    manner: Manner,
    /// The ring knows how to bind.
    binds: bool,
}

/// By whatever thread is free for it.
pub(super) fn attempts(recorder: &Recorder) -> Result<()> {
    // Before, a ring that is polled took only descriptors that had been registered.
    let manners: &[Manner] = if sys::is_before(5, 11)? {
        &[Manner::Inline, Manner::Worker]
    } else {
        &[Manner::Inline, Manner::Worker, Manner::Polled]
    };
    in_manners(recorder, manners)
}

/// By the thread that asked, while it waits.
pub(super) fn attempts_within(recorder: &Recorder) -> Result<()> {
    let waits = [Wait::Sleep, Wait::Epoll, Wait::Connect];
    in_manners(recorder, &waits.map(Manner::Within))
}

fn in_manners(recorder: &Recorder, manners: &[Manner]) -> Result<()> {
    sys::enter_own_netns()?;
    let (_listener, address) = listener(recorder, 8)?;
    for &manner in manners {
        let ring = match manner {
            Manner::Polled => Ring::polled(),
            _ => Ring::new(),
        };
        let ring = match ring {
            Ok(ring) => ring,
            Err(error) => return impossible(format!("{error:#}")),
        };
        let attempts = Attempts {
            recorder,
            manner,
            binds: binds(&ring)?,
            ring,
        };
        attempts.connects(address)?;
        attempts.binds(address)?;
        attempts.reach_no_socket()?;
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
        if !self.binds {
            let error = io::Error::from_raw_os_error(libc::EINVAL);
            return self.recorder.skip("binds by io_uring", &error);
        }
        let (free, refused) = (Socket::tcp4()?, Socket::tcp4()?);
        let any = SocketAddr::new(LOOPBACK, 0);
        let granted = self.measure("any port", Op::Bind, &free, any, 0)?;
        self.recorder.write(granted)?;
        let mut taken = self.measure("taken", Op::Bind, &refused, busy, -libc::EADDRINUSE)?;
        taken.stages = Some("operation -98, get_port -98".to_owned());
        self.recorder.write(taken)
    }

    /// A file, and a socket that is none of the internet.
    fn reach_no_socket(&self) -> Result<()> {
        let null = fs::File::open("/dev/null")?;
        let unix = socket(AddressFamily::UNIX, SocketType::STREAM, None)?;
        let address = SocketAddr::new(LOOPBACK, 7002);
        for (case, fd, error) in [
            ("a file", null.as_raw_fd(), -libc::ENOTSOCK),
            (
                "a socket of another family",
                unix.as_raw_fd(),
                -libc::EINVAL,
            ),
        ] {
            let what = |op| Try {
                case,
                op,
                descriptor: Descriptor::Other(fd),
                address: Address::Ip(address),
            };
            let connect = self.made(&what(Op::Connect), address, error)?;
            self.recorder.write(connect)?;
            if self.binds {
                let bind = self.made(&what(Op::Bind), address, error)?;
                self.recorder.write(bind)?;
            }
        }
        Ok(())
    }

    fn measure(
        &self,
        case: &str,
        op: Op,
        socket: &Socket,
        address: SocketAddr,
        expected: i32,
    ) -> Result<Truth> {
        self.made(&Try::of(case, op, socket, address), address, expected)
    }

    fn made(&self, what: &Try<'_>, address: SocketAddr, expected: i32) -> Result<Truth> {
        let op = what.op;
        let opcode = if op == Op::Bind { OP_BIND } else { OP_CONNECT };
        let fd = what.descriptor.fd();
        let mut result = Ok(());
        let mut truth = self.recorder.measure(what, expected, || {
            self.run(opcode, fd, address).unwrap_or_else(|error| {
                result = Err(error);
                expected
            })
        })?;
        result?;
        "io_uring".clone_into(&mut truth.via);
        truth.fd = None;
        if let Some(thread) = self.manner.thread(op)? {
            (truth.caller.tid, truth.caller.comm) = thread;
        }
        Ok(truth)
    }

    fn run(&self, opcode: u8, fd: RawFd, address: SocketAddr) -> Result<i32> {
        let address = sys::sockaddr(address);
        match self.manner {
            Manner::Inline | Manner::Polled => self.ring.run(opcode, 0, fd, &address),
            Manner::Worker => self.ring.run(opcode, SQE_ASYNC, fd, &address),
            Manner::Within(wait) => self.run_within(wait, opcode, fd, &address),
        }
    }

    /// The ring begins when the pipe is written, and that is when this thread waits.
    fn run_within(&self, wait: Wait, opcode: u8, fd: RawFd, address: &[u8]) -> Result<i32> {
        let (reader, mut writer) = io::pipe()?;
        // By then this thread makes no other call that the helper could take for the one that waits.
        let vain = match wait {
            Wait::Connect => Some(self.in_vain()?),
            Wait::Sleep | Wait::Epoll => None,
        };
        self.ring.prepare(reader.as_fd(), opcode, fd, address)?;
        let caller = rustix::thread::gettid();
        thread::scope(|scope| {
            let helper = scope.spawn(move || {
                until_in_call(caller, wait.number())?;
                writer.write_all(b"!").context("the pipe")
            });
            let mut result = None;
            if let Some((full, client)) = &vain {
                self.connect_in_vain(full, client)?;
            }
            while result.is_none() {
                wait.a_while()?;
                result = self.ring.prepared()?;
            }
            joined(helper)?;
            result.context("nothing was prepared")
        })
    }

    /// A listener that answers nobody, and who is to ask it.
    fn in_vain(&self) -> Result<(FullListener, Socket)> {
        let full = FullListener::new(self.recorder)?;
        let client = impatient(PATIENCE)?;
        self.recorder
            .bind("before", &client, SocketAddr::new(LOOPBACK, 0), 0)?;
        Ok((full, client))
    }

    /// A connect that waits until the ring wants the thread.
    fn connect_in_vain(&self, full: &FullListener, client: &Socket) -> Result<()> {
        let what = Try::of("in vain", Op::Connect, client, full.address);
        let mut truth = self.recorder.attempted(&what, -libc::EINTR)?;
        truth.stages = Some("operation -4, connect 0, syn sent".to_owned());
        // Nobody waits for portwatch before the socket goes.
        truth.settled = false;
        self.recorder.note(truth)
    }
}

impl Wait {
    fn a_while(self) -> Result<()> {
        const MOMENT: Duration = Duration::from_millis(100);
        if self == Self::Epoll {
            let epoll = epoll::create(epoll::CreateFlags::empty())?;
            let mut event = libc::epoll_event { events: 0, u64: 0 };
            let limit = i32::try_from(MOMENT.as_millis())?;
            // SAFETY: there is room for one event, and no signal mask.
            unsafe {
                libc::epoll_pwait(epoll.as_raw_fd(), &raw mut event, 1, limit, ptr::null());
            }
        } else {
            thread::sleep(MOMENT);
        }
        Ok(())
    }
}

/// A descriptor that is not open is found out later than an operation that is unknown.
fn binds(ring: &Ring) -> Result<bool> {
    let address = sys::sockaddr(SocketAddr::new(LOOPBACK, 0));
    Ok(ring.run(OP_BIND, 0, -1, &address)? != -libc::EINVAL)
}

/// Until that thread of this process is in that system call.
fn until_in_call(thread: Pid, number: libc::c_long) -> Result<()> {
    let path = format!("/proc/self/task/{thread}/syscall");
    let number = number.to_string();
    while fs::read_to_string(&path)?.split_whitespace().next() != Some(&number) {
        thread::yield_now();
    }
    Ok(())
}

impl Manner {
    /// The ring's own thread that does it, where one does. A worker stays for a while when it has nothing
    /// more to do. There is one for what may take long, as connects, which come first here, and one for the
    /// rest.
    fn thread(self, op: Op) -> Result<Option<(u32, String)>> {
        match self {
            Self::Inline | Self::Within(_) => Ok(None),
            Self::Worker => {
                let place = usize::from(op == Op::Bind);
                let found = threads("iou-wrk-")?;
                ensure!(found.len() <= 2, "more than two workers: {found:?}");
                found.into_iter().nth(place).context("no worker").map(Some)
            }
            Self::Polled => threads("iou-sqp-")?.pop().context("no poller").map(Some),
        }
    }
}

/// Threads of this process whose names begin with that, in the order of their numbers.
fn threads(prefix: &str) -> Result<Vec<(u32, String)>> {
    let mut found: Vec<(u32, String)> = Vec::new();
    for task in fs::read_dir("/proc/self/task")? {
        let path = task?.path();
        let comm = fs::read_to_string(path.join("comm"))?;
        let tid = path
            .file_name()
            .and_then(|name| name.to_str()?.parse().ok());
        if comm.starts_with(prefix) {
            found.push((tid.context("no thread number")?, comm.trim_end().to_owned()));
        }
    }
    found.sort();
    Ok(found)
}
