//! Would it succeed, and if not, why not: a kernel's checks, gone through without making the call.
//!
//! Pure, like [`super::explain`], which names the cause of a predicted failure. The checks stand
//! in the kernel's order, for the first that fails decides about the error; those behind it are
//! gone through too, for they come next once the first is out of the way.

mod attempt;
mod bind;
mod connect;
mod family;
mod macos;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use super::{Facts, case::Case, explain};
use crate::{
    errno::Errno,
    event::{
        Cause, Cgroup, Comm, Confidence, IfName, Op, Options, Process, Proto, Requested, System,
    },
};

/// A call that could be made: what is asked, by whom, and what decides about it.
#[derive(Clone, Debug)]
pub struct Situation {
    /// Whose kernel it would be made on
    pub system: System,
    /// `Bind` or `Connect`
    pub op: Op,
    /// TCP or UDP
    pub proto: Proto,
    /// The address, which also tells the socket's family
    pub to: Requested,
    pub options: Options,
    pub device: Option<Device>,
    pub caller: Caller,
    pub subject: Subject,
    pub network: Network,
    /// The address, who has the port, the route …
    pub facts: Facts,
}

/// `SO_BINDTODEVICE`, by the interface's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Device {
    pub name: IfName,
    /// `None` where there is none of that name in the network namespace
    pub index: Option<u32>,
}

/// Who calls, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The process's command name, or the user's
    pub comm: Comm,
    /// A process in the network namespace, if one is known
    pub tgid: u32,
    pub process: Option<Arc<Process>>,
    pub cgroup: Option<Arc<Cgroup>>,
}

/// Who calls, for the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subject {
    pub euid: u32,
    /// `CapEff`
    pub cap_effective: Option<u64>,
    /// Inode of its user namespace
    pub user_ns: Option<u32>,
    /// Whether a seccomp filter looks at its system calls
    pub seccomp: Option<bool>,
    /// Whether cgroup BPF programs look at such calls of its cgroup
    pub cgroup_programs: Option<bool>,
}

/// The network namespace of the socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    /// Inode
    pub netns: Option<u32>,
    /// Inode of the user namespace that owns it
    pub user_ns: Option<u32>,
    pub reach: Reach,
    /// `net.ipv4.ip_unprivileged_port_start`
    pub unprivileged_port_start: Option<u32>,
    /// Whether there are IPv6 sockets at all
    pub ipv6: bool,
}

/// How the user namespace that owns the network namespace lies to the caller's: which of the
/// caller's capabilities count there (`cap_capable_helper`, security/commoncap.c).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// It is the caller's own
    Same,
    /// It lies below the caller's. Whoever made the uppermost of those in between has every
    /// capability in it
    Below {
        made_by: Option<u32>,
    },
    /// It is another: no capability counts
    Elsewhere,
    Unknown,
}

/// What would happen.
#[derive(Clone, Debug)]
pub struct Prediction {
    pub checks: Vec<Check>,
    pub result: Expected,
    /// Of a failure; of a success, if it would surprise
    pub cause: Option<Box<Cause>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    /// Nothing that can be known stands in the way
    Ok,
    Fails(Errno),
    /// Something that decides could not be found out
    Unknown,
}

/// One thing that the kernel looks at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    pub station: Station,
    pub verdict: Verdict,
    /// What was found, in a few words
    pub detail: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Ok,
    No(Errno),
    /// It could refuse the call, and does not do so as a rule: only a try tells
    Maybe,
    /// What decides could not be found out
    Unknown,
}

/// Where a call can be refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Station {
    /// `socket()` itself
    Socket,
    /// `SO_BINDTODEVICE`, or the scope of an IPv6 address
    Interface,
    Seccomp,
    SecurityModules,
    CgroupPrograms,
    Multicast,
    Address,
    Port,
    /// An IPv4 address on an IPv6 socket
    Mapped,
    InUse,
    /// macOS keeps some ports for itself
    Restricted,
    Route,
    /// The local port of a connect
    LocalPort,
    /// What the far end says
    Answer,
}

impl Station {
    /// For programs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Socket => "socket",
            Self::Interface => "interface",
            Self::Seccomp => "seccomp",
            Self::SecurityModules => "security_modules",
            Self::CgroupPrograms => "cgroup_programs",
            Self::Multicast => "multicast",
            Self::Address => "address",
            Self::Port => "port",
            Self::Mapped => "mapped",
            Self::InUse => "in_use",
            Self::Restricted => "restricted",
            Self::Route => "route",
            Self::LocalPort => "local_port",
            Self::Answer => "answer",
        }
    }

    pub const ALL: [Self; 14] = [
        Self::Socket,
        Self::Interface,
        Self::Seccomp,
        Self::SecurityModules,
        Self::CgroupPrograms,
        Self::Multicast,
        Self::Address,
        Self::Port,
        Self::Mapped,
        Self::InUse,
        Self::Restricted,
        Self::Route,
        Self::LocalPort,
        Self::Answer,
    ];
}

impl Verdict {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::No(_) => "no",
            Self::Maybe => "maybe",
            Self::Unknown => "unknown",
        }
    }
}

/// Goes through the checks.
pub fn predict(situation: &Situation) -> Prediction {
    let checks = match (situation.system, situation.op) {
        (System::MacOs(version), _) => macos::checks(situation, version),
        (System::Linux, Op::Connect) => connect::checks(situation),
        (System::Linux, Op::Bind | Op::Listen) => bind::checks(situation),
    };
    let result = result(&checks);
    Prediction {
        cause: cause(situation, result),
        checks,
        result,
    }
}

/// The first refusal, unless one before it could not be found out.
fn result(checks: &[Check]) -> Expected {
    let decides = checks.iter().find_map(|check| match check.verdict {
        Verdict::No(errno) => Some(Expected::Fails(errno)),
        Verdict::Unknown => Some(Expected::Unknown),
        Verdict::Ok | Verdict::Maybe => None,
    });
    decides.unwrap_or(Expected::Ok)
}

fn cause(situation: &Situation, result: Expected) -> Option<Box<Cause>> {
    let ret = match result {
        Expected::Ok => 0,
        Expected::Fails(errno) => situation.system.ret(errno)?,
        Expected::Unknown => return None,
    };
    let attempt = attempt::that_returned(situation, ret);
    let mut cause = if situation.has_socket() {
        explain(&attempt, &situation.facts)?
    } else {
        let case = Case {
            attempt: &attempt,
            facts: &situation.facts,
        };
        Box::new(family::no_ipv6(&case).finish(&case))
    };
    // The checks are the evidence; no call was seen.
    cause.evidence.clear();
    cause.confidence = Confidence::Checked;
    Some(cause)
}

impl Check {
    fn new(station: Station, verdict: Verdict, detail: impl Into<String>) -> Self {
        Self {
            station,
            verdict,
            detail: detail.into(),
        }
    }

    fn ok(station: Station, detail: impl Into<String>) -> Self {
        Self::new(station, Verdict::Ok, detail)
    }

    fn no(station: Station, errno: Errno, detail: impl Into<String>) -> Self {
        Self::new(station, Verdict::No(errno), detail)
    }

    fn maybe(station: Station, detail: impl Into<String>) -> Self {
        Self::new(station, Verdict::Maybe, detail)
    }

    fn unknown(station: Station, detail: impl Into<String>) -> Self {
        Self::new(station, Verdict::Unknown, detail)
    }
}

/// Whoever prints it makes it harmless.
fn shown(name: IfName) -> String {
    String::from_utf8_lossy(name.as_bytes()).into_owned()
}
