//! A child process that cannot outlive its test, nor make it wait forever.

use std::{
    io::{BufRead, BufReader, Read as _},
    os::{
        fd::{AsFd as _, OwnedFd},
        unix::process::ExitStatusExt as _,
    },
    process::{Child, ChildStderr, ChildStdin, ChildStdout, Command, Stdio},
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{self, RecvTimeoutError},
    },
    thread::JoinHandle,
    time::Duration,
};

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use rustix::process::{
    Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, pidfd_open, pidfd_send_signal, waitid,
};

/// After this a process is killed and its test fails: emulated machines are slow.
const LIMIT: Duration = Duration::from_mins(2);

/// A running process; killed when dropped.
pub(crate) struct Process {
    child: Child,
    pidfd: OwnedFd,
    stderr: Stderr,
    /// Dropped when the process was waited for, which ends the watchdog.
    watchdog: Option<mpsc::Sender<()>>,
}

/// What was left when a process had ended.
pub(crate) struct Ended {
    /// As a shell says it: 128 + the signal if one killed it
    pub(crate) code: i32,
    pub(crate) stderr: String,
}

/// What a process wrote to its stderr so far.
struct Stderr {
    text: Arc<Mutex<Vec<u8>>>,
    reader: Option<JoinHandle<()>>,
}

impl Process {
    /// Starts it with its standard streams connected to pipes.
    pub(crate) fn spawn(command: &mut Command) -> Result<Self> {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot run {}", command.get_program().display()))?;
        let pidfd = pidfd_open(Pid::from_child(&child), PidfdFlags::empty())?;
        let watchdog = Some(watch(pidfd.try_clone()?));
        let stderr = Stderr::read(child.stderr.take());
        Ok(Self {
            child,
            pidfd,
            stderr,
            watchdog,
        })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn stdout(&mut self) -> Result<BufReader<ChildStdout>> {
        self.child
            .stdout
            .take()
            .map(BufReader::new)
            .context("stdout was taken already")
    }

    pub(crate) fn stdin(&mut self) -> Result<ChildStdin> {
        self.child.stdin.take().context("stdin was taken already")
    }

    pub(crate) fn signal(&self, signal: Signal) -> Result<()> {
        pidfd_send_signal(&self.pidfd, signal).context("cannot signal the process")
    }

    /// Stops it in its tracks, all threads.
    pub(crate) fn stop(&self) -> Result<()> {
        self.signal(Signal::STOP)?;
        let options = WaitIdOptions::STOPPED | WaitIdOptions::NOWAIT;
        waitid(WaitId::PidFd(self.pidfd.as_fd()), options).context("it does not stop")?;
        Ok(())
    }

    /// Waits for its end, however it ended.
    pub(crate) fn wait(&mut self) -> Result<Ended> {
        let status = self.child.wait()?;
        self.watchdog = None;
        let code = status
            .code()
            .or_else(|| status.signal().map(|signal| 128 + signal))
            .unwrap_or(-1);
        Ok(Ended {
            code,
            stderr: self.stderr.finish(),
        })
    }

    /// Why it broke off, for an error message: kills it if it still runs.
    pub(crate) fn obituary(&mut self) -> anyhow::Error {
        // It may have ended by itself, which is what is asked here.
        drop(self.child.kill());
        match self.wait() {
            Ok(ended) => anyhow!(
                "it ended with code {}; stderr: {:?}",
                ended.code,
                ended.stderr
            ),
            Err(error) => error,
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.watchdog.is_some() {
            // It may have ended by itself; then there is nothing to kill.
            drop(self.child.kill());
            drop(self.child.wait());
        }
    }
}

impl Ended {
    pub(crate) fn expect_code(self, code: i32) -> Result<Self> {
        ensure!(
            self.code == code,
            "exit code {}, expected {code}; stderr: {:?}",
            self.code,
            self.stderr
        );
        Ok(self)
    }

    pub(crate) fn expect_quiet(self) -> Result<Self> {
        ensure!(
            self.stderr.is_empty(),
            "it was to say nothing, but said {:?}",
            self.stderr
        );
        Ok(self)
    }
}

impl Stderr {
    fn read(pipe: Option<ChildStderr>) -> Self {
        let text = Arc::<Mutex<Vec<u8>>>::default();
        let reader = pipe.map(|mut pipe| {
            let text = Arc::clone(&text);
            std::thread::spawn(move || {
                let mut buffer = [0; 4096];
                while let Ok(length @ 1..) = pipe.read(&mut buffer) {
                    text.lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .extend(&buffer[..length]);
                }
            })
        });
        Self { text, reader }
    }

    /// All of it, after the end of the process.
    fn finish(&mut self) -> String {
        if let Some(reader) = self.reader.take() {
            // A panic there would have been printed; what was read before it is still there.
            drop(reader.join());
        }
        let text = self.text.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&text).into_owned()
    }
}

/// Kills the process if it was not waited for within [`LIMIT`].
fn watch(pidfd: OwnedFd) -> mpsc::Sender<()> {
    let (alive, ended) = mpsc::channel();
    std::thread::spawn(move || {
        if ended.recv_timeout(LIMIT) == Err(RecvTimeoutError::Timeout) {
            // Failing means that it ended just now.
            let _ = pidfd_send_signal(&pidfd, Signal::KILL);
        }
    });
    alive
}

/// The next line without its end; `None` at the end of the stream.
pub(crate) fn next_line(reader: &mut impl BufRead) -> Result<Option<String>> {
    let mut line = String::new();
    if reader.read_line(&mut line).context("cannot read a line")? == 0 {
        return Ok(None);
    }
    match line.strip_suffix('\n') {
        Some(line) => Ok(Some(line.to_owned())),
        None => bail!("a partial line: {line:?}"),
    }
}
