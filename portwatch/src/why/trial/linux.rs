//! Processes of Linux, which become the one who is asked about.

use std::{
    fs::File,
    io,
    net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV6},
    os::fd::{AsFd as _, OwnedFd},
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use rustix::{
    net::{AddressFamily, SocketFlags, SocketType, sockopt},
    thread::{CapabilitySet, CapabilitySets, Gid, LinkNameSpaceType, Uid},
};

use super::{Identity, Order, Tried};
use crate::facts::Credentials;

/// A connect is waited for that long.
const PATIENCE: Duration = Duration::from_secs(5);

/// Without an answer TCP gives up before that, with the error that it always ends in.
const TCP_PATIENCE: Duration = Duration::from_secs(4);

impl Order {
    /// Has it carried out by a process of its own.
    pub fn carry_out(&self) -> Result<Tried> {
        let order = serde_json::to_string(self)?;
        // Itself, also where the file has been replaced since.
        let output = Command::new("/proc/self/exe")
            .args(["why-trial", &order])
            .stdin(Stdio::null())
            .output()
            .context("cannot start a process for the trial")?;
        ensure!(
            output.status.success(),
            "the trial could not be made: {}",
            String::from_utf8_lossy(&output.stderr)
                .trim()
                .trim_start_matches("portwatch: ")
        );
        serde_json::from_slice(&output.stdout).context("the trial did not say how it ended")
    }

    /// Becomes the one who is asked about, and makes the call. The calling thread stays who it
    /// has become.
    pub fn perform(&self) -> Result<Tried> {
        self.enter().context("cannot enter the namespace")?;
        // The ids of a process have other numbers in another user namespace.
        let identity = match self.user_ns_of {
            Some(tgid) => Some(of_process(tgid).context("the process is gone")?),
            None => self.identity,
        };
        if let Some(identity) = identity {
            become_(identity).with_context(|| format!("cannot become uid {}", identity.uid))?;
        }
        Ok(self.call())
    }

    /// The network namespace first: in the user namespace there may be no right to enter it.
    fn enter(&self) -> io::Result<()> {
        let net = self.netns.as_ref().map(File::open).transpose()?;
        let user = self
            .user_ns_of
            .map(|tgid| File::open(format!("/proc/{tgid}/ns/user")))
            .transpose()?;
        let enter =
            |file: &File, kind| rustix::thread::move_into_link_name_space(file.as_fd(), Some(kind));
        if let Some(net) = &net {
            enter(net, LinkNameSpaceType::Network)?;
        }
        if let Some(user) = &user {
            enter(user, LinkNameSpaceType::User)?;
        }
        Ok(())
    }

    fn call(&self) -> Tried {
        let mut call = "socket";
        let result = self.socket().and_then(|socket| {
            call = "setsockopt";
            self.set(&socket)?;
            call = if self.connect { "connect" } else { "bind" };
            if self.connect {
                rustix::net::connect(&socket, &self.address())?;
            } else {
                rustix::net::bind(&socket, &self.address())?;
            }
            let local = rustix::net::getsockname(&socket)?;
            Ok(SocketAddr::try_from(local).ok())
        });
        Tried {
            call: call.to_owned(),
            ret: result.as_ref().err().map_or(0, number),
            local: result.ok().flatten(),
        }
    }

    fn socket(&self) -> io::Result<OwnedFd> {
        let family = if self.ip.is_ipv4() {
            AddressFamily::INET
        } else {
            AddressFamily::INET6
        };
        let kind = if self.udp {
            SocketType::DGRAM
        } else {
            SocketType::STREAM
        };
        Ok(rustix::net::socket_with(
            family,
            kind,
            SocketFlags::CLOEXEC,
            None,
        )?)
    }

    fn set(&self, socket: &OwnedFd) -> io::Result<()> {
        if self.reuseaddr {
            sockopt::set_socket_reuseaddr(socket, true)?;
        }
        if self.reuseport {
            sockopt::set_socket_reuseport(socket, true)?;
        }
        if self.freebind && self.ip.is_ipv4() {
            sockopt::set_ip_freebind(socket, true)?;
        } else if self.freebind {
            sockopt::set_ipv6_freebind(socket, true)?;
        }
        if let (Some(v6only), IpAddr::V6(_)) = (self.v6only, self.ip) {
            sockopt::set_ipv6_v6only(socket, v6only)?;
        }
        if let Some(device) = &self.device {
            device::bind_to(socket.as_fd(), device)?;
        }
        if self.connect {
            sockopt::set_socket_timeout(socket, sockopt::Timeout::Send, Some(PATIENCE))?;
        }
        if self.connect && !self.udp {
            let timeout = u32::try_from(TCP_PATIENCE.as_millis()).unwrap_or(u32::MAX);
            sockopt::set_tcp_user_timeout(socket, timeout)?;
        }
        Ok(())
    }

    fn address(&self) -> SocketAddr {
        match self.ip {
            IpAddr::V4(ip) => (ip, self.port).into(),
            IpAddr::V6(ip) => scoped(ip, self.port, self.scope_id).into(),
        }
    }
}

const fn scoped(ip: Ipv6Addr, port: u16, scope_id: u32) -> SocketAddrV6 {
    SocketAddrV6::new(ip, port, 0, scope_id)
}

/// Of a process, in the numbering of the user namespace that the calling thread is in.
fn of_process(tgid: u32) -> Option<Identity> {
    let Credentials {
        uid,
        gid,
        cap_effective,
        ..
    } = Credentials::of_pid(tgid)?;
    Some(Identity {
        uid: uid.effective,
        gid: gid.effective,
        cap_effective,
    })
}

/// As the kernel returned it.
fn number(error: &io::Error) -> i32 {
    error.raw_os_error().map_or(0, std::ops::Neg::neg)
}

/// The calling thread only: the kernel keeps who one is for each thread.
///
/// Supplementary groups stay: nothing that a bind or connect asks depends on them, and some user
/// namespaces do not let them go.
fn become_(identity: Identity) -> io::Result<()> {
    let Identity {
        uid,
        gid,
        cap_effective,
    } = identity;
    let (user, group) = (Uid::from_raw(uid), Gid::from_raw(gid));
    rustix::thread::set_keep_capabilities(true)?;
    rustix::thread::set_thread_res_gid(group, group, group)?;
    rustix::thread::set_thread_res_uid(user, user, user)?;
    let wanted = CapabilitySet::from_bits_retain(cap_effective);
    let sets = CapabilitySets {
        effective: wanted,
        permitted: wanted,
        inheritable: CapabilitySet::empty(),
    };
    Ok(rustix::thread::set_capabilities(None, sets)?)
}

#[expect(unsafe_code, reason = "rustix has no name for this option")]
mod device {
    use std::{
        io,
        os::fd::{AsRawFd as _, BorrowedFd},
    };

    /// `SO_BINDTODEVICE`
    pub(super) fn bind_to(socket: BorrowedFd<'_>, name: &str) -> io::Result<()> {
        let length = libc::socklen_t::try_from(name.len()).map_err(io::Error::other)?;
        // SAFETY: the kernel reads that many bytes from there.
        let result = unsafe {
            libc::setsockopt(
                socket.as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_BINDTODEVICE,
                name.as_ptr().cast(),
                length,
            )
        };
        match result {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }
}
