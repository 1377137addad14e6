//! What an ordinary user may do to have others not seen: more calls than a table has room for, that wait, or
//! whose end nobody sees.

use std::{
    ffi::OsString,
    fs,
    io::{self, Read as _, Write as _},
    net::SocketAddr,
    sync::Mutex,
    thread,
};

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use rustix::{
    net::{connect, getsockname, listen},
    process::{Resource, Rlimit, setrlimit},
};

use super::{
    super::{
        sys,
        uring::{OP_CONNECT, Ring},
    },
    USER,
    recorder::LOOPBACK,
    socket::Socket,
};

/// More than the table of kernels without task storage has room for (8,192).
const MANY: usize = 8_320;
/// The least that a thread can have.
const STACK: usize = 16 * 1024;
const THREADS_MAX: &str = "/proc/sys/kernel/threads-max";

/// Argument: how. Says when it has done so, and ends with its input.
pub(super) fn blind(mut args: impl Iterator<Item = OsString>) -> Result<()> {
    allow_many()?;
    sys::enter_own_netns()?;
    sys::become_user(USER)?;
    match args.next().as_deref().and_then(|how| how.to_str()) {
        Some("waiting") => waiting()?,
        Some("requests") => requests()?,
        Some("reconnects") => reconnects()?,
        other => bail!("no way to blind is called {other:?}"),
    }
    writeln!(io::stdout(), "done")?;
    io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}

/// As many descriptors and threads as it takes, which small machines do not allow.
fn allow_many() -> Result<()> {
    let limit = Some(2 * MANY as u64);
    for resource in [Resource::Nofile, Resource::Nproc] {
        setrlimit(
            resource,
            Rlimit {
                current: limit,
                maximum: limit,
            },
        )?;
    }
    let threads: usize = fs::read_to_string(THREADS_MAX)?.trim().parse()?;
    if threads < 2 * MANY {
        fs::write(THREADS_MAX, (2 * MANY).to_string())?;
    }
    Ok(())
}

/// As many threads, each in a connect that nobody answers.
fn waiting() -> Result<()> {
    let (listener, address) = listener(0)?;
    let filler = Socket::tcp4()?;
    connect(&filler, &address)?;
    sys::wait_for_connection(listener.raw_fd())?;
    for _ in 0..MANY {
        let socket = Socket::tcp4()?;
        let wait = move || connect(&socket, &address);
        thread::Builder::new()
            .stack_size(STACK)
            .spawn(wait)
            .context("one more thread")?;
    }
    while connecting()? < MANY {
        thread::yield_now();
    }
    // They wait until the process ends.
    std::mem::forget((listener, filler));
    Ok(())
}

/// Sockets of this network namespace that have sent a SYN.
fn connecting() -> Result<usize> {
    const SYN_SENT: &str = "02";
    let table = fs::read_to_string("/proc/thread-self/net/tcp")?;
    let states = table
        .lines()
        .filter_map(|line| line.split_whitespace().nth(3));
    Ok(states.filter(|&state| state == SYN_SENT).count())
}

/// As many threads, one after the other, each of which has the kernel connect what is connected already.
fn requests() -> Result<()> {
    let ring = Mutex::new(Ring::new()?);
    in_short_threads(|connected, address| {
        let address = sys::sockaddr(address);
        let ring = ring.lock().map_err(|_| anyhow!("a thread panicked"))?;
        let result = ring.run(OP_CONNECT, 0, connected.raw_fd(), &address)?;
        ensure!(result == -libc::EISCONN, "{result}");
        Ok(())
    })
}

/// The same by system calls.
fn reconnects() -> Result<()> {
    in_short_threads(|connected, address| {
        ensure!(connect(connected, &address).is_err(), "connected twice");
        Ok(())
    })
}

fn in_short_threads(act: impl Fn(&Socket, SocketAddr) -> Result<()> + Sync) -> Result<()> {
    let (_listener, address) = listener(8)?;
    let connected = Socket::tcp4()?;
    connect(&connected, &address)?;
    for _ in 0..MANY {
        thread::scope(|scope| {
            let thread = scope.spawn(|| act(&connected, address));
            thread.join().map_err(|_| anyhow!("a thread panicked"))?
        })?;
    }
    Ok(())
}

fn listener(backlog: i32) -> Result<(Socket, SocketAddr)> {
    let listener = Socket::tcp4()?;
    rustix::net::bind(&listener, &SocketAddr::new(LOOPBACK, 0))?;
    listen(&listener, backlog)?;
    let address = getsockname(&listener)?.try_into()?;
    Ok((listener, address))
}
