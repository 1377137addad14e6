//! Processes that hold ports, and one that asks for them: who holds what is known, so that what
//! portwatch says of it can be compared.

use std::{
    collections::BTreeMap,
    io::{BufReader, Write as _},
    net::SocketAddr,
    process::{ChildStdin, ChildStdout, Command},
};

use anyhow::{Context as _, Result, ensure};
use portwatch::explain::absence::Absence;
use serde::{Deserialize, Serialize};

use super::{
    process::{Process, next_line},
    record::{Attempt, Cause},
    stream::Stream,
    workload::{ASKER, FLAG, HOLDERS},
};

/// How the one is held that no process has open at the moment.
pub(crate) const IN_FLIGHT: &str = "a socket that is on its way to another process";

/// A port that somebody holds.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Claim {
    /// How it is held, in a few words
    pub(crate) how: String,
    /// Who holds it
    pub(crate) pid: u32,
    pub(crate) udp: bool,
    /// What is in use; a wildcard stands for every address
    pub(crate) asked: SocketAddr,
}

/// Which holders there are to be: sockets of each usual kind, or those that are hard to find.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// So many processes with so many ports each, in a network namespace where all are free from
    /// the first on
    Usual {
        processes: u16,
        ports: u16,
        first: u16,
    },
    /// One process each, on ports that are free
    Odd,
}

/// Processes that hold ports until this is dropped.
pub(crate) struct Holders {
    process: Process,
    _input: ChildStdin,
    pub(crate) claims: Vec<Claim>,
}

impl Holders {
    /// In the network namespace of the calling thread. Done once all ports are held.
    pub(crate) fn settle(kind: Kind) -> Result<Self> {
        let numbers = match kind {
            Kind::Usual {
                processes,
                ports,
                first,
            } => [processes, ports, first],
            Kind::Odd => [0; 3],
        };
        let mut command = Command::new(std::env::current_exe()?);
        command
            .args([FLAG, HOLDERS])
            .args(numbers.map(|number| number.to_string()));
        let mut process = Process::spawn(&mut command)?;
        let (mut stdout, input) = (process.stdout()?, process.stdin()?);
        let mut claims = Vec::new();
        loop {
            let line = next_line(&mut stdout)?;
            let Some(line) = line else {
                return Err(process.obituary().context("no holders"));
            };
            match serde_json::from_str(&line)? {
                Some(claim) => claims.push(claim),
                None => break,
            }
        }
        ensure!(!claims.is_empty(), "nothing is held");
        Ok(Self {
            process,
            _input: input,
            claims,
        })
    }

    /// The process that the others come from.
    pub(crate) fn pid(&self) -> u32 {
        self.process.pid()
    }
}

/// A process that asks for ports when it is told to, and keeps the sockets.
pub(crate) struct Asker {
    process: Process,
    stdout: BufReader<ChildStdout>,
    stdin: ChildStdin,
    /// By which descriptor it has asked for what
    asked: BTreeMap<i32, Claim>,
}

/// Ports to ask for, one after the other: whether of UDP, and where.
pub(crate) type Wish = Vec<(bool, SocketAddr)>;

/// By which descriptor it was asked for, and what came of it.
pub(crate) type Granted = Vec<(i32, i32)>;

impl Asker {
    /// In the network namespace of the calling thread.
    pub(crate) fn start() -> Result<Self> {
        let own = std::env::current_exe()?;
        let mut process = Process::spawn(Command::new(own).args([FLAG, ASKER]))?;
        let (stdout, stdin) = (process.stdout()?, process.stdin()?);
        Ok(Self {
            process,
            stdout,
            stdin,
            asked: BTreeMap::new(),
        })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Has it ask, as fast as it can, and gives what came of each.
    pub(crate) fn wish(&mut self, wish: &Wish) -> Result<Granted> {
        writeln!(self.stdin, "{}", serde_json::to_string(wish)?)?;
        let line = next_line(&mut self.stdout)?;
        Ok(serde_json::from_str(&line.context("the asker has ended")?)?)
    }

    /// Has it ask for what others hold.
    pub(crate) fn ask(&mut self, claims: &[Claim]) -> Result<()> {
        let wish: Wish = claims.iter().map(|it| (it.udp, it.asked)).collect();
        for ((fd, ret), claim) in self.wish(&wish)?.into_iter().zip(claims) {
            ensure!(ret == -libc::EADDRINUSE, "{claim:?}: bind returned {ret}");
            self.asked.insert(fd, claim.clone());
        }
        Ok(())
    }

    /// What was reported of each, once all were.
    pub(crate) fn reported<'a>(
        &'a self,
        stream: &'a Stream,
    ) -> Result<impl Iterator<Item = (&'a Claim, Option<&'a Cause>)>> {
        let attempts = stream.of(self.pid());
        let of_each: BTreeMap<_, &Attempt> = attempts.map(|it| (it.fd, it)).collect();
        for (fd, claim) in &self.asked {
            ensure!(
                of_each.contains_key(&Some(*fd)),
                "{claim:?} was not reported"
            );
        }
        let asked = self.asked.iter();
        Ok(asked
            .filter_map(move |(fd, claim)| Some((claim, of_each.get(&Some(*fd))?.cause.as_ref()))))
    }
}

/// What is said of a claim while its holder lives, if it is false.
pub(crate) fn falsehood(claim: &Claim, cause: Option<&Cause>) -> Option<String> {
    let cause = cause?;
    let words = cause.evidence.iter().chain([&cause.text]);
    let mut told = words.flat_map(|text| Absence::in_words(text));
    // No process has that one open, which may be told.
    let is_true = |absence| claim.how == IN_FLIGHT && absence == Absence::Process;
    let is_false = cause.code == GONE
        || cause.holder.iter().any(|holder| holder.kernel)
        || told.any(|absence| !is_true(absence));
    is_false.then(|| format!("{} ({}): {}", cause.code, cause.confidence, cause.text))
}

/// The code for a port that nobody has any more.
const GONE: &str = "port_in_use_holder_gone";

/// Whether a cause names that process as the one that holds the port.
pub(crate) fn names(cause: Option<&Cause>, pid: u32) -> bool {
    let Some(cause) = cause else { return false };
    let first = cause.holder.first();
    first.is_some_and(|holder| holder.pid == Some(pid))
        && cause.text.contains(&format!("(pid {pid}"))
}

/// How many of the asker's attempts name the holder, and what was said of the others.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) right: usize,
    pub(crate) wrong: Vec<String>,
    pub(crate) falsehoods: usize,
}

impl Tally {
    pub(crate) fn of(asker: &Asker, stream: &Stream) -> Result<Self> {
        let mut tally = Self::default();
        for (claim, cause) in asker.reported(stream)? {
            tally.take(claim, cause);
        }
        Ok(tally)
    }

    pub(crate) fn take(&mut self, claim: &Claim, cause: Option<&Cause>) {
        let false_words = falsehood(claim, cause);
        self.falsehoods += usize::from(false_words.is_some());
        if false_words.is_none() && names(cause, claim.pid) {
            self.right += 1;
            return;
        }
        let Claim {
            how, pid, asked, ..
        } = claim;
        let said = cause.map(|cause| &cause.text);
        let wrong = format!("{how}, by pid {pid} on {asked}: {said:?}");
        self.wrong.push(wrong);
    }

    /// All of them are right.
    pub(crate) fn check(&self) -> Result<()> {
        let Self {
            right,
            wrong,
            falsehoods,
        } = self;
        ensure!(
            wrong.is_empty(),
            "{right} of {} name the holder, {falsehoods} say what is false:\n  {}",
            right + wrong.len(),
            wrong.join("\n  ")
        );
        Ok(())
    }
}
