//! No answer came: packets were dropped somewhere, or the listener on this host has no room.

use std::time::Duration;

use super::{
    super::{
        case::{Case, endpoint, name_of},
        connect,
        draft::{Draft, Others},
        fix, in_use, quote,
    },
    Answer, is_here, listener, look_at_firewall, own_end, seen,
};
use crate::event::{AcceptQueue, Code, Confidence, Fix, Holder};

fn seconds(latency: Duration) -> String {
    format!("{:.1} s", latency.as_secs_f64())
}

/// `ETIMEDOUT`
pub(super) fn timed_out(case: &Case<'_>, answer: Answer) -> Draft {
    let within = answer.latency.map_or_else(String::new, |latency| {
        format!(" within {}", seconds(latency))
    });
    let silence = format!("no answer from {}{within}", case.target());
    if is_here(case) {
        return of_this_host(case, &silence);
    }
    let by = connect::leaves_by(case).map_or_else(String::new, |name| format!(", sent by {name}"));
    let text = format!(
        "{silence}{by}: the packets are dropped here (firewall, IPAddressDeny=) or on the way, or the host is down"
    );
    Draft::new(Code::ConnectTimedOut, seen(case), text)
        .fixes(look_at_unit(case))
        .fix(look_at_firewall(case))
        .fixes(fix::look_at_route(case))
}

pub(super) fn given_up(case: &Case<'_>, latency: Duration) -> Draft {
    let silence = format!(
        "{} closed the socket after {} without an answer from {}",
        case.name(),
        seconds(latency),
        case.target()
    );
    if let Some((holder, queue)) = full_queue(case) {
        return full(case, holder, queue, &silence);
    }
    Draft::new(Code::GivenUp, Confidence::Observed, silence)
        .fix(look_at_firewall(case))
        .fixes(fix::look_at_route(case))
}

/// A host answers itself at once, by a handshake or a reset, unless it drops the SYN.
fn of_this_host(case: &Case<'_>, silence: &str) -> Draft {
    const DROPS: &str = "this host drops the packets (firewall, IPAddressDeny=)";
    let firewall = || (Code::ConnectTimedOut, DROPS.to_owned());
    if let Some((holder, queue)) = full_queue(case) {
        return full(case, holder, queue, silence);
    }
    let draft = match listener(case) {
        Some(holder) => Draft::one_of([firewall(), perhaps_full(holder)], Others::Possible)
            .fix(look_at_queue(case, holder))
            .holders([holder.clone()]),
        None if case.facts.holders.unseen.is_none() => Draft::new(
            Code::ConnectTimedOut,
            seen(case),
            format!("{silence}: {DROPS}"),
        ),
        None => {
            let text = "the accept queue of a listener that was not looked up is full";
            let full = (Code::AcceptQueueFull, text.to_owned());
            Draft::one_of([firewall(), full], Others::Possible)
        }
    };
    draft.fixes(look_at_unit(case)).fix(look_at_firewall(case))
}

/// It may have been full at the time of the connect.
fn perhaps_full(holder: &Holder) -> (Code, String) {
    let (who, at) = (
        in_use::owner(holder),
        endpoint(holder.ip, Some(holder.port)),
    );
    let now = match holder.queue {
        Some(AcceptQueue { waiting, backlog }) => {
            format!("{waiting} wait now, and the backlog is {backlog}")
        }
        None => "it could not be looked at".to_owned(),
    };
    let text = format!("the accept queue of {who}, which listens on {at}, was full ({now})");
    (Code::AcceptQueueFull, text)
}

/// The listener that the connect goes to, if it has no room.
fn full_queue<'a>(case: &Case<'a>) -> Option<(&'a Holder, AcceptQueue)> {
    let to = own_end(case)?;
    let holders = case.facts.holders.found.iter();
    let mut reached = holders.filter(|holder| to.reaches(holder));
    reached.find_map(|holder| Some((holder, holder.queue.filter(|queue| queue.is_full())?)))
}

fn full(case: &Case<'_>, holder: &Holder, queue: AcceptQueue, silence: &str) -> Draft {
    let AcceptQueue { waiting, backlog } = queue;
    let connections = match waiting {
        1 => "1 connection waits".to_owned(),
        many => format!("{many} connections wait"),
    };
    let text = format!(
        "{silence}: {} listens on {}, but its accept queue is full ({connections} for accept(), the backlog is {backlog}), so Linux drops new ones",
        in_use::owner(holder),
        endpoint(holder.ip, Some(holder.port)),
    );
    Draft::new(Code::AcceptQueueFull, Confidence::Checked, text)
        .fix(look_at_server(holder))
        .fix(look_at_queue(case, holder))
        .fix(fix::advice(
            "if it accepts, and only cannot keep up with peaks: raise the backlog that it passes to listen(), and net.core.somaxconn, which limits it",
        ))
        .holders([holder.clone()])
}

/// The command that shows where the listener's threads are, in place of accept().
fn look_at_server(holder: &Holder) -> Fix {
    let Some(process) = holder.process.as_ref().found() else {
        return fix::advice(
            "look at the program that listens: it does not call accept(), or too slowly",
        );
    };
    fix::command(
        format!(
            "see what {} does: it does not call accept(), or too slowly",
            name_of(&process.comm)
        ),
        format!("ps -L -o tid,stat,pcpu,wchan:20,comm -p {}", process.tgid),
    )
}

fn look_at_queue(case: &Case<'_>, holder: &Holder) -> Fix {
    let look = format!("ss -tlnp 'sport = :{}'", holder.port);
    fix::command(
        "see its accept queue (Recv-Q: waiting, Send-Q: backlog)",
        case.in_namespace(&look),
    )
}

fn look_at_unit(case: &Case<'_>) -> Option<Fix> {
    let unit = quote::word(case.service()?.as_bytes());
    Some(fix::command(
        "see whether the unit may send there",
        format!("systemctl show -p IPAddressAllow,IPAddressDeny {unit}"),
    ))
}
