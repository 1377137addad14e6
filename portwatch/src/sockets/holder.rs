//! Who has a port: the sockets on it, and the processes that have them open.
//!
//! The likeliest place comes first: a process that was seen to bind the port, or found to hold it, takes
//! one look. Then one pass over the descriptors of all processes, by the kernel's own iterator or else
//! by /proc. The tables of sockets come last, for what no process has open.

mod walk;

use std::{fs, net::IpAddr};

use rustix::net::{getpeername, getsockname, sockopt};

use super::{
    borrow::{self, Borrowed},
    diag::{self, Entry},
    internet,
    kernel::{Descriptor, Kernel, Ports},
    known::{Known, Place, Port},
    table,
};
use crate::{
    event::{
        AcceptQueue, Binder, Comm, Holder, Holders, HoldingProcess, Lookup, Proto, SocketState,
        Unseen,
    },
    netns::Namespace,
    process,
};

/// Sockets that are told of one port, those first that keep it for themselves: a server's port
/// can have a hundred thousand connections.
const SOCKETS: usize = 32;

/// Descriptors that one pass may tell of.
const ROWS: usize = 8192;

/// Which port.
#[derive(Clone, Copy)]
pub struct Question<'a> {
    /// Inode of the network namespace
    pub netns: u32,
    pub proto: Proto,
    pub port: u16,
    /// Sockets that were seen on the port, each with where it was
    pub seen: &'a [Seen],
    /// Whether the holder answers the question: then nobody else is looked for
    pub is_enough: &'a dyn Fn(&Holder) -> bool,
}

/// A socket that was seen to get the port, and where it was then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    inode: u32,
    place: Place,
}

/// Whether a process still has the socket that it was found to hold: one look, which waits for nobody.
pub fn still_holds(holder: &Holder) -> bool {
    let process = holder.process.as_ref().found();
    let place = process.and_then(|process| Some((process.tgid, process.fd?)));
    let inode = holder.inode.and_then(|inode| u32::try_from(inode).ok());
    match (place, inode) {
        (Some((tgid, fd)), Some(inode)) => borrow::link(tgid, fd) == Lookup::Found(inode),
        _ => false,
    }
}

/// The binds and connects that were seen, for those who ask later.
#[derive(Debug, Default)]
pub struct Witness(Known);

impl Witness {
    /// Takes note of a call that gave a socket its port; of no effect for any other.
    pub fn remember(&mut self, attempt: &crate::event::Attempt) {
        self.0.remember(attempt);
    }

    /// The sockets that were seen on a port, the last ones first.
    pub fn on(&self, netns: u32, proto: Proto, port: u16) -> Vec<Seen> {
        const FEW: usize = 8;
        let Some(table) = diag::table(proto) else {
            return Vec::new();
        };
        let found = self.0.on(Port {
            netns,
            table,
            number: port,
        });
        found
            .take(FEW)
            .map(|(inode, place)| Seen { inode, place })
            .collect()
    }
}

/// Looks for holders, and keeps what it has learnt.
#[derive(Debug, Default)]
pub struct Search {
    kernel: Option<Box<dyn Kernel>>,
    stock: Known,
    /// A pass told of all kept ports: what it found is in `stock`
    has_taken_stock: bool,
    /// The last pass over some ports, for those who asked together
    pass: Option<Pass>,
}

/// What one pass over the descriptors of all processes found.
#[derive(Debug)]
struct Pass {
    ports: Vec<u16>,
    rows: Vec<Descriptor>,
    unseen: Option<Unseen>,
}

/// Holders while they are being found.
#[derive(Default)]
struct Found(Vec<Holder>);

impl Found {
    fn push(&mut self, holder: Holder) {
        let tgid = |holder: &Holder| holder.process.as_ref().found().map(|process| process.tgid);
        let is_there = |other: &Holder| {
            other.inode.is_some() && other.inode == holder.inode && tgid(other) == tgid(&holder)
        };
        if !self.0.iter().any(is_there) {
            self.0.push(holder);
        }
    }

    fn has(&self, inode: u32) -> bool {
        let is_it = |holder: &Holder| holder.inode == Some(inode.into());
        self.0.iter().any(is_it)
    }

    /// Only the kernel's tables tell of accept queues.
    fn take_queues(&mut self, entries: &[Entry]) {
        for holder in &mut self.0 {
            let is_it = |entry: &&Entry| holder.inode == Some(entry.inode.into());
            let entry = entries.iter().find(is_it);
            holder.queue = holder.queue.or_else(|| queue_of(*entry?));
        }
    }

    /// systemd keeps sockets for others: the service has them too.
    fn answers(&self, question: &Question<'_>) -> bool {
        const INIT: u32 = 1;
        let of_init = |holder: &Holder| {
            let process = holder.process.as_ref().found();
            process.is_some_and(|process| process.tgid == INIT)
        };
        let mut found = self.0.iter();
        found.any(|holder| !of_init(holder) && (question.is_enough)(holder))
    }

    fn finish(mut self, unseen: Option<Unseen>) -> Holders {
        let more = self.0.len() > SOCKETS;
        self.0.truncate(SOCKETS);
        Holders {
            found: self.0,
            unseen: unseen.or(more.then_some(Unseen::NotAsked)),
        }
    }
}

impl Search {
    /// With the kernel's side of a source, where there is one.
    pub fn new(kernel: Option<Box<dyn Kernel>>) -> Self {
        Self {
            kernel,
            ..Self::default()
        }
    }

    /// One pass for all who ask at the same time. What it finds is forgotten by [`Self::end_pass`].
    pub fn begin_pass(&mut self, ports: Vec<u16>) {
        self.pass = pass(self.kernel.as_deref_mut(), ports);
    }

    pub fn end_pass(&mut self) {
        self.pass = None;
    }

    /// Whether a holder is known without a pass: a look at one process.
    pub fn known(&mut self, question: &Question<'_>) -> Option<Holders> {
        let mut found = Found::default();
        self.look_at_known(question, &mut found)?;
        found
            .answers(question)
            .then(|| found.finish(Some(Unseen::NotAsked)))
    }

    /// The sockets on the port. This can take a pass over the descriptors of all processes.
    pub fn holders(&mut self, question: &Question<'_>, namespace: &Namespace) -> Holders {
        let mut found = Found::default();
        if self.look_at_known(question, &mut found).is_none() {
            return Holders::not_seen(Unseen::NotSupported);
        }
        if !found.answers(question) && self.take_stock() {
            let _ = self.look_at_known(question, &mut found);
        }
        if found.answers(question) {
            return found.finish(Some(Unseen::NotAsked));
        }
        let shared = self
            .pass
            .take_if(|pass| pass.ports.contains(&question.port));
        let is_shared = shared.is_some();
        let pass = shared.or_else(|| pass(self.kernel.as_deref_mut(), vec![question.port]));
        let holders = match &pass {
            Some(pass) => self.by_kernel(question, namespace, pass, found),
            None => walk::holders(question, namespace, &self.stock, found),
        };
        if is_shared {
            self.pass = pass;
        }
        holders
    }

    /// Sockets that were seen on the port, where they are still where they were; `None` of protocols
    /// without ports.
    fn look_at_known(&mut self, question: &Question<'_>, found: &mut Found) -> Option<()> {
        let port = Port {
            netns: question.netns,
            table: diag::table(question.proto)?,
            number: question.port,
        };
        self.recall(port);
        let seen = question.seen.iter().map(|seen| (seen.inode, seen.place));
        let places: Vec<_> = seen.chain(self.stock.on(port)).collect();
        for (inode, place) in places {
            if found.has(inode) {
                continue;
            }
            // Which socket it is tells its protocol and its network namespace: they never change.
            match look_at(question, inode, place, |_| Some(true)) {
                Lookup::Found(holder) => found.push(holder),
                Lookup::NotThere => self.stock.forget(inode),
                Lookup::NotSeen(_) => {}
            }
        }
        Some(())
    }

    /// The last bind that the kernel's side has kept.
    fn recall(&mut self, port: Port) {
        let kept = self.kernel.as_deref().and_then(|kernel| {
            let last = kernel.last_bind(port.netns, u16::from(port.table), port.number);
            last.ok().flatten()
        });
        if let Some(last) = kept
            && self.stock.bind_of(last.inode).is_none()
        {
            self.stock.recall(port, &last);
        }
    }

    /// Learns who holds every port that is kept, in one pass; true where that is new.
    pub fn take_stock(&mut self) -> bool {
        if self.has_taken_stock || self.pass.is_some() {
            return false;
        }
        let Some(kernel) = self.kernel.as_deref_mut() else {
            return false;
        };
        self.has_taken_stock = true;
        let rows = kernel.descriptors(Ports::Kept, ROWS).unwrap_or_default();
        for row in &rows {
            self.stock.learn(row);
        }
        !rows.is_empty()
    }

    fn by_kernel(
        &mut self,
        question: &Question<'_>,
        namespace: &Namespace,
        pass: &Pass,
        mut found: Found,
    ) -> Holders {
        self.take_rows(question, pass, &mut found);
        if found.answers(question) {
            return found.finish(Some(Unseen::NotAsked));
        }
        let (mut entries, mut unseen) = entries(question, namespace);
        // It may have changed hands while it was looked for, or be gone by now: so whoever was not found
        // is looked for again, and told of only if it is still there.
        let is_missing = |entry: &Entry, found: &Found| entry.inode != 0 && !found.has(entry.inode);
        let mut blind = pass.unseen;
        if entries.iter().any(|entry| is_missing(entry, &found))
            && let Some(again) = self::pass(self.kernel.as_deref_mut(), vec![question.port])
        {
            self.take_rows(question, &again, &mut found);
            (entries, unseen) = self::entries(question, namespace);
            blind = blind.or(again.unseen);
        }
        found.take_queues(&entries);
        for entry in entries {
            if !found.has(entry.inode) || entry.inode == 0 {
                let process = blind.map_or(Lookup::NotThere, Lookup::NotSeen);
                found.push(self.without_owner(question, entry, process));
            }
        }
        found.finish(unseen.or(blind))
    }

    fn take_rows(&mut self, question: &Question<'_>, pass: &Pass, found: &mut Found) {
        let netns = question.netns;
        let table = diag::table(question.proto);
        let is_meant = |row: &&Descriptor| {
            row.port == question.port
                && row.netns == netns
                && diag::table(Proto::Ip(row.protocol)) == table
        };
        for row in pass.rows.iter().filter(is_meant) {
            if row.state == TCP_CLOSE || row.state == TCP_LISTEN {
                self.stock.learn(row);
            }
            found.push(self.told_by(question, row));
        }
    }

    fn told_by(&self, question: &Question<'_>, row: &Descriptor) -> Holder {
        let v6only = row.ip.is_ipv6().then_some(row.options.v6only);
        let holder = Holder {
            process: holding_process(row.tgid, row.fd),
            uid: row.uid,
            state: SocketState::from_kernel(row.state).unwrap_or(SocketState::Bound),
            ip: row.ip,
            port: row.port,
            peer: row.peer,
            inode: Some(row.inode.into()),
            since: None,
            bound_by: None,
            kernel: false,
            reuseaddr: Some(row.options.reuseaddr),
            reuseport: Some(row.options.reuseport),
            v6only,
            ifindex: row.ifindex,
            queue: None,
        };
        self.with_bind(question, holder)
    }

    /// `TIME_WAIT` and orphans have no inode; others may be in flight between two processes, kept by
    /// io_uring, or the kernel's own.
    fn without_owner(
        &self,
        question: &Question<'_>,
        entry: Entry,
        process: Lookup<HoldingProcess>,
    ) -> Holder {
        let process = if entry.inode == 0 {
            Lookup::NotThere
        } else {
            process
        };
        self.with_bind(question, holder_of(entry, process))
    }

    /// Who was seen to bind the socket, and when.
    fn with_bind(&self, question: &Question<'_>, holder: Holder) -> Holder {
        with_bind(question, &self.stock, holder)
    }
}

const TCP_CLOSE: u8 = 7;
const TCP_LISTEN: u8 = 10;

fn pass(kernel: Option<&mut (dyn Kernel + 'static)>, ports: Vec<u16>) -> Option<Pass> {
    let kernel = kernel?;
    let rows = kernel.descriptors(Ports::These(&ports), ROWS).ok()?;
    let cut = (rows.len() >= ROWS).then_some(Unseen::NotSupported);
    let hidden = (!kernel.sees_all_processes()).then_some(Unseen::Namespace);
    Some(Pass {
        ports,
        rows,
        unseen: hidden.or(cut),
    })
}

fn with_bind(question: &Question<'_>, stock: &Known, holder: Holder) -> Holder {
    let Some(inode) = holder.inode.and_then(|inode| u32::try_from(inode).ok()) else {
        return holder;
    };
    let seen = question.seen.iter().find(|seen| seen.inode == inode);
    let bind = seen
        .and_then(|seen| seen.place.bind)
        .or_else(|| stock.bind_of(inode));
    Holder {
        since: bind.map(|bind| bind.time),
        bound_by: bind.map(|bind| bind.by),
        ..holder
    }
}

/// What the kernel's tables show of the port, and why there may be more.
fn entries(question: &Question<'_>, namespace: &Namespace) -> (Vec<Entry>, Option<Unseen>) {
    let Some(kind) = diag::table(question.proto) else {
        return (Vec::new(), Some(Unseen::NotSupported));
    };
    let port = question.port;
    let look = || match diag::on_port(kind, port, SOCKETS) {
        Ok(dump) => (dump.found, dump.whole),
        // Its modules are not there, and cannot be loaded.
        Err(_) => table::on_port(kind, port, SOCKETS).unwrap_or_default(),
    };
    match namespace.visit(look) {
        Ok((found, true)) => (found, None),
        Ok((found, false)) => (found, Some(Unseen::NotSupported)),
        Err(error) => (Vec::new(), Some(Unseen::from(&error))),
    }
}

/// The socket behind a descriptor, if it is still the one that is meant, and on the port. Not there:
/// the descriptor leads elsewhere by now, or the socket has another port.
fn look_at(
    question: &Question<'_>,
    inode: u32,
    place: Place,
    is_meant: impl FnOnce(&Borrowed) -> Option<bool>,
) -> Lookup<Holder> {
    let Place { tgid, fd, bind } = place;
    let at = match borrow::link(tgid, fd) {
        Lookup::Found(found) if found == inode => Borrowed::new(tgid, fd, inode),
        Lookup::Found(_) | Lookup::NotThere => Lookup::NotThere,
        Lookup::NotSeen(why) => Lookup::NotSeen(why),
    };
    let holder = match at {
        Lookup::Found(socket) if !socket.is_internet() => Lookup::NotThere,
        Lookup::Found(socket) => match is_meant(&socket) {
            Some(true) => bound_socket(question, &socket, place, inode),
            Some(false) => Lookup::NotThere,
            None => Lookup::NotSeen(Unseen::NotSupported),
        },
        Lookup::NotThere => Lookup::NotThere,
        Lookup::NotSeen(why) => Lookup::NotSeen(why),
    };
    holder.map(|holder| Holder {
        since: bind.map(|bind| bind.time),
        bound_by: bind.map(|bind| bind.by),
        ..holder
    })
}

/// What the socket itself says, where it has the port.
fn bound_socket(
    question: &Question<'_>,
    socket: &Borrowed,
    place: Place,
    inode: u32,
) -> Lookup<Holder> {
    let Some((ip, port)) = getsockname(socket).ok().and_then(internet) else {
        return Lookup::NotSeen(Unseen::NotSupported);
    };
    if port != question.port {
        return Lookup::NotThere;
    }
    let listens = sockopt::socket_acceptconn(socket) == Ok(true);
    let peer = || getpeername(socket).ok().flatten().and_then(internet);
    let peer = if listens { None } else { peer() };
    let state = match (listens, peer) {
        (true, _) => SocketState::Listen,
        (false, Some(_)) if question.proto != UDP => SocketState::Established,
        (false, _) => SocketState::Bound,
    };
    let entry = Entry {
        state,
        ip,
        port: question.port,
        peer,
        ifindex: None,
        uid: 0,
        inode,
        v6only: None,
        queue: None,
    };
    let holder = Holder {
        uid: Some(socket.uid()),
        ..holder_of(entry, holding_process(place.tgid, place.fd))
    };
    Lookup::Found(with_options(holder, socket))
}

const UDP: Proto = Proto::Ip(17);

fn holder_of(entry: Entry, process: Lookup<HoldingProcess>) -> Holder {
    let is_file = entry.inode != 0;
    Holder {
        process,
        uid: is_file.then_some(entry.uid),
        state: entry.state,
        ip: entry.ip,
        port: entry.port,
        peer: entry.peer,
        inode: is_file.then_some(entry.inode.into()),
        since: None,
        bound_by: None,
        kernel: false,
        reuseaddr: None,
        reuseport: None,
        v6only: entry.v6only,
        ifindex: entry.ifindex,
        queue: queue_of(entry),
    }
}

fn queue_of(entry: Entry) -> Option<AcceptQueue> {
    let queue = |(waiting, backlog)| AcceptQueue { waiting, backlog };
    entry.queue.map(queue)
}

fn with_options(holder: Holder, socket: &Borrowed) -> Holder {
    let v6only = match holder.ip {
        IpAddr::V4(_) => None,
        IpAddr::V6(_) => sockopt::ipv6_v6only(socket).ok(),
    };
    Holder {
        reuseaddr: sockopt::socket_reuseaddr(socket).ok(),
        reuseport: sockopt::socket_reuseport(socket).ok(),
        v6only: v6only.or(holder.v6only),
        ifindex: holder.ifindex.or_else(|| socket.device()),
        ..holder
    }
}

/// Name and executable of a process; its cgroup is for those who know of cgroups.
fn holding_process(tgid: u32, fd: i32) -> Lookup<HoldingProcess> {
    let Some(comm) = comm_of(tgid) else {
        return Lookup::NotSeen(Unseen::Gone);
    };
    Lookup::Found(HoldingProcess {
        tgid,
        fd: Some(fd),
        comm,
        exe: fs::read_link(format!("/proc/{tgid}/exe")).ok(),
        cgroup: None,
    })
}

fn comm_of(tgid: u32) -> Option<Comm> {
    let comm = process::read(&format!("/proc/{tgid}/comm"), 64)?;
    Some(Comm::cut(comm.strip_suffix(b"\n").unwrap_or(&comm)))
}

/// A process by its number and start, where it is still there.
pub(super) fn process(tgid: u32, start: Option<u64>) -> Option<Binder> {
    let is_it = start.is_some_and(|start| process::began_at(tgid, start));
    let comm = comm_of(tgid).filter(|_| is_it)?;
    Some(Binder { tgid, comm })
}
