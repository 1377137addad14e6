//! The names of network interfaces.

use std::os::{fd::OwnedFd, linux::fs::MetadataExt as _};

use rustix::net::{
    AddressFamily, SocketFlags, SocketType, netdevice::index_to_name_inlined, socket_with,
};

use crate::event::{Attempt, IfName};

/// Interfaces of the network namespace that portwatch is in: the same number means another one in
/// another namespace.
#[derive(Debug)]
pub struct Interfaces {
    /// The namespace's inode, and a socket in it
    namespace: Option<(u32, OwnedFd)>,
}

impl Interfaces {
    pub fn new() -> Self {
        Self { namespace: own() }
    }

    /// Adds the name to an attempt that has an interface. Asked each time: they are renamed, and
    /// few sockets are bound to one.
    pub fn describe(&self, attempt: &mut Attempt) {
        attempt.ifname = attempt
            .ifindex
            .and_then(|index| self.name(attempt.netns?, index));
    }

    fn name(&self, netns: u32, index: u32) -> Option<IfName> {
        let (_, socket) = self.namespace.as_ref().filter(|(own, _)| *own == netns)?;
        IfName::new(index_to_name_inlined(socket, index).ok()?.as_bytes())
    }
}

impl Default for Interfaces {
    fn default() -> Self {
        Self::new()
    }
}

fn own() -> Option<(u32, OwnedFd)> {
    let inode = std::fs::metadata("/proc/self/ns/net").ok()?.st_ino();
    let flags = SocketFlags::CLOEXEC;
    let socket = socket_with(AddressFamily::UNIX, SocketType::DGRAM, flags, None).ok()?;
    Some((u32::try_from(inode).ok()?, socket))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loopback_interface_has_its_name_in_this_namespace_only() {
        let interfaces = Interfaces::new();
        let (own, _) = interfaces.namespace.as_ref().unwrap();
        let mut attempt = Attempt {
            netns: Some(*own),
            ifindex: Some(1),
            ..crate::event::sample::attempt()
        };
        interfaces.describe(&mut attempt);
        assert_eq!(attempt.ifname.unwrap().as_bytes(), b"lo");
        for (netns, ifindex) in [
            (Some(own ^ 1), Some(1)),
            (None, Some(1)),
            (Some(*own), Some(u32::MAX)),
            (Some(*own), None),
        ] {
            attempt.netns = netns;
            attempt.ifindex = ifindex;
            interfaces.describe(&mut attempt);
            assert_eq!(attempt.ifname, None);
        }
    }
}
