//! Which program is attached where, by source.

mod security;
mod table;

use std::fmt;

use self::table::{FEXIT, KPROBE, SECCOMP, TRACEPOINT};
pub(super) use self::{
    security::{Active, Unhooked, tells_modules_apart},
    table::SCTP,
};
use super::{Kind, Request, block};

/// One program at one place.
pub(super) struct Hook {
    /// Its name in the eBPF object (portwatch-ebpf/src/hooks)
    pub(super) program: &'static str,
    pub(super) attach: Attach,
    /// Without it the source is of no use
    pub(super) required: bool,
    /// A kernel that does not have the function does not do what the hook is to see
    pub(super) moot_if_absent: bool,
    /// How many parameters the function must have, where kernels differ in that
    pub(super) parameters: Option<u32>,
    /// What is not seen without it
    pub(super) unseen: &'static str,
    /// The only operation ([`portwatch_common::event::op`]) that it sees; `None`: all
    pub(super) only: Option<u8>,
}

#[derive(Clone, Copy)]
pub(super) enum Attach {
    Fentry(&'static str),
    Fexit(&'static str),
    /// A tracepoint by its BTF type: `btf_trace_` and its name
    TracepointBtf(&'static str),
    Kprobe(&'static str),
    Kretprobe(&'static str),
    Tracepoint(&'static str, &'static str),
}

impl Hook {
    /// The name to look for in the kernel's type information: to attach by it, or to know whether
    /// there is such a function.
    pub(super) const fn btf_name(&self) -> Option<&'static str> {
        match self.attach {
            Attach::Fentry(name) | Attach::Fexit(name) | Attach::TracepointBtf(name) => Some(name),
            Attach::Kprobe(name) | Attach::Kretprobe(name) if self.moot_if_absent => Some(name),
            Attach::Tracepoint(..) if self.is_second() => Some(PREEMPTIBLE),
            Attach::Kprobe(_) | Attach::Kretprobe(_) | Attach::Tracepoint(..) => None,
        }
    }

    /// It does what another program at the same place was skipped for.
    pub(super) const fn is_second(&self) -> bool {
        self.moot_if_absent && matches!(self.attach, Attach::Tracepoint(..))
    }
}

/// What runs the programs of system call tracepoints with preemption enabled, and skips some (Linux 7.2,
/// kernel/trace/bpf_trace.c).
const PREEMPTIBLE: &str = "trace_call_bpf_faultable";

/// A function whose parameters became more from version to version (kernel/bpf/cgroup.c).
pub(super) const CGROUP_ADDR: &str = "__cgroup_bpf_run_filter_sock_addr";

/// How the kernel names the type of a tracepoint's function (include/linux/tracepoint.h).
pub(super) const TRACEPOINT_TYPE: &str = "btf_trace_";

impl fmt::Display for Attach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fentry(function) => write!(f, "fentry:{function}"),
            Self::Fexit(function) => write!(f, "fexit:{function}"),
            Self::TracepointBtf(name) => {
                write!(f, "tp_btf:{}", name.trim_start_matches(TRACEPOINT_TYPE))
            }
            Self::Kprobe(function) => write!(f, "kprobe:{function}"),
            Self::Kretprobe(function) => write!(f, "kretprobe:{function}"),
            Self::Tracepoint(category, name) => write!(f, "tracepoint:{category}:{name}"),
        }
    }
}

/// The hooks of a source, in the order in which they are attached: returns before entries, so
/// that no call that was seen to begin goes without its end.
fn of(kind: Kind) -> &'static [Hook] {
    match kind {
        Kind::Fexit => FEXIT,
        Kind::Kprobe => KPROBE,
        Kind::Tracepoint => TRACEPOINT,
    }
}

/// Those of a source that are to be attached. One that sees only what the filter drops is not: such
/// a call then costs nothing at all.
pub(super) fn wanted(kind: Kind, request: &Request, modules: &Active) -> Vec<&'static Hook> {
    let is_asked_for = kind == Kind::Fexit && request.seccomp;
    let seccomp = if is_asked_for { SECCOMP } else { &[] };
    let filter = block::of(kind, request);
    of(kind)
        .iter()
        .chain(seccomp)
        .chain(modules.hooks(kind))
        .filter(|hook| hook.only.is_none_or(|op| filter.wants(op)))
        .collect()
}

/// All that a source can have, whatever is asked for.
pub(super) fn every(kind: Kind) -> impl Iterator<Item = &'static Hook> {
    let seccomp = if kind == Kind::Fexit { SECCOMP } else { &[] };
    let sctp = if kind == Kind::Tracepoint { &[] } else { SCTP };
    let modules: Vec<_> = Active::any().hooks(kind).collect();
    of(kind).iter().chain(seccomp).chain(sctp).chain(modules)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::filter::{Expr, sample::Somewhere};

    fn places(kind: Kind, filter: &str, keeps_binds: bool) -> Vec<String> {
        let mut request = Request {
            keeps_binds,
            ..Request::default()
        };
        request.filter.and(Expr::parse(filter, &Somewhere).unwrap());
        wanted(kind, &request, &Active::any())
            .iter()
            .map(|hook| hook.attach.to_string())
            .collect()
    }

    fn has(places: &[String], what: &str) -> bool {
        places.iter().any(|place| place.contains(what))
    }

    #[test]
    fn what_no_filter_lets_pass_is_not_hooked() {
        for kind in [Kind::Fexit, Kind::Kprobe] {
            for (filter, keeps_binds, [binds, connects, listens]) in [
                ("op=bind", false, [true, false, false]),
                ("op=bind", true, [true, false, true]),
                ("op!=bind", false, [false, true, true]),
                ("op=connect", false, [false, true, false]),
                ("op=connect", true, [true, true, true]),
                ("role=server", false, [true, false, true]),
                ("role=client", false, [true, true, false]),
                ("port=80", false, [true, true, true]),
                ("op=bind or port=80", false, [true, true, true]),
            ] {
                let places = places(kind, filter, keeps_binds);
                let case = format!("{filter} {places:?}");
                assert_eq!(has(&places, "__sys_bind"), binds, "{case}");
                assert_eq!(has(&places, "security_socket_bind"), binds, "{case}");
                assert_eq!(has(&places, "smack_socket_bind"), binds, "{case}");
                assert_eq!(has(&places, "connect"), connects, "{case}");
                assert_eq!(has(&places, "inet_sock_set_state"), connects, "{case}");
                assert_eq!(has(&places, "inet_listen"), listens, "{case}");
                assert!(has(&places, "__cgroup_bpf_run_filter_sk"), "{case}");
            }
        }
    }

    #[test]
    fn tracepoints_see_all_calls_of_a_process() {
        let all = places(Kind::Tracepoint, "port=80", false);
        assert_eq!(places(Kind::Tracepoint, "op=bind", false), all);
    }
}
