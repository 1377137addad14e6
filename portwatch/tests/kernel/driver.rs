//! A workload as a child process: this test binary again, told to be one.

use std::{
    fmt,
    io::{BufReader, Write as _},
    path::Path,
    process::{ChildStdin, ChildStdout, Command},
};

use anyhow::{Context, Result, bail, ensure};
use rustix::process::Signal;

use super::{
    knowledge::sees,
    portwatch::Portwatch,
    process::{Process, next_line},
    sys,
    truth::{Line, Truth},
    workload,
};

/// How a workload goes about its attempts.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pace {
    /// After each it waits until portwatch has written it, and leaves all as it is until then
    Stepwise,
    /// One after the other, and then it is gone
    Burst,
}

impl Pace {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Stepwise => "stepwise",
            Self::Burst => "burst",
        }
    }
}

/// A workload that has attempted nothing yet.
pub(crate) struct Workload {
    process: Process,
    stdout: BufReader<ChildStdout>,
    stdin: ChildStdin,
}

/// All that a workload did.
#[derive(Default)]
pub(crate) struct Done {
    pub(crate) pid: u32,
    pub(crate) truths: Vec<Truth>,
    pub(crate) skipped: Vec<String>,
    /// Attempts without a truth of their own
    pub(crate) total: u64,
    killed: bool,
}

/// What a trial needs that this machine does not have.
#[derive(Debug)]
pub(crate) struct Impossible(pub(crate) String);

impl fmt::Display for Impossible {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Impossible {}

impl Workload {
    pub(crate) fn prepare(name: &str, pace: Pace) -> Result<Self> {
        Self::prepare_as(&std::env::current_exe()?, name, pace)
    }

    /// By another program, which is a copy of this one.
    pub(crate) fn prepare_as(program: &Path, name: &str, pace: Pace) -> Result<Self> {
        Self::start(&mut Command::new(program), name, pace)
    }

    /// With another program that runs it.
    pub(crate) fn prepare_under(mut runner: Command, name: &str, pace: Pace) -> Result<Self> {
        Self::start(runner.arg(std::env::current_exe()?), name, pace)
    }

    fn start(command: &mut Command, name: &str, pace: Pace) -> Result<Self> {
        command.arg(workload::FLAG).args([name, pace.name()]);
        let mut process = Process::spawn(command)?;
        let (mut stdout, stdin) = (process.stdout()?, process.stdin()?);
        match next_line(&mut stdout)?
            .map(|line| serde_json::from_str(&line))
            .transpose()?
        {
            Some(Line::Ready) => Ok(Self {
                process,
                stdout,
                stdin,
            }),
            Some(other) => bail!("the workload began with {other:?}"),
            None => Err(process.obituary().context("the workload did not start")),
        }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Lets it run to its end, with portwatch watching.
    pub(crate) fn run(self, portwatch: &mut Portwatch) -> Result<Done> {
        self.run_watched_by(&mut [portwatch])
    }

    /// Lets it run to its end; each of the given portwatches must see all of it.
    pub(crate) fn run_watched_by(mut self, portwatches: &mut [&mut Portwatch]) -> Result<Done> {
        let mut done = Done {
            pid: self.pid(),
            ..Done::default()
        };
        self.answer()?;
        while let Some(line) = next_line(&mut self.stdout)? {
            self.take(serde_json::from_str(&line)?, &mut done, portwatches)?;
        }
        let code = if done.killed { 128 + libc::SIGKILL } else { 0 };
        self.process
            .wait()?
            .expect_code(code)
            .context("the workload failed")?;
        ensure!(
            !done.truths.is_empty() || done.total > 0,
            "the workload attempted nothing"
        );
        Ok(done)
    }

    /// Does what a line of its output asks for.
    fn take(
        &mut self,
        line: Line,
        done: &mut Done,
        portwatches: &mut [&mut Portwatch],
    ) -> Result<()> {
        match line {
            Line::Attempt(truth) => {
                // Another one than was started, if a program runs it.
                done.pid = truth.caller.pid;
                done.truths.push(*truth);
            }
            Line::Skipped { what, why } => done.skipped.push(format!("{what}: {why}")),
            Line::Total(total) => done.total += total,
            Line::Settle => {
                settle(done, portwatches)?;
                self.answer()?;
            }
            Line::LowerPortStart(port) => {
                sys::in_netns_of(done.pid, || lower_port_start(port))?;
                self.answer()?;
            }
            Line::Pause => {
                portwatches.iter().try_for_each(|it| it.pause())?;
                self.answer()?;
            }
            Line::Ended(outcomes) => {
                for portwatch in portwatches {
                    portwatch.wait_for_outcomes(done.pid, outcomes)?;
                }
                self.answer()?;
            }
            Line::Resumed(outcomes) => {
                for portwatch in portwatches {
                    portwatch.wait_for_resumed(done.pid, outcomes)?;
                }
                self.answer()?;
            }
            Line::Impossible(why) => return Err(Impossible(why).into()),
            Line::Stop => {
                self.process.stop()?;
                self.process.signal(Signal::CONT)?;
                self.answer()?;
            }
            Line::Kill => {
                self.process.signal(Signal::KILL)?;
                done.killed = true;
            }
            Line::Ready => bail!("the workload was ready already"),
        }
        Ok(())
    }

    fn answer(&mut self) -> Result<()> {
        self.stdin
            .write_all(b"\n")
            .context("the workload does not listen")
    }
}

/// Waits until each has written all that it can see of what was done.
fn settle(done: &Done, portwatches: &mut [&mut Portwatch]) -> Result<()> {
    for portwatch in portwatches {
        let truths = done.truths.iter();
        let truths = truths.filter(|truth| truth.caller.pid == done.pid);
        let seen = truths.filter(|truth| sees(portwatch.stream(), truth));
        let seen = seen.count();
        portwatch
            .wait_for(done.pid, seen)
            .with_context(|| last_case(done))?;
    }
    Ok(())
}

fn last_case(done: &Done) -> String {
    let case = done.truths.last().map_or("nothing", |truth| &truth.case);
    format!(
        "after {} attempts, the last of them: {case}",
        done.truths.len()
    )
}

fn lower_port_start(port: u16) -> Result<()> {
    sys::set_net("ipv4/ip_unprivileged_port_start", &port.to_string())
}
