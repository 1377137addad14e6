//! Listeners that do not answer a connect, and what is said of them.

use std::{
    net::{Ipv4Addr, SocketAddr, TcpStream},
    os::fd::{AsRawFd as _, OwnedFd},
};

use anyhow::{Context as _, Result, ensure};
use portwatch::{
    event::{AcceptQueue, Attempt, Cause, Code, Confidence, Op},
    explain::explain,
    facts::Namespace,
};
use rustix::{
    io::Errno,
    net::{AddressFamily, SocketType, bind, connect, getsockname, listen, socket, sockopt},
};

use super::{attempt, gatherer::gather, interface, ip, prepared};
use crate::kernel::sys;

/// TCP asks twice within this, and no more (`tcp_write_timeout`, net/ipv4/tcp_timer.c).
const PATIENCE_MS: u32 = 500;

fn tcp() -> Result<OwnedFd> {
    Ok(socket(AddressFamily::INET, SocketType::STREAM, None)?)
}

fn listener(device: Option<&str>, backlog: i32) -> Result<(OwnedFd, SocketAddr)> {
    let listener = tcp()?;
    if let Some(device) = device {
        sys::bind_to_device(&listener, device)?;
    }
    bind(&listener, &SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)))?;
    listen(&listener, backlog)?;
    let port = SocketAddr::try_from(getsockname(&listener)?)?.port();
    Ok((listener, (Ipv4Addr::LOCALHOST, port).into()))
}

/// A socket that could not connect, with the error.
fn refused(to: SocketAddr) -> Result<(OwnedFd, Errno)> {
    let client = tcp()?;
    sockopt::set_tcp_user_timeout(&client, PATIENCE_MS)?;
    let error = connect(&client, &to).err().context("it is connected")?;
    Ok((client, error))
}

/// What is said of a connect of this process that ended like that.
fn said(
    namespace: &Namespace,
    to: SocketAddr,
    (client, error): &(OwnedFd, Errno),
) -> Result<Cause> {
    let failed = Attempt {
        fd: Some(client.as_raw_fd()),
        reset: *error == Errno::CONNREFUSED,
        ..attempt(
            Op::Connect,
            error.raw_os_error(),
            namespace,
            (to.ip(), to.port()),
        )
    };
    let cause = explain(&failed, &gather(&failed)?).context("no cause")?;
    Ok(*cause)
}

/// The one holder that is named is a socket of this process.
fn names_this_process(cause: &Cause) -> Result<Option<AcceptQueue>> {
    let [holder] = &cause.holders[..] else {
        anyhow::bail!("not one holder: {cause:?}");
    };
    let process = holder.process.as_ref().found().context("no process")?;
    ensure!(process.tgid == std::process::id(), "{cause:?}");
    let pid = format!("(pid {}", process.tgid);
    ensure!(cause.text.contains(&pid), "{cause:?}");
    Ok(holder.queue)
}

pub(super) fn without_room() -> Result<()> {
    for backlog in [0, 1] {
        let (namespace, (_kept, to, client)) = prepared(|| {
            let (listener, to) = listener(None, backlog)?;
            // One more than the backlog has room.
            let waiting = (0..=backlog).map(|_| TcpStream::connect(to));
            let waiting: Vec<_> = waiting.collect::<Result<_, _>>()?;
            Ok(((listener, waiting), to, refused(to)?))
        })?;
        ensure!(client.1 == Errno::TIMEDOUT, "{}", client.1);
        let cause = said(&namespace, to, &client)?;
        let judged = (cause.code, cause.confidence);
        ensure!(
            judged == (Code::AcceptQueueFull, Confidence::Checked),
            "{cause:?}"
        );
        let backlog = u32::try_from(backlog)?;
        let queue = AcceptQueue {
            waiting: backlog + 1,
            backlog,
        };
        ensure!(names_this_process(&cause)? == Some(queue), "{cause:?}");
        ensure!(!format!("{cause:?}").contains("firewall"), "{cause:?}");
    }
    Ok(())
}

pub(super) fn on_another_interface() -> Result<()> {
    let (namespace, (_kept, to, client)) = prepared(|| {
        interface("d0", "dummy")?;
        ip("link set d0 up")?;
        let (listener, to) = listener(Some("d0"), 8)?;
        Ok((listener, to, refused(to)?))
    })?;
    ensure!(client.1 == Errno::CONNREFUSED, "{}", client.1);
    let cause = said(&namespace, to, &client)?;
    names_this_process(&cause)?;
    for part in ["only for what comes in by interface", "SO_BINDTODEVICE"] {
        ensure!(cause.text.contains(part), "{cause:?}");
    }
    ensure!(!cause.text.contains("nobody"), "{cause:?}");
    Ok(())
}
