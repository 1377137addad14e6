//! What connect() refuses before there is an answer: the socket's state, the route, the port.

mod port;
mod route;

pub(super) use self::route::leaves_by;
use super::{
    answer::{self, Answer},
    bind,
    case::{Case, SS_CONNECTING, TCP_ESTABLISHED, TCP_LISTEN},
    draft::{Draft, Others},
    fix,
};
use crate::{
    errno::Errno,
    event::{Code, Confidence, Proto, Via},
};

pub(super) fn explain(case: &Case<'_>, errno: Errno) -> Option<Draft> {
    if is_answer(case, errno) {
        let attempt = case.attempt;
        return answer::explain(
            case,
            Answer {
                errno,
                reset: attempt.reset,
                latency: attempt.latency,
            },
        );
    }
    match errno {
        Errno::EALREADY | Errno::EISCONN => Some(busy(case, errno)),
        Errno::EPIPE => Some(disconnected(case)),
        Errno::ECONNABORTED => Some(aborted(case)),
        Errno::EAFNOSUPPORT => Some(route::family(case)),
        Errno::EINVAL => route::einval(case),
        Errno::EACCES => Some(route::eacces(case)),
        Errno::EPERM => Some(route::eperm(case)),
        Errno::ENETUNREACH => Some(route::net_unreachable(case)),
        Errno::EHOSTUNREACH => Some(route::host_unreachable(case)),
        Errno::EADDRNOTAVAIL => Some(port::no_local_end(case)),
        Errno::EAGAIN => Some(port::autobind(case)),
        Errno::ECONNREFUSED => Some(packet_denied(case)),
        Errno::ENOMEM | Errno::ENOBUFS => Some(bind::out_of_memory(case, errno)),
        _ => None,
    }
}

/// Whether the error came from the network, and not from the call's own steps.
fn is_answer(case: &Case<'_>, errno: Errno) -> bool {
    const ONLY_ANSWERS: [Errno; 8] = [
        Errno::ETIMEDOUT,
        Errno::EHOSTDOWN,
        Errno::ENONET,
        Errno::ENOPROTOOPT,
        Errno::EPROTO,
        Errno::ECONNREFUSED,
        Errno::ECONNRESET,
        Errno::EOPNOTSUPP,
    ];
    let stages = &case.attempt.stages;
    // `tcp_v4_connect` and `tcp_v6_connect` never wait: what they return is no answer.
    let sent = case.attempt.reset || stages.syn_sent || stages.connect == Some(0);
    let refused_at_once = stages.connect.is_some_and(|ret| ret != 0);
    let outcome = [
        Errno::EINTR,
        Errno::EPIPE,
        Errno::ECONNABORTED,
        Errno::EINPROGRESS,
    ];
    // Of a socket whose protocol is not known: no connect of a datagram returns these.
    let of_streams = [Errno::ECONNREFUSED, Errno::ECONNRESET, Errno::ETIMEDOUT].contains(&errno);
    let waits = case.is_tcp() || case.attempt.proto.is_none() && of_streams;
    !refused_at_once
        && !outcome.contains(&errno)
        && (sent || waits && ONLY_ANSWERS.contains(&errno))
}

/// Whether the error is one of the call's own steps: TCP's connect was seen to return it, or the
/// protocol does not wait for an answer.
fn is_of_the_call(case: &Case<'_>) -> bool {
    let waits_not = matches!(
        case.attempt.proto,
        Some(Proto::Raw | Proto::Ip(1 | 17 | 58 | 115 | 136))
    );
    waits_not || case.attempt.stages.connect.is_some_and(|ret| ret != 0)
}

/// `EINPROGRESS`, `EINTR`
pub(super) fn pending(case: &Case<'_>, errno: Errno) -> Draft {
    if errno == Errno::EINTR {
        interrupted(case)
    } else {
        in_progress(case)
    }
}

fn in_progress(case: &Case<'_>) -> Draft {
    let target = case.target();
    let waits = case.option(|options| options.nonblock) == Some(false);
    if waits && !matches!(case.attempt.via, Some(Via::FastOpen | Via::IoUring)) {
        let text = format!(
            "the time that the socket may wait (SO_SNDTIMEO) was over before {target} had answered; the connect goes on"
        );
        return Draft::new(Code::SendTimeoutExpired, Confidence::Derived, text).fix(fix::advice(
            "wait with poll() for the socket to be writable, or set a longer SO_SNDTIMEO",
        ));
    }
    let text =
        format!("the connect to {target} is under way, and the call did not wait for its end");
    Draft::new(Code::ConnectInProgress, Confidence::Observed, text)
}

/// `EALREADY`, `EISCONN`
fn busy(case: &Case<'_>, errno: Errno) -> Draft {
    let state = case
        .before()
        .map(|before| (before.state, before.socket_state));
    let (code, text, advice) = match (errno, state) {
        (Errno::EALREADY, _) | (_, Some((_, SS_CONNECTING))) => (
            Code::AlreadyConnecting,
            "a connect on this socket is under way already",
            "wait with poll() for the socket to be writable, then ask for SO_ERROR",
        ),
        (_, Some((TCP_LISTEN, _))) => (
            Code::SocketListening,
            "the socket listens, and a listening socket cannot connect",
            "make a new socket for the connection",
        ),
        (_, Some((TCP_ESTABLISHED, _))) => (
            Code::AlreadyConnected,
            "the socket is connected already",
            "make a new socket for another connection",
        ),
        (_, Some(_)) => (
            Code::AlreadyConnected,
            "the socket has been connected already, and that connection is not closed yet",
            "make a new socket for another connection",
        ),
        (_, None) => {
            let causes = [
                (Code::AlreadyConnected, "the socket is connected already"),
                (Code::SocketListening, "it listens"),
            ];
            return Draft::one_of(causes, Others::None)
                .fix(fix::advice("make a new socket for another connection"));
        }
    };
    Draft::new(code, Confidence::Derived, text).fix(fix::advice(advice))
}

fn interrupted(case: &Case<'_>) -> Draft {
    let text = format!(
        "a signal interrupted the wait for {}; the connect goes on",
        case.target()
    );
    Draft::new(Code::Interrupted, Confidence::Observed, text).fix(fix::advice(
        "wait with poll() for the socket to be writable, then ask for SO_ERROR; do not call connect() again",
    ))
}

fn disconnected(case: &Case<'_>) -> Draft {
    let text = format!(
        "another thread disconnected the socket while {} waited for {}",
        case.name(),
        case.target()
    );
    Draft::new(Code::DisconnectedMeanwhile, Confidence::Derived, text)
        .fix(fix::advice("let one thread at a time use the socket"))
}

fn aborted(case: &Case<'_>) -> Draft {
    let text = format!(
        "the connection to {} was closed on this side before there was an answer",
        case.target()
    );
    Draft::new(Code::ConnectionAborted, Confidence::Derived, text).fix(fix::advice(
        "look for another thread or process that closes or shuts down the socket",
    ))
}

fn is_ipv6(case: &Case<'_>) -> bool {
    case.ip().is_some_and(|ip| ip.to_canonical().is_ipv6())
}

/// `ECONNREFUSED` of the call itself: the only error of sending that `tcp_connect` returns.
fn packet_denied(case: &Case<'_>) -> Draft {
    if case.attempt.stages.connect.is_some_and(|ret| ret != 0) {
        let text = format!(
            "a security module's packet label denied the SYN to {} (SELinux or AppArmor, secmark)",
            case.target()
        );
        return Draft::new(Code::PacketDenied, Confidence::Derived, text).fix(fix::command(
            "see the denial",
            "sudo ausearch -m avc -ts recent | audit2why",
        ));
    }
    Draft::unexplained(case, Errno::ECONNREFUSED)
}
