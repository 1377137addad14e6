//! What is looked up about an attempt, and within which bounds.

use std::{
    net::{Ipv4Addr, TcpListener},
    os::fd::AsRawFd as _,
};

use anyhow::{Context as _, Result, ensure};
use portwatch::{
    event::{Attempt, Op},
    explain::{Facts, Ports, Skipped},
    facts::{Credentials, Gatherer, Namespace},
};

use super::{attempt, prepared};
use crate::kernel::sys;

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
    let facts = Gatherer::new().gather(&failed);
    ensure!(
        facts.skipped.is_none() && facts.holders.is_some(),
        "{facts:?}"
    );
    // By the number of another socket it is not found.
    let elsewhere = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let wrong = Attempt {
        fd: Some(elsewhere.as_raw_fd()),
        ..failed
    };
    let facts = Gatherer::new().gather(&wrong);
    ensure!(facts.skipped == Some(Skipped::Namespace), "{facts:?}");
    drop(listener);
    Ok(())
}

pub(super) fn port_in_use() -> Result<()> {
    let (listener, failed) = in_use()?;
    let mut gatherer = Gatherer::new();
    let first = gatherer.gather(&failed);
    ensure!(first.ports.is_some() && first.taken.is_some(), "{first:?}");
    let holders = first.holders.as_deref().context("no holders")?;
    ensure!(holders.len() == 1, "{first:?}");
    ensure!(
        first.address.is_none() && first.route.is_none(),
        "{first:?}"
    );
    // Asked again at once it is the same answer, though the holder is gone; asked anew it is not.
    let socket = rustix::io::dup(&listener)?;
    let again = gatherer.gather(&failed);
    ensure!(again == first, "{again:?}");
    drop((listener, socket));
    let again = gatherer.gather(&failed);
    ensure!(again == first, "{again:?}");
    Ok(())
}

pub(super) fn without_privileges() -> Result<()> {
    let (listener, failed) = in_use()?;
    let facts = std::thread::spawn(move || -> Result<Facts> {
        sys::become_user(65_534)?;
        Ok(Gatherer::new().gather(&failed))
    });
    let facts = facts.join().ok().context("the thread panicked")??;
    ensure!(facts.skipped == Some(Skipped::Namespace), "{facts:?}");
    ensure!(
        facts.holders.is_none() && facts.taken.is_none(),
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
    ensure!(Gatherer::new().gather(&fine) == Facts::default());
    drop(listener);
    Ok(())
}
