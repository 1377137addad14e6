//! What explain wants to know beside the attempt, looked up in the attempt's network namespace.
//!
//! Look-ups take time, so a thread of its own makes them ([`Desk`]). A flood of failures must not take
//! the machine: they may use a tenth of one processor, and what finds no room is told as not seen in
//! time.

pub mod address;
mod answers;
mod budget;
mod credentials;
mod desk;
mod namespace;
mod route;
mod wanted;

pub use self::{
    credentials::{Credentials, Identities},
    desk::Desk,
    namespace::Namespace,
    route::Way,
    wanted::Wanted,
};
use crate::{
    cgroup::Cgroups,
    clock::now,
    event::{Attempt, Holder, Holders, Lookup, Proto, Unseen},
    explain::{
        self, Facts, RouteKind,
        conflict::{Claim, conflict},
        listener::Destination,
    },
    netns::{self, Namespaces, Place},
    sockets::{
        self,
        holder::{Question, Search, Seen, Witness},
        kernel::Kernel,
    },
};

/// Looks up facts about attempts. Each takes as long as it takes.
#[derive(Debug)]
pub struct Gatherer {
    namespaces: Namespaces,
    search: Search,
    cgroups: Cgroups,
}

/// An attempt to look up facts about, by how it ended.
#[derive(Clone, Debug)]
pub struct Inquiry {
    pub attempt: Attempt,
    pub wanted: Wanted,
    /// Sockets that were seen on the port in question
    pub seen: Vec<Seen>,
}

impl Inquiry {
    /// About an attempt that ended with `ret`; `None` where nothing helps to explain it, as of most
    /// that succeed.
    pub fn new(attempt: &Attempt, ret: i32, witness: &Witness) -> Option<Self> {
        let wanted = Wanted::by(attempt, ret)?;
        let seen = match (attempt.netns, wanted.proto_and_port()) {
            (Some(netns), Some((proto, port))) => witness.on(netns, proto, port),
            _ => Vec::new(),
        };
        Some(Self {
            attempt: attempt.clone(),
            wanted,
            seen,
        })
    }
}

impl Gatherer {
    /// With the kernel's side of a source, where there is one.
    pub fn new(kernel: Option<Box<dyn Kernel>>) -> Self {
        Self {
            namespaces: Namespaces::default(),
            search: Search::new(kernel),
            cgroups: Cgroups::new(),
        }
    }

    /// Adds what takes no more than one look at a known process; true where that is all.
    pub fn recall(&mut self, inquiry: &Inquiry, facts: &mut Facts) -> bool {
        let Inquiry {
            attempt, wanted, ..
        } = inquiry;
        if wanted.namespace && facts.namespace.is_none() {
            facts.namespace = attempt.netns.map(way_into);
        }
        !wanted.enters() || wanted.only_holders() && self.knows(inquiry, facts)
    }

    /// Adds what is to be looked for. Where `may_search` is false, no more than whether a holder is known.
    pub fn gather(&mut self, inquiry: &Inquiry, may_search: bool, facts: &mut Facts) {
        let Inquiry {
            attempt, wanted, ..
        } = inquiry;
        if wanted.privilege {
            facts.credentials = Credentials::of_attempt(attempt);
        }
        let namespace = match self.namespace_of(attempt) {
            Lookup::Found(namespace) => namespace,
            Lookup::NotThere => return nothing(facts, Unseen::Gone),
            Lookup::NotSeen(why) => return nothing(facts, why),
        };
        facts.taken = Some(now());
        if may_search {
            self.look_around(&namespace, *wanted, facts);
        } else {
            nothing(facts, Unseen::Time);
        }
        if let Some(question) = holders_wanted(*wanted, facts) {
            facts.holders = self.find(&namespace, inquiry, question, may_search);
        }
    }

    fn look_around(&mut self, namespace: &Namespace, wanted: Wanted, facts: &mut Facts) {
        if wanted.privilege {
            facts.unprivileged_port_start = namespace.threshold();
        }
        if wanted.ports {
            facts.ports = namespace.ports();
        }
        if let Some(ip) = wanted.address {
            facts.address = namespace.address(ip, wanted.ifindex);
            if wanted.elsewhere && facts.address.assigned.is_not_there() {
                facts.address.elsewhere = namespace.elsewhere(ip, &mut self.namespaces);
            }
        }
        if let Some(way) = wanted.route {
            look_up_route(namespace, way, facts);
        }
        if let Some(ifindex) = wanted.interface {
            facts.interface = namespace.interface(ifindex);
        }
    }

    /// Learns who holds every port that is kept.
    pub fn take_stock(&mut self) {
        self.search.take_stock();
    }

    /// One pass over all descriptors for several inquiries at once, as far as they need it.
    pub fn begin_pass(&mut self, wanted: impl Iterator<Item = Wanted>) {
        let asked = wanted.filter_map(Wanted::proto_and_port);
        let mut ports: Vec<u16> = asked.map(|(_, port)| port).collect();
        ports.sort_unstable();
        ports.dedup();
        if ports.len() > 1 {
            self.search.begin_pass(ports);
        }
    }

    pub fn end_pass(&mut self) {
        self.search.end_pass();
    }

    /// Where the attempt's process is, where it was found before, where the socket is, or where
    /// a search leads.
    fn namespace_of(&mut self, attempt: &Attempt) -> Lookup<Namespace> {
        // Its socket, or its process, was gone before the source could tell.
        let Some(netns) = attempt.netns else {
            return Lookup::NotSeen(Unseen::Gone);
        };
        let near = Place {
            path: None,
            tgid: Some(attempt.tgid),
        };
        let known = self.namespaces.known(netns, &near);
        let found = match known.or_else(|| sockets::namespace_of(attempt)) {
            Some(found) => Lookup::Found(found),
            None => self.namespaces.find(netns),
        };
        found.and_then(|found| {
            let namespace = Namespace::from(found);
            match namespace.try_enter() {
                Ok(()) => Lookup::Found(namespace),
                Err(error) => Lookup::NotSeen(Unseen::from(&error)),
            }
        })
    }

    /// Adds the holder, where it is known: nobody has to enter the network namespace then.
    fn knows(&mut self, inquiry: &Inquiry, facts: &mut Facts) -> bool {
        let Inquiry {
            attempt,
            wanted,
            seen,
        } = inquiry;
        let (Some(netns), Some((proto, port))) = (attempt.netns, wanted.proto_and_port()) else {
            return false;
        };
        let is_enough = enough(attempt, *wanted);
        let question = Question {
            netns,
            proto,
            port,
            seen,
            is_enough: &is_enough,
        };
        let Some(known) = self.search.known(&question) else {
            return false;
        };
        facts.holders = self.with_cgroups(known);
        facts.taken = Some(now());
        true
    }

    fn find(
        &mut self,
        namespace: &Namespace,
        inquiry: &Inquiry,
        (proto, port): (Proto, u16),
        may_search: bool,
    ) -> Holders {
        let is_enough = enough(&inquiry.attempt, inquiry.wanted);
        let question = Question {
            netns: namespace.inode(),
            proto,
            port,
            seen: &inquiry.seen,
            is_enough: &is_enough,
        };
        // A search begins with what is known.
        let holders = if may_search {
            self.search.holders(&question, namespace.as_ref())
        } else {
            let known = self.search.known(&question);
            known.unwrap_or_else(|| Holders::not_seen(Unseen::Time))
        };
        self.with_cgroups(holders)
    }

    /// Every socket on a port, with the cgroups of their processes.
    pub fn holders(&mut self, namespace: &Namespace, proto: Proto, port: u16) -> Holders {
        let question = Question {
            netns: namespace.inode(),
            proto,
            port,
            seen: &[],
            is_enough: &|_| false,
        };
        let holders = self.search.holders(&question, namespace.as_ref());
        self.with_cgroups(holders)
    }

    fn with_cgroups(&self, mut holders: Holders) -> Holders {
        for holder in &mut holders.found {
            if let Lookup::Found(process) = &mut holder.process {
                process.cgroup = self.cgroups.of_process(process.tgid);
            }
        }
        holders
    }
}

/// Which holder answers the question why the attempt failed: one that is in the way, or for a connect
/// that was refused, one that listens there. Where its accept queue is wanted, only the kernel's tables
/// tell of that.
fn enough(attempt: &Attempt, wanted: Wanted) -> impl Fn(&Holder) -> bool + use<> {
    // Whose the socket is need not be known to stop looking: as a rule it is the caller's.
    let caller = attempt.euid.or(Some(attempt.uid));
    let claim = Claim::of_attempt(attempt).map(|claim| Claim {
        uid: claim.uid.or(caller),
        ..claim
    });
    let connects = attempt.op == crate::event::Op::Connect;
    let to = Destination::of_attempt(attempt);
    let is_whole = move |holder: &Holder| holder.queue.is_some() || !wanted.queue;
    move |holder| match claim {
        _ if connects => is_whole(holder) && to.is_some_and(|to| to.reaches(holder)),
        Some(claim) => {
            let held = Claim::of_holder(holder, claim.transport);
            conflict(&claim, &held).is_some_and(|conflict| conflict.certain)
        }
        None => false,
    }
}

/// Which port's holders are wanted, now that the route is known.
fn holders_wanted(wanted: Wanted, facts: &Facts) -> Option<(Proto, u16)> {
    let route = facts.route.as_ref().found();
    let is_here = route.is_some_and(|route| route.kind == RouteKind::Local);
    wanted
        .holders
        .or_else(|| wanted.holders_here.filter(|_| is_here))
}

/// Nothing could be looked up.
pub fn nothing(facts: &mut Facts, why: Unseen) {
    facts.holders = Holders::not_seen(why);
    facts.address.assigned = Lookup::NotSeen(why);
    facts.route = Lookup::NotSeen(why);
    facts.neighbour = Lookup::NotSeen(why);
    facts.interface = Lookup::NotSeen(why);
}

/// How commands get into a network namespace that is not portwatch's own.
fn way_into(netns: u32) -> explain::Namespace {
    Namespaces::name_of(netns).map_or(explain::Namespace::Other, explain::Namespace::Named)
}

fn look_up_route(namespace: &Namespace, way: Way, facts: &mut Facts) {
    // From an address that the host has lost no route leads anywhere.
    let lost = facts.address.assigned.is_not_there();
    (facts.route, facts.neighbour) = namespace.route(Way {
        source: way.source.filter(|_| !lost),
        ..way
    });
}

/// portwatch's own network namespace.
fn own_netns() -> Option<u32> {
    netns::Namespace::own().ok().map(|own| own.inode())
}

/// The security modules that run, in their order; none where securityfs is not mounted.
pub fn lsms() -> Vec<String> {
    let text = std::fs::read_to_string("/sys/kernel/security/lsm").unwrap_or_default();
    let names = text.trim().split(',').filter(|name| !name.is_empty());
    names.map(str::to_owned).collect()
}
