//! Look-ups in /proc, by netlink and at the sockets of others.

use std::{io, sync::Arc};

use super::{Known, doubts};
use crate::{
    ancestry::Ancestry,
    cgroup::Cgroups,
    config::Config,
    event::{Attempt, Degradation, Family},
    explain::{Asked, Facts, Ticket},
    facts::Desk,
    filter::{Filter, Needs},
    interface::Interfaces,
    process::{self, Processes},
    sockets::{self, Look, diag, kernel::Kernel},
};

pub(super) struct Host {
    processes: Processes,
    cgroups: Cgroups,
    interfaces: Interfaces,
    /// For causes
    desk: Desk,
    ancestry: Ancestry,
    /// The source knows only half of the process: the rest is looked up
    look_up: bool,
}

impl Host {
    pub(super) fn new(
        config: &Config,
        known: Known,
        kernel: Option<Box<dyn Kernel>>,
    ) -> io::Result<Option<Self>> {
        Ok(Some(Self {
            processes: Processes::new(config.cmdline),
            cgroups: Cgroups::new(),
            interfaces: Interfaces::new(),
            desk: Desk::open(kernel, known == Known::Most { resets: true })?,
            ancestry: Ancestry::default(),
            look_up: known == Known::Call,
        }))
    }

    pub(super) fn look_up(
        &self,
        attempt: &mut Attempt,
        used_again: impl FnOnce(&Attempt) -> bool,
    ) -> bool {
        if self.look_up {
            process::describe(attempt);
        }
        // Also of protocols whose functions no hook is on.
        if attempt.proto.is_some() {
            return true;
        }
        match sockets::look(attempt) {
            Look::NotInternet => return false,
            // An address of another family is of interest only on an internet socket.
            Look::Unknown => return !matches!(attempt.family, Some(Family::Other(_))),
            Look::Proven(seen) => seen.describe(attempt),
            Look::Likely(seen) => {
                if !used_again(attempt) {
                    seen.describe(attempt);
                }
            }
        }
        true
    }

    pub(super) fn remember(&mut self, attempt: &Attempt) {
        self.desk.remember(attempt);
    }

    pub(super) fn add_needed(&mut self, attempt: &mut Attempt, needs: Needs) {
        if needs.cgroup {
            self.cgroups.describe(attempt);
        }
        if needs.ancestors {
            self.ancestry.describe(attempt);
        }
    }

    pub(super) fn knows_cgroup(&self, attempt: &Attempt) -> bool {
        self.cgroups.is_told_by_id(attempt)
    }

    pub(super) fn degradations(&self, filter: &Filter) -> Vec<Degradation> {
        let absent = self.absent(filter);
        let of_cgroup = (!absent.is_empty()).then(|| Degradation {
            what: format!("nothing runs in {} now", absent.join(", ")),
            why: "no process is in such a cgroup; one that comes later is watched, of docker and \
                  podman by its id only"
                .to_owned(),
            remedy: Some("systemd-cgls".to_owned()),
        });
        let others = doubts::of(filter);
        let limit = self.cgroups.limit();
        let tables = without_tables(&diag::missing());
        let limits = limit.into_iter().chain(tables);
        limits.chain(of_cgroup).chain(others).collect()
    }

    fn absent(&self, filter: &Filter) -> Vec<String> {
        // What cannot be seen may be there.
        if filter.of_cgroup().is_empty() || !self.cgroups.sees_all() {
            return Vec::new();
        }
        let present: Vec<_> = process::all()
            .filter_map(|tgid| self.cgroups.of_process(tgid))
            .collect();
        filter.absent(&present)
    }

    pub(super) fn add_origin(&mut self, attempt: &mut Attempt) {
        self.processes.describe(attempt);
        self.cgroups.describe(attempt);
        self.interfaces.describe(attempt);
    }

    pub(super) fn ask(&mut self, attempt: &Attempt, ret: i32) -> Option<Asked> {
        self.desk.ask(attempt, ret)
    }

    pub(super) async fn answer(&mut self) -> (Ticket, Arc<Facts>) {
        self.desk.answer().await
    }

    pub(super) fn try_answer(&mut self) -> Option<(Ticket, Arc<Facts>)> {
        self.desk.try_answer()
    }

    pub(super) fn not_in_time(&self, attempt: &Attempt, ret: i32) -> Facts {
        self.desk.not_in_time(attempt, ret)
    }
}

/// Without the modules that tell of sockets, those without a process are looked for in /proc/net.
fn without_tables(missing: &[&str]) -> Option<Degradation> {
    (!missing.is_empty()).then(|| Degradation {
        what: "sockets that no process has open are looked for in /proc/net".to_owned(),
        why: format!("this kernel has no {}", missing.join(", ")),
        remedy: Some(format!("sudo modprobe -a {}", missing.join(" "))),
    })
}
