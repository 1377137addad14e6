//! Who has a port: the sockets on it, and the processes that have them open.

use std::{collections::HashSet, fs, net::IpAddr, os::fd::OwnedFd, time::Instant};

use rustix::{
    fs::fstat,
    net::{getsockname, sockopt},
};

use super::{
    bound::{Bound, Seen},
    diag::{self, Entry, States},
    internet, namespace_inode,
    owner::{Owner, Owners, each_socket},
    proto,
};
use crate::{
    event::{Comm, Holder, HoldingProcess, Proto, SocketState},
    netlink::{Bounds, Failure},
    netns::Namespace,
    process,
};

/// Sockets that are told of one port, those first that keep it for themselves: a server's port
/// can have a hundred thousand connections.
const SOCKETS: usize = 32;

/// Which port, and where to look.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    pub namespace: &'a Namespace,
    pub proto: Proto,
    pub port: u16,
    /// What was seen before
    pub bound: &'a Bound,
    pub until: Instant,
}

impl Question<'_> {
    /// The sockets on the port; `None` where that cannot be found out.
    pub fn holders(self) -> Option<Vec<Holder>> {
        let table = diag::table(self.proto)?;
        let entries = self.entries(table)?;
        if entries.is_empty() && table == diag::TCP {
            return Some(self.not_shown(table));
        }
        let (owners, entries) = self.owners(table, entries);
        let mut holders = Vec::new();
        for entry in entries {
            let owned = owners.of(entry.inode);
            if owned.is_empty() {
                let kernel = entry.inode != 0 && owners.complete;
                holders.push(without_process(entry, kernel));
            }
            holders.extend(owned.iter().map(|&owner| self.held_by(table, entry, owner)));
        }
        holders.truncate(SOCKETS);
        Some(holders)
    }

    /// What the kernel's tables show.
    fn entries(&self, table: u8) -> Option<Vec<Entry>> {
        let Self { port, until, .. } = *self;
        let look = || -> Result<_, Failure> {
            let bounds = |limit| Bounds { limit, until };
            let mut found = diag::on_port(table, port, States::Keeping, bounds(SOCKETS))?;
            let rest = SOCKETS.saturating_sub(found.len());
            found.extend(diag::on_port(table, port, States::Passing, bounds(rest))?);
            Ok(found)
        };
        self.namespace.visit(look).ok()?.ok()
    }

    /// Whose the sockets are. One that nobody has may have changed hands while its owner was
    /// looked for, or be gone: so it is looked for twice, and only if it is still there.
    fn owners(&self, table: u8, entries: Vec<Entry>) -> (Owners, Vec<Entry>) {
        let find = |entries: &[Entry]| {
            let inodes = entries.iter().map(|entry| entry.inode);
            let inodes: Vec<u32> = inodes.filter(|&inode| inode != 0).collect();
            let owners = Owners::find(&inodes, self.until);
            let missing = inodes.iter().any(|&inode| owners.of(inode).is_empty());
            (owners, missing)
        };
        let (owners, missing) = find(&entries);
        if !missing || Instant::now() >= self.until {
            return (owners, entries);
        }
        let entries = self.entries(table).unwrap_or(entries);
        (find(&entries).0, entries)
    }

    fn held_by(&self, table: u8, entry: Entry, owner: Owner) -> Holder {
        let process = holding_process(owner.tgid);
        // What was read of the process is that of the owner if it has the socket still.
        let socket = owner.socket(entry.inode);
        // A connection that came in has the port of the socket that listened.
        let may_be_accepted = table == diag::TCP && entry.peer.is_some();
        let seen = self
            .seen(table)
            .filter(|_| !may_be_accepted)
            .find(|seen| seen.ip == entry.ip && seen.is_of(owner.tgid));
        Holder {
            process,
            since: seen.map(|seen| seen.time),
            ..with_options(without_process(entry, false), socket.as_ref())
        }
    }

    fn seen(&self, table: u8) -> impl Iterator<Item = &Seen> {
        self.bound.on_port(self.namespace.inode(), table, self.port)
    }

    /// TCP sockets that are only bound, where the kernel does not show them (before 6.8): those
    /// that were seen to be bound, or else any that a process of the namespace has open.
    fn not_shown(&self, table: u8) -> Vec<Holder> {
        let mut inodes = HashSet::new();
        let mut holders = Vec::new();
        for seen in self.seen(table) {
            let Some(fd) = seen.fd.filter(|_| seen.is_of(seen.tgid)) else {
                continue;
            };
            let owner = Owner {
                tgid: seen.tgid,
                fd,
            };
            let found = self.look_at(owner, table, None);
            holders.extend(
                found
                    .filter(|holder| inodes.insert(holder.inode))
                    .map(|holder| Holder {
                        since: Some(seen.time),
                        ..holder
                    }),
            );
        }
        if holders.is_empty() {
            self.look_at_all(table, &mut holders);
        }
        holders
    }

    fn look_at_all(&self, table: u8, holders: &mut Vec<Holder>) {
        let netns = Some(self.namespace.inode());
        let mut inodes = HashSet::new();
        let (near, far): (Vec<u32>, Vec<u32>) =
            process::all().partition(|&tgid| Namespace::inode_of_process(tgid) == netns);
        for tgid in near.into_iter().chain(far) {
            // Sockets stay in their namespace when their process goes to another.
            each_socket(tgid, |fd, inode| {
                let time_is_up = Instant::now() >= self.until || holders.len() >= SOCKETS;
                if !time_is_up && inodes.insert(inode) {
                    holders.extend(self.look_at(Owner { tgid, fd }, table, Some(inode)));
                }
            });
            if Instant::now() >= self.until {
                return;
            }
        }
    }

    /// The socket behind a descriptor, if it is bound to the port.
    fn look_at(&self, owner: Owner, table: u8, inode: Option<u32>) -> Option<Holder> {
        let socket = owner.any_socket()?;
        let found = u32::try_from(fstat(&socket).ok()?.st_ino).ok()?;
        if inode.is_some_and(|inode| inode != found) {
            return None;
        }
        let kind = sockopt::socket_type(&socket).ok()?;
        let protocol = sockopt::socket_protocol(&socket).ok()?;
        let (ip, port) = internet(getsockname(&socket).ok()?)?;
        let is_it = port == self.port && diag::table(proto(kind, protocol)) == Some(table);
        if !is_it || !self.is_in_namespace(&socket, owner) {
            return None;
        }
        let entry = Entry {
            state: SocketState::Bound,
            ip,
            port,
            peer: None,
            ifindex: None,
            uid: 0,
            inode: found,
            v6only: None,
        };
        Some(Holder {
            process: holding_process(owner.tgid),
            uid: fstat(&socket).ok().map(|found| found.st_uid),
            ..with_options(without_process(entry, false), Some(&socket))
        })
    }

    /// By the socket itself, or where it may not be asked, by its process.
    fn is_in_namespace(&self, socket: &OwnedFd, owner: Owner) -> bool {
        let found = namespace_inode(socket).or_else(|| Namespace::inode_of_process(owner.tgid));
        found == Some(self.namespace.inode())
    }
}

impl Seen {
    /// Whether that process made the bind.
    fn is_of(&self, tgid: u32) -> bool {
        self.tgid == tgid
            && self
                .process_start
                .is_some_and(|start| process::began_at(tgid, start))
    }
}

/// `TIME_WAIT` and orphans have no inode, and no owner that is known.
fn without_process(entry: Entry, kernel: bool) -> Holder {
    let is_file = entry.inode != 0;
    Holder {
        process: None,
        uid: is_file.then_some(entry.uid),
        state: entry.state,
        ip: entry.ip,
        port: entry.port,
        peer: entry.peer,
        inode: is_file.then_some(entry.inode.into()),
        since: None,
        kernel,
        reuseaddr: None,
        reuseport: None,
        v6only: entry.v6only,
        ifindex: entry.ifindex,
    }
}

fn with_options(holder: Holder, socket: Option<&OwnedFd>) -> Holder {
    let Some(socket) = socket else { return holder };
    let v6only = match holder.ip {
        IpAddr::V4(_) => None,
        IpAddr::V6(_) => sockopt::ipv6_v6only(socket).ok(),
    };
    Holder {
        reuseaddr: sockopt::socket_reuseaddr(socket).ok(),
        reuseport: sockopt::socket_reuseport(socket).ok(),
        v6only: v6only.or(holder.v6only),
        ..holder
    }
}

/// Name and executable of a process; its cgroup is for those who know of cgroups.
fn holding_process(tgid: u32) -> Option<HoldingProcess> {
    let comm = process::read(&format!("/proc/{tgid}/comm"), 64)?;
    Some(HoldingProcess {
        tgid,
        comm: Comm::cut(comm.strip_suffix(b"\n").unwrap_or(&comm)),
        exe: fs::read_link(format!("/proc/{tgid}/exe")).ok(),
        cgroup: None,
    })
}
