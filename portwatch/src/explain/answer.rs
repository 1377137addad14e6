//! How a connect ended that had been sent on its way: what came back, or that nothing did.

mod silence;

use std::time::Duration;

use super::{
    case::{Case, endpoint},
    connect,
    draft::{Draft, Others},
    facts::{Neighbour, RouteKind},
    fix, in_use,
    listener::{Destination, destination},
};
use crate::{
    errno::Errno,
    event::{Code, Confidence, End, Ended, Fix, Holder, Lookup, SocketState},
};

/// What ended a connect.
#[derive(Clone, Copy)]
pub(super) struct Answer {
    pub(super) errno: Errno,
    /// A reset was seen
    pub(super) reset: bool,
    /// From the call's entry
    pub(super) latency: Option<Duration>,
}

pub(super) fn of_outcome(case: &Case<'_>, ended: &Ended) -> Option<Draft> {
    match ended.end {
        End::Connected => None,
        End::Abandoned => Some(silence::given_up(case, ended.latency)),
        End::Failed(ret) => {
            let errno = case.attempt.system.errno(ret)?;
            let answer = Answer {
                errno,
                reset: ended.reset,
                latency: Some(ended.latency),
            };
            Some(explain(case, answer).unwrap_or_else(|| Draft::unexplained(case, errno)))
        }
    }
}

pub(super) fn explain(case: &Case<'_>, answer: Answer) -> Option<Draft> {
    Some(match answer.errno {
        Errno::ECONNREFUSED => refused(case, answer),
        Errno::ECONNRESET => reset_at_once(case),
        Errno::ETIMEDOUT => silence::timed_out(case, answer),
        Errno::EHOSTUNREACH => host_unreachable(case),
        Errno::ENETUNREACH => icmp(
            case,
            Code::NetworkUnreachable,
            "a router or firewall answered that the network is unreachable (ICMP), or that there is no route (ICMPv6)",
        ),
        Errno::EACCES => icmp(
            case,
            Code::AdminProhibited,
            "a router or firewall answered that it is prohibited (ICMPv6: by an administrator, a policy, or a reject route)",
        ),
        Errno::ENOPROTOOPT => icmp(
            case,
            Code::ProtocolUnreachable,
            "a host or firewall answered that the protocol is not available (ICMP protocol unreachable)",
        ),
        Errno::EHOSTDOWN => icmp(
            case,
            Code::IcmpError,
            "a router answered that the host is unknown (ICMP)",
        ),
        Errno::ENONET => icmp(
            case,
            Code::IcmpError,
            "a router answered that the host is isolated (ICMP)",
        ),
        Errno::EOPNOTSUPP => icmp(
            case,
            Code::IcmpError,
            "a router answered that the source route failed (ICMP)",
        ),
        Errno::EPROTO => icmp(
            case,
            Code::IcmpError,
            "a host or router could not read the packet (ICMP parameter problem)",
        ),
        _ => return None,
    })
}

fn is_here(case: &Case<'_>) -> bool {
    let route = case.facts.route.as_ref().found();
    case.ip().is_some_and(|ip| destination(ip).is_loopback())
        || route.is_some_and(|route| route.kind == RouteKind::Local)
}

/// `ECONNREFUSED`
fn refused(case: &Case<'_>, answer: Answer) -> Draft {
    let target = case.target();
    if answer.reset {
        return nobody_listens(case);
    }
    let (code, confidence, text) = if case.attempt.stages.syn_sent && case.facts.resets_seen {
        (
            Code::RejectedByFirewall,
            Confidence::Derived,
            format!(
                "{target} was refused, and not by a reset (RST): a firewall rejects it, here or on the way (ICMP port unreachable)"
            ),
        )
    } else if let Some(holder) = listener(case) {
        return although_it_listens(case, holder, "was refused");
    } else {
        (
            Code::ConnectionRefused,
            seen(case),
            format!(
                "{target} was refused: nobody listens there (a reset), or a firewall rejects it (ICMP); which of both was not seen"
            ),
        )
    };
    let draft = Draft::new(code, confidence, text);
    let draft = match code {
        Code::ConnectionRefused => draft.fixes(look_for_listener(case)),
        _ => draft,
    };
    draft.fix(look_at_firewall(case))
}

/// `ECONNRESET`: of a connection that was there already; before that a reset is `ECONNREFUSED`
/// (`tcp_reset`, net/ipv4/tcp_input.c).
fn reset_at_once(case: &Case<'_>) -> Draft {
    let text = format!(
        "the connection to {} was established, and reset (RST) before connect() returned: the server closed it at once, or a load balancer or firewall did",
        case.target()
    );
    Draft::new(Code::ConnectionReset, Confidence::Derived, text)
        .fix(fix::advice(
            "look into the server's log: it closes a connection that it cannot serve, or was stopped",
        ))
        .fixes(look_for_listener(case))
        .fix(look_at_firewall(case))
}

/// The end that was asked for, where it is on this host.
fn own_end(case: &Case<'_>) -> Option<Destination> {
    Destination::of_attempt(case.attempt).filter(|_| is_here(case))
}

/// The socket on this host that listens on the address.
fn listener<'a>(case: &Case<'a>) -> Option<&'a Holder> {
    let to = own_end(case)?;
    let mut holders = case.facts.holders.found.iter();
    let reached = holders.clone().find(|holder| to.reaches(holder));
    reached.or_else(|| holders.find(|holder| to.is_of(holder)))
}

/// Where the protocol is not known, that something was sent follows from the error alone.
fn seen(case: &Case<'_>) -> Confidence {
    match case.attempt.proto {
        Some(_) => Confidence::Observed,
        None => Confidence::Derived,
    }
}

fn look_at_firewall(case: &Case<'_>) -> Fix {
    fix::command(
        "see this host's firewall",
        case.in_namespace("nft list ruleset"),
    )
}

fn look_for_listener(case: &Case<'_>) -> Option<Fix> {
    let port = case.port().filter(|_| is_here(case))?;
    Some(fix::command(
        format!("see whether somebody listens on port {port}"),
        case.in_namespace(&format!("ss -tlnp 'sport = :{port}'")),
    ))
}

fn nobody_listens(case: &Case<'_>) -> Draft {
    let target = case.target();
    let listeners = || {
        let holders = case.facts.holders.found.iter();
        holders.filter(|holder| holder.state == SocketState::Listen)
    };
    if let Some(holder) = listener(case) {
        return although_it_listens(case, holder, "answered with a reset (RST)");
    }
    let mut text = if is_here(case) {
        format!("nobody listens on {target}: this host answers with a reset (RST)")
    } else {
        format!("nobody listens on {target}: the answer was a reset (RST)")
    };
    if is_here(case)
        && let Some(other) = listeners().next()
    {
        text.push_str("; ");
        text.push_str(&in_use::owner(other));
        text.push_str(" listens on ");
        text.push_str(&endpoint(other.ip, Some(other.port)));
    }
    let draft = Draft::new(Code::NobodyListens, Confidence::Observed, text);
    let draft = match look_for_listener(case) {
        Some(look) => draft
            .fix(fix::advice("start the server, or let it listen on this address and port"))
            .fix(look),
        None => draft.fix(fix::advice(format!(
            "start the server there, or correct the address or port; a firewall can send resets too (at {target})"
        ))),
    };
    if is_here(case) {
        draft.holders(listeners().cloned())
    } else {
        draft
    }
}

/// Refused, though a socket listens there: it does not hear this way, or it was not the one that
/// answered, or it came later.
fn although_it_listens(case: &Case<'_>, holder: &Holder, refused: &str) -> Draft {
    let draft = match deaf(case, holder) {
        Some(draft) => draft,
        None => answered_otherwise(case, holder, refused),
    };
    draft.holders([holder.clone()])
}

/// It hears only what comes in by another interface.
fn deaf(case: &Case<'_>, holder: &Holder) -> Option<Draft> {
    let to = Destination::of_attempt(case.attempt)?;
    let device = to.missed_interface(holder)?;
    let (who, at) = (
        in_use::owner(holder),
        endpoint(holder.ip, Some(holder.port)),
    );
    let only = format!(
        "{who} listens on {at}, but only for what comes in by interface {device} (SO_BINDTODEVICE)"
    );
    let draft = if to.comes_by_a_known_interface() {
        let text = format!("{only}, and a connect to {} does not", case.target());
        Draft::new(Code::NobodyListens, Confidence::Checked, text)
    } else {
        let between = "a firewall rejects it, or NAT sends it elsewhere".to_owned();
        let causes = [
            (Code::NobodyListens, only),
            (Code::RejectedByFirewall, between),
        ];
        Draft::one_of(causes, Others::Possible)
    };
    Some(draft.fix(fix::advice(
        "connect from where packets come in by that interface, or start the server without SO_BINDTODEVICE",
    )))
}

fn answered_otherwise(case: &Case<'_>, holder: &Holder, refused: &str) -> Draft {
    let target = case.target();
    let (who, at) = (
        in_use::owner(holder),
        endpoint(holder.ip, Some(holder.port)),
    );
    let draft = match holder.since.map(|since| since < case.attempt.time) {
        Some(false) => {
            let text = format!(
                "nobody listened on {target} yet: it {refused}; {who} has listened on {at} since"
            );
            return Draft::new(Code::NobodyListens, Confidence::Checked, text).fix(fix::advice(
                "try again, or start the client after the server",
            ));
        }
        Some(true) => Draft::new(
            Code::RejectedByFirewall,
            Confidence::Checked,
            format!(
                "{target} {refused}, though {who} listens on {at}: a firewall rejects it, or NAT sends it elsewhere"
            ),
        ),
        None => Draft::one_of(
            [
                (
                    Code::RejectedByFirewall,
                    format!(
                        "a firewall rejects it, or NAT sends it elsewhere: {who} listens on {at}"
                    ),
                ),
                (
                    Code::NobodyListens,
                    "the server began to listen only after this connect".to_owned(),
                ),
            ],
            Others::Possible,
        ),
    };
    draft.fix(look_at_firewall(case))
}

/// `EHOSTUNREACH`
fn host_unreachable(case: &Case<'_>) -> Draft {
    let target = case.target();
    let route = case.facts.route.as_ref().found();
    let hop = route
        .and_then(|route| route.gateway)
        .or(case.ip())
        .map_or_else(|| "the next hop".to_owned(), |ip| ip.to_string());
    let by = connect::leaves_by(case).map_or_else(String::new, |name| format!(" on {name}"));
    let see = fix::command(
        "see which neighbours do not answer",
        case.in_namespace("ip neigh"),
    );
    if case.facts.neighbour == Lookup::Found(Neighbour::Failed) {
        let text = format!(
            "{hop} does not answer ARP or neighbour discovery{by}: it is off, or not on this network"
        );
        return Draft::new(Code::NeighbourUnreachable, Confidence::Checked, text).fix(see);
    }
    let text = format!(
        "{target} cannot be reached: {hop} does not answer ARP or neighbour discovery{by}, or a router or firewall answered so (ICMP)"
    );
    Draft::new(Code::HostUnreachable, Confidence::Observed, text)
        .fix(see)
        .fixes(fix::look_at_route(case))
        .fix(look_at_firewall(case))
}

fn icmp(case: &Case<'_>, code: Code, what: &str) -> Draft {
    let text = format!("{what}: {}", case.target());
    Draft::new(code, Confidence::Derived, text)
        .fixes(fix::look_at_route(case))
        .fix(look_at_firewall(case))
}
