//! Nothing is looked up on systems other than Linux.

use super::Known;
use crate::{
    config::Config,
    event::{Attempt, Degradation, OutcomeOf},
    explain::Facts,
    filter::{Filter, Needs},
};

/// There is none.
pub(super) enum Host {}

impl Host {
    pub(super) const fn new(_: &Config, _: Known) -> Option<Self> {
        None
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

    pub(super) fn facts(&self, _: &Attempt) -> Option<Facts> {
        match *self {}
    }

    pub(super) fn facts_of_outcome(&self, _: &OutcomeOf) -> Option<Facts> {
        match *self {}
    }
}
