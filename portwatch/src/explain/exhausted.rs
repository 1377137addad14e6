//! No port is left of those that the kernel chooses from by itself.

use super::{case::Case, conflict::Transport, draft::Draft, facts::Ports, fix};
use crate::event::{Code, Confidence, Fix, Op};

pub(super) fn explain(case: &Case<'_>) -> Draft {
    let whom = match case.attempt.op {
        Op::Connect => format!(" for a connection to {}", case.target()),
        Op::Bind | Op::Listen => String::new(),
    };
    match own_range(case) {
        Some(own) => of_the_socket(case, own, &whom),
        None => of_the_namespace(case, &whom),
    }
}

/// The likeliest code and text of one that may have other reasons too.
pub(super) fn candidate(case: &Case<'_>) -> (Code, String) {
    match own_range(case) {
        Some(Ports { first, last }) => (
            Code::OwnPortRangeExhausted,
            format!(
                "no port of the socket's own range {first} to {last} (IP_LOCAL_PORT_RANGE) is free"
            ),
        ),
        None => (
            Code::EphemeralPortsExhausted,
            "no local port is free (net.ipv4.ip_local_port_range)".to_owned(),
        ),
    }
}

/// The socket's own range: an end of it counts only within the network namespace's
/// (`inet_sk_get_local_port_range`, net/ipv4/inet_connection_sock.c).
fn own_range(case: &Case<'_>) -> Option<Ports> {
    let own = case.attempt.port_range?;
    let all = case.facts.ports.unwrap_or(Ports {
        first: 1,
        last: u16::MAX,
    });
    let within = |end: u16| (all.first..=all.last).contains(&end).then_some(end);
    let (first, last) = (within(own.first), within(own.last));
    (first.is_some() || last.is_some()).then(|| Ports {
        first: first.unwrap_or(all.first),
        last: last.unwrap_or(all.last),
    })
}

fn of_the_socket(case: &Case<'_>, Ports { first, last }: Ports, whom: &str) -> Draft {
    let text = format!(
        "no port of {first} to {last} is free{whom}, and the socket limits itself to these (IP_LOCAL_PORT_RANGE)"
    );
    let ports = format!("( sport >= :{first} and sport <= :{last} )");
    Draft::new(Code::OwnPortRangeExhausted, Confidence::Derived, text)
        .fix(fix::advice(
            "set a wider IP_LOCAL_PORT_RANGE in the program, or none",
        ))
        .fix(look(case, &format!(" '{ports}'")))
}

fn of_the_namespace(case: &Case<'_>, whom: &str) -> Draft {
    let range = case.facts.ports.map_or_else(
        || "net.ipv4.ip_local_port_range".to_owned(),
        |ports| {
            format!(
                "{} to {} (net.ipv4.ip_local_port_range)",
                ports.first, ports.last
            )
        },
    );
    let text = format!("no port of the range {range} is free{whom}");
    let widen = fix::opening(
        fix::command(
            "widen the range",
            case.in_namespace("sysctl -w net.ipv4.ip_local_port_range='1024 65535'"),
        ),
        "servers on these ports may find theirs taken by a connection",
    );
    Draft::new(Code::EphemeralPortsExhausted, Confidence::Derived, text)
        .fix(look(case, ""))
        .fix(fix::advice(
            "keep connections open and use them again, instead of a new one each time",
        ))
        .fix(widen)
}

fn look(case: &Case<'_>, which: &str) -> Fix {
    let table = if case.transport() == Some(Transport::Udp) {
        "-uan"
    } else {
        "-tan"
    };
    fix::command(
        "see what uses them up",
        case.in_namespace(&format!("ss {table}{which}")),
    )
}
