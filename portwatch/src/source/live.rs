//! The source that runs, whichever it is.

use std::{collections::VecDeque, io};

#[cfg(target_os = "linux")]
use super::ebpf;
use super::record::{LossCount, Record};
use crate::event::Degradation;

pub enum Source {
    #[cfg(target_os = "linux")]
    Ebpf(Box<ebpf::Source>),
}

impl Source {
    /// Waits until there is something to read.
    pub async fn readable(&mut self) -> io::Result<()> {
        match self {
            #[cfg(target_os = "linux")]
            Self::Ebpf(source) => source.readable().await,
        }
    }

    /// Moves what there is to the end of `records`, until there is nothing left or there are
    /// `most` of them. Gives whether nothing was left.
    pub fn fill(&mut self, records: &mut VecDeque<Record>, most: usize) -> bool {
        match self {
            #[cfg(target_os = "linux")]
            Self::Ebpf(source) => source.fill(records, most),
        }
    }

    /// No attempt of callers in this cgroup is wanted.
    pub fn rule_out(&mut self, cgroup_id: u64) {
        match self {
            #[cfg(target_os = "linux")]
            Self::Ebpf(source) => source.rule_out(cgroup_id),
        }
    }

    /// Attempts, and ends of attempts, that were read.
    pub fn records_read(&self) -> u64 {
        match self {
            #[cfg(target_os = "linux")]
            Self::Ebpf(source) => source.records_read(),
        }
    }

    /// Whether something was lost that [`Self::losses`] has not told, or may have been.
    pub fn has_losses(&self) -> bool {
        match self {
            #[cfg(target_os = "linux")]
            Self::Ebpf(source) => source.has_losses(),
        }
    }

    /// What was lost since the last call.
    pub fn losses(&mut self) -> anyhow::Result<Vec<LossCount>> {
        match self {
            #[cfg(target_os = "linux")]
            Self::Ebpf(source) => source.losses(),
        }
    }

    /// What has come to work less since the source was opened, if that was not told yet.
    pub fn degradation(&mut self) -> Option<Degradation> {
        match self {
            #[cfg(target_os = "linux")]
            Self::Ebpf(source) => source.degradation(),
        }
    }
}
