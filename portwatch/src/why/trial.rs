//! The call itself, made on a new socket as the one who is asked about.

#[cfg(not(target_os = "linux"))]
mod elsewhere;
#[cfg(target_os = "linux")]
mod linux;

use std::{
    net::{IpAddr, SocketAddr},
    path::PathBuf,
};

use serde::{Deserialize, Serialize};

use super::subject::Identity;
use crate::errno::Errno;

/// What a trial is to do. It goes to a process of its own, for it changes who that is.
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is an option of its own"
)]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    pub connect: bool,
    pub udp: bool,
    pub ip: IpAddr,
    pub port: u16,
    pub scope_id: u32,
    pub reuseaddr: bool,
    pub reuseport: bool,
    pub freebind: bool,
    /// As the namespace has it, where nothing was asked for
    pub v6only: Option<bool>,
    pub device: Option<String>,
    /// Files that stand for the namespaces to enter
    pub netns: Option<PathBuf>,
    /// That of a process, whose ids it then numbers
    pub user_ns_of: Option<u32>,
    /// Who to become; nobody else where it is `None`
    pub identity: Option<Identity>,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tried {
    /// Which system call ended it: `socket`, `setsockopt`, `bind` or `connect`
    pub call: String,
    /// 0 or a negative errno
    pub ret: i32,
    /// The socket's own end afterwards
    pub local: Option<SocketAddr>,
}

impl Tried {
    pub fn errno(&self) -> Option<Errno> {
        Errno::from_ret(self.ret)
    }
}
