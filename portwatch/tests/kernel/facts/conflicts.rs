//! Two sockets and one port: what bind() returns, against what portwatch says of the two.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    os::fd::{AsRawFd as _, OwnedFd},
};

use anyhow::{Context as _, Result, bail, ensure};
use portwatch::{
    event::{Attempt, Code, Op, Options, SocketState},
    explain::{
        conflict::{Claim, Transport, conflict},
        explain,
    },
};
use rustix::{
    io::{Errno, read},
    net::{AddressFamily, SocketType, accept, bind, connect, getsockname, listen, socket, sockopt},
};

use super::{attempt, gatherer::gather, prepared};

/// An address, and whether the socket is limited to IPv6.
type Place = (IpAddr, bool);

const PLACES: [Place; 6] = [
    (IpAddr::V4(Ipv4Addr::UNSPECIFIED), false),
    (IpAddr::V4(Ipv4Addr::LOCALHOST), false),
    (IpAddr::V6(Ipv6Addr::UNSPECIFIED), false),
    (IpAddr::V6(Ipv6Addr::UNSPECIFIED), true),
    (IpAddr::V6(Ipv6Addr::LOCALHOST), false),
    (IpAddr::V6(MAPPED), false),
];

const MAPPED: Ipv6Addr = Ipv4Addr::LOCALHOST.to_ipv6_mapped();

/// `SO_REUSEADDR` and `SO_REUSEPORT`
const REUSE: [(bool, bool); 4] = [(false, false), (true, false), (false, true), (true, true)];

const STATES: [SocketState; 4] = [
    SocketState::Bound,
    SocketState::Listen,
    SocketState::Established,
    SocketState::TimeWait,
];

#[derive(Clone, Copy, Debug)]
struct Kind {
    place: Place,
    reuse: (bool, bool),
}

/// What the first socket is to be, connected to by whom.
#[derive(Debug)]
struct Asked {
    state: SocketState,
    peer: Option<IpAddr>,
    port: u16,
}

/// A socket that has a port, with what keeps it.
struct Held {
    claim: Claim,
    _keep: Vec<OwnedFd>,
}

pub(super) fn are_those_of_the_kernel() -> Result<()> {
    let (_, differences) = prepared(all)?;
    ensure!(differences.is_empty(), "{}", differences.join("\n"));
    Ok(())
}

/// Each pair of which the kernel and portwatch think otherwise.
fn all() -> Result<Vec<String>> {
    let mut differences = Vec::new();
    // Each pair has a port of its own: the kernel keeps what earlier binds to it have shown.
    let mut ports = 10_000..=u16::MAX;
    for held in kinds() {
        for state in STATES {
            for peer in peers(held.place, state) {
                for new in kinds() {
                    let port = ports.next().context("no port left")?;
                    let asked = Asked { state, peer, port };
                    differences.extend(difference(held, &asked, new)?);
                }
            }
        }
    }
    Ok(differences)
}

/// A connection of a listener that is gone, of IPv6 by its address, is in the way of IPv4.
pub(super) fn with_connections_are_named() -> Result<()> {
    const PORT: u16 = 10_000;
    for (state, code) in [
        (SocketState::Established, Code::PortInUseConnection),
        (SocketState::TimeWait, Code::PortInUseTimeWait),
    ] {
        let (namespace, (_kept, refused)) = prepared(|| {
            let dual_stack = Kind {
                place: (Ipv6Addr::UNSPECIFIED.into(), false),
                reuse: (false, false),
            };
            let peer = Some(Ipv6Addr::LOCALHOST.into());
            let port = PORT;
            let kept = hold(dual_stack, &Asked { state, peer, port })?;
            let new = socket(AddressFamily::INET, SocketType::STREAM, None)?;
            let error = bind(&new, &SocketAddr::from((Ipv4Addr::UNSPECIFIED, PORT))).err();
            ensure!(error == Some(Errno::ADDRINUSE), "{error:?}");
            Ok((kept, new))
        })?;
        let asked = (Ipv4Addr::UNSPECIFIED.into(), PORT);
        let failed = Attempt {
            fd: Some(refused.as_raw_fd()),
            options: Some(Options::default()),
            ..attempt(Op::Bind, libc::EADDRINUSE, &namespace, asked)
        };
        let cause = explain(&failed, &gather(&failed)?).context("no cause")?;
        ensure!(cause.code == code, "{cause:?}");
        ensure!(cause.text.contains("[::1]:10000 to [::1]:"), "{cause:?}");
        ensure!(
            cause.holders.iter().any(|holder| holder.state == state),
            "{cause:?}"
        );
    }
    Ok(())
}

fn kinds() -> impl Iterator<Item = Kind> {
    PLACES
        .into_iter()
        .flat_map(|place| REUSE.into_iter().map(move |reuse| Kind { place, reuse }))
}

/// By which addresses somebody connects; of a socket without connections, by none.
fn peers((ip, only): Place, state: SocketState) -> Vec<Option<IpAddr>> {
    let v4 = Some(IpAddr::V4(Ipv4Addr::LOCALHOST));
    let v6 = Some(IpAddr::V6(Ipv6Addr::LOCALHOST));
    match (state, ip, only) {
        (SocketState::Bound | SocketState::Listen, ..) => vec![None],
        (_, IpAddr::V4(_) | IpAddr::V6(MAPPED), _) => vec![v4],
        (_, IpAddr::V6(Ipv6Addr::UNSPECIFIED), false) => vec![v4, v6],
        (_, IpAddr::V6(_), _) => vec![v6],
    }
}

fn difference(held: Kind, asked: &Asked, new: Kind) -> Result<Option<String>> {
    let made = hold(held, asked)?;
    let socket = prepare(new)?;
    let is_refused = match bind(&socket, &SocketAddr::new(new.place.0, made.claim.port)) {
        Ok(()) => false,
        Err(Errno::ADDRINUSE) => true,
        Err(error) => bail!("{new:?}: {error}"),
    };
    let claim = claim(new, new.place.0, made.claim.port, SocketState::Bound);
    let expected = conflict(&claim, &made.claim);
    Ok((expected.is_some() != is_refused)
        .then(|| format!("{held:?} {asked:?}, then {new:?}: refused {is_refused}, {expected:?}")))
}

fn claim(kind: Kind, ip: IpAddr, port: u16, state: SocketState) -> Claim {
    Claim {
        transport: Transport::Tcp,
        ip,
        port,
        // A bind to an IPv6 address sets it, and what is accepted takes it over.
        v6only: Some(kind.place.1 || kind.place.0 == IpAddr::V6(Ipv6Addr::LOCALHOST)),
        reuseaddr: Some(kind.reuse.0),
        reuseport: Some(kind.reuse.1),
        ifindex: None,
        uid: Some(0),
        state,
    }
}

fn prepare(kind: Kind) -> Result<OwnedFd> {
    let (ip, only) = kind.place;
    let family = if ip.is_ipv4() {
        AddressFamily::INET
    } else {
        AddressFamily::INET6
    };
    let socket = socket(family, SocketType::STREAM, None)?;
    if ip.is_ipv6() {
        sockopt::set_ipv6_v6only(&socket, only)?;
    }
    sockopt::set_socket_reuseaddr(&socket, kind.reuse.0)?;
    sockopt::set_socket_reuseport(&socket, kind.reuse.1)?;
    Ok(socket)
}

fn hold(kind: Kind, &Asked { state, peer, port }: &Asked) -> Result<Held> {
    let socket = prepare(kind)?;
    bind(&socket, &SocketAddr::new(kind.place.0, port))?;
    if state == SocketState::Bound {
        return Ok(Held {
            claim: claim(kind, kind.place.0, port, state),
            _keep: vec![socket],
        });
    }
    listen(&socket, 1)?;
    let Some(peer) = peer else {
        return Ok(Held {
            claim: claim(kind, kind.place.0, port, state),
            _keep: vec![socket],
        });
    };
    let client = client(SocketAddr::new(peer, port))?;
    let accepted = accept(&socket)?;
    let own = SocketAddr::try_from(getsockname(&accepted)?)?;
    drop(socket);
    let keep = if state == SocketState::TimeWait {
        drop(accepted);
        // Its end has come, and the answer to it is on its way when this side closes as well.
        let read = read(&client, &mut [0_u8; 1])?;
        ensure!(read == 0, "{read} bytes");
        drop(client);
        Vec::new()
    } else {
        vec![client, accepted]
    };
    Ok(Held {
        claim: claim(kind, own.ip(), port, state),
        _keep: keep,
    })
}

fn client(to: SocketAddr) -> Result<OwnedFd> {
    let family = if to.is_ipv4() {
        AddressFamily::INET
    } else {
        AddressFamily::INET6
    };
    let client = socket(family, SocketType::STREAM, None)?;
    connect(&client, &to).with_context(|| to.to_string())?;
    Ok(client)
}
