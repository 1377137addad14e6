//! What explain wants to know beside the attempt, looked up in the attempt's network namespace.
//!
//! Look-ups take time, and a flood of failures must not make portwatch blind: they may use a
//! tenth of the time that passes, the same question within a second has the same answer, and
//! each look-up ends after a twentieth of a second with what it has by then.

mod address;
mod answers;
mod budget;
mod credentials;
mod namespace;
mod route;
mod wanted;

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use self::{answers::Answers, budget::Budget, wanted::Wanted};
pub use self::{
    credentials::{Credentials, Identities},
    namespace::Namespace,
    route::Way,
};
use crate::{
    cgroup::Cgroups,
    event::{Attempt, End, Holder, OutcomeOf, Proto, Time},
    explain::{Facts, Skipped},
    netns::{Namespaces, Place},
    sockets::{self, bound::Bound, holder},
};

/// Looks up facts about attempts, within bounds.
#[derive(Debug)]
pub struct Gatherer {
    namespaces: Namespaces,
    bound: Bound,
    cgroups: Cgroups,
    lsms: Vec<String>,
    budget: Budget,
    answers: Answers,
}

/// What one attempt's look-ups may take.
const LONGEST: Duration = Duration::from_millis(50);

impl Gatherer {
    pub fn new() -> Self {
        Self {
            namespaces: Namespaces::default(),
            bound: Bound::default(),
            cgroups: Cgroups::new(),
            lsms: lsms(),
            budget: Budget::new(Instant::now()),
            answers: Answers::default(),
        }
    }

    /// Takes note of a bind that succeeded, so that it can be told later since when a port is in
    /// use. Cheap, and of no effect for any other attempt.
    pub fn remember(&mut self, attempt: &Attempt) {
        self.bound.remember(attempt);
    }

    /// What is known about an attempt that failed.
    pub fn gather(&mut self, attempt: &Attempt) -> Facts {
        match attempt.ret {
            Some(ret) if ret < 0 => self.about(attempt, ret),
            _ => Facts::default(),
        }
    }

    /// The same of a connect that was pending.
    pub fn gather_outcome(&mut self, outcome: &OutcomeOf) -> Facts {
        match outcome.ended.end {
            End::Failed(ret) => self.about(&outcome.attempt, ret),
            End::Connected | End::Abandoned => Facts::default(),
        }
    }

    fn about(&mut self, attempt: &Attempt, ret: i32) -> Facts {
        let wanted = Wanted::by(attempt, ret);
        let mut facts = Facts {
            lsms: if wanted.lsms {
                self.lsms.clone()
            } else {
                Vec::new()
            },
            ..Facts::default()
        };
        if !wanted.looks_up() {
            return facts;
        }
        let begun = Instant::now();
        let key = answers::Key::of(attempt, wanted);
        if let Some(known) = self.answers.get(&key, begun) {
            return known.clone();
        }
        if !self.budget.allows(begun) {
            facts.skipped = Some(Skipped::TooMany);
            return facts;
        }
        self.look_up(attempt, wanted, begun + LONGEST, &mut facts);
        self.budget.spend(begun.elapsed());
        self.answers.put(key, begun, facts.clone());
        facts
    }

    fn look_up(&mut self, attempt: &Attempt, wanted: Wanted, until: Instant, facts: &mut Facts) {
        let Some(namespace) = self.namespace_of(attempt, until) else {
            facts.skipped = Some(Skipped::Namespace);
            return;
        };
        facts.taken = Some(now());
        if wanted.ports {
            facts.ports = namespace.ports();
        }
        if let Some((proto, port)) = wanted.holders {
            facts.holders = self.holders(&namespace, proto, port, until);
        }
        if let Some(ip) = wanted.address {
            facts.address = namespace.address(ip, wanted.ifindex, until);
            if let Some(address) = &mut facts.address
                && address.assigned.is_none()
            {
                address.elsewhere = namespace.elsewhere(ip, &mut self.namespaces, until);
            }
        }
        if let Some(way) = wanted.route {
            facts.route = namespace.route(way);
        }
        if let Some(ifindex) = wanted.interface {
            facts.interface_exists = namespace.has_interface(ifindex);
        }
    }

    fn namespace_of(&mut self, attempt: &Attempt, until: Instant) -> Option<Namespace> {
        let netns = attempt.netns?;
        let near = Place {
            path: None,
            tgid: Some(attempt.tgid),
        };
        let found = self
            .namespaces
            .find(netns, &[near], until)
            .or_else(|| sockets::namespace_of(attempt))?;
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

/// The security modules that run, in their order; none where securityfs is not mounted.
pub fn lsms() -> Vec<String> {
    let text = std::fs::read_to_string("/sys/kernel/security/lsm").unwrap_or_default();
    let names = text.trim().split(',').filter(|name| !name.is_empty());
    names.map(str::to_owned).collect()
}

fn now() -> Time {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH);
    let nanoseconds = since_epoch.unwrap_or_default().as_nanos();
    Time(i64::try_from(nanoseconds).unwrap_or(i64::MAX))
}
