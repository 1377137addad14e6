//! Sockets whose process is known: it was seen to bind or connect them, or found in a pass over all
//! descriptors. A look-up that begins here takes one look at that process.

use std::collections::{HashMap, VecDeque};

use super::{
    diag, holder,
    kernel::{Descriptor, LastBind},
};
use crate::event::{Attempt, Binder, Op, Outcome, Proto, Time};

/// A local port, in one of the kernel's tables of ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Port {
    /// Inode of the network namespace
    pub(super) netns: u32,
    /// [`diag::table`]
    pub(super) table: u8,
    pub(super) number: u16,
}

/// A descriptor that led to a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) tgid: u32,
    pub(super) fd: i32,
    /// Who was seen to bind it
    pub(super) bind: Option<Bind>,
}

/// A bind that was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bind {
    pub(super) by: Binder,
    pub(super) time: Time,
}

/// Sockets by inode and by port.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// Those that keep their port, and those that only pass through it: a client's connections must
    /// not drive out a server
    kept: Store,
    passing: Store,
}

#[derive(Debug, Default)]
struct Store {
    sockets: HashMap<u32, (Port, Place)>,
    by_port: HashMap<Port, Vec<u32>>,
    /// The oldest first
    order: VecDeque<u32>,
}

/// Beyond that the oldest go: some 100 bytes each. What is forgotten is found by a pass.
const CAPACITY: usize = 4096;

impl Known {
    /// Takes note of a call that gave a socket its port.
    pub(super) fn remember(&mut self, attempt: &Attempt) {
        let Some((port, inode, place)) = seen(attempt) else {
            return;
        };
        match attempt.op {
            Op::Bind | Op::Listen => self.kept.put(inode, port, place),
            Op::Connect if self.kept.sockets.contains_key(&inode) => {}
            Op::Connect => self.passing.put(inode, port, place),
        }
    }

    /// Takes note of what a pass found.
    pub(super) fn learn(&mut self, found: &Descriptor) {
        let Some(table) = diag::table(Proto::Ip(found.protocol)) else {
            return;
        };
        let port = Port {
            netns: found.netns,
            table,
            number: found.port,
        };
        let known = self.kept.sockets.get(&found.inode);
        let place = Place {
            tgid: found.tgid,
            fd: found.fd,
            bind: known.and_then(|(_, place)| place.bind),
        };
        self.kept.put(found.inode, port, place);
    }

    /// Takes note of a bind that the kernel's side remembers.
    pub(super) fn recall(&mut self, port: Port, last: &LastBind) {
        let by = holder::process(last.tgid, last.process_start);
        let bind = by.map(|by| Bind {
            by,
            time: last.time,
        });
        let Some(fd) = last.fd else { return };
        let place = Place {
            tgid: last.tgid,
            fd,
            bind,
        };
        self.kept.put(last.inode, port, place);
    }

    /// The sockets that were on a port, the last one first.
    pub(super) fn on(&self, port: Port) -> impl Iterator<Item = (u32, Place)> {
        let found = |store: &Store| {
            let inodes = store.by_port.get(&port).map_or(&[][..], Vec::as_slice);
            let places = inodes.iter().rev();
            let places = places.filter_map(|inode| Some((*inode, store.sockets.get(inode)?.1)));
            places.collect::<Vec<_>>()
        };
        [&self.kept, &self.passing].map(found).into_iter().flatten()
    }

    /// Who was seen to bind a socket.
    pub(super) fn bind_of(&self, inode: u32) -> Option<Bind> {
        self.kept.sockets.get(&inode)?.1.bind
    }

    /// The socket is not there any more.
    pub(super) fn forget(&mut self, inode: u32) {
        self.kept.remove(inode);
        self.passing.remove(inode);
    }
}

/// The socket that an attempt gave its port, and where it is.
fn seen(attempt: &Attempt) -> Option<(Port, u32, Place)> {
    if attempt.outcome() == Outcome::Failed {
        return None;
    }
    let by = Binder {
        tgid: attempt.tgid,
        comm: attempt.comm,
    };
    let binds = attempt.op != Op::Connect;
    Some((
        Port {
            netns: attempt.netns?,
            table: diag::table(attempt.proto?)?,
            number: attempt.local?.port.filter(|&port| port != 0)?,
        },
        attempt.inode?,
        Place {
            tgid: attempt.tgid,
            fd: attempt.fd?,
            bind: binds.then_some(Bind {
                by,
                time: attempt.time,
            }),
        },
    ))
}

impl Store {
    fn put(&mut self, inode: u32, port: Port, place: Place) {
        match self.sockets.insert(inode, (port, place)) {
            Some((before, _)) if before == port => return,
            Some((before, _)) => self.leave(inode, before),
            None => self.order.push_back(inode),
        }
        self.by_port.entry(port).or_default().push(inode);
        while self.sockets.len() > CAPACITY {
            let Some(oldest) = self.order.pop_front() else {
                return;
            };
            self.remove(oldest);
        }
        // Inodes that were forgotten otherwise.
        if self.order.len() > 2 * CAPACITY {
            let sockets = &self.sockets;
            self.order.retain(|inode| sockets.contains_key(inode));
        }
    }

    fn remove(&mut self, inode: u32) {
        if let Some((port, _)) = self.sockets.remove(&inode) {
            self.leave(inode, port);
        }
    }

    fn leave(&mut self, inode: u32, port: Port) {
        if let Some(inodes) = self.by_port.get_mut(&port) {
            inodes.retain(|&other| other != inode);
            if inodes.is_empty() {
                self.by_port.remove(&port);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Local, sample};

    fn bind(port: u16, inode: u32) -> Attempt {
        Attempt {
            op: Op::Bind,
            ret: Some(0),
            tgid: inode,
            proto: Some(Proto::Ip(6)),
            netns: Some(7),
            fd: Some(3),
            inode: Some(inode),
            local: Some(Local {
                ip: [127, 0, 0, 1].into(),
                port: Some(port),
            }),
            ..sample::attempt()
        }
    }

    fn connect(port: u16, inode: u32) -> Attempt {
        Attempt {
            op: Op::Connect,
            ..bind(port, inode)
        }
    }

    fn on(known: &Known, netns: u32, table: u8, port: u16) -> Vec<u32> {
        let port = Port {
            netns,
            table,
            number: port,
        };
        known.on(port).map(|(inode, _)| inode).collect()
    }

    #[test]
    fn the_last_bind_comes_first() {
        let mut known = Known::default();
        for (port, inode) in [(80, 1), (81, 2), (80, 3)] {
            known.remember(&bind(port, inode));
        }
        assert_eq!(on(&known, 7, 6, 80), [3, 1]);
        assert_eq!(on(&known, 8, 6, 80), [0; 0]);
        assert_eq!(on(&known, 7, 17, 80), [0; 0]);
        known.forget(3);
        assert_eq!(on(&known, 7, 6, 80), [1]);
    }

    #[test]
    fn only_what_took_a_port_is_remembered() {
        let mut known = Known::default();
        let fine = bind(80, 1);
        for attempt in [
            Attempt {
                ret: Some(-98),
                ..fine.clone()
            },
            Attempt {
                netns: None,
                ..fine.clone()
            },
            Attempt {
                inode: None,
                ..fine.clone()
            },
            Attempt {
                proto: Some(Proto::Raw),
                ..fine.clone()
            },
            Attempt {
                local: None,
                ..fine.clone()
            },
            bind(0, 1),
        ] {
            known.remember(&attempt);
        }
        assert_eq!(known.kept.sockets.len(), 0);
        known.remember(&fine);
        assert_eq!(known.kept.sockets.len(), 1);
    }

    #[test]
    fn a_socket_that_was_bound_and_connects_was_still_bound() {
        let mut known = Known::default();
        known.remember(&bind(80, 1));
        known.remember(&connect(80, 1));
        assert_eq!(on(&known, 7, 6, 80), [1]);
        assert!(known.bind_of(1).is_some());
    }

    #[test]
    fn connections_do_not_drive_out_servers() {
        let mut known = Known::default();
        known.remember(&bind(80, 1));
        for inode in 0..20_000 {
            known.remember(&connect(
                u16::try_from(inode % 30_000).unwrap(),
                100 + inode,
            ));
        }
        assert_eq!(on(&known, 7, 6, 80)[0], 1);
        assert!(known.passing.sockets.len() <= CAPACITY);
        assert!(known.passing.by_port.len() <= CAPACITY);
    }

    #[test]
    fn what_comes_and_goes_leaves_nothing_behind() {
        let mut known = Known::default();
        for inode in 0..50_000 {
            known.remember(&bind(80, inode));
            known.forget(inode);
        }
        assert_eq!(known.kept.sockets.len(), 0);
        assert_eq!(known.kept.by_port.len(), 0);
        assert!(known.kept.order.len() <= 2 * CAPACITY + 1);
    }

    #[test]
    fn a_number_that_means_another_socket_by_now_has_its_port() {
        let mut known = Known::default();
        known.remember(&bind(80, 1));
        known.remember(&bind(81, 1));
        assert_eq!(on(&known, 7, 6, 80), [0; 0]);
        assert_eq!(on(&known, 7, 6, 81), [1]);
    }
}
