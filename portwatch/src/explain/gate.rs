//! What stops a call before the protocol: seccomp, the descriptor, the address's bytes, security
//! modules, cgroup BPF programs.

use super::{bind, case::Case, draft::Draft, fix, length, quote};
use crate::{
    errno::Errno,
    event::{Code, Confidence, Lsm},
};

/// Refusals whose own verdict was seen, and errors that only the call's first steps return.
pub(super) fn explain(case: &Case<'_>, errno: Errno) -> Option<Draft> {
    let refused = |ret: Option<i32>| ret.is_some_and(|ret| ret != 0);
    let stages = &case.attempt.stages;
    if case.attempt.seccomp {
        Some(seccomp(case, errno))
    } else if case.is_refused_by_module() {
        Some(invalid(case, errno).unwrap_or_else(|| security_module(case, errno)))
    } else if refused(stages.cgroup) {
        Some(cgroup_bpf(case, errno))
    } else {
        argument(case, errno)
    }
}

fn seccomp(case: &Case<'_>, errno: Errno) -> Draft {
    let op = case.attempt.op.name();
    let text = format!(
        "a seccomp filter of {} answered {op}() with {errno}: the kernel's {op}() never ran",
        case.who()
    );
    let draft = Draft::new(Code::SeccompDenied, Confidence::Observed, text);
    if let Some(container) = case.container() {
        let id = quote::shown(container.id.as_bytes());
        return draft.fix(fix::advice(format!(
            "allow {op} in the seccomp profile that container {id} is started with"
        )));
    }
    match case.service() {
        Some(unit) => draft.fix(fix::command(
            format!("see whether the unit filters {op}"),
            format!(
                "systemctl show -p SystemCallFilter {}",
                quote::word(unit.as_bytes())
            ),
        )),
        None => draft.fix(fix::advice(format!(
            "allow {op} in the seccomp filter that the program, or whatever started it, installed"
        ))),
    }
}

/// Errors of the descriptor's look-up and of copying the address (net/socket.c, `__sys_bind` and
/// `__sys_connect`), which no protocol returns.
fn argument(case: &Case<'_>, errno: Errno) -> Option<Draft> {
    let op = case.attempt.op.name();
    let fd = case.attempt.fd.map_or_else(
        || "the descriptor".to_owned(),
        |fd| format!("descriptor {fd}"),
    );
    let (code, text, advice) = match errno {
        Errno::EBADF => (
            Code::BadDescriptor,
            format!(
                "{fd}, passed to {op}(), is not open in {}, or opened with O_PATH",
                case.name()
            ),
            "pass a socket that is still open: it was closed before, or socket() had failed",
        ),
        Errno::ENOTSOCK => (
            Code::NotASocket,
            format!("{fd}, passed to {op}(), is not a socket"),
            "pass the socket: the number was reused for a file after the socket had been closed, or is another's",
        ),
        Errno::EFAULT => (
            Code::BadPointer,
            format!(
                "the address passed to {op}() lies outside the memory of {}",
                case.name()
            ),
            "pass a pointer to a filled sockaddr",
        ),
        _ => return None,
    };
    Some(Draft::new(code, Confidence::Derived, text).fix(fix::advice(advice)))
}

fn cgroup_bpf(case: &Case<'_>, errno: Errno) -> Draft {
    let op = case.attempt.op.name();
    let path = case
        .attempt
        .cgroup
        .as_deref()
        .map_or_else(String::new, |cgroup| {
            format!(" {}", quote::shown(cgroup.path.as_bytes()))
        });
    let text = format!(
        "a BPF program on the cgroup{path} of {}, or on one above it, refused {op}() to {} with {errno}",
        case.who(),
        case.target()
    );
    let draft = Draft::new(Code::CgroupBpfDenied, Confidence::Observed, text);
    let draft = match case.service() {
        Some(unit) => draft.fix(fix::command(
            "see what the unit denies",
            format!(
                "systemctl show -p SocketBindAllow,SocketBindDeny,IPAddressAllow,IPAddressDeny,RestrictNetworkInterfaces {}",
                quote::word(unit.as_bytes())
            ),
        )),
        None => draft,
    };
    draft.fix(fix::command(
        "see the programs on each cgroup, and who attached them",
        "sudo bpftool cgroup tree",
    ))
}

/// The word for a module, what it calls itself, and how to see and change what it denies.
const fn module(lsm: Lsm) -> (Code, &'static str, &'static str, Option<&'static str>) {
    match lsm {
        Lsm::Apparmor => (
            Code::ApparmorDenied,
            "AppArmor",
            "see the denial; then allow it in the program's profile (aa-logprof)",
            Some("sudo journalctl -k --since -10min --grep 'apparmor=\"DENIED\"'"),
        ),
        Lsm::Bpf => (
            Code::BpfLsmDenied,
            "a BPF security program",
            "see which BPF programs judge",
            Some("sudo bpftool prog show | grep ' lsm '"),
        ),
        Lsm::Landlock => (
            Code::LandlockDenied,
            "Landlock",
            "allow the port in the ruleset that the program, or whatever started it, put on itself; it cannot be lifted from outside",
            None,
        ),
        Lsm::Selinux => (
            Code::SelinuxDenied,
            "SELinux",
            "see the denial, and what would allow it",
            Some("sudo ausearch -m avc -ts recent | audit2why"),
        ),
        Lsm::Smack => (
            Code::SmackDenied,
            "Smack",
            "see the denial; then allow it with a rule in /sys/fs/smackfs/load2",
            Some("sudo journalctl -k --since -10min --grep lsm=SMACK"),
        ),
        Lsm::Tomoyo => (
            Code::TomoyoDenied,
            "TOMOYO",
            "see the denial; then allow it in the program's domain (tomoyo-editpolicy)",
            Some("sudo tail /sys/kernel/security/tomoyo/audit"),
        ),
    }
}

/// `EINVAL` and `EAFNOSUPPORT` of a module: it looks at length and family before it asks its policy
/// (`current_check_access_socket`, security/landlock/net.c; `selinux_socket_bind`,
/// security/selinux/hooks.c; AppArmor and Smack likewise). A BPF program returns what it likes.
fn invalid(case: &Case<'_>, errno: Errno) -> Option<Draft> {
    let lsm = case.attempt.stages.lsm_name;
    let wrong = match errno {
        _ if lsm == Some(Lsm::Bpf) => return None,
        Errno::EINVAL => length::explain(case).or_else(|| family(case)),
        Errno::EAFNOSUPPORT => Some(bind::wrong_family(case)),
        _ => return None,
    };
    let Some(lsm) = lsm else {
        return wrong;
    };
    let (_, name, ..) = module(lsm);
    let draft = wrong.unwrap_or_else(|| Draft::unexplained(case, errno));
    Some(draft.also(&format!(
        "{name} checks the arguments first, and said so; its policy was not asked"
    )))
}

/// Landlock refuses the other family with `EINVAL`: that is left where the length is in order, and
/// the call came to no protocol that would show the socket's family.
fn family(case: &Case<'_>) -> Option<Draft> {
    let landlock = case.attempt.stages.lsm_name == Some(Lsm::Landlock);
    let only_that = landlock && case.attempt.address_len.is_some();
    match case.is_ipv6_socket() {
        None if only_that => Some(bind::wrong_family(case)),
        _ => bind::families_differ(case),
    }
}

fn security_module(case: &Case<'_>, errno: Errno) -> Draft {
    let op = case.attempt.op.name();
    let refusal = |name: &str| {
        format!(
            "{name} refused {op}() to {} for {}: {errno}",
            case.target(),
            case.who()
        )
    };
    match case.attempt.stages.lsm_name {
        Some(lsm) => {
            let (code, name, what, command) = module(lsm);
            let remedy = match command {
                Some(command) => fix::command(what, command),
                None => fix::advice(what),
            };
            Draft::new(code, Confidence::Observed, refusal(name)).fix(remedy)
        }
        None => Draft::new(
            Code::LsmDenied,
            Confidence::Observed,
            refusal(&format!("a security module{}", running(case))),
        )
        .fix(fix::command(
            "see the denial",
            "sudo journalctl -k --since -10min --grep 'apparmor=|avc:|landlock|lsm='",
        )),
    }
}

/// ` (one of selinux, landlock)`: those that judge sockets.
fn running(case: &Case<'_>) -> String {
    let judges = judges(case);
    if judges.is_empty() {
        String::new()
    } else {
        format!(" (one of {})", judges.join(", "))
    }
}

/// The modules that run here and can refuse a bind or a connect.
pub(super) fn judges<'a>(case: &Case<'a>) -> Vec<&'a str> {
    const JUDGES: [&str; 6] = ["apparmor", "bpf", "landlock", "selinux", "smack", "tomoyo"];
    let names = case.facts.lsms.iter().map(String::as_str);
    names.filter(|name| JUDGES.contains(name)).collect()
}
