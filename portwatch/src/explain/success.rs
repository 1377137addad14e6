//! Successes that would surprise.

use super::{
    address,
    case::Case,
    conflict::{Claim, Transport, conflict},
    draft::Draft,
    in_use, macos,
    privilege::{self, Privilege},
};
use crate::event::{Code, Confidence, Holder, Op, System};

/// Where ports have been privileged since BSD, and are unless the setting was changed.
const PROT_SOCK: u16 = 1024;

pub(super) fn explain(case: &Case<'_>) -> Option<Draft> {
    if case.attempt.op != Op::Bind {
        return None;
    }
    if let System::MacOs(version) = case.attempt.system {
        return macos::success(case, version);
    }
    no_port_yet(case)
        .or_else(|| low_port(case))
        .or_else(|| shared(case))
        .or_else(|| nonlocal(case))
}

/// `IP_BIND_ADDRESS_NO_PORT`
fn no_port_yet(case: &Case<'_>) -> Option<Draft> {
    let asked = case.option(|options| options.bind_address_no_port)?;
    let none = case.port() == Some(0) && case.attempt.local?.port == Some(0);
    (asked && none).then(|| {
        let text =
            "the socket has no port yet: with IP_BIND_ADDRESS_NO_PORT it gets one at connect()";
        Draft::new(Code::NoPortYet, Confidence::Derived, text)
    })
}

/// A low port of somebody who is not root.
fn low_port(case: &Case<'_>) -> Option<Draft> {
    let port = case.port().filter(|&port| port != 0 && port < PROT_SOCK)?;
    let low = case.attempt.euid.is_some_and(|euid| euid != 0);
    let privileged = case.attempt.privileged.filter(|_| low)?;
    let who = case.who();
    if !privileged {
        let from = case.threshold().map_or_else(
            || "further down".to_owned(),
            |known| known.value.to_string(),
        );
        let text = format!(
            "{who} may open port {port} because everybody may: net.ipv4.ip_unprivileged_port_start of this network namespace is {from}"
        );
        return Some(Draft::new(
            Code::LowPortAllowedBySysctl,
            Confidence::Derived,
            text,
        ));
    }
    let owner = case.attempt.before.net_user_ns;
    if let Some(owner) = owner.filter(|&owner| !privilege::is_initial(owner)) {
        let text = format!(
            "{who} may open port {port} in this network namespace, which belongs to user namespace {owner}, where it has CAP_NET_BIND_SERVICE"
        );
        return Some(Draft::new(
            Code::LowPortOwnNamespace,
            Confidence::Derived,
            text,
        ));
    }
    let text =
        format!("{who} may open port {port} without being root: it has CAP_NET_BIND_SERVICE");
    let draft = Draft::new(Code::LowPortAllowedByCapability, Confidence::Derived, text);
    let seen = privilege::privilege(case).filter(|known| known.value == Privilege::Has);
    Some(match seen.and(case.credentials()) {
        Some(known) => draft.seen(format!("CapEff {:016x}", known.value.cap_effective)),
        None => draft,
    })
}

/// Others' sockets on the same port, which could not be there without the options.
fn shared(case: &Case<'_>) -> Option<Draft> {
    let claim = Claim::of_attempt(case.attempt)?;
    let by_reuseaddr = claim.transport == Transport::Udp && claim.reuseaddr == Some(true);
    if claim.port == 0 || !(claim.reuseport == Some(true) || by_reuseaddr) {
        return None;
    }
    let alone = Claim {
        reuseaddr: Some(false),
        reuseport: Some(false),
        ..claim
    };
    let is_other = |holder: &&Holder| {
        // Only a process that was seen is known to be another.
        let process = holder.process.as_ref().found();
        process.is_some_and(|process| process.tgid != case.attempt.tgid)
            && conflict(&alone, &Claim::of_holder(holder, claim.transport)).is_some()
    };
    let others: Vec<_> = case.facts.holders.found.iter().filter(is_other).collect();
    let first = others.first()?;
    let option = if claim.reuseport == Some(true) {
        "SO_REUSEPORT"
    } else {
        "SO_REUSEADDR"
    };
    let text = format!(
        "{} shares {} with {} ({option})",
        case.who(),
        case.target(),
        in_use::owner(first)
    );
    Some(
        Draft::new(Code::PortShared, Confidence::Checked, text)
            .holders(others.into_iter().cloned()),
    )
}

/// `IP_FREEBIND`, `IP_TRANSPARENT`, `net.ipv4.ip_nonlocal_bind`, or no address at all yet
fn nonlocal(case: &Case<'_>) -> Option<Draft> {
    let ip = case.ip()?;
    let found = &case.facts.address;
    if ip.is_unspecified() || address::is_for_many(ip) || !found.assigned.is_not_there() {
        return None;
    }
    let options = case.attempt.options?;
    let by = if options.freebind {
        "it has IP_FREEBIND"
    } else if options.transparent {
        "it has IP_TRANSPARENT"
    } else if found.nonlocal_bind == Some(true) {
        "net.ipv4.ip_nonlocal_bind (or that of IPv6) is set"
    } else if found.takes_any(ip) {
        "that has never had an IPv4 address, and until then none is checked"
    } else {
        return None;
    };
    let text = format!(
        "the socket could be bound to {ip}, which is no address of its network namespace, since {by}"
    );
    Some(Draft::new(
        Code::NonlocalAddressAllowed,
        Confidence::Checked,
        text,
    ))
}
