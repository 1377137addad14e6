//! The calls that are traced; all on loopback.

use std::{
    net::{Ipv4Addr, SocketAddrV4},
    os::fd::OwnedFd,
    time::Duration,
};

use anyhow::{Result, ensure};
use rustix::net::{
    AddressFamily, SocketType, accept, bind, connect, listen, socket, sockopt::set_socket_linger,
};

use crate::figures::Call;

const TAKEN: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::LOCALHOST, 8082);

/// What it takes to make them.
pub struct Calls {
    listener: OwnedFd,
}

impl Calls {
    pub fn new() -> Result<Self> {
        let listener = tcp()?;
        bind(&listener, &TAKEN)?;
        listen(&listener, 128)?;
        Ok(Self { listener })
    }

    /// Makes one, with its socket. A bind that is to succeed asks for `port`, and so does one that
    /// is to fail by itself.
    pub fn make(&self, call: Call, port: u16) -> Result<()> {
        let caller = tcp()?;
        match call {
            Call::Bind => bind(&caller, &SocketAddrV4::new(Ipv4Addr::LOCALHOST, port))?,
            Call::FailedBind => {
                ensure!(bind(&caller, &TAKEN).is_err(), "port 8082 is free");
            }
            Call::LoneFailedBind(_) => {
                let held = SocketAddrV4::new(Ipv4Addr::LOCALHOST, port);
                ensure!(bind(&caller, &held).is_err(), "port {port} is free");
            }
            Call::Connect => {
                // Both ends are gone at once: none waits in TIME_WAIT.
                set_socket_linger(&caller, Some(Duration::ZERO))?;
                connect(&caller, &TAKEN)?;
                drop(accept(&self.listener)?);
            }
        }
        Ok(())
    }
}

pub(super) fn tcp() -> Result<OwnedFd> {
    Ok(socket(AddressFamily::INET, SocketType::STREAM, None)?)
}
