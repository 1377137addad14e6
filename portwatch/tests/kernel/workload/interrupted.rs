//! Connects that wait, and are interrupted.

use std::{
    io::{self, PipeReader, Read as _},
    net::SocketAddr,
    os::fd::{IntoRawFd as _, OwnedFd},
    sync::atomic::{AtomicI32, Ordering},
    thread::Scope,
    time::Duration,
};

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use rustix::net::{AddressFamily, RecvFlags, SocketType, ipproto, recv, socket};

use super::super::{
    sys,
    truth::{Line, Op},
};
use super::{
    connect::{FullListener, hasty, impatient},
    recorder::{LOOPBACK, Recorder, Try, now},
    socket::Socket,
};

/// Longer than any of these waits, in nanoseconds.
const LONG: i64 = 100_000_000_000;
/// A limit that is not reached: with one, the call is not begun anew after a signal.
pub(super) const PATIENCE: Duration = Duration::from_secs(100);
/// What a connect was worth that TCP began and a signal ended.
const STAGES: &str = "operation -512, connect 0, syn sent";

/// The writing end of the pipe that tells of signals.
static TOLD: AtomicI32 = AtomicI32::new(-1);

/// Killed by somebody else while it waits.
pub(super) fn by_death(recorder: &Recorder) -> Result<()> {
    sys::enter_own_netns()?;
    let full = FullListener::new(recorder)?;
    let client = bound(recorder, Socket::tcp4()?)?;
    let what = Try::of("killed", Op::Connect, &client, full.address);
    let began = now();
    let mut truth = recorder.truth(&what, -libc::EINTR, began, began + LONG)?;
    truth.stages = Some(STAGES.to_owned());
    let sniffer = Sniffer::open()?;
    std::thread::scope(|scope| {
        scope.spawn(|| -> Result<()> {
            sniffer.wait_for_syn(full.address)?;
            recorder.note(truth)?;
            recorder.ask(&Line::Kill)
        });
        bail!("the connect returned {}", what.make())
    })
}

/// Ended by a signal: the caller is told EINTR, and the socket goes on.
pub(super) fn by_a_signal(recorder: &Recorder) -> Result<()> {
    sys::enter_own_netns()?;
    let told = handle_alarms(0)?;
    // The kernel's own error, from which its caller gets EINTR, and EINTR itself.
    for (client, operation) in [
        (Socket::tcp4()?, -512),
        (impatient(PATIENCE)?, -libc::EINTR),
    ] {
        // Each with a port of its own: the first one's repeated request is no sign that the second waits.
        let full = FullListener::new(recorder)?;
        // After the request of who fills it.
        let sniffer = Sniffer::open()?;
        let client = bound(recorder, client)?;
        let mut told = told.try_clone()?;
        let mut truth = std::thread::scope(|scope| {
            let waiter = interrupt(scope, &sniffer, full.address, &mut told, 1);
            let what = Try::of("interrupted", Op::Connect, &client, full.address);
            let truth = recorder.attempted(&what, -libc::EINTR);
            joined(waiter)?;
            truth
        })?;
        truth.stages = Some(format!("operation {operation}, connect 0, syn sent"));
        recorder.write(truth)?;
    }
    Ok(())
}

/// Interrupted twice, and begun anew by the kernel each time: one call for its caller.
pub(super) fn and_restarted(recorder: &Recorder) -> Result<()> {
    begun_anew(recorder, Some(handle_alarms(libc::SA_RESTART)?))
}

/// The same, of a process that is stopped for a moment while it waits, and has no handler.
pub(super) fn by_a_stop(recorder: &Recorder) -> Result<()> {
    begun_anew(recorder, None)
}

/// By alarms, if somebody tells of them; else by a stop. Lasts longer than anybody waits for what
/// becomes of a call that was interrupted.
fn begun_anew(recorder: &Recorder, mut told: Option<PipeReader>) -> Result<()> {
    sys::enter_own_netns()?;
    let full = FullListener::new(recorder)?;
    let sniffer = Sniffer::open()?;
    let client = bound(recorder, Socket::tcp4()?)?;
    let mut truth = std::thread::scope(|scope| {
        let waiter = match &mut told {
            Some(told) => interrupt(scope, &sniffer, full.address, told, 2),
            None => scope.spawn(|| {
                sniffer.wait_for_syn(full.address)?;
                recorder.ask(&Line::Stop)
            }),
        };
        let helper = scope.spawn(|| {
            joined(waiter)?;
            // The second of them comes after a second, the third two seconds later.
            sniffer.wait_for_syn(full.address)?;
            full.make_room()
        });
        let what = Try::of("begun anew", Op::Connect, &client, full.address);
        let truth = recorder.attempted(&what, 0);
        joined(helper)?;
        truth
    })?;
    truth.ret = Some(-libc::EINTR);
    truth.stages = Some(STAGES.to_owned());
    recorder.note(truth)?;
    // It was written when it had been pending for a second: that is not yet all of it.
    recorder.ask(&Line::Resumed(1))
}

/// Pending for some seconds after its call has returned.
pub(super) fn not_at_all(recorder: &Recorder) -> Result<()> {
    sys::enter_own_netns()?;
    let full = FullListener::new(recorder)?;
    let sniffer = Sniffer::open()?;
    let client = hasty()?;
    recorder.connect("lasts", &client, full.address, -libc::EINPROGRESS)?;
    sniffer.wait_for_syn(full.address)?;
    sniffer.wait_for_syn(full.address)?;
    full.make_room()?;
    recorder.ask(&Line::Ended(1))
}

/// With an end of its own, so that this is known whatever becomes of the connect.
fn bound(recorder: &Recorder, socket: Socket) -> Result<Socket> {
    recorder.bind("before", &socket, SocketAddr::new(LOOPBACK, 0), 0)?;
    Ok(socket)
}

pub(super) type Helper<'scope> = std::thread::ScopedJoinHandle<'scope, Result<()>>;

pub(super) fn joined(helper: Helper<'_>) -> Result<()> {
    helper.join().map_err(|_| anyhow!("a thread panicked"))?
}

/// Sends the calling thread SIGALRM so often, once its connect waits; done when each was handled.
pub(super) fn interrupt<'scope>(
    scope: &'scope Scope<'scope, '_>,
    sniffer: &'scope Sniffer,
    address: SocketAddr,
    told: &'scope mut PipeReader,
    times: usize,
) -> Helper<'scope> {
    // SAFETY: the call has no conditions.
    let caller = unsafe { libc::pthread_self() };
    scope.spawn(move || {
        sniffer.wait_for_syn(address)?;
        for _ in 0..times {
            // SAFETY: the thread lives: it waits for this one.
            let error = unsafe { libc::pthread_kill(caller, libc::SIGALRM) };
            ensure!(error == 0, "pthread_kill: {error}");
            told.read_exact(&mut [0])
                .context("nobody tells of signals")?;
        }
        Ok(())
    })
}

/// The reading end of a pipe, into which each SIGALRM writes a byte.
pub(super) fn handle_alarms(flags: i32) -> Result<PipeReader> {
    let (read, write) = io::pipe()?;
    TOLD.store(OwnedFd::from(write).into_raw_fd(), Ordering::Relaxed);
    // SAFETY: integers, a handler and a set, for which zero is a value.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = tell as extern "C" fn(libc::c_int) as *const () as usize;
    action.sa_flags = flags;
    // SAFETY: the handler does only what is allowed in one.
    match unsafe { libc::sigaction(libc::SIGALRM, &raw const action, std::ptr::null_mut()) } {
        0 => Ok(read),
        _ => Err(io::Error::last_os_error()).context("sigaction"),
    }
}

extern "C" fn tell(_signal: libc::c_int) {
    // SAFETY: one byte; `write()` may be called in a handler.
    unsafe { libc::write(TOLD.load(Ordering::Relaxed), b"!".as_ptr().cast(), 1) };
}

/// Sees what TCP sends in this network namespace.
pub(super) struct Sniffer(OwnedFd);

impl Sniffer {
    pub(super) fn open() -> Result<Self> {
        let socket = socket(AddressFamily::INET, SocketType::RAW, Some(ipproto::TCP));
        socket.map(Self).context("a raw socket")
    }

    /// Blocks until somebody asks for a connection to that port: who does, waits.
    pub(super) fn wait_for_syn(&self, address: SocketAddr) -> Result<()> {
        const FLAGS: usize = 13;
        const SYN: u8 = 2;
        let mut packet = [0; 256];
        loop {
            let (length, _) = recv(&self.0, &mut packet, RecvFlags::empty())?;
            let header = usize::from(packet[0] & 0xf) * 4;
            let tcp = packet[..length].get(header..).unwrap_or_default();
            let is_syn = tcp.get(FLAGS) == Some(&SYN);
            if is_syn && tcp.get(2..4) == Some(&address.port().to_be_bytes()) {
                return Ok(());
            }
        }
    }
}
