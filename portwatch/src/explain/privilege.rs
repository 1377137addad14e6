//! Ports that need a privilege, and who has it.
//!
//! `ns_capable(net->user_ns, CAP_NET_BIND_SERVICE)` in `__inet_bind` and `__inet6_bind`: the
//! capability is asked of the user namespace that owns the socket's network namespace
//! (security/commoncap.c, `cap_capable`).

use super::{
    case::{Case, Known},
    draft::Draft,
    fix, gate, quote,
};
use crate::event::{Code, Confidence, Credentials, Fix};

/// The initial user namespace (include/linux/proc_ns.h, `PROC_USER_INIT_INO`).
const INITIAL: u32 = 0xefff_fffd;
const CAP_NET_BIND_SERVICE: u64 = 1 << 10;

/// Whether the caller may open low ports, by the kernel's formula.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Privilege {
    /// Has the capability where it counts
    Has,
    Lacks,
    /// Is in another user namespace than the one whose capabilities count
    Elsewhere,
}

/// `None` where the credentials are not known, or do not tell.
pub(super) fn privilege(case: &Case<'_>) -> Option<Known<Privilege>> {
    let Known { value, confidence } = case.credentials()?;
    let before = &case.attempt.before;
    judge(value, before.net_user_ns, before.net_user_ns_level)
        .map(|value| Known { value, confidence })
}

/// `owner` is the user namespace that owns the network namespace, `depth` how deep it lies.
fn judge(credentials: Credentials, owner: Option<u32>, depth: Option<u32>) -> Option<Privilege> {
    let Credentials {
        cap_effective,
        user_ns,
        level,
    } = credentials;
    let has = cap_effective & CAP_NET_BIND_SERVICE != 0;
    // The initial namespace is above all others: what one has there counts in all of them.
    let counts = is_initial(user_ns) || Some(user_ns) == owner;
    let is_below =
        owner.is_some_and(is_initial) || level.zip(depth).is_some_and(|(own, owner)| own >= owner);
    match (counts, has) {
        (true, true) => Some(Privilege::Has),
        (false, _) if owner.is_some() && is_below => Some(Privilege::Elsewhere),
        (_, false) => Some(Privilege::Lacks),
        // It may lie above the owner, or not.
        (false, true) => None,
    }
}

/// The threshold, if the port that was asked for is below it.
pub(super) fn needed(case: &Case<'_>) -> Option<(u16, Known<u32>)> {
    let port = case.port().filter(|&port| port != 0)?;
    let threshold = case.threshold()?;
    (u32::from(port) < threshold.value).then_some((port, threshold))
}

/// The same, with what it is below; where the threshold is not known, the one that few change.
pub(super) fn perhaps_needed(case: &Case<'_>) -> Option<(u16, String)> {
    const USUAL: u16 = 1024;
    if let Some((port, threshold)) = needed(case) {
        return Some((port, below(port, threshold.value)));
    }
    let port = case.port().filter(|port| (1..USUAL).contains(port))?;
    let below = format!(
        "port {port} is below {USUAL} (net.ipv4.ip_unprivileged_port_start, if nobody changed it)"
    );
    case.threshold().is_none().then_some((port, below))
}

/// `EACCES` of a bind: `None` where the port needs no privilege, or that is not known.
pub(super) fn explain(case: &Case<'_>) -> Option<Draft> {
    let (port, threshold) = needed(case)?;
    let Known { value, confidence } = privilege(case)?;
    let confidence = confidence.max(threshold.confidence).max(if is_seen(case) {
        Confidence::Derived
    } else {
        Confidence::Checked
    });
    let below = below(port, threshold.value);
    let who = case.who();
    Some(match value {
        Privilege::Lacks => {
            let text = format!("{below} and {who} has no CAP_NET_BIND_SERVICE");
            draft(case, Code::LowPortNoCapability, confidence, text).fixes(grants(case, port))
        }
        Privilege::Elsewhere => elsewhere(case, port, confidence, &below),
        Privilege::Has => {
            let text = format!(
                "{below}, {who} has CAP_NET_BIND_SERVICE, and a security module{} refused its use",
                capability_judges(case)
            );
            let see = fix::command(
                "see the denial",
                "sudo journalctl -k --since -10min --grep 'capability|net_bind_service'",
            );
            draft(case, Code::LowPortCapabilityDenied, confidence, text).fix(see)
        }
    })
}

pub(super) const fn is_initial(user_ns: u32) -> bool {
    user_ns == INITIAL
}

pub(super) fn below(port: u16, threshold: u32) -> String {
    format!(
        "port {port} is below {threshold} (net.ipv4.ip_unprivileged_port_start of this network namespace)"
    )
}

fn elsewhere(case: &Case<'_>, port: u16, confidence: Confidence, below: &str) -> Draft {
    let own = case.credentials().map_or_else(
        || "another user namespace".to_owned(),
        |known| namespace(known.value.user_ns),
    );
    let owner = case
        .attempt
        .before
        .net_user_ns
        .map_or_else(|| "another".to_owned(), namespace);
    let text = format!(
        "{below} and {} has its capabilities in {own} only, while the network namespace belongs to {owner}",
        case.who()
    );
    draft(case, Code::LowPortForeignUserNamespace, confidence, text)
        .fix(fix::advice(
            "give the container or sandbox a network namespace of its own, and publish the port (no --network=host)",
        ))
        .fixes(fix::lower_threshold(case, port))
}

fn namespace(inode: u32) -> String {
    if is_initial(inode) {
        "the initial user namespace".to_owned()
    } else {
        format!("user namespace {inode}")
    }
}

/// Whether it was the protocol that was seen to refuse.
fn is_seen(case: &Case<'_>) -> bool {
    case.attempt.stages.operation.is_some()
}

fn draft(case: &Case<'_>, code: Code, confidence: Confidence, text: String) -> Draft {
    let mut draft = Draft::new(code, confidence, text);
    if !is_seen(case) {
        draft = draft.seen("whether something else had refused the call before was not seen");
    }
    if let Some(known) = case.credentials() {
        draft = draft.seen(format!(
            "CapEff {:016x} in {}",
            known.value.cap_effective,
            namespace(known.value.user_ns)
        ));
    }
    match case.attempt.before.net_user_ns {
        Some(owner) => draft.seen(format!(
            "the network namespace belongs to {}",
            namespace(owner)
        )),
        None => draft,
    }
}

/// ` (selinux or apparmor)`: those that run here and judge capabilities.
fn capability_judges(case: &Case<'_>) -> String {
    let judges = gate::judges(case);
    let judges: Vec<_> = judges
        .into_iter()
        .filter(|name| ["apparmor", "bpf", "selinux"].contains(name))
        .collect();
    if judges.is_empty() {
        String::new()
    } else {
        format!(" ({})", judges.join(" or "))
    }
}

/// What lets the caller open the port: first what helps it alone.
pub(super) fn grants(case: &Case<'_>, port: u16) -> Vec<Fix> {
    let mut fixes: Vec<Fix> = unit_capability(case).into_iter().collect();
    // Not in a user namespace: a file's capabilities count in the one that it was given them in.
    if case
        .credentials()
        .is_none_or(|known| known.value.user_ns == INITIAL)
    {
        fixes.extend(fix::file_capability(case));
    }
    fixes.extend(fix::lower_threshold(case, port));
    if let Some(known) = case.threshold() {
        fixes.push(fix::advice(format!("take a port from {} on", known.value)));
    }
    if case.service().is_some() {
        fixes.push(fix::advice(format!(
            "let systemd open port {port} and pass it on (a .socket unit), if the program can take it"
        )));
    }
    fixes
}

fn unit_capability(case: &Case<'_>) -> Option<Fix> {
    let unit = case.service()?;
    let mut lines = vec!["AmbientCapabilities=CAP_NET_BIND_SERVICE"];
    if case.is_root() {
        // Root without it: the unit's bounding set has taken it away.
        lines.push("CapabilityBoundingSet=CAP_NET_BIND_SERVICE");
    }
    let name = quote::shown(unit.as_bytes());
    let fix = fix::command(
        format!("let {name} open low ports, and restart it"),
        fix::drop_in(unit, "low-ports", &lines),
    );
    Some(fix::opening(fix, format!("{name} can open any low port")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_capability_counts_where_the_network_namespace_belongs() {
        let (own, other) = (INITIAL + 100, INITIAL + 200);
        let all = u64::MAX;
        let has = Some(Privilege::Has);
        let lacks = Some(Privilege::Lacks);
        let elsewhere = Some(Privilege::Elsewhere);
        for (cap_effective, (user_ns, level), owner, depth, expected) in [
            (all, (INITIAL, 0), Some(INITIAL), Some(0), has),
            (0, (INITIAL, 0), Some(INITIAL), Some(0), lacks),
            (
                !CAP_NET_BIND_SERVICE,
                (INITIAL, 0),
                Some(INITIAL),
                Some(0),
                lacks,
            ),
            // From the host into a container's network namespace.
            (all, (INITIAL, 0), Some(own), Some(1), has),
            // A container's root, in its own network namespace and in the host's.
            (all, (own, 1), Some(own), Some(1), has),
            (all, (own, 1), Some(INITIAL), Some(0), elsewhere),
            (0, (own, 1), Some(INITIAL), Some(0), elsewhere),
            // In another container's, and in one that may be nested in its own.
            (all, (own, 1), Some(other), Some(1), elsewhere),
            (all, (own, 1), Some(other), Some(2), None),
            (0, (own, 1), Some(other), Some(2), lacks),
            // The owner is not known.
            (all, (INITIAL, 0), None, None, has),
            (all, (own, 1), None, None, None),
            (0, (own, 1), None, None, lacks),
        ] {
            let credentials = Credentials {
                cap_effective,
                user_ns,
                level: Some(level),
            };
            let found = judge(credentials, owner, depth);
            assert_eq!(found, expected);
        }
    }

    #[test]
    fn the_initial_user_namespace_has_its_fixed_inode() {
        assert_eq!(INITIAL, 4_026_531_837);
    }
}
