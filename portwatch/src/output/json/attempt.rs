//! Attempts.

use std::{io, net::IpAddr, path::Path, sync::Arc, time::Duration};

use serde::Serialize;

use super::{
    Container, VERSION,
    cause::Cause,
    foreign,
    line::{Line, Name, Put, fields},
    value,
};
use crate::{
    errno::Errno,
    event::{
        self, Cgroup, Comm, Family, IfName, Op, Options, Outcome, Process, Proto, System, Time, Via,
    },
    output::memo::Memo,
    users::Users,
};

/// Writes attempts, field by field as docs/EVENTS.md has them.
#[derive(Debug, Default)]
pub(super) struct AttemptPrinter {
    second: Memo<i64>,
    call: Memo<Call>,
    target: Memo<Target>,
    local_ip: Memo<Option<IpAddr>>,
    end: Memo<End>,
    place: Memo<Place>,
    cause: Memo<One<event::Cause>>,
}

impl AttemptPrinter {
    pub(super) fn print(
        &mut self,
        out: &mut Vec<u8>,
        attempt: &event::Attempt,
        seq: u64,
        users: &mut Users,
    ) -> io::Result<()> {
        const { assert!(VERSION == 1, "as the line begins") };
        let mut line = Line::begin(out, r#"{"v":1,"kind":"attempt""#);
        fields! { line:
            "seq" put seq;
        }
        self.add_call(&mut line, attempt, attempt.time, users);
        line.remembered(&mut self.end, End::of(attempt), End::write);
        fields! { line:
            "latency_ns" put attempt.latency.and_then(nanoseconds);
        }
        line.remembered(&mut self.place, Place::of(attempt), Place::write);
        line.flag(",\"repeat\":", attempt.repeat);
        line.flag(",\"deferred\":", attempt.deferred);
        line.flag(",\"seccomp\":", attempt.seccomp);
        line.object(",\"stages\":", Stages::of(attempt))?;
        line.object(",\"before\":", Before::of(attempt))?;
        line.flag(",\"reset\":", attempt.reset);
        self.add_cause(&mut line, attempt.cause.as_ref(), users)?;
        line.end();
        Ok(())
    }

    /// How a pending connect ended, with who made it and what was asked for.
    pub(super) fn print_outcome(
        &mut self,
        out: &mut Vec<u8>,
        outcome: &event::OutcomeOf,
        users: &mut Users,
    ) -> io::Result<()> {
        let event::OutcomeOf {
            seq,
            attempt,
            ended,
            lasted: _,
            cause,
        } = outcome;
        const { assert!(VERSION == 1, "as the line begins") };
        let mut line = Line::begin(out, r#"{"v":1,"kind":"outcome""#);
        fields! { line:
            "seq" put *seq;
        }
        self.add_call(&mut line, attempt, ended.time, users);
        let end = End {
            ret: ended.end.ret(),
            errno: ended.end.ret().and_then(|ret| attempt.system.errno(ret)),
            outcome: ended.end.outcome(),
        };
        line.remembered(&mut self.end, end, End::write);
        fields! { line:
            "latency_ns" put nanoseconds(ended.latency);
        }
        line.remembered(&mut self.place, Place::of(attempt), Place::write);
        line.flag(",\"reset\":", ended.reset);
        self.add_cause(&mut line, cause.as_ref(), users)?;
        line.end();
        Ok(())
    }

    fn add_cause(
        &mut self,
        line: &mut Line<'_>,
        cause: Option<&Arc<event::Cause>>,
        users: &mut Users,
    ) -> io::Result<()> {
        let Some(cause) = cause else {
            return Ok(());
        };
        let mut written = Ok(());
        line.remembered(
            &mut self.cause,
            One(Arc::clone(cause)),
            |One(cause), line| {
                written = line.object(",\"cause\":", Some(Cause::of(cause, users)));
            },
        );
        written
    }

    /// When it was, what was called, by whom, and with what.
    fn add_call(
        &mut self,
        line: &mut Line<'_>,
        attempt: &event::Attempt,
        time: Time,
        users: &mut Users,
    ) {
        let asked = attempt.requested;
        line.time(",\"time\":", &mut self.second, time);
        let call = Call::of(attempt, users);
        line.remembered(&mut self.call, call, |call, line| call.write(line, users));
        line.remembered(&mut self.target, Target::of(attempt), Target::write);
        fields! { line:
            "port" put asked.map(|asked| asked.port);
            "scope_id" known asked.map(|asked| asked.scope_id).filter(|&id| id != 0);
            "effective_addr" known attempt.effective.map(|end| end.ip);
            "effective_port" known attempt.effective.map(|end| end.port);
        }
        let local_ip = attempt.local.map(|end| end.ip);
        line.remembered(&mut self.local_ip, local_ip, |&ip, line| {
            fields! { line: "local_addr" put ip; }
        });
        fields! { line:
            "local_port" put attempt.local.and_then(|end| end.port);
            "fd" put attempt.fd;
            "inode" known attempt.inode;
        }
    }
}

/// The very same value, not one that is like it.
#[derive(Debug)]
struct One<T>(Arc<T>);

impl<T> PartialEq for One<T> {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

// What follows has parts of a line that are the same for many attempts in a row.

/// What was called, and by whom.
#[derive(Debug, PartialEq)]
struct Call {
    system: System,
    op: Op,
    via: Option<Via>,
    tgid: u32,
    tid: u32,
    ppid: Option<u32>,
    comm: Comm,
    process: Option<Arc<Process>>,
    uid: u32,
    euid: Option<u32>,
    gid: Option<u32>,
    /// Of the users' names
    names: u64,
}

impl Call {
    fn of(attempt: &event::Attempt, users: &Users) -> Self {
        Self {
            system: attempt.system,
            op: attempt.op,
            via: attempt.via,
            tgid: attempt.tgid,
            tid: attempt.tid,
            ppid: attempt.ppid,
            comm: attempt.comm,
            process: attempt.process.clone(),
            uid: attempt.uid,
            euid: attempt.euid,
            gid: attempt.gid,
            names: users.version(),
        }
    }

    fn write(&self, line: &mut Line<'_>, users: &mut Users) {
        let process = self.process.as_deref();
        let exe = process.and_then(|process| process.exe.as_deref());
        fields! { line:
            // Of others than Linux, whose names of errors `errno` has and whose numbers `ret`
            "system" known foreign(self.system).as_deref();
            "op" put Name(self.op.name());
            "via" put self.via.map(|via| Name(via.name()));
            "pid" put self.tgid;
            "tid" put self.tid;
            "ppid" put self.ppid;
            "comm" put String::from_utf8_lossy(self.comm.as_bytes());
            "exe" known exe.map(Path::to_string_lossy);
            "cmdline" known process.and_then(|process| process.cmdline.as_deref());
            "uid" put self.uid;
            "euid" put self.euid;
            "gid" put self.gid;
            "user" put self.euid.and_then(|uid| users.name(uid));
        }
    }
}

/// What was asked for, but for the port.
#[derive(Debug, PartialEq)]
struct Target {
    family: Option<Family>,
    proto: Option<Proto>,
    ip: Option<IpAddr>,
}

impl Target {
    fn of(attempt: &event::Attempt) -> Self {
        Self {
            family: attempt.family,
            proto: attempt.proto,
            ip: attempt.requested.map(|asked| asked.ip),
        }
    }

    fn write(&self, line: &mut Line<'_>) {
        fields! { line:
            "family" put self.family.map(|family| Name(family.name()));
            "family_number" known self.family.and_then(other_number);
            "proto" put self.proto;
            "addr" put self.ip;
        }
    }
}

/// How it ended.
#[derive(Debug, PartialEq)]
struct End {
    ret: Option<i32>,
    errno: Option<Errno>,
    outcome: Outcome,
}

impl End {
    fn of(attempt: &event::Attempt) -> Self {
        Self {
            ret: attempt.ret,
            errno: attempt.errno(),
            outcome: attempt.outcome(),
        }
    }

    fn write(&self, line: &mut Line<'_>) {
        fields! { line:
            "ret" put self.ret;
            "errno" known self.errno;
            "outcome" put Name(self.outcome.name());
        }
    }
}

/// Where it was called, and with what options.
#[derive(Debug, PartialEq)]
struct Place {
    netns: Option<u32>,
    cgroup_id: Option<u64>,
    cgroup: Option<Arc<Cgroup>>,
    ifindex: Option<u32>,
    ifname: Option<IfName>,
    options: Option<Options>,
    privileged: Option<bool>,
}

impl Place {
    fn of(attempt: &event::Attempt) -> Self {
        Self {
            netns: attempt.netns,
            cgroup_id: attempt.cgroup_id,
            cgroup: attempt.cgroup.clone(),
            ifindex: attempt.ifindex,
            ifname: attempt.ifname,
            options: attempt.options,
            privileged: attempt.privileged,
        }
    }

    fn write(&self, line: &mut Line<'_>) {
        let cgroup = self.cgroup.as_deref();
        fields! { line:
            "netns" put self.netns;
            "cgroup_id" put self.cgroup_id;
            "cgroup" known cgroup.map(|cgroup| cgroup.path.as_str());
            "container" known cgroup.and_then(|cgroup| cgroup.container.as_ref());
            "unit" known cgroup.and_then(|cgroup| cgroup.unit.as_deref());
            "ifindex" known self.ifindex;
            "ifname" known self.ifname.as_ref().map(|name| String::from_utf8_lossy(name.as_bytes()));
            "options" put self.options;
            "privileged" known self.privileged;
        }
    }
}

impl Put for &event::Container {
    fn put(self, out: &mut Vec<u8>) {
        serde_json::to_writer(out, &Container::of(self)).expect("strings always serialise");
    }
}

/// By its name, or, of one without a name, by its number: `proto-99`.
impl Put for Proto {
    fn put(self, out: &mut Vec<u8>) {
        match (self.name(), self) {
            (Some(name), _) => Name(name).put(out),
            (None, Proto::Ip(number)) => format!("proto-{number}").as_str().put(out),
            (None, Proto::Raw) => None::<&str>.put(out),
        }
    }
}

impl Put for Errno {
    fn put(self, out: &mut Vec<u8>) {
        match self.name() {
            Some(name) => Name(name).put(out),
            None => self.to_string().as_str().put(out),
        }
    }
}

fn nanoseconds(time: Duration) -> Option<u64> {
    u64::try_from(time.as_nanos()).ok()
}

const fn other_number(family: Family) -> Option<u16> {
    match family {
        Family::Other(number) => Some(number),
        Family::Ipv4 | Family::Ipv6 | Family::Unspec => None,
    }
}

/// Written for attempts that did not succeed: what each station returned, as far as it was seen.
#[derive(Serialize)]
struct Stages {
    #[serde(skip_serializing_if = "Option::is_none")]
    lsm: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    lsm_name: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cgroup: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    operation: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    get_port: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    connect: Option<i32>,
    #[serde(skip_serializing_if = "value::is_false")]
    syn_sent: bool,
}

impl Stages {
    fn of(attempt: &event::Attempt) -> Option<Self> {
        let stages @ event::Stages {
            lsm,
            lsm_name,
            cgroup,
            operation,
            get_port,
            connect,
            syn_sent,
        } = attempt.stages;
        let failed = attempt.outcome() != Outcome::Ok && stages != event::Stages::default();
        failed.then_some(Self {
            lsm,
            lsm_name: lsm_name.map(event::Lsm::name),
            cgroup,
            operation,
            get_port,
            connect,
            syn_sent,
        })
    }
}

/// Written for attempts that did not succeed, or that took a privilege to: what the kernel
/// decided by.
#[derive(Serialize)]
struct Before {
    #[serde(skip_serializing_if = "Option::is_none")]
    state: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    socket_state: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    port: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    uid: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    unprivileged_port_start: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    net_user_ns: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    net_user_ns_level: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    net_user_ns_owner: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_ns: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_ns_level: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "value::hex")]
    cap_effective: Option<u64>,
}

impl Before {
    fn of(attempt: &event::Attempt) -> Option<Self> {
        let before @ event::Before {
            socket,
            net_user_ns,
            net_user_ns_level,
            net_user_ns_owner,
            unprivileged_port_start,
            credentials,
        } = attempt.before;
        let is_ok = attempt.outcome() == Outcome::Ok;
        if is_ok && credentials.is_none() || before == event::Before::default() {
            return None;
        }
        let socket = socket.filter(|_| !is_ok);
        Some(Self {
            state: socket.map(|socket| socket.state),
            socket_state: socket.map(|socket| socket.socket_state),
            port: socket.map(|socket| socket.port),
            uid: socket.and_then(|socket| socket.uid),
            unprivileged_port_start,
            net_user_ns,
            net_user_ns_level,
            net_user_ns_owner,
            user_ns: credentials.map(|held| held.user_ns),
            user_ns_level: credentials.and_then(|held| held.level),
            cap_effective: credentials.map(|held| held.cap_effective),
        })
    }
}
