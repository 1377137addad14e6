//! Causes and holders, as docs/EVENTS.md has them, read back.

use std::{net::IpAddr, path::PathBuf, sync::Arc};

use serde::{Deserialize, Deserializer};

use super::record::{Container, Users, cgroup, comm, named, rfc3339};
use crate::event::{
    self, AcceptQueue, Binder, Code, Confidence, HoldingProcess, Lookup, SocketState, Time, Unseen,
};

#[derive(Deserialize)]
pub(super) struct Cause {
    code: String,
    text: String,
    fix: Vec<Fix>,
    confidence: String,
    evidence: Vec<String>,
    #[serde(default)]
    next: Vec<String>,
    #[serde(default)]
    holder: Vec<Holder>,
    holder_unseen: Option<String>,
    #[serde(default)]
    candidates: Vec<Candidate>,
}

#[derive(Deserialize)]
struct Candidate {
    code: String,
    text: String,
}

#[derive(Deserialize)]
struct Fix {
    what: String,
    command: Option<String>,
    opens: Option<String>,
}

impl Cause {
    /// `None` where a word of it is newer than this program.
    pub(super) fn event(self, users: &mut Users) -> Option<Arc<event::Cause>> {
        let fixes = self.fix.into_iter().map(|fix| event::Fix {
            what: fix.what,
            command: fix.command,
            opens: fix.opens,
        });
        let holders = self.holder.into_iter().map(|holder| holder.event(users));
        let candidate = |candidate: Candidate| {
            Some(event::Candidate {
                code: named(Code::ALL, Code::name, Some(&candidate.code))?,
                text: candidate.text,
            })
        };
        let candidates = self.candidates.into_iter().map(candidate);
        let confidence = Some(self.confidence.as_str());
        Some(Arc::new(event::Cause {
            code: named(Code::ALL, Code::name, Some(&self.code))?,
            text: self.text,
            fixes: fixes.collect(),
            confidence: named(&Confidence::ALL, Confidence::name, confidence)?,
            evidence: self.evidence,
            next: self.next,
            holders: holders.collect::<Option<_>>()?,
            holders_unseen: match self.holder_unseen {
                Some(word) => Some(named(&Unseen::ALL, Unseen::name, Some(&word))?),
                None => None,
            },
            candidates: candidates.collect::<Option<_>>()?,
        }))
    }
}

#[derive(Deserialize)]
struct Holder {
    pid: Option<u32>,
    fd: Option<i32>,
    comm: Option<String>,
    exe: Option<PathBuf>,
    uid: Option<u32>,
    user: Option<String>,
    container: Option<Container>,
    unit: Option<String>,
    state: String,
    addr: IpAddr,
    port: u16,
    peer_addr: Option<IpAddr>,
    peer_port: Option<u16>,
    inode: Option<u64>,
    #[serde(default, deserialize_with = "maybe_time")]
    since: Option<Time>,
    bound_by_pid: Option<u32>,
    bound_by_comm: Option<String>,
    process: Option<String>,
    kernel: bool,
    reuseaddr: Option<bool>,
    reuseport: Option<bool>,
    v6only: Option<bool>,
    ifindex: Option<u32>,
    waiting: Option<u32>,
    backlog: Option<u32>,
}

fn maybe_time<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Time>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?;
    text.as_deref().map(rfc3339).transpose()
}

/// Recordings of before this was told leave open whether a process has the socket.
fn not_found<T>(word: Option<&str>) -> Option<Lookup<T>> {
    match word {
        None => Some(Lookup::default()),
        Some("not_there") => Some(Lookup::NotThere),
        word => named(&Unseen::ALL, Unseen::name, word).map(Lookup::NotSeen),
    }
}

impl Holder {
    fn event(self, users: &mut Users) -> Option<event::Holder> {
        users.extend(self.uid.map(|uid| (uid, self.user)));
        let state = Some(self.state.as_str());
        let process = match (self.pid, self.comm) {
            (Some(tgid), Some(name)) => Lookup::Found(HoldingProcess {
                tgid,
                fd: self.fd,
                comm: comm(&name).ok()?,
                exe: self.exe,
                cgroup: cgroup(None, self.unit, self.container),
            }),
            _ => not_found(self.process.as_deref())?,
        };
        let bound_by = match (self.bound_by_pid, self.bound_by_comm) {
            (Some(tgid), Some(name)) => Some(Binder {
                tgid,
                comm: comm(&name).ok()?,
            }),
            _ => None,
        };
        let queue = self.waiting.zip(self.backlog);
        let queue = queue.map(|(waiting, backlog)| AcceptQueue { waiting, backlog });
        Some(event::Holder {
            process,
            uid: self.uid,
            state: named(&SocketState::ALL, SocketState::name, state)?,
            ip: self.addr,
            port: self.port,
            peer: self.peer_addr.zip(self.peer_port),
            inode: self.inode,
            since: self.since,
            bound_by,
            kernel: self.kernel,
            reuseaddr: self.reuseaddr,
            reuseport: self.reuseport,
            v6only: self.v6only,
            ifindex: self.ifindex,
            queue,
        })
    }
}
