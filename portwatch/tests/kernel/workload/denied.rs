//! Attempts that somebody denies: a security module, cgroup BPF, seccomp.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4},
};

use anyhow::{Context as _, Result, bail, ensure};

use super::super::{
    cgroup_bpf::{Cgroup, Hook, Verdict},
    sys,
    truth::{Op, Truth},
};
use super::{
    connect::listener,
    recorder::{LOOPBACK, Recorder, Try, impossible},
    socket::Socket,
};

/// Network rules since this version of Landlock's interface.
pub(super) const LANDLOCK_NETWORK: i64 = 4;

/// Nothing of files, binding and connecting by TCP.
pub(super) const BY_TCP: [u64; 2] = [0, 0b11];

/// Landlock, with no port allowed.
pub(super) fn by_landlock(recorder: &Recorder) -> Result<()> {
    sys::enter_own_netns()?;
    let (_listener, listening) = listener(recorder, 8)?;
    match landlock_version() {
        Ok(LANDLOCK_NETWORK..) => restrict(BY_TCP)?,
        Ok(version) => return impossible(format!("Landlock {version} knows no network")),
        Err(error) => return impossible(format!("no Landlock: {error}")),
    }
    let ipv6 = SocketAddr::new(IpAddr::V6(Ipv6Addr::LOCALHOST), 7000);
    for (op, address) in [
        (Op::Bind, SocketAddr::new(LOOPBACK, 7000)),
        (Op::Bind, ipv6),
        (Op::Connect, listening),
    ] {
        let socket = Socket::tcp(address)?;
        let what = Try::of("denied by Landlock", op, &socket, address);
        let mut truth = recorder.attempted(&what, -libc::EACCES)?;
        truth.stages = Some("lsm -13 by landlock".to_owned());
        recorder.write(out_of_reach(truth))?;
    }
    let datagrams = Socket::udp4()?;
    recorder.bind(
        "Landlock knows only TCP",
        &datagrams,
        SocketAddr::new(LOOPBACK, 7000),
        0,
    )
}

/// The protocol was not asked.
fn out_of_reach(mut truth: Truth) -> Truth {
    if let Some(socket) = &mut truth.socket {
        socket.reached = false;
    }
    truth
}

pub(crate) fn landlock_version() -> io::Result<i64> {
    const VERSION: u32 = 1;
    // SAFETY: without a ruleset the call only returns a number.
    let version = unsafe {
        libc::syscall(
            libc::SYS_landlock_create_ruleset,
            std::ptr::null::<u8>(),
            0_usize,
            VERSION,
        )
    };
    if version < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(version)
    }
}

/// `struct landlock_ruleset_attr` of what is allowed nowhere: of files, and of TCP.
pub(crate) fn restrict(attributes: [u64; 2]) -> Result<()> {
    // SAFETY: the attributes are as long as is said.
    let ruleset = unsafe {
        libc::syscall(
            libc::SYS_landlock_create_ruleset,
            attributes.as_ptr(),
            size_of_val(&attributes),
            0,
        )
    };
    ensure!(ruleset >= 0, "{}", io::Error::last_os_error());
    no_new_privileges()?;
    // SAFETY: the call takes two numbers.
    match unsafe { libc::syscall(libc::SYS_landlock_restrict_self, ruleset, 0) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()).context("landlock_restrict_self"),
    }
}

pub(super) fn no_new_privileges() -> Result<()> {
    rustix::thread::set_no_new_privs(true).context("PR_SET_NO_NEW_PRIVS")
}

/// seccomp, which lets neither come to its function.
pub(super) fn by_seccomp(recorder: &Recorder) -> Result<()> {
    sys::enter_own_netns()?;
    let (_listener, listening) = listener(recorder, 8)?;
    no_new_privileges()?;
    filter_system_calls()?;
    for (op, address) in [
        (Op::Bind, SocketAddr::new(LOOPBACK, 7000)),
        (Op::Connect, listening),
    ] {
        let socket = Socket::tcp4()?;
        let what = Try::of("denied by seccomp", op, &socket, address);
        let mut truth = recorder.attempted(&what, -libc::EPERM)?;
        truth.seccomp = true;
        recorder.write(out_of_reach(truth))?;
    }
    Ok(())
}

pub(super) fn filter_system_calls() -> Result<()> {
    install(&mut [
        word(SYSTEM_CALL),
        equals(u32::try_from(libc::SYS_bind)?, 2),
        equals(u32::try_from(libc::SYS_connect)?, 1),
        ret(libc::SECCOMP_RET_ALLOW),
        refuse(libc::EPERM),
    ])
}

/// To the calling thread, a kernel without IPv6.
pub(crate) fn hide_ipv6() -> Result<()> {
    no_new_privileges()?;
    install(&mut [
        word(SYSTEM_CALL),
        equals(u32::try_from(libc::SYS_socket)?, 1),
        ret(libc::SECCOMP_RET_ALLOW),
        word(FIRST_ARGUMENT),
        equals(libc::AF_INET6.cast_unsigned(), 1),
        ret(libc::SECCOMP_RET_ALLOW),
        refuse(libc::EAFNOSUPPORT),
    ])
}

/// Offsets in `struct seccomp_data`; of an argument, the low half.
const SYSTEM_CALL: u32 = 0;
const FIRST_ARGUMENT: u32 = 16;

fn word(offset: u32) -> libc::sock_filter {
    filter(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, offset)
}

fn equals(number: u32, skip: u8) -> libc::sock_filter {
    filter(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, skip, number)
}

fn ret(action: u32) -> libc::sock_filter {
    filter(libc::BPF_RET | libc::BPF_K, 0, action)
}

fn refuse(errno: i32) -> libc::sock_filter {
    ret(libc::SECCOMP_RET_ERRNO | errno.cast_unsigned())
}

fn install(program: &mut [libc::sock_filter]) -> Result<()> {
    let filter = libc::sock_fprog {
        len: u16::try_from(program.len())?,
        filter: program.as_mut_ptr(),
    };
    // SAFETY: the kernel copies the program, whose length is said.
    let result = unsafe {
        libc::prctl(
            libc::PR_SET_SECCOMP,
            libc::SECCOMP_MODE_FILTER,
            &raw const filter,
        )
    };
    match result {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()).context("PR_SET_SECCOMP"),
    }
}

fn filter(code: u32, skip: u8, k: u32) -> libc::sock_filter {
    libc::sock_filter {
        // The codes fit in their field; libc has them wider.
        code: u16::try_from(code).unwrap_or(u16::MAX),
        jt: skip,
        jf: 0,
        k,
    }
}

/// cgroup BPF programs that refuse, or change the address.
pub(super) fn by_cgroup(recorder: &Recorder) -> Result<()> {
    sys::enter_own_netns()?;
    let cgroup = match Cgroup::enter() {
        Ok(cgroup) => cgroup,
        Err(error) => return impossible(format!("{error:#}")),
    };
    let (_listener, listening) = listener(recorder, 8)?;
    for (hook, op) in [
        (Hook::Bind, Op::Bind),
        (Hook::PostBind, Op::Bind),
        (Hook::Connect, Op::Connect),
    ] {
        // The socket kept its port then, and getsockname() did not tell.
        if hook == Hook::PostBind && sys::is_before(5, 17)? {
            continue;
        }
        let attached = match cgroup.attach(hook, Verdict::Refuse) {
            Ok(attached) => attached,
            Err(error) => return impossible(format!("{error:#}")),
        };
        for socket in [Socket::tcp4()?, Socket::udp4()?] {
            let address = if op == Op::Bind {
                SocketAddr::new(LOOPBACK, 7000)
            } else {
                listening
            };
            let case = format!("denied by cgroup BPF program {}", hook as u32);
            let what = Try::of(&case, op, &socket, address);
            let mut truth = recorder.attempted(&what, -libc::EPERM)?;
            truth.stages = Some("cgroup -1, operation -1".to_owned());
            recorder.write(truth)?;
        }
        drop(attached);
    }
    rewritten(recorder, &cgroup, listening)
}

fn rewritten(recorder: &Recorder, cgroup: &Cgroup, listening: SocketAddr) -> Result<()> {
    let SocketAddr::V4(listening) = listening else {
        bail!("the listener has no IPv4 address");
    };
    let other = SocketAddrV4::new(Ipv4Addr::new(127, 0, 0, 2), 7500);
    let asked = SocketAddr::new(LOOPBACK, 7000);
    for (hook, op, changed) in [
        (Hook::Bind, Op::Bind, other),
        (Hook::Connect, Op::Connect, listening),
    ] {
        let _attached = cgroup.attach(hook, Verdict::Rewrite(changed))?;
        let sockets = [Socket::tcp4()?, Socket::udp4()?];
        for socket in &sockets {
            let what = Try::of("rewritten by cgroup BPF", op, socket, asked);
            let mut truth = recorder.attempted(&what, 0)?;
            truth.effective = Some(changed.into());
            recorder.write(truth)?;
        }
        if op == Op::Bind {
            let late = Socket::tcp4()?;
            let what = Try::of("rewritten to what is taken", op, &late, asked);
            let mut truth = recorder.attempted(&what, -libc::EADDRINUSE)?;
            truth.effective = Some(changed.into());
            truth.stages = Some("cgroup 0, operation -98, get_port -98".to_owned());
            recorder.write(truth)?;
        }
    }
    Ok(())
}
