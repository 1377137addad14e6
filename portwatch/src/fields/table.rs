//! Every field there is. Formats that show all of them show them in this order.

use std::{os::unix::ffi::OsStrExt as _, time::Duration};

use super::{Field, Record, Value};
use crate::event::{
    Attempt, Candidate, Confidence, Degradation, Family, Holder, HoldingProcess, IfName,
    LossReason, Lsm, MissingHook, Op, Outcome, Process, Requested, Runtime, SocketState, System,
    Unseen, Via,
};

/// A field that is usually so wide.
const fn field(
    name: &'static str,
    width: usize,
    get: for<'a> fn(&Record<'a>) -> Value<'a>,
) -> Field {
    Field { name, width, get }
}

/// What csv shows where nobody says what it is to show.
pub const CSV: &str = "\
    kind,seq,time,op,via,pid,tid,ppid,comm,exe,uid,euid,gid,user,family,proto,addr,port,\
    local_addr,local_port,fd,ret,errno,outcome,latency_ns,netns,cgroup,container.runtime,\
    container.id,unit,ifname,options,cause.code,cause.text,cause.fix.what,cause.fix.command,\
    count,reason,where";

/// The columns of `-o wide`.
pub const WIDE: &str = "\
    time,op,via,proto,pid,tid,ppid,user,comm,exe,addr,port,local_addr,local_port,errno,\
    outcome,latency_ns,netns,unit,container.id,options,cause.code,cause.text,\
    cause.fix.command";

pub static TABLE: &[Field] = &[
    field("kind", 7, |of| of.kind().into()),
    field("v", 1, |_| 1_u32.into()),
    field("seq", 6, |of| of.seq.into()),
    field("time", 30, |of| of.time.into()),
    field("system", 8, |of| {
        let system = of.start().map(|start| start.system);
        let system = system.or(of.attempt.map(|attempt| attempt.system));
        let foreign = system.filter(|system| *system != System::Linux);
        foreign.map(|system| system.to_string()).into()
    }),
    field("op", 7, |of| of.of(|attempt| attempt.op.name())),
    field("via", 8, |of| of.of(|attempt| attempt.via.map(Via::name))),
    field("pid", 7, |of| match of.start() {
        Some(start) => start.pid.into(),
        None => of.of(|attempt| attempt.tgid),
    }),
    field("tid", 7, |of| of.of(|attempt| attempt.tid)),
    field("ppid", 7, |of| of.of(|attempt| attempt.ppid)),
    field("comm", 15, |of| {
        of.of(|attempt| Value::Foreign(attempt.comm.as_bytes()))
    }),
    field("exe", 20, |of| {
        process(of, |process| {
            process
                .exe
                .as_deref()
                .map(|exe| Value::Foreign(exe.as_os_str().as_bytes()))
        })
    }),
    field("cmdline", 30, |of| {
        process(of, |process| process.cmdline.as_deref().map(Value::List))
    }),
    field("uid", 6, |of| of.of(|attempt| attempt.uid)),
    field("euid", 6, |of| of.of(|attempt| attempt.euid)),
    field("gid", 6, |of| of.of(|attempt| attempt.gid)),
    field("user", 8, |of| {
        of.of(|attempt| attempt.euid.map(Value::User))
    }),
    field("family", 6, |of| {
        of.of(|attempt| attempt.family.map(Family::name))
    }),
    field("family_number", 13, |of| {
        of.of(|attempt| match attempt.family? {
            Family::Other(number) => Some(number),
            Family::Ipv4 | Family::Ipv6 | Family::Unspec => None,
        })
    }),
    field("proto", 5, |of| of.of(|attempt| attempt.proto)),
    field("addr", 15, |of| {
        of.of(|attempt| attempt.requested.map(|asked| asked.ip))
    }),
    field("port", 5, |of| {
        of.of(|attempt| attempt.requested.map(|asked| asked.port))
    }),
    field("scope_id", 8, |of| {
        of.of(|attempt| attempt.requested.and_then(scope))
    }),
    field("effective_addr", 15, |of| {
        of.of(|attempt| attempt.effective.map(|end| end.ip))
    }),
    field("effective_port", 14, |of| {
        of.of(|attempt| attempt.effective.map(|end| end.port))
    }),
    field("local_addr", 15, |of| {
        of.of(|attempt| attempt.local.map(|end| end.ip))
    }),
    field("local_port", 10, |of| {
        of.of(|attempt| attempt.local.and_then(|end| end.port))
    }),
    field("fd", 4, |of| of.of(|attempt| attempt.fd)),
    field("inode", 8, |of| of.of(|attempt| attempt.inode)),
    field("ret", 4, |of| of.ret().into()),
    field("errno", 13, |of| of.errno().into()),
    field("outcome", 9, |of| of.outcome_name().into()),
    field("latency_ns", 10, |of| of.latency().map(nanoseconds).into()),
    field("netns", 10, |of| of.of(|attempt| attempt.netns)),
    field("cgroup_id", 9, |of| of.of(|attempt| attempt.cgroup_id)),
    field("cgroup", 20, |of| {
        of.cgroup().map(|cgroup| foreign(&cgroup.path)).into()
    }),
    field("container.runtime", 17, |of| {
        let container = of.cgroup().and_then(|cgroup| cgroup.container.as_ref());
        container
            .and_then(|container| container.runtime)
            .map(Runtime::name)
            .into()
    }),
    field("container.id", 12, |of| {
        let container = of.cgroup().and_then(|cgroup| cgroup.container.as_ref());
        container.map(|container| foreign(&container.id)).into()
    }),
    field("unit", 20, |of| {
        of.cgroup()
            .and_then(|cgroup| cgroup.unit.as_deref())
            .map(foreign)
            .into()
    }),
    field("ifindex", 7, |of| of.of(|attempt| attempt.ifindex)),
    field("ifname", 15, |of| {
        of.of(|attempt| {
            attempt
                .ifname
                .as_ref()
                .map(IfName::as_bytes)
                .map(Value::Foreign)
        })
    }),
    field("options", 20, |of| of.of(|attempt| attempt.options)),
    field("privileged", 10, |of| of.of(|attempt| attempt.privileged)),
    field("repeat", 6, |of| of.of(|attempt| set(attempt.repeat))),
    field("deferred", 8, |of| of.of(|attempt| set(attempt.deferred))),
    field("seccomp", 7, |of| of.of(|attempt| set(attempt.seccomp))),
    field("stages.lsm", 10, |of| {
        failing(of, |attempt| attempt.stages.lsm)
    }),
    field("stages.lsm_name", 15, |of| {
        failing(of, |attempt| attempt.stages.lsm_name.map(Lsm::name))
    }),
    field("stages.cgroup", 13, |of| {
        failing(of, |attempt| attempt.stages.cgroup)
    }),
    field("stages.operation", 16, |of| {
        failing(of, |attempt| attempt.stages.operation)
    }),
    field("stages.get_port", 15, |of| {
        failing(of, |attempt| attempt.stages.get_port)
    }),
    field("stages.connect", 14, |of| {
        failing(of, |attempt| attempt.stages.connect)
    }),
    field("stages.syn_sent", 15, |of| {
        failing(of, |attempt| set(attempt.stages.syn_sent))
    }),
    field("before.state", 12, |of| {
        failing(of, |attempt| Some(attempt.before.socket?.state))
    }),
    field("before.socket_state", 19, |of| {
        failing(of, |attempt| Some(attempt.before.socket?.socket_state))
    }),
    field("before.port", 11, |of| {
        failing(of, |attempt| Some(attempt.before.socket?.port))
    }),
    field("before.uid", 10, |of| {
        failing(of, |attempt| attempt.before.socket?.uid)
    }),
    field("before.unprivileged_port_start", 30, |of| {
        failing(of, |attempt| attempt.before.unprivileged_port_start)
    }),
    field("before.net_user_ns", 18, |of| {
        failing(of, |attempt| attempt.before.net_user_ns)
    }),
    field("before.net_user_ns_level", 24, |of| {
        failing(of, |attempt| attempt.before.net_user_ns_level)
    }),
    field("before.net_user_ns_owner", 24, |of| {
        failing(of, |attempt| attempt.before.net_user_ns_owner)
    }),
    field("before.user_ns", 14, |of| {
        failing(of, |attempt| Some(attempt.before.credentials?.user_ns))
    }),
    field("before.user_ns_level", 20, |of| {
        failing(of, |attempt| attempt.before.credentials?.level)
    }),
    field("before.cap_effective", 20, |of| {
        failing(of, |attempt| {
            Some(Value::Hex(attempt.before.credentials?.cap_effective))
        })
    }),
    field("reset", 5, |of| set(of.reset()).into()),
    field("cause.code", 20, |of| {
        of.cause.map(|cause| cause.code.name()).into()
    }),
    field("cause.text", 40, |of| {
        of.cause.map(|cause| Value::Prose(&cause.text)).into()
    }),
    field("cause.fix.what", 30, |of| {
        of.fix().map(|fix| Value::Prose(&fix.what)).into()
    }),
    field("cause.fix.command", 30, |of| {
        of.fix()
            .and_then(|fix| fix.command.as_deref())
            .map(Value::Prose)
            .into()
    }),
    field("cause.fix.opens", 30, |of| {
        of.fix()
            .and_then(|fix| fix.opens.as_deref())
            .map(Value::Prose)
            .into()
    }),
    field("cause.confidence", 16, |of| {
        of.cause
            .map(|cause| cause.confidence)
            .map(Confidence::name)
            .into()
    }),
    field("cause.evidence", 30, |of| {
        let evidence = of.cause.map(|cause| &cause.evidence);
        let evidence = evidence.filter(|evidence| !evidence.is_empty());
        evidence.map(|evidence| Value::Proses(evidence)).into()
    }),
    field("cause.next", 30, |of| {
        let next = of
            .cause
            .map(|cause| &cause.next)
            .filter(|next| !next.is_empty());
        next.map(|next| Value::Proses(next)).into()
    }),
    field("cause.holder_unseen", 13, |of| {
        of.cause
            .and_then(|cause| cause.holders_unseen)
            .map(Unseen::name)
            .into()
    }),
    field("cause.candidates", 30, |of| {
        let candidates = of.cause.map(|cause| cause.candidates.as_slice());
        let candidates = candidates.filter(|candidates| !candidates.is_empty());
        let shown = |Candidate { code, text }: &Candidate| format!("{}: {text}", code.name());
        candidates
            .map(|candidates| joined(candidates.iter().map(shown)))
            .into()
    }),
    field("cause.holder.pid", 16, |of| {
        holding(of, |process| process.tgid)
    }),
    field("cause.holder.fd", 15, |of| {
        holding(of, |process| process.fd)
    }),
    field("cause.holder.comm", 17, |of| {
        holding(of, |process| Value::Foreign(process.comm.as_bytes()))
    }),
    field("cause.holder.exe", 20, |of| {
        holding(of, |process| {
            process
                .exe
                .as_deref()
                .map(|exe| Value::Foreign(exe.as_os_str().as_bytes()))
        })
    }),
    field("cause.holder.process", 13, |of| {
        holder(of, |holder| holder.process.word())
    }),
    field("cause.holder.uid", 16, |of| holder(of, |holder| holder.uid)),
    field("cause.holder.user", 17, |of| {
        holder(of, |holder| holder.uid.map(Value::User))
    }),
    field("cause.holder.container.runtime", 30, |of| {
        holding(of, |process| {
            process
                .cgroup
                .as_ref()?
                .container
                .as_ref()?
                .runtime
                .map(Runtime::name)
        })
    }),
    field("cause.holder.container.id", 25, |of| {
        holding(of, |process| {
            Some(foreign(&process.cgroup.as_ref()?.container.as_ref()?.id))
        })
    }),
    field("cause.holder.unit", 20, |of| {
        holding(of, |process| {
            process.cgroup.as_ref()?.unit.as_deref().map(foreign)
        })
    }),
    field("cause.holder.state", 18, |of| {
        holder(of, |holder| SocketState::name(holder.state))
    }),
    field("cause.holder.addr", 17, |of| holder(of, |holder| holder.ip)),
    field("cause.holder.port", 17, |of| {
        holder(of, |holder| holder.port)
    }),
    field("cause.holder.peer_addr", 22, |of| {
        holder(of, |holder| holder.peer.map(|(ip, _)| ip))
    }),
    field("cause.holder.peer_port", 22, |of| {
        holder(of, |holder| holder.peer.map(|(_, port)| port))
    }),
    field("cause.holder.inode", 18, |of| {
        holder(of, |holder| holder.inode)
    }),
    field("cause.holder.since", 30, |of| {
        holder(of, |holder| holder.since)
    }),
    field("cause.holder.bound_by_pid", 16, |of| {
        holder(of, |holder| holder.bound_by.map(|binder| binder.tgid))
    }),
    field("cause.holder.bound_by_comm", 17, |of| {
        holder(of, |holder| {
            let binder = holder.bound_by.as_ref()?;
            Some(Value::Foreign(binder.comm.as_bytes()))
        })
    }),
    field("cause.holder.kernel", 19, |of| {
        holder(of, |holder| holder.kernel)
    }),
    field("cause.holder.reuseaddr", 22, |of| {
        holder(of, |holder| holder.reuseaddr)
    }),
    field("cause.holder.reuseport", 22, |of| {
        holder(of, |holder| holder.reuseport)
    }),
    field("cause.holder.v6only", 19, |of| {
        holder(of, |holder| holder.v6only)
    }),
    field("cause.holder.ifindex", 20, |of| {
        holder(of, |holder| holder.ifindex)
    }),
    field("cause.holder.waiting", 20, |of| {
        holder(of, |holder| holder.queue.map(|queue| queue.waiting))
    }),
    field("cause.holder.backlog", 20, |of| {
        holder(of, |holder| holder.queue.map(|queue| queue.backlog))
    }),
    field("count", 6, |of| of.lost().map(|lost| lost.count).into()),
    field("reason", 13, |of| {
        of.lost()
            .map(|lost| lost.reason)
            .map(LossReason::name)
            .into()
    }),
    field("where", 6, |of| {
        of.lost().map(|lost| lost.place.to_string()).into()
    }),
    field("what", 30, |of| {
        let degradation = of.degradation();
        degradation
            .map(|degradation| Value::Prose(&degradation.what))
            .into()
    }),
    field("why", 30, |of| {
        let degradation = of.degradation();
        degradation
            .map(|degradation| Value::Prose(&degradation.why))
            .into()
    }),
    field("remedy", 30, |of| {
        let remedy = of
            .degradation()
            .and_then(|degradation| degradation.remedy.as_deref());
        remedy.map(Value::Prose).into()
    }),
    field("backend", 10, |of| {
        of.start().map(|start| foreign(&start.backend)).into()
    }),
    field("ring_bytes", 10, |of| {
        of.start().and_then(|start| start.ring_bytes).into()
    }),
    field("kernel", 20, |of| {
        of.start().map(|start| foreign(&start.kernel)).into()
    }),
    field("filters", 20, |of| {
        of.start().map(|start| Value::List(&start.filters)).into()
    }),
    field("hooks", 30, |of| {
        of.start().map(|start| Value::List(&start.hooks)).into()
    }),
    field("missing", 30, |of| {
        of.start()
            .map(|start| {
                joined(
                    start
                        .missing
                        .iter()
                        .map(|MissingHook { hook, why, unseen }| {
                            format!("{hook}: {why} (not seen: {unseen})")
                        }),
                )
            })
            .into()
    }),
    field("degradations", 30, |of| {
        of.start()
            .map(|start| {
                joined(
                    start
                        .degradations
                        .iter()
                        .map(|Degradation { what, why, remedy }| {
                            let remedy =
                                remedy.as_ref().map(|remedy| format!(" (better: {remedy})"));
                            format!("{what}: {why}{}", remedy.unwrap_or_default())
                        }),
                )
            })
            .into()
    }),
    field("run_time_ns", 12, |of| {
        of.summary()
            .map(|summary| nanoseconds(summary.run_time))
            .into()
    }),
    field("attempts.bind.ok", 16, |of| {
        counted(of, Op::Bind, Outcome::Ok)
    }),
    field("attempts.bind.failed", 20, |of| {
        counted(of, Op::Bind, Outcome::Failed)
    }),
    field("attempts.bind.pending", 21, |of| {
        counted(of, Op::Bind, Outcome::Pending)
    }),
    field("attempts.bind.abandoned", 23, |of| {
        counted(of, Op::Bind, Outcome::Abandoned)
    }),
    field("attempts.connect.ok", 19, |of| {
        counted(of, Op::Connect, Outcome::Ok)
    }),
    field("attempts.connect.failed", 23, |of| {
        counted(of, Op::Connect, Outcome::Failed)
    }),
    field("attempts.connect.pending", 24, |of| {
        counted(of, Op::Connect, Outcome::Pending)
    }),
    field("attempts.connect.abandoned", 26, |of| {
        counted(of, Op::Connect, Outcome::Abandoned)
    }),
    field("attempts.listen.ok", 18, |of| {
        counted(of, Op::Listen, Outcome::Ok)
    }),
    field("attempts.listen.failed", 22, |of| {
        counted(of, Op::Listen, Outcome::Failed)
    }),
    field("attempts.listen.pending", 23, |of| {
        counted(of, Op::Listen, Outcome::Pending)
    }),
    field("attempts.listen.abandoned", 25, |of| {
        counted(of, Op::Listen, Outcome::Abandoned)
    }),
    field("pending.not_over", 16, |of| {
        of.summary().map(|summary| summary.unended.not_over).into()
    }),
    field("pending.not_told", 16, |of| {
        of.summary().map(|summary| summary.unended.not_told).into()
    }),
    field("pending.not_followed", 20, |of| {
        let summary = of.summary();
        summary.map(|summary| summary.unended.not_followed).into()
    }),
    field("repeats", 7, |of| {
        of.summary().map(|summary| summary.repeats).into()
    }),
    field("errnos", 30, |of| {
        of.summary()
            .map(|summary| {
                joined(
                    summary
                        .errnos
                        .iter()
                        .map(|(errno, count)| format!("{errno} {count}")),
                )
            })
            .into()
    }),
    field("lost", 6, |of| {
        of.summary()
            .map(|summary| summary.lost.values().sum::<u64>())
            .into()
    }),
    field("losses", 20, |of| {
        of.summary()
            .map(|summary| {
                joined(
                    summary
                        .lost
                        .iter()
                        .map(|(reason, count)| format!("{} {count}", reason.name())),
                )
            })
            .into()
    }),
];

fn process<'a, T: Into<Value<'a>>>(
    of: &Record<'a>,
    get: impl FnOnce(&'a Process) -> T,
) -> Value<'a> {
    of.attempt
        .and_then(|attempt| attempt.process.as_deref())
        .map(get)
        .into()
}

fn failing<'a, T: Into<Value<'a>>>(
    of: &Record<'a>,
    get: impl FnOnce(&'a Attempt) -> Option<T>,
) -> Value<'a> {
    of.failing().and_then(get).into()
}

fn holder<'a, T: Into<Value<'a>>>(of: &Record<'a>, get: impl FnOnce(&'a Holder) -> T) -> Value<'a> {
    of.holder().map(get).into()
}

fn holding<'a, T: Into<Value<'a>>>(
    of: &Record<'a>,
    get: impl FnOnce(&'a HoldingProcess) -> T,
) -> Value<'a> {
    of.holder()
        .and_then(|holder| holder.process.as_ref().found())
        .map(get)
        .into()
}

fn counted<'a>(of: &Record<'a>, op: Op, outcome: Outcome) -> Value<'a> {
    let summary = of.summary();
    summary
        .map(|summary| summary.attempts.get(&(op, outcome)).copied().unwrap_or(0))
        .into()
}

fn foreign(text: &str) -> Value<'_> {
    Value::Foreign(text.as_bytes())
}

fn scope(asked: Requested) -> Option<u32> {
    Some(asked.scope_id).filter(|&id| id != 0)
}

/// What is said only where it is so.
fn set(flag: bool) -> Option<bool> {
    flag.then_some(true)
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

fn joined(parts: impl Iterator<Item = String>) -> String {
    parts.collect::<Vec<_>>().join("; ")
}
