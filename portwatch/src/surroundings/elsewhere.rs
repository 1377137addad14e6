//! Nothing is looked up on systems other than Linux.

use std::io;

use super::Known;
use crate::{
    config::Config,
    event::{Attempt, Degradation},
    explain::{Asked, Facts, Ticket},
    filter::{Filter, Needs},
};

/// There is none.
pub enum Kernel {}

/// There is none.
pub(super) enum Host {}

impl Host {
    pub(super) const fn new(_: &Config, _: Known, _: Option<Kernel>) -> io::Result<Option<Self>> {
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

    pub(super) async fn answer(&self) -> (Ticket, Facts) {
        match *self {}
    }

    pub(super) fn not_in_time(&self, _: &Attempt, _: i32) -> Facts {
        match *self {}
    }
}
