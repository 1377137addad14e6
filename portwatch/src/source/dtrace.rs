//! Attempts from DTrace: macOS's dtrace(1) runs the embedded script, and what it prints is read.
//!
//! Nothing here is macOS's but the place of the program: with another one in its place all of it
//! runs on Linux too, where the tests are.

pub mod decode;
pub mod line;
mod pipe;
mod refused;
mod said;
mod script;

use std::{
    collections::VecDeque,
    io::{self, Write as _},
    net::{Ipv4Addr, UdpSocket},
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Child, ChildStderr, ChildStdout, Command, ExitStatus, Stdio},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use tokio::time::{Instant, timeout, timeout_at};

pub use self::refused::Refused;
use self::{
    line::{Fault, Line},
    pipe::Pipe,
    said::Said,
};
use super::{
    Backend, BlindSpot, Callers, OUTCOMES, Opened, Source as Live, blind_spot,
    record::{LossCount, Record},
};
use crate::event::{Attempt, Degradation, LossReason, Op, Place, System, Version};

/// Where macOS has it.
pub const PROGRAM: &str = "/usr/sbin/dtrace";

/// To compile the script and enable its probes takes it about a second.
const READY: Duration = Duration::from_secs(30);
/// portwatch's own call is to be seen within some switches of the buffers, ten a second.
const ANSWER: Duration = Duration::from_secs(5);
/// The script prints something every five seconds.
const QUIET: Duration = Duration::from_secs(15);
/// What it has buffered is written and the totals printed.
const END: Duration = Duration::from_secs(10);

const CALLS: BlindSpot = (
    "protocol, local address, socket options and effective user are not told",
    "DTrace sees the call and not the socket",
    None,
);
const OTHER_WAYS: BlindSpot = (
    "what a socket is bound to by connectx(), sendto() or listen(), and connections that Network.framework makes without a socket, are not seen",
    "they come by without a call of bind() or connect()",
    None,
);

/// What to run, and whose calls it traces.
#[derive(Clone, Debug)]
pub struct Program {
    pub path: PathBuf,
    /// `None`: this one
    pub system: Option<System>,
}

/// A dtrace that runs. Dropping it ends it.
pub struct Source {
    child: Child,
    stdout: Pipe<ChildStdout>,
    stderr: Pipe<ChildStderr>,
    system: System,
    said: Said,
    ready: bool,
    /// Read while it was tried, and not handed on yet
    early: VecDeque<Record>,
    tally: Tally,
    /// It was told to end
    stopping: bool,
    /// How it ended
    status: Option<ExitStatus>,
    /// What it was not allowed to read
    forbidden: Forbidden,
    /// Not told yet
    degradations: VecDeque<Degradation>,
    /// When it last printed something
    heard: Instant,
    was_quiet: bool,
}

/// What faults have said.
#[derive(Clone, Copy, Debug, Default)]
struct Forbidden {
    /// Every address
    addresses: bool,
    /// Those in processes that are protected
    processes: bool,
}

/// What was printed against what was seen.
#[derive(Debug, Default)]
struct Tally {
    /// Calls that it printed
    printed: u64,
    /// Calls that it counted, which it says at its end
    counted: u64,
    /// Losses that it told of
    told: u64,
}

impl Tally {
    /// What is missing, and of which nothing was told.
    const fn missing(&self) -> u64 {
        self.counted
            .saturating_sub(self.printed)
            .saturating_sub(self.told)
    }
}

/// Starts dtrace, and tries whether it sees a call and its address. Must run inside a tokio
/// runtime.
pub async fn open(program: &Program) -> Result<Opened, Refused> {
    let system = match program.system {
        Some(system) => system,
        None => this_system()?,
    };
    let mut source = Source::start(&program.path, system)?;
    // portwatch makes no other bind, so that the first one of its own is the one that is tried.
    let mut records = VecDeque::new();
    source.get_ready(&mut records).await?;
    source.try_it(&mut records).await?;
    Ok(Opened {
        source: Live::Dtrace(Box::new(source)),
        system,
        backend: Backend::Dtrace,
        ring_bytes: None,
        hooks: script::probes(system),
        missing: Vec::new(),
        degradations: [OUTCOMES, CALLS, OTHER_WAYS].map(blind_spot).to_vec(),
    })
}

/// On macOS `sw_vers` tells the version; the kernel's own is another.
pub fn this_system() -> Result<System, Refused> {
    if !cfg!(target_os = "macos") {
        return Ok(System::Linux);
    }
    let path = PathBuf::from("/usr/bin/sw_vers");
    let output = Command::new(&path).arg("-productVersion").output();
    let output = output.map_err(|error| Refused::NotThere { path, error })?;
    let text = String::from_utf8_lossy(&output.stdout);
    let version = Version::parse(text.trim()).map(System::MacOs);
    version.ok_or_else(|| Refused::NoVersion(text.trim().to_owned()))
}

/// Who starts portwatch in the background of a script makes it ignore SIGINT, and with it every child:
/// that signal is what ends dtrace.
#[expect(
    unsafe_code,
    reason = "only before the program is run can that be changed"
)]
fn with_default_signals(command: &mut Command) {
    let reset = || {
        // SAFETY: signal() is safe to call there (signal-safety(7)), and no handler is set.
        match unsafe { libc::signal(libc::SIGINT, libc::SIG_DFL) } {
            libc::SIG_ERR => Err(io::Error::last_os_error()),
            _ => Ok(()),
        }
    };
    // SAFETY: it does nothing else, and takes no memory.
    unsafe { command.pre_exec(reset) };
}

impl Source {
    fn start(path: &Path, system: System) -> Result<Self, Refused> {
        let mut command = Command::new(path);
        with_default_signals(&mut command);
        let mut child = command
            .args(["-s", "/dev/stdin"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // Ctrl-C at the terminal is for portwatch, which then ends it in good order: at a
            // second signal dtrace leaves the totals out.
            .process_group(0)
            .spawn()
            .map_err(|error| Refused::NotThere {
                path: path.to_owned(),
                error,
            })?;
        let pipes = child.stdin.take().zip(child.stdout.take());
        let Some(((mut stdin, stdout), stderr)) = pipes.zip(child.stderr.take()) else {
            return Err(io::Error::from(io::ErrorKind::BrokenPipe).into());
        };
        // One that ends without having read it says why on standard error.
        drop(stdin.write_all(script::render(system).as_bytes()));
        drop(stdin);
        Ok(Self {
            child,
            stdout: Pipe::new(stdout)?,
            stderr: Pipe::new(stderr)?,
            system,
            said: Said::default(),
            ready: false,
            early: VecDeque::new(),
            tally: Tally::default(),
            stopping: false,
            status: None,
            forbidden: Forbidden::default(),
            degradations: VecDeque::new(),
            heard: Instant::now(),
            was_quiet: false,
        })
    }

    /// Waits for the line that says that every probe is enabled.
    async fn get_ready(&mut self, records: &mut VecDeque<Record>) -> Result<(), Refused> {
        let until_ready = async {
            while !self.ready {
                self.read_more(records).await?;
            }
            Ok(())
        };
        let result = timeout(READY, until_ready).await;
        result.unwrap_or(Err(Refused::NotReady))
    }

    /// Makes a call, and looks whether it is seen with its address: under System Integrity
    /// Protection `copyin` asks for a privilege that nobody has (bsd/dev/dtrace/dtrace.c,
    /// `DIF_SUBR_COPYIN`). What came before it, and it itself, are none of the watch's.
    async fn try_it(&mut self, records: &mut VecDeque<Record>) -> Result<(), Refused> {
        drop(UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?);
        let until_seen = async {
            loop {
                while let Some(record) = records.pop_front() {
                    if let Some(own) = own_bind(record) {
                        return Ok(own.requested.is_some());
                    }
                }
                self.read_more(records).await?;
            }
        };
        let seen = timeout(ANSWER, until_seen).await;
        if !seen.unwrap_or(Err(Refused::Silent))? {
            return Err(Refused::NoAddresses);
        }
        self.early.append(records);
        Ok(())
    }

    /// Waits for more and reads it; fails where there is no more.
    async fn read_more(&mut self, records: &mut VecDeque<Record>) -> Result<(), Refused> {
        if self.has_ended() {
            return Err(Refused::ended(&self.said, self.status));
        }
        self.readable().await?;
        while !self.fill(records, usize::MAX) {}
        Ok(())
    }

    pub async fn readable(&mut self) -> io::Result<()> {
        let something = async {
            tokio::select! {
                ready = self.stdout.readable() => ready,
                ready = self.stderr.readable() => ready,
            }
        };
        // To get ready it may take longer. Since it was heard, not since this was called: whoever
        // waits here may have been called away, and more often than that.
        let ready = if self.ready && !self.was_quiet {
            timeout_at(self.heard + QUIET, something).await.ok()
        } else {
            Some(something.await)
        };
        let Some(ready) = ready else {
            self.note_quiet();
            return Ok(());
        };
        self.heard = Instant::now();
        ready
    }

    /// Said once.
    fn note_quiet(&mut self) {
        self.was_quiet = true;
        self.degradations.push_back(Degradation {
            what: "attempts may not be seen".to_owned(),
            why: format!("dtrace has printed nothing for {} s", QUIET.as_secs()),
            remedy: Some("start portwatch again".to_owned()),
        });
    }

    /// Moves attempts to the end of `records`, as [`Live::fill`] does.
    pub fn fill(&mut self, records: &mut VecDeque<Record>, most: usize) -> bool {
        let Self {
            stdout,
            stderr,
            said,
            ready,
            early,
            tally,
            system,
            forbidden,
            degradations,
            ..
        } = self;
        records.append(early);
        stderr.read(|line| {
            said.take(line);
            true
        });
        if records.len() >= most {
            return false;
        }
        let is_empty = stdout.read(|line| {
            match line::parse(line) {
                Ok(Line::Begin) => *ready = true,
                Ok(Line::Attempt(call)) => {
                    tally.printed += 1;
                    records.extend(decode::attempt(&call, *system).map(Record::Attempt));
                }
                Ok(Line::Count(count)) => tally.counted = tally.counted.saturating_add(count),
                Ok(Line::Fault(fault)) => degradations.extend(forbidden.note(fault)),
                Ok(Line::Heartbeat | Line::Other) => {}
                Err(error) => log::error!("{error}"),
            }
            records.len() < most
        });
        if stdout.has_ended() && self.status.is_none() {
            self.note_end();
        }
        is_empty
    }

    /// It prints no more: whether it has ended or not, it is over with it.
    fn note_end(&mut self) {
        let ended = end(&mut self.child);
        self.stderr.read(|line| {
            self.said.take(line);
            true
        });
        self.status = ended;
        if !self.stopping && self.ready {
            let error = Refused::ended(&self.said, ended);
            self.degradations.push_back(Degradation {
                what: "nothing is seen any more".to_owned(),
                why: error.to_string(),
                remedy: Some(error.remedy().unwrap_or("start portwatch again").to_owned()),
            });
        }
    }

    /// It has ended, and everything it printed was read.
    pub const fn has_ended(&self) -> bool {
        self.stdout.has_ended()
    }

    /// Why it ended by itself, or what it came to see no more; fine if it was told to end.
    pub fn verdict(&self) -> Result<(), Refused> {
        if self.forbidden.addresses {
            Err(Refused::NoAddresses)
        } else if self.has_ended() && !self.stopping {
            Err(Refused::ended(&self.said, self.status))
        } else {
            Ok(())
        }
    }

    /// Tells it to end in good order: to write what it has, and the totals.
    pub fn stop(&mut self) {
        if self.stopping || self.has_ended() {
            return;
        }
        self.stopping = true;
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        if let Some(Err(error)) = pid.map(|pid| kill_process(pid, Signal::INT)) {
            log::error!("cannot end dtrace: {error}");
        }
    }

    /// Waits for more of what it prints at its end; false where there is no more.
    pub async fn wait_for_more(&mut self) -> bool {
        !self.has_ended() && matches!(timeout(END, self.readable()).await, Ok(Ok(())))
    }

    /// Reads the rest: the totals come last. Attempts in it began after the watch.
    pub async fn settle(&mut self) {
        let mut rest = VecDeque::new();
        let until_end = async {
            while !self.has_ended() {
                while !self.fill(&mut rest, usize::MAX) {}
                rest.clear();
                if !self.has_ended() && self.readable().await.is_err() {
                    break;
                }
            }
        };
        if timeout(END, until_end).await.is_err() {
            self.degradations.push_back(Degradation {
                what: "what was lost at the end is not known".to_owned(),
                why: format!("dtrace did not end within {} s", END.as_secs()),
                remedy: None,
            });
        }
    }

    /// Nothing comes of it: the script has no filter, and macOS no cgroups.
    pub const fn rule_out(&self, _: Callers) {}

    /// Calls that it printed.
    pub const fn records_read(&self) -> u64 {
        self.tally.printed
    }

    pub fn has_losses(&self) -> bool {
        self.said.has_losses() || !self.degradations.is_empty()
    }

    pub fn degradation(&mut self) -> Option<Degradation> {
        self.degradations.pop_front()
    }

    /// What it told of since the last call and, at its end, what it printed too little.
    pub fn losses(&mut self) -> Vec<LossCount> {
        let mut losses = self.said.take_losses();
        let told: u64 = losses.iter().map(|loss| loss.count).sum();
        self.tally.told = self.tally.told.saturating_add(told);
        let missing = self.tally.missing();
        if missing > 0 {
            self.tally.told += missing;
            losses.push(LossCount {
                reason: LossReason::RingFull,
                place: Place::Hook("dtrace".into()),
                count: missing,
            });
        }
        losses
    }
}

impl Drop for Source {
    fn drop(&mut self) {
        end(&mut self.child);
    }
}

impl Forbidden {
    /// What is to be told of it; once of each kind.
    fn note(&mut self, fault: Fault) -> Option<Degradation> {
        let (noted, what, why, remedy) = match fault {
            Fault::Other => return None,
            Fault::Kernel => (
                &mut self.addresses,
                "addresses are not told any more",
                Refused::NoAddresses.to_string(),
                Refused::NoAddresses.remedy(),
            ),
            Fault::Process => (
                &mut self.processes,
                "the addresses that some programs ask for are not told",
                "they are protected: by System Integrity Protection, or by their own wish (PT_DENY_ATTACH)".to_owned(),
                None,
            ),
        };
        (!std::mem::replace(noted, true)).then(|| Degradation {
            what: what.to_owned(),
            why,
            remedy: remedy.map(str::to_owned),
        })
    }
}

/// A bind of this process's.
fn own_bind(record: Record) -> Option<Attempt> {
    match record {
        Record::Attempt(attempt)
            if attempt.op == Op::Bind && attempt.tgid == std::process::id() =>
        {
            Some(attempt)
        }
        _ => None,
    }
}

/// Ends the process, if it has not ended, and gives how.
fn end(child: &mut Child) -> Option<ExitStatus> {
    // Of one that has ended nothing comes of it.
    drop(child.kill());
    child.wait().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_counted_and_not_printed_is_missing_unless_it_was_told() {
        let missing = |printed, counted, told| {
            Tally {
                printed,
                counted,
                told,
            }
            .missing()
        };
        assert_eq!(missing(10, 10, 0), 0);
        assert_eq!(missing(7, 10, 0), 3);
        assert_eq!(missing(7, 10, 2), 1);
        assert_eq!(missing(7, 10, 9), 0);
        // The totals have not come.
        assert_eq!(missing(7, 0, 0), 0);
    }
}
