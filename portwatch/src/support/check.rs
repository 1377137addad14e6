//! What the facts mean: the checks of `portwatch doctor`.

use super::{
    Check, Status,
    capability::{self, Capability, listing},
    command::Command,
    facts::{BtfFault, Facts, Lockdown, Namespace},
    privilege::MissingPrivileges,
    tracefs::Tracefs,
};
use crate::{errno::Errno, source::ebpf::probe::Trial};

/// All of them, in the order in which a reader wants them: the host, the privileges, then what
/// the sources rest on.
pub(crate) fn all(facts: &Facts, command: &Command) -> Vec<Check> {
    let missing = MissingPrivileges::likely(&facts.grants, command.clone());
    let host = Host {
        facts,
        missing: missing.as_ref(),
        command,
    };
    vec![
        kernel(facts),
        capabilities(host),
        namespaces(facts),
        cgroups(facts),
        lockdown(facts),
        bpf(host),
        ring_buffer(host),
        btf(facts),
        fentry(host),
        iterator(host),
        socket_tables(host.facts),
        kprobes(host),
        tracepoints(host),
        tracefs(host),
        perf_event_paranoid(facts),
        confinement(facts),
    ]
}

/// What a check needs whose remedy is a command with capabilities.
#[derive(Clone, Copy)]
struct Host<'a> {
    facts: &'a Facts,
    missing: Option<&'a MissingPrivileges>,
    command: &'a Command,
}

impl Check {
    fn new(id: &'static str, title: &'static str, detail: impl Into<String>) -> Self {
        let detail = detail.into();
        Self {
            id,
            title,
            status: Status::Ok,
            detail,
            means: None,
            remedy: None,
        }
    }

    fn but(mut self, status: Status, means: impl Into<String>) -> Self {
        self.status = status;
        self.means = Some(means.into());
        self
    }

    fn remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = Some(remedy.into());
        self
    }
}

fn kernel(facts: &Facts) -> Check {
    Check::new(
        "kernel",
        "kernel",
        format!("{} {}", facts.release, facts.machine),
    )
}

/// Only those that load and attach: tracefs and `perf_event_paranoid` have checks of their own.
fn capabilities(
    Host {
        facts,
        missing,
        command,
    }: Host<'_>,
) -> Check {
    let grants = &facts.grants;
    let held = grants.effective().describe(grants.last_capability);
    let check = |detail| Check::new("capabilities", "capabilities", detail);
    if let Some(missing) = missing.filter(|_| !grants.may_trace()) {
        let detail = format!("{held}; lacks {}", listing(&missing.missing()));
        let means = "no source starts without them";
        return check(detail)
            .but(Status::Missing, means)
            .remedy(missing.remedy());
    }
    if grants.effective().has(Capability::SYS_PTRACE) {
        return check(held);
    }
    let means = "without CAP_SYS_PTRACE, programs and sockets of other users stay without a name";
    check(held)
        .but(Status::Limited, means)
        .remedy(format!("sudo {}", command.file))
}

/// Attempts carry the host's pids, whichever namespace portwatch is in.
fn namespaces(facts: &Facts) -> Check {
    let check = |detail| Check::new("namespaces", "namespaces", detail);
    let nested = facts.pid_namespace == Namespace::Other || facts.grants.status.pid_levels > 1;
    if facts.grants.user_namespace == Namespace::Other {
        let means = "its capabilities count for nothing that reaches the whole machine";
        let remedy = "run portwatch on the host, or in a container that is not rootless";
        check("a user namespace of its own")
            .but(Status::Missing, means)
            .remedy(remedy)
    } else if nested {
        let means = "pids are the host's, and are not the ones that ps shows in here; the names \
                     behind them cannot be looked up";
        check("a pid namespace of its own")
            .but(Status::Limited, means)
            .remedy("docker run --pid=host …")
    } else if facts.pid_namespace == Namespace::Unknown {
        check("not known: /proc is not mounted, or hidden")
            .but(Status::Limited, "nothing can be looked up about a process")
            .remedy("sudo mount -t proc proc /proc")
    } else {
        check("the host's")
    }
}

/// Attempts carry the id of a cgroup in the host's tree.
fn cgroups(facts: &Facts) -> Check {
    let (view, has_version_1) = &facts.cgroups;
    let check = |detail: String| Check::new("cgroups", "cgroups", detail);
    let limit = view.limit(*has_version_1);
    let (what, why, remedy) = match limit {
        None => return check(view.to_string()),
        Some(limit) => (limit.what, limit.why, limit.remedy),
    };
    check(why)
        .but(Status::Limited, what)
        .remedy(remedy.unwrap_or_default())
}

/// What each level takes away: security/lockdown, `LOCKDOWN_KPROBES` and
/// `LOCKDOWN_BPF_READ_KERNEL` are in the confidentiality class.
fn lockdown(facts: &Facts) -> Check {
    let check = |detail| Check::new("lockdown", "lockdown", detail);
    match facts.lockdown {
        Lockdown::Off => check("none"),
        Lockdown::Integrity => check("integrity, which takes nothing from portwatch"),
        Lockdown::Absent => check("this kernel has none"),
        Lockdown::Confidentiality => check("confidentiality")
            .but(
                Status::Limited,
                "no kprobes, and no program that reads kernel memory",
            )
            .remedy("boot with lockdown=integrity on the kernel's command line"),
        Lockdown::Unknown => check("not known: securityfs is not mounted, or hidden")
            .but(
                Status::Limited,
                "if it is confidentiality, kprobes will be refused",
            )
            .remedy("sudo mount -t securityfs securityfs /sys/kernel/security"),
    }
}

/// What was tried of what a watch gives up once it is attached.
fn confinement(facts: &Facts) -> Check {
    let check = |detail: String| Check::new("confinement", "confinement", detail);
    let means = "whoever took portwatch over would have more than a watch takes";
    let tried = match &facts.confined {
        Ok(tried) => tried,
        Err(error) => {
            return check(format!("cannot be tried: {error}")).but(Status::Limited, means);
        }
    };
    let kept = capability::Status::parse(&tried.status).effective;
    let given_up = facts.grants.status.effective.beyond(kept);
    let kept = kept.describe(facts.grants.last_capability);
    let capabilities = format!("a watch keeps {kept} and gives up {given_up} others");
    if tried.left.is_empty() {
        return check(format!(
            "{capabilities}; it can gain none (no_new_privs), nor start programs or change the \
             machine (seccomp)"
        ));
    }
    let left = tried.left.join("; ");
    check(format!("{capabilities}; but {left}")).but(Status::Limited, means)
}

fn bpf(host: Host<'_>) -> Check {
    let name = ["bpf", "bpf()"];
    let absent = "boot a kernel with CONFIG_BPF_SYSCALL=y";
    tried(
        host,
        name,
        &host.facts.bpf,
        "no source works without it",
        absent,
    )
}

fn ring_buffer(host: Host<'_>) -> Check {
    let name = ["ring_buffer", "ring buffer"];
    let absent = "boot a kernel that has it: Linux 5.8 or later";
    tried(
        host,
        name,
        &host.facts.ring_buffer,
        "no way to bring events out of the kernel",
        absent,
    )
}

fn btf(facts: &Facts) -> Check {
    let check = |detail: String| Check::new("btf", "BTF", detail);
    let path = "/sys/kernel/btf/vmlinux";
    let means = "kprobe and fexit cannot tell where the kernel keeps a socket's fields";
    let remedy = match &facts.btf {
        Ok(size) => {
            let tenths = size * 10 / (1 << 20);
            return check(format!("{path}, {}.{} MiB", tenths / 10, tenths % 10));
        }
        Err(BtfFault::Absent) => {
            "boot a kernel with CONFIG_DEBUG_INFO_BTF=y\ndocker run -v /sys/kernel/btf:/sys/kernel/btf:ro …"
        }
        Err(BtfFault::Unreadable(_)) => "sudo chmod a+r /sys/kernel/btf/vmlinux",
        Err(BtfFault::Garbled) => "boot a kernel with CONFIG_DEBUG_INFO_BTF=y",
    };
    let detail = match &facts.btf {
        Err(BtfFault::Unreadable(error)) => format!("{path}: {error}"),
        Err(BtfFault::Garbled) => format!("{path} does not begin like BTF"),
        Err(BtfFault::Absent) | Ok(_) => format!("no {path}"),
    };
    check(detail).but(Status::Missing, means).remedy(remedy)
}

/// The trial that aya makes cannot see a missing BTF, so that is asked first.
fn fentry(host: Host<'_>) -> Check {
    let name = ["fentry", "fentry"];
    let means = "no fexit source, the one that costs least";
    if host.facts.btf.is_err() {
        return Check::new(name[0], name[1], "needs BTF").but(Status::Missing, means);
    }
    let absent =
        "boot a kernel that has it: Linux 5.5 or later (arm64: 6.4), CONFIG_FUNCTION_TRACER=y";
    tried(host, name, &host.facts.fentry, means, absent)
}

/// No source rests on it: holders of ports are then looked for in /proc.
fn iterator(host: Host<'_>) -> Check {
    let name = ["iterator", "iterator"];
    let means = "holders of ports are looked for in /proc, which takes long on a large machine";
    if host.facts.btf.is_err() {
        return Check::new(name[0], name[1], "needs BTF").but(Status::Limited, means);
    }
    let absent = "boot a kernel that has it: Linux 5.11 or later";
    let check = tried(host, name, &host.facts.iterator, means, absent);
    let status = match check.status {
        Status::Ok => Status::Ok,
        Status::Limited | Status::Missing => Status::Limited,
    };
    Check { status, ..check }
}

/// No source rests on them either.
fn socket_tables(facts: &Facts) -> Check {
    let check = |detail| Check::new("sock_diag", "tables of sockets", detail);
    let missing = &facts.missing_tables;
    if missing.is_empty() {
        return check("sock_diag, for TCP and UDP".to_owned());
    }
    let means = "sockets that no process has open are looked for in /proc/net";
    check(format!("no {}", missing.join(", ")))
        .but(Status::Limited, means)
        .remedy(format!("sudo modprobe -a {}", missing.join(" ")))
}

fn kprobes(host: Host<'_>) -> Check {
    let facts = host.facts;
    let check = |detail| Check::new("kprobes", "kprobes", detail);
    let means = "no kprobe source: io_uring and 32-bit programs go unseen";
    if !facts.kprobe_pmu {
        return check("no /sys/bus/event_source/devices/kprobe")
            .but(Status::Missing, means)
            .remedy("boot a kernel with CONFIG_KPROBE_EVENTS=y");
    }
    if facts.lockdown == Lockdown::Confidentiality {
        return check("refused by lockdown")
            .but(Status::Missing, means)
            .remedy("boot with lockdown=integrity on the kernel's command line");
    }
    if facts.kprobes_enabled == Some(false) {
        return check("switched off in /sys/kernel/debug/kprobes/enabled")
            .but(Status::Missing, "kprobes attach and never fire")
            .remedy("echo 1 | sudo tee /sys/kernel/debug/kprobes/enabled");
    }
    let absent = "boot a kernel with CONFIG_BPF_EVENTS=y";
    tried(
        host,
        ["kprobes", "kprobes"],
        &facts.kprobe_program,
        means,
        absent,
    )
}

fn tracepoints(host: Host<'_>) -> Check {
    let name = ["tracepoints", "tracepoints"];
    let absent = "boot a kernel with CONFIG_BPF_EVENTS=y";
    tried(
        host,
        name,
        &host.facts.tracepoint_program,
        "no tracepoint source",
        absent,
    )
}

fn tracefs(Host { facts, missing, .. }: Host<'_>) -> Check {
    let check = |detail| Check::new("tracefs", "tracefs", detail);
    let means = "neither kprobe nor tracepoint learns the number of its tracepoints";
    let effective = facts.grants.effective();
    match &facts.grants.tracefs {
        Tracefs::Ready(place) => check(format!("{}, with syscalls:*", place.display())),
        Tracefs::Lacking(place, events) => {
            check(format!("{} has no {}", place.display(), events.join(", ")))
                .but(Status::Missing, means)
                .remedy("boot a kernel with CONFIG_FTRACE_SYSCALLS=y")
        }
        Tracefs::Hidden(place) => {
            let check = check(format!(
                "{} is not for this process to read",
                place.display()
            ));
            let check = check.but(Status::Missing, means);
            match missing {
                Some(missing) => check.remedy(missing.remedy()),
                None => check.remedy("boot with lockdown=integrity on the kernel's command line"),
            }
        }
        Tracefs::Unmounted if effective.has(Capability::SYS_ADMIN) => {
            check("not mounted; portwatch mounts it for itself alone".to_owned())
        }
        Tracefs::Unmounted => check("not mounted".to_owned())
            .but(Status::Missing, means)
            .remedy("sudo mount -t tracefs tracefs /sys/kernel/tracing"),
    }
}

/// Above 2 means something only to kernels with Debian's patch (Ubuntu's and Android's too), and
/// nothing outside `perf_event_open()` shows whether a kernel has it.
fn perf_event_paranoid(facts: &Facts) -> Check {
    let check = |detail| Check::new("perf_event_paranoid", "perf_event_paranoid", detail);
    let Some(value) = facts.grants.paranoid else {
        return check("no such setting: a kernel without perf".to_owned())
            .but(
                Status::Missing,
                "neither kprobes nor tracepoints can be opened",
            )
            .remedy("boot a kernel with CONFIG_PERF_EVENTS=y");
    };
    if value <= 2 {
        return check(value.to_string());
    }
    if facts.grants.effective().has(Capability::SYS_ADMIN) {
        return check(format!("{value}, which CAP_SYS_ADMIN overrides"));
    }
    check(format!("{value}, without CAP_SYS_ADMIN"))
        .but(
            Status::Missing,
            "kernels of Debian and Ubuntu then refuse kprobes and tracepoints",
        )
        .remedy("sudo sysctl kernel.perf_event_paranoid=2")
}

/// A check by trial. A refusal for want of capabilities tells nothing about the kernel; one
/// in spite of them is a seccomp filter's or a security module's.
fn tried(
    host: Host<'_>,
    [id, title]: [&'static str; 2],
    trial: &Trial,
    means: &str,
    absent: &str,
) -> Check {
    let grants = &host.facts.grants;
    let found = |detail: &str| Check::new(id, title, detail);
    match trial {
        Trial::Works => found("tried, and works"),
        Trial::Unknown => found("unknown to this kernel")
            .but(Status::Missing, means)
            .remedy(absent),
        Trial::Refused {
            errno: EPERM | EACCES,
            ..
        } if !grants.may_trace() => found("not known: trying it takes the missing capabilities")
            .but(Status::Limited, "not known")
            .remedy(format!("sudo {} doctor", host.command.file)),
        Trial::Refused { errno: ENOSYS, .. } => found("no such system call")
            .but(Status::Missing, means)
            .remedy(absent),
        Trial::Refused { call, errno } => {
            let name = Errno::from_ret(-errno).map_or(errno.to_string(), |name| name.to_string());
            let check = found(&format!("{call} refused: {name}")).but(Status::Missing, means);
            if grants.status.seccomp {
                return check.remedy("docker run --security-opt seccomp=unconfined …");
            }
            // A security module or lockdown says there what it refused.
            check.remedy("sudo dmesg | grep -i -e bpf -e lockdown -e denied")
        }
        Trial::Failed(error) => found(&format!("failed: {error}"))
            .but(Status::Missing, means)
            .remedy("sudo dmesg | grep -i -e bpf -e lockdown -e denied"),
    }
}

// include/uapi/asm-generic/errno-base.h and errno.h.
const EPERM: i32 = 1;
const EACCES: i32 = 13;
const ENOSYS: i32 = 38;

#[cfg(test)]
mod tests;
