//! The local end that the kernel looks for: a port of its own, a source address.

use super::{
    super::{
        case::Case,
        draft::{Draft, Others},
        exhausted, fix,
    },
    is_ipv6,
};
use crate::event::{Code, Confidence};

/// `EADDRNOTAVAIL`
pub(super) fn no_local_end(case: &Case<'_>) -> Draft {
    if let Some(port) = case.bound_port() {
        return tuple_in_use(case, port);
    }
    let no_source = |confidence| {
        let text = format!(
            "this host has no IPv6 address that could be the source of packets to {}",
            case.target()
        );
        Draft::new(Code::NoSourceAddress, confidence, text).fix(fix::command(
            "see the addresses there are",
            case.in_namespace("ip -6 -br addr"),
        ))
    };
    let stages = &case.attempt.stages;
    // A source address is found before the port is looked for.
    let has_source = case
        .facts
        .route
        .as_ref()
        .found()
        .map(|route| route.source.is_some());
    match (is_ipv6(case), has_source) {
        (false, _) if case.before().is_some() => exhausted::explain(case),
        (true, _) if stages.syn_sent => exhausted::explain(case),
        (true, _) if stages.connect.is_some() || case.is_udp() => no_source(Confidence::Derived),
        (true, Some(false)) => no_source(Confidence::Checked),
        (v6, _) => Draft::one_of(
            [
                exhausted::candidate(case),
                (
                    Code::TupleInUse,
                    "the socket's own port has a connection to this destination already".to_owned(),
                ),
                (
                    Code::NoSourceAddress,
                    "this host has no IPv6 address that could be the source".to_owned(),
                ),
            ]
            .into_iter()
            .filter(|(code, _)| v6 || *code != Code::NoSourceAddress),
            Others::Possible,
        )
        .fix(fix::command(
            "see what uses the ports up",
            case.in_namespace("ss -tan"),
        )),
    }
}

fn tuple_in_use(case: &Case<'_>, port: u16) -> Draft {
    let text = format!(
        "a connection from port {port} to {} exists already, perhaps in TIME_WAIT",
        case.target()
    );
    Draft::new(Code::TupleInUse, Confidence::Derived, text)
        .fix(fix::advice(
            "bind the socket to no port, and let the kernel choose",
        ))
        .fix(fix::command(
            "see the connections from this port",
            case.in_namespace(&format!("ss -tanp 'sport = :{port}'")),
        ))
}

/// `EAGAIN`: a port of its own could not be found (`inet_autobind`).
pub(super) fn autobind(case: &Case<'_>) -> Draft {
    let failed = case.attempt.stages.get_port.is_some_and(|ret| ret != 0);
    if failed {
        return exhausted::explain(case);
    }
    Draft::one_of(
        [
            exhausted::candidate(case),
            (
                Code::IpsecBlocked,
                "an IPsec policy waits for its keys".to_owned(),
            ),
        ],
        Others::Possible,
    )
    .fix(fix::command(
        "see what uses the ports up",
        case.in_namespace("ss -uan"),
    ))
}
