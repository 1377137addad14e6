//! Nothing is looked up on systems other than Linux.

use std::{io, sync::Arc};

use super::Known;
use crate::{
    config::Config,
    event::{Attempt, Degradation},
    explain::{Asked, Facts, Ticket},
    filter::{Filter, Needs},
    sockets::kernel::Kernel,
};

/// There is none.
pub(super) enum Host {}

impl Host {
    #[expect(
        clippy::needless_pass_by_value,
        reason = "where there are look-ups they take it"
    )]
    pub(super) fn new(
        _: &Config,
        _: Known,
        _: Option<Box<dyn Kernel>>,
    ) -> io::Result<Option<Self>> {
        Ok(None)
    }

    pub(super) fn look_up(&self, _: &mut Attempt, _: impl FnOnce(&Attempt) -> bool) -> bool {
        match *self {}
    }

    pub(super) fn remember(&self, _: &Attempt) {
        match *self {}
    }

    pub(super) fn add_needed(&self, _: &mut Attempt, _: Needs) {
        match *self {}
    }

    pub(super) fn knows_cgroup(&self, _: &Attempt) -> bool {
        match *self {}
    }

    pub(super) fn degradations(&self, _: &Filter) -> Vec<Degradation> {
        match *self {}
    }

    pub(super) fn add_origin(&self, _: &mut Attempt) {
        match *self {}
    }

    pub(super) fn ask(&self, _: &Attempt, _: i32) -> Option<Asked> {
        match *self {}
    }

    pub(super) async fn answer(&self) -> (Ticket, Arc<Facts>) {
        match *self {}
    }

    pub(super) fn try_answer(&self) -> Option<(Ticket, Arc<Facts>)> {
        match *self {}
    }

    pub(super) fn not_in_time(&self, _: &Attempt, _: i32) -> Facts {
        match *self {}
    }
}
