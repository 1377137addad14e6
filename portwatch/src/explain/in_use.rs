//! Ports that somebody has.

use super::{
    absence,
    case::{Case, endpoint, name_of},
    conflict::{Change, Claim, Conflict, Overlap, Rule, conflict},
    draft::Draft,
    exhausted, fix, quote,
};
use crate::event::{Code, Confidence, Fix, Holder, Lookup, Op, SocketState, Unseen};

/// The sockets in the way, the most telling first.
pub(super) fn in_the_way<'a>(case: &Case<'a>) -> Vec<(&'a Holder, Conflict)> {
    let Some(claim) = Claim::of_attempt(case.attempt) else {
        return Vec::new();
    };
    let holders = case.facts.holders.found.iter();
    let mut found: Vec<_> = holders
        .filter_map(|holder| {
            let held = Claim::of_holder(holder, claim.transport);
            Some((holder, conflict(&claim, &held)?))
        })
        .collect();
    found.sort_by_key(|(holder, conflict)| (!conflict.certain, rank(holder.state)));
    found
}

/// A server says more than its connections, and those more than what they leave behind.
const fn rank(state: SocketState) -> u8 {
    match state {
        SocketState::Listen => 0,
        SocketState::Bound => 1,
        SocketState::TimeWait => 3,
        _ => 2,
    }
}

/// `EADDRINUSE`
pub(super) fn explain(case: &Case<'_>) -> Draft {
    let port = case.port().unwrap_or(0);
    if case.attempt.op == Op::Listen || port == 0 {
        return exhausted::explain(case);
    }
    if case.is_ping() {
        let text = format!("a ping socket with identifier {port} exists already");
        return Draft::new(Code::PingIdentifierInUse, Confidence::Derived, text)
            .fix(fix::advice("take another identifier, or 0"));
    }
    let found = in_the_way(case);
    let Some((holder, conflict)) = found.first() else {
        return nobody(case, port);
    };
    let code = code(case, holder, conflict);
    let text = format!(
        "{} cannot have {}: {}{}",
        case.name(),
        case.target(),
        describe(case, holder),
        reason(code, conflict)
    );
    Draft::new(code, Confidence::Checked, text)
        .seen(sharing(case, holder))
        .fixes(ways_out(code, conflict))
        .fixes(prevent(code))
        .fixes(stop(case, holder))
        .fix(fix::look_for_holder(case, port))
        .holders(found.iter().map(|(holder, _)| (*holder).clone()))
        .holders_unseen(case.facts.holders.unseen)
}

/// None of the sockets that were found is in the way. Only a complete look tells that there is none.
fn nobody(case: &Case<'_>, port: u16) -> Draft {
    let why = case.facts.holders.unseen;
    let rules_known = Claim::of_attempt(case.attempt).is_some();
    match why.or((!rules_known).then_some(Unseen::NotSupported)) {
        None => gone(case, port),
        Some(why) => unknown(case, port, why),
    }
}

/// The options that decide about sharing, on both sides.
fn sharing(case: &Case<'_>, holder: &Holder) -> String {
    let said = |set: Option<bool>| match set {
        Some(true) => "set",
        Some(false) => "not set",
        None => "not known",
    };
    format!(
        "SO_REUSEADDR: {} here, {} there; SO_REUSEPORT: {} here, {} there",
        said(case.option(|options| options.reuseaddr)),
        said(holder.reuseaddr),
        said(case.option(|options| options.reuseport)),
        said(holder.reuseport),
    )
}

/// So that it does not happen again.
fn prevent(code: Code) -> Option<Fix> {
    let what = match code {
        Code::PortInUseConnection => {
            "keep the kernel from giving this port to connections: add it to net.ipv4.ip_local_reserved_ports"
        }
        Code::PortInUseKernel => "take another port",
        _ => return None,
    };
    Some(fix::advice(what))
}

fn code(case: &Case<'_>, holder: &Holder, conflict: &Conflict) -> Code {
    let connected = rank(holder.state) >= 2 && !case.is_udp();
    match conflict.rule {
        _ if holder.kernel => Code::PortInUseKernel,
        _ if holder.state == SocketState::TimeWait => Code::PortInUseTimeWait,
        _ if connected => Code::PortInUseConnection,
        _ if conflict.overlap == Overlap::DualStack => Code::PortInUseDualStack,
        Rule::NotShared => Code::PortInUse,
        Rule::ReuseaddrOneSide => Code::PortInUseReuseaddrOneSide,
        Rule::ReuseaddrListening => Code::PortInUseReuseaddrListening,
        Rule::ReuseportOneSide => Code::PortInUseReuseportOneSide,
        Rule::ReuseportOtherUser => Code::PortInUseReuseportOtherUser,
    }
}

/// `nginx (pid 12, nginx.service)`
pub(super) fn owner(holder: &Holder) -> String {
    let process = match &holder.process {
        Lookup::Found(process) => process,
        _ if holder.kernel => return absence::KERNEL.to_owned(),
        Lookup::NotThere if holder.inode.is_none() => return no_longer_open(),
        Lookup::NotThere => return without_descriptor(holder),
        Lookup::NotSeen(why) => return unseen_owner(holder, *why),
    };
    let unit = process
        .cgroup
        .as_deref()
        .and_then(|cgroup| cgroup.unit.as_deref())
        .map_or_else(String::new, |unit| {
            format!(", {}", quote::shown(unit.as_bytes()))
        });
    format!("{} (pid {}{unit})", name_of(&process.comm), process.tgid)
}

/// Of a socket that is no file: the kernel finishes a connection that its process has closed.
pub(super) fn no_longer_open() -> String {
    format!("a socket {} any more", absence::NO_PROCESS)
}

/// The kernel's own, or for all that was seen: a file that no process has open, nor was seen to bind.
fn is_perhaps_the_kernels(holder: &Holder) -> bool {
    let keeps = matches!(holder.state, SocketState::Listen | SocketState::Bound);
    let is_file = holder.inode.is_some() && holder.bound_by.is_none();
    holder.kernel || holder.process.is_not_there() && keeps && is_file
}

/// No process has it open, and it is a file: the kernel's own, or one that is on its way between two
/// processes, or that io_uring keeps.
fn without_descriptor(holder: &Holder) -> String {
    match bound_by(holder) {
        Some(binder) => format!(
            "a socket that {binder} bound, and {} now,",
            absence::NO_PROCESS
        ),
        None => format!(
            "the kernel (NFS, WireGuard, VXLAN …), or {},",
            absence::IN_FLIGHT
        ),
    }
}

/// A process holds it, for all that is known.
fn unseen_owner(holder: &Holder, why: Unseen) -> String {
    let uid = holder
        .uid
        .map_or_else(String::new, |uid| format!(" of uid {uid}"));
    let reason = why.reason();
    match bound_by(holder) {
        Some(binder) => {
            format!("a process{uid} ({reason}; {binder} was seen to bind the socket)")
        }
        None => format!("a process{uid} that portwatch could not see ({reason})"),
    }
}

/// `nginx (pid 12)`
fn bound_by(holder: &Holder) -> Option<String> {
    let binder = holder.bound_by.as_ref()?;
    Some(format!("{} (pid {})", name_of(&binder.comm), binder.tgid))
}

/// Whether the one who asks has the port already.
fn is_caller(case: &Case<'_>, holder: &Holder) -> bool {
    let process = holder.process.as_ref().found();
    process.is_some_and(|process| process.tgid == case.attempt.tgid)
}

/// `nginx (pid 12) listens on 0.0.0.0:80`, `server itself (pid 12) has 127.0.0.1:80, bound 5 ms earlier`
fn describe(case: &Case<'_>, holder: &Holder) -> String {
    if !is_caller(case, holder) {
        return held(case, holder, &owner(holder));
    }
    let oneself = format!("{} itself (pid {})", case.name(), case.attempt.tgid);
    let since = holder
        .since
        .and_then(|since| case.attempt.time.0.checked_sub(since.0));
    let earlier = since.filter(|nanoseconds| *nanoseconds >= 0);
    let earlier = earlier.map_or_else(String::new, |nanoseconds| {
        format!(", bound {} ms earlier", nanoseconds / 1_000_000)
    });
    format!("{}{earlier}", held(case, holder, &oneself))
}

fn held(case: &Case<'_>, holder: &Holder, owner: &str) -> String {
    let local = endpoint(holder.ip, Some(holder.port));
    let peer = holder.peer.map_or_else(String::new, |(ip, port)| {
        format!(" to {}", endpoint(ip, Some(port)))
    });
    match holder.state {
        SocketState::Listen => format!("{owner} listens on {local}"),
        SocketState::Bound => format!("{owner} has {local}"),
        SocketState::TimeWait => {
            format!("a connection from {local}{peer} is left in TIME_WAIT, for up to 60 s")
        }
        _ if case.is_udp() => format!("{owner} has {local}, connected{peer}"),
        state => format!(
            "{owner} has a connection from {local}{peer} ({})",
            state.name()
        ),
    }
}

/// What kept both from having it.
fn reason(code: Code, conflict: &Conflict) -> &'static str {
    match code {
        Code::PortInUseDualStack => {
            ", and an IPv6 wildcard without IPV6_V6ONLY takes the IPv4 port too"
        }
        Code::PortInUseReuseaddrListening => {
            "; both have SO_REUSEADDR, which does not help against a socket that listens"
        }
        Code::PortInUseReuseaddrOneSide => "; only one of the two has SO_REUSEADDR",
        Code::PortInUseReuseportOneSide => "; only one of the two has SO_REUSEPORT",
        Code::PortInUseReuseportOtherUser => {
            "; both have SO_REUSEPORT, but the sockets belong to different users"
        }
        Code::PortInUseTimeWait | Code::PortInUseConnection
            if conflict.overlap == Overlap::DualStack =>
        {
            ", of a socket without IPV6_V6ONLY, and 0.0.0.0 stands for it too"
        }
        Code::PortInUseTimeWait => "",
        _ if conflict.overlap == Overlap::Wildcard => {
            ", and the wildcard address stands for every address"
        }
        _ => "",
    }
}

/// What the program that was refused could do by itself; then what both could.
fn ways_out(code: Code, conflict: &Conflict) -> Vec<Fix> {
    let mut ways: Vec<Fix> = conflict
        .ways_out
        .iter()
        .filter_map(|way| way_out(way))
        .collect();
    // A server that was started twice is no pair that wants to share its port.
    if matches!(code, Code::PortInUse | Code::PortInUseReuseaddrListening) {
        ways.clear();
    }
    ways.truncate(2);
    ways
}

fn way_out(way: &[Change]) -> Option<Fix> {
    let what = match way {
        [Change::NewReuseaddr] => "set SO_REUSEADDR in this program too, before bind()",
        [Change::NewReuseport] => {
            "set SO_REUSEPORT in this program too, before bind(): the kernel then spreads connections over both"
        }
        [Change::NewV6only] => "set IPV6_V6ONLY in this program, before bind()",
        [Change::HeldReuseaddr] => "set SO_REUSEADDR in the program that has the port, too",
        [Change::HeldReuseport] => "set SO_REUSEPORT in the program that has the port, too",
        [Change::HeldV6only] => "set IPV6_V6ONLY in the program that has the port",
        [Change::NewReuseaddr, Change::HeldReuseaddr] => {
            "set SO_REUSEADDR before bind(), in the program that had the port and in this one"
        }
        _ => return None,
    };
    Some(fix::advice(what))
}

/// How to make the holder let go.
fn stop(case: &Case<'_>, holder: &Holder) -> Option<Fix> {
    if is_caller(case, holder) {
        return Some(fix::advice(
            "bind this port once in the program, or close the first socket before",
        ));
    }
    if is_perhaps_the_kernels(holder) {
        return Some(fix::command(
            "see whether the kernel uses the port: NFS, WireGuard, VXLAN …",
            "ip -d link show; rpcinfo -p",
        ));
    }
    let process = holder.process.as_ref().found()?;
    let cgroup = process.cgroup.as_deref();
    let unit = cgroup
        .filter(|cgroup| cgroup.container.is_none() && !cgroup.path.contains("/user@"))
        .and_then(|cgroup| cgroup.unit.as_deref())
        .filter(|unit| unit.ends_with(".service"));
    let name = name_of(&process.comm);
    Some(match (unit, process.tgid) {
        // It opens ports for the programs that it starts when somebody connects.
        (_, 1) => fix::command(
            format!("stop the socket unit that {name} holds the port for"),
            "systemctl list-sockets --show-types",
        ),
        (Some(unit), _) => fix::command(
            format!("stop {}", quote::shown(unit.as_bytes())),
            format!("sudo systemctl stop {}", quote::word(unit.as_bytes())),
        ),
        (None, tgid) => fix::command(format!("stop {name}"), format!("sudo kill {tgid}")),
    })
}

fn gone(case: &Case<'_>, port: u16) -> Draft {
    let text = format!(
        "port {port} was in use when {} asked for it; {}",
        case.name(),
        absence::NO_HOLDER
    );
    Draft::new(Code::PortInUseHolderGone, Confidence::Checked, text)
        .fix(fix::advice("try again"))
        .fix(fix::look_for_holder(case, port))
}

fn unknown(case: &Case<'_>, port: u16, why: Unseen) -> Draft {
    let text = format!(
        "{} is in use; portwatch could not see which process holds it ({})",
        case.target(),
        why.reason()
    );
    Draft::new(Code::PortInUse, Confidence::Derived, text)
        .fix(fix::look_for_holder(case, port))
        .holders_unseen(Some(why))
}

/// Of a call that something else stopped: the port would not have been free either.
pub(super) fn next(case: &Case<'_>) -> Option<String> {
    let (holder, _) = in_the_way(case)
        .into_iter()
        .find(|(_, conflict)| conflict.certain)?;
    Some(format!("EADDRINUSE: {}", describe(case, holder)))
}
