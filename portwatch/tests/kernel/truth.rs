//! What a workload says about itself: the truth that portwatch's events are compared with.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
};

use serde::{Deserialize, Serialize};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Op {
    Bind,
    Connect,
    Listen,
}

impl From<portwatch::event::Op> for Op {
    fn from(op: portwatch::event::Op) -> Self {
        match op {
            portwatch::event::Op::Bind => Self::Bind,
            portwatch::event::Op::Connect => Self::Connect,
            portwatch::event::Op::Listen => Self::Listen,
        }
    }
}

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bind => "bind",
            Self::Connect => "connect",
            Self::Listen => "listen",
        })
    }
}

/// One line of a workload's stdout.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Line {
    /// Started, and nothing attempted yet. Waits for an answer.
    Ready,
    Attempt(Box<Truth>),
    /// Waits for an answer, to be given once portwatch has written all attempts so far.
    Settle,
    /// Waits until `net.ipv4.ip_unprivileged_port_start` of its namespace is that.
    LowerPortStart(u16),
    /// What this kernel does not offer
    Skipped {
        what: String,
        why: String,
    },
    /// So many attempts were made without a line for each.
    Total(u64),
    /// This machine cannot do what the workload is about, for that reason
    Impossible(String),
    /// Waits until portwatch is stopped; it goes on when somebody waits for it.
    Pause,
    /// Waits until it was written how so many attempts ended, by those who see that.
    Ended(usize),
    /// Waits until it is written how so many calls ended that the kernel began anew, which every source
    /// tells
    Resumed(usize),
    /// Waits to be killed.
    Kill,
    /// Asks to be stopped in its tracks, and continued
    Stop,
}

/// One attempt as the one who made it knows it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Truth {
    /// What it was to show
    pub(crate) case: String,
    pub(crate) op: Op,
    /// How it came to the kernel, as portwatch says it
    pub(crate) via: String,
    pub(crate) caller: Caller,
    /// Of the address that was passed, if it was readable
    pub(crate) family: Option<String>,
    pub(crate) family_number: Option<u16>,
    pub(crate) addr: Option<IpAddr>,
    pub(crate) port: Option<u16>,
    pub(crate) scope_id: Option<u32>,
    /// `None` where no system call had it
    pub(crate) fd: Option<i32>,
    /// Of the kernel's function, which need not be what the caller is told; `None` where the call
    /// goes on to something else
    pub(crate) ret: Option<i32>,
    /// `None` where the descriptor is no internet socket
    pub(crate) socket: Option<Socket>,
    /// The socket was connecting already
    pub(crate) repeat: bool,
    /// Of a bind to a port: whether that needs a privilege
    pub(crate) privileged: Option<bool>,
    /// What a cgroup BPF program made of the address
    pub(crate) effective: Option<SocketAddr>,
    /// Denied before the call was entered
    pub(crate) seccomp: bool,
    /// What each station returned: `"lsm -13 by landlock"`; `None` where the workload does not know
    pub(crate) stages: Option<String>,
    /// What the kernel decided by: `"state 7, uid 0 …"`; `None` where the workload does not know
    pub(crate) before: Option<String>,
    /// Unix time, nanoseconds
    pub(crate) began: i64,
    pub(crate) ended: i64,
    /// Whether everything stayed as the call left it until portwatch had written the event
    pub(crate) settled: bool,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Caller {
    pub(crate) pid: u32,
    pub(crate) tid: u32,
    pub(crate) ppid: u32,
    pub(crate) uid: u32,
    pub(crate) euid: u32,
    pub(crate) gid: u32,
    pub(crate) comm: String,
}

/// The socket as the call left it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Socket {
    pub(crate) proto: String,
    pub(crate) local_addr: IpAddr,
    /// `None` for raw sockets, which have no ports
    pub(crate) local_port: Option<u16>,
    /// `None` of one that the kernel made for itself
    pub(crate) inode: Option<u64>,
    pub(crate) netns: u64,
    pub(crate) options: Vec<String>,
    /// Whether the call came as far as the protocol
    pub(crate) reached: bool,
}

impl Socket {
    /// Has an end of its own: an address or a port.
    pub(crate) fn is_bound(&self) -> bool {
        !self.local_addr.is_unspecified() || self.local_port.is_some_and(|port| port != 0)
    }
}
