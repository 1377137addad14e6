//! What explain wants to know beside the attempt, looked up in the attempt's network namespace.
//!
//! Look-ups take time, and a flood of failures must not make portwatch blind: they may use a
//! tenth of the time that passes, the same question within a second has the same answer, and
//! each look-up ends after a twentieth of a second with what it has by then.

pub mod address;
mod answers;
mod budget;
mod credentials;
mod namespace;
mod route;
mod wanted;

use std::time::{Duration, Instant};

use self::{answers::Answers, budget::Budget, wanted::Wanted};
pub use self::{
    credentials::{Credentials, Identities},
    namespace::Namespace,
    route::Way,
};
use crate::{
    cgroup::Cgroups,
    clock::now,
    event::{Attempt, End, Holder, OutcomeOf, Proto},
    explain::{self, Facts, RouteKind, Skipped},
    netns::{self, Namespaces, Place},
    sockets::{self, bound::Bound, holder},
};

/// Looks up facts about attempts, within bounds.
#[derive(Debug)]
pub struct Gatherer {
    namespaces: Namespaces,
    bound: Bound,
    cgroups: Cgroups,
    lsms: Vec<String>,
    /// The source tells of resets
    resets_seen: bool,
    /// portwatch's own network namespace
    own: Option<u32>,
    budget: Budget,
    answers: Answers,
    patient: bool,
}

/// What one attempt's look-ups may take.
const LONGEST: Duration = Duration::from_millis(50);
/// The same where that does not matter.
const PATIENT: Duration = Duration::from_secs(10);

impl Gatherer {
    pub fn new() -> Self {
        Self {
            resets_seen: false,
            namespaces: Namespaces::default(),
            bound: Bound::default(),
            cgroups: Cgroups::new(),
            lsms: lsms(),
            own: netns::Namespace::own().ok().map(|own| own.inode()),
            budget: Budget::new(Instant::now()),
            answers: Answers::default(),
            patient: false,
        }
    }

    /// For attempts of a source that tells of resets, or does not.
    #[must_use]
    pub fn seeing_resets(self, resets_seen: bool) -> Self {
        Self {
            resets_seen,
            ..self
        }
    }

    /// Without the bounds of time, for machines that are too slow to find anything within them.
    #[must_use]
    pub fn patient(self, patient: bool) -> Self {
        Self { patient, ..self }
    }

    /// Takes note of a bind that succeeded, so that it can be told later since when a port is in
    /// use. Cheap, and of no effect for any other attempt.
    pub fn remember(&mut self, attempt: &Attempt) {
        self.bound.remember(attempt);
    }

    /// What is known about an attempt, by how it ended; `None` where nothing helps to explain it, as
    /// of most that succeed.
    pub fn gather(&mut self, attempt: &Attempt) -> Option<Facts> {
        let wanted = Wanted::by(attempt, attempt.ret?)?;
        Some(self.about(attempt, wanted))
    }

    /// The same of a connect that was pending.
    pub fn gather_outcome(&mut self, outcome: &OutcomeOf) -> Option<Facts> {
        let End::Failed(ret) = outcome.ended.end else {
            return None;
        };
        let wanted = Wanted::by(&outcome.attempt, ret)?;
        Some(self.about(&outcome.attempt, wanted))
    }

    fn about(&mut self, attempt: &Attempt, wanted: Wanted) -> Facts {
        let begun = Instant::now();
        let key = answers::Key::of(attempt, wanted);
        // What was found before the call may have changed by then.
        if let Some(known) = self.answers.get(&key, begun)
            && known.taken >= Some(attempt.time)
        {
            return known.clone();
        }
        let mut facts = Facts {
            resets_seen: self.resets_seen,
            ..Facts::default()
        };
        if wanted.lsms {
            facts.lsms.clone_from(&self.lsms);
        }
        if wanted.namespace && self.is_own(attempt) {
            facts.namespace = Some(explain::Namespace::Own);
        }
        if !self.patient && !self.budget.allows(begun) {
            facts.skipped = Some(Skipped::TooMany);
            return facts;
        }
        let until = begun + if self.patient { PATIENT } else { LONGEST };
        if wanted.namespace && facts.namespace.is_none() {
            facts.namespace = way_into(attempt, until);
        }
        if wanted.enters() {
            self.look_up(attempt, wanted, until, &mut facts);
        }
        self.budget.spend(begun.elapsed());
        self.answers.put(key, begun, facts.clone());
        facts
    }

    fn is_own(&self, attempt: &Attempt) -> bool {
        attempt.netns.is_some() && attempt.netns == self.own
    }

    fn look_up(&mut self, attempt: &Attempt, wanted: Wanted, until: Instant, facts: &mut Facts) {
        if wanted.privilege {
            facts.credentials = Credentials::of_attempt(attempt);
        }
        let Some(netns) = attempt.netns else {
            facts.skipped = Some(Skipped::NamespaceUnknown);
            return;
        };
        let Some(namespace) = self.namespace_of(attempt, netns, until) else {
            facts.skipped = Some(Skipped::Namespace);
            return;
        };
        facts.taken = Some(now());
        if wanted.privilege {
            facts.unprivileged_port_start = namespace.threshold();
        }
        if wanted.ports {
            facts.ports = namespace.ports();
        }
        if let Some(ip) = wanted.address {
            facts.address = namespace.address(ip, wanted.ifindex, until);
        }
        if let Some(address) = &mut facts.address
            && wanted.elsewhere
            && address.assigned.is_none()
        {
            let others = &mut self.namespaces;
            let elsewhere = wanted
                .address
                .map(|ip| namespace.elsewhere(ip, others, until));
            address.elsewhere = elsewhere.unwrap_or_default();
        }
        if let Some(way) = wanted.route {
            look_up_route(&namespace, way, facts);
        }
        if let Some(ifindex) = wanted.interface {
            facts.interface_exists = namespace.has_interface(ifindex);
        }
        let is_here = facts
            .route
            .as_ref()
            .is_some_and(|route| route.kind == RouteKind::Local);
        let holders = wanted.holders.or(wanted.holders_here.filter(|_| is_here));
        if let Some((proto, port)) = holders {
            facts.holders = self.holders(&namespace, proto, port, until);
        }
    }

    /// Where the attempt's process is, where it was found before, where the socket is, or where
    /// a search leads.
    fn namespace_of(&mut self, attempt: &Attempt, netns: u32, until: Instant) -> Option<Namespace> {
        let near = Place {
            path: None,
            tgid: Some(attempt.tgid),
        };
        let known = self.namespaces.known(netns, &near);
        let found = known
            .or_else(|| sockets::namespace_of(attempt))
            .or_else(|| self.namespaces.find(netns, until))?;
        let namespace = Namespace::from(found);
        namespace.may_be_entered().then_some(namespace)
    }

    /// The sockets on a port, with the cgroups of their processes.
    pub fn holders(
        &mut self,
        namespace: &Namespace,
        proto: Proto,
        port: u16,
        until: Instant,
    ) -> Option<Vec<Holder>> {
        let question = holder::Question {
            namespace: namespace.as_ref(),
            proto,
            port,
            bound: &self.bound,
            until,
        };
        let mut holders = question.holders()?;
        for process in holders
            .iter_mut()
            .filter_map(|holder| holder.process.as_mut())
        {
            process.cgroup = self.cgroups.of_process(process.tgid);
        }
        Some(holders)
    }
}

impl Default for Gatherer {
    fn default() -> Self {
        Self::new()
    }
}

/// How commands get into the attempt's network namespace, which is not portwatch's own.
fn way_into(attempt: &Attempt, until: Instant) -> Option<explain::Namespace> {
    let name = Namespaces::name_of(attempt.netns?, until);
    Some(name.map_or(explain::Namespace::Other, explain::Namespace::Named))
}

fn look_up_route(namespace: &Namespace, way: Way, facts: &mut Facts) {
    // From an address that the host has lost no route leads anywhere.
    let address = facts.address.as_ref();
    let lost = address.is_some_and(|address| address.assigned.is_none());
    let found = namespace.route(Way {
        source: way.source.filter(|_| !lost),
        ..way
    });
    if let Some((route, neighbour_failed)) = found {
        facts.route = Some(route);
        facts.neighbour_failed = neighbour_failed;
    }
}

/// The security modules that run, in their order; none where securityfs is not mounted.
pub fn lsms() -> Vec<String> {
    let text = std::fs::read_to_string("/sys/kernel/security/lsm").unwrap_or_default();
    let names = text.trim().split(',').filter(|name| !name.is_empty());
    names.map(str::to_owned).collect()
}
