//! A tracer that runs while calls are made, or none.

use std::{
    env, fs,
    io::{self, Read as _},
    os::unix::process::CommandExt as _,
    path::PathBuf,
    process::{Child, ChildStdout, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use rustix::process::{Pid, Signal, getpgid, kill_process};

use super::process::{Process, schedstat};

/// A tracer has come to rest that takes less than the one for the other.
const LITTLE: u64 = 200_000;
const WHILE: Duration = Duration::from_millis(10);
/// To wait costs whoever measures instructions dear.
const MOMENT: Duration = Duration::from_millis(1);
/// How portwatch begins the line by which it says that it watches.
const READY: &str = "portwatch: watching";
/// Bytes of the end of its output that are kept.
const TAIL: usize = 4096;

/// Who reads its output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reader {
    /// A thread that counts the lines
    Counts,
    /// Nobody, once the first line begins, by which it is known to be ready
    Stalls,
}

/// What a tracer leaves.
pub struct Legacy {
    /// All that it wrote
    pub lines: u64,
    /// The end of its output, and its messages
    pub words: String,
}

pub struct Tracer {
    pub begun: Instant,
    name: String,
    child: Option<Child>,
    lines: Arc<AtomicU64>,
    /// The thread that reads its output, by number
    reader: Arc<AtomicU32>,
    reading: Option<JoinHandle<io::Result<Vec<u8>>>>,
    /// Where its messages go
    messages: PathBuf,
}

impl Tracer {
    /// Starts the program and its arguments; none where there are none.
    pub fn start(name: &str, argv: &[String], reader: Reader) -> Result<Self> {
        let mut tracer = Self {
            begun: Instant::now(),
            name: name.to_owned(),
            child: None,
            lines: Arc::default(),
            reader: Arc::default(),
            reading: None,
            messages: env::temp_dir().join(name.replace(['/', ' '], "-")),
        };
        if let Some((program, arguments)) = argv.split_first() {
            let mut child = Command::new(program)
                .args(arguments)
                .stdin(Stdio::null())
                .stdout(Stdio::piped())
                .stderr(fs::File::create(&tracer.messages)?)
                .process_group(0)
                .spawn()
                .with_context(|| format!("cannot start {program}"))?;
            let mut output = child.stdout.take().context("no pipe")?;
            if reader == Reader::Counts {
                let (lines, reader) = (Arc::clone(&tracer.lines), Arc::clone(&tracer.reader));
                tracer.reading = Some(thread::spawn(move || count(output, &lines, &reader)));
            } else {
                output.read_exact(&mut [0])?;
                child.stdout = Some(output);
            }
            tracer.child = Some(child);
        }
        Ok(tracer)
    }

    /// Its process, if it is one.
    pub fn process(&self) -> Option<Process> {
        self.child.as_ref().map(|child| Process(child.id()))
    }

    /// Lines that it has written.
    pub fn lines(&self) -> u64 {
        self.lines.load(Ordering::Acquire)
    }

    /// portwatch says when it is ready; of the others, what they show of `calls` does. One whose
    /// output nobody reads is, from its start.
    pub fn wait_until_ready(&mut self, calls: impl Fn() -> Result<()>) -> Result<()> {
        const PATIENCE: Duration = Duration::from_mins(2);
        let before = self.lines();
        while self.reading.is_some() && !self.errors().contains(READY) && self.lines() < before + 3
        {
            ensure!(
                self.begun.elapsed() < PATIENCE && self.runs()?,
                "{} is not ready: {}",
                self.name,
                self.errors()
            );
            calls()?;
            thread::sleep(WHILE);
        }
        Ok(())
    }

    fn runs(&mut self) -> io::Result<bool> {
        self.child
            .as_mut()
            .map_or(Ok(true), |child| Ok(child.try_wait()?.is_none()))
    }

    /// Waits until it takes next to no time any more: it has started, or has told all.
    pub fn come_to_rest(&self) -> Result<()> {
        // So much at least: one that has not begun yet is at rest too.
        self.be_quiet(4, WHILE)
    }

    /// Waits until it has nothing more to do about one call, which it has begun with.
    pub fn finish_one(&self) -> Result<()> {
        self.be_quiet(2, MOMENT)
    }

    fn be_quiet(&self, least: u32, time: Duration) -> Result<()> {
        let mut quiet = 0;
        while quiet < least {
            let before = self.run_time()?;
            thread::sleep(time);
            // A thread may have ended.
            let took = self.run_time()?.saturating_sub(before);
            quiet = if took < LITTLE { quiet + 1 } else { 0 };
        }
        Ok(())
    }

    /// Nanoseconds that its threads have run.
    pub fn run_time(&self) -> Result<u64> {
        self.process().map_or(Ok(0), Process::run_time)
    }

    /// The same of the thread that reads its output.
    pub fn reader_time(&self) -> Result<u64> {
        match self.reader.load(Ordering::Acquire) {
            0 => Ok(0),
            thread => schedstat(thread),
        }
    }

    /// Its messages.
    pub fn errors(&self) -> String {
        fs::read_to_string(&self.messages).unwrap_or_default()
    }

    /// Ends it.
    pub fn stop(mut self) -> Result<Legacy> {
        let mut words = Vec::new();
        if let Some(mut child) = self.child.take() {
            // Where nobody read, it would wait for somebody.
            drop(child.stdout.take());
            let pid = Pid::from_child(&child);
            // One that could not run has ended by itself.
            if child.try_wait()?.is_none() {
                kill_process(pid, Signal::INT)?;
                child.wait()?;
            }
            // Its hooks are in the next one's way until the kernel has detached them.
            while has_hooks(pid)? {
                thread::sleep(WHILE);
            }
        }
        if let Some(reading) = self.reading.take() {
            let tail = reading.join();
            words.extend(tail.ok().context("the thread that read panicked")??);
        }
        words.extend(self.errors().into_bytes());
        Ok(Legacy {
            lines: self.lines(),
            words: String::from_utf8_lossy(&words).into_owned(),
        })
    }
}

/// Whether any process of a group has a program attached to something.
fn has_hooks(group: Pid) -> io::Result<bool> {
    let is_link = |fd: io::Result<fs::DirEntry>| {
        let target = fd.and_then(|fd| fs::read_link(fd.path()));
        target.is_ok_and(|target| target.as_os_str() == "anon_inode:bpf_link")
    };
    let is_member = |process: &fs::DirEntry| {
        let number = process.file_name().to_str().and_then(|it| it.parse().ok());
        let pid = number.and_then(Pid::from_raw);
        pid.is_some() && getpgid(pid) == Ok(group)
    };
    let mut members = fs::read_dir("/proc")?.flatten().filter(is_member);
    Ok(members.any(|process| {
        let open = fs::read_dir(process.path().join("fd"))
            .into_iter()
            .flatten();
        open.into_iter().any(is_link)
    }))
}

/// Counts lines to the end, and gives the last of what was read.
fn count(mut output: ChildStdout, lines: &AtomicU64, reader: &AtomicU32) -> io::Result<Vec<u8>> {
    let thread = rustix::thread::gettid().as_raw_nonzero().get();
    reader.store(thread.unsigned_abs(), Ordering::Release);
    let mut buffer = vec![0; 64 * 1024];
    let mut tail = Vec::new();
    loop {
        let read = output.read(&mut buffer)?;
        if read == 0 {
            return Ok(tail);
        }
        let news = &buffer[..read];
        #[expect(clippy::naive_bytecount, reason = "its time is not counted")]
        let ends = news.iter().filter(|&&byte| byte == b'\n').count();
        tail.extend_from_slice(&news[read.saturating_sub(TAIL)..]);
        tail.drain(..tail.len().saturating_sub(TAIL));
        lines.fetch_add(ends as u64, Ordering::Release);
    }
}
