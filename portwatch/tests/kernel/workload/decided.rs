//! Attempts about which the kernel itself decides, by the socket's state and the caller's credentials.

use std::{
    net::{Ipv4Addr, SocketAddr},
    os::unix::fs::MetadataExt as _,
};

use anyhow::{Context as _, Result};
use rustix::{
    net::sockopt,
    thread::{UnshareFlags, unshare_unsafe},
};

use super::super::{
    sys,
    truth::{Op, Truth},
};
use super::{
    USER,
    recorder::{LOOPBACK, Recorder, Try},
    socket::Socket,
};

/// To every host of loopback's network.
const BROADCAST: Ipv4Addr = Ipv4Addr::new(127, 255, 255, 255);
/// Needs a privilege.
const LOW: SocketAddr = SocketAddr::new(LOOPBACK, 80);
/// `CapEff` of an ordinary user
const NO_CAPABILITIES: &str = "0000000000000000";

pub(super) fn by_state_and_credentials(recorder: &Recorder) -> Result<()> {
    sys::enter_own_netns()?;
    let (closed, far) = (
        SocketAddr::new(LOOPBACK, 7002),
        SocketAddr::from((BROADCAST, 7000)),
    );
    let of_root = Socket::tcp4()?;
    sys::become_user(USER)?;
    let net = Owner::current(0, 0)?;
    let what = Try::of("another's socket", Op::Connect, &of_root, closed);
    let mut truth = recorder.attempted(&what, -libc::ECONNREFUSED)?;
    truth.stages = Some("operation -111, connect 0, syn sent".to_owned());
    truth.before = Some(format!("state 7, socket_state 1, port 0, uid 0, {net}"));
    recorder.write(truth)?;
    let datagrams = Socket::udp4()?;
    let capabilities = format!(
        "{net}, user_ns {}, level 0, cap {NO_CAPABILITIES}",
        net.inode
    );
    let what = Try::of("not to everybody", Op::Connect, &datagrams, far);
    let mut truth = recorder.attempted(&what, -libc::EACCES)?;
    truth.before = Some(format!(
        "state 7, socket_state 1, port 0, uid {USER}, {capabilities}"
    ));
    recorder.write(truth)?;
    sockopt::set_socket_broadcast(&datagrams, true)?;
    recorder.connect("to everybody", &datagrams, far, 0)?;
    in_a_user_namespace(recorder, &net)
}

/// All capabilities, which count for a low port only in a network namespace of one's own.
fn in_a_user_namespace(recorder: &Recorder, net: &Owner) -> Result<()> {
    unshare(UnshareFlags::NEWUSER)?;
    let own = Owner::current(1, USER)?;
    let all = all_capabilities()?;
    let capabilities = format!("user_ns {}, level 1, cap {all}", own.inode);
    let socket = Socket::tcp4()?;
    let mut truth = attempted(
        recorder,
        "in the namespace of others",
        &socket,
        -libc::EACCES,
    )?;
    truth.before = Some(format!(
        "state 7, socket_state 1, port 0, uid {USER}, {net}, {capabilities}"
    ));
    recorder.write(truth)?;
    unshare(UnshareFlags::NEWNET)?;
    let socket = Socket::tcp4()?;
    let address = SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), LOW.port());
    let what = Try::of("in a namespace of one's own", Op::Bind, &socket, address);
    let mut truth = as_user(recorder.attempted(&what, 0)?);
    truth.before = Some(format!("{own}, {capabilities}"));
    recorder.write(truth)
}

fn attempted(recorder: &Recorder, case: &str, socket: &Socket, expected: i32) -> Result<Truth> {
    let what = Try::of(case, Op::Bind, socket, LOW);
    recorder.attempted(&what, expected).map(as_user)
}

/// The host's numbers are those of before: the user namespace maps nobody.
fn as_user(mut truth: Truth) -> Truth {
    (truth.caller.uid, truth.caller.euid, truth.caller.gid) = (USER, USER, USER);
    truth
}

/// Whose a network namespace is.
struct Owner {
    inode: u64,
    level: u32,
    uid: u32,
}

impl Owner {
    /// The user namespace that this process is in.
    fn current(level: u32, uid: u32) -> Result<Self> {
        let inode = std::fs::metadata("/proc/thread-self/ns/user")?.ino();
        Ok(Self { inode, level, uid })
    }
}

impl std::fmt::Display for Owner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { inode, level, uid } = self;
        write!(
            f,
            "port_start 1024, net_user_ns {inode}, level {level}, owner {uid}"
        )
    }
}

fn unshare(what: UnshareFlags) -> Result<()> {
    // SAFETY: of the flags only FILES is dangerous.
    unsafe { unshare_unsafe(what) }.with_context(|| format!("unshare({what:?})"))
}

/// As /proc/PID/status has them.
fn all_capabilities() -> Result<String> {
    let status = std::fs::read_to_string("/proc/thread-self/status")?;
    let held = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    Ok(held.context("no CapEff")?.trim().to_owned())
}
