//! What each source can see, and know of what it sees: docs/KERNELS.md, as a table.

use super::{
    source::Source,
    stream::Stream,
    truth::{Op, Truth},
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Field {
    Op,
    Via,
    Tid,
    Ppid,
    Comm,
    Uid,
    Euid,
    Gid,
    User,
    Family,
    FamilyNumber,
    Proto,
    Addr,
    Port,
    ScopeId,
    LocalAddr,
    LocalPort,
    Fd,
    Inode,
    Ret,
    Errno,
    Netns,
    Options,
    EffectiveAddr,
    EffectivePort,
    Privileged,
    Repeat,
    Seccomp,
    Lsm,
    Cgroup,
    Operation,
    GetPort,
    TcpConnect,
    SynSent,
    Before,
    Latency,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Knows {
    /// It is what it was.
    Always,
    /// It is what it was, if all stayed as it was until the event was written; else it may be null.
    WhileItLasts,
    /// It is what it was, or null.
    Perhaps,
    /// It is null.
    Never,
}

/// Whether this portwatch has hooks for it at all.
pub(crate) fn sees(stream: &Stream, truth: &Truth) -> bool {
    sees_by(stream.source(), stream.watches_seccomp(), truth)
}

/// The same of a source, that watches for what seccomp denies or does not.
pub(crate) fn sees_by(source: Source, watches_seccomp: bool, truth: &Truth) -> bool {
    match source {
        Source::Fexit => !truth.seccomp || watches_seccomp,
        Source::Kprobe => !truth.seccomp,
        Source::Tracepoint => !truth.seccomp && truth.op != Op::Listen && truth.via == "syscall",
    }
}

/// What a source can know of that attempt, by its nature.
pub(crate) fn knows(source: Source, truth: &Truth, field: Field) -> Knows {
    match source {
        Source::Fexit => fexit(truth, field),
        Source::Kprobe => kprobe(truth, field),
        Source::Tracepoint => tracepoint(truth, field),
    }
}

fn fexit(truth: &Truth, field: Field) -> Knows {
    match field {
        // What is seen at its return only took a time that nobody knows.
        Field::Latency => Knows::Perhaps,
        _ if is_of_the_socket(field) && !truth.has_protocol_hook() => Knows::WhileItLasts,
        _ => Knows::Always,
    }
}

fn kprobe(truth: &Truth, field: Field) -> Knows {
    match field {
        // What TCP had begun before is over when io_uring's function returns, where that is hooked.
        Field::Ret | Field::Errno | Field::Latency | Field::Operation
            if truth.repeat && truth.via == "io_uring" =>
        {
            Knows::Perhaps
        }
        Field::Ret | Field::Errno | Field::Latency if truth.ends_unseen() => Knows::Never,
        // No return probe is on what may wait; the system call's return takes its place.
        Field::Operation if truth.op == Op::Connect && truth.via == "io_uring" => Knows::Never,
        _ if is_of_the_socket(field) && !truth.has_protocol_hook() => Knows::WhileItLasts,
        _ => Knows::Always,
    }
}

/// A system call has only numbers; what they stand for is looked up afterwards.
fn tracepoint(truth: &Truth, field: Field) -> Knows {
    match field {
        _ if is_of_the_way(field) => Knows::Never,
        // A socket that is not as it was asked for might be another one.
        _ if is_of_the_socket(field) && truth.is_rewritten() => Knows::Never,
        Field::Euid | Field::User | Field::Ppid => Knows::WhileItLasts,
        _ if is_of_the_socket(field) => Knows::WhileItLasts,
        _ => Knows::Always,
    }
}

/// What only hooks on the way to the protocol see.
fn is_of_the_way(field: Field) -> bool {
    matches!(
        field,
        Field::EffectiveAddr
            | Field::EffectivePort
            | Field::Privileged
            | Field::Repeat
            | Field::Seccomp
            | Field::Lsm
            | Field::Cgroup
            | Field::Operation
            | Field::GetPort
            | Field::TcpConnect
            | Field::SynSent
            | Field::Before
    )
}

fn is_of_the_socket(field: Field) -> bool {
    matches!(
        field,
        Field::Proto
            | Field::LocalAddr
            | Field::LocalPort
            | Field::Inode
            | Field::Netns
            | Field::Options
    )
}

impl Truth {
    /// Whether a function that is hooked has the socket in hand.
    fn has_protocol_hook(&self) -> bool {
        let is_sctp = self.socket.as_ref().is_some_and(|it| it.proto == "sctp");
        // Until its module is there, SCTP's connect has none.
        !is_sctp || self.op == Op::Bind || self.stages.is_some()
    }

    /// The socket has another end than was asked for.
    fn is_rewritten(&self) -> bool {
        self.effective.is_some() && self.ret == Some(0)
    }

    /// By a thread that io_uring made for it.
    pub(crate) fn is_by_worker(&self) -> bool {
        self.caller.comm.starts_with("iou-wrk-")
    }

    /// By no system call of its own, and TCP sent its SYN, or had done so before: no return
    /// probe sees the end of such a connect.
    fn ends_unseen(&self) -> bool {
        let is_under_way = [Some(0), Some(-libc::EINPROGRESS)].contains(&self.ret) || self.repeat;
        let is_called = self.via != "io_uring" || self.op != Op::Connect;
        self.ret.is_none() || (!is_called && is_under_way)
    }
}
