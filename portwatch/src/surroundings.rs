//! What is looked up beside an attempt: the rest of it, what stands behind its caller, and what
//! its cause rests on. Sources whose attempts are of another host, or of a system that has no
//! such look-ups, go without.

#[cfg(target_os = "linux")]
mod doubts;
#[cfg(not(target_os = "linux"))]
mod elsewhere;
#[cfg(target_os = "linux")]
mod linux;

use std::{io, sync::Arc};

#[cfg(not(target_os = "linux"))]
use self::elsewhere::Host;
#[cfg(target_os = "linux")]
use self::linux::Host;
use crate::{
    ancestry,
    config::{self, Config},
    event::{Attempt, Degradation},
    explain::{Asked, Facts, Ticket},
    filter::{Filter, Needs},
    sockets::kernel::Kernel,
};

/// `None`: nothing is looked up.
pub struct Surroundings(Option<Host>);

/// What the source leaves to be looked up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Known {
    /// The process and the socket, as far as its hooks reach; and whether it tells of resets
    Most { resets: bool },
    /// The call, and nothing of the socket
    Call,
    /// All that will be: the attempts are not this host's to look at
    All,
}

impl Surroundings {
    /// `kernel` is the kernel's side of the source, where it can look things up.
    ///
    /// # Errors
    ///
    /// Where the thread that looks things up cannot be started.
    pub fn new(config: &Config, known: Known, kernel: Option<Box<dyn Kernel>>) -> io::Result<Self> {
        if known == Known::All {
            return Ok(Self(None));
        }
        Host::new(config, known, kernel).map(Self)
    }

    /// Adds what the source could not know; false where that shows the attempt to be none of ours.
    /// `used_again` says whether the attempt's descriptor has been used since.
    pub fn look_up(
        &mut self,
        attempt: &mut Attempt,
        used_again: impl FnOnce(&Attempt) -> bool,
    ) -> bool {
        match &mut self.0 {
            Some(host) => host.look_up(attempt, used_again),
            None => true,
        }
    }

    /// Takes note of an attempt that a later one may meet.
    pub fn remember(&mut self, attempt: &Attempt) {
        if let Some(host) = &mut self.0 {
            host.remember(attempt);
        }
    }

    /// Adds what a filter asks for.
    pub fn add_needed(&mut self, attempt: &mut Attempt, needs: Needs) {
        if let Some(host) = &mut self.0 {
            host.add_needed(attempt, needs);
        }
    }

    /// Whether the attempt's cgroup is known, and the same for all with its id.
    pub fn knows_cgroup(&self, attempt: &Attempt) -> bool {
        let host = self.0.as_ref();
        host.is_some_and(|host| host.knows_cgroup(attempt))
    }

    /// Whether all the caller's parents are known.
    pub fn knows_parents(attempt: &Attempt) -> bool {
        let parents = attempt.ancestors.as_deref();
        parents.is_some_and(|parents| ancestry::is_whole(attempt.ppid, parents))
    }

    /// What cannot be looked up here, and filters that may have been meant otherwise: they ask for
    /// values that no attempt can have, or that no process has now.
    pub fn degradations(&self, filter: &Filter) -> Vec<Degradation> {
        let beyond = filter.beyond_limits().into_iter();
        let beyond = beyond.map(|(field, value, limit)| Degradation {
            what: format!("{}={value} is in no attempt", field.name()),
            why: config::why_beyond(limit).to_owned(),
            remedy: None,
        });
        let here = self.0.as_ref().map(|host| host.degradations(filter));
        beyond.chain(here.into_iter().flatten()).collect()
    }

    /// Adds what stands behind the caller.
    pub fn add_origin(&mut self, attempt: &mut Attempt) {
        if let Some(host) = &mut self.0 {
            host.add_origin(attempt);
        }
    }

    /// What the cause of an attempt that ended with `ret` may rest on; `None` where nothing helps.
    pub fn ask(&mut self, attempt: &Attempt, ret: i32) -> Option<Asked> {
        self.0.as_mut()?.ask(attempt, ret)
    }

    /// The next answer to what was asked.
    pub async fn answer(&mut self) -> (Ticket, Arc<Facts>) {
        match &mut self.0 {
            Some(host) => host.answer().await,
            None => std::future::pending().await,
        }
    }

    /// The next answer that is there already.
    pub fn try_answer(&mut self) -> Option<(Ticket, Arc<Facts>)> {
        self.0.as_mut()?.try_answer()
    }

    /// What there is without an answer.
    pub fn not_in_time(&self, attempt: &Attempt, ret: i32) -> Facts {
        let host = self.0.as_ref();
        host.map_or_else(Facts::default, |host| host.not_in_time(attempt, ret))
    }
}
