//! "What each source sees" of docs/KERNELS.md, made from what the trials hold the sources to.
//!
//! `cargo xtask tables` has it written; a trial sees that it is the same.

use std::{
    fmt::Write as _,
    net::{Ipv4Addr, SocketAddr},
};

use anyhow::{Result, ensure};

use super::{
    knowledge::{Field, Knows, knows, sees_by},
    source::Source,
    truth::{Caller, Op, Socket, Truth},
};

/// First argument of a process that is to print it.
pub(crate) const FLAG: &str = "--knowledge";

const DOCUMENT: &str = include_str!("../../../docs/KERNELS.md");
const BEGIN: &str = "<!-- knowledge: written by cargo xtask tables -->\n";
const END: &str = "<!-- end of knowledge -->\n";

/// The attempts that a source treats alike.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Kind {
    via: Via,
    op: Op,
    /// SCTP, whose functions are a module's
    sctp: bool,
    ending: Ending,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Via {
    Syscall,
    Compat32,
    IoUring,
    IoWorker,
    FastOpen,
    /// Socket options of SCTP
    Bindx,
    Connectx,
    Kernel,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Ending {
    Succeeds,
    Fails,
    /// Not over when the call returns
    GoesOn,
    /// The socket was connecting already
    Again,
    /// No internet socket was reached
    NoSocket,
    /// Refused before the protocol was
    Denied,
    Rewritten,
    Seccomp,
}

impl Via {
    const ALL: [Self; 8] = [
        Self::Syscall,
        Self::Compat32,
        Self::IoUring,
        Self::IoWorker,
        Self::FastOpen,
        Self::Bindx,
        Self::Connectx,
        Self::Kernel,
    ];

    const fn title(self) -> &'static str {
        match self {
            Self::Syscall => "system call",
            Self::Compat32 => "32-bit system call",
            Self::IoUring => "io_uring, on the caller's thread",
            Self::IoWorker => "io_uring, by a worker",
            Self::FastOpen => "TCP Fast Open",
            Self::Bindx => "`sctp_bindx()`",
            Self::Connectx => "`sctp_connectx()`",
            Self::Kernel => "the kernel's own",
        }
    }
}

impl Ending {
    const ALL: [Self; 8] = [
        Self::Succeeds,
        Self::Fails,
        Self::GoesOn,
        Self::Again,
        Self::NoSocket,
        Self::Denied,
        Self::Rewritten,
        Self::Seccomp,
    ];

    const fn title(self) -> &'static str {
        match self {
            Self::Succeeds => "succeeds",
            Self::Fails => "refused by the protocol",
            Self::GoesOn => "goes on after the call",
            Self::Again => "asked again while it goes on",
            Self::NoSocket => "reaches no internet socket",
            Self::Denied => "refused before the protocol",
            Self::Rewritten => "sent elsewhere by a cgroup BPF program",
            Self::Seccomp => "denied by seccomp",
        }
    }
}

impl Kind {
    fn of(truth: &Truth) -> Option<Self> {
        let via = match truth.via.as_str() {
            "syscall" => Via::Syscall,
            "compat32" => Via::Compat32,
            "io_uring" if truth.is_by_worker() => Via::IoWorker,
            "io_uring" => Via::IoUring,
            "fastopen" => Via::FastOpen,
            "bindx" => Via::Bindx,
            "connectx" => Via::Connectx,
            "kernel" => Via::Kernel,
            _ => return None,
        };
        Some(Self {
            via,
            op: truth.op,
            sctp: truth
                .socket
                .as_ref()
                .is_some_and(|socket| socket.proto == "sctp"),
            ending: ending(truth),
        })
    }

    /// All that there can be, in the order of the table.
    fn all() -> impl Iterator<Item = Self> {
        let with_op = |via| [Op::Bind, Op::Connect, Op::Listen].map(|op| (via, op));
        let ways = Via::ALL.into_iter().flat_map(with_op);
        let with_sctp = |(via, op)| [false, true].map(|sctp| (via, op, sctp));
        let kinds = ways.flat_map(with_sctp).flat_map(|(via, op, sctp)| {
            Ending::ALL.map(|ending| Self {
                via,
                op,
                sctp,
                ending,
            })
        });
        kinds.filter(|kind| kind.is_possible())
    }

    /// Whether there is such an attempt that the workloads can make.
    fn is_possible(self) -> bool {
        let Self {
            via,
            op,
            sctp,
            ending,
        } = self;
        let is_call = matches!(via, Via::Syscall | Via::Compat32);
        let is_of_ring = matches!(via, Via::IoUring | Via::IoWorker);
        let can_end = match ending {
            Ending::Succeeds | Ending::Fails => true,
            Ending::GoesOn | Ending::Again => op == Op::Connect,
            Ending::NoSocket => (is_call || is_of_ring) && op != Op::Listen,
            Ending::Denied | Ending::Rewritten | Ending::Seccomp => {
                via == Via::Syscall && op != Op::Listen
            }
        };
        let can_come = match via {
            Via::Syscall => true,
            Via::Compat32 => !sctp,
            Via::IoUring | Via::IoWorker | Via::Kernel => !sctp && op != Op::Listen,
            Via::FastOpen => !sctp && op == Op::Connect,
            Via::Bindx => sctp && op == Op::Bind,
            Via::Connectx => sctp && op == Op::Connect,
        };
        let is_of_sctp = matches!(ending, Ending::Succeeds | Ending::Fails) && op != Op::Listen;
        can_end && can_come && (!sctp || is_of_sctp)
    }

    /// One such attempt.
    fn example(self) -> Truth {
        let somewhere = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 7000);
        let socket = Socket {
            proto: if self.sctp { "sctp" } else { "tcp" }.to_owned(),
            local_addr: somewhere.ip(),
            local_port: Some(7000),
            inode: Some(1),
            netns: 1,
            options: Vec::new(),
            reached: self.ending != Ending::Denied,
        };
        let is_worker = self.via == Via::IoWorker;
        Truth {
            case: String::new(),
            op: self.op,
            via: match self.via {
                Via::Syscall => "syscall",
                Via::Compat32 => "compat32",
                Via::IoUring | Via::IoWorker => "io_uring",
                Via::FastOpen => "fastopen",
                Via::Bindx => "bindx",
                Via::Connectx => "connectx",
                Via::Kernel => "kernel",
            }
            .to_owned(),
            caller: Caller {
                pid: 1,
                tid: 1,
                ppid: 1,
                uid: 0,
                euid: 0,
                gid: 0,
                comm: if is_worker { "iou-wrk-1" } else { "sh" }.to_owned(),
            },
            family: Some("ipv4".to_owned()),
            family_number: None,
            addr: Some(somewhere.ip()),
            port: Some(somewhere.port()),
            scope_id: None,
            fd: matches!(self.via, Via::Syscall | Via::Compat32).then_some(3),
            ret: Some(match self.ending {
                Ending::Succeeds | Ending::Rewritten => 0,
                Ending::Fails => -libc::EADDRNOTAVAIL,
                Ending::GoesOn => -libc::EINPROGRESS,
                Ending::Again => -libc::EALREADY,
                Ending::NoSocket => -libc::EBADF,
                Ending::Denied | Ending::Seccomp => -libc::EACCES,
            }),
            socket: (self.ending != Ending::NoSocket).then_some(socket),
            repeat: self.ending == Ending::Again,
            privileged: Some(false),
            effective: (self.ending == Ending::Rewritten).then_some(somewhere),
            seccomp: self.ending == Ending::Seccomp,
            stages: None,
            before: None,
            began: 0,
            ended: 0,
            settled: true,
        }
    }

    /// The fields of interest: those that such an attempt has, and that some source lacks.
    fn has(self, field: Field) -> bool {
        let has_socket = !matches!(self.ending, Ending::NoSocket | Ending::Seccomp);
        let is_failure = !matches!(self.ending, Ending::Succeeds | Ending::Rewritten);
        match field {
            Field::EffectiveAddr => self.ending == Ending::Rewritten,
            Field::Repeat => self.ending == Ending::Again,
            Field::Seccomp => self.ending == Ending::Seccomp,
            Field::Lsm => self.ending == Ending::Denied,
            Field::Operation => is_failure && has_socket && self.ending != Ending::Denied,
            Field::GetPort => self.ending == Ending::Fails && self.op == Op::Bind,
            Field::TcpConnect => is_failure && has_socket && self.op == Op::Connect && !self.sctp,
            Field::Before => is_failure && has_socket,
            Field::Proto | Field::LocalAddr | Field::Netns | Field::Options => has_socket,
            Field::Privileged => has_socket && self.op == Op::Bind,
            Field::Via | Field::Ppid | Field::Euid | Field::Ret | Field::Latency => true,
            _ => false,
        }
    }
}

fn ending(truth: &Truth) -> Ending {
    match truth.ret {
        _ if truth.seccomp => Ending::Seccomp,
        _ if truth.effective.is_some() => Ending::Rewritten,
        _ if truth.repeat => Ending::Again,
        _ if truth.socket.is_none() => Ending::NoSocket,
        Some(ret) if ret != 0 && truth.socket.as_ref().is_some_and(|it| !it.reached) => {
            Ending::Denied
        }
        Some(0) => Ending::Succeeds,
        None => Ending::GoesOn,
        Some(ret) if [libc::EINPROGRESS, libc::EINTR].contains(&-ret) => Ending::GoesOn,
        Some(_) => Ending::Fails,
    }
}

/// Every attempt that a workload makes is in the table.
pub(crate) fn ensure_it_has(truth: &Truth) -> Result<()> {
    let kind = Kind::of(truth);
    ensure!(
        Kind::all().any(|row| Some(row) == kind),
        "{} ({}, by {}, returned {:?}) is of no kind that the table of docs/KERNELS.md has",
        truth.case,
        truth.op,
        truth.via,
        truth.ret
    );
    Ok(())
}

/// The table, its rows one for those that no source tells apart.
pub(crate) fn markdown() -> String {
    let mut text = String::from("| how | what | how it ends |");
    for source in Source::ALL {
        let _ = write!(text, " `{}` |", source.name());
    }
    text.push_str("\n|---|---|---|---|---|---|\n");
    let rows: Vec<(Kind, [String; 3])> = Kind::all()
        .map(|kind| (kind, Source::ALL.map(|source| cell(source, kind))))
        .collect();
    let alike = |one: &(Kind, [String; 3]), other: &(Kind, [String; 3])| {
        let way = |kind: Kind| (kind.via, kind.op, kind.sctp);
        way(one.0) == way(other.0) && one.1 == other.1
    };
    for group in rows.chunk_by(alike) {
        let (kind, cells) = &group[0];
        let endings: Vec<_> = group.iter().map(|(kind, _)| kind.ending.title()).collect();
        let sctp = if kind.sctp { ", SCTP" } else { "" };
        let (how, op) = (kind.via.title(), kind.op);
        let endings = endings.join("; ");
        let _ = writeln!(
            text,
            "| {how} | {op}{sctp} | {endings} | {} |",
            cells.join(" | ")
        );
    }
    text
}

/// What of the fields of interest a source lacks.
fn cell(source: Source, kind: Kind) -> String {
    let truth = kind.example();
    if !sees_by(source, false, &truth) {
        return if sees_by(source, true, &truth) {
            "with `--seccomp`".to_owned()
        } else {
            "–".to_owned()
        };
    }
    let lacking = |knowledge| {
        let fields = FIELDS
            .into_iter()
            .filter(|(field, _)| kind.has(*field) && knows(source, &truth, *field) == knowledge);
        let names: Vec<String> = fields.map(|(_, name)| format!("`{name}`")).collect();
        (!names.is_empty()).then(|| names.join(", "))
    };
    let said = [
        (Knows::WhileItLasts, "late"),
        (Knows::Perhaps, "perhaps"),
        (Knows::Never, "without"),
    ];
    let said: Vec<String> = said
        .into_iter()
        .filter_map(|(knowledge, word)| Some(format!("{word} {}", lacking(knowledge)?)))
        .collect();
    if said.is_empty() {
        "all".to_owned()
    } else {
        said.join("; ")
    }
}

/// As docs/EVENTS.md names them. Others go with these: `user` with `euid`, `errno` with `ret`, and
/// ports with addresses.
const FIELDS: [(Field, &str); 18] = [
    (Field::Via, "via"),
    (Field::Ppid, "ppid"),
    (Field::Euid, "euid"),
    (Field::Ret, "ret"),
    (Field::Latency, "latency_ns"),
    (Field::Proto, "proto"),
    (Field::LocalAddr, "local_addr"),
    (Field::Netns, "netns"),
    (Field::Options, "options"),
    (Field::EffectiveAddr, "effective_addr"),
    (Field::Privileged, "privileged"),
    (Field::Repeat, "repeat"),
    (Field::Seccomp, "seccomp"),
    (Field::Lsm, "stages.lsm"),
    (Field::Operation, "stages.operation"),
    (Field::GetPort, "stages.get_port"),
    (Field::TcpConnect, "stages.connect"),
    (Field::Before, "before"),
];

pub(crate) fn is_in_the_document() -> Result<()> {
    let (_, rest) = DOCUMENT.split_once(BEGIN).unwrap_or_default();
    let (table, _) = rest.split_once(END).unwrap_or_default();
    ensure!(
        table.trim() == markdown().trim(),
        "docs/KERNELS.md does not have the table as it follows from the tests; \
         `cargo xtask tables` writes it"
    );
    Ok(())
}
