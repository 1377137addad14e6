//! What is looked up about an attempt, and within which bounds.

use std::{
    net::{Ipv4Addr, TcpListener, UdpSocket},
    os::fd::AsRawFd as _,
};

use anyhow::{Context as _, Result, ensure};
use portwatch::{
    event::{Attempt, AttemptId, Comm, Holders, Op, Requested, Unseen},
    explain::{self, Facts, Ports},
    facts::{Credentials, Gatherer, Inquiry, Namespace},
    sockets::holder::Witness,
};

use super::{UDP, attempt, prepared};
use crate::kernel::sys;

/// All that is looked up about an attempt by somebody who has seen nothing before.
pub(super) fn gather(attempt: &Attempt) -> Result<Facts> {
    let ret = attempt.ret.context("it has not returned")?;
    let inquiry = Inquiry::new(attempt, ret, &Witness::default()).context("nothing helps")?;
    let mut facts = Facts::default();
    let mut gatherer = Gatherer::new(None);
    if !gatherer.recall(&inquiry, &mut facts) {
        gatherer.gather(&inquiry, true, &mut facts);
    }
    Ok(facts)
}

/// The network namespace was not found: nobody is in it, or somebody who may not be looked at.
fn is_not_found(holders: &Holders) -> bool {
    let why = [Unseen::Gone, Unseen::Permission].map(Holders::not_seen);
    why.contains(holders)
}

/// A port that is in use, and an attempt to bind it.
fn in_use() -> Result<(TcpListener, Attempt)> {
    let (namespace, listener) = prepared(|| {
        sys::set_net("ipv4/ip_local_port_range", "20000 20099")?;
        Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?)
    })?;
    let asked = (Ipv4Addr::LOCALHOST.into(), listener.local_addr()?.port());
    let failed = Attempt {
        fd: Some(listener.as_raw_fd()),
        ..attempt(Op::Bind, libc::EADDRINUSE, &namespace, asked)
    };
    Ok((listener, failed))
}

pub(super) fn settings() -> Result<()> {
    let (namespace, ()) = prepared(|| {
        sys::set_net("ipv4/ip_local_port_range", "20000 20099")?;
        sys::set_net("ipv4/ip_unprivileged_port_start", "80")
    })?;
    let ports = Ports {
        first: 20_000,
        last: 20_099,
    };
    ensure!(namespace.ports() == Some(ports));
    ensure!(namespace.threshold() == Some(80));
    let own = Namespace::own()?;
    ensure!(own.ports() != Some(ports) && own.threshold() != Some(80));
    ensure!(namespace.owner().is_some() && namespace.owner() == own.owner());
    Ok(())
}

pub(super) fn credentials() -> Result<()> {
    const USER: u32 = 12_345;
    let own = Credentials::of_pid(std::process::id()).context("no credentials")?;
    let mut child = std::os::unix::process::CommandExt::uid(
        std::process::Command::new("busybox").args(["sleep", "1000"]),
        USER,
    )
    .spawn()?;
    let found = Credentials::of_pid(child.id());
    child.kill()?;
    child.wait()?;
    let found = found.context("no credentials")?;
    ensure!(
        (found.uid.real, found.uid.effective) == (USER, USER),
        "{found:?}"
    );
    ensure!(
        found.cap_effective == 0 && found.cap_ambient == 0,
        "{found:?}"
    );
    ensure!(found.cap_bounding == own.cap_bounding, "{found:?}");
    ensure!(
        found.user_ns.is_some() && found.user_ns == own.user_ns,
        "{found:?}"
    );
    ensure!(found.no_new_privs == Some(false), "{found:?}");
    Ok(())
}

/// No process is in the namespace: only the attempt's socket leads there.
pub(super) fn without_process() -> Result<()> {
    let (listener, failed) = in_use()?;
    let facts = gather(&failed)?;
    ensure!(facts.holders.found.len() == 1, "{facts:?}");
    // By the number of another socket it is not found.
    let elsewhere = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let wrong = Attempt {
        fd: Some(elsewhere.as_raw_fd()),
        ..failed
    };
    let facts = gather(&wrong)?;
    ensure!(is_not_found(&facts.holders), "{facts:?}");
    drop(listener);
    Ok(())
}

pub(super) fn port_in_use() -> Result<()> {
    let (listener, failed) = in_use()?;
    let first = gather(&failed)?;
    ensure!(first.taken.is_some(), "{first:?}");
    ensure!(first.holders.found.len() == 1, "{first:?}");
    ensure!(!first.route.is_found(), "{first:?}");
    // Asked anew, the holder is gone.
    drop(listener);
    let again = gather(&failed)?;
    ensure!(is_not_found(&again.holders), "{again:?}");
    Ok(())
}

pub(super) fn without_privileges() -> Result<()> {
    let (listener, failed) = in_use()?;
    let facts = std::thread::spawn(move || -> Result<Facts> {
        sys::become_user(65_534)?;
        gather(&failed)
    });
    let facts = facts.join().ok().context("the thread panicked")??;
    ensure!(is_not_found(&facts.holders), "{facts:?}");
    ensure!(
        facts.holders.found.is_empty() && facts.taken.is_none(),
        "{facts:?}"
    );
    drop(listener);
    Ok(())
}

pub(super) fn of_success() -> Result<()> {
    let (listener, failed) = in_use()?;
    let fine = Attempt {
        ret: Some(0),
        ..failed
    };
    ensure!(Inquiry::new(&fine, 0, &Witness::default()).is_none());
    drop(listener);
    Ok(())
}

/// A connect that was refused, though somebody listens on another address of this host.
pub(super) fn refused_here() -> Result<()> {
    let (listener, failed) = in_use()?;
    let asked = failed.requested.context("no address")?;
    let refused = |ip: std::net::IpAddr| Attempt {
        op: Op::Connect,
        ret: Some(-libc::ECONNREFUSED),
        requested: Some(Requested { ip, ..asked }),
        ..failed.clone()
    };
    let facts = gather(&refused([127, 0, 0, 2].into()))?;
    let holders = &facts.holders.found;
    ensure!(holders.len() == 1 && holders[0].ip == asked.ip, "{facts:?}");
    // Of another host nothing is known.
    let facts = gather(&refused([192, 0, 2, 1].into()))?;
    ensure!(
        facts.holders == Holders::default() && facts.route.is_found(),
        "{facts:?}"
    );
    drop(listener);
    Ok(())
}

/// A source that sees neither the settings nor the credentials leaves them to be looked up.
pub(super) fn low_port() -> Result<()> {
    let (namespace, socket) = prepared(|| {
        sys::set_net("ipv4/ip_unprivileged_port_start", "81")?;
        Ok(UdpSocket::bind((Ipv4Addr::LOCALHOST, 80))?)
    })?;
    let comm = std::fs::read("/proc/thread-self/comm")?;
    let mut name = [0; 16];
    let len = comm.len() - 1;
    name[..len].copy_from_slice(&comm[..len]);
    let tid = rustix::thread::gettid().as_raw_nonzero().get();
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    let failed = Attempt {
        id: AttemptId {
            start_ns: u64::try_from(now.tv_sec * 1_000_000_000 + now.tv_nsec)?,
            tid: u32::try_from(tid)?,
        },
        tid: u32::try_from(tid)?,
        comm: Comm::new(name),
        proto: Some(UDP),
        fd: Some(socket.as_raw_fd()),
        ..attempt(
            Op::Bind,
            libc::EACCES,
            &namespace,
            (Ipv4Addr::LOCALHOST.into(), 80),
        )
    };
    let own = Credentials::of_pid(std::process::id()).context("no credentials")?;
    let facts = gather(&failed)?;
    ensure!(facts.unprivileged_port_start == Some(81), "{facts:?}");
    let found = facts.credentials.with_context(|| format!("{facts:?}"))?;
    ensure!(found.cap_effective == own.cap_effective, "{found:?}");
    ensure!(Some(found.user_ns) == own.user_ns, "{found:?}");
    ensure!(
        facts.namespace == Some(explain::Namespace::Other),
        "{facts:?}"
    );
    let holders = facts.holders.found;
    ensure!(holders.len() == 1, "it is in use, too: {holders:?}");
    Ok(())
}
