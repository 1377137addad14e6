//! More pending connects than anybody remembers: the newest are kept, and what is forgotten is counted.

use std::{
    net::{Ipv4Addr, SocketAddrV4},
    os::fd::{AsRawFd as _, OwnedFd},
};

use anyhow::{Context as _, Result, bail, ensure};
use rustix::{
    io::Errno,
    net::{
        AddressFamily, SocketFlags, SocketType, bind, connect, getsockname, listen, socket,
        socket_with,
    },
    process::{Resource, Rlimit, setrlimit},
};

use super::super::{
    driver::Impossible,
    portwatch::{self, Portwatch},
    source::{self, Source},
    stream::Stream,
    sys,
};

/// More than the kernel's map has room for (28,672, and 128 for each CPU).
const MANY: usize = 30_000;
/// So many does portwatch wait for (docs/EVENTS.md).
const AWAITED: usize = 16_384;
/// So many are made before portwatch is waited for: few enough for the ring.
const BATCH: usize = 250;
/// A far end has ports for 28,000.
const FAR_ENDS: u8 = 4;

pub(super) fn too_many_are_forgotten_and_counted(source: Source) -> Result<()> {
    if source == Source::Tracepoint {
        return Err(Impossible("it does not tell how connects end".to_owned()).into());
    }
    if !source::is_emulated() {
        return Err(Impossible("only in the test kernels".to_owned()).into());
    }
    let mut portwatch = portwatch::start(source, &["--op", "connect", "--no-explain"])?;
    sys::in_own_netns(|| {
        // What is still open then ends unseen.
        let _open = crowd(&mut portwatch)?;
        is_accounted_for(&portwatch.stop()?)
    })
}

/// Begins them all, and ends three: the oldest, the newest, and one that is granted.
fn crowd(portwatch: &mut Portwatch) -> Result<Vec<OwnedFd>> {
    let limit = Some(MANY as u64 * 2);
    setrlimit(
        Resource::Nofile,
        Rlimit {
            current: limit,
            maximum: limit,
        },
    )?;
    let (full, addresses): (Vec<_>, Vec<_>) = (1..=FAR_ENDS)
        .map(full_listener)
        .collect::<Result<Vec<_>>>()?
        .into_iter()
        .unzip();
    let mut open = Vec::with_capacity(MANY);
    for address in addresses.iter().cycle().take(MANY) {
        open.push(begin(*address)?);
        if open.len() % BATCH == 0 {
            portwatch.wait_for(std::process::id(), full.len() + open.len())?;
        }
    }
    drop(open.swap_remove(0));
    // The last one is first now.
    drop(open.swap_remove(0));
    portwatch.wait_for_outcomes(std::process::id(), 1)?;
    let (listener, address) = listener(FAR_ENDS + 1, 1)?;
    let granted = begin(address)?;
    portwatch.wait_for_outcomes(std::process::id(), 2)?;
    open.extend(full.into_iter().flatten());
    open.extend([listener, granted]);
    Ok(open)
}

fn is_accounted_for(stream: &Stream) -> Result<()> {
    let own: Vec<_> = stream.of(std::process::id()).collect();
    let [.., newest, granted] = own[..] else {
        bail!("{} attempts", own.len());
    };
    let ends = [newest, granted].map(|attempt| stream.end_of(attempt).0);
    ensure!(ends == ["abandoned", "ok"], "{ends:?}");
    ensure!(stream.outcomes.len() == 2, "{:?}", stream.outcomes);
    let forgotten = (MANY - AWAITED) as u64;
    ensure!(
        stream
            .losses
            .iter()
            .all(|lost| lost.reason == "pending_full"),
        "{:?}",
        stream.losses
    );
    ensure!(stream.lost() == forgotten, "{} are lost", stream.lost());
    let summary = stream.summaries.last().context("no summary")?;
    let pending = &summary.pending;
    ensure!(
        pending["not_followed"] == forgotten && pending["not_over"] == AWAITED as u64 - 1,
        "{pending:?}"
    );
    Ok(())
}

/// A connect that nobody answers for now.
fn begin(address: SocketAddrV4) -> Result<OwnedFd> {
    let socket = socket_with(
        AddressFamily::INET,
        SocketType::STREAM,
        SocketFlags::NONBLOCK | SocketFlags::CLOEXEC,
        None,
    )?;
    match connect(&socket, &address) {
        Err(Errno::INPROGRESS) => Ok(socket),
        other => bail!("connect to {address}: {other:?}"),
    }
}

/// A listener that has no room for another connection, and so does not answer; with whoever fills it.
fn full_listener(host: u8) -> Result<([OwnedFd; 2], SocketAddrV4)> {
    let (listener, address) = listener(host, 0)?;
    let filler = socket(AddressFamily::INET, SocketType::STREAM, None)?;
    connect(&filler, &address)?;
    sys::wait_for_connection(listener.as_raw_fd())?;
    Ok(([listener, filler], address))
}

fn listener(host: u8, backlog: i32) -> Result<(OwnedFd, SocketAddrV4)> {
    let listener = socket(AddressFamily::INET, SocketType::STREAM, None)?;
    bind(
        &listener,
        &SocketAddrV4::new(Ipv4Addr::new(127, 0, 0, host), 0),
    )?;
    listen(&listener, backlog)?;
    let address = SocketAddrV4::try_from(getsockname(&listener)?)?;
    Ok((listener, address))
}
