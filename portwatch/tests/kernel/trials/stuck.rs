//! Descriptors that block whoever closes them: a caller may pass any, and portwatch looks at them
//! from outside.

use std::{
    fs,
    io::Write as _,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{ChildStdin, Command},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use rustix::process::{Pid, Signal, kill_process};

use super::{
    super::{
        asked::why,
        driver::{Pace, Workload},
        fuse::Stuck,
        holders::names,
        portwatch::{self, Portwatch, Started},
        process::{Process, next_line},
        source::{self, Source},
        workload::{FLAG, LINGERING},
    },
    path::modprobe,
    program::need,
};

/// Whoever waited would do so for a minute and more.
const SOON: Duration = Duration::from_secs(20);

/// A file whose server never answers its close.
pub(super) fn file(source: Source) -> Result<()> {
    if !Path::new("/dev/fuse").exists() {
        modprobe(&["fuse"])?;
    }
    let mut portwatch = portwatch::start(source, &[])?;
    // Dropped first, so that nothing waits for it any more if this fails.
    let mut stuck = Stuck::open()?;
    for _ in 0..3 {
        stuck.call()?;
    }
    goes_on(&mut portwatch)?;
    portwatch.wait_for(stuck.pid, 6)?;
    let answered = why(false, stuck.port)?;
    ensure!(names(Some(&answered.cause), stuck.pid), "{}", answered.text);
    let begin = Instant::now();
    portwatch.signal(Signal::TERM)?;
    portwatch.finish()?;
    ended_soon(begin)?;
    ensure!(stuck.still_serves(), "it waited for the end of the server");
    Ok(())
}

/// Sockets that send what is left when they are closed, and wait for it (`SO_LINGER`), unless it is
/// by their process's end: whoever has a duplicate then is the one who waits.
pub(super) fn socket(source: Source) -> Result<()> {
    need(&["strace"])?;
    let messages = tempfile::NamedTempFile::new()?;
    let mut strace = Command::new("strace");
    // Whatever is duplicated is portwatch's alone a moment later.
    strace
        .args(["-f", "-qq", "-e", "trace=pidfd_getfd"])
        .args(["-e", "inject=pidfd_getfd:delay_exit=50000", "-o"])
        .arg(messages.path())
        .arg(source::binary()?)
        .args(["--json", "--source", source.name()]);
    let started = Started::run(&mut strace)?.check_started_as(source)?;
    let mut portwatch = started.read();
    let start = portwatch.stream().starts.first().context("no start")?;
    let traced = Traced(Pid::from_raw(start.pid.cast_signed()).context("no process")?);
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let caller = Lingering::connect(&listener)?;
    let pid = caller.process.pid();
    caller.killed_once_it_is_not_alone(traced.0, || portwatch.wait_for(pid, 2))?;
    goes_on(&mut portwatch)?;
    let begin = Instant::now();
    kill_process(traced.0, Signal::TERM)?;
    portwatch.finish()?;
    ended_soon(begin)
}

/// A process with such a socket.
struct Lingering {
    process: Process,
    stdin: ChildStdin,
    /// How the links in /proc name the socket
    name: PathBuf,
}

impl Lingering {
    fn connect(listener: &TcpListener) -> Result<Self> {
        let address = listener.local_addr()?.to_string();
        let own = std::env::current_exe()?;
        let mut process = Process::spawn(Command::new(own).args([FLAG, LINGERING, &address]))?;
        let stdin = process.stdin()?;
        let Some(inode) = next_line(&mut process.stdout()?)? else {
            return Err(process.obituary());
        };
        Ok(Self {
            process,
            stdin,
            name: format!("socket:[{inode}]").into(),
        })
    }

    /// Has it call bind and connect, and kills it while somebody else has the socket, if ever that
    /// is seen until its calls were reported.
    fn killed_once_it_is_not_alone(
        mut self,
        other: Pid,
        reported: impl FnOnce() -> Result<()>,
    ) -> Result<()> {
        self.stdin.write_all(b"\n")?;
        let (process, name) = (&self.process, &self.name);
        let is_over = AtomicBool::new(false);
        let descriptors = format!("/proc/{}/fd", other.as_raw_nonzero());
        thread::scope(|scope| {
            scope.spawn(|| {
                while !is_over.load(Ordering::Acquire) {
                    if has(&descriptors, name) {
                        // It may have been killed before.
                        drop(process.signal(Signal::KILL));
                    }
                }
            });
            let result = reported();
            is_over.store(true, Ordering::Release);
            result
        })
    }
}

/// Whether that is among the links.
fn has(descriptors: &str, name: &Path) -> bool {
    let entries = fs::read_dir(descriptors).into_iter().flatten().flatten();
    entries
        .filter_map(|entry| fs::read_link(entry.path()).ok())
        .any(|target| target == name)
}

/// A portwatch that another program runs, whose end is not its own.
struct Traced(Pid);

impl Drop for Traced {
    fn drop(&mut self) {
        // It has ended already unless the trial has failed.
        let _ = kill_process(self.0, Signal::KILL);
    }
}

/// Attempts of others are shown.
fn goes_on(portwatch: &mut Portwatch) -> Result<()> {
    Workload::prepare("five_binds", Pace::Stepwise)?
        .run(portwatch)
        .map(drop)
}

fn ended_soon(begin: Instant) -> Result<()> {
    let took = begin.elapsed();
    ensure!(took < SOON, "it ended after {took:?}");
    Ok(())
}
