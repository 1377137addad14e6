//! portwatch as a child process, and the stream it writes.

use std::{
    collections::BTreeMap,
    io::BufReader,
    process::{ChildStdout, Command},
    sync::mpsc::{self, Receiver, RecvTimeoutError},
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::retry_on_intr,
    process::Signal,
};

use super::{
    process::{Ended, Process, next_line},
    source::{self, Source},
    stream::Stream,
};

/// An event that was not written by then is missing: emulated machines are slow.
const PATIENCE: Duration = Duration::from_secs(20);

/// So it is with the start, in which the kernel verifies programs.
const START_PATIENCE: Duration = Duration::from_secs(90);

/// portwatch with its start line read: from here on it misses nothing.
///
/// Nothing after that line is read before [`Started::read`]: a reader that stalls.
pub(crate) struct Started {
    process: Process,
    stdout: BufReader<ChildStdout>,
    stream: Stream,
}

/// portwatch with somebody who reads what it writes.
pub(crate) struct Portwatch {
    process: Process,
    lines: Receiver<Result<String>>,
    stream: Stream,
    counts: BTreeMap<u32, usize>,
}

/// `portwatch --json --source …` with more arguments.
pub(crate) fn command(source: Source, args: &[&str]) -> Result<Command> {
    let mut command = Command::new(source::binary()?);
    command
        .args(["--json", "--source", source.name()])
        .args(args);
    Ok(command)
}

/// Starts it and reads on, as users do.
pub(crate) fn start(source: Source, args: &[&str]) -> Result<Portwatch> {
    Ok(Started::run(&mut command(source, args)?)?
        .check_backend(source)?
        .read())
}

impl Started {
    pub(crate) fn run(command: &mut Command) -> Result<Self> {
        let mut process = Process::spawn(command)?;
        let mut stdout = process.stdout()?;
        let mut stream = Stream::default();
        if !is_readable_in_time(stdout.get_ref())? {
            return Err(process.obituary().context("portwatch does not start"));
        }
        match next_line(&mut stdout)? {
            Some(line) => stream.push(&line)?,
            None => return Err(process.obituary().context("portwatch did not start")),
        }
        Ok(Self {
            process,
            stdout,
            stream,
        })
    }

    pub(crate) fn check_backend(self, source: Source) -> Result<Self> {
        let started = self.check_started_as(source)?;
        let start = started.stream.starts.first().context("no start")?;
        ensure!(
            start.pid == started.pid(),
            "pid {} in the start line of {}",
            start.pid,
            started.pid()
        );
        Ok(started)
    }

    /// The same for one that another program runs.
    pub(crate) fn check_started_as(self, source: Source) -> Result<Self> {
        let start = self.stream.starts.first().context("no start")?;
        ensure!(
            start.backend == source.name(),
            "the backend is {}, expected {}",
            start.backend,
            source.name()
        );
        ensure!(!start.hooks.is_empty(), "no hooks in the start line");
        Ok(self)
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Reads all further lines as they come.
    pub(crate) fn read(self) -> Portwatch {
        let Self {
            process,
            mut stdout,
            stream,
        } = self;
        let (sender, lines) = mpsc::channel();
        std::thread::spawn(move || {
            while let Some(line) = next_line(&mut stdout).transpose() {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        Portwatch {
            process,
            lines,
            stream,
            counts: BTreeMap::new(),
        }
    }

    /// Closes the reading end of its stdout.
    pub(crate) fn close_stdout(self) -> Process {
        self.process
    }
}

/// Waits for the first bytes, or the end: what portwatch runs can keep the pipe open after it.
fn is_readable_in_time(stdout: &ChildStdout) -> Result<bool> {
    let patience = Timespec::try_from(START_PATIENCE)?;
    let mut polled = [PollFd::new(stdout, PollFlags::IN)];
    Ok(retry_on_intr(|| poll(&mut polled, Some(&patience)))? == 1)
}

impl Portwatch {
    pub(crate) fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// What it has written so far.
    pub(crate) fn stream(&self) -> &Stream {
        &self.stream
    }

    pub(crate) fn signal(&self, signal: Signal) -> Result<()> {
        self.process.signal(signal)
    }

    /// Stops it in its tracks, until somebody waits for it.
    pub(crate) fn pause(&self) -> Result<()> {
        self.process.stop()
    }

    /// Reads until so many attempts of that process were written.
    pub(crate) fn wait_for(&mut self, pid: u32, attempts: usize) -> Result<()> {
        self.wait_until(pid, attempts, |_| 0)
    }

    /// Reads until so many attempts of that process were written, or of anybody lost.
    pub(crate) fn wait_for_account(&mut self, pid: u32, attempts: usize) -> Result<()> {
        self.wait_until(pid, attempts, |stream| {
            usize::try_from(stream.lost()).unwrap_or(usize::MAX)
        })
    }

    /// Reads until it was written how so many attempts of that process ended, if the source sees
    /// that.
    pub(crate) fn wait_for_outcomes(&mut self, pid: u32, outcomes: usize) -> Result<()> {
        if self.stream.source() == Source::Tracepoint {
            return Ok(());
        }
        self.wait_for_resumed(pid, outcomes)
    }

    /// The same of calls that the kernel began anew: of these every source sees it.
    pub(crate) fn wait_for_resumed(&mut self, pid: u32, outcomes: usize) -> Result<()> {
        while self.stream.outcomes_of(pid).count() < outcomes {
            self.next(pid, outcomes)?;
        }
        Ok(())
    }

    /// Reads until so many attempts were written, of anybody.
    pub(crate) fn wait_for_any(&mut self, attempts: usize) -> Result<()> {
        while self.stream.attempts.len() < attempts {
            self.next(self.process.pid(), attempts)?;
        }
        Ok(())
    }

    /// Closes its standard input, which a command that it runs has too.
    pub(crate) fn end_input(&mut self) -> Result<()> {
        self.process.stdin().map(drop)
    }

    fn wait_until(
        &mut self,
        pid: u32,
        attempts: usize,
        besides: impl Fn(&Stream) -> usize,
    ) -> Result<()> {
        self.signal(Signal::CONT)?;
        while self.counts.get(&pid).copied().unwrap_or(0) + besides(&self.stream) < attempts {
            self.next(pid, attempts)?;
        }
        Ok(())
    }

    /// Reads one line, on the way to so many events of that process.
    fn next(&mut self, pid: u32, events: usize) -> Result<()> {
        match self.lines.recv_timeout(PATIENCE) {
            Ok(line) => self.take(&line?),
            Err(RecvTimeoutError::Timeout) => bail!("{}", self.overdue(pid, events)),
            Err(RecvTimeoutError::Disconnected) => {
                Err(self.process.obituary().context("portwatch ended too early"))
            }
        }
    }

    fn overdue(&self, pid: u32, attempts: usize) -> String {
        let seen: Vec<String> = self.stream.of(pid).map(ToString::to_string).collect();
        let text = seen.join("\n  ");
        format!(
            "only {} of {attempts} attempts were reported within {PATIENCE:?}:\n  {text}",
            seen.len()
        )
    }

    fn take(&mut self, line: &str) -> Result<()> {
        let before = self.stream.attempts.len();
        self.stream.push(line)?;
        for attempt in &self.stream.attempts[before..] {
            *self.counts.entry(attempt.pid).or_default() += 1;
        }
        Ok(())
    }

    /// Ends it as Ctrl-C does.
    pub(crate) fn stop(self) -> Result<Stream> {
        self.signal(Signal::INT)?;
        self.finish()
    }

    /// The same, with what it says on standard error.
    pub(crate) fn stop_and_tell(self) -> Result<(Stream, String)> {
        self.signal(Signal::INT)?;
        self.finish_and_tell()
    }

    /// Waits for the end that it was told beforehand, or by a signal.
    pub(crate) fn finish(self) -> Result<Stream> {
        let (stream, _) = self.finish_and_tell()?;
        Ok(stream)
    }

    fn finish_and_tell(mut self) -> Result<(Stream, String)> {
        let Ended { stderr, .. } = self.read_to_end()?.expect_code(0)?;
        self.stream
            .check_end()
            .with_context(|| format!("stderr: {stderr:?}"))?;
        Ok((self.stream, stderr))
    }

    /// Waits for an end that comes without a summary.
    pub(crate) fn break_off(mut self) -> Result<Ended> {
        self.read_to_end()
    }

    fn read_to_end(&mut self) -> Result<Ended> {
        while let Ok(line) = self.lines.recv() {
            self.take(&line?)?;
        }
        self.process.wait()
    }

    /// Its end by SIGKILL.
    pub(crate) fn kill(mut self) -> Result<Ended> {
        self.signal(Signal::KILL)?;
        self.process.wait()?.expect_code(128 + libc::SIGKILL)
    }
}
