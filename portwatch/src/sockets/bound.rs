//! The binds that portwatch saw succeed: when a socket was bound, and what the kernel's tables do
//! not show (TCP sockets that are only bound, before 6.8).

use std::{collections::VecDeque, net::IpAddr};

use super::diag;
use crate::event::{Attempt, Op, Options, Outcome, Time};

/// The last binds.
#[derive(Debug, Default)]
pub struct Bound {
    seen: VecDeque<Seen>,
}

/// A bind that succeeded. The socket may be gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) netns: u32,
    pub(super) table: u8,
    pub(super) ip: IpAddr,
    pub(super) port: u16,
    pub(super) tgid: u32,
    pub(super) process_start: Option<u64>,
    pub(super) fd: Option<i32>,
    pub(super) options: Option<Options>,
    pub(super) time: Time,
}

impl Bound {
    /// Beyond that the oldest go. A look-up goes through all of them: some microseconds.
    const CAPACITY: usize = 4096;

    /// Takes note of a bind that succeeded.
    pub fn remember(&mut self, attempt: &Attempt) {
        let Some(seen) = Seen::of(attempt) else {
            return;
        };
        if self.seen.len() >= Self::CAPACITY {
            self.seen.pop_front();
        }
        self.seen.push_back(seen);
    }

    /// The binds to a port, the last one first.
    pub(super) fn on_port(&self, netns: u32, table: u8, port: u16) -> impl Iterator<Item = &Seen> {
        self.seen
            .iter()
            .rev()
            .filter(move |seen| (seen.netns, seen.table, seen.port) == (netns, table, port))
    }
}

impl Seen {
    fn of(attempt: &Attempt) -> Option<Self> {
        if attempt.op == Op::Connect || attempt.outcome() != Outcome::Ok {
            return None;
        }
        let local = attempt.local?;
        Some(Self {
            netns: attempt.netns?,
            table: diag::table(attempt.proto?)?,
            ip: local.ip,
            port: local.port.filter(|&port| port != 0)?,
            tgid: attempt.tgid,
            process_start: attempt.process_start,
            fd: attempt.fd,
            options: attempt.options,
            time: attempt.time,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Local, Proto, sample};

    fn bind(port: u16, tgid: u32) -> Attempt {
        Attempt {
            op: Op::Bind,
            ret: Some(0),
            tgid,
            proto: Some(Proto::Ip(6)),
            netns: Some(7),
            local: Some(Local {
                ip: [127, 0, 0, 1].into(),
                port: Some(port),
            }),
            ..sample::attempt()
        }
    }

    #[test]
    fn the_last_bind_comes_first() {
        let mut bound = Bound::default();
        for (port, tgid) in [(80, 1), (81, 2), (80, 3)] {
            bound.remember(&bind(port, tgid));
        }
        let tgids = |netns, table, port| -> Vec<u32> {
            bound
                .on_port(netns, table, port)
                .map(|seen| seen.tgid)
                .collect()
        };
        assert_eq!(tgids(7, 6, 80), [3, 1]);
        assert_eq!(tgids(8, 6, 80), [0; 0]);
        assert_eq!(tgids(7, 17, 80), [0; 0]);
    }

    #[test]
    fn only_what_took_a_port_is_remembered() {
        let mut bound = Bound::default();
        let fine = bind(80, 1);
        for attempt in [
            Attempt {
                ret: Some(-98),
                ..fine.clone()
            },
            Attempt {
                ret: None,
                ..fine.clone()
            },
            Attempt {
                op: Op::Connect,
                ..fine.clone()
            },
            Attempt {
                netns: None,
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
            bound.remember(&attempt);
        }
        assert_eq!(bound.seen.len(), 0);
        bound.remember(&fine);
        assert_eq!(bound.seen.len(), 1);
    }

    #[test]
    fn the_oldest_make_room() {
        let mut bound = Bound::default();
        for tgid in 0..=Bound::CAPACITY {
            bound.remember(&bind(80, u32::try_from(tgid).unwrap()));
        }
        assert_eq!(bound.seen.len(), Bound::CAPACITY);
        assert_eq!(bound.seen.front().unwrap().tgid, 1);
    }
}
